//! The plan as a whole, on runs that follow a known law.

use super::testing::{LAW, MEMORY, e, group_of, live, loss_of, on_disk, run_of, tokens};
use super::*;
use crate::curve::{GroupFit, Law, Memory};
use crate::run::{Phase, RunData, Schedule};

#[test]
fn the_planned_ramp_beats_the_best_single_batch_and_tracking() {
    let run = run_of(&LAW, &MEMORY, &[(384.0, 2e6)], 0.0);
    let options = PlanOptions { target_loss: Some(2.12), ..on_disk() };
    let group = group_of(&LAW, MEMORY);
    let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &options);
    let planned = tokens(&plan, Policy::Planned);
    assert!(planned < 0.85 * tokens(&plan, Policy::Single), "{plan:#?}");
    assert!(planned < 0.5 * tokens(&plan, Policy::Leave));
    assert!(planned < tokens(&plan, Policy::Tracking));
    let risk = |p: Policy| plan.policies.iter().find(|x| x.policy == p).unwrap().risk;
    assert_eq!((risk(Policy::Leave), risk(Policy::Planned)), (None, Some(0.0)));
    let assumed = PlanOptions { memory: Some(MemoryChoice::Slow), ..options };
    let plan = super::plan(&run, loss_of(&run), Some(&group), &live(true), &assumed);
    assert!(plan.policies.iter().all(|p| p.risk.is_none()), "both ends are not in the draws");
    // Hold for most of the way, then double ever faster.
    let s = &plan.policies[1].schedule;
    assert!(s.len() >= 3);
    assert!(s[1].from_tokens as f64 > run.tokens() + 0.3 * (planned - run.tokens()));
}

#[test]
fn an_unmeasured_memory_is_assumed_slow_and_both_ends_are_shown() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let group = group_of(&LAW, Memory { ..Memory::SLOW });
    let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &on_disk());
    assert!(plan.policies.iter().all(|p| p.notes.iter().any(|n| n.contains("at once"))));
    assert!(plan.verdict.reasons.iter().any(|r| r.contains("slow is assumed")));
    let p = &plan.policies[1];
    assert!(p.tokens.low.unwrap() <= p.tokens.value.unwrap());
}

#[test]
fn a_law_that_misses_the_past_gives_no_advice() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let wrong = Law { c: 3.0 * LAW.c, ..LAW };
    let plan = plan(&run, loss_of(&run), Some(&group_of(&wrong, MEMORY)), &live(true), &on_disk());
    assert_eq!(plan.verdict.kind, VerdictKind::CannotTell);
    assert!(plan.verdict.text.contains("misses this run's own past"), "{}", plan.verdict.text);
    let told = |p: &Plan| p.verdict.reasons.iter().any(|r| r.contains("an undo withdraws it"));
    assert!(!told(&plan));
    let situation = Situation { in_force: vec![e(0, 128), e(9_000_000, 256)], ..live(true) };
    let group = group_of(&wrong, MEMORY);
    let accepted = super::plan(&run, loss_of(&run), Some(&group), &situation, &on_disk());
    assert!(told(&accepted), "{:?}", accepted.verdict);
    assert_eq!(accepted.schedule, situation.in_force, "it is not withdrawn by itself");
    assert!(plan.policies.is_empty());
    assert_eq!(plan.schedule.len(), 1);
}

#[test]
fn no_fit_no_number_but_what_to_branch() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let plan = plan(&run, loss_of(&run), None, &live(true), &on_disk());
    assert!(plan.verdict.text.starts_with("cannot tell"));
    assert_eq!(plan.b_opt.value, None);
    assert!(plan.verdict.reasons.iter().any(|r| r.starts_with("branch")));
}

#[test]
fn warmup_decay_and_a_declining_rate_are_refused() {
    let group = group_of(&LAW, MEMORY);
    let mut run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    for (phase, word) in [(Phase::Warmup, "warmup"), (Phase::Decay, "decay")] {
        run.phases.spans[0].phase = phase;
        let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &on_disk());
        assert!(plan.verdict.text.starts_with("hold") && plan.verdict.text.contains(word));
        assert!(plan.policies.is_empty());
        assert_eq!(plan.b_opt.value, None, "a loss of this phase is no level of the fits");
    }
    run.phases.schedule = Schedule::Declining;
    run.phases.spans.clear();
    let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &on_disk());
    assert_eq!(plan.verdict.kind, VerdictKind::CannotTell);
}

