//! Fits and a run to what to do: the verdict, the policies side by side, the schedule that is
//! recommended, and the guards that speak against it. Pure.
//!
//! [`plan()`] draws a run's future with the joint law and its memory (see [`crate::curve`]) from the
//! run's own past on: `L = L_inf + a (sum B^q dS)^-alpha + noise`, where the noise of a former batch
//! size fades as `F(x) = (1 + x/tau)^-p`. It searches staircases under the trainer's constraints for
//! the goal that a person picked, and sets them beside leaving the run, the best single batch size,
//! and tracking B_opt(L) (Zhou et al., arXiv 2601.05034). A law that misses the run's own past gives
//! no advice ([`OwnPast`]); [`check`] asks every guard of [`GUARDS`] before anything is written.

mod aim;
mod branch;
mod commitment;
mod constraints;
mod dangers;
mod decayed;
mod decide;
mod design;
mod estimate;
mod first_stretch;
mod forecast;
mod guard;
mod horizon;
mod import;
mod judged;
mod no_law;
mod on_the_way;
mod outcome;
mod own_past;
mod plan;
mod planner;
mod policy;
mod promise;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod ramped;
#[cfg(test)]
mod real;
mod reasons;
mod recall;
mod schedule;
mod stakes;
#[cfg(test)]
mod steady_tests;
#[cfg(test)]
mod stop_rule;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verdict;

pub use branch::{Branches, Known, branches, minicpm_mark};
pub use constraints::Constraints;
pub use decayed::{Decayed, decayed};
pub use design::Belief;
pub use estimate::b_opt_at;
pub use forecast::{Course, Stair};
pub use guard::{Answer, Case, GUARDS, Guard, check};
pub use import::{SCHEDULE_FORMS, deviations, parse_schedule};
pub use judged::{Arrival, Outcome, arrived, judge, spoiled};
pub use outcome::as_trained;
pub use own_past::{OwnPast, catch_up_steps, stretches};
pub use plan::plan;
pub use promise::{Promise, promises};
pub use schedule::{
    batch_at, csv, first_change, megatron, parse_what_if, unsaid_lr, with_change, with_lr_rule,
};
pub use verdict::estimate_text;

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

impl GuardName {
    /// As it is written on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            GuardName::NotLive => "not-live",
            GuardName::Warmup => "warmup",
            GuardName::Decay => "decay",
            GuardName::BelowBMin => "below-b-min",
            GuardName::BumpSize => "bump-size",
            GuardName::Unit => "unit",
            GuardName::Limit => "limit",
            GuardName::Direction => "direction",
            GuardName::LeadTime => "lead-time",
            GuardName::StaleEstimate => "stale-estimate",
            GuardName::LawMissesPast => "law-misses-past",
            GuardName::ModelsDisagree => "models-disagree",
            GuardName::CatchUp => "catch-up",
            GuardName::TwoAttempts => "two-attempts",
            GuardName::NoTrainer => "no-trainer",
        }
    }

    /// It says that a change would be wrong now, or too large at once, not that it cannot be made.
    pub fn judges(self) -> bool {
        matches!(
            self,
            GuardName::BumpSize
                | GuardName::CatchUp
                | GuardName::StaleEstimate
                | GuardName::LawMissesPast
                | GuardName::ModelsDisagree
                | GuardName::BelowBMin
                | GuardName::Warmup
                | GuardName::Decay
        )
    }
}

/// A revision that a person took back.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenBack {
    pub revision: u64,
    /// What it had ordered.
    pub schedule: Vec<Entry>,
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
    /// B_opt(L) again, looked up at equal intervals of tokens.
    Interval,
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
    /// The same at the other end of a memory that was not measured (noise forgotten at once where slow
    /// is taken, and the other way round); `None` where it was, and where the target is never reached.
    pub tokens_at_other_end: Option<f64>,
    /// ... and where no noise is forgotten within the horizon.
    pub tokens_if_never: Option<f64>,
    /// Cumulative optimizer steps then: whole ones, as the last one may not be left out.
    pub steps: Option<f64>,
    /// ... with the interval that [`PolicyOutcome::tokens`] has, led through the schedule.
    pub steps_interval: Interval,
    /// From now until then.
    pub hours: Option<f64>,
    /// ... likewise, at the throughput that was measured at each batch size, taken as it is.
    pub hours_interval: Interval,
    /// Share of the law's draws in which it needs more tokens than leaving the run (ends at a higher
    /// loss, where the goal is the loss after a decay); `None` of leaving it, and until the memory is
    /// measured.
    pub risk: Option<f64>,
    pub loss_at_budget: Interval,
    /// Loss after the decay at the budget where that is the goal; nothing is known of it elsewhere.
    pub loss_after_decay: Interval,
    pub memory: crate::curve::MemorySource,
    /// Loss along the way, (tokens, loss), for drawing.
    pub path: Vec<[f64; 2]>,
    /// (tokens, loss) at the quarters of the way of the planned policy to its target (to the budget
    /// where it never gets there, to the decay where that is the goal): the same tokens for all.
    pub on_the_way: Vec<[f64; 2]>,
    /// Where its loss lies farthest above that of leaving the run, until it reaches the target;
    /// `None` of leaving it, and where it never does.
    pub most_above_leave: Option<Above>,
    /// Words that qualify the numbers: what was assumed, what it would be at the other end.
    pub notes: Vec<String>,
}

