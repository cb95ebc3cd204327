//! One JSON line to flat keys and numbers. Pure.
//!
//! A serde visitor walks the object; a tree of the keys seen so far remembers what each key is
//! good for, so that the value of a key that plays no role is skipped unread. Nested keys are
//! joined by `/`.

use super::fields::{LOOKS_LIKE, Role, classify, same_key};
use super::{presets, values};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;

/// Number of a key that could play a role.
pub type KeyId = u32;

/// A value of a line that could play a role.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub key: KeyId,
    pub value: f64,
}

/// A key that could play a role.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    pub path: String,
    pub role: Role,
    /// From the name; 0 where the user named the key.
    pub rank: u16,
    pub stated: bool,
    /// The line's shape says the role: it competes with no other key.
    pub certain: bool,
}

impl KeyInfo {
    /// Only the sound of the name speaks for the role.
    pub fn looks_like(&self) -> bool {
        self.rank >= LOOKS_LIKE
    }
}

/// At most this many children of one object are remembered; the rest is skipped.
const MAX_CHILDREN: usize = 512;
/// At most this many objects within objects are remembered.
const MAX_NODES: usize = 512;
/// At most this many keys are listed.
const MAX_LISTED: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    /// Not seen with a value yet.
    Unknown,
    Skip,
    Want(KeyId),
    /// Text that names a metric; [`Use::PivotValue`] carries its value.
    PivotName,
    PivotValue,
    Object(usize),
}

#[derive(Debug)]
struct Child {
    name: Box<str>,
    usage: Use,
}

#[derive(Debug, Default)]
struct Node {
    path: String,
    children: Vec<Child>,
    /// Where the next key is expected: lines of one file have their keys in one order.
    next: usize,
}

/// All keys of a file.
#[derive(Debug)]
pub struct Keys {
    nodes: Vec<Node>,
    infos: Vec<KeyInfo>,
    listed: Vec<String>,
    stated: Vec<(Role, String)>,
    by_name: HashMap<String, Option<KeyId>>,
}

impl Keys {
    /// `stated`: roles and keys that the user named.
    pub fn new(stated: Vec<(Role, String)>) -> Self {
        Keys {
            nodes: vec![Node::default()],
            infos: Vec::new(),
            listed: Vec::new(),
            stated,
            by_name: HashMap::new(),
        }
    }

    pub fn infos(&self) -> &[KeyInfo] {
        &self.infos
    }

    /// Every key seen, in the order of appearance (the first 200).
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// The first key of the first object: torn lines are recognised by it.
    pub fn first(&self) -> Option<&str> {
        self.nodes[0].children.first().map(|c| &*c.name)
    }

    fn child(&mut self, node: usize, name: &str) -> Option<usize> {
        let n = &mut self.nodes[node];
        let at = n.next;
        if n.children.get(at).is_some_and(|c| &*c.name == name) {
            n.next = at + 1;
            return Some(at);
        }
        if let Some(i) = n.children.iter().position(|c| &*c.name == name) {
            n.next = i + 1;
            return Some(i);
        }
        if n.children.len() >= MAX_CHILDREN {
            return None;
        }
        n.children.push(Child { name: name.into(), usage: Use::Unknown });
        let i = n.children.len() - 1;
        n.next = i + 1;
        let path = self.path(node, i);
        let usage = match path.as_str() {
            "event_name" => Use::PivotName,
            "value" => Use::PivotValue,
            _ => match self.judge(&path) {
                Some(id) => Use::Want(id),
                None => Use::Unknown,
            },
        };
        if matches!(usage, Use::PivotName) {
            self.list(&path);
        }
        self.nodes[node].children[i].usage = usage;
        Some(i)
    }

    fn path(&self, node: usize, child: usize) -> String {
        let n = &self.nodes[node];
        let name = &n.children[child].name;
        if n.path.is_empty() { name.to_string() } else { format!("{}/{name}", n.path) }
    }

    fn judge(&mut self, path: &str) -> Option<KeyId> {
        if let Some(id) = self.infos.iter().position(|k| k.path == path) {
            return Some(id as KeyId);
        }
        let stated = self.stated_role(path);
        let (role, rank) = match (stated, classify(path)) {
            (Some(role), _) => (role, 0),
            (None, Some(c)) => (c.role, c.rank),
            (None, None) => (presets::role_of(path)?, 0),
        };
        self.infos.push(KeyInfo {
            path: path.to_string(),
            role,
            rank,
            stated: stated.is_some(),
            certain: false,
        });
        Some((self.infos.len() - 1) as KeyId)
    }

    fn list(&mut self, path: &str) {
        if self.listed.len() < MAX_LISTED && !self.listed.iter().any(|k| k == path) {
            self.listed.push(path.to_string());
        }
    }

    /// A key that comes from another kind of line (console, event name): its number, if it could
    /// play a role.
    pub fn named(&mut self, name: &str) -> Option<KeyId> {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        self.list(name);
        let id = self.judge(name);
        self.remember(name, id);
        id
    }