#[test]
fn too_large_and_up_only_says_that_lowering_would_help() {
    let run = run_of(&LAW, &MEMORY, &[(2048.0, 8e6)], 0.003);
    let group = group_of(&LAW, MEMORY);
    let up = plan(&run, loss_of(&run), Some(&group), &live(true), &on_disk());
    assert_eq!(up.verdict.kind, VerdictKind::Hold, "{:#?}", up.verdict);
    assert!(up.verdict.text.contains("only lowering"), "{}", up.verdict.text);
    let both = plan(&run, loss_of(&run), Some(&group), &live(false), &on_disk());
    assert!(tokens(&both, Policy::Planned) <= tokens(&both, Policy::Leave) + 1.0);
}

/// The optimum grows past the size of today: that a raise is planned does not make it right now.
#[test]
fn too_large_now_is_said_of_a_run_that_is_to_be_raised_later() {
    let run = run_of(&LAW, &MEMORY, &[(1024.0, 8e6)], 0.003);
    let group = group_of(&LAW, MEMORY);
    let options = PlanOptions { target_loss: Some(2.06), ..on_disk() };
    let ask = |up: bool| plan(&run, loss_of(&run), Some(&group), &live(up), &options);
    let up = ask(true);
    let raises = |p: &Plan| p.schedule.iter().any(|e| e.batch_size_tokens > 1024);
    assert!(raises(&up), "{:#?}", up.verdict);
    assert!(up.verdict.text.contains("lowering would help"), "{}", up.verdict.text);
    assert!(!ask(false).verdict.text.contains("can only raise"));
}

#[test]
fn sizes_far_beyond_the_tested_ones_are_not_planned() {
    let run = run_of(&LAW, &MEMORY, &[(384.0, 2e6)], 0.0);
    let mut group = group_of(&LAW, MEMORY);
    if let Some(fit) = &mut group.law {
        fit.batch_sizes = [64.0, 512.0];
    }
    let options = PlanOptions { target_loss: Some(2.12), ..on_disk() };
    let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &options);
    let sizes = plan.policies.iter().flat_map(|p| &p.schedule).map(|e| e.batch_size_tokens);
    assert_eq!(sizes.max(), Some(1024), "{:#?}", plan.verdict);
    assert!(plan.verdict.reasons.iter().any(|r| r.contains("never tested")));
}

#[test]
fn a_target_that_is_passed_or_out_of_reach_is_said() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let group = group_of(&LAW, MEMORY);
    let ask = |t: f64| {
        let options = PlanOptions { target_loss: Some(t), ..on_disk() };
        plan(&run, loss_of(&run), Some(&group), &live(true), &options).verdict.text
    };
    assert!(ask(2.8).contains("already reached"));
    assert!(ask(1.9).contains("floor"));
    let options = PlanOptions { target_loss: Some(1.97), ..on_disk() };
    let far = plan(&run, loss_of(&run), Some(&group), &live(true), &options);
    assert!(far.verdict.reasons.iter().any(|r| r.contains("too far below")), "{far:?}");
    let to = far.policies[0].target_loss.unwrap();
    assert!(to > 1.97 && to < 2.1, "{to}");
}

/// Near the end of a budget the law's own miss is more than what is left to gain.
#[test]
fn a_target_that_nobody_named_is_never_one_that_the_run_has_reached() {
    let run = run_of(&LAW, &Memory::INSTANT, &[(256.0, 4e6)], 0.0);
    let group = group_of(&LAW, Memory::INSTANT);
    let options = PlanOptions { budget_tokens: Some(4.4e6), ..on_disk() };
    let at = |loss: f64| plan(&run, Some(loss), Some(&group), &live(true), &options);
    let law = loss_of(&run).unwrap();
    let target = |p: &Plan| p.policies.iter().find_map(|p| p.target_loss);
    let left = target(&at(law)).unwrap();
    assert!(left < law, "{left} {law}");
    let lower = at(left - 1e-3);
    assert!(target(&lower).is_some_and(|t| t < left - 1e-3), "{lower:#?}");
    let lowest = at(left - 0.3);
    assert_eq!(lowest.verdict.kind, VerdictKind::Hold, "{lowest:#?}");
    assert!(lowest.verdict.text.contains("gains nothing"), "{lowest:#?}");
}

