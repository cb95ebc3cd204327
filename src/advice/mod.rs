//! Fits and a run to what to do: the verdict, the policies side by side, the schedule that is
//! recommended, and the guards that speak against it. Pure.

use crate::curve::Interval;
use crate::run::Phase;
use serde::{Deserialize, Serialize};

/// A step of a batch-size schedule: from `from_tokens` on the run trains at `batch_size_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub from_tokens: u64,
    pub batch_size_tokens: u64,
    /// Absolute, against the trainer's own learning-rate schedule; `None` is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr_scale: Option<f64>,
}

/// What the trainer said of itself in `ready`; all unknown without one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TrainerLimits {
    /// Batch sizes are multiples of this (micro-batch x data-parallel x seq_len).
    pub unit_tokens: Option<u64>,
    pub min_batch_tokens: Option<u64>,
    pub max_batch_tokens: Option<u64>,
    /// The trainer can only raise the batch size.
    pub up_only: bool,
    pub can_scale_lr: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Fewest tokens to a stable-phase loss.
    Stable,
    /// Lowest loss after the decay at the token budget.
    Decayed,
    /// Never above a given loss on the way.
    Interim,
    /// Fewest hours to a stable-phase loss.
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    Hold,
    Raise,
    Lower,
    CannotTell,
}

/// The answer in words; `text` begins with hold, raise, lower or cannot tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub kind: VerdictKind,
    pub text: String,
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardName {
    NotLive,
    Warmup,
    Decay,
    BelowBMin,
    BumpSize,
    Unit,
    Limit,
    Direction,
    LeadTime,
    StaleEstimate,
    LawMissesPast,
    ModelsDisagree,
    CatchUp,
    TwoAttempts,
    NoTrainer,
}

/// What a guard says of a proposal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardAnswer {
    pub name: GuardName,
    /// Approval is blocked unless this guard is overridden by name.
    pub blocks: bool,
    /// What was seen, what it may mean, what to do.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    Leave,
    Planned,
    Tracking,
    Single,
    WhatIf,
}

/// What a policy costs and brings, by the law with memory from the run's own past on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyOutcome {
    pub policy: Policy,
    pub schedule: Vec<Entry>,
    pub target_loss: Option<f64>,
    /// Cumulative tokens at which the target is reached; no value where it never is.
    pub tokens: Interval,
    pub steps: Option<f64>,
    pub hours: Option<f64>,
    pub loss_at_budget: Interval,
    pub memory: crate::curve::MemorySource,
    /// Loss along the way, (tokens, loss), for drawing.
    pub path: Vec<[f64; 2]>,
    /// Words that qualify the numbers: what was assumed, what it would be at the other end.
    pub notes: Vec<String>,
}

/// Where the run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Now {
    pub batch_size_tokens: Option<f64>,
    pub tokens: Option<f64>,
    pub step: Option<f64>,
    pub loss: Option<f64>,
    pub phase: Option<Phase>,
}

/// All that is advised for one run; serialized as `boptop.plan/1`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub run: String,
    pub now: Now,
    pub verdict: Verdict,
    pub b_opt: Interval,
    /// E(B)/E_min - 1 at the present batch size and loss.
    pub excess_tokens_now: Option<f64>,
    /// The recommended schedule, whole: the entry in force and those to come.
    pub schedule: Vec<Entry>,
    /// What the guards say of that schedule.
    pub guards: Vec<GuardAnswer>,
    pub goal: Goal,
    pub policies: Vec<PolicyOutcome>,
}
