//! Plans on the real sweeps of `fixtures/`.

use super::*;
use crate::curve::{self, FitOptions, GroupFit, SavedLaw};
use crate::run::{self, Assumptions, RunData, fixture};

fn fitted(runs: &[RunData]) -> GroupFit {
    curve::fit(runs, &FitOptions::default()).groups.remove(0)
}

fn named<'a>(runs: &'a [RunData], id: &str) -> &'a RunData {
    runs.iter().find(|r| r.id == id).unwrap()
}

/// A run of the first sweep as it was at `tokens`.
fn until(id: &str, tokens: f64) -> RunData {
    let path = format!("{}/fixtures/mlp_sweep/{id}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let records: Vec<_> = text.lines().map(fixture::record).collect();
    let past = records.partition_point(|r| r.tokens.is_some_and(|t| t <= tokens));
    fixture::made_of(&records[..past], Assumptions::default())
}

fn steered() -> Situation {
    let limits = TrainerLimits { unit_tokens: Some(16), ..TrainerLimits::default() };
    Situation { live: true, limits: Some(limits), can_write: true, ..Situation::default() }
}

fn near() -> PlanOptions {
    PlanOptions { lead_seconds: 0.02, ..PlanOptions::default() }
}

#[test]
fn the_number_of_the_plan_is_that_of_the_fit_table() {
    let runs = fixture::sweep("mlp_sweep");
    let group = fitted(&runs);
    let run = named(&runs, "b0512_lr2e-3_s1");
    let mut seen = 0;
    for level in group.levels.iter().filter(|l| l.model.is_some()) {
        let plan = plan(run, Some(level.loss), Some(&group), &steered(), &near());
        assert_eq!(plan.b_opt, level.b_opt, "{}", level.loss);
        let e = group.estimate_at(level.loss).unwrap();
        assert_eq!((e.model, e.within_2_percent), (level.model, level.within_2_percent));
        assert_eq!(plan.excess_tokens_now, e.excess(512.0));
        assert!(plan.b_opt.low != Some(0.0));
        seen += 1;
    }
    assert!(seen > 5);
    // Between two levels it lies between theirs.
    for pair in group.levels.windows(2).filter(|p| p[1].model.is_some()) {
        let b = |l: f64| group.b_opt_at(l).unwrap().value;
        let middle = b(0.5 * (pair[0].loss + pair[1].loss)).unwrap();
        let (upper, lower) = (b(pair[0].loss).unwrap(), b(pair[1].loss).unwrap());
        assert!(upper <= middle && middle <= lower, "{upper} {middle} {lower}");
    }
}

/// The claim that the monitor is for, on a run whose optimum was passed long ago: the plan is never
/// worse than the best single batch size, and tracking B_opt(L), which the law with the measured
/// memory puts behind it, is shown and not recommended.
#[test]
fn a_real_run_is_never_told_to_track_where_the_law_puts_tracking_behind() {
    let group = fitted(&fixture::sweep("mlp_sweep"));
    let mut behind = 0;
    for tokens in [3e6, 8e6, 20e6, 40e6] {
        let run = until("b0128_lr2e-3_s1", tokens);
        let plan = plan(&run, run::loss_now(&run), Some(&group), &steered(), &near());
        let of = |policy: Policy| plan.policies.iter().find(|p| p.policy == policy).unwrap();
        let reached = |policy: Policy| of(policy).tokens.value.unwrap_or(f64::INFINITY);
        let [leave, planned, tracking, single] =
            [Policy::Leave, Policy::Planned, Policy::Tracking, Policy::Single].map(reached);
        assert!(planned <= single && planned < leave, "{tokens} {planned} {single} {leave}");
        // What is recommended is the plan, or its first part, and nothing of the tracking rule's.
        let of_plan = &of(Policy::Planned).schedule;
        assert_eq!(plan.schedule, of_plan[..plan.schedule.len()], "{tokens}");
        assert_eq!(plan.verdict.kind, VerdictKind::Raise, "{:?}", plan.verdict);
        if tracking > single {
            behind += 1;
            assert_ne!(plan.schedule, of(Policy::Tracking).schedule, "{tokens}");
            assert!(planned < tracking);
        }
        let first = &plan.verdict.reasons[0];
        for name in ["leaving it", "planned", "tracking B_opt(L)", "best single size"] {
            assert!(first.contains(name), "{first}");
        }
    }
    assert!(behind >= 2, "{behind}");
}

/// No law and no model speaks at the loss of these runs, and the points still say enough.
#[test]
fn a_size_that_clearly_needed_more_tokens_is_not_told_to_hold() {
    let mut runs = fixture::sweep("mlp2_sweep");
    runs.retain(|r| !r.id.contains("ramp"));
    let group = fitted(&runs);
    let ask = |id: &str| {
        let run = named(&runs, id);
        plan(run, run::loss_now(run), Some(&group), &steered(), &near()).verdict
    };
    let small = ask("b0512_lr2e-3_s21");
    assert_eq!(small.kind, VerdictKind::Raise, "{small:?}");
    assert!(small.text.contains("1,024 got to this loss with 1"), "{small:?}");
    assert!(small.text.contains("this run with 60M"), "{small:?}");
    // It drifts, so no level holds it: 512 needed 2M tokens to where it is after 40M.
    let drifts = ask("b0256_lr2e-3_s21");
    assert_eq!(drifts.kind, VerdictKind::Raise, "{drifts:?}");
    assert!(drifts.text.contains("512 got to this loss with 2."), "{drifts:?}");
    let largest = ask("b2048_lr2e-3_s21");
    assert_eq!(largest.kind, VerdictKind::CannotTell, "{largest:?}");
}

#[test]
fn a_saved_law_says_where_it_comes_from_and_needs_the_same_learning_rate() {
    let group = fitted(&fixture::sweep("mlp_sweep"));
    let law = SavedLaw::from_group(&group, "a character model").unwrap();
    let run = until("b0128_lr2e-3_s1", 20e6);
    let ask =
        |law: &SavedLaw| plan(&run, run::loss_now(&run), Some(&law.group()), &steered(), &near());
    let by_saved = ask(&law);
    assert!(
        by_saved.verdict.text.contains("saved law, which is assumed"),
        "{:?}",
        by_saved.verdict
    );
    let said = by_saved.verdict.reasons.iter().find(|r| r.contains("a character model")).unwrap();
    assert!(said.contains("learning rate 2e-3") && said.contains("assumed"), "{said}");
    assert!(by_saved.b_opt.value.is_some());
    assert!(by_saved.verdict.reasons.iter().any(|r| r.contains("by the saved law")));
    assert!(by_saved.policies.iter().all(|p| p.memory == curve::MemorySource::Saved));
    let other = ask(&SavedLaw { lr: Some(1e-3), ..law });
    assert!(other.verdict.text.contains("B_opt moves with the learning rate"));
    assert_eq!((other.b_opt, other.policies.len()), (crate::curve::Interval::UNKNOWN, 0));
}

/// A law that misses the sizes left out of its own sweep by much of what there is to gain tells no other
/// run anything.
#[test]
fn a_saved_law_that_missed_its_own_left_out_sizes_gives_no_advice() {
    let law = SavedLaw::from_group(&fitted(&fixture::sweep("mlp_sweep")), "").unwrap();
    let run = until("b0128_lr2e-3_s1", 20e6);
    let now = run::loss_now(&run).unwrap();
    let ask = |share: f64| {
        let held_out_nats = Some(share * (now - law.law.l_inf));
        let group = SavedLaw { held_out_nats, ..law.clone() }.group();
        plan(&run, Some(now), Some(&group), &steered(), &near())
    };
    let vague = ask(0.16);
    assert_eq!(vague.verdict.kind, VerdictKind::CannotTell, "{:?}", vague.verdict);
    let text = &vague.verdict.text;
    assert!(text.contains("16 % of L - L_inf") && text.contains("left out"), "{text}");
    assert_eq!((vague.b_opt, vague.policies.len()), (crate::curve::Interval::UNKNOWN, 0));
    let schedule = [
        Entry { from_tokens: 0, batch_size_tokens: 128, lr_scale: None },
        Entry { from_tokens: 21_000_000, batch_size_tokens: 256, lr_scale: None },
    ];
    let group =
        SavedLaw { held_out_nats: Some(0.16 * (now - law.law.l_inf)), ..law.clone() }.group();
    let guards = check(&schedule, &run, Some(now), Some(&group), &steered(), &near());
    assert!(guards.iter().any(|g| g.blocks && g.name == GuardName::LawMissesPast), "{guards:?}");
    assert!(!ask(0.14).policies.is_empty());
}

/// Two layers, another data set: the law of the first sweep is no law of this one, and the run's
/// own past says so.
#[test]
fn a_law_of_another_model_gives_no_advice() {
    let law = SavedLaw::from_group(&fitted(&fixture::sweep("mlp_sweep")), "").unwrap();
    let others = fixture::sweep("mlp2_sweep");
    let run = named(&others, "b1024_lr2e-3_s21");
    let plan = plan(run, run::loss_now(run), Some(&law.group()), &steered(), &near());
    assert_eq!(plan.verdict.kind, VerdictKind::CannotTell, "{:?}", plan.verdict);
    assert!(plan.policies.is_empty());
}

#[test]
fn a_lead_time_far_ahead_is_said_and_moves_no_horizon() {
    let group = fitted(&fixture::sweep("mlp_sweep"));
    let run = until("b0128_lr2e-3_s1", 8e6);
    let situation = Situation { tokens_per_second: Some(3e5), ..steered() };
    let ask =
        |options: &PlanOptions| plan(&run, run::loss_now(&run), Some(&group), &situation, options);
    let far = ask(&PlanOptions::default());
    assert!(far.verdict.text.contains("61,9") && far.verdict.text.contains("--lead"), "{far:?}");
    assert_eq!(far.verdict.kind, VerdictKind::Hold);
    assert!(far.b_opt.value.is_some());
    let some = ask(&PlanOptions { lead_seconds: 30.0, ..PlanOptions::default() });
    assert!(some.verdict.reasons.iter().any(|r| r.contains("at the earliest (30s")), "{some:?}");
    assert!(!some.policies.is_empty());
    let spent = ask(&PlanOptions { budget_tokens: Some(1e6), ..near() });
    assert!(spent.verdict.text.contains("is spent"), "{:?}", spent.verdict);
}

#[test]
fn models_that_disagree_are_asked_near_the_loss_alone_and_a_rival_as_good_blocks_a_raise() {
    let mut group = fitted(&fixture::sweep("mlp_sweep"));
    let [lowest, _] = group.spoken().unwrap();
    let at = |l: f64| dangers::level_at(&group.levels, l).map(|l| l.loss);
    assert_eq!(at(lowest), Some(lowest));
    assert_eq!(at(lowest - 0.2), None);
    let run = until("b0128_lr2e-3_s1", 8e6);
    let entry = |t, b| Entry { from_tokens: t, batch_size_tokens: b, lr_scale: None };
    let raise = [entry(0, 128), entry(9_000_000, 256)];
    let blocks = |group: &GroupFit| {
        let loss = run::loss_now(&run);
        let all = check(&raise, &run, loss, Some(group), &steered(), &near());
        all.into_iter().filter(|a| a.blocks).map(|a| a.name).collect::<Vec<_>>()
    };
    assert_eq!(blocks(&group), []);
    let law = group.law.as_mut().unwrap();
    law.rival_held_out_nats = law.held_out_nats;
    assert_eq!(blocks(&group), []);
    // It predicts the later half of the runs as well, too.
    let law = group.law.as_mut().unwrap();
    law.rival_future_nats = law.future_nats;
    assert_eq!(blocks(&group), [GuardName::ModelsDisagree]);
}
