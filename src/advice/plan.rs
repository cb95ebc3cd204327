//! A run's plan: what is known, what must be refused, the policies side by side, the verdict.

use super::constraints::{Constraints, Looks, Throughput};
use super::dangers::{CatchingUp, veto};
use super::decide::{Choice, Decision, entries, staircase};
use super::estimate::{estimate_of, moved_rate, no_loss, not_for, provenance};
use super::guard::check;
use super::import::deviations;
use super::judged::brought;
use super::on_the_way;
use super::outcome::{Futures, present, risk};
use super::own_past::{BumpYield, OwnPast, last_bump, stretches};
use super::policy::untested;
use super::reasons::Evidence;
use super::recall::{recalled, size_at};
use super::schedule::{first_change, with_lr_rule};
use super::verdict::{cannot_tell, ended, estimate_text, from_decision, hold, unless};
use super::{
    Entry, Goal, GuardName, LrRule, MemoryChoice, Now, Plan, PlanOptions, Policy, PolicyOutcome,
    Promise, Situation, Verdict, VerdictKind,
};
use crate::curve::{Estimate, GroupFit, Interval, LawFit, MEMORY, Memory, MemorySource};
use crate::run::{Phase, RunData, Schedule};
use crate::units::count;

/// Nothing larger than this multiple of the largest tested batch size is planned.
pub(super) const BEYOND_TESTED: f64 = 2.0;

/// A change that acts so much later than promised, as a share of the tokens, is the promised one.
const SAME_CHANGE: f64 = 0.02;

/// The memory that a plan rests on: measured or saved, else slow.
pub fn memory_of(fit: &LawFit, choice: Option<MemoryChoice>) -> Memory {
    match choice {
        Some(MemoryChoice::Slow) => Memory::SLOW,
        Some(MemoryChoice::Fast) => Memory::INSTANT,
        _ if fit.memory.source != MemorySource::Assumed => fit.memory,
        _ => Memory::SLOW,
    }
}

/// Cumulative tokens that half of a fit's runs have gone to; 0 without any.
pub(super) fn known_to(group: &GroupFit) -> f64 {
    let mut all: Vec<f64> = group.runs.iter().filter(|r| r.used).filter_map(|r| r.tokens).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
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
    let estimate = group.zip(loss_now).filter(|_| !unstable).map(|(g, l)| estimate_of(run, g, l));
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
        goal: options.aimed_at(),
        policies: Vec::new(),
        first_change_between: None,
        first_change_due: false,
        committed: situation.in_force.clone(),
        decayed: situation.decayed.clone(),
        decay_from: options.decay_tokens.and_then(|_| options.decay_from()),
        decay_taken: None,
    };
    let Some(constraints) = constraints else {
        plan.verdict.reasons.push("give --seq-len or --assume-batch".into());
        if situation.ended {
            plan.verdict = ended(plan.verdict, run.tokens());
        }
        return plan;
    };
    let behind = present(&situation.in_force, run, &constraints);
    let mut leave = behind.clone();
    leave.extend(situation.in_force.iter().filter(|e| e.from_tokens > constraints.now));
    plan.schedule = leave.clone();
    plan.committed = leave.clone();
    // No change is planned before the one before it has shown what it brought.
    let catching = CatchingUp::of(run, group, situation, options);
    let lead = constraints.earliest - constraints.now;
    let earliest = catching.map_or(0.0, |c| c.until()).clamp(0.0, 1e18).ceil() as u64;
    let constraints = Constraints { earliest: constraints.earliest.max(earliest), ..constraints };
    let ask =
        Ask { run, loss: loss_now, group, situation, options, constraints: &constraints, lead };
    match ask.advise(estimate, &behind, &leave) {
        Err(verdict) => {
            plan.verdict = verdict;
            plan.verdict.reasons.extend(group.map(|g| provenance(run, g)).unwrap_or_default());
            unbacked(&mut plan.verdict, &leave[behind.len()..]);
        }
        Ok(advice) => {
            plan.verdict = advice.verdict;
            plan.policies = advice.policies;
            plan.schedule = advice.schedule;
            plan.committed = advice.committed;
            plan.first_change_between = advice.first_between;
            plan.decay_taken = advice.decay_from.filter(|_| plan.decay_from.is_none());
            plan.first_change_due = advice.due;
            plan.guards = check(&plan.schedule, run, loss_now, group, situation, options);
            let now = constraints.now;
            let departs = first_change(&leave, &plan.schedule, constraints.own, now);
            let advised = departs.is_some();
            let to = departs.map(|at| size_at(&plan.schedule, at, constraints.own));
            let sizes = to.map(|to| (constraints.own, to));
            let coming = &leave[behind.len()..];
            if let Some(words) = sizes.and_then(|s| recalled(situation, coming, s)) {
                plan.verdict.text += &format!("; {words}");
            }
            // That an estimate is old says nothing of the run: it is asked before a write.
            let judges = |n: GuardName| {
                n.judges() && !matches!(n, GuardName::BumpSize | GuardName::StaleEstimate)
            };
            let against = plan.guards.iter().find(|g| g.blocks && judges(g.name));
            if let Some(g) = against.filter(|_| advised) {
                plan.verdict = unless(plan.verdict, &g.text);
            }
        }
    }
    if let Some(why) = situation.disobeyed.as_ref().filter(|_| !situation.ended) {
        plan.verdict = unless(plan.verdict, why);
    }
    if situation.ended {
        // What the policies would bring stays: it may be started again.
        plan.verdict = ended(plan.verdict, run.tokens());
        plan.schedule = leave;
        plan.guards = Vec::new();
        plan.committed = plan.schedule.clone();
    }
    plan.first_change_due &= matches!(plan.verdict.kind, VerdictKind::Raise | VerdictKind::Lower);
    let given = options.schedule.as_deref().unwrap_or_default();
    plan.verdict.reasons.extend(deviations(run, given));
    plan
}

