//! Records to a run: attempts resolved, batch size and tokens by order of trust, segments of
//! constant batch size, phases of the learning-rate schedule, smoothing, level crossings.
//!
//! Pure: no I/O, no clock, no terminal. [`Recorder`] takes records as they come; [`RunData`] is
//! what the estimate and the advice read.
//!
//! Units: `step` in optimizer steps, `tokens` cumulative, `batch_size` in tokens per optimizer
//! step, `loss` in nats per token.

mod batch;
mod crossing;
#[cfg(test)]
pub(crate) mod fixture;
mod merge;
mod phase;
mod phase_words;
mod rates;
mod recorder;
mod row;
mod segments;
mod series;
mod smoothing;
mod store;
#[cfg(test)]
pub(crate) mod store_tests;
mod stream;
mod timeline;
mod tokens;

pub use crossing::{Crossing, Falling, Point};
pub use rates::{arrival, log_interval, loss_now, lost_since, pace, throughput, tokens_to};
pub use recorder::Recorder;
pub use series::{Bucket, thin};
pub use smoothing::{Clean, Lines, Noise, Smoothed, WINDOW, clean, smooth};

use serde::Serialize;
use std::ops::Range;

/// Phase of the learning-rate schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Warmup,
    Stable,
    Decay,
}

/// What kind of schedule the learning rate shows so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Constant for most of its life so far, with or without warmup and decay.
    Wsd,
    /// Falls from the peak on without a plateau (cosine, linear, inverse square root).
    Declining,
    /// Neither; the words in [`Phases::why`] say what was seen.
    Unknown,
    /// No learning rate is logged; all of the run counts as stable, and that is said.
    Absent,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseSpan {
    pub phase: Phase,
    /// Index range into [`RunData::train`].
    pub range: Range<usize>,
    /// Learning rate of the plateau, for a stable span.
    pub lr: Option<f64>,
}

/// The phases of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phases {
    pub schedule: Schedule,
    /// Learning rate of the longest plateau.
    pub plateau_lr: Option<f64>,
    /// In order, without gaps, over the whole run. Empty for `Declining` and `Unknown`.
    pub spans: Vec<PhaseSpan>,
    /// Why the schedule was called what it was called.
    pub why: String,
}

/// Columns of one resolved series, ascending in `step`. NaN where a value is not known.
///
/// A row is a record, or in a long run a block of neighbouring records of at most a thousandth of
/// the tokens at its place: then `loss` is their mean without spikes, at their mean step and
/// tokens; `lr` and `time` are those of the last one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    pub step: Vec<f64>,
    pub tokens: Vec<f64>,
    pub loss: Vec<f64>,
    pub lr: Vec<f64>,
    pub batch_size: Vec<f64>,
    /// Unix seconds.
    pub time: Vec<f64>,
    /// Losses in the mean of each row; empty where every row is one record.
    pub count: Vec<f64>,
    /// Lowest and highest loss of each row, spikes included; empty with `count`.
    pub low: Vec<f64>,
    pub high: Vec<f64>,
}

impl Columns {
    fn with_capacity(n: usize) -> Columns {
        let column = || Vec::with_capacity(n);
        Columns {
            step: column(),
            tokens: column(),
            loss: column(),
            lr: column(),
            batch_size: column(),
            time: column(),
            count: column(),
            low: column(),
            high: column(),
        }
    }

    /// Losses that row `i` is the mean of: its weight in a mean over rows.
    pub fn weight(&self, i: usize) -> f64 {
        self.count.get(i).copied().unwrap_or(1.0)
    }

    /// Lowest and highest loss of row `i`.
    pub fn extremes(&self, i: usize) -> (f64, f64) {
        let loss = self.loss[i];
        let at = |c: &[f64]| c.get(i).copied().unwrap_or(loss);
        (at(&self.low), at(&self.high))
    }

    pub fn len(&self) -> usize {
        self.step.len()
    }

    pub fn is_empty(&self) -> bool {
        self.step.is_empty()
    }
}

/// A stretch of constant batch size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    pub batch_size: f64,
    /// Index range into [`RunData::train`].
    pub range: Range<usize>,
    /// Steps and tokens done when this batch size began to act.
    pub from_step: f64,
    pub from_tokens: f64,
    pub to_step: f64,
    pub to_tokens: f64,
}

/// A restart: the later attempt wins from the step at which it resumed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Restart {
    /// Step at which the new attempt logged first.
    pub resumed_at: f64,
    /// Last step of the attempt that it replaced.
    pub discarded_to: f64,
    /// Records that no longer count.
    pub discarded: usize,
}

/// Where a quantity came from, in order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum BatchSource {
    #[serde(rename = "tokens")]
    LoggedTokens,
    #[serde(rename = "sequences*seq_len")]
    Sequences,
    #[serde(rename = "micro*accum*dp*seq_len")]
    MicroBatches,
    #[serde(rename = "tokens/steps")]
    Derived,
    #[serde(rename = "given")]
    Given,
    #[serde(rename = "unknown")]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TokensSource {
    #[serde(rename = "logged")]
    Logged,
    #[serde(rename = "samples*seq_len")]
    Samples,
    /// Per-step token counts added up.
    #[serde(rename = "summed")]
    Summed,
    /// B x steps, added up over the segments; flagged.
    #[serde(rename = "batch*step")]
    BatchTimesStep,
    #[serde(rename = "unknown")]
    Unknown,
}

/// What a user states about runs whose logs do not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assumptions {
    /// Tokens of one sequence (`--seq-len`).
    pub seq_len: Option<f64>,
    /// Batch size in tokens (`--assume-batch`).
    pub batch_size: Option<f64>,
}

/// A known value of each field that a row has beside its loss.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Known {
    pub step: Option<f64>,
    pub tokens: Option<f64>,
    pub lr: Option<f64>,
    pub batch_size: Option<f64>,
    /// Unix seconds.
    pub time: Option<f64>,
}

/// One run, resolved. All the estimate and the advice know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunData {
    pub id: String,
    pub paths: Vec<String>,
    pub train: Columns,
    /// The same with the validation loss in `loss`.
    pub validation: Columns,
    pub segments: Vec<Segment>,
    pub phases: Phases,
    pub restarts: Vec<Restart>,
    /// First and last known values over all rows, those without a loss too.
    pub first: Known,
    pub last: Known,
    pub batch_source: BatchSource,
    pub tokens_source: TokensSource,
    /// What a person should know: assumed values, a counter that jumped, NaN losses.
    pub notes: Vec<String>,
}

impl RunData {
    /// Tokens consumed so far, or NaN.
    pub fn tokens(&self) -> f64 {
        self.train.tokens.last().copied().unwrap_or(f64::NAN)
    }

    pub fn step(&self) -> f64 {
        self.train.step.last().copied().unwrap_or(f64::NAN)
    }

    pub fn batch_size(&self) -> Option<f64> {
        self.segments.last().map(|s| s.batch_size)
    }

    pub fn phase(&self) -> Option<Phase> {
        self.phases.spans.last().map(|s| s.phase)
    }
}
