//! A run's plan: what is known, what must be refused, the policies side by side, the verdict.

use super::branch::{branches, minicpm_mark};
use super::constraints::{Constraints, Throughput};
use super::dangers::veto_text;
use super::decide::{Aim, Choice, Decision, entries};
use super::estimate::b_opt_at;
use super::forecast::Way;
use super::guard::check;
use super::outcome::{Futures, present, stairs_of};
use super::own_past::{OwnPast, VETO, last_bump, stretches};
use super::policy::single_loss_at;
use super::reasons::Evidence;
use super::schedule::with_lr_rule;
use super::verdict::{cannot_tell, estimate_text, from_decision, from_estimate, hold};
use super::{
    Entry, Goal, LrRule, MemoryChoice, Now, Plan, PlanOptions, Policy, PolicyOutcome, Situation,
    Verdict,
};
use crate::curve::{Estimate, GroupFit, Interval, LawFit, Memory, MemorySource};
use crate::run::{Phase, RunData, Schedule};
use crate::units::{count, loss};

/// A target may lie this far below the lowest loss that the law rests on, as a share of L - L_inf.
const REACH: f64 = 0.5;
/// Nothing larger than this multiple of the largest tested batch size is planned.
const BEYOND_TESTED: f64 = 2.0;
/// A run that is left stands still if it gains less than this share of what another size gains.
const STANDS_STILL: f64 = 0.25;

/// The memory that a plan rests on: measured or saved, else slow.
pub fn memory_of(fit: &LawFit, choice: Option<MemoryChoice>) -> Memory {
    match choice {
        Some(MemoryChoice::Slow) => Memory::SLOW,
        Some(MemoryChoice::Fast) => Memory::INSTANT,
        _ if fit.memory.source != MemorySource::Assumed => fit.memory,
        _ => Memory::SLOW,
    }
}

/// All that is advised for one run. `loss_now` is its smoothed stable-phase loss. Refusals are
/// verdicts that begin with "cannot tell" and say what is missing.
pub fn plan(
    run: &RunData,
    loss_now: Option<f64>,
    group: Option<&GroupFit>,
    situation: &Situation,
    options: &PlanOptions,
) -> Plan {
    let loss_now = loss_now.filter(|l| l.is_finite());
    let constraints = Constraints::of(run, situation, options);
    // A loss of the warmup or the decay is none that the fits know.
    let unstable = matches!(run.phase(), Some(Phase::Warmup | Phase::Decay))
        || run.phases.schedule == Schedule::Declining;
    let estimate = group.zip(loss_now).filter(|_| !unstable).map(|(g, l)| b_opt_at(g, l));
    let finite = |x: f64| x.is_finite().then_some(x);
    let own = constraints.as_ref().map(|c| c.own as f64);
    let known = estimate.as_ref().and_then(|e| e.as_ref().ok());
    let mut plan = Plan {
        run: run.id.clone(),
        now: Now {
            batch_size_tokens: own.or(run.batch_size()),
            tokens: finite(run.tokens()),
            step: finite(run.step()),
            loss: loss_now,
            phase: run.phase(),
        },
        verdict: cannot_tell("the log tells no cumulative tokens or no batch size", Vec::new()),
        b_opt: known.map_or(Interval::UNKNOWN, |e| e.b_opt),
        excess_tokens_now: known.zip(own).and_then(|(e, b)| e.excess(b)),
        schedule: situation.in_force.clone(),
        guards: Vec::new(),
        goal: options.goal.unwrap_or(Goal::Stable),
        policies: Vec::new(),
    };
    let Some(constraints) = constraints else {
        plan.verdict.reasons.push("give --seq-len or --batch-size".into());
        return plan;
    };
    let began = match run.segments.as_slice() {
        [.., _, last] => last.from_tokens,
        _ => 0.0,
    };
    let behind = present(&situation.in_force, began, &constraints);
    let mut leave = behind.clone();
    leave.extend(situation.in_force.iter().filter(|e| e.from_tokens > constraints.now));
    plan.schedule = leave.clone();
    let ask = Ask { run, loss: loss_now, group, situation, options, constraints: &constraints };
    match ask.advise(estimate, &behind, &leave) {
        Err(verdict) => plan.verdict = verdict,
        Ok(advice) => {
            plan.verdict = advice.verdict;
            plan.policies = advice.policies;
            plan.schedule = advice.schedule;
            plan.guards = check(&plan.schedule, run, loss_now, group, situation, options);
        }
    }
    plan
}

