//! What is aimed at where the goal cannot be had as it was asked for.

use crate::advice::testing::{LAW, MEMORY, group_of, live, loss_of, on_disk, run_of, tokens};
use crate::advice::{
    Entry, Goal, MemoryChoice, Plan, PlanOptions, Policy, Situation, VerdictKind, plan,
};
use crate::curve::{Interval, Memory};
use crate::run::RunData;

fn ask(run: &RunData, situation: &Situation, options: &PlanOptions) -> Plan {
    plan(run, loss_of(run), Some(&group_of(&LAW, MEMORY)), situation, options)
}

fn small() -> RunData {
    run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.0)
}

#[test]
fn a_target_that_no_allowed_size_reaches_is_no_reason_to_hold() {
    // The floor at 512 is 2.10.
    let floor = LAW.l_inf + LAW.noise(512.0);
    let options = PlanOptions { max_batch: Some(512), ..on_disk() };
    for below in [-0.003, 0.005, 0.03] {
        let options = PlanOptions { target_loss: Some(floor - below), ..options.clone() };
        let plan = ask(&small(), &live(false), &options);
        assert_eq!(plan.verdict.kind, VerdictKind::Raise, "{:?}", plan.verdict);
        let said = plan.verdict.reasons.iter().any(|r| {
            r.contains("no batch size that is allowed gets to") && r.contains("at 512, the largest")
        });
        assert!(said, "{:?}", plan.verdict.reasons);
        assert!(tokens(&plan, Policy::Planned).is_finite());
    }
    let near = PlanOptions { target_loss: Some(floor + 0.05), ..options };
    let plan = ask(&small(), &live(false), &near);
    assert!(plan.verdict.reasons.iter().all(|r| !r.contains("allowed gets to")));
}

/// The floor at 128 lies above the target: how far a larger size needs to it does not hang on a
/// budget that nobody named.
#[test]
fn changes_are_sought_as_far_as_the_goal_lies() {
    let floor = LAW.l_inf + LAW.noise(128.0);
    let target_loss = Some(floor - 0.08);
    let by_itself = ask(&small(), &live(false), &PlanOptions { target_loss, ..on_disk() });
    let budget_tokens = Some(1e9);
    let far = PlanOptions { target_loss, budget_tokens, ..on_disk() };
    let far = ask(&small(), &live(false), &far);
    let [a, b] = [&by_itself, &far].map(|p| tokens(p, Policy::Planned));
    assert!(a < 1.01 * b, "{a} {b}");
    assert!(a < tokens(&by_itself, Policy::Single), "{a}");
}

#[test]
fn hours_that_nobody_can_tell_are_not_promised() {
    let mut run = small();
    run.train.time.iter_mut().for_each(|t| *t = f64::NAN);
    let options = PlanOptions { goal: Some(Goal::Time), ..on_disk() };
    let plan = ask(&run, &live(false), &options);
    assert!(!plan.verdict.text.contains("hours"), "{}", plan.verdict.text);
    assert!(plan.verdict.reasons.iter().any(|r| r.contains("tokens are minimised where hours")));
    let known = ask(&small(), &live(false), &options);
    assert!(known.verdict.reasons.iter().any(|r| r.contains("fewest hours")));
    assert!(plan.verdict.reasons.iter().all(|r| !r.contains("fewest hours")));
}

/// The loss after a decay rests on a memory that does not predict across models: it is no ground to
/// make a batch smaller.
#[test]
fn no_reduction_is_planned_on_the_loss_after_a_decay() {
    for (batch, so_far) in [(128.0, 4e6), (512.0, 4e6), (2048.0, 8e6), (8192.0, 16e6)] {
        let run = run_of(&LAW, &MEMORY, &[(batch, so_far)], 0.0);
        for more in [1.5, 3.0, 8.0] {
            let options = PlanOptions {
                budget_tokens: Some(more * so_far),
                decay_tokens: Some(0.2 * more * so_far),
                ..on_disk()
            };
            let plan = ask(&run, &live(false), &options);
            assert_eq!(plan.goal, Goal::Decayed);
            assert_ne!(plan.verdict.kind, VerdictKind::Lower, "{}", plan.verdict.text);
            let sizes = plan.policies.iter().flat_map(|p| &p.schedule);
            assert!(sizes.into_iter().all(|e| e.batch_size_tokens as f64 >= batch), "{plan:?}");
            assert!(!plan.verdict.text.contains("fewer tokens than"), "{}", plan.verdict.text);
        }
    }
}

