//! What a plan aims at: the goal, the loss to reach, the tokens to spend; and what is taken, and
//! said, where a person named none.

use super::constraints::Constraints;
use super::forecast::Way;
use super::outcome::{Futures, stairs_of};
use super::plan::{Ask, BEYOND_TESTED};
use super::policy::single_loss_at;
use super::verdict::{cannot_tell, hold};
use super::{DECAY, Entry, Goal, Verdict};
use crate::curve::LawFit;
use crate::units::{count, duration, exact, loss};

/// A target may lie this far below the lowest loss that the law rests on, as a share of L - L_inf.
const REACH: f64 = 0.5;
/// A run that is left stands still if it gains less than this share of what another size gains.
const STANDS_STILL: f64 = 0.25;
/// This share of the way to a floor takes for ever.
const NEAR_FLOOR: f64 = 0.05;
/// A change that cannot act before this multiple of the tokens so far is none to plan by default.
const FAR: f64 = 3.0;

/// What is aimed at.
#[derive(Debug)]
pub struct Aim {
    pub goal: Goal,
    /// Nats.
    pub target: f64,
    /// Cumulative tokens.
    pub budget: f64,
    /// The budget was given: nothing comes after it.
    pub ends: bool,
    /// Cumulative tokens at which the decay begins.
    pub decay_from: f64,
    /// What was assumed.
    pub words: Vec<String>,
}

impl Aim {
    /// The aim in words.
    pub fn text(&self) -> String {
        let target = loss(self.target);
        match self.goal {
            Goal::Stable => format!("fewest tokens to loss {target} (stable phase)"),
            Goal::Time => format!("fewest hours to loss {target} (stable phase)"),
            Goal::Interim => format!(
                "fewest tokens to loss {target} and at no token count above the loss of leaving \
                 the run"
            ),
            Goal::Decayed => {
                format!("lowest loss after a decay that ends at {} tokens", count(self.budget))
            }
        }
    }
}

