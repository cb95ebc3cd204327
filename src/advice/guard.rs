//! Guards: each looks at one danger of a proposed schedule and passes, blocks, or cannot tell.
//! What blocks can be overridden by name, one by one. A new guard is a struct here and a line in
//! [`GUARDS`].

use super::constraints::Constraints;
use super::dangers::{
    below_b_min, bump_size, catch_up, law_misses_past, lead_time, models_disagree,
};
use super::estimate::{estimate_of, no_loss};
use super::schedule::first_change;
use super::{Entry, GuardAnswer, GuardName, PlanOptions, Situation};
use crate::curve::{Estimate, GroupFit};
use crate::run::{Phase, RunData, Schedule};
use crate::units::{count, exact};
use std::fmt::Debug;

/// What a guard says: what was seen, what it may mean, what to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Pass,
    Block(String),
    CannotTell(String),
}

/// A proposal and all that is known.
#[derive(Debug)]
pub struct Case<'a> {
    pub run: &'a RunData,
    pub loss: Option<f64>,
    pub group: Option<&'a GroupFit>,
    pub situation: &'a Situation,
    pub options: &'a PlanOptions,
    pub constraints: &'a Constraints,
    /// Where the proposal first differs from what is in force.
    pub change_at: u64,
    /// Every change of size still to come: (at tokens, from, to).
    pub bumps: Vec<(u64, u64, u64)>,
    pub estimate: Result<Estimate, String>,
}

