//! The numbers behind a verdict, in words.

use super::constraints::Constraints;
use super::decide::{Aim, Decision, aim_text, staircase};
use super::outcome::{Futures, stairs_of};
use super::verdict::estimate_text;
use super::{LrRule, Policy, PolicyOutcome};
use crate::curve::{Estimate, LawFit, LossKind, MemorySource};
use crate::units::{count, duration, exact, percent};

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
    pub fn reasons(&self, c: &Constraints, lr_rule: LrRule, can_write: bool) -> Vec<String> {
        let d = self.decision;
        let mut out = vec![match self.estimate {
            Ok(e) => estimate_text(e, c.own),
            Err(why) => why.clone(),
        }];
        out.push(format!("goal: {}", aim_text(self.aim)));
        out.extend(self.aim.words.iter().cloned());
        out.push(worth(self.policies, c.now as f64));
        if !d.planned.is_empty() {
            out.push(format!("planned: {}", staircase(&d.planned)));
        }
        out.push(memory_text(self.futures));
        out.push(format!(
            "the law misses this run's own past by {} of L - L_inf",
            percent(self.miss)
        ));
        if self.fit.on == LossKind::Val {
            out.push("the law was fitted to the validation loss".into());
        }
        out.extend(d.words.iter().cloned());
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
}

fn worth(policies: &[PolicyOutcome], now: f64) -> String {
    let parts: Vec<String> = policies
        .iter()
        .map(|p| {
            let name = match p.policy {
                Policy::Leave => "leaving it",
                Policy::Planned => "planned",
                Policy::Tracking => "tracking B_opt(L)",
                Policy::Single => "best single size from here",
                Policy::WhatIf => "your schedule",
            };
            let tokens = p.tokens.value.map_or("never".into(), count);
            let hours = p.hours.map_or(String::new(), |h| format!(" ({})", duration(h * 3600.0)));
            format!("{name} {tokens}{hours}")
        })
        .collect();
    format!("tokens to the target, of which {} are done: {}", count(now), parts.join(", "))
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