impl Ask<'_> {
    pub(super) fn aim(
        &self,
        fit: &LawFit,
        futures: &Futures,
        leave: &[Entry],
    ) -> Result<Aim, Verdict> {
        let mut words = Vec::new();
        let mut goal = self.options.aimed_at();
        if goal == Goal::Time && !futures.throughput.known() {
            goal = Goal::Stable;
            words.push(
                "how many tokens a second it trains is not known (no times are logged), so tokens are \
                 minimised where hours were asked for"
                    .into(),
            );
        }
        let l_inf = futures.course.law().l_inf;
        let lowest = fit.losses[0].min(fit.losses[1]).max(l_inf);
        let least = l_inf + REACH * (lowest - l_inf);
        let asked = self.options.target_loss;
        asked.map_or(Ok(()), |t| reachable(t, l_inf))?;
        let nearest = asked.filter(|t| *t < least && goal != Goal::Decayed);
        if let Some(t) = nearest {
            words.push(format!(
                "the target {} lies too far below the lowest loss that the law rests on ({}): planned \
                 to {}, as far as the law is trusted; the rest is planned when the run gets there",
                loss(t),
                loss(lowest),
                loss(least)
            ));
        }
        let asked = asked.map(|t| if nearest.is_some() { least } else { t });
        let asked = match asked.filter(|_| goal != Goal::Decayed) {
            Some(t) => Some(self.in_reach(t, fit, futures, &mut words)),
            None => asked,
        };
        let stairs = stairs_of(leave);
        let way = futures.course.along(&stairs);
        let now = way.loss(self.run.tokens());
        if let Some(t) = asked.filter(|t| goal != Goal::Decayed && now.min(self.now(now)) <= *t) {
            return Err(hold(
                if self.now(now) > t {
                    format!("the target {} is already reached by the law", loss(t))
                } else {
                    format!("the target {} is already reached", loss(t))
                },
                vec![if self.now(now) > t {
                    format!(
                        "by the law, held to the run's past, it is at {}; its smoothed loss is {}",
                        loss(now),
                        loss(self.now(now))
                    )
                } else {
                    format!("the run is at {}", loss(self.now(now)))
                }],
            ));
        }
        let budget = self.budget(&mut words)?;
        if goal == Goal::Decayed || self.options.decay_tokens.is_some() {
            self.decay_to_come(budget)?;
        }
        let target = match asked {
            Some(t) => t,
            None => self.default_target(futures, &way, [budget, least], goal, &mut words),
        };
        if target < lowest - 1e-9 && goal != Goal::Decayed {
            words.push(format!(
                "the target is extrapolated: the law rests on losses down to {}",
                loss(lowest)
            ));
        }
        if goal == Goal::Decayed {
            words.push(format!(
                "a linear decay to zero from {} tokens on is taken; how much noise it anneals follows \
                 from the memory, which is not yet known to predict across models: no reduction is \
                 planned on it",
                count(self.decay_from(budget))
            ));
        } else if now.min(self.now(now)) <= target {
            return Err(hold(
                "what is left of the budget gains nothing that the law can tell",
                Vec::new(),
            ));
        }
        let ends = self.options.budget_tokens.is_some_and(f64::is_finite);
        Ok(Aim { goal, target, budget, ends, decay_from: self.decay_from(budget), words })
    }

    /// The target, or half of the way to the lowest loss that an allowed size comes to where even the
    /// largest one never gets to the target.
    fn in_reach(
        &self,
        target: f64,
        fit: &LawFit,
        futures: &Futures,
        words: &mut Vec<String>,
    ) -> f64 {
        let c = self.constraints.within(BEYOND_TESTED * fit.batch_sizes[1]);
        let largest = c.ladder(c.own, c.max_bump, f64::INFINITY).last().copied().unwrap_or(c.own);
        let law = futures.course.law();
        let floor = law.l_inf + law.noise(largest as f64);
        let now = self.now(futures.course.along(&[]).loss(self.run.tokens()));
        if target > floor + NEAR_FLOOR * (now - floor) || now <= floor {
            return target;
        }
        let nearer = 0.5 * (now + floor);
        words.push(format!(
            "no batch size that is allowed gets to {} within reason: at {}, the largest, the loss never \
             falls below {}; planned to {}, half of the way there, and a larger ceiling is needed for the \
             rest",
            loss(target),
            exact(largest),
            loss(floor),
            loss(nearer)
        ));
        nearer
    }

    /// Where the decay begins, for a budget.
    pub(super) fn decay_from(&self, budget: f64) -> f64 {
        let length = self.options.decay_tokens.unwrap_or(DECAY * budget);
        self.options.decay_from().unwrap_or((budget - length).max(0.0))
    }

    /// A decay that would have begun already, of a run that is not in one, cannot be planned.
    fn decay_to_come(&self, budget: f64) -> Result<(), Verdict> {
        let (now, from) = (self.run.tokens(), self.decay_from(budget));
        if from > now {
            return Ok(());
        }
        let length = self.options.decay_tokens.unwrap_or(DECAY * budget);
        let whose = |given: bool, flag: &str| {
            if given { flag.to_string() } else { format!("no {flag} was given") }
        };
        Err(cannot_tell(
            format!(
                "a decay of {} tokens ({}) that ends at {} tokens ({}) would have begun before now: \
                 the run is at {} and its learning rate does not fall yet; less than the {} tokens \
                 that are left is needed: give a shorter --decay-tokens or a larger --budget-tokens",
                count(length),
                whose(self.options.decay_tokens.is_some(), "--decay-tokens"),
                count(budget),
                whose(self.options.budget_tokens.is_some(), "--budget-tokens"),
                count(now),
                count(budget - now)
            ),
            Vec::new(),
        ))
    }

    fn now(&self, by_law: f64) -> f64 {
        self.loss.unwrap_or(by_law)
    }

    /// The budget given, else twice the tokens so far, more where the lead time needs it.
    fn budget(&self, words: &mut Vec<String>) -> Result<f64, Verdict> {
        let now = self.run.tokens();
        let c = self.constraints;
        let earliest = c.earliest as f64;
        match self.options.budget_tokens.filter(|b| b.is_finite()) {
            Some(b) if b <= now => Err(hold(
                format!("the budget of {} tokens is spent, the run is at {}", count(b), count(now)),
                Vec::new(),
            )),
            Some(b) if b <= earliest => Err(hold(
                format!("{}, past the budget of {} tokens", self.lead(c), count(b)),
                Vec::new(),
            )),
            Some(b) => Ok(b),
            None if earliest > FAR * now && self.options.target_loss.is_none() => Err(hold(
                format!(
                    "{}, more than {FAR} times the tokens so far; give --budget-tokens or \
                     --target-loss to plan that far, or a shorter --lead",
                    self.lead(c)
                ),
                Vec::new(),
            )),
            None => {
                let budget = (2.0 * now).max(2.0 * earliest - now);
                words.push(if budget > 2.0 * now {
                    format!(
                        "no budget was given: {} tokens are taken, as much again after the first \
                         change as before it; {}",
                        count(budget),
                        self.lead(c)
                    )
                } else {
                    format!(
                        "no budget was given: twice the tokens so far is taken, {}",
                        count(budget)
                    )
                });
                Ok(budget)
            }
        }
    }

    fn lead(&self, c: &Constraints) -> String {
        let rate = c.tokens_per_second.map_or(String::new(), |r| {
            format!(" ({} ahead at {} tokens/s)", duration(self.options.lead_seconds), count(r))
        });
        format!("a change can act at {} tokens at the earliest{rate}", exact(c.earliest))
    }

    /// What leaving the run reaches at the budget; where that is next to nothing, or no lower than
    /// the run is, what the best single batch size reaches.
    fn default_target(
        &self,
        futures: &Futures,
        leave: &Way<'_>,
        [budget, least]: [f64; 2],
        goal: Goal,
        words: &mut Vec<String>,
    ) -> f64 {
        let left = leave.loss(budget);
        let single = single_loss_at(&futures.course, self.constraints, budget).min(left);
        let now = leave.loss(self.run.tokens());
        // What was approved is aimed at until it is reached: what leaving the run reaches at the budget
        // falls with every change that is accepted.
        let approved = self.situation.promised.iter().rev().find_map(|p| p.target_loss);
        let ahead = |t: &f64| *t < now.min(self.now(now)) && *t >= least;
        if let Some(t) = approved.filter(ahead).filter(|_| goal != Goal::Decayed) {
            words.push(format!(
                "no target was given: {} is taken, that of the accepted revision, until it is reached",
                loss(t)
            ));
            return t;
        }
        let (target, who) = if self.now(now) <= left {
            // The law lies a little above the run: what it says of the end is no aim from here.
            (
                single,
                "the best single size from here reaches at the budget, since the run is already at \
                 the loss that leaving it should reach",
            )
        } else if now - left < STANDS_STILL * (now - single) {
            (
                single,
                "the best single size from here reaches at the budget, since leaving it gains \
                 next to nothing",
            )
        } else {
            (left, "leaving the run reaches at the budget")
        };
        let highest = target.max(least);
        if goal != Goal::Decayed {
            let what = if highest > target {
                "as far below the lowest loss of the fit as the law is trusted".to_string()
            } else {
                format!("what {who}")
            };
            words.push(format!("no target was given: {} is taken, {what}", loss(highest)));
        }
        highest
    }
}

fn reachable(t: f64, l_inf: f64) -> Result<(), Verdict> {
    let because = if !t.is_finite() {
        "the target is not a number; give a loss in nats per token".into()
    } else if t <= l_inf {
        format!(
            "the target {} lies at or below the law's floor L_inf = {}, which no batch size \
             reaches; choose a higher target",
            loss(t),
            loss(l_inf)
        )
    } else {
        return Ok(());
    };
    Err(cannot_tell(because, Vec::new()))
}

#[cfg(test)]
#[path = "aim_tests.rs"]
mod tests;
