//! Branches of a run whose law and memory are known.

use super::model::{N, PRIOR, Problem};
use super::set::AlongSet;
use crate::curve::law::{Law, Memory};
use crate::curve::{
    Bin, ConstantSeries, FitOptions, Group, GroupFit, LossKind, Member, MemorySource, Stretch,
    SwitchedSeries, fit_group,
};
use proptest::prelude::*;

const LAW: Law = Law { l_inf: 1.7, a: 40.0, alpha: 0.4, c: 462.0, gamma: 0.5, q: 0.0 };
const FAST: Memory = Memory { tau_steps: 600.0, p: 0.5, source: MemorySource::Measured };
const PARENT: Stretch = Stretch { batch_size: 1048576.0, steps: 57_000.0 };
const AROUND: [f64; 4] = [0.25, 0.5, 2.0, 4.0];

/// Noise that no two bins share.
fn noise(i: usize, of: f64) -> f64 {
    0.003 * (((i as f64 * 12.9898 + of * 78.233).sin() * 43_758.547).fract())
}

fn parent(law: &Law) -> ConstantSeries {
    let b = PARENT.batch_size;
    let bins = (0..60).map(|i| {
        let steps = PARENT.steps * 0.02f64.powf(1.0 - (i as f64 + 0.5) / 60.0);
        Bin { steps, tokens: steps * b, loss: law.loss(steps, b) + noise(i, 0.0), se: 0.0017 }
    });
    ConstantSeries {
        run: "parent".into(),
        batch_size: b,
        bins: bins.collect(),
        stable_from_steps: 0.02 * PARENT.steps,
        stable_from_tokens: 0.02 * PARENT.steps * b,
        to_tokens: PARENT.steps * b,
        drifts_upward: false,
    }
}

/// A branch of the parent's end, of a tenth of its tokens.
fn branch(law: &Law, memory: &Memory, factor: f64) -> SwitchedSeries {
    let batch_size = factor * PARENT.batch_size;
    let steps = 0.1 * PARENT.steps / factor;
    let bins = (1..=20).map(|i| {
        let after = Stretch { batch_size, steps: steps * 0.02f64.powf(1.0 - i as f64 / 20.0) };
        Bin {
            steps: PARENT.steps + after.steps,
            tokens: PARENT.steps * PARENT.batch_size + after.steps * batch_size,
            loss: law.loss_along(&[PARENT, after], memory) + noise(i, factor),
            se: 0.0017,
        }
    });
    SwitchedSeries {
        run: format!("to {factor} times"),
        shared: true,
        bins: bins.collect(),
        stretches: vec![PARENT, Stretch { batch_size, steps }],
    }
}

fn group(constant: Vec<ConstantSeries>, switched: Vec<SwitchedSeries>) -> Group {
    let member = |run: &String, used| Member { run: run.clone(), used, why: None };
    let mut members: Vec<Member> = constant.iter().map(|c| member(&c.run, true)).collect();
    members.extend(switched.iter().map(|s| member(&s.run, false)));
    Group {
        id: "lr 1e-3".into(),
        lr: Some(1e-3),
        on: LossKind::Train,
        members,
        constant,
        switched,
        decayed: Vec::new(),
        other: None,
    }
}

fn branches(law: &Law, memory: &Memory, factors: &[f64]) -> Group {
    group(vec![parent(law)], factors.iter().map(|f| branch(law, memory, *f)).collect())
}

fn fitted(group: &Group) -> GroupFit {
    fit_group(group, &FitOptions { draws: 60, ..FitOptions::default() })
}

fn why(fit: &GroupFit) -> String {
    let r = fit.refused.iter().find(|r| r.what == "law from batch changes").unwrap();
    format!("{}; needs {}", r.why, r.needs)
}

