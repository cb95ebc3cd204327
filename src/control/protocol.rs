//! Protocol version 1 as types, read tolerantly: `null` and `{}` are absent, a whole number may be
//! written `4.19e6`, unknown keys are kept. The README specifies it for authors of trainers.

pub use crate::advice::Entry;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The only protocol version that this program reads or writes.
pub const VERSION: u64 = 1;

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
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// `accepted` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<Entry>>,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub time: Option<String>,
    /// `ready` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_batch_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_tokens: Option<u64>,
    /// `up` or `both`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_scale_lr: Option<bool>,
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

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
}

/// The keys of one object, taken out one by one; what is left is unknown.
struct Keys(Map<String, Value>);

impl Keys {
    fn of(value: Value) -> Result<Keys, Problem> {
        match value {
            Value::Object(map) => Ok(Keys(map)),
            other => Err(Problem::Json(format!("found {}", shown(&other)))),
        }
    }

    /// The value of a key; `null` and `{}` are absent.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.shift_remove(key).filter(|v| !absent(v))
    }

    fn optional<T>(
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

    fn required<T>(
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

    fn count(&mut self, key: &'static str) -> Result<Option<u64>, Problem> {
        self.optional(key, "a whole number", whole)
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, Problem> {
        self.optional(key, "a text", |v| v.as_str().map(str::to_string))
    }

    fn version(&mut self) -> Result<u64, Problem> {
        match self.take("version") {
            Some(v) if whole(&v) == Some(VERSION) => Ok(VERSION),
            Some(v) => Err(Problem::Version(shown(&v))),
            None => Err(Problem::Key { key: "version", found: "nothing".into(), expected: "1" }),
        }
    }
}

fn absent(v: &Value) -> bool {
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
fn whole(v: &Value) -> Option<u64> {
    v.as_u64().or_else(|| {
        v.as_f64()
            .filter(|x| x.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(x))
            .map(|x| x as u64)
    })
}

fn schedule(v: &Value) -> Option<Vec<Entry>> {
    v.as_array()?.iter().map(entry).collect()
}

fn entry(v: &Value) -> Option<Entry> {
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

/// `Some(None)` where the key is absent, `None` where it is no count.
fn optional_count(object: &Value, key: &str) -> Option<Option<u64>> {
    match object.as_object()?.get(key).filter(|v| !absent(v)) {
        None => Some(None),
        Some(v) => whole(v).map(Some),
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

impl<'de> Deserialize<'de> for Ack {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ack::from_value(Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

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

/// Text of a stranger made fit for a terminal: control characters and the marks that reorder or
/// hide text become U+FFFD.
pub fn plain(text: &str) -> String {
    let unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
    };
    text.chars().map(|c| if unfit(c) { '\u{fffd}' } else { c }).collect()
}

/// The four places of one run's control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `NAME.control.json`.
    pub control: PathBuf,
    /// `NAME.control.ack.jsonl`.
    pub ack: PathBuf,
    /// `NAME.control.log.jsonl`.
    pub log: PathBuf,
    /// `NAME.control.d/`.
    pub claims: PathBuf,
}

impl Paths {
    /// The files beside the metrics `NAME.jsonl` (also `NAME.jsonl.gz`, `NAME.jsonl.zst`).
    pub fn beside(metrics: &Path) -> Paths {
        Paths::at(&metrics.with_file_name(format!("{}.control.json", name_of(metrics))))
    }

    /// From the control file itself (`--control PATH`, `{run}` already replaced).
    pub fn at(control: &Path) -> Paths {
        let name =
            control.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.strip_suffix(".json").unwrap_or(&name).to_string();
        Paths {
            control: control.to_path_buf(),
            ack: control.with_file_name(format!("{stem}.ack.jsonl")),
            log: control.with_file_name(format!("{stem}.log.jsonl")),
            claims: control.with_file_name(format!("{stem}.d")),
        }
    }
}

/// NAME of the metrics `NAME.jsonl`.
fn name_of(metrics: &Path) -> String {
    let name = metrics.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let open = [".gz", ".zst"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(&name);
    open.strip_suffix(".jsonl").unwrap_or(open).to_string()
}

/// The control files of a run: beside its metrics, or where `--control` or BOPTOP_CONTROL says
/// (`{run}` in it stands for `run_name`).
pub fn control_path(metrics: &Path, run_name: &str, override_: Option<&str>) -> Paths {
    match override_.filter(|o| !o.is_empty()) {
        // A run name that holds a slash must not lead out of the directory.
        Some(o) => Paths::at(Path::new(&o.replace("{run}", &run_name.replace('/', "_")))),
        None => Paths::beside(metrics),
    }
}

/// The id of a run whose trainer gave none: NAME, or its directory's name where NAME is a word
/// that many runs share.
pub fn default_run(metrics: &Path) -> String {
    const GENERIC: [&str; 7] =
        ["metrics", "train", "training", "log", "logging", "trainer_log", "history"];
    let name = name_of(metrics);
    if !GENERIC.contains(&name.as_str()) {
        return name;
    }
    let full = std::path::absolute(metrics).unwrap_or_else(|_| metrics.to_path_buf());
    let directory = full.parent().and_then(Path::file_name);
    directory.map(|d| d.to_string_lossy().into_owned()).unwrap_or(name)
}
