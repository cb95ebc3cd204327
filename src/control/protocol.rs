//! Protocol version 1 as types. The README specifies it for authors of trainers.

pub use crate::advice::Entry;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub const VERSION: u64 = 1;

/// `NAME.control.json`: boptop writes, the trainer reads. `schedule` is the whole instruction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    pub version: u64,
    pub status: AckStatus,
    pub run: String,
    /// `<job id or host.pid>.<ready lines so far>`.
    pub attempt: String,
    #[serde(default)]
    pub revision: Option<u64>,
    /// Steps done and tokens seen so far.
    #[serde(default)]
    pub step: Option<u64>,
    #[serde(default)]
    pub tokens: Option<u64>,
    /// `accepted`: what was in force until then; `applied`: what is from the next step on.
    #[serde(default)]
    pub batch_size_tokens: Option<u64>,
    #[serde(default)]
    pub lr_scale: Option<f64>,
    /// `applied` only: which entry; `None` for the trainer's own batch size.
    #[serde(default)]
    pub from_tokens: Option<u64>,
    /// `accepted` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<Entry>>,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub time: Option<String>,
    /// `ready` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_batch_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch_tokens: Option<u64>,
    /// `up` or `both`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_scale_lr: Option<bool>,
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
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
    /// The files beside the metrics `NAME.jsonl`.
    pub fn beside(metrics: &Path) -> Paths {
        let name =
            metrics.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.strip_suffix(".jsonl").unwrap_or(&name);
        Paths::at(&metrics.with_file_name(format!("{stem}.control.json")))
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