#[test]
fn a_bump_that_brought_nothing_stops_the_plan() {
    let parts = [(128.0, 3e6), (256.0, 2e6)];
    let mut run = run_of(&LAW, &MEMORY, &parts, 0.001);
    let flat = run_of(&LAW, &MEMORY, &[(128.0, 5e6)], 0.001);
    run.train.loss = flat.train.loss.clone();
    run.train.loss.resize(run.train.step.len(), *flat.train.loss.last().unwrap());
    let group = group_of(&LAW, MEMORY);
    let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &on_disk());
    assert!(plan.verdict.text.starts_with("hold"), "{:#?}", plan.verdict);
    assert!(plan.verdict.reasons.iter().any(|r| r.contains("less than half")), "{plan:#?}");
}

#[test]
fn a_change_that_a_guard_speaks_against_is_not_advised() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 8e6)], 0.003);
    let mut group = group_of(&LAW, MEMORY);
    let ask = |run: &RunData, group: &GroupFit| {
        plan(run, loss_of(run), Some(group), &live(true), &on_disk())
    };
    let free = ask(&run, &group);
    assert_eq!(free.verdict.kind, VerdictKind::Raise, "{:?}", free.verdict);
    assert!(free.guards.iter().all(|g| !g.blocks));
    if let Some(law) = &mut group.law {
        law.rival_held_out_nats = law.held_out_nats;
    }
    let against = ask(&run, &group);
    assert_eq!(against.guards[0].name, GuardName::ModelsDisagree);
    assert_eq!(against.verdict.kind, VerdictKind::Hold);
    assert!(against.verdict.text.contains("without a noise floor"), "{}", against.verdict.text);
    assert!(against.verdict.reasons[0].starts_with("but for that: raise"));
    // The rival that predicts what came later worse is none.
    if let Some(law) = &mut group.law {
        (law.future_nats, law.rival_future_nats) = (Some(0.005), Some(0.02));
    }
    assert_eq!(ask(&run, &group).verdict.kind, VerdictKind::Raise);
    // What the last change brought is waited for.
    let fresh = run_of(&LAW, &MEMORY, &[(128.0, 8e6), (256.0, 2e5)], 0.003);
    let waits = ask(&fresh, &group);
    assert_ne!(waits.verdict.kind, VerdictKind::Raise, "{:?}", waits.verdict);
}

/// A miss at the bound of the veto, which moves by little from look to look.
#[test]
fn a_miss_at_the_bound_does_not_make_advice_come_and_go() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.0);
    let group = |c: f64| group_of(&Law { c: c * LAW.c, ..LAW }, MEMORY);
    let ask = |c: f64, said: Option<VerdictKind>| {
        let situation = Situation { said, ..live(true) };
        plan(&run, loss_of(&run), Some(&group(c)), &situation, &on_disk()).verdict.kind
    };
    // The least that is vetoed.
    let (mut fine, mut vetoed) = (1.0, 2.0);
    for _ in 0..40 {
        let c = 0.5 * (fine + vetoed);
        if ask(c, None) == VerdictKind::CannotTell { vetoed = c } else { fine = c }
    }
    let given = ask(fine, Some(VerdictKind::Raise));
    assert_ne!(given, VerdictKind::CannotTell);
    let withheld = Some(VerdictKind::CannotTell);
    assert_eq!(ask(fine, withheld), VerdictKind::CannotTell, "a trifle less is no reason to speak");
    assert_ne!(ask(1.0 + 0.85 * (fine - 1.0), withheld), VerdictKind::CannotTell);
    assert_eq!(ask(vetoed, Some(given)), VerdictKind::CannotTell, "nothing beyond the bound");
}

