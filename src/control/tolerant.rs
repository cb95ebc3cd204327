//! JSON of other programs, taken apart key by key: `null` and `{}` are absent, a whole number may
//! be written `4.19e6`, and what is wrong is named.

use serde_json::{Map, Value};

/// The only protocol version that this program reads or writes.
pub const VERSION: u64 = 1;

/// Why a text is not what this protocol version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// Of a version that this program does not know: never rewritten.
    #[error("protocol version {0}, this program knows version 1")]
    Version(String),
    /// A key that is missing or has the wrong shape.
    #[error("{key}: found {found}, expected {expected}")]
    Key { key: &'static str, found: String, expected: &'static str },
    /// Addressed to another run than the trainer that answers here, which never took it.
    #[error("it is for run {file}, and the trainer here is {trainer}")]
    Run { file: String, trainer: String },
}

/// The keys of one object, taken out one by one; what is left is unknown.
pub(super) struct Keys(pub Map<String, Value>);

impl Keys {
    pub fn of(value: Value) -> Result<Keys, Problem> {
        match value {
            Value::Object(map) => Ok(Keys(map)),
            other => Err(Problem::Json(format!("found {}", shown(&other)))),
        }
    }

    /// The value of a key; `null` and `{}` are absent.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.0.shift_remove(key).filter(|v| !absent(v))
    }

    pub fn optional<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.take(key) {
            None => Ok(None),
            Some(v) => match read(&v) {
                Some(x) => Ok(Some(x)),
                None => Err(Problem::Key { key, found: shown(&v), expected }),
            },
        }
    }

    pub fn required<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, Problem> {
        self.optional(key, expected, read)?.ok_or(Problem::Key {
            key,
            found: "nothing".into(),
            expected,
        })
    }

    pub fn count(&mut self, key: &'static str) -> Result<Option<u64>, Problem> {
        self.optional(key, "a whole number", whole)
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, Problem> {
        self.optional(key, "a text", |v| v.as_str().map(str::to_string))
    }

    pub fn version(&mut self) -> Result<u64, Problem> {
        match self.take("version") {
            Some(v) if whole(&v) == Some(VERSION) => Ok(VERSION),
            Some(v) => Err(Problem::Version(shown(&v))),
            None => Err(Problem::Key { key: "version", found: "nothing".into(), expected: "1" }),
        }
    }
}

pub(super) fn absent(v: &Value) -> bool {
    v.is_null() || v.as_object().is_some_and(Map::is_empty)
}

/// A value in an error text: short, and without anything that a terminal obeys.
fn shown(v: &Value) -> String {
    let text = plain(&v.to_string());
    if text.chars().count() > 60 {
        format!("{}...", text.chars().take(60).collect::<String>())
    } else {
        text
    }
}

/// A count: a JSON integer, or a float with a whole value that a double holds exactly.
pub(super) fn whole(v: &Value) -> Option<u64> {
    v.as_u64().or_else(|| {
        v.as_f64()
            .filter(|x| x.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(x))
            .map(|x| x as u64)
    })
}

/// `Some(None)` where the key is absent, `None` where it is no count.
pub(super) fn optional_count(object: &Value, key: &str) -> Option<Option<u64>> {
    match object.as_object()?.get(key).filter(|v| !absent(v)) {
        None => Some(None),
        Some(v) => whole(v).map(Some),
    }
}

/// What no text of a stranger may carry to a terminal: control characters, and the marks that
/// reorder or hide text. All lie in the basic plane.
pub fn unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
}

/// Text of a stranger made fit for a terminal: what is [`unfit`] becomes U+FFFD.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if unfit(c) { '\u{fffd}' } else { c }).collect()
}
