//! Bytes to records: follow files as they grow, cut lines, parse them, name the fields.
//!
//! In: paths. Out: [`Record`]s in the trainer's own units, and [`SourceStatus`], which says what
//! was detected and what was skipped. This module reads files and writes none; it knows no phase
//! and no fit.

mod again;
mod beside;
mod console;
mod csv;
mod decode;
mod decode_text;
mod defects;
mod discover;
mod document;
mod emit;
mod fields;
mod follow;
mod foreign;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod general;
mod group;
mod keys;
mod known_names;
mod mapping;
mod marks;
mod mend;
mod mllog;
mod names;
mod notes;
mod packed;
mod parse;
mod presets;
mod scan;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod unpack;
mod values;
mod wake;

pub use again::Unreadable;
pub use defects::shown;
pub use discover::Discovery;
pub use fields::{ROLES, Role};
pub use group::RunFiles;
pub use source::Source;
pub use wake::{Look, Wake, on_network};

use crate::error::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a user states about the keys of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// (role, key): `("loss", "train/lm_loss")`. The roles are those of [`ROLES`].
    pub fields: Vec<(String, String)>,
    /// The losses are logged in bits, not nats.
    pub loss_in_bits: bool,
    /// Nothing is taken from files beside the log.
    pub log_only: bool,
}

impl Options {
    /// The stated fields; names that are no role are left out (see [`Options::check`]).
    pub(crate) fn roles(&self) -> Vec<(Role, String)> {
        self.fields
            .iter()
            .filter_map(|(role, key)| Some((Role::from_name(role)?, key.clone())))
            .collect()
    }

    /// # Errors
    /// [`Error::Usage`] for a name that is no role.
    pub fn check(&self) -> Result<()> {
        match self.fields.iter().find(|(role, _)| Role::from_name(role).is_none()) {
            None => Ok(()),
            Some((role, key)) => {
                let known: Vec<&str> = ROLES.iter().map(|(_, n)| *n).collect();
                Err(Error::Usage(format!(
                    "--field {role}={key}: no field is called {role}; fields are {}",
                    known.join(", ")
                )))
            }
        }
    }
}

/// What one line says, in the units the trainer logged. `None`: the line does not say;
/// `Some(NAN)`: the trainer wrote NaN.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Record {
    /// Line of the file (from 1) that this came from.
    pub line: u64,
    /// Optimizer steps done.
    pub step: Option<f64>,
    /// Nats per token.
    pub loss: Option<f64>,
    /// Nats per token, on held-out data.
    pub val_loss: Option<f64>,
    pub lr: Option<f64>,
    /// Cumulative tokens consumed.
    pub tokens: Option<f64>,
    /// Tokens of this one step.
    pub tokens_per_step: Option<f64>,
    /// Cumulative sequences consumed.
    pub samples: Option<f64>,
    /// Batch size in tokens per optimizer step.
    pub batch_tokens: Option<f64>,
    /// Batch size in sequences per optimizer step.
    pub batch_sequences: Option<f64>,
    /// Sequences of one micro-batch on one rank.
    pub micro_batch: Option<f64>,
    /// Micro-batches accumulated in one optimizer step.
    pub grad_accum: Option<f64>,
    pub data_parallel: Option<f64>,
    /// Tokens of one sequence.
    pub seq_len: Option<f64>,
    /// Unix seconds.
    pub time: Option<f64>,
    pub tokens_per_second: Option<f64>,
    /// Revision of the control file that is in force.
    pub control_revision: Option<f64>,
}

/// What following a source yields, in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every item is a record")]
pub enum Input {
    Record(Record),
    /// The file was cut or exchanged and starts anew; what was read before stays true until a
    /// record repeats its steps.
    Restarted,
    /// The whole file was written again (a JSON document): what it said before is gone.
    Replaced,
}

/// Which key of the log plays which role; `None` where no key does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FieldMap {
    pub step: Option<String>,
    pub loss: Option<String>,
    pub val_loss: Option<String>,
    pub tokens: Option<String>,
    pub batch_size: Option<String>,
    pub lr: Option<String>,
    pub time: Option<String>,
}

/// A line that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadLine {
    pub line: u64,
    /// From 1; 0 where no column is known.
    pub column: u64,
    /// `not_json`, `half_line`, `too_long`, `bad_utf8`, ...
    pub kind: String,
    /// The first characters, escaped: safe for a terminal.
    pub text: String,
}

/// Where a source stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum SourceState {
    /// The path does not exist yet.
    Waiting,
    /// Open, and read to its present end or on the way there.
    Open,
    /// It cannot be read now; the words say why and what to do.
    Failed(String),
    /// Recognised as something that boptop does not read (a `.wandb` or event file).
    Unsupported(String),
}

/// A file name that is no text is shown with marks for what is none of it.
fn as_text<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

/// Everything that is known of one followed file apart from its records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceStatus {
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    pub state: SourceState,
    /// Name of the detected trainer or shape (`jsonl`, `lingua`, `megatron`, ...).
    pub format: String,
    /// `none`, `gzip`, `zstd`.
    pub compression: String,
    /// Whole lines ever read, bad ones and ones truncated or rotated away since included.
    pub lines: u64,
    /// Bytes read (as they lie on the disk).
    pub bytes: u64,
    /// Records made of them.
    pub records: u64,
    /// The first few bad lines.
    pub bad_lines: Vec<BadLine>,
    pub bad_count: u64,
    /// The keys seen, flattened, in order of appearance (at most 200).
    pub keys: Vec<String>,
    pub fields: FieldMap,
    /// Unit of the batch size key: `tokens`, `sequences`, ... or `null`.
    pub batch_unit: Option<String>,
    /// What a person should know about this file.
    pub notes: Vec<String>,
    /// The `run` or run name that the log itself states, if any.
    pub run_name: Option<String>,
    /// Steps at which the file started anew or went back.
    pub restarts: Vec<f64>,
    /// Modification time of the last write seen, Unix seconds.
    pub modified: Option<f64>,
    /// All of the file that exists now was read.
    pub at_end: bool,
}
