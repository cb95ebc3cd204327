//! Following boptop from a moment on: the code of the live monitor (`refit::compute`), its advice
//! approved whenever a change is due and no guard blocks it.

use super::problem::{NEVER, Problem, Source};
use super::world::World;
use boptop::advice::{
    Entry, Goal, Plan, PlanOptions, Policy, Situation, TrainerLimits, VerdictKind, batch_at,
};
use boptop::curve::{FitOptions, FitReport, MemorySource, SavedLaw};
use boptop::refit::{self, Request, Subject};
use boptop::run;
use std::sync::Arc;

/// Growth of the run between two looks, and between two fits (live: 1 %).
const LOOK: f64 = 1.04;
const REFIT: f64 = 1.05;
/// Share of a run that goes to its decay, where it ends in one.
pub const DECAY: f64 = 0.2;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub goal: Goal,
    pub source: Source,
    pub up_only: bool,
    /// Only the first look: for its forecasts.
    pub first_look: bool,
}

/// What came of following.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    /// Cumulative tokens and steps at the target; infinite where it was not reached.
    pub tokens: f64,
    pub steps: f64,
    /// After a decay at the budget.
    pub decayed: f64,
    pub changes: usize,
    /// Changes that were advised and at the next look no longer were, though nobody had approved them.
    pub flickers: usize,
    /// Looks at which the verdict was raise or lower and a guard blocked.
    pub blocked: usize,
    /// No advice at the first look, or at any look before a change was made.
    pub vetoed_first: bool,
    pub vetoed: bool,
    pub says_lower: bool,
    pub says_reached: bool,
    pub measured: bool,
    /// The sweep that a law was to be saved from held none.
    pub no_law: bool,
    /// (tokens, loss) on the way.
    pub way: Vec<(f64, f64)>,
    /// The first plan that had policies.
    pub first: Option<Plan>,
}

struct Live<'a> {
    problem: &'a Problem,
    asked: Asked,
    request: Request,
    in_force: Vec<Entry>,
    report: Option<(f64, FitReport)>,
    plan: Option<Plan>,
}

/// Follows boptop to the target, or to the start of the decay.
pub fn follow(problem: &Problem, asked: Asked) -> Followed {
    let budget = if asked.goal == Goal::Decayed { problem.single } else { 4.0 * problem.single };
    let options = PlanOptions {
        goal: Some(asked.goal),
        target_loss: (asked.goal != Goal::Decayed).then_some(problem.target),
        budget_tokens: Some(budget),
        lead_seconds: 0.0,
        ..PlanOptions::default()
    };
    let fit = FitOptions { draws: 40, ..FitOptions::default() };
    let mut live = Live {
        problem,
        asked,
        request: Request { fit, plan: options, ..Request::default() },
        in_force: Vec::new(),
        report: None,
        plan: None,
    };
    if !matches!(asked.source, Source::Siblings | Source::NoSwitch) {
        let sweep = boptop::curve::fit(&problem.siblings, &live.request.fit);
        live.request.law = sweep.groups.iter().find_map(|g| SavedLaw::from_group(g, ""));
        if live.request.law.is_none() {
            return Followed { no_law: true, ..Followed::default() };
        }
    }
    live.go()
}

