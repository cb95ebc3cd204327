//! A raise that brought less than half of what was promised before it stops the plan, and a plan leaves
//! the time to see that.

use super::own_past::last_bump;
use super::testing::{LAW, MEMORY, e, group_of, live, loss_of, on_disk, run_of};
use super::{
    PlanOptions, Policy, Promise, Situation, VerdictKind, catch_up_steps, judge, plan, promises,
    spoiled,
};
use crate::curve::{self, FitOptions, GroupFit, Memory, MemorySource};
use crate::run::RunData;

const AT: f64 = 3.2e6;

fn promised(memory: Memory) -> Promise {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
    let group = group_of(&LAW, memory);
    let schedule = [e(0, 128), e(AT as u64, 256)];
    promises(&schedule, &run, Some(&group), &Situation::default(), &PlanOptions::default())
        .remove(0)
}

#[test]
fn the_second_raise_of_a_revision_obeys_the_rule_too() {
    let second = 2.0 * AT;
    let schedule = [e(0, 128), e(AT as u64, 256), e(second as u64, 512)];
    let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
    let group = group_of(&LAW, MEMORY);
    let promised =
        promises(&schedule, &run, Some(&group), &Situation::default(), &PlanOptions::default());
    let parts = [(128.0, AT), (256.0, second - AT), (512.0, 4e6)];
    let kept = run_of(&LAW, &MEMORY, &parts, 0.001);
    let mut vain = kept.clone();
    let left = run_of(&LAW, &MEMORY, &[(128.0, AT), (256.0, second - AT + 4e6)], 0.001);
    for (loss, tokens) in vain.train.loss.iter_mut().zip(&vain.train.tokens) {
        let i = left.train.tokens.partition_point(|t| t < tokens).min(left.train.len() - 1);
        *loss = left.train.loss[i];
    }
    let refitted = Memory { tau_steps: 100_000.0, p: 0.4, source: MemorySource::Measured };
    let ask = |run: &RunData, promised: &[Promise]| {
        let situation =
            Situation { in_force: schedule.to_vec(), promised: promised.to_vec(), ..live(true) };
        plan(run, loss_of(run), Some(&group_of(&LAW, refitted)), &situation, &on_disk()).verdict
    };
    let stopped = ask(&vain, &promised).text;
    assert!(stopped.contains("the raise to 512 brought"), "{stopped}");
    assert!(!ask(&vain, &promised[..1]).text.contains("less than half"));
    assert!(!ask(&kept, &promised).text.contains("less than half"));
}

/// A run that was raised at [`AT`] and whose loss goes on as if it had not been.
fn in_vain(after: f64) -> RunData {
    let mut run = run_of(&LAW, &MEMORY, &[(128.0, AT), (256.0, after)], 0.001);
    let left = run_of(&LAW, &MEMORY, &[(128.0, AT + after)], 0.001);
    for (loss, tokens) in run.train.loss.iter_mut().zip(&run.train.tokens) {
        let i = left.train.tokens.partition_point(|t| t < tokens).min(left.train.len() - 1);
        *loss = left.train.loss[i];
    }
    run
}

#[test]
fn a_memory_that_learned_of_the_raise_does_not_excuse_it() {
    // So slow that by it hardly anything was to come.
    let refitted = Memory { tau_steps: 100_000.0, p: 0.4, source: MemorySource::Measured };
    let run = in_vain(2e6);
    let ask = |promised: Vec<Promise>| {
        let options = PlanOptions { target_loss: Some(2.15), ..on_disk() };
        let situation =
            Situation { in_force: vec![e(0, 128), e(AT as u64, 256)], promised, ..live(true) };
        plan(&run, loss_of(&run), Some(&group_of(&LAW, refitted)), &situation, &options)
    };
    let without = ask(Vec::new()).verdict;
    assert!(!without.text.contains("less than half"), "{}", without.text);
    let with = ask(vec![promised(MEMORY)]);
    assert_eq!(with.verdict.kind, VerdictKind::Hold);
    assert!(with.verdict.text.contains("less than half"), "{}", with.verdict.text);
    assert!(with.schedule.iter().all(|x| x.from_tokens as f64 <= AT), "{:?}", with.schedule);
    // One that kept its promise stops nothing.
    let kept = run_of(&LAW, &MEMORY, &[(128.0, AT), (256.0, 2e6)], 0.001);
    let situation = Situation { promised: vec![promised(MEMORY)], ..live(true) };
    let group = group_of(&LAW, MEMORY);
    let good = plan(&kept, loss_of(&kept), Some(&group), &situation, &on_disk());
    assert!(!good.verdict.text.contains("less than half"), "{}", good.verdict.text);
}