    /// The same where the shape of the line says the role (a field of a console table, a setting
    /// of a preamble, an event), unless the user said another one.
    ///
    /// `rank` orders the keys of one role for display.
    pub fn given(&mut self, name: &str, role: Role, rank: u16) -> KeyId {
        if let Some(Some(id)) = self.by_name.get(name) {
            return *id;
        }
        self.list(name);
        let stated = self.stated_role(name);
        let role = stated.unwrap_or(role);
        self.infos.push(KeyInfo {
            path: name.to_string(),
            role,
            rank,
            stated: stated.is_some(),
            certain: true,
        });
        let id = (self.infos.len() - 1) as KeyId;
        self.remember(name, Some(id));
        id
    }

    fn stated_role(&self, path: &str) -> Option<Role> {
        self.stated.iter().find(|(_, key)| same_key(key, path)).map(|(role, _)| *role)
    }

    fn remember(&mut self, name: &str, id: Option<KeyId>) {
        if self.by_name.len() < MAX_CHILDREN {
            self.by_name.insert(name.to_string(), id);
        }
    }

    fn object(&mut self, node: usize, child: usize) -> Option<usize> {
        if let Use::Object(n) = self.nodes[node].children[child].usage {
            return Some(n);
        }
        if self.nodes.len() >= MAX_NODES {
            return None;
        }
        let path = self.path(node, child);
        // The key of a loss can hold an object of losses in one line and a number in another.
        if let Some(n) = self.nodes.iter().position(|n| n.path == path) {
            return Some(n);
        }
        self.nodes.push(Node { path, ..Node::default() });
        let n = self.nodes.len() - 1;
        if matches!(self.nodes[node].children[child].usage, Use::Unknown | Use::Skip) {
            self.nodes[node].children[child].usage = Use::Object(n);
        }
        Some(n)
    }

    /// A scalar was seen: the key is listed, and read no more if it plays no role.
    fn scalar(&mut self, node: usize, child: usize) {
        if matches!(self.nodes[node].children[child].usage, Use::Unknown) {
            self.nodes[node].children[child].usage = Use::Skip;
            let path = self.path(node, child);
            self.list(&path);
        }
    }
}

/// What one object said.
#[derive(Debug, Default)]
pub struct Found {
    pub hits: Vec<Hit>,
    pub run_name: Option<String>,
    pivot_name: Option<String>,
    pivot_value: Option<f64>,
}

impl Found {
    pub fn clear(&mut self) {
        self.hits.clear();
        self.run_name = None;
        self.pivot_name = None;
        self.pivot_value = None;
    }
}

/// Reads one object from `de` (as often as there are objects on the line).
pub fn object<'de, D: Deserializer<'de>>(
    de: D,
    keys: &mut Keys,
    found: &mut Found,
) -> Result<(), D::Error> {
    for n in &mut keys.nodes {
        n.next = 0;
    }
    Object { keys, found, node: 0 }.deserialize(de)?;
    if let (Some(name), Some(value)) = (found.pivot_name.take(), found.pivot_value.take())
        && let Some(key) = keys.named(&name)
    {
        found.hits.push(Hit { key, value });
    }
    Ok(())
}

struct Object<'a> {
    keys: &'a mut Keys,
    found: &'a mut Found,
    node: usize,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Object { keys, found, node } = self;
        while let Some(child) = map.next_key_seed(KeySeed { keys, node })? {
            match child.map(|c| (c, keys.nodes[node].children[c].usage)) {
                None | Some((_, Use::Skip)) => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some((child, _)) => map.next_value_seed(Value { keys, found, node, child })?,
            }
        }
        Ok(())
    }
}

struct KeySeed<'a> {
    keys: &'a mut Keys,
    node: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.keys.child(self.node, name))
    }
}

struct Value<'a> {
    keys: &'a mut Keys,
    found: &'a mut Found,
    node: usize,
    child: usize,
}

