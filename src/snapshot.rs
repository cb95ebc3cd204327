//! What is known at one moment: immutable plain data, made by the monitor, drawn by the screen
//! and written out by the reports. No methods that compute, no I/O.

pub use crate::advice::{
    Above, Entry, Goal, GuardAnswer, GuardName, Now, Plan, Policy, PolicyOutcome, TrainerLimits,
    Verdict, VerdictKind, megatron, minicpm_mark,
};
pub use crate::control::{ControlState, Forecast, LogLine, forecast_words};
pub use crate::curve::{
    CurvePoint, FitReport, GroupFit, Interval, LawFit, LevelFit, LossKind, MemorySource, ModelFit,
    ModelKind, Observed, Open, Refused, RunUse, Variation, WindowScore,
};
pub use crate::metrics::{BadLine, SourceState, SourceStatus};
pub use crate::run::{BatchSource, Phase, Restart, Schedule, TokensSource};
use serde::Serialize;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Time of the monitor's clock, Unix seconds: the wall clock live, the recorded one in replay.
    pub at: f64,
    pub replay: Option<ReplayView>,
    /// Nothing can be written.
    pub read_only: bool,
    /// Tokens of one sequence, where that was stated.
    pub seq_len: Option<u64>,
    /// In the order in which they were found.
    pub runs: Vec<Arc<RunView>>,
    pub fit: Arc<FitView>,
    /// Every followed file.
    pub sources: Vec<Arc<SourceStatus>>,
    /// What a person should know that belongs to no run ("waiting for runs/*.jsonl").
    pub messages: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FitView {
    pub report: FitReport,
    /// When the fit was made, on the monitor's clock; `None` before the first.
    pub made_at: Option<f64>,
    /// When its intervals were: before `made_at` while newer ones are being computed.
    pub intervals_at: Option<f64>,
    /// A newer one is being computed.
    pub running: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReplayView {
    pub playing: bool,
    /// Seconds of the record a second.
    pub speed: f64,
    /// Position in the record, 0 to 1.
    pub position: f64,
    /// Recorded times where there are any (Unix seconds), else tokens.
    pub from: f64,
    pub to: f64,
    pub by_tokens: bool,
    /// It goes on to the next decision or bump, as fast as fits can be made.
    pub hunting: bool,
    /// Positions of the decisions and bumps that lie behind, ascending.
    pub changes: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Waiting,
    Live,
    Quiet,
    Ended,
    Restarted,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    pub id: String,
    /// Group of the fit that it belongs to.
    pub group: Option<String>,
    /// Left out of the fits by a person.
    pub excluded: bool,
    pub state: RunState,
    pub phase: Option<Phase>,
    pub schedule: Schedule,
    /// Why the schedule is called so.
    pub schedule_why: String,
    pub step: Option<f64>,
    pub tokens: Option<f64>,
    /// Smoothed, nats per token.
    pub loss: Option<f64>,
    pub lr: Option<f64>,
    pub batch_size: Option<f64>,
    /// Measured over the last window.
    pub tokens_per_second: Option<f64>,
    /// Unix seconds.
    pub last_write: Option<f64>,
    pub paths: Vec<String>,
    pub format: String,
    pub batch_source: BatchSource,
    pub tokens_source: TokensSource,
    pub restarts: Vec<Restart>,
    pub notes: Vec<String>,
    /// Whole lines ever read.
    pub lines: u64,
    pub bad_lines: u64,
    /// At the present loss.
    pub b_opt: Option<Interval>,
    pub excess_tokens: Option<f64>,
    pub verdict: Verdict,
    pub plan: Option<Arc<Plan>>,
    pub control: ControlView,
    pub plots: Arc<RunPlots>,
}

/// Thinned columns of a run for drawing: at most some thousand points, min and max kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunPlots {
    pub loss: Vec<PlotPoint>,
    /// (tokens, loss), smoothed over about +-6 % of the tokens: the line through `loss`.
    pub smooth: Vec<[f64; 2]>,
    pub validation: Vec<PlotPoint>,
    /// (tokens, batch size in tokens): a staircase.
    pub batch_size: Vec<[f64; 2]>,
    /// (tokens, low, value, high) of B_opt at the loss that the run had there; NaN where unknown.
    pub b_opt: Vec<[f64; 4]>,
    /// (phase, from tokens, to tokens).
    pub phases: Vec<(Phase, f64, f64)>,
    /// (loss level, tokens to it over those of the curve that speaks there, less 1).
    pub residuals: Vec<[f64; 2]>,
    /// Tokens at which a restart resumed.
    pub restarts: Vec<f64>,
    /// Recent smoothed losses, evenly spaced in tokens, for the sparkline.
    pub recent: Vec<f64>,
    /// The part that somebody looks at, as finely as it is known.
    pub detail: Option<Arc<Detail>>,
}

/// The losses of a part of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// The tokens that it was asked for.
    pub tokens: [f64; 2],
    pub points: Vec<PlotPoint>,
    /// Steps of the points.
    pub steps: Vec<f64>,
    /// Every line is there; otherwise why means stand for some.
    pub means: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlotPoint {
    pub tokens: f64,
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ControlView {
    /// Path of the control file; empty where the run has none (stdin without `--control`).
    pub path: String,
    pub revision: Option<u64>,
    pub state: Option<ControlState>,
    /// Schedule of the newest revision.
    pub schedule: Vec<Entry>,
    /// The entry still to come.
    pub next: Option<Entry>,
    /// What the trainer said in `ready`; `None` if it never did.
    pub trainer: Option<TrainerLimits>,
    /// Words about the state: the trainer's reason for a rejection, a burned claim, a reader's
    /// warning.
    pub notes: Vec<String>,
    pub proposal: Option<Proposal>,
    /// Proposals that were made elsewhere and are not decided, in words, newest last.
    pub offers: Vec<String>,
    /// What became of the last command, where no proposal carries the answer.
    pub said: Option<String>,
    /// What approved changes promised and what came of it, newest last.
    pub forecasts: Vec<Forecast>,
    /// Newest last.
    pub log: Vec<LogLine>,
}

/// A change drawn up for approval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// Counts up; an approval names it.
    pub number: u64,
    /// In force now.
    pub from: Vec<Entry>,
    pub schedule: Vec<Entry>,
    pub guards: Vec<GuardAnswer>,
    pub policies: Vec<PolicyOutcome>,
    /// What it rests on, in words: the estimate, its age, its source.
    pub evidence: Vec<String>,
    /// The last answer to an approval of it: what was written, or why not.
    pub answer: Option<String>,
}

/// First and last known value of each field of a file: the `REC` of `boptop.inspect/1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct FieldValues {
    pub step: Option<f64>,
    pub tokens: Option<f64>,
    pub loss: Option<f64>,
    pub val_loss: Option<f64>,
    pub lr: Option<f64>,
    pub batch_size_tokens: Option<f64>,
    pub time: Option<f64>,
}

/// What `inspect` says of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    #[serde(flatten)]
    pub status: SourceStatus,
    pub tokens_source: TokensSource,
    pub batch_source: BatchSource,
    pub schedule: Schedule,
    pub first: FieldValues,
    pub last: FieldValues,
}