/// A plan that nobody approves is told alike while the run goes on and the fit moves a little: its
/// sizes stay, and a change for now stays one.
#[test]
fn a_plan_that_waits_for_a_person_keeps_its_words() {
    let options = PlanOptions { lead_seconds: 20.0, ..PlanOptions::default() };
    let mut before: Option<Plan> = None;
    let mut kinds = Vec::new();
    for i in 0..60 {
        let law = Law { c: LAW.c * (1.0 + 0.004 * f64::from(i % 3)), ..LAW };
        let run = run_of(&LAW, &MEMORY, &[(4096.0, 8e6 * 1.02f64.powi(i))], 0.003);
        let situation = Situation {
            committed: before.as_ref().map(|p| p.schedule.clone()),
            said: before.as_ref().map(|p| p.verdict.kind),
            tokens_per_second: Some(5e5),
            ..live(false)
        };
        let now = plan(&run, loss_of(&run), Some(&group_of(&law, MEMORY)), &situation, &options);
        if kinds.last() != Some(&now.verdict.kind) {
            kinds.push(now.verdict.kind);
        }
        before = Some(now);
    }
    // The optimum passes the size in use, and no kind comes again.
    assert_eq!(kinds, [VerdictKind::Lower, VerdictKind::Hold, VerdictKind::Raise]);
}

#[test]
fn a_change_for_later_that_a_guard_speaks_against_is_not_advised() {
    let run = run_of(&LAW, &MEMORY, &[(384.0, 2e6)], 0.0);
    let mut group = group_of(&LAW, MEMORY);
    let options = PlanOptions { target_loss: Some(2.12), ..on_disk() };
    let ask = |group: &GroupFit| plan(&run, loss_of(&run), Some(group), &live(true), &options);
    let free = ask(&group).verdict;
    assert!(
        free.text.starts_with("hold 384 until") && free.text.contains("then raise"),
        "{free:?}"
    );
    if let Some(law) = &mut group.law {
        law.rival_held_out_nats = law.held_out_nats;
    }
    let against = ask(&group).verdict;
    assert!(against.text.starts_with("hold: ") && against.text.contains("noise floor"));
    assert!(against.reasons[0].starts_with("but for that: hold 384 until"), "{against:?}");
}

#[test]
fn a_law_that_misses_by_many_times_its_own_error_gives_no_advice() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    // 8 % of L - L_inf, and many times what it missed its own runs by.
    let other = Law { c: 1.1 * LAW.c, ..LAW };
    let mut group = group_of(&other, MEMORY);
    if let Some(fit) = &mut group.law {
        fit.rms_nats = 0.004;
        fit.draws = vec![other; 20];
    }
    let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &on_disk());
    assert_eq!(plan.verdict.kind, VerdictKind::CannotTell, "{:?}", plan.verdict);
    assert!(plan.verdict.text.contains("times its own error"), "{}", plan.verdict.text);
}

#[test]
fn a_schedule_of_the_trainers_own_is_what_leaving_it_means() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let own = vec![e(0, 128), e(5_000_000, 256), e(7_000_000, 512)];
    let ask = |in_force: Vec<Entry>, schedule: Option<Vec<Entry>>| {
        let situation = Situation { in_force, ..live(true) };
        let options = PlanOptions { target_loss: Some(2.2), schedule, ..on_disk() };
        plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), &situation, &options)
    };
    let alone = ask(Vec::new(), None);
    let ramp = ask(own.clone(), Some(own.clone()));
    assert!(tokens(&ramp, Policy::Leave) < tokens(&alone, Policy::Leave));
    assert_eq!(ramp.policies[0].schedule, own);
    let said = |p: &Plan| p.verdict.reasons.iter().any(|r| r.starts_with("deviates"));
    assert!(!said(&ramp));
    let other = vec![e(0, 128), e(2_000_000, 256)];
    assert!(said(&ask(other.clone(), Some(other))));
}