pub trait Guard: Debug + Sync {
    fn name(&self) -> GuardName;
    fn ask(&self, case: &Case<'_>) -> Answer;
}

/// All guards, in the order in which they are shown.
pub const GUARDS: &[&dyn Guard] = &[
    &NotLive,
    &NoTrainer,
    &TwoAttempts,
    &Warmup,
    &Decay,
    &LeadTime,
    &CatchUp,
    &UnitGuard,
    &Limit,
    &Direction,
    &BumpSize,
    &BelowBMin,
    &StaleEstimate,
    &LawMissesPast,
    &ModelsDisagree,
];

/// The guards that speak against `schedule`, or cannot tell; empty for a schedule that changes
/// nothing. To be asked again on the present state before a write.
pub fn check(
    schedule: &[Entry],
    run: &RunData,
    loss_now: Option<f64>,
    group: Option<&GroupFit>,
    situation: &Situation,
    options: &PlanOptions,
) -> Vec<GuardAnswer> {
    let Some(constraints) = Constraints::of(run, situation, options) else {
        return vec![GuardAnswer {
            name: GuardName::LeadTime,
            blocks: true,
            text: "the log tells no cumulative tokens or no batch size, so a change could act at \
                   any moment; give --assume-batch or --seq-len"
                .into(),
        }];
    };
    let c = &constraints;
    let Some(change_at) = first_change(&situation.in_force, schedule, c.own, c.now) else {
        return Vec::new();
    };
    let case = Case {
        run,
        loss: loss_now.filter(|l| l.is_finite()),
        group,
        situation,
        options,
        constraints: c,
        change_at,
        bumps: bumps(schedule, c),
        estimate: match (group, loss_now) {
            (Some(g), Some(l)) => estimate_of(run, g, l),
            (None, _) => Err("there is no fit for this run".into()),
            (_, None) => Err(no_loss(run)),
        },
    };
    let say = |g: &&dyn Guard| match g.ask(&case) {
        Answer::Pass => None,
        Answer::Block(text) => Some(GuardAnswer { name: g.name(), blocks: true, text }),
        Answer::CannotTell(text) => Some(GuardAnswer { name: g.name(), blocks: false, text }),
    };
    GUARDS.iter().filter_map(say).collect()
}

/// What is known of them: a smallest size that nobody gave is none.
fn limits(c: &Constraints) -> String {
    let least = (c.min > 1).then(|| format!("at least {}", exact(c.min)));
    let most = c.max.map(|m| format!("at most {}", exact(m)));
    least.into_iter().chain(most).collect::<Vec<_>>().join(", ")
}

fn bumps(schedule: &[Entry], c: &Constraints) -> Vec<(u64, u64, u64)> {
    let mut at = c.own;
    let mut out = Vec::new();
    let first = schedule.iter().rposition(|e| e.from_tokens <= c.now).unwrap_or(0);
    for e in &schedule[first.min(schedule.len())..] {
        if e.batch_size_tokens != at {
            out.push((e.from_tokens.max(c.now), at, e.batch_size_tokens));
            at = e.batch_size_tokens;
        }
    }
    out
}

macro_rules! guards {
    ($($(#[$doc:meta])* $guard:ident is $name:ident: $ask:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $guard;
        impl Guard for $guard {
            fn name(&self) -> GuardName {
                GuardName::$name
            }
            fn ask(&self, case: &Case<'_>) -> Answer {
                let ask: fn(&Case<'_>) -> Answer = $ask;
                ask(case)
            }
        }
    )*};
}

fn block_if(bad: bool, text: impl FnOnce() -> String) -> Answer {
    if bad { Answer::Block(text()) } else { Answer::Pass }
}

guards! {
    /// The run writes no metrics now.
    NotLive is NotLive: |c| block_if(!c.situation.live, || {
        "the run is not writing metrics now, so it may have ended or hang, and nothing would show \
         whether it obeys; wait until it writes".into()
    });

    /// No trainer ever said `ready`, or it does not do what it accepted.
    NoTrainer is NoTrainer: |c| match (&c.situation.disobeyed, &c.situation.limits) {
        (Some(why), _) => Answer::Block(why.clone()),
        (None, None) => Answer::Block(
            "no trainer has said ready beside this run, so perhaps nobody reads the control file, \
             and its unit and limits are unknown; add the adapter to the trainer (boptop adapter)"
                .into(),
        ),
        (None, Some(_)) => Answer::Pass,
    };

    /// Two attempts write at once.
    TwoAttempts is TwoAttempts: |c| block_if(c.situation.attempts_alive > 1, || format!(
        "{} attempts of this run are alive and would both obey; end all but one",
        c.situation.attempts_alive
    ));

    /// The learning rate still rises.
    Warmup is Warmup: |c| match (c.run.phase(), c.run.phases.schedule) {
        (Some(Phase::Warmup), _) => Answer::Block(
            "the run is in its warmup, where no estimate holds; wait for the stable phase".into(),
        ),
        (_, Schedule::Absent) => Answer::CannotTell(
            "no learning rate is logged, so the phase is not known; check that the warmup is over \
             and the decay has not begun".into(),
        ),
        _ => Answer::Pass,
    };

    /// The learning rate falls.
    Decay is Decay: |c| match (c.run.phase(), c.run.phases.schedule) {
        (Some(Phase::Decay), _) => Answer::Block(
            "the run is in its decay, where the batch size is not changed: the estimate is one of \
             the stable phase".into(),
        ),
        (_, Schedule::Declining) => Answer::Block(format!(
            "the learning rate declines from its peak on ({}), and the estimate holds for a \
             constant one only",
            c.run.phases.why
        )),
        (_, Schedule::Unknown) => Answer::CannotTell(format!(
            "the learning-rate schedule is not understood ({}); check that the run is in its \
             stable phase",
            c.run.phases.why
        )),
        _ => Answer::Pass,
    };

    /// The change lies too close to be seen in time.
    LeadTime is LeadTime: |c| lead_time(c);

    /// The last change has not shown its effect yet.
    CatchUp is CatchUp: |c| catch_up(c);

    /// Multiples of micro-batch x data-parallel x seq_len.
    UnitGuard is Unit: |c| match c.constraints.unit {
        None => Answer::CannotTell(
            "the trainer's unit (micro-batch x data-parallel x seq_len) is not known; check that \
             each batch size is a multiple of it, or give --unit".into(),
        ),
        Some(unit) => {
            let odd = c.bumps.iter().find(|(_, _, b)| !b.is_multiple_of(unit));
            odd.map_or(Answer::Pass, |(_, _, b)| Answer::Block(format!(
                "{} is not a multiple of the trainer's unit of {} tokens; the nearest one below is \
                 {}",
                exact(*b), exact(unit), exact(b / unit * unit)
            )))
        }
    };

    /// The trainer's, or the person's, smallest and largest batch size.
    Limit is Limit: |c| {
        let k = c.constraints;
        let out = c.bumps.iter().find(|(_, _, b)| {
            *b < k.min || k.max.is_some_and(|m| *b > m)
        });
        out.map_or(Answer::Pass, |(_, _, b)| Answer::Block(format!(
            "{} tokens lies outside the limits ({}); choose one within",
            exact(*b), limits(k)
        )))
    };

    /// Some trainers only raise.
    Direction is Direction: |c| {
        let down = c.bumps.iter().find(|(_, from, to)| to < from);
        match down {
            Some((_, from, to)) if c.constraints.up_only => Answer::Block(format!(
                "the trainer can only raise its batch size, and {} is below {}; a restart with \
                 another setting would be needed",
                exact(*to), exact(*from)
            )),
            _ => Answer::Pass,
        }
    };

    /// Neither too large at once nor too small to be worth it.
    BumpSize is BumpSize: |c| bump_size(c);

    /// Below B_min the loss is never reached.
    BelowBMin is BelowBMin: |c| below_b_min(c);

    /// The estimate is old.
    StaleEstimate is StaleEstimate: |c| {
        let Some(age) = c.situation.estimate_age_tokens.filter(|a| a.is_finite()) else {
            return Answer::Pass;
        };
        let interval = c.situation.log_interval_tokens.unwrap_or(0.0);
        let most = (0.1 * c.constraints.now as f64).max(20.0 * interval);
        block_if(age > most, || format!(
            "the estimate was made {} tokens ago (at most {} is fresh), and the run has moved on; \
             wait for a new fit",
            count(age), count(most)
        ))
    };

    /// The law does not explain what this run did.
    LawMissesPast is LawMissesPast: |c| law_misses_past(c);

    /// Models that predict equally well say opposite things.
    ModelsDisagree is ModelsDisagree: |c| models_disagree(c);
}