impl Live<'_> {
    fn go(&mut self) -> Followed {
        let p = self.problem;
        let (mut world, mut recorder, mut logger) =
            (p.world.clone(), p.recorder.clone(), p.logger.clone());
        let end = match self.asked.goal {
            Goal::Decayed => p.single * (1.0 - DECAY),
            _ => NEVER * p.single,
        };
        let mut out =
            Followed { tokens: f64::INFINITY, steps: f64::INFINITY, ..Followed::default() };
        let (mut batch, mut changed_at, mut before) = (p.own, None, None);
        loop {
            let data = Arc::new(recorder.data());
            self.look(&data, changed_at, &mut out, &mut before);
            if self.asked.first_look {
                out.way.push((world.tokens(), world.loss()));
                return out;
            }
            let now = world.tokens();
            let next = self.in_force.iter().map(|e| e.from_tokens as f64).find(|t| *t > now + 0.5);
            let to = next.map_or(LOOK * now, |t| t.min(LOOK * now)).min(end);
            if self.asked.goal != Goal::Decayed {
                let reached = world.reach(batch, p.target, to);
                if reached <= to {
                    world.advance(batch, reached - now);
                    (out.tokens, out.steps) = (reached, world.steps());
                    out.way.push((reached, world.loss()));
                    return out;
                }
            }
            logger.advance(&mut world, &mut recorder, batch, to);
            out.way.push((world.tokens(), world.loss()));
            if to >= end * (1.0 - 1e-9) {
                out.decayed = world.decayed(batch, p.single * DECAY);
                return out;
            }
            let after = batch_at(&self.in_force, to + 0.5).map_or(batch, |b| b as f64);
            if after != batch {
                out.changes += 1;
                (batch, changed_at, before) = (after, Some(to), None);
                // The step that changes shows in the log at once, as in a real one.
                logger.advance(&mut world, &mut recorder, batch, to + batch);
            }
        }
    }

    fn look(
        &mut self,
        data: &Arc<run::RunData>,
        changed_at: Option<f64>,
        out: &mut Followed,
        before: &mut Option<VerdictKind>,
    ) {
        let now = data.tokens();
        let due =
            self.report.as_ref().is_none_or(|(at, _)| now > at * REFIT || Some(*at) < changed_at);
        if due {
            let mut runs = vec![(**data).clone()];
            if self.request.law.is_none() {
                runs.extend(self.problem.siblings.iter().cloned());
            }
            // The levels cost most of a fit: those that are asked about, and one between.
            let (loss, target) = (run::loss_now(data), self.problem.target);
            let at_loss = loss.map_or(vec![target], |l| vec![l, 0.5 * (l + target), target]);
            let options = FitOptions { at_loss, ..self.request.fit.clone() };
            self.report = Some((now, boptop::curve::fit(&runs, &options)));
        }
        let Some((at, report)) = &self.report else { return };
        let limits = TrainerLimits {
            unit_tokens: Some(1),
            up_only: self.asked.up_only,
            ..TrainerLimits::default()
        };
        let subject = Subject {
            data: Arc::clone(data),
            loss_now: run::loss_now(data),
            situation: Situation {
                ordered: None,
                taken_back: None,
                live: true,
                ended: false,
                tokens_per_second: run::throughput(data),
                log_interval_tokens: run::log_interval(data).map(|(_, t)| t),
                limits: Some(limits),
                in_force: self.in_force.clone(),
                promised: Vec::new(),
                disobeyed: None,
                attempts_alive: 1,
                last_change_tokens: changed_at,
                estimate_age_tokens: Some(now - at),
                committed: self.plan.as_ref().map(|p| p.committed.clone()),
                said: self.plan.as_ref().map(|p| p.verdict.kind),
                can_write: true,
                decayed: Vec::new(),
            },
            excluded: false,
            lead_seconds: 0.0,
        };
        let plan = refit::plan_one(&subject, report, &self.request);
        if std::env::var_os("BOPTOP_BENCH_SHOW").is_some() {
            if let (true, World::Law { law, memory, .. }) = (due, &self.problem.world) {
                println!("    truth {law:?} {memory:?}");
                let fit = report.groups.iter().filter_map(|g| g.law.as_ref()).next();
                if let Some(f) = fit {
                    println!(
                        "    found {:?} {:?} rms {:.4} held out {:?} rival {:?} {:?} from step {:.0}",
                        f.law,
                        f.memory,
                        f.rms_nats,
                        f.held_out_nats,
                        f.rival_held_out_nats,
                        f.rival_future_nats,
                        f.burn_in_steps
                    );
                }
            }
            println!(
                "    {:.3} {} {:?} {} ({})",
                now / self.problem.single,
                data.batch_size().unwrap_or(f64::NAN),
                plan.guards.iter().filter(|g| g.blocks).map(|g| g.name).collect::<Vec<_>>(),
                plan.verdict.text,
                plan.verdict.reasons.first().map_or("", String::as_str)
            );
        }
        self.judge(&plan, changed_at.is_none(), out, before);
        self.plan = Some(plan);
    }

    fn judge(
        &mut self,
        plan: &Plan,
        unchanged: bool,
        out: &mut Followed,
        before: &mut Option<VerdictKind>,
    ) {
        let kind = plan.verdict.kind;
        let none = kind == VerdictKind::CannotTell;
        out.vetoed_first |= none && self.plan.is_none();
        out.vetoed |= none && unchanged;
        out.says_lower |= plan.verdict.text.contains("lowering");
        out.says_reached |= plan.verdict.text.contains("already reached");
        out.flickers += usize::from(before.is_some_and(|b| b != kind));
        if out.first.is_none() && !plan.policies.is_empty() {
            out.measured = plan.policies[0].memory == MemorySource::Measured;
            out.first = Some(plan.clone());
        }
        let blocks = plan.guards.iter().any(|g| g.blocks);
        let acts = matches!(kind, VerdictKind::Raise | VerdictKind::Lower);
        out.blocked += usize::from(acts && blocks);
        let withdraws = kind == VerdictKind::Hold && plan.schedule.len() < self.in_force.len();
        if (acts || withdraws) && !blocks {
            self.in_force.clone_from(&plan.schedule);
        }
        *before = Some(kind).filter(|_| acts && blocks);
    }
}