#[test]
fn no_change_lies_in_the_decay_and_the_goal_is_then_the_loss_after_it() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let options = PlanOptions { budget_tokens: Some(16e6), decay_tokens: Some(4e6), ..on_disk() };
    let plan = plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), &live(true), &options);
    assert_eq!(plan.goal, Goal::Decayed);
    assert_eq!(plan.decay_from, Some(12e6));
    let all = plan.policies.iter().flat_map(|p| &p.schedule).chain(&plan.schedule);
    assert!(all.clone().any(|e| e.from_tokens > 4_000_000));
    assert!(all.into_iter().all(|e| e.from_tokens < 12_000_000), "{plan:#?}");
    let steps = plan.verdict.reasons.iter().find(|r| r.contains("counts steps")).unwrap();
    assert!(steps.contains("the decay begins at 12M tokens"), "{steps}");
    assert!(plan.verdict.reasons.iter().any(|r| r.contains("not known here")));
    // What is aimed at is said of every policy, lower than before the decay.
    for p in &plan.policies {
        let said = p.notes.iter().find_map(|n| n.strip_prefix("loss ")?.split(' ').next());
        let after: f64 = said.and_then(|x| x.parse().ok()).unwrap_or_else(|| panic!("{p:?}"));
        assert!(after < p.loss_at_budget.value.unwrap(), "{p:?}");
        assert!(p.notes.iter().any(|n| n.ends_with("from 12M to 16M tokens")), "{p:?}");
    }
}

/// The length that is taken where nobody gave one is no plan of anybody's.
#[test]
fn a_decay_of_unknown_length_has_no_beginning_to_count_down_to() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let goal = Some(Goal::Decayed);
    let options = PlanOptions { goal, budget_tokens: Some(16e6), ..on_disk() };
    let plan = plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), &live(true), &options);
    assert_eq!(plan.decay_from, None);
    // What the plan rests on all the same.
    assert_eq!(plan.decay_taken, Some(0.8 * 16e6));
}

#[test]
fn a_decay_of_known_length_ends_the_budget_that_is_taken() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let options = PlanOptions { decay_tokens: Some(1e6), ..on_disk() };
    let plan = plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), &live(true), &options);
    assert_eq!((plan.goal, plan.decay_from), (Goal::Decayed, None));
    // Twice the tokens so far, less the decay.
    let taken = plan.decay_taken.unwrap();
    assert!((taken - 7e6).abs() < 1e4, "{taken}");
}

#[test]
fn a_decay_that_would_have_begun_already_is_refused() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let group = group_of(&LAW, MEMORY);
    for (decay_tokens, budget_tokens, found) in [
        (
            Some(50e6),
            None,
            "50M tokens (--decay-tokens) that ends at 8M tokens (no --budget-tokens",
        ),
        (Some(7e6), Some(10e6), "less than the 6M tokens that are left"),
        (None, Some(4.5e6), "900K tokens (no --decay-tokens was given)"),
    ] {
        let goal = Some(Goal::Decayed);
        let options = PlanOptions { goal, decay_tokens, budget_tokens, ..on_disk() };
        let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &options);
        let text = &plan.verdict.text;
        assert!(text.starts_with("cannot tell: a decay of ") && text.contains(found), "{text}");
        assert!(plan.policies.is_empty() && plan.schedule.len() < 2, "{plan:?}");
    }
}

#[test]
fn hours_are_of_what_was_measured_at_each_size() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let sibling = |id: &str, size: f64, rate: f64| crate::curve::RunUse {
        id: id.into(),
        paths: Vec::new(),
        batch_size_tokens: Some(size),
        steps: Some(1e4),
        tokens: Some(1e4 * size),
        loss_last: None,
        phase: None,
        tokens_per_second: Some(rate),
        used: true,
        why: None,
    };
    let mut group = group_of(&LAW, MEMORY);
    let options = PlanOptions { goal: Some(Goal::Time), budget_tokens: Some(16e6), ..on_disk() };
    let ask = |group: &GroupFit| plan(&run, loss_of(&run), Some(group), &live(true), &options);
    let hours = |p: &Plan, policy: Policy| {
        p.policies.iter().find(|o| o.policy == policy).and_then(|o| o.hours).unwrap()
    };
    let alone = ask(&group);
    assert!(alone.verdict.reasons[0].contains("; hours from now: leaving it "), "{alone:?}");
    // The run's own log goes at 1e6 tokens a second.
    group.runs = vec![sibling("b256", 256.0, 1.9e6), sibling("b512", 512.0, 3.5e6)];
    let together = ask(&group);
    assert!(hours(&together, Policy::Planned) < 0.8 * hours(&alone, Policy::Planned));
    let said = |p: &Plan, words: &str| p.verdict.reasons.iter().any(|r| r.contains(words));
    assert!(said(&together, "in this run at 128, in its siblings at 256, 512"), "{together:?}");
    // Twice the batch in half the time of a step is another machine.
    group.runs = vec![sibling("b256", 256.0, 4e6)];
    let other = ask(&group);
    assert_eq!(hours(&other, Policy::Planned), hours(&alone, Policy::Planned));
    assert!(
        said(&other, "on other hardware or under other load, by the time of their steps: 256"),
        "{other:?}"
    );
}