#[test]
fn branches_of_one_run_tell_b_opt_and_the_memory() {
    let fit = fitted(&branches(&LAW, &FAST, &AROUND));
    let law = fit.law.as_ref().unwrap();
    assert!(law.along_changes && law.memory.source == MemorySource::Measured);
    assert!(
        (law.memory.remembered(5000.0) - FAST.remembered(5000.0)).abs() < 0.08,
        "{:?}",
        law.memory
    );
    let now = LAW.loss(PARENT.steps, PARENT.batch_size);
    let truth = LAW.b_opt(now).unwrap();
    let told = fit.estimate_at(now).unwrap().b_opt;
    assert!((told.value.unwrap() / truth).ln().abs() < 0.1, "{told:?} {truth}");
    assert!(told.low.unwrap() < 1.05 * truth && told.high.unwrap() > truth, "{told:?} {truth}");
    assert!(told.high.unwrap() / told.low.unwrap() < 1.6, "{told:?}");
    // What speaks is shown as a level, and its runs as used.
    assert!(fit.levels.iter().all(|l| l.model.is_some()), "{:?}", fit.levels);
    assert!(fit.runs.iter().all(|r| r.used) && fit.refused.len() <= 1, "{:?}", fit.refused);
    for check in &law.memory_checks {
        assert!(check.rms_nats < 0.006 && check.predicted_nats.unwrap() < 0.008, "{check:?}");
    }
    assert_eq!(law.with_memory.len(), law.draws.len());
}

#[test]
fn either_end_of_the_memory_is_found() {
    for tau_steps in [20.0, 6_000.0] {
        let memory = Memory { tau_steps, ..FAST };
        let fit = fitted(&branches(&LAW, &memory, &AROUND));
        let Some(law) = &fit.law else { panic!("{tau_steps}: {}", why(&fit)) };
        let left = |m: &Memory| m.remembered(3000.0);
        assert!((left(&law.memory) - left(&memory)).abs() < 0.05, "{tau_steps} {:?}", law.memory);
        let b = LAW.b_opt(2.7).unwrap();
        let told: Vec<f64> = law.draws.iter().map(|l| l.b_opt(2.7).unwrap()).collect();
        assert!(told.iter().any(|x| *x < b) && told.iter().any(|x| *x > b), "{told:?} {b}");
    }
}

#[test]
fn too_few_sizes_are_refused() {
    let fit = fitted(&branches(&LAW, &FAST, &[0.5, 2.0]));
    assert!(fit.law.is_none());
    let why = why(&fit);
    assert!(why.contains("3 of 4 batch sizes") && why.contains("524K, 1.05M, 2.1M"), "{why}");
    // Nobody changed: there is nothing to be said of changes.
    let fit = fitted(&group(vec![parent(&LAW)], Vec::new()));
    assert!(fit.refused.iter().all(|r| r.what != "law from batch changes"));
}

/// Another run's law after one of the changes: nothing that the others show predicts it.
#[test]
fn a_branch_that_does_not_fit_the_others_is_named() {
    let mut group = branches(&LAW, &FAST, &AROUND);
    for bin in &mut group.switched[3].bins {
        bin.loss += 0.8;
    }
    let fit = fitted(&group);
    assert!(fit.law.is_none(), "{:?}", fit.law);
    let why = why(&fit);
    assert!(why.contains("is missed by") && why.contains("most of all 4.19M"), "{why}");
}

/// Changes that do nothing tell nothing.
#[test]
fn changes_without_effect_tell_no_law() {
    let flat = Law { c: 1e-6, ..LAW };
    let fit = fitted(&branches(&flat, &FAST, &AROUND));
    assert!(fit.law.is_none(), "{:?}", fit.law);
}

#[test]
fn the_order_of_the_runs_does_not_matter_and_a_copy_counts_once() {
    let one = branches(&LAW, &FAST, &AROUND);
    let mut other = one.clone();
    other.switched.reverse();
    let copy = SwitchedSeries { run: "copy".into(), ..other.switched[0].clone() };
    other.switched.push(copy);
    let (a, b) = (fitted(&one).law.unwrap(), fitted(&other).law.unwrap());
    assert_eq!((a.law, a.memory, a.draws), (b.law, b.memory, b.draws));
}

