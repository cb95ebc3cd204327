//! What is aimed at where the goal cannot be had as it was asked for.

use crate::advice::testing::{LAW, MEMORY, group_of, live, loss_of, on_disk, run_of, tokens};
use crate::advice::{Goal, Plan, PlanOptions, Policy, Situation, VerdictKind, plan};
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
