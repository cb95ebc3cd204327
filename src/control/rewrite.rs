//! What a rewrite keeps of the file that it replaces: every key that this version does not know.

use super::protocol::{ControlFile, entry};
use super::tolerant::absent;
use serde_json::{Map, Value};

/// The text of `new` with the unknown keys of the file that it replaces: at the top, in `expect`
/// and `not_after`, and in entries that stay as they were. Evidence belongs to its own revision.
pub fn rewritten(old: Option<&[u8]>, new: &ControlFile) -> Value {
    let mut out = serde_json::to_value(new).unwrap_or_default();
    let Some(Value::Object(old)) = old.and_then(|b| serde_json::from_slice::<Value>(b).ok()) else {
        return out;
    };
    let known = [
        "version",
        "run",
        "revision",
        "issued_at",
        "issued_by",
        "schedule",
        "expect",
        "not_after",
        "evidence",
    ];
    if let Value::Object(map) = &mut out {
        for (key, value) in &old {
            if !known.contains(&key.as_str()) && !map.contains_key(key) {
                map.insert(key.clone(), value.clone());
            }
        }
        for (object, key) in [("expect", "batch_size_tokens"), ("not_after", "tokens")] {
            keep_unknown(map.entry(object).or_insert(Value::Null), old.get(object), &[key]);
            if map.get(object).is_some_and(absent) {
                map.shift_remove(object);
            }
        }
    }
    let entries = old.get("schedule").and_then(Value::as_array).into_iter().flatten();
    for before in entries {
        let same = entry(before);
        let now = out.get_mut("schedule").and_then(Value::as_array_mut).into_iter().flatten();
        for e in now.filter(|e| entry(e) == same) {
            keep_unknown(e, Some(before), &["from_tokens", "batch_size_tokens", "lr_scale"]);
        }
    }
    out
}

fn keep_unknown(into: &mut Value, from: Option<&Value>, known: &[&str]) {
    let Some(Value::Object(from)) = from else { return };
    for (key, value) in from.iter().filter(|(k, _)| !known.contains(&k.as_str())) {
        if into.is_null() {
            *into = Value::Object(Map::new());
        }
        if let Value::Object(map) = into {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}
