//! The loss on the way: whoever watches a run sees more of it than where it ends.

use super::forecast::Stair;
use super::outcome::{Futures, stairs_of};
use super::{Above, Policy, PolicyOutcome};
use crate::units::{count, loss};

/// Parts of the way at whose ends the loss of every policy is told.
const PARTS: u32 = 4;
/// Places at which it is held against that of leaving the run.
const LOOKS: u32 = 256;
/// Less is not told in words, nats.
const SHOWN: f64 = 5e-5;
/// Less is no excess, nats: arithmetic.
const LEAST: f64 = 1e-9;

/// Tells every policy's loss at the quarters of the planned one's way, and where it lies farthest
/// above that of leaving the run.
pub fn tell(futures: &Futures, policies: &mut [PolicyOutcome]) {
    let course = &futures.course;
    let of = |which: Policy| policies.iter().find(|p| p.policy == which);
    let Some(left_stairs) = of(Policy::Leave).map(|p| stairs_of(&p.schedule)) else { return };
    let left = course.along(&left_stairs);
    let now = course.tokens();
    let arrives = of(Policy::Planned).and_then(|p| p.tokens.value);
    let end = futures.decay.map_or(arrives.unwrap_or(futures.budget), |[from, _]| from);
    let place = |end: f64, part: u32, of: u32| now + (end - now) * f64::from(part) / f64::from(of);
    for p in policies {
        let stairs = stairs_of(&p.schedule);
        let way = course.along(&stairs);
        let points = (1..=PARTS).map(|k| place(end, k, PARTS)).map(|t| [t, way.loss(t)]);
        p.on_the_way = points.filter(|[t, l]| t.is_finite() && l.is_finite()).collect();
        let until =
            futures.decay.map_or(p.tokens.value.unwrap_or(futures.budget), |[from, _]| from);
        p.most_above_leave = (1..=LOOKS)
            .map(|k| place(until, k, LOOKS))
            .map(|tokens| Above { tokens, nats: way.loss(tokens) - left.loss(tokens) })
            .filter(|a| a.nats > LEAST && a.nats.is_finite() && a.tokens.is_finite())
            .max_by(|a, b| a.nats.total_cmp(&b.nats));
        p.notes.extend(above_at_other_end(futures, p, &left_stairs));
    }
}

/// The most above leaving the run at the other end of a memory that was not measured, in words.
fn above_at_other_end(futures: &Futures, p: &PolicyOutcome, left: &[Stair]) -> Option<String> {
    let (course, name) = futures.other.as_ref().filter(|_| p.policy != Policy::Leave)?;
    let stairs = stairs_of(&p.schedule);
    let (way, left) = (course.along(&stairs), course.along(left));
    let end = p.tokens_at_other_end.unwrap_or(futures.budget);
    let now = course.tokens();
    let at = |k: u32| now + (end - now) * f64::from(k) / f64::from(LOOKS);
    let above = |t: f64| (t, way.loss(t) - left.loss(t));
    let most = (1..=LOOKS).map(at).map(above).max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(if most.1 > SHOWN {
        format!(
            "on the way up to {} above leaving it, at {} tokens, if {name}",
            loss(most.1),
            count(most.0)
        )
    } else {
        format!("on the way never above leaving it if {name}")
    })
}

#[cfg(test)]
mod tests {
    use crate::advice::testing::{LAW, MEMORY, e, group_of, live, loss_of, on_disk, run_of};
    use crate::advice::{Goal, Plan, PlanOptions, Policy, PolicyOutcome, plan};

    fn ask(own: f64, options: PlanOptions) -> Plan {
        let run = run_of(&LAW, &MEMORY, &[(own, 2e6)], 0.0);
        plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), &live(false), &options)
    }

    fn of(plan: &Plan, policy: Policy) -> &PolicyOutcome {
        plan.policies.iter().find(|p| p.policy == policy).unwrap()
    }

    #[test]
    fn every_policy_is_told_at_the_same_quarters_up_to_where_the_plan_arrives() {
        let plan = ask(
            384.0,
            PlanOptions { target_loss: Some(2.12), budget_tokens: Some(3e7), ..on_disk() },
        );
        let arrives = of(&plan, Policy::Planned).tokens.value.unwrap();
        let quarters = |k: f64| 2e6 + k * (arrives - 2e6) / 4.0;
        for p in &plan.policies {
            let at: Vec<f64> = p.on_the_way.iter().map(|p| p[0]).collect();
            let want = [1.0, 2.0, 3.0, 4.0].map(quarters);
            assert!(at.iter().zip(want).all(|(a, b)| (a / b - 1.0).abs() < 1e-9), "{at:?}");
            // Between two of the path's points, which fall.
            let near = p.path.windows(2).find(|w| w[0][0] <= at[1] && at[1] <= w[1][0]).unwrap();
            assert!((near[1][1]..=near[0][1]).contains(&p.on_the_way[1][1]), "{p:?}");
        }
        let end = of(&plan, Policy::Planned).on_the_way[3];
        assert!((end[1] - 2.12).abs() < 1e-6, "{end:?}");
        assert_eq!(of(&plan, Policy::Leave).most_above_leave, None);
    }

    #[test]
    fn a_size_that_is_far_too_large_lies_above_leaving_it_and_a_bounded_plan_does_not() {
        let what_if = Some(vec![e(0, 128), e(2_100_000, 8192)]);
        let plan = ask(128.0, PlanOptions { what_if, goal: Some(Goal::Interim), ..on_disk() });
        let above = of(&plan, Policy::WhatIf).most_above_leave.unwrap();
        assert!(above.tokens > 2.1e6 && above.nats > 0.005, "{above:?}");
        let planned = of(&plan, Policy::Planned).most_above_leave;
        let bound = 1.1e-3 * (2.6 - LAW.l_inf);
        assert!(planned.is_none_or(|a| a.nats < bound), "{planned:?}");
    }
}
