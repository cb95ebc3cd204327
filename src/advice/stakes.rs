//! What a change may save and what it may cost, over all that the law and its memory may be.

use super::forecast::{Course, Stair};
use super::outcome::Futures;
use super::planner::Objective;
use crate::units::percent;

/// A token that a change may cost counts as so many that it may save: leaving a run alone is what
/// everybody can do without advice.
const LOSS_WEIGHS: f64 = 2.0;
/// A change must save so much on average, in ln of the score: less is not worth a person's hand, and
/// where this little is to be had the draws of the law do not tell well whether it saves or costs.
const PRICE: f64 = 0.01;

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

    /// What is `kept` needs less, so that it does not come and go.
    pub fn worth(&self, kept: bool) -> bool {
        if kept { self.won >= self.lost } else { self.won - LOSS_WEIGHS * self.lost >= PRICE }
    }

    pub fn text(&self, assumed: bool, of_what: &str) -> String {
        format!(
            "not recommended: over {} the plan saves {} of {of_what} on average and costs {}; what it \
             may cost counts {LOSS_WEIGHS:.0} times, and less than {} is not worth a change",
            if assumed { "how fast noise may be forgotten" } else { "all that the law may be" },
            percent(1.0 - (-self.won).exp()),
            percent(self.lost.exp() - 1.0),
            percent(PRICE)
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
    use super::super::{Entry, Plan, PlanOptions, Situation, VerdictKind, plan};
    use super::*;
    use crate::curve::{GroupFit, Memory};

    /// A fit of which so many draws of forty forget nothing.
    fn slow_draws(slow: usize) -> GroupFit {
        let mut group = group_of(&LAW, MEMORY);
        if let Some(fit) = &mut group.law {
            let draws = fit.with_memory.iter_mut().take(slow);
            draws.for_each(|d| d.1 = Memory { tau_steps: 1e18, ..MEMORY });
        }
        group
    }

    /// The plan by it.
    fn with_slow_draws(slow: usize) -> Plan {
        let run = run_of(&LAW, &MEMORY, &[(384.0, 2e6)], 0.0);
        let options = PlanOptions { target_loss: Some(2.2), ..on_disk() };
        plan(&run, loss_of(&run), Some(&slow_draws(slow)), &live(true), &options)
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
        let sure = |won: f64| Stakes { won, lost: 0.0 };
        assert!(sure(0.011).worth(false) && !sure(0.009).worth(false) && sure(0.001).worth(true));
    }

    /// A plan that may cost about as much as it may save is not advised because it was shown for later;
    /// one that was advised is not taken back for that.
    #[test]
    fn what_was_only_planned_is_weighed_anew_before_it_is_advised() {
        let asked = |(batch, so_far, target): (u64, f64, f64), slow, at: u64, said| {
            let run = run_of(&LAW, &MEMORY, &[(batch as f64, so_far)], 0.0);
            let options = PlanOptions { target_loss: Some(target), ..on_disk() };
            let entry = |from_tokens, batch_size_tokens| Entry {
                from_tokens,
                batch_size_tokens,
                lr_scale: None,
            };
            let committed = Some(vec![entry(0, batch), entry(so_far as u64 + at, 2 * batch)]);
            let situation = Situation { committed, said: Some(said), ..live(true) };
            let plan = plan(&run, loss_of(&run), Some(&slow_draws(slow)), &situation, &options);
            plan.schedule.iter().any(|e| e.batch_size_tokens > batch)
        };
        let mut withheld = 0;
        for state in [(384, 2e6, 2.2), (256, 2e6, 2.25), (256, 4e6, 2.2), (384, 8e6, 2.15)] {
            let later = state.1 as u64 / 4;
            for (slow, at) in (0..40).step_by(4).flat_map(|n| [(n, 1), (n, later)]) {
                let [advised, planned] = [VerdictKind::Raise, VerdictKind::Hold]
                    .map(|said| asked(state, slow, at, said));
                assert!(advised || !planned, "{state:?} {slow} {at}");
                withheld += usize::from(advised && !planned);
            }
        }
        assert!(withheld > 0);
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
