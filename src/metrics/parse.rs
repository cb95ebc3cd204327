//! One JSON line to flat keys and numbers. Pure.
//!
//! A serde visitor walks the object; [`Keys`] remembers what each key is good for, so that the
//! value of a key that plays no role is skipped unread.

use super::fields::{Role, names_held_out};
use super::keys::{KeyId, Keys, Use};
use super::values;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A value of a line that could play a role.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub key: KeyId,
    pub value: f64,
}

/// What one object said.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub hits: Vec<Hit>,
    pub run_name: Option<String>,
    /// A text of the object says that it is about held-out data.
    pub held_out: bool,
    pivot_name: Option<String>,
    pivot_value: Option<f64>,
}

impl Found {
    pub fn clear(&mut self) {
        self.hits.clear();
        self.run_name = None;
        self.held_out = false;
        self.pivot_name = None;
        self.pivot_value = None;
    }

    /// The text of a key that plays a role.
    pub(super) fn text(&mut self, key: KeyId, role: Role, t: &str) {
        let value = match role {
            Role::RunName => {
                self.run_name = Some(t.to_string());
                None
            }
            Role::Split => {
                self.held_out |= names_held_out(t);
                None
            }
            Role::Time => values::time(t),
            _ => values::number(t),
        };
        self.hits.extend(value.map(|value| Hit { key, value }));
    }

    /// The object is over: a value whose name stood beside it counts under that name.
    pub(super) fn settle(&mut self, keys: &mut Keys) {
        if let (Some(name), Some(value)) = (self.pivot_name.take(), self.pivot_value.take())
            && let Some(key) = keys.named(&name)
        {
            self.hits.push(Hit { key, value });
        }
    }
}

/// Reads one object from `de` (as often as there are objects on the line).
pub fn object<'de, D: Deserializer<'de>>(
    de: D,
    keys: &mut Keys,
    found: &mut Found,
) -> Result<(), D::Error> {
    keys.begin();
    Object { keys, found, node: 0 }.deserialize(de)?;
    found.settle(keys);
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
            match child.map(|c| (c, keys.usage(node, c))) {
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

/// The value of a key: where it goes.
pub(super) struct Value<'a> {
    pub keys: &'a mut Keys,
    pub found: &'a mut Found,
    pub node: usize,
    pub child: usize,
}

impl Value<'_> {
    pub fn number(self, x: f64) {
        match self.keys.usage(self.node, self.child) {
            Use::Want(key) => {
                let info = &self.keys.infos()[key as usize];
                let value = if info.role == Role::Time { values::unix_seconds(x) } else { Some(x) };
                if let Some(value) = value {
                    self.found.hits.push(Hit { key, value });
                }
                self.keys.wanted_seen(key);
            }
            Use::PivotValue => self.found.pivot_value = Some(x),
            _ => self.keys.scalar(self.node, self.child),
        }
    }

    pub fn text(self, t: &str) {
        match self.keys.usage(self.node, self.child) {
            Use::Want(key) => {
                self.found.text(key, self.keys.infos()[key as usize].role, t);
                self.keys.wanted_seen(key);
            }
            Use::PivotName => self.found.pivot_name = Some(t.to_string()),
            _ => self.keys.scalar(self.node, self.child),
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