/// By how much one loss lies above another, nats, and at which cumulative token count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Above {
    pub tokens: f64,
    pub nats: f64,
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
    /// Cumulative tokens between which the first change of the plan may lie at next to no cost.
    pub first_change_between: Option<[f64; 2]>,
    /// The first change of `schedule` is advised for now.
    pub first_change_due: bool,
    /// The same schedule with its changes at the token counts at which they were first shown: those of
    /// one that is due stay, and may lie behind the run, while those of `schedule` lie ahead of it.
    pub committed: Vec<Entry>,
    /// Final losses of decayed runs, for the comparison after the decay.
    pub decayed: Vec<Decayed>,
    /// Cumulative tokens at which the planned decay must begin; `None` without a budget, or where
    /// nobody said how long the decay is.
    pub decay_from: Option<f64>,
    /// Cumulative tokens at which the plan takes a decay to begin that nobody gave budget and length
    /// of; it moves with the run, and is nothing to count down to.
    pub decay_taken: Option<f64>,
}

/// Which memory a plan rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryChoice {
    /// As fitted or saved; slow, and said so, where nothing was.
    Measured,
    /// [`crate::curve::Memory::SLOW`].
    Slow,
    /// [`crate::curve::Memory::INSTANT`].
    Fast,
}

/// What happens to the learning rate when the batch size changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LrRule {
    /// The seed paper's.
    #[default]
    Unchanged,
    /// Times the square root of the batch ratio (arXiv 2505.23971), written as `lr_scale`.
    Sqrt,
}

/// What a person asks of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanOptions {
    /// `None`: fewest tokens to a stable-phase loss.
    pub goal: Option<Goal>,
    /// Nats; `None`: what leaving the run would reach at the budget.
    pub target_loss: Option<f64>,
    /// Cumulative; `None`: twice the tokens so far, said so.
    pub budget_tokens: Option<f64>,
    /// Batch sizes are multiples of it; the trainer's own word goes first.
    pub unit: Option<u64>,
    pub max_batch: Option<u64>,
    pub what_if: Option<Vec<Entry>>,
    /// What the trainer runs by itself: the future of a run that is left, and what it is held
    /// against.
    pub schedule: Option<Vec<Entry>>,
    /// Tokens of the decay, at the end of the budget; `None`: none is planned.
    pub decay_tokens: Option<f64>,
    pub memory: Option<MemoryChoice>,
    /// Largest factor of one change.
    pub max_bump: f64,
    pub lr_rule: LrRule,
    /// A change lies at least this far ahead, in measured throughput.
    pub lead_seconds: f64,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions {
            goal: None,
            target_loss: None,
            budget_tokens: None,
            unit: None,
            max_batch: None,
            what_if: None,
            schedule: None,
            decay_tokens: None,
            memory: None,
            max_bump: 2.0,
            lr_rule: LrRule::Unchanged,
            lead_seconds: 180.0,
        }
    }
}

/// Share of a run that its decay takes where nobody said.
pub(crate) const DECAY: f64 = 0.2;

impl PlanOptions {
    /// Cumulative tokens at which a planned decay begins; for the goal after the decay a fifth of the
    /// budget is taken where its length was not given. `None` without a decay or a budget.
    pub fn decay_from(&self) -> Option<f64> {
        let budget = self.budget_tokens.filter(|b| b.is_finite())?;
        let length = match (self.decay_tokens, self.goal) {
            (Some(length), _) => length,
            (None, Some(Goal::Decayed)) => DECAY * budget,
            (None, _) => return None,
        };
        Some((budget - length).max(0.0))
    }

    /// The goal; after the decay where one is planned and no other was named.
    pub fn aimed_at(&self) -> Goal {
        let planned = self.decay_tokens.is_some() && self.target_loss.is_none();
        self.goal.unwrap_or(if planned { Goal::Decayed } else { Goal::Stable })
    }
}

/// What is known of a run beside its metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Situation {
    /// It is writing now.
    pub live: bool,
    /// Its trainer, or its log, said that it has ended.
    pub ended: bool,
    pub tokens_per_second: Option<f64>,
    /// Tokens between two log lines.
    pub log_interval_tokens: Option<f64>,
    /// From `ready`; `None` if no trainer ever said it.
    pub limits: Option<TrainerLimits>,
    /// The accepted schedule, [`as_trained`].
    pub in_force: Vec<Entry>,
    /// What the accepted changes were to bring, as it was forecast before them; oldest first.
    pub promised: Vec<Promise>,
    /// The revision that orders it.
    pub ordered: Option<u64>,
    /// What that revision took back.
    pub taken_back: Option<TakenBack>,
    /// What was accepted and is not obeyed, in words.
    pub disobeyed: Option<String>,
    pub attempts_alive: usize,
    /// Cumulative tokens at which the batch size last changed.
    pub last_change_tokens: Option<f64>,
    /// Tokens consumed since the estimate was made.
    pub estimate_age_tokens: Option<f64>,
    /// The schedule that was recommended before: its next change is never postponed.
    pub committed: Option<Vec<Entry>>,
    /// The verdict before this one: what changes it has to be a little clearer than what keeps it.
    pub said: Option<VerdictKind>,
    /// boptop could write the control file.
    pub can_write: bool,
    /// Runs fitted with this one whose decay has ended.
    pub decayed: Vec<Decayed>,
}
