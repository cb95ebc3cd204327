//! Plans for runs that have changed their batch size before.

use super::testing::{LAW, MEMORY, e, group_of, live, loss_of, on_disk, run_of};
use super::{Entry, LrRule, Plan, PlanOptions, Situation, TrainerLimits, megatron, plan};

fn ask(parts: &[(f64, f64)], situation: &Situation, options: &PlanOptions) -> Plan {
    let run = run_of(&LAW, &MEMORY, parts, 0.0);
    plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), situation, options)
}

fn to(target: f64) -> PlanOptions {
    PlanOptions { target_loss: Some(target), ..on_disk() }
}

const RAMP: [(f64, f64); 2] = [(128.0, 2e6), (256.0, 1e6)];

#[test]
fn a_plan_begins_with_the_ramp_as_it_was() {
    let plan = ask(&RAMP, &live(false), &to(2.15));
    assert_eq!(plan.schedule[..2], [e(0, 128), e(2_000_000, 256)], "{:?}", plan.verdict);
    assert!(plan.schedule.len() > 2, "{:?}", plan.verdict);
    let flag = megatron(&plan.schedule, 16).unwrap();
    assert!(flag.starts_with("0:8 2000000:16 "), "{flag}");
}

#[test]
fn a_learning_rate_is_scaled_against_that_of_now_and_the_present_one_is_left() {
    let limits = TrainerLimits { can_scale_lr: true, ..live(false).limits.unwrap() };
    let able = Situation { limits: Some(limits), ..live(false) };
    let options = PlanOptions { lr_rule: LrRule::Sqrt, ..to(2.15) };
    let in_force = vec![e(0, 128), e(2_000_000, 256)];
    for in_force in [Vec::new(), in_force] {
        let plan = ask(&RAMP, &Situation { in_force, ..able.clone() }, &options);
        let scale = |x: &Entry| x.lr_scale.unwrap();
        assert!(plan.schedule[..2].iter().all(|x| scale(x) == 1.0), "{:?}", plan.schedule);
        for x in &plan.schedule[2..] {
            let ratio = x.batch_size_tokens as f64 / 256.0;
            assert!((scale(x) - ratio.sqrt()).abs() < 1e-9, "{:?}", plan.schedule);
        }
        assert!(plan.verdict.reasons.iter().any(|r| r.contains("rate is scaled with")));
    }
    let unable = ask(&RAMP, &live(false), &options);
    assert!(unable.schedule.iter().all(|x| x.lr_scale.is_none()), "{:?}", unable.schedule);
    let said = |w: &str| unable.verdict.reasons.iter().any(|r| r.contains(w));
    assert!(said("the learning rate is not scaled") && !said("rate is scaled with"));
}

#[test]
fn a_decay_counted_in_steps_is_warned_of_also_after_the_change() {
    let options = PlanOptions {
        budget_tokens: Some(5e6),
        decay_tokens: Some(1e6),
        max_batch: Some(256),
        goal: Some(super::Goal::Stable),
        ..on_disk()
    };
    let steps = |schedule: Option<Vec<Entry>>| {
        let options = PlanOptions { schedule, ..options.clone() };
        let plan = ask(&RAMP, &live(true), &options);
        plan.verdict.reasons.into_iter().find(|r| r.contains("counts steps"))
    };
    // 4M tokens at 128 a step; in fact 2M at 128 and 2M at 256.
    let said = steps(None).unwrap();
    assert!(said.contains("step 23,437") && said.contains("step 31,250 at the 128"), "{said}");
    assert!(said.contains("too late, or never"), "{said}");
    let declared = vec![e(0, 128), e(2_000_000, 256)];
    assert_eq!(steps(Some(declared)), None, "whoever set it knew of the ramp");
}

#[test]
fn a_learning_rate_that_was_moved_is_named() {
    let mut run = run_of(&LAW, &MEMORY, &RAMP, 0.0);
    let mut group = group_of(&LAW, MEMORY);
    group.lr = Some(2e-3);
    let said = |run: &_, group: &_| {
        let plan = plan(run, loss_of(run), Some(group), &live(false), &to(2.15));
        plan.verdict.reasons.into_iter().find(|r| r.contains("is in no number here"))
    };
    assert_eq!(said(&run, &group), None);
    run.phases.spans[0].lr = Some(2.83e-3);
    assert!(said(&run, &group).unwrap().contains("2e-3"), "{:?}", said(&run, &group));
}

/// After a raise that brought nothing the planned policy is shown and not advised.
#[test]
fn whoever_is_told_to_hold_is_told_the_step_of_holding() {
    let mut run = run_of(&LAW, &MEMORY, &[(128.0, 3e6), (256.0, 2e6)], 0.001);
    let flat = run_of(&LAW, &MEMORY, &[(128.0, 5e6)], 0.001);
    run.train.loss = flat.train.loss.clone();
    run.train.loss.resize(run.train.step.len(), *flat.train.loss.last().unwrap());
    let in_force = vec![e(0, 128), e(3_000_000, 256)];
    let situation = Situation { in_force, ..live(true) };
    let options = PlanOptions {
        budget_tokens: Some(2e7),
        decay_tokens: Some(4e6),
        goal: Some(super::Goal::Stable),
        ..on_disk()
    };
    let plan = plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), &situation, &options);
    assert!(plan.verdict.text.contains("less than half"), "{}", plan.verdict.text);
    assert_ne!(plan.policies[0].schedule, plan.policies[1].schedule, "a plan stands beside it");
    let said = plan.verdict.reasons.iter().find(|r| r.contains("counts steps")).unwrap();
    // 3M tokens at 128 a step, 13M at 256.
    assert!(said.contains("move it to step 74,21"), "{said}");
}

#[test]
fn a_change_that_is_ordered_is_not_advised_again_and_its_aim_stays() {
    let run = [(128.0, 3e6)];
    let fresh = ask(&run, &live(false), &on_disk());
    let aim = |p: &Plan| p.policies[0].target_loss.unwrap();
    assert!(fresh.verdict.text.starts_with("raise to 256 now"), "{}", fresh.verdict.text);
    let data = run_of(&LAW, &MEMORY, &run, 0.0);
    let group = group_of(&LAW, MEMORY);
    let options = PlanOptions { target_loss: Some(aim(&fresh)), ..on_disk() };
    let promised = super::promises(&fresh.schedule, &data, Some(&group), &live(false), &options);
    let ordered = Situation { in_force: fresh.schedule.clone(), promised, ..live(false) };
    let after = ask(&run, &ordered, &on_disk());
    assert!(after.verdict.text.starts_with("hold"), "{}", after.verdict.text);
    assert!(
        after.verdict.text.contains("ordered already") || after.verdict.text.contains("accepted"),
        "{}",
        after.verdict.text
    );
    assert_eq!(aim(&after), aim(&fresh));
    // Once it is reached another is taken.
    let later = ask(&[(128.0, 3e6), (256.0, 9e6)], &ordered, &on_disk());
    assert!(later.policies.is_empty() || aim(&later) < aim(&fresh) - 1e-6, "{:?}", later.verdict);
    // The second change of an order that lacks it is told as what it is.
    let first = Situation { in_force: vec![e(0, 128), e(3_040_000, 256)], ..live(false) };
    let more = ask(&run, &first, &to(2.15));
    assert!(!more.verdict.text.starts_with("raise to 256"), "{}", more.verdict.text);
    assert!(more.verdict.text.contains("256 at 3.04M tokens is ordered"), "{}", more.verdict.text);
}