#[test]
fn guards_answer_each_by_name() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let group = group_of(&LAW, MEMORY);
    let ask = |schedule: &[Entry], run: &RunData, s: &Situation, o: &PlanOptions| {
        let answers = check(schedule, run, loss_of(run), Some(&group), s, o);
        answers.into_iter().filter(|a| a.blocks).map(|a| a.name).collect::<Vec<_>>()
    };
    let good = [e(0, 128), e(5_000_000, 256)];
    let ok = live(false);
    let o = on_disk();
    assert_eq!(ask(&good, &run, &ok, &o), []);
    assert_eq!(ask(&[e(0, 128)], &run, &Situation::default(), &o), [], "nothing changes");
    let s = Situation { live: false, ..ok.clone() };
    assert_eq!(ask(&good, &run, &s, &o), [GuardName::NotLive]);
    let s = Situation { limits: None, ..ok.clone() };
    assert_eq!(ask(&good, &run, &s, &o), [GuardName::NoTrainer]);
    let s = Situation { attempts_alive: 2, ..ok.clone() };
    assert_eq!(ask(&good, &run, &s, &o), [GuardName::TwoAttempts]);
    let s = Situation { estimate_age_tokens: Some(2e6), ..ok.clone() };
    assert_eq!(ask(&good, &run, &s, &o), [GuardName::StaleEstimate]);
    assert_eq!(ask(&[e(0, 128), e(4_000_001, 256)], &run, &ok, &o), [GuardName::LeadTime]);
    assert_eq!(ask(&[e(0, 128), e(5_000_000, 200)], &run, &ok, &o), [GuardName::Unit]);
    assert_eq!(ask(&[e(0, 128), e(5_000_000, 512)], &run, &ok, &o), [GuardName::BumpSize]);
    assert_eq!(ask(&[e(0, 128), e(5_000_000, 144)], &run, &ok, &o), [GuardName::BumpSize]);
    let twice = [e(0, 128), e(5_000_000, 256), e(5_000_100, 512)];
    assert_eq!(ask(&twice, &run, &ok, &o), [GuardName::BumpSize]);
    let max = PlanOptions { max_batch: Some(200), ..on_disk() };
    assert_eq!(ask(&good, &run, &ok, &max), [GuardName::Limit]);
    let down = [e(0, 128), e(5_000_000, 64)];
    assert_eq!(ask(&down, &run, &ok, &o), [GuardName::BelowBMin]);
    assert_eq!(ask(&down, &run, &live(true), &o), [GuardName::Direction, GuardName::BelowBMin]);
    for (phase, name) in [(Phase::Warmup, GuardName::Warmup), (Phase::Decay, GuardName::Decay)] {
        let mut other = run.clone();
        other.phases.spans[0].phase = phase;
        assert_eq!(ask(&good, &other, &ok, &o), [name]);
    }
    let wrong = group_of(&Law { c: 3.0 * LAW.c, ..LAW }, MEMORY);
    let names: Vec<_> = check(&good, &run, loss_of(&run), Some(&wrong), &ok, &o)
        .into_iter()
        .filter(|a| a.blocks)
        .map(|a| a.name)
        .collect();
    assert!(names.contains(&GuardName::LawMissesPast));
    let fresh = run_of(&LAW, &MEMORY, &[(128.0, 4e6), (256.0, 2e5)], 0.003);
    let next = [e(0, 128), e(4_000_000, 256), e(5_000_000, 512)];
    assert_eq!(ask(&next, &fresh, &ok, &o), [GuardName::CatchUp]);
}

#[test]
fn every_guard_has_its_own_name_in_kebab_case() {
    let mut names: Vec<String> = GUARDS.iter().map(|g| g.name().as_str().to_string()).collect();
    assert_eq!(names.len(), 15);
    for g in GUARDS {
        let json = serde_json::to_string(&g.name()).unwrap();
        assert_eq!(json, format!("\"{}\"", g.name().as_str()));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 15);
}