struct Ask<'a> {
    run: &'a RunData,
    loss: Option<f64>,
    group: Option<&'a GroupFit>,
    situation: &'a Situation,
    options: &'a PlanOptions,
    constraints: &'a Constraints,
}

struct Advice {
    verdict: Verdict,
    policies: Vec<PolicyOutcome>,
    schedule: Vec<Entry>,
}

impl Ask<'_> {
    fn advise(
        &self,
        estimate: Option<Result<Estimate, String>>,
        behind: &[Entry],
        leave: &[Entry],
    ) -> Result<Advice, Verdict> {
        self.phase()?;
        let group = self.group.ok_or_else(|| self.no_fit("no runs are fitted together with it"))?;
        let now = self.loss.ok_or_else(|| cannot_tell("the run has no loss yet", Vec::new()))?;
        let estimate = estimate.unwrap_or_else(|| b_opt_at(group, now));
        let Some(fit) = &group.law else { return Err(self.without_law(group, estimate)) };
        let memory = memory_of(fit, self.options.memory);
        let own = self.own_past(fit, &memory, &estimate)?;
        let miss = own.least_miss(&fit.law, &memory);
        let mut futures = Futures::new(
            fit,
            memory,
            &stretches(self.run),
            self.run.tokens(),
            &own,
            Throughput::of(self.run, self.constraints),
        )
        .ok_or_else(|| cannot_tell("the run's past is not known from step 0", Vec::new()))?;
        let aim = self.aim(fit, &futures, leave)?;
        (futures.target, futures.budget) = (aim.target, aim.budget);
        let tested = fit.batch_sizes[1];
        let constraints = &self.constraints.within(BEYOND_TESTED * tested);
        let choice = Choice {
            futures: &futures,
            constraints,
            aim: &aim,
            leave,
            in_force: &self.situation.in_force,
            committed: self.situation.committed.as_deref(),
            b_min: estimate.as_ref().ok().and_then(|e| e.b_min),
            miss,
            bump: last_bump(self.run, fit.on, &fit.law, &memory),
            has_raised: self.run.segments.windows(2).any(|w| w[1].batch_size > w[0].batch_size),
        };
        let mut decision = choice.decide();
        if decision.planned.iter().any(|c| c.1 as f64 > 1.05 * tested) {
            decision.words.push(format!(
                "sizes above {} were never tested; the law is extrapolated there",
                count(tested)
            ));
        }
        let policies = self.policies(&futures, &decision, behind, leave);
        let reasons = Evidence {
            fit,
            futures: &futures,
            aim: &aim,
            decision: &decision,
            policies: &policies,
            estimate: &estimate,
            miss,
        }
        .reasons(self.constraints, self.options.lr_rule, self.situation.can_write);
        let verdict = from_decision(
            &decision,
            &aim,
            self.constraints,
            estimate.as_ref().ok(),
            leave.len() > behind.len(),
            reasons,
        );
        let schedule = match &decision.recommended {
            Some(changes) => self.whole(behind, changes),
            None => leave.to_vec(),
        };
        Ok(Advice { verdict, policies, schedule })
    }

    /// What is behind and the changes, under the learning-rate rule.
    fn whole(&self, behind: &[Entry], changes: &[(u64, u64)]) -> Vec<Entry> {
        let schedule = behind.iter().copied().chain(entries(changes)).collect();
        let can = self.situation.limits.as_ref().is_none_or(|l| l.can_scale_lr);
        let rule = if can { self.options.lr_rule } else { LrRule::Unchanged };
        with_lr_rule(schedule, rule)
    }

    fn phase(&self) -> Result<(), Verdict> {
        match (self.run.phases.schedule, self.run.phase()) {
            (Schedule::Declining, _) => Err(cannot_tell(
                format!(
                    "the learning rate declines from its peak on ({}), and all estimates are of a \
                     constant one",
                    self.run.phases.why
                ),
                Vec::new(),
            )),
            (_, Some(Phase::Warmup)) => Err(hold(
                "the run is in its warmup; nothing can be said before its end",
                Vec::new(),
            )),
            (_, Some(Phase::Decay)) => Err(hold(
                "the run is in its decay, where the batch size is not changed",
                vec!["all estimates are of the stable phase".into()],
            )),
            _ => Ok(()),
        }
    }

    fn no_fit(&self, because: &str) -> Verdict {
        let group_runs = self.group.map(|g| g.runs.as_slice()).unwrap_or_default();
        let mut tested: Vec<f64> =
            group_runs.iter().filter(|r| r.used).filter_map(|r| r.batch_size_tokens).collect();
        tested.sort_by(f64::total_cmp);
        tested.dedup_by(|a, b| (*a / *b).ln().abs() < 0.2);
        let c = self.constraints;
        let mut reasons = vec![
            "one run at one batch size cannot identify E(S): siblings at the same learning rate \
             are needed (4 batch sizes or more), or a saved law (--law FILE)"
                .to_string(),
        ];
        let set = branches(c.own, self.run.tokens(), c.unit, c.max, &tested, None);
        reasons.extend(set.map(|b| b.text()));
        if let Some(mark) = self.loss.and_then(minicpm_mark) {
            reasons.push(format!(
                "reference mark, no estimate: MiniCPM's rule gives {} tokens at this loss (keyed to \
                 its own tokenizer's loss)",
                count(mark)
            ));
        }
        cannot_tell(because, reasons)
    }

    /// A model of one level may still say on which side of B_opt the run is.
    fn without_law(&self, group: &GroupFit, estimate: Result<Estimate, String>) -> Verdict {
        match estimate {
            Ok(e) => {
                let mut reasons = vec![
                    estimate_text(&e, self.constraints.own),
                    "no schedule is planned: that needs the joint law with memory".into(),
                ];
                reasons.extend(
                    group
                        .refused
                        .iter()
                        .map(|r| format!("{}: {}; needs {}", r.what, r.why, r.needs)),
                );
                from_estimate(&e, self.constraints.own, self.constraints.up_only, reasons)
            }
            Err(why) => self.no_fit(&why),
        }
    }

    fn own_past(
        &self,
        fit: &LawFit,
        memory: &Memory,
        estimate: &Result<Estimate, String>,
    ) -> Result<OwnPast, Verdict> {
        let words: Vec<String> =
            estimate.iter().map(|e| estimate_text(e, self.constraints.own)).collect();
        let own = OwnPast::of(self.run, fit.on, fit.burn_in_steps, &fit.law, memory)
            .map_err(|why| cannot_tell(why, words.clone()))?;
        let miss = own.least_miss(&fit.law, memory);
        if miss > VETO {
            return Err(cannot_tell(veto_text(miss), Vec::new()));
        }
        Ok(own)
    }

    fn aim(&self, fit: &LawFit, futures: &Futures, leave: &[Entry]) -> Result<Aim, Verdict> {
        let now = self.run.tokens();
        let mut words = Vec::new();
        let budget = match self.options.budget_tokens.filter(|b| b.is_finite()) {
            Some(b) if b > now => b,
            given => {
                let said = given.map_or("no budget was given".to_string(), |b| {
                    format!("the budget of {} tokens is spent", count(b))
                });
                let earliest = self.constraints.earliest as f64;
                if earliest > 1.5 * now {
                    words.push(format!(
                        "{said}: twice the tokens at which a change could lie first is taken, {}",
                        count(2.0 * earliest)
                    ));
                    2.0 * earliest
                } else {
                    words.push(format!(
                        "{said}: twice the tokens so far is taken, {}",
                        count(2.0 * now)
                    ));
                    2.0 * now
                }
            }
        };
        let stairs = stairs_of(leave);
        let way = futures.course.along(&stairs);
        let l_inf = futures.course.law().l_inf;
        let lowest = fit.losses[0].min(fit.losses[1]).max(l_inf);
        let least = l_inf + REACH * (lowest - l_inf);
        let target = match self.options.target_loss.filter(|t| t.is_finite()) {
            Some(t) if t <= l_inf => {
                return Err(cannot_tell(
                    format!(
                        "the target {} lies at or below the law's floor L_inf = {}, which no \
                         batch size reaches; choose a higher target",
                        loss(t),
                        loss(l_inf)
                    ),
                    Vec::new(),
                ));
            }
            Some(t) if t < least => {
                return Err(cannot_tell(
                    format!(
                        "the target {} lies too far below the lowest loss that the law rests on \
                         ({}); choose {} or higher",
                        loss(t),
                        loss(lowest),
                        loss(least)
                    ),
                    Vec::new(),
                ));
            }
            Some(t) => t,
            None => self.default_target(futures, &way, [budget, least], &mut words),
        };
        if target < lowest - 1e-9 {
            words.push(format!(
                "the target is extrapolated: the law rests on losses down to {}",
                loss(lowest)
            ));
        }
        let goal = self.options.goal.unwrap_or(Goal::Stable);
        if goal != Goal::Decayed && way.loss(now) <= target {
            return Err(hold(
                format!("the target {} is already reached", loss(target)),
                vec![format!("the run is at about {}", loss(way.loss(now)))],
            ));
        }
        Ok(Aim { goal, target, budget, words })
    }

    /// What leaving the run reaches at the budget; where that is next to nothing, what the best
    /// single batch size reaches.
    fn default_target(
        &self,
        futures: &Futures,
        leave: &Way<'_>,
        [budget, least]: [f64; 2],
        words: &mut Vec<String>,
    ) -> f64 {
        let left = leave.loss(budget);
        let single = single_loss_at(&futures.course, self.constraints, budget).min(left);
        let now = leave.loss(self.run.tokens());
        let stands_still = now - left < STANDS_STILL * (now - single);
        let (target, who) = if stands_still {
            (
                single,
                "the best single size from here reaches at the budget, since leaving it gains \
                      next to nothing",
            )
        } else {
            (left, "leaving the run reaches at the budget")
        };
        let target = target.max(least);
        words.push(format!("no target was given: {} is taken, what {who}", loss(target)));
        target
    }

    fn policies(
        &self,
        futures: &Futures,
        d: &Decision,
        behind: &[Entry],
        leave: &[Entry],
    ) -> Vec<PolicyOutcome> {
        let mut single = Vec::new();
        let law = futures.course.law();
        if let Some(b) = law.b_opt(futures.target)
            && let Some(e) = law.tokens_to(futures.target, b)
        {
            single.push(format!(
                "from the first step on, {} would have been the best single batch size, with {} \
                 tokens",
                count(b),
                count(e)
            ));
        }
        let mut out = vec![
            futures.outcome(Policy::Leave, leave.to_vec(), Vec::new()),
            futures.outcome(Policy::Planned, self.whole(behind, &d.planned), Vec::new()),
            futures.outcome(Policy::Tracking, self.whole(behind, &d.tracking), Vec::new()),
            futures.outcome(Policy::Single, self.whole(behind, &d.single), single),
        ];
        if d.planned.is_empty() {
            // Nothing better than what is accepted already.
            out[1] = futures.outcome(Policy::Planned, leave.to_vec(), Vec::new());
        }
        if let Some(entries) = &self.options.what_if {
            out.push(futures.outcome(Policy::WhatIf, entries.clone(), Vec::new()));
        }
        out
    }
}
