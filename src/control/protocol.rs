//! Protocol version 1 as types, read tolerantly: `null` and `{}` are absent, a whole number may be
//! written `4.19e6`, unknown keys are kept. The README specifies it for authors of trainers.

pub use super::paths::Paths;
use super::tolerant::{Keys, absent, optional_count, whole};
pub use super::tolerant::{Problem, VERSION, plain, unfit};
pub use crate::advice::Entry;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// `NAME.control.json`: boptop writes, the trainer reads. `schedule` is the whole instruction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlFile {
    pub version: u64,
    pub run: String,
    pub revision: u64,
    pub issued_at: String,
    pub issued_by: String,
    pub schedule: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<NotAfter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Keys that this version does not know, kept on rewrite.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The batch size that the trainer's next step must have for the revision to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size_tokens: Option<u64>,
}

/// The revision is too late once the trainer has seen more tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAfter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// What the approval rested on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub b_opt: Option<f64>,
    pub b_opt_low: Option<f64>,
    pub b_opt_high: Option<f64>,
    pub loss: Option<f64>,
    pub model: Option<String>,
    #[serde(default)]
    pub runs: Vec<String>,
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckStatus {
    Ready,
    Accepted,
    Applied,
    Rejected,
    Ended,
}

/// One line of `NAME.control.ack.jsonl`: the trainer appends.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack {
    pub version: u64,
    pub status: AckStatus,
    pub run: String,
    /// `<job id or host.pid>.<ready lines so far>`.
    pub attempt: String,
    pub revision: Option<u64>,
    /// Steps done and tokens seen so far.
    pub step: Option<u64>,
    pub tokens: Option<u64>,
    /// `accepted`: what was in force until then; `applied`: what is from the next step on.
    pub batch_size_tokens: Option<u64>,
    pub lr_scale: Option<f64>,
    /// `applied` only: which entry; `None` for the trainer's own batch size.
    pub from_tokens: Option<u64>,
    /// `accepted` only: written there alone.
    pub schedule: Option<Vec<Entry>>,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub time: Option<String>,
    /// The five of `ready`: written there, with `null` for no limit, and nowhere else.
    pub unit_tokens: Option<u64>,
    pub min_batch_tokens: Option<u64>,
    pub max_batch_tokens: Option<u64>,
    /// `up` or `both`.
    pub direction: Option<String>,
    pub can_scale_lr: Option<bool>,
    /// Keys that this version does not know.
    pub unknown: Map<String, Value>,
}

fn schedule(v: &Value) -> Option<Vec<Entry>> {
    v.as_array()?.iter().map(entry).collect()
}

pub(super) fn entry(v: &Value) -> Option<Entry> {
    let map = v.as_object()?;
    let lr_scale = match map.get("lr_scale").filter(|v| !absent(v)) {
        None => None,
        Some(v) => Some(v.as_f64()?),
    };
    Some(Entry {
        from_tokens: whole(map.get("from_tokens")?)?,
        batch_size_tokens: whole(map.get("batch_size_tokens")?)?,
        lr_scale,
    })
}

/// A schedule that a trainer can run: at least one entry, `from_tokens` strictly ascending,
/// batch sizes above zero, learning-rate scales positive. The error says which entry is wrong.
pub fn check_schedule(schedule: &[Entry]) -> Result<(), String> {
    if schedule.is_empty() {
        return Err("the schedule is empty, it needs one entry at least".into());
    }
    for (i, e) in schedule.iter().enumerate() {
        if e.batch_size_tokens == 0 {
            return Err(format!("entry {i}: a batch size of 0 tokens"));
        }
        if e.lr_scale.is_some_and(|s| !s.is_finite() || s <= 0.0) {
            return Err(format!("entry {i}: lr_scale must be a number above 0"));
        }
        if i > 0 && e.from_tokens <= schedule[i - 1].from_tokens {
            return Err(format!(
                "entry {i}: from_tokens {} does not lie above {} of the entry before it",
                e.from_tokens,
                schedule[i - 1].from_tokens
            ));
        }
    }
    Ok(())
}

/// The entry under which a step runs that starts with `tokens` seen; `None` before the first one
/// (the trainer's own batch size).
pub fn entry_at(schedule: &[Entry], tokens: u64) -> Option<Entry> {
    schedule.iter().rev().find(|e| e.from_tokens <= tokens).copied()
}

/// Batch size and learning-rate scale of that entry.
pub fn ordered_at(schedule: &[Entry], tokens: u64) -> Option<(u64, f64)> {
    entry_at(schedule, tokens).map(|e| (e.batch_size_tokens, e.lr_scale.unwrap_or(1.0)))
}

