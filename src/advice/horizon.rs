//! Where a plan ends: once its target is reached, or with a budget that was given.

use super::Goal;
use super::decide::Choice;
use super::forecast::Stair;
use super::planner::{Found, Search, stairs};
use crate::units::{count, loss};

impl Choice<'_> {
    /// Without the changes that would come once the target is reached, or after a budget that was given.
    pub fn within_the_end(&self, planned: Found, search: &Search<'_>, left_alone: f64) -> Found {
        if self.aim.goal == Goal::Decayed {
            return planned;
        }
        let way = stairs(self.constraints, &planned.changes);
        let reached = self.futures.course.along(&way).reach(self.aim.target);
        let budget = if self.aim.ends { self.aim.budget } else { f64::INFINITY };
        let end = reached.unwrap_or(f64::INFINITY).min(budget);
        let mut changes = planned.changes.clone();
        changes.retain(|c| (c.0 as f64) < end);
        match changes.len() {
            n if n == planned.changes.len() => planned,
            0 => Found { changes, score: left_alone },
            _ => Found { score: search.score(&changes), changes },
        }
    }

    /// That the budget which was given ends before the target is `reached`.
    pub fn past_the_end(
        &self,
        reached: Option<f64>,
        left: &[Stair],
        plan: &[Stair],
    ) -> Option<String> {
        let budget = self.aim.budget;
        let late = self.aim.ends && self.aim.goal != Goal::Decayed;
        let after = late && reached.is_none_or(|t| t > budget * (1.0 + 1e-9));
        let [left, plan] = [left, plan].map(|s| self.futures.course.along(s).loss(budget));
        after.then(|| {
            format!(
                "the budget of {} tokens ends before loss {} is reached: the plan comes to {} there, \
                 leaving it to {}",
                count(budget),
                loss(self.aim.target),
                loss(plan),
                loss(left)
            )
        })
    }
}