/// Follows boptop from `start` on: every change that is due and that no guard blocks is approved.
/// Tokens to the target on the true law.
fn follow(truth: (&Law, Memory), group: &GroupFit, own: f64, start: f64, target: f64) -> f64 {
    let mut parts = vec![(own, start)];
    let mut in_force: Vec<Entry> = Vec::new();
    let mut committed = None;
    let options = PlanOptions {
        target_loss: Some(target),
        budget_tokens: Some(50.0 * start),
        unit: Some(1),
        lead_seconds: 0.0,
        ..PlanOptions::default()
    };
    for _ in 0..300 {
        let run = run_of(truth.0, &truth.1, &parts, 0.004);
        let (now, batch) = (run.tokens(), parts[parts.len() - 1].0);
        let n = run.train.loss.len();
        let loss = run.train.loss[n - 8..].iter().sum::<f64>() / 8.0;
        let situation =
            Situation { in_force: in_force.clone(), committed: committed.take(), ..live(true) };
        let plan = plan(&run, Some(loss), Some(group), &situation, &options);
        let due = plan.verdict.kind != VerdictKind::Hold || plan.schedule.len() < in_force.len();
        if due && !plan.guards.iter().any(|g| g.blocks) {
            in_force = plan.schedule.clone();
        }
        committed = Some(plan.schedule);
        let next = in_force.iter().map(|e| e.from_tokens as f64).find(|t| *t > now + 0.5);
        let to = next.map_or(1.05 * now, |t| t.min(1.05 * now));
        let course = Course::new(*truth.0, truth.1, &stretches(&run), now).unwrap();
        if let Some(t) = course.along(&[]).reach(target).filter(|t| *t <= to) {
            return t;
        }
        let last = parts.len() - 1;
        parts[last].1 += to - now;
        let after = batch_at(&in_force, to).map_or(batch, |b| b as f64);
        if after != batch {
            parts.push((after, 1e-3 * after));
        }
    }
    f64::INFINITY
}

#[test]
fn following_the_plan_beats_leaving_the_run_and_the_best_single_batch() {
    for (tau_steps, bar) in [(200.0, 0.75), (1500.0, 0.85), (20_000.0, 1.0)] {
        let memory = Memory { tau_steps, ..MEMORY };
        // The fit is a little wrong.
        let fitted = Law { c: 1.02 * LAW.c, a: 0.97 * LAW.a, l_inf: LAW.l_inf + 0.003, ..LAW };
        let (own, start, target) = (384.0, 2e6, 2.135);
        let got = follow((&LAW, memory), &group_of(&fitted, memory), own, start, target);
        let past = [crate::curve::Stretch { batch_size: own, steps: start / own }];
        let course = Course::new(LAW, memory, &past, start).unwrap();
        let leave = course.along(&[]).reach(target).unwrap_or(f64::INFINITY);
        let single = (0..30)
            .filter_map(|i| {
                let batch_size = own * 1.08f64.powi(i);
                course.along(&[Stair { from_tokens: 1.02 * start, batch_size }]).reach(target)
            })
            .fold(f64::INFINITY, f64::min);
        assert!(got <= bar * single, "tau {tau_steps}: {got:.3e} against {single:.3e}");
        assert!(got <= leave, "tau {tau_steps}: {got:.3e} against {leave:.3e}");
    }
}

#[test]
fn an_accepted_schedule_is_withdrawn_when_its_raise_disappoints() {
    let mut run = run_of(&LAW, &MEMORY, &[(128.0, 3e6), (256.0, 2e6)], 0.001);
    let flat = run_of(&LAW, &MEMORY, &[(128.0, 5e6)], 0.001);
    run.train.loss = flat.train.loss.clone();
    run.train.loss.resize(run.train.step.len(), *flat.train.loss.last().unwrap());
    let situation =
        Situation { in_force: vec![e(0, 128), e(3_000_000, 256), e(9_000_000, 512)], ..live(true) };
    let plan = plan(&run, loss_of(&run), Some(&group_of(&LAW, MEMORY)), &situation, &on_disk());
    assert_eq!(plan.schedule, [e(0, 128), e(3_000_000, 256)], "{:#?}", plan.verdict);
    assert!(plan.verdict.text.contains("withdraw"), "{}", plan.verdict.text);
}
