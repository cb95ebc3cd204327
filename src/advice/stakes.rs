//! What a change may save and what it may cost, over all that the law and its memory may be.

use super::forecast::{Course, Stair};
use super::outcome::Futures;
use super::planner::Objective;
use crate::units::percent;

/// A token that a change may cost counts as so many that it may save: leaving a run alone is what
/// everybody can do without advice.
const LOSS_WEIGHS: f64 = 2.0;

/// Mean of what may be saved and of what may be lost against leaving the run, in ln of the score.
#[derive(Debug, Clone, Copy)]
pub struct Stakes {
    won: f64,
    lost: f64,
}

impl Stakes {
    /// Over the draws of the law, each with its memory; over the ends of a memory that was not
    /// measured, and there, where nothing is forgotten, of the first change alone (`plan`: whole, and
    /// its first change), since it measures the memory. What the law misses beyond its draws is not
    /// in it: that shows before later changes are made.
    pub fn of(
        futures: &Futures,
        objective: &Objective<'_>,
        leave: &[Stair],
        (plan, first): (&[Stair], &[Stair]),
    ) -> Stakes {
        let at = |course: &Course, plan: &[Stair]| {
            let score = |s: &[Stair]| score_on(objective, course, s);
            let ln = (score(leave) / score(plan)).ln();
            // Never in both is no difference.
            if ln.is_nan() { 0.0 } else { ln.clamp(-1.0, 1.0) }
        };
        let saved: Vec<f64> = match &futures.other {
            Some((other, _)) => {
                let never = futures.never.iter().map(|c| at(c, first));
                [&futures.course, other].map(|c| at(c, plan)).into_iter().chain(never).collect()
            }
            None => futures.laws.iter().map(|c| at(c, plan)).collect(),
        };
        let mean = |of: fn(f64) -> f64| {
            saved.iter().map(|x| of(*x)).sum::<f64>() / saved.len().max(1) as f64
        };
        Stakes { won: mean(|x| x.max(0.0)), lost: mean(|x| (-x).max(0.0)) }
    }

    /// What was shown before needs less, so that it does not come and go.
    pub fn worth(&self, shown: bool) -> bool {
        self.won >= self.lost * if shown { 1.0 } else { LOSS_WEIGHS }
    }

    pub fn text(&self, assumed: bool) -> String {
        format!(
            "not recommended: over {} the plan saves {} of all tokens on average and costs {}, and \
             what it may cost counts {LOSS_WEIGHS:.0} times",
            if assumed { "how fast noise may be forgotten" } else { "all that the law may be" },
            percent(1.0 - (-self.won).exp()),
            percent(self.lost.exp() - 1.0)
        )
    }
}

/// The score of a way under another law or memory than the central one.
pub fn score_on(objective: &Objective<'_>, course: &Course, stairs: &[Stair]) -> f64 {
    match objective {
        // The bound was drawn by the central one.
        Objective::Bounded { target, .. } => {
            Objective::Tokens { target: *target }.score(&course.along(stairs))
        }
        objective => objective.score(&course.along(stairs)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{LAW, MEMORY, group_of, live, loss_of, on_disk, run_of};
    use super::super::{Plan, PlanOptions, plan};
    use super::*;
    use crate::curve::Memory;

    /// The plan by a law of which so many draws of forty forget nothing.
    fn with_slow_draws(slow: usize) -> Plan {
        let run = run_of(&LAW, &MEMORY, &[(384.0, 2e6)], 0.0);
        let options = PlanOptions { target_loss: Some(2.2), ..on_disk() };
        let mut group = group_of(&LAW, MEMORY);
        if let Some(fit) = &mut group.law {
            let draws = fit.with_memory.iter_mut().take(slow);
            draws.for_each(|d| d.1 = Memory { tau_steps: 1e18, ..MEMORY });
        }
        plan(&run, loss_of(&run), Some(&group), &live(true), &options)
    }

    fn raises(plan: &Plan) -> bool {
        plan.schedule.iter().any(|e| e.batch_size_tokens > 384)
    }

    #[test]
    fn a_raise_that_many_draws_lose_by_is_planned_and_not_recommended() {
        let sure = with_slow_draws(0);
        assert!(raises(&sure), "{:#?}", sure.verdict);
        let unsure = with_slow_draws(34);
        assert!(!raises(&unsure), "{:#?}", unsure.verdict);
        assert!(unsure.verdict.reasons.iter().any(|r| r.contains("counts 2 times")));
        assert!(unsure.policies[1].schedule.len() > 1, "the plan is shown all the same");
    }

    #[test]
    fn what_was_shown_stays_until_it_loses_as_much_as_it_saves() {
        let stakes = |lost: f64| Stakes { won: 0.1, lost };
        assert!(stakes(0.04).worth(false) && !stakes(0.06).worth(false));
        assert!(stakes(0.06).worth(true) && !stakes(0.11).worth(true));
    }

    #[test]
    fn a_memory_that_was_not_measured_has_both_its_ends_in_the_verdict() {
        let run = run_of(&LAW, &MEMORY, &[(384.0, 2e6)], 0.0);
        let options = PlanOptions { target_loss: Some(2.15), ..on_disk() };
        let ask = |memory| {
            let group = group_of(&LAW, memory);
            plan(&run, loss_of(&run), Some(&group), &live(true), &options).verdict.text
        };
        let (assumed, measured) = (ask(Memory::SLOW), ask(MEMORY));
        assert!(assumed.contains("(if no noise is forgotten: "), "{assumed}");
        assert!(!measured.contains("forgotten"), "{measured}");
    }
}