/// A forecast of tokens to a loss, and what then happened in the world.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    pub held: bool,
    /// ln (truth / value); not finite where either is not.
    pub error: f64,
    /// ln (high / low).
    pub width: f64,
}

/// The first forecast of a policy; `None` where the policy is not there or is that of leaving the
/// run.
pub fn forecast(problem: &Problem, plan: &Plan, policy: Policy) -> Option<Forecast> {
    let outcome = plan.policies.iter().find(|p| p.policy == policy)?;
    let now = problem.world.tokens();
    let stairs: Vec<(f64, f64)> = outcome
        .schedule
        .iter()
        .filter(|e| e.from_tokens as f64 > now)
        .map(|e| (e.from_tokens as f64, e.batch_size_tokens as f64))
        .collect();
    if (policy == Policy::Leave) != stairs.is_empty() {
        return None;
    }
    let most = 1000.0 * problem.single;
    // The loss that was planned to: a target far below the data is not.
    let target = outcome.target_loss.unwrap_or(problem.target);
    let truth = problem.world.along(problem.own, &stairs, target, most);
    let i = &outcome.tokens;
    let (low, high) = (i.low.unwrap_or(0.0), i.high.unwrap_or(f64::INFINITY));
    Some(Forecast {
        held: (low..=high).contains(&truth),
        error: (truth / i.value.unwrap_or(f64::INFINITY)).ln(),
        width: (high / low).ln(),
    })
}

/// The best single batch size from now on, by the loss after the decay at the budget.
pub fn best_decayed(problem: &Problem) -> f64 {
    let run = &problem.world;
    let more = problem.single * (1.0 - DECAY) - run.tokens();
    let one = |i: i32| {
        let b = problem.own * 1.08f64.powi(i);
        run.after(b, more).decayed(b, problem.single * DECAY)
    };
    (0..60).map(one).fold(f64::INFINITY, f64::min)
}

/// Leaving the run, after the decay.
pub fn left_decayed(problem: &Problem) -> f64 {
    let run: &World = &problem.world;
    let more = problem.single * (1.0 - DECAY) - run.tokens();
    run.after(problem.own, more).decayed(problem.own, problem.single * DECAY)
}
