//! The numbers behind a verdict, in words.

use super::aim::Aim;
use super::constraints::Constraints;
use super::decide::{Decision, staircase};
use super::outcome::{Futures, stairs_of};
use super::verdict::estimate_text;
use super::{DECAY, Goal, LrRule, PlanOptions, Policy, PolicyOutcome, Situation};
use crate::curve::{Estimate, Interval, LawFit, LossKind, Memory, MemorySource};
use crate::units::{count, duration, exact, loss, percent};

/// Up to this multiple of the law's error on left-out batch sizes its rival cannot be told from it.
const RIVAL: f64 = 1.25;

/// ... unless it predicts the later half of the runs worse than the law by this factor.
const MISFIT: f64 = 1.5;

/// Draws that tell an interval.
const LEAST_DRAWS: usize = 10;
/// ... whose ends, so far apart, say next to nothing.
const LOOSE: f64 = 100.0;

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
    /// The first change is for now.
    pub due: bool,
    /// Why no memory was measured.
    pub memory_refused: Option<&'a str>,
}

impl Evidence<'_> {
    /// What decides first, then what it rests on, then what was assumed.
    pub fn reasons(
        &self,
        c: &Constraints,
        options: &PlanOptions,
        situation: &Situation,
    ) -> Vec<String> {
        let d = self.decision;
        let mut out = vec![self.worth(c.now as f64)];
        if !d.planned.is_empty() {
            out.push(self.planned(options, situation));
        }
        out.extend(d.words.iter().cloned());
        out.extend(rival_text(self.fit));
        out.push(match self.estimate {
            Ok(e) => with_daily_loss(e, c),
            Err(why) => format!("B_opt is not known: {why}"),
        });
        out.extend(self.fit.q_text());
        out.push(memory_text(self.fit, self.futures, self.memory_refused));
        out.push(format!(
            "the law misses this run's own past by {} of L - L_inf",
            percent(self.miss)
        ));
        out.extend(self.futures.throughput.words());
        out.extend(self.aim.words.iter().cloned());
        if self.fit.on == LossKind::Val {
            out.push("the law was fitted to the validation loss".into());
        }
        out.extend(steps_text(self, options));
        if options.lr_rule == LrRule::Sqrt {
            let can = situation.limits.as_ref().is_none_or(|l| l.can_scale_lr);
            out.push(match can {
                true => {
                    "the learning rate is scaled with the square root of the batch ratio; the law \
                         was fitted at one learning rate and does not know what that does"
                        .into()
                }
                false => {
                    "the learning rate is not scaled, though the square root of the batch ratio \
                          was asked for: the trainer says that it cannot"
                        .into()
                }
            });
        }
        if d.recommended.is_some() && !situation.can_write {
            out.push("nothing can be written from here; the schedule is for the trainer".into());
        }
        out.push(super::decayed::words(&situation.decayed));
        out
    }

    /// The staircase, and how much its first change may move.
    fn planned(&self, options: &PlanOptions, situation: &Situation) -> String {
        let d = self.decision;
        let (stairs, from) = match d.planned.split_first() {
            // What follows moves on with a change that nobody has approved yet.
            Some(((at, to), rest)) if self.due => {
                let one = |(t, b): &(u64, u64)| {
                    format!(", {} {} tokens later", exact(*b), count((t - at) as f64))
                };
                let later: String = rest.iter().map(one).collect();
                (format!("{} now{later}", exact(*to)), None)
            }
            _ => (staircase(&d.planned), d.first_between.map(|b| b[0])),
        };
        let between = d.first_between.map_or(String::new(), |[_, to]| {
            let when = match from {
                Some(from) => format!("anywhere from {} to {}", count(from), count(to)),
                None => format!("up to {}", count(to)),
            };
            format!("; {when} the first change costs at most 2 % of what is still to go")
        });
        let needs = if self.due && situation.live && options.lead_seconds >= 1.0 {
            format!(" (a change acts {} later at the earliest)", duration(options.lead_seconds))
        } else {
            String::new()
        };
        format!("planned: {stairs}{between}{needs}")
    }

    /// The goal, and how each policy does by it.
    fn worth(&self, now: f64) -> String {
        let decayed = self.aim.goal == Goal::Decayed;
        let in_hours = self.aim.goal == Goal::Time && self.futures.throughput.known();
        let of = |p: &PolicyOutcome| match (decayed, in_hours) {
            (true, _) => outcome(p, &p.loss_after_decay, loss),
            (_, true) => outcome(p, &p.hours_interval, |h| duration(h * 3600.0)),
            _ => outcome(p, &p.tokens, count),
        };
        let parts: Vec<String> = self.policies.iter().map(of).collect();
        let what = match (decayed, in_hours) {
            (true, _) => "loss after it",
            (_, true) => "hours from now",
            _ => "reached at",
        };
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
            ", which is {} of the {} tokens and {:.1} of the 24 hours of a day",
            count(day * x / (1.0 + x)),
            count(day),
            24.0 * x / (1.0 + x)
        ));
    }
    text
}