impl Value<'_> {
    fn number(self, x: f64) {
        match self.keys.nodes[self.node].children[self.child].usage {
            Use::Want(key) => {
                let info = &self.keys.infos[key as usize];
                let value = if info.role == Role::Time { values::unix_seconds(x) } else { Some(x) };
                if let Some(value) = value {
                    self.found.hits.push(Hit { key, value });
                }
                self.listed(key);
            }
            Use::PivotValue => self.found.pivot_value = Some(x),
            _ => self.keys.scalar(self.node, self.child),
        }
    }

    fn text(self, t: &str) {
        match self.keys.nodes[self.node].children[self.child].usage {
            Use::Want(key) => {
                let value = match self.keys.infos[key as usize].role {
                    Role::RunName => {
                        self.found.run_name = Some(t.to_string());
                        None
                    }
                    Role::Time => values::time(t),
                    _ => values::number(t),
                };
                if let Some(value) = value {
                    self.found.hits.push(Hit { key, value });
                }
                self.listed(key);
            }
            Use::PivotName => self.found.pivot_name = Some(t.to_string()),
            _ => self.keys.scalar(self.node, self.child),
        }
    }

    fn listed(self, key: KeyId) {
        let Keys { infos, listed, .. } = self.keys;
        // Wanted keys are few; the check ends at the first of a full list.
        if listed.len() < MAX_LISTED {
            let path = &infos[key as usize].path;
            if !listed.iter().any(|k| k == path) {
                listed.push(path.clone());
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.keys.scalar(self.node, self.child);
        Ok(())
    }

    fn visit_i64<E>(self, x: i64) -> Result<(), E> {
        self.number(x as f64);
        Ok(())
    }

    fn visit_u64<E>(self, x: u64) -> Result<(), E> {
        self.number(x as f64);
        Ok(())
    }

    fn visit_f64<E>(self, x: f64) -> Result<(), E> {
        self.number(x);
        Ok(())
    }

    fn visit_str<E>(self, t: &str) -> Result<(), E> {
        self.text(t);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.keys.object(self.node, self.child) {
            Some(node) => Object { keys: self.keys, found: self.found, node }.visit_map(map),
            None => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(())
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.keys.scalar(self.node, self.child);
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(keys: &mut Keys, line: &str) -> Vec<(String, f64)> {
        let mut found = Found::default();
        let mut de = serde_json::Deserializer::from_str(line);
        object(&mut de, keys, &mut found).unwrap();
        found.hits.iter().map(|h| (keys.infos()[h.key as usize].path.clone(), h.value)).collect()
    }

    #[test]
    fn nested_keys_are_joined_and_the_rest_is_skipped() {
        let mut keys = Keys::new(vec![]);
        let line = r#"{"a":[1,{"loss":9}],"metrics":{"train":{"loss":2.5},"x":null},"step":"1/438","time":"6s","run":"z"}"#;
        for _ in 0..2 {
            let want = vec![("metrics/train/loss".to_string(), 2.5), ("step".to_string(), 1.0)];
            assert_eq!(read(&mut keys, line), want);
        }
        assert_eq!(keys.listed(), ["a", "metrics/train/loss", "step", "time", "run"]);
    }

    #[test]
    fn a_key_may_hold_an_object_after_a_number_and_a_number_after_null() {
        let mut keys = Keys::new(vec![]);
        assert_eq!(read(&mut keys, r#"{"loss":1.5,"x":null}"#).len(), 1);
        let second = read(&mut keys, r#"{"loss":{"lm_loss":2.5},"x":{"step":4}}"#);
        assert_eq!(second, vec![("loss/lm_loss".to_string(), 2.5), ("x/step".to_string(), 4.0)]);
        assert_eq!(read(&mut keys, r#"{"loss":1.25}"#), vec![("loss".to_string(), 1.25)]);
    }

    #[test]
    fn a_stated_key_counts_whatever_its_name() {
        let mut keys = Keys::new(vec![(Role::Loss, "data.q".into())]);
        assert_eq!(read(&mut keys, r#"{"data":{"q":3,"r":4}}"#), vec![("data/q".to_string(), 3.0)]);
    }

    #[test]
    fn whole_numbers_beyond_two_to_the_53_are_rounded_not_lost() {
        let mut keys = Keys::new(vec![]);
        let hits = read(&mut keys, r#"{"tokens":9007199254740993,"step":123456789012345678901}"#);
        assert_eq!(hits[0].1, 9_007_199_254_740_992.0);
        assert_eq!(hits[1].1, 123_456_789_012_345_680_000.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Against a full parse into a tree: the same numbers under the same keys, in any order.
        #[test]
        fn agrees_with_a_full_parse(order in Just(vec!["step", "loss", "lr", "other", "tokens"]).prop_shuffle(),
                                    x in -1e12f64..1e12, n in 0u64..u64::MAX, depth in 0usize..3) {
            let mut fields: Vec<String> = order.iter().map(|k| match *k {
                "step" => format!("\"step\":{n}"),
                "other" => "\"other\":{\"deep\":[{\"loss\":1}],\"n\":{\"q\":\"}\"}}".to_string(),
                k => format!("\"{k}\":{x:e}"),
            }).collect();
            let mut prefix = String::new();
            for _ in 0..depth {
                fields = vec![format!("\"m\":{{{}}}", fields.join(","))];
                prefix.push_str("m/");
            }
            let line = format!("{{{}}}", fields.join(","));
            let mut keys = Keys::new(vec![]);
            let hits = read(&mut keys, &line);
            prop_assert_eq!(hits.len(), 4);
            for (key, value) in hits {
                let name = key.strip_prefix(prefix.as_str()).unwrap();
                prop_assert_eq!(value, if name == "step" { n as f64 } else { x });
            }
        }
    }
}