/// Nothing is written that nobody approved, nor taken back: where advice is refused, what was accepted
/// before comes all the same. A hold, which says that nothing changes, says so itself.
fn unbacked(verdict: &mut Verdict, to_come: &[Entry]) {
    let changes: Vec<(u64, u64)> =
        to_come.iter().map(|e| (e.from_tokens, e.batch_size_tokens)).collect();
    if changes.is_empty() {
        return;
    }
    let comes = format!("what was accepted for later still comes ({})", staircase(&changes));
    if verdict.kind == VerdictKind::Hold {
        verdict.text += &format!(", but {comes}: an undo withdraws it");
    } else {
        verdict.reasons.push(format!(
            "{comes}, and nothing here speaks for it any more: an undo withdraws it"
        ));
    }
}

pub(super) struct Ask<'a> {
    pub run: &'a RunData,
    pub loss: Option<f64>,
    pub group: Option<&'a GroupFit>,
    pub situation: &'a Situation,
    pub options: &'a PlanOptions,
    pub constraints: &'a Constraints,
    /// Tokens that a change must lie ahead to be seen in time.
    pub lead: u64,
}

struct Advice {
    verdict: Verdict,
    policies: Vec<PolicyOutcome>,
    schedule: Vec<Entry>,
    /// The same at the tokens at which it was shown.
    committed: Vec<Entry>,
    /// Its first change is for now.
    due: bool,
    first_between: Option<[f64; 2]>,
    /// Under the goal after a decay: where it is taken to begin.
    decay_from: Option<f64>,
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
        let now = self.loss.ok_or_else(|| cannot_tell(no_loss(self.run), Vec::new()))?;
        let estimate = estimate.unwrap_or_else(|| estimate_of(self.run, group, now));
        let Some(fit) = &group.law else { return Err(self.without_law(group, estimate)) };
        if let Some(why) = not_for(self.run, group, self.loss) {
            return Err(cannot_tell(why, Vec::new()));
        }
        let memory = memory_of(fit, self.options.memory);
        let own = self.own_past(fit, &memory, &estimate)?;
        let miss = own.least_miss(&fit.law, &memory);
        let mut futures = Futures::new(
            fit,
            memory,
            (&stretches(self.run), self.run.tokens(), known_to(group)),
            &own,
            Throughput::of(self.run, self.constraints, Some(group)),
        )
        .ok_or_else(|| cannot_tell("the run's past is not known from step 0", Vec::new()))?;
        let aim = self.aim(fit, &futures, leave)?;
        (futures.target, futures.budget) = (aim.target, aim.budget);
        futures.decay = (aim.goal == Goal::Decayed).then_some([aim.decay_from, aim.budget]);
        let tested = fit.batch_sizes[1];
        let constraints = &Constraints {
            looks: Some(Looks { memory, steps: self.run.step(), lead: self.lead as f64 }),
            up_only: self.constraints.up_only || aim.goal == Goal::Decayed,
            ..self.constraints.within(BEYOND_TESTED * tested)
        };
        let choice = Choice {
            futures: &futures,
            constraints,
            aim: &aim,
            leave,
            in_force: &self.situation.in_force,
            committed: self.situation.committed.as_deref(),
            b_min: estimate.as_ref().ok().and_then(|e| e.b_min),
            miss,
            bump: self.bump(fit, &memory),
            has_raised: self.run.segments.windows(2).any(|w| w[1].batch_size > w[0].batch_size),
            said: self.situation.said,
        };
        let mut decision = choice.decide();
        if decision.planned.iter().any(|c| c.1 as f64 > 1.05 * tested) {
            decision.words.push(format!(
                "sizes above {} were never tested; the law is extrapolated there",
                count(tested)
            ));
        }
        let smallest = fit.batch_sizes[0];
        if decision.planned.iter().any(|c| (c.1 as f64) < 0.95 * smallest) {
            decision.words.push(format!(
                "sizes below {} were never tested; the law is extrapolated there",
                count(smallest)
            ));
        }
        let due = decision.due(self.constraints.now, self.lead);
        let policies = self.policies(&futures, &decision, behind, leave, fit.batch_sizes);
        let mut reasons = Evidence {
            fit,
            futures: &futures,
            aim: &aim,
            decision: &decision,
            policies: &policies,
            estimate: &estimate,
            miss,
            due,
            memory_refused: match self.options.memory {
                Some(MemoryChoice::Slow | MemoryChoice::Fast) => None,
                _ => group.refused.iter().find(|r| r.what == MEMORY).map(|r| r.why.as_str()),
            },
        }
        .reasons(self.constraints, self.options, self.situation);
        let assumed = provenance(self.run, group);
        let at = reasons.len().min(1);
        reasons.splice(at..at, assumed.iter().cloned().chain(moved_rate(self.run, group)));
        let mut verdict = from_decision(
            &decision,
            &aim,
            (self.constraints, due),
            estimate.as_ref().ok(),
            leave.get(behind.len()),
            self.situation.said,
            reasons,
        );
        if !assumed.is_empty() {
            verdict.text.push_str("; by a saved law, which is assumed to hold for this run");
        }
        let [schedule, committed] = [0, decision.late].map(|late| match &decision.recommended {
            Some(changes) => {
                let earlier = changes.iter().map(|c| (c.0 - late, c.1));
                self.whole(behind, &earlier.collect::<Vec<_>>())
            }
            None => leave.to_vec(),
        });
        let decay_from = (aim.goal == Goal::Decayed).then_some(aim.decay_from);
        let first_between = decision.first_between;
        Ok(Advice { verdict, policies, schedule, committed, due, first_between, decay_from })
    }

    /// What a raise brought of what was promised before it: the newest that disappoints, else the newest.
    /// One that nothing was promised of by the fit, and by the memory that was known without it: the
    /// fitted one has learned of that very raise.
    fn bump(&self, fit: &LawFit, memory: &Memory) -> Option<BumpYield> {
        let told = self.situation.promised.iter().filter_map(|p| brought(p, self.run));
        let told: Vec<BumpYield> = told.collect();
        let known = |steps| match self.options.memory {
            Some(MemoryChoice::Slow | MemoryChoice::Fast) => *memory,
            _ => fit.memory_before(&self.run.id, steps),
        };
        let fitted = last_bump(self.run, fit.on, &fit.law, known);
        let promised = |b: &BumpYield| {
            let at = |p: &Promise| (p.from_tokens / b.from_tokens - 1.0).abs() <= SAME_CHANGE;
            self.situation.promised.iter().any(at)
        };
        let disappointing = told.iter().rev().find(|b| b.disappoints());
        disappointing.or(told.last()).copied().or(fitted.filter(|b| !promised(b)))
    }

    /// What is behind and the changes, under the learning-rate rule.
    fn whole(&self, behind: &[Entry], changes: &[(u64, u64)]) -> Vec<Entry> {
        let can = self.situation.limits.as_ref().is_none_or(|l| l.can_scale_lr);
        let rule = if can { self.options.lr_rule } else { LrRule::Unchanged };
        let mut schedule = behind.to_vec();
        let now = schedule.pop();
        // Scaled against what the run trains at now, whose learning rate stays as it is.
        let to_come = now.into_iter().chain(entries(changes)).collect();
        schedule.extend(with_lr_rule(to_come, rule));
        with_lr_rule(schedule, LrRule::Unchanged)
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
        if let Some(why) = veto(self.run, fit, miss, self.situation.said) {
            return Err(cannot_tell(why, Vec::new()));
        }
        Ok(own)
    }

    fn policies(
        &self,
        futures: &Futures,
        d: &Decision,
        behind: &[Entry],
        leave: &[Entry],
        tested: [f64; 2],
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
            futures.outcome(Policy::Interval, self.whole(behind, &d.interval), Vec::new()),
            futures.outcome(Policy::Single, self.whole(behind, &d.single), single),
        ];
        if d.planned.is_empty() {
            // Nothing better than what is accepted already.
            out[1] = futures.outcome(Policy::Planned, leave.to_vec(), Vec::new());
        }
        if let Some(entries) = &self.options.what_if {
            out.push(futures.outcome(Policy::WhatIf, entries.clone(), untested(entries, tested)));
        }
        on_the_way::tell(futures, &mut out);
        if futures.memory.source == MemorySource::Assumed {
            // The draws are of one memory; what the other ends cost stands in the notes.
            return out;
        }
        let left = futures.costs(leave);
        for p in out.iter_mut().filter(|p| p.policy != Policy::Leave) {
            p.risk = risk(&futures.costs(&p.schedule), &left);
        }
        out
    }
}