fn outcome(p: &PolicyOutcome, i: &Interval, show: impl Fn(f64) -> String) -> String {
    let name = match p.policy {
        Policy::Leave => "leaving it",
        Policy::Planned => "planned",
        Policy::Tracking => "tracking B_opt(L)",
        Policy::Interval => "B_opt(L) at equal intervals",
        Policy::Single => "best single size from here",
        Policy::WhatIf => "your schedule",
    };
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
    // Few sizes leave one out of few: what came later in the runs counts too.
    let later = fit.rival_future_nats.zip(fit.future_nats);
    let misfits = later.is_some_and(|(rival, own)| rival > MISFIT * own);
    (rival < RIVAL * own && !misfits).then(|| {
        format!(
            "a law without a noise floor predicts left-out batch sizes about as well ({rival:.4} \
             nats, the law {own:.4}), and by it the smallest batch needs the fewest tokens"
        )
    })
}

fn memory_text(fit: &LawFit, futures: &Futures, refused: Option<&str>) -> String {
    let m = &futures.memory;
    let why = refused.map_or(String::new(), |why| format!(" ({why})"));
    match (m.source, &futures.other) {
        (MemorySource::Assumed, _) if m.tau_steps > 0.0 => format!(
            "how fast noise is forgotten was not measured{why}: slow is assumed (tau {} steps, p {}), \
             a saving is one that forgetting at once has too, and the first change measures it",
            exact(m.tau_steps.round() as u64),
            m.p
        ),
        (MemorySource::Assumed, _) => {
            "noise is taken to be forgotten at once, as asked; a saving is one that slow forgetting \
             has too"
                .into()
        }
        (MemorySource::Measured, _) if fit.along_changes => format!(
            "law and memory (tau {} steps, p {:.2}) are fitted at once along the batch changes of {} \
             runs; a batch size left out is missed by {} nats",
            count(m.tau_steps),
            m.p,
            fit.memory_checks.len(),
            fit.held_out_nats.map_or("?".into(), |h| format!("{h:.4}")),
        ),
        (source, _) => format!(
            "noise is forgotten with tau {} steps, p {:.2}, {}{}",
            count(m.tau_steps),
            m.p,
            if source == MemorySource::Saved { "from the saved law" } else { "measured" },
            half_text(fit)
        ),
    }
}

/// Over how many steps half of the old noise is forgotten, by the draws of the memory; empty where
/// they are too few to tell.
fn half_text(fit: &LawFit) -> String {
    let half = |m: &Memory| m.tau_steps * (2f64.powf(1.0 / m.p) - 1.0);
    let mut all: Vec<f64> = fit.with_memory.iter().map(|(_, m)| half(m)).collect();
    all.retain(|h| h.is_finite());
    all.sort_by(f64::total_cmp);
    let n = all.len();
    if n < LEAST_DRAWS {
        return String::new();
    }
    let [low, high] = [n / 20, n - 1 - n / 20].map(|i| all[i].max(1.0));
    let loose = high > LOOSE * low;
    format!(
        "; half of it within {} to {} steps (90 %){}",
        count(low),
        count(high),
        if loose {
            ", which is hardly known, and the plan is weighed over all of that"
        } else {
            ""
        }
    )
}

/// A learning-rate schedule that counts steps shifts with the batch size: where its decay must begin.
fn steps_text(e: &Evidence<'_>, options: &PlanOptions) -> Option<String> {
    let futures = e.futures;
    let given = options.decay_from();
    let begins = given.unwrap_or((1.0 - DECAY) * futures.budget);
    let steps = |p: &PolicyOutcome| {
        let stairs = stairs_of(&p.schedule);
        futures.course.along(&stairs).steps(begins)
    };
    // What the verdict says is done: a plan that is not recommended moves no decay.
    let advised = usize::from(e.decision.recommended.is_some());
    let (leave, planned) = (steps(e.policies.first()?), steps(e.policies.get(advised)?));
    let to_come = begins > futures.course.tokens();
    let shifts = to_come && (leave / planned - 1.0).abs() > 0.01;
    let step = |x: f64| exact(x.round().max(0.0) as u64);
    let what = match given {
        Some(_) => "the decay".to_string(),
        None => format!("a decay over the last {} of the budget", percent(DECAY)),
    };
    // A change that is made stays one for whoever set the decay by steps before it.
    let first = e.policies.first()?.schedule.first().filter(|f| f.from_tokens == 0);
    let set = first.map(|f| (f.batch_size_tokens, begins / f.batch_size_tokens.max(1) as f64));
    // A ramp that was declared is one that whoever set it knew of.
    let set = set.filter(|_| options.schedule.is_none());
    let set = set.filter(|(_, steps)| to_come && (steps / planned - 1.0).abs() > 0.01);
    if let Some((size, steps)) = set.filter(|_| !shifts) {
        return Some(format!(
            "a learning-rate schedule that counts steps has shifted with the batch size: {what} begins \
             at {} tokens, which is step {}, and was step {} at the {} tokens a step that the run began \
             with; set by step before the change it comes {}, so set it by tokens or move it to step {}",
            count(begins),
            step(planned),
            step(steps),
            exact(size),
            if planned < steps { "too late, or never" } else { "too early" },
            step(planned)
        ));
    }
    shifts.then(|| {
        format!(
            "a learning-rate schedule that counts steps shifts: {} begins at {} tokens, which is step \
             {} under the plan and {} if the run is left{}; set by step it would come {}, so set it by \
             tokens or move it to step {}",
            what,
            count(begins),
            step(planned),
            step(leave),
            set.filter(|(_, steps)| (steps / leave - 1.0).abs() > 0.01).map_or(String::new(), |(b, s)| {
                format!(" ({} at the {} tokens a step that it began with)", step(s), exact(b))
            }),
            if planned < leave { "too late, or never" } else { "too early" },
            step(planned)
        )
    })
}