fn plan_to(own: f64, memory: Memory, options: &PlanOptions) -> Plan {
    let run = run_of(&LAW, &MEMORY, &[(own, 4e6)], 0.0);
    plan(&run, loss_of(&run), Some(&group_of(&LAW, memory)), &live(false), options)
}

/// What would come after the budget, or once the target is reached, is no part of a plan.
#[test]
fn a_plan_ends_where_it_is_to_end_and_says_what_does_not_fit() {
    let mut late = 0;
    for (target, budget) in
        [(None, 4.2e6), (None, 5e6), (Some(2.12), 5e6), (Some(2.12), 8e6), (Some(2.2), 6e6)]
    {
        let options = PlanOptions { target_loss: target, budget_tokens: Some(budget), ..on_disk() };
        let plan = plan_to(128.0, MEMORY, &options);
        let planned = plan.policies.iter().find(|p| p.policy == Policy::Planned).unwrap();
        let reached = planned.tokens.value.unwrap_or(f64::INFINITY);
        for e in plan.schedule.iter().chain(&planned.schedule) {
            assert!(e.from_tokens == 0 || (e.from_tokens as f64) < budget.min(reached), "{plan:?}");
        }
        let said = |w: &str| plan.verdict.reasons.iter().any(|r| r.contains(w));
        assert_eq!(said("ends before loss"), reached > budget, "{target:?} {budget} {reached}");
        if reached > budget && reached.is_finite() && plan.schedule.len() > 1 {
            late += 1;
            assert!(plan.verdict.text.contains("after the budget of"), "{}", plan.verdict.text);
        }
    }
    assert!(late > 0);
    // Nobody gave this one: it is no end.
    let plan = plan_to(128.0, MEMORY, &PlanOptions { target_loss: Some(2.12), ..on_disk() });
    assert!(!plan.verdict.reasons.iter().any(|r| r.contains("ends before loss")));
}

/// Whoever watches the loss sees that of the true memory, which may be any.
#[test]
fn a_bound_on_the_way_holds_at_both_ends_of_an_assumed_memory() {
    let mut changes = 0;
    for own in [256.0, 512.0, 4096.0, 8192.0] {
        let options = PlanOptions { goal: Some(Goal::Interim), ..on_disk() };
        let run = run_of(&LAW, &Memory::SLOW, &[(own, 8e6)], 0.0);
        let ask = |memory: MemoryChoice, what_if: Option<Vec<Entry>>| {
            let options = PlanOptions { what_if, memory: Some(memory), ..options.clone() };
            let group = group_of(&LAW, Memory::SLOW);
            plan(&run, loss_of(&run), Some(&group), &live(false), &options)
        };
        let planned = ask(MemoryChoice::Slow, None);
        let Some(p) = planned.policies.iter().find(|p| p.policy == Policy::Planned) else {
            continue;
        };
        changes += usize::from(p.schedule.len() > 1);
        for memory in [MemoryChoice::Slow, MemoryChoice::Fast] {
            let there = ask(memory, Some(p.schedule.clone()));
            let Some(w) = there.policies.iter().find(|p| p.policy == Policy::WhatIf) else {
                continue;
            };
            let above = w.most_above_leave.map_or(0.0, |a| a.nats);
            assert!(above < 3e-3, "{own} {memory:?} {above} {:?}", p.schedule);
        }
    }
    assert!(changes > 0);
}

#[test]
fn a_saving_under_an_assumed_memory_is_told_for_both_its_ends() {
    let options = PlanOptions { target_loss: Some(2.15), ..on_disk() };
    let text = plan_to(384.0, Memory::SLOW, &options).verdict.text;
    assert!(text.contains(" % to ") && !text.contains("at least"), "{text}");
    assert!(text.contains("if no noise is forgotten"), "{text}");
}

#[test]
fn what_a_goal_after_the_decay_is_about_is_a_number_of_every_policy() {
    let options = PlanOptions { decay_tokens: Some(2e6), budget_tokens: Some(12e6), ..on_disk() };
    let decayed = plan_to(128.0, MEMORY, &options);
    assert_eq!(decayed.goal, Goal::Decayed);
    for p in &decayed.policies {
        let after = p.loss_after_decay.value.unwrap();
        assert!(after < p.loss_at_budget.value.unwrap(), "{p:?}");
        assert!(p.notes.iter().any(|n| n.contains(&crate::units::loss(after))), "{p:?}");
    }
    let stable = plan_to(128.0, MEMORY, &on_disk());
    assert!(stable.policies.iter().all(|p| p.loss_after_decay == Interval::UNKNOWN));
}
