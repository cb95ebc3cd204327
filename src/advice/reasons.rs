//! The numbers behind a verdict, in words.

use super::aim::Aim;
use super::constraints::Constraints;
use super::decide::{Decision, staircase};
use super::outcome::{Futures, stairs_of};
use super::verdict::estimate_text;
use super::{Goal, LrRule, Policy, PolicyOutcome};
use crate::curve::{Estimate, LawFit, LossKind, MemorySource};
use crate::units::{count, exact, loss, percent};

/// Up to this multiple of the law's error on left-out batch sizes its rival cannot be told from it.
const RIVAL: f64 = 1.25;

/// A run of which a day's tokens would be this many is not priced by the day.
const SHORT: f64 = 24.0;

/// What a verdict rests on.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub fit: &'a LawFit,
    pub futures: &'a Futures,
    pub aim: &'a Aim,
    pub decision: &'a Decision,
    pub policies: &'a [PolicyOutcome],
    pub estimate: &'a Result<Estimate, String>,
    /// Of the run's own past, as a share of L - L_inf.
    pub miss: f64,
}

impl Evidence<'_> {
    /// What decides first, then what it rests on, then what was assumed.
    pub fn reasons(&self, c: &Constraints, lr_rule: LrRule, can_write: bool) -> Vec<String> {
        let d = self.decision;
        let mut out = vec![self.worth(c.now as f64)];
        if !d.planned.is_empty() {
            out.push(format!("planned: {}", staircase(&d.planned)));
        }
        out.extend(d.words.iter().cloned());
        out.extend(rival_text(self.fit));
        out.push(match self.estimate {
            Ok(e) => with_daily_loss(e, c),
            Err(why) => format!("B_opt is not known: {why}"),
        });
        out.push(memory_text(self.futures));
        out.push(format!(
            "the law misses this run's own past by {} of L - L_inf",
            percent(self.miss)
        ));
        out.extend(self.aim.words.iter().cloned());
        if self.fit.on == LossKind::Val {
            out.push("the law was fitted to the validation loss".into());
        }
        out.extend(steps_text(self.futures, self.policies));
        if lr_rule == LrRule::Sqrt {
            out.push(
                "the learning rate is scaled with the square root of the batch ratio; the law was \
                 fitted at one learning rate and does not know what that does"
                    .into(),
            );
        }
        if d.recommended.is_some() && !can_write {
            out.push("nothing can be written from here; the schedule is for the trainer".into());
        }
        out.push(
            "all of this is about the stable-phase loss; a decay anneals much of the noise".into(),
        );
        out
    }

    /// The goal, and how each policy does by it.
    fn worth(&self, now: f64) -> String {
        let decayed = self.aim.goal == Goal::Decayed;
        let parts: Vec<String> = self.policies.iter().map(|p| outcome(p, decayed)).collect();
        let what = if decayed { "loss there before a decay" } else { "reached at" };
        format!("{}; {} tokens are done; {what}: {}", self.aim.text(), count(now), parts.join(", "))
    }
}

/// With what the present batch size costs in a day.
fn with_daily_loss(e: &Estimate, c: &Constraints) -> String {
    let mut text = estimate_text(e, c.own);
    let day = c.tokens_per_second.map(|rate| rate * 86400.0);
    // In a run of minutes nobody counts days.
    let long = day.filter(|day| *day < SHORT * c.now as f64);
    if let (Some(x), Some(day)) = (e.excess(c.own as f64), long) {
        text.push_str(&format!(
            ", which is {} of the {} tokens of a day",
            count(day * x / (1.0 + x)),
            count(day)
        ));
    }
    text
}

fn outcome(p: &PolicyOutcome, decayed: bool) -> String {
    let name = match p.policy {
        Policy::Leave => "leaving it",
        Policy::Planned => "planned",
        Policy::Tracking => "tracking B_opt(L)",
        Policy::Single => "best single size from here",
        Policy::WhatIf => "your schedule",
    };
    let i = if decayed { &p.loss_at_budget } else { &p.tokens };
    let show = |x: f64| if decayed { loss(x) } else { count(x) };
    let Some(value) = i.value else { return format!("{name} never") };
    let range = match (i.low, i.high) {
        (Some(low), Some(high)) if high > low => format!(" ({} to {})", show(low), show(high)),
        (Some(low), None) => format!(" (at least {})", show(low)),
        _ => String::new(),
    };
    format!("{name} {}{range}", show(value))
}

/// Where a law without a noise floor predicts about as well, nothing says that a larger batch helps.
pub(super) fn rival_text(fit: &LawFit) -> Option<String> {
    let (own, rival) = (fit.held_out_nats?, fit.rival_held_out_nats?);
    (rival < RIVAL * own).then(|| {
        format!(
            "a law without a noise floor predicts left-out batch sizes about as well ({rival:.4} \
             nats, the law {own:.4}), and by it the smallest batch needs the fewest tokens"
        )
    })
}

fn memory_text(futures: &Futures) -> String {
    let m = &futures.memory;
    match (m.source, &futures.other) {
        (MemorySource::Assumed, _) if m.tau_steps > 0.0 => format!(
            "how fast noise is forgotten was not measured: slow is assumed (tau {} steps, p {}), \
             savings are what both ends have, and the first change measures it",
            exact(m.tau_steps.round() as u64),
            m.p
        ),
        (MemorySource::Assumed, _) => {
            "noise is taken to be forgotten at once, as asked; savings are what both ends have"
                .into()
        }
        (source, _) => format!(
            "noise is forgotten with tau {} steps, p {:.2}, {}",
            count(m.tau_steps),
            m.p,
            if source == MemorySource::Saved { "from the saved law" } else { "measured" }
        ),
    }
}

/// A learning-rate schedule that counts steps shifts with the batch size.
fn steps_text(futures: &Futures, policies: &[PolicyOutcome]) -> Option<String> {
    let steps = |p: &PolicyOutcome| {
        let stairs = stairs_of(&p.schedule);
        futures.course.along(&stairs).steps(futures.budget)
    };
    let (leave, planned) = (steps(policies.first()?), steps(policies.get(1)?));
    ((leave / planned - 1.0).abs() > 0.01).then(|| {
        format!(
            "a learning-rate schedule that counts steps shifts: {} tokens are step {} under the \
             plan, {} if the run is left; a decay set by step would come late or never, so set it \
             by tokens",
            count(futures.budget),
            exact(planned.round().max(0.0) as u64),
            exact(leave.round().max(0.0) as u64)
        )
    })
}