impl ControlFile {
    /// Reads a control file.
    ///
    /// # Errors
    /// [`Problem`] when it is not JSON, of another version, or breaks a rule of the protocol.
    pub fn parse(bytes: &[u8]) -> Result<ControlFile, Problem> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|e| Problem::Json(e.to_string()))?;
        ControlFile::from_value(value)
    }

    fn from_value(value: Value) -> Result<ControlFile, Problem> {
        let mut keys = Keys::of(value)?;
        let version = keys.version()?;
        let run = keys.required("run", "a text", |v| v.as_str().map(str::to_string))?;
        let revision =
            keys.required("revision", "a whole number above 0", |v| whole(v).filter(|r| *r > 0))?;
        let issued_at = keys.text("issued_at")?.unwrap_or_default();
        let issued_by = keys.text("issued_by")?.unwrap_or_default();
        let schedule = keys.required("schedule", "a list of entries", schedule)?;
        check_schedule(&schedule).map_err(|found| Problem::Key {
            key: "schedule",
            found,
            expected: "ascending entries with positive batch sizes",
        })?;
        let expect = keys.optional("expect", "an object", |v| {
            let size = optional_count(v, "batch_size_tokens")?;
            Some(Expect { batch_size_tokens: size })
        })?;
        let not_after = keys.optional("not_after", "an object", |v| {
            Some(NotAfter { tokens: optional_count(v, "tokens")? })
        })?;
        // Evidence is for people: what it looks like stops nothing.
        let evidence = keys.take("evidence").and_then(|mut v| {
            v.as_object_mut()?.retain(|_, v| !absent(v));
            serde_json::from_value(v).ok()
        });
        Ok(ControlFile {
            version,
            run,
            revision,
            issued_at,
            issued_by,
            schedule,
            expect,
            not_after,
            evidence,
            unknown: keys.0,
        })
    }
}