/// Where most of the training came after ramps, the law along them overrules that of the beginnings.
#[test]
fn a_sweep_of_ramps_is_fitted_along_them() {
    let ramped = |b: f64| {
        let stretches = [(0.5, 4000.0), (1.0, 40_000.0)]
            .map(|(f, steps)| Stretch { batch_size: f * b, steps: steps * 1e6 / b });
        let [first, last] = stretches;
        let bins = |from: f64, to: f64, n: usize| {
            (1..=n).map(move |i| from + (to - from) * (i as f64 / n as f64).powi(2))
        };
        let whole = first.steps + last.steps;
        let steps = bins(0.05 * first.steps, first.steps, 20).chain(bins(first.steps, whole, 30));
        let bins = steps.enumerate().map(|(i, s)| {
            let past: Vec<Stretch> = if s <= first.steps {
                vec![Stretch { steps: s, ..first }]
            } else {
                vec![first, Stretch { steps: s - first.steps, ..last }]
            };
            let tokens = past.iter().map(|x| x.steps * x.batch_size).sum();
            Bin { steps: s, tokens, loss: LAW.loss_along(&past, &FAST) + noise(i, b), se: 0.0017 }
        });
        let run = SwitchedSeries {
            run: format!("b{b}"),
            shared: false,
            bins: bins.collect(),
            stretches: stretches.to_vec(),
        };
        let begun = ConstantSeries {
            run: run.run.clone(),
            batch_size: first.batch_size,
            bins: run.bins[..20].to_vec(),
            stable_from_steps: run.bins[0].steps,
            stable_from_tokens: run.bins[0].tokens,
            to_tokens: run.bins[19].tokens,
            drifts_upward: false,
        };
        (run, begun)
    };
    let sizes = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0].map(|f| f * 1e6);
    let (switched, constant): (Vec<_>, Vec<_>) = sizes.map(ramped).into_iter().unzip();
    let fit = fitted(&group(constant, switched));
    assert!(fit.law.as_ref().unwrap().along_changes);
    let lowest = fit.levels.last().unwrap();
    assert!(lowest.loss < 2.8, "{lowest:?}");
    let (b, truth) = (lowest.b_opt, LAW.b_opt(lowest.loss).unwrap());
    assert!((b.value.unwrap() / truth).ln().abs() < 0.15, "{b:?} {truth}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The truth explains its own branches: no law that is found costs more than it would.
    #[test]
    fn nothing_cheaper_is_missed(
        alpha in 0.3f64..0.8, gamma in 0.3f64..0.8, d in 0.4f64..1.1, off in -0.7f64..0.7,
        tau in -7.0f64..-0.5,
    ) {
        let share = (alpha / (alpha + gamma) * (-gamma * off).exp()).min(0.8);
        let law = Law {
            l_inf: 1.7,
            a: d * (1.0 - share) * PARENT.steps.powf(alpha),
            alpha,
            c: share * d * PARENT.batch_size.powf(gamma),
            gamma,
            q: 0.0,
        };
        let memory = Memory { tau_steps: PARENT.steps * tau.exp(), ..FAST };
        let group = branches(&law, &memory, &AROUND);
        let constant: Vec<&ConstantSeries> = group.constant.iter().collect();
        let changed: Vec<&SwitchedSeries> = group.switched.iter().collect();
        let set = AlongSet::new(&constant, &changed, 0.0);
        let found = Problem::new(&set).unwrap().fit(None).unwrap();
        let truth = set.points.iter().zip(&set.pasts).map(|(p, past)| {
            p.weight * (law.loss_along(past, &memory) - p.loss).powi(2)
        });
        let weight: f64 = set.points.iter().map(|p| p.weight).sum();
        let truth = (truth.sum::<f64>() / weight).sqrt();
        // The priors pull a little.
        prop_assert!(found.rms_nats < 1.15 * truth, "{} {truth} {found:?}", found.rms_nats);
    }

    #[test]
    fn garbage_never_panics(
        losses in prop::collection::vec(
            prop_oneof![Just(f64::NAN), Just(0.0), Just(1e300), -5.0f64..5.0], 140,
        ),
        scale in prop_oneof![Just(1e-300), Just(1.0), Just(1e300)],
    ) {
        let mut group = branches(&LAW, &FAST, &AROUND);
        let constant = group.constant.iter_mut().flat_map(|s| s.bins.iter_mut());
        let changed = group.switched.iter_mut().flat_map(|s| s.bins.iter_mut());
        for (bin, loss) in constant.chain(changed).zip(losses) {
            bin.loss = loss;
        }
        group.switched[0].stretches[1].batch_size *= scale;
        let fit = fit_group(&group, &FitOptions { draws: 5, ..FitOptions::default() });
        for l in &fit.levels {
            prop_assert!(l.b_opt.value.is_none_or(f64::is_finite));
        }
    }
}

#[test]
fn the_priors_are_wide() {
    let held = |k: usize, x: f64| ((x - PRIOR[k].0) / PRIOR[k].1).abs() < 1.7;
    assert_eq!(PRIOR.len(), N);
    assert!([0.25, 1.0].iter().all(|x: &f64| held(0, x.ln()) && held(1, x.ln())));
    assert!([1e-3, 1.0].iter().all(|x: &f64| held(3, x.ln())) && held(4, 1.0f64.ln()));
}
