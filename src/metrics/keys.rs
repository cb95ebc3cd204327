//! A tree of the keys that a file has shown so far, and what each is good for. Nested keys are
//! joined by `/`. Pure.

use super::fields::{LOOKS_LIKE, Role, classify, same_key};
use super::presets;
use std::collections::HashMap;

/// Number of a key that could play a role.
pub type KeyId = u32;

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

    /// It stands in another file than the log.
    pub fn is_elsewhere(&self) -> bool {
        self.rank == ELSEWHERE
    }
}

const ELSEWHERE: u16 = u16::MAX;
/// At most this many children of one object are remembered; the rest is skipped.
const MAX_CHILDREN: usize = 512;
/// At most this many objects within objects are remembered.
const MAX_NODES: usize = 512;
/// At most this many keys are listed.
const MAX_LISTED: usize = 200;

/// What is done with the value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Use {
    /// Not seen with a value yet.
    Unknown,
    Skip,
    Want(KeyId),
    /// Text that names a metric; [`Use::PivotValue`] carries its value.
    PivotName,
    PivotValue,
    Object(usize),
}

#[derive(Debug, Clone)]
struct Child {
    name: Box<str>,
    /// It stands in the line as it is: nothing in it needs an escape.
    plain: bool,
    usage: Use,
}

#[derive(Debug, Clone, Default)]
struct Node {
    path: String,
    children: Vec<Child>,
    /// Where the next key is expected: lines of one file have their keys in one order.
    next: usize,
}

/// All keys of a file.
#[derive(Debug, Clone)]
pub struct Keys {
    nodes: Vec<Node>,
    infos: Vec<KeyInfo>,
    listed: Vec<String>,
    stated: Vec<(Role, String)>,
    by_name: HashMap<String, Option<KeyId>>,
    /// By key: it had a value and is listed.
    seen: Vec<bool>,
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
            seen: Vec::new(),
        }
    }

    pub fn infos(&self) -> &[KeyInfo] {
        &self.infos
    }

    /// Every key seen, in the order of appearance (the first 200).
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// A new object: its first key is expected first.
    pub(super) fn begin(&mut self) {
        for n in &mut self.nodes {
            n.next = 0;
        }
    }

    pub(super) fn usage(&self, node: usize, child: usize) -> Use {
        self.nodes[node].children[child].usage
    }

    /// A key that could play a role had a value.
    pub(super) fn wanted_seen(&mut self, key: KeyId) {
        let Keys { infos, listed, seen, .. } = self;
        seen.resize(infos.len(), false);
        if !std::mem::replace(&mut seen[key as usize], true) {
            let path = &infos[key as usize].path;
            if listed.len() < MAX_LISTED && !listed.contains(path) {
                listed.push(path.clone());
            }
        }
    }

    /// The first key of the first object: torn lines are recognised by it.
    pub fn first(&self) -> Option<&str> {
        self.nodes[0].children.first().map(|c| &*c.name)
    }

    /// The key that comes next where the line is like the one before.
    pub(super) fn expected(&self, node: usize) -> Option<(usize, &str)> {
        let n = &self.nodes[node];
        n.children.get(n.next).filter(|c| c.plain).map(|c| (n.next, &*c.name))
    }

    /// It did come.
    pub(super) fn expect_next(&mut self, node: usize, child: usize) {
        self.nodes[node].next = child + 1;
    }

    pub(super) fn child(&mut self, node: usize, name: &str) -> Option<usize> {
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
        let plain = !name.bytes().any(|b| b < b' ' || b == b'"' || b == b'\\');
        n.children.push(Child { name: name.into(), plain, usage: Use::Unknown });
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

    /// A key that stands in another file: it counts where no key of the log plays the role.
    pub fn elsewhere(&mut self, name: &str, role: Role) -> KeyId {
        self.list(name);
        let (path, rank) = (name.to_string(), ELSEWHERE);
        self.infos.push(KeyInfo { path, role, rank, stated: false, certain: false });
        (self.infos.len() - 1) as KeyId
    }

    /// What a key of this name would be good for.
    pub fn role(&self, name: &str) -> Option<Role> {
        self.stated_role(name).or_else(|| classify(name).map(|c| c.role))
    }

    fn stated_role(&self, path: &str) -> Option<Role> {
        self.stated.iter().find(|(_, key)| same_key(key, path)).map(|(role, _)| *role)
    }

    fn remember(&mut self, name: &str, id: Option<KeyId>) {
        if self.by_name.len() < MAX_CHILDREN {
            self.by_name.insert(name.to_string(), id);
        }
    }

    pub(super) fn object(&mut self, node: usize, child: usize) -> Option<usize> {
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
    pub(super) fn scalar(&mut self, node: usize, child: usize) {
        if matches!(self.nodes[node].children[child].usage, Use::Unknown) {
            self.nodes[node].children[child].usage = Use::Skip;
            let path = self.path(node, child);
            self.list(&path);
        }
    }
}