impl<'de> Deserialize<'de> for ControlFile {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        ControlFile::from_value(Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl Ack {
    /// Reads one line of acknowledgements.
    ///
    /// # Errors
    /// [`Problem`] as for [`ControlFile::parse`].
    pub fn parse(line: &[u8]) -> Result<Ack, Problem> {
        let value: Value =
            serde_json::from_slice(line).map_err(|e| Problem::Json(e.to_string()))?;
        Ack::from_value(value)
    }

    fn from_value(value: Value) -> Result<Ack, Problem> {
        let mut keys = Keys::of(value)?;
        Ok(Ack {
            version: keys.version()?,
            status: keys.required(
                "status",
                "ready, accepted, applied, rejected or ended",
                |v| serde_json::from_value(v.clone()).ok(),
            )?,
            run: keys.text("run")?.unwrap_or_default(),
            attempt: keys.text("attempt")?.unwrap_or_default(),
            revision: keys.count("revision")?,
            step: keys.count("step")?,
            tokens: keys.count("tokens")?,
            batch_size_tokens: keys.count("batch_size_tokens")?,
            lr_scale: keys.optional("lr_scale", "a number", Value::as_f64)?,
            from_tokens: keys.count("from_tokens")?,
            schedule: keys.optional("schedule", "a list of entries", schedule)?,
            reason: keys.text("reason")?,
            detail: keys.text("detail")?,
            time: keys.text("time")?,
            unit_tokens: keys.count("unit_tokens")?,
            min_batch_tokens: keys.count("min_batch_tokens")?,
            max_batch_tokens: keys.count("max_batch_tokens")?,
            direction: keys.text("direction")?,
            can_scale_lr: keys.optional("can_scale_lr", "true or false", Value::as_bool)?,
            unknown: keys.0,
        })
    }
}

impl Serialize for Ack {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("run", &self.run)?;
        map.serialize_entry("attempt", &self.attempt)?;
        map.serialize_entry("revision", &self.revision)?;
        map.serialize_entry("step", &self.step)?;
        map.serialize_entry("tokens", &self.tokens)?;
        map.serialize_entry("batch_size_tokens", &self.batch_size_tokens)?;
        map.serialize_entry("lr_scale", &self.lr_scale)?;
        map.serialize_entry("from_tokens", &self.from_tokens)?;
        if let Some(schedule) = &self.schedule {
            map.serialize_entry("schedule", schedule)?;
        }
        map.serialize_entry("reason", &self.reason)?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("time", &self.time)?;
        if self.status == AckStatus::Ready {
            map.serialize_entry("unit_tokens", &self.unit_tokens)?;
            map.serialize_entry("min_batch_tokens", &self.min_batch_tokens)?;
            map.serialize_entry("max_batch_tokens", &self.max_batch_tokens)?;
            map.serialize_entry("direction", &self.direction)?;
            map.serialize_entry("can_scale_lr", &self.can_scale_lr)?;
        }
        for (key, value) in &self.unknown {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Ack {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ack::from_value(Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BARE: &str = "{\"version\":1,\"run\":\"a\",\"revision\":1,\"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":8}]}";

    #[test]
    fn null_and_an_empty_object_are_absent_and_counts_may_be_floats() {
        let text = "{\"version\":1.0,\"run\":\"a\",\"revision\":7e0,\"expect\":{},\"not_after\":null,\
                    \"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":4.19e6,\"lr_scale\":null}],\
                    \"evidence\":{\"runs\":null,\"b_opt\":1},\"site\":2}";
        let file = ControlFile::parse(text.as_bytes()).unwrap();
        assert_eq!((file.revision, file.schedule[0].batch_size_tokens), (7, 4_190_000));
        assert_eq!((file.expect, file.not_after), (None, None));
        assert_eq!(file.unknown.keys().collect::<Vec<_>>(), ["site"]);
        assert_eq!(file.evidence.unwrap().b_opt, Some(1.0));
        assert_eq!(ControlFile::parse(BARE.as_bytes()).unwrap().issued_by, "");
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let broken = |from: &str, to: &str| {
            assert!(BARE.contains(from));
            ControlFile::parse(BARE.replace(from, to).as_bytes()).unwrap_err()
        };
        assert!(matches!(broken("\"version\":1", "\"version\":2"), Problem::Version(_)));
        assert!(matches!(broken("\"version\":1", "\"version\":\"1\""), Problem::Version(_)));
        assert!(matches!(
            broken("\"revision\":1", "\"revision\":0"),
            Problem::Key { key: "revision", .. }
        ));
        assert!(matches!(broken("\"revision\":1", "\"revision\":1.5"), Problem::Key { .. }));
        assert!(matches!(broken("\"revision\":1", "\"revision\":null"), Problem::Key { .. }));
        assert!(matches!(
            broken("_tokens\":8", "_tokens\":0"),
            Problem::Key { key: "schedule", .. }
        ));
        assert!(matches!(
            broken("_tokens\":8", "_tokens\":-8"),
            Problem::Key { key: "schedule", .. }
        ));
        assert!(matches!(ControlFile::parse(b"[1]"), Err(Problem::Json(_))));
        assert!(matches!(ControlFile::parse(b"{\"version\":1"), Err(Problem::Json(_))));
    }

    #[test]
    fn a_ready_line_says_every_limit_and_no_other_line_does() {
        let line = |status: &str| {
            let text = format!(
                "{{\"version\":1,\"status\":\"{status}\",\"run\":\"a\",\"attempt\":\"h.1.0\",\"site\":2}}"
            );
            let ack = Ack::parse(text.as_bytes()).unwrap();
            let written = serde_json::to_value(&ack).unwrap();
            assert_eq!(Ack::from_value(written.clone()).unwrap(), ack);
            written.as_object().unwrap().clone()
        };
        let (ready, ended) = (line("ready"), line("ended"));
        for key in ["unit_tokens", "min_batch_tokens", "max_batch_tokens"] {
            assert_eq!((ready.get(key), ended.get(key)), (Some(&Value::Null), None));
        }
        assert_eq!((&ready["revision"], &ended["site"]), (&Value::Null, &Value::from(2)));
    }

    #[test]
    fn the_entry_that_counts_is_the_last_at_or_below() {
        let s = [(10, 1), (20, 2)].map(|(from_tokens, batch_size_tokens)| Entry {
            from_tokens,
            batch_size_tokens,
            lr_scale: None,
        });
        let size = |t| entry_at(&s, t).map(|e| e.batch_size_tokens);
        assert_eq!([9, 10, 19, 20, u64::MAX].map(size), [None, Some(1), Some(1), Some(2), Some(2)]);
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_it_fall(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ControlFile::parse(&bytes);
            let _ = Ack::parse(&bytes);
        }

        #[test]
        fn what_is_written_reads_back(
            revision in 1u64..1 << 50,
            steps in proptest::collection::vec((1u64..1 << 40, 1u64..1 << 30, proptest::option::of((1u32..64).prop_map(|n| f64::from(n) / 8.0))), 1..6),
            expect in proptest::option::of(1u64..1 << 30),
        ) {
            let mut from_tokens = 0;
            let schedule = steps.into_iter().map(|(gap, batch_size_tokens, lr_scale)| {
                from_tokens += gap;
                Entry { from_tokens, batch_size_tokens, lr_scale }
            }).collect();
            let file = ControlFile {
                version: 1, run: "a".into(), revision, issued_at: "t".into(), issued_by: "u@h".into(),
                schedule, expect: expect.map(|b| Expect { batch_size_tokens: Some(b) }), not_after: None,
                evidence: None, unknown: Map::new(),
            };
            let text = serde_json::to_string(&file).unwrap();
            prop_assert_eq!(ControlFile::parse(text.as_bytes()).unwrap(), file);
        }

        #[test]
        fn plain_text_moves_no_terminal(text in any::<String>()) {
            let moves = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
            let fit = !plain(&text).chars().any(moves);
            prop_assert!(fit);
        }
    }
}