/// A sweep, and a run that was raised by its trainer: what boptop knows of a ramp that it did not order.
fn fitted_with(run: &RunData, memory: &Memory, another: Option<RunData>) -> GroupFit {
    let sizes = [32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
    let mut runs: Vec<RunData> = sizes
        .iter()
        .map(|b| {
            let id = format!("b{b}");
            RunData { id, ..run_of(&LAW, memory, &[(*b, 6e4 * b.max(128.0))], 0.001) }
        })
        .collect();
    runs.extend(another.map(|r| RunData { id: "another".into(), ..r }));
    runs.push(run.clone());
    let options = FitOptions { draws: 20, at_loss: vec![2.3], ..FitOptions::default() };
    curve::fit(&runs, &options).groups.remove(0)
}

#[test]
fn a_ramp_that_was_not_ordered_is_judged_by_what_was_known_of_the_memory_before_it() {
    // Three tenths of what should come: a memory that is slower explains that.
    let kept = run_of(&LAW, &MEMORY, &[(128.0, AT), (256.0, 4e6)], 0.001);
    let mut weak = in_vain(4e6);
    for (loss, good) in weak.train.loss.iter_mut().zip(&kept.train.loss) {
        *loss += 0.3 * (good - *loss);
    }
    let ask = |run: &RunData, another: Option<RunData>| {
        let group = fitted_with(run, &MEMORY, another);
        let options = PlanOptions { target_loss: Some(2.15), ..on_disk() };
        let verdict = plan(run, loss_of(run), Some(&group), &live(true), &options).verdict;
        (group.law.unwrap(), format!("{} {:?}", verdict.text, verdict.reasons))
    };
    let (fit, why) = ask(&weak, None);
    let refitted = last_bump(&weak, fit.on, &fit.law, |_| fit.memory);
    assert!(refitted.is_none_or(|b| !b.disappoints()), "{:?} {refitted:?}", fit.memory);
    // Nothing else tells the memory: it may be as slow as that.
    assert!(!why.contains("less than half"), "{:?} {why}", fit.memory);
    // What another run told is known before.
    let another = run_of(&LAW, &MEMORY, &[(256.0, 3e6), (512.0, 6e6)], 0.001);
    let (fit, why) = ask(&weak, Some(another.clone()));
    let before = fit.memory_before("steered", AT / 128.0);
    assert_eq!(before.source, MemorySource::Measured, "{before:?}");
    assert!((before.tau_steps / MEMORY.tau_steps).ln().abs() < 1.0, "{before:?}");
    assert!(why.contains("less than half"), "{:?} {why}", fit.memory);
    for another in [None, Some(another)] {
        let (fit, why) = ask(&kept, another);
        assert!(!why.contains("less than half"), "{:?} {why}", fit.memory);
    }
}

#[test]
fn a_raise_that_brought_nothing_did_not_hold_though_nothing_lies_within_what_was_assumed() {
    let slow = promised(Memory::SLOW);
    assert!(slow.loss.high.unwrap() > slow.loss_if_left - 0.01, "{slow:?}");
    let seen = judge(&slow, &in_vain(5e6)).unwrap();
    assert!(seen.share.unwrap() < 0.5, "{seen:?}");
    assert!(seen.text().ends_with("the forecast did not hold"), "{}", seen.text());
}

#[test]
fn a_forecast_is_judged_up_to_the_next_change_and_not_at_all_where_that_came_too_soon() {
    let p = promised(Memory::SLOW);
    let [from, to] = p.judged_over_tokens;
    let next = |at: f64| {
        let parts = [(128.0, AT), (256.0, at - AT), (1024.0, 1.2 * to - at)];
        run_of(&LAW, &Memory::SLOW, &parts, 0.001)
    };
    let alone = run_of(&LAW, &Memory::SLOW, &[(128.0, AT), (256.0, 1.2 * to - AT)], 0.001);
    let whole = judge(&p, &alone).unwrap();
    assert_eq!(spoiled(&p, &alone), None);
    // Within the stretch: what follows is of another size, and judged it would be too good.
    let cut = from + 0.1 * (to - from);
    let seen = judge(&p, &next(cut)).unwrap();
    assert!(seen.promise.judged_over_tokens[1] <= cut * 1.01, "{seen:?}");
    assert!((seen.share.unwrap() - whole.share.unwrap()).abs() < 0.1, "{seen:?} {whole:?}");
    // Before the catch-up window is over.
    let soon = AT + 0.6 * (from - AT);
    assert_eq!(judge(&p, &next(soon)), None);
    let spoiled = spoiled(&p, &next(soon)).unwrap();
    assert!((spoiled / soon - 1.0).abs() < 0.01, "{spoiled} {soon}");
}

#[test]
fn the_second_change_of_a_plan_waits_until_the_first_has_shown_what_it_brought() {
    let mut seen = 0;
    for (tokens, target) in [(2e6, 2.2), (4e6, 2.16), (4e6, 2.14), (8e6, 2.12)] {
        for memory in [MEMORY, Memory::SLOW, Memory { tau_steps: 300.0, ..MEMORY }] {
            let run = run_of(&LAW, &memory, &[(128.0, tokens)], 0.0);
            let group = group_of(&LAW, memory);
            let options = PlanOptions { target_loss: Some(target), ..on_disk() };
            let plan = plan(&run, loss_of(&run), Some(&group), &live(false), &options);
            let Some(p) = plan.policies.iter().find(|p| p.policy == Policy::Planned) else {
                panic!("{:?}", plan.verdict)
            };
            let now = run.tokens() as u64;
            let ahead: Vec<_> = p.schedule.iter().filter(|x| x.from_tokens > now).collect();
            let [first, second, ..] = ahead.as_slice() else { continue };
            seen += 1;
            let before = run.step() + (first.from_tokens as f64 - run.tokens()) / 128.0;
            let window = first.batch_size_tokens as f64 * catch_up_steps(&memory, before);
            let gap = (second.from_tokens - first.from_tokens) as f64;
            assert!(gap >= 0.999 * window, "{tokens} {target} {memory:?}: {gap} {window}");
        }
    }
    assert!(seen >= 6, "{seen}");
}
