//! The memory found again on simulated and on real runs.

use super::*;
use crate::curve::{Bin, Stretch};

const LAW: Law = Law { l_inf: 1.9, a: 200.0, alpha: 0.8, c: 2.1, gamma: 0.4, q: 0.1 };

fn switched(memory: &Memory) -> SwitchedSeries {
    let stretches: Vec<Stretch> = [(128.0, 40_000.0), (256.0, 20_000.0), (512.0, 20_000.0)]
        .map(|(batch_size, steps)| Stretch { batch_size, steps })
        .to_vec();
    let bins = (1..=80).map(|i| {
        let steps = f64::from(i) * 1000.0 - 500.0;
        let mut left = steps;
        let past: Vec<Stretch> = stretches
            .iter()
            .map(|s| {
                let steps = s.steps.min(left);
                left -= steps;
                Stretch { steps, ..*s }
            })
            .filter(|s| s.steps > 0.0)
            .collect();
        let tokens = past.iter().map(|s| s.steps * s.batch_size).sum();
        Bin { steps, tokens, loss: LAW.loss_along(&past, memory), se: 0.001 }
    });
    SwitchedSeries { run: "s".into(), shared: false, bins: bins.collect(), stretches }
}

#[test]
fn the_kernel_that_made_the_run_is_found_again() {
    let truth = Memory { tau_steps: 1500.0, p: 0.45, source: MemorySource::Measured };
    let found = measure(&LAW, &[], &[switched(&truth)]).unwrap();
    assert!((found.memory.tau_steps / 1500.0).ln().abs() < 0.05, "{found:?}");
    assert!((found.memory.p - 0.45).abs() < 0.02);
    assert!(found.checks[0].rms_nats < 1e-4 && found.checks[0].rms_instant_nats > 0.01);
}

/// About where half of the noise is forgotten both ends miss alike: that is no reason to know less.
#[test]
fn a_memory_that_was_measured_stays_so_as_the_run_goes_on() {
    let truth = Memory { tau_steps: 1500.0, p: 0.45, source: MemorySource::Measured };
    for thousands in 44..60 {
        let mut run = switched(&truth);
        run.stretches.truncate(2);
        run.bins.retain(|b| b.steps < f64::from(thousands) * 1000.0);
        let found = measure(&LAW, &[], &[run]);
        assert!(found.is_ok(), "{thousands} {found:?}");
    }
}

/// The law is off at one batch size by as much at every step: the constant run there says so, and
/// the kernel need not make up for it.
#[test]
fn what_the_law_misses_a_constant_run_by_is_no_memory() {
    let truth = Memory { tau_steps: 1500.0, p: 0.45, source: MemorySource::Measured };
    let mut run = switched(&truth);
    let off = 0.01;
    for b in run.bins.iter_mut().filter(|b| b.steps > 60_000.0) {
        // Floor of 512 lower by `off`: what is forgotten of it is lower too.
        b.loss -= off * (1.0 - truth.remembered(b.steps - 60_000.0));
    }
    let bins = (1..=60).map(|i| {
        let steps = f64::from(i) * 2000.0;
        Bin { steps, tokens: steps * 512.0, loss: LAW.loss(steps, 512.0) - off, se: 0.001 }
    });
    let sibling = ConstantSeries {
        run: "b512".into(),
        batch_size: 512.0,
        bins: bins.collect(),
        stable_from_steps: 100.0,
        stable_from_tokens: 51_200.0,
        to_tokens: 512.0 * 120_000.0,
        drifts_upward: false,
    };
    let with = measure(&LAW, &[&sibling], &[run.clone()]).unwrap();
    assert!((with.memory.tau_steps / 1500.0).ln().abs() < 0.05, "{with:?}");
    assert!(with.predicted_nats.unwrap() < 1e-3, "{with:?}");
    let without = measure(&LAW, &[], &[run]);
    assert!(without.is_err() || without.unwrap().predicted_nats.unwrap() > 3e-3);
}

#[test]
fn the_jacobian_of_the_kernel_is_the_numeric_one() {
    let truth = Memory { tau_steps: 1500.0, p: 0.45, source: MemorySource::Measured };
    let bins = after_switches(&LAW, &[], &switched(&truth), 0);
    let n = bins.len();
    let mut kernel = Kernel { bins: bins.iter().collect(), ln_p: -1.0 };
    let mut at = |t: [f64; 2]| {
        let (mut r, mut j) = (vec![0.0; n + 1], vec![[0.0; 2]; n + 1]);
        assert!(kernel.evaluate(&t, &mut r, &mut j));
        (r, j)
    };
    let (theta, h) = ([6.8, -0.6], 1e-6);
    let (_, j) = at(theta);
    for k in 0..2 {
        let (mut up, mut down) = (theta, theta);
        (up[k], down[k]) = (up[k] + h, down[k] - h);
        let (up, down) = (at(up).0, at(down).0);
        for i in 0..=n {
            let numeric = (up[i] - down[i]) / (2.0 * h);
            assert!((j[i][k] - numeric).abs() < 1e-7, "{i} {k}: {} {numeric}", j[i][k]);
        }
    }
}

/// Where the run was followed for a small part of tau, noise alone would decide about p.
#[test]
fn a_switch_seen_for_too_short_to_tell_p_leaves_it_near_what_is_assumed() {
    let truth = Memory { tau_steps: 60_000.0, p: 0.5, source: MemorySource::Measured };
    for seed in 0..12 {
        let mut run = switched(&truth);
        run.bins.retain(|b| b.steps < 60_000.0);
        for (i, b) in run.bins.iter_mut().enumerate() {
            b.se = 0.002;
            b.loss += 0.003 * (0.37 * (i * (seed + 3)) as f64 + seed as f64).sin();
        }
        let found = measure(&LAW, &[], &[run]).unwrap().memory;
        assert!((0.1..1.5).contains(&found.p), "{seed} {found:?}");
        let early = found.remembered(1000.0);
        assert!((early - truth.remembered(1000.0)).abs() < 0.1, "{seed} {early} {found:?}");
    }
}

/// Nothing is forgotten, and the run lies lower than the law says from its switch on.
#[test]
fn a_level_that_changes_at_once_and_stays_is_no_memory() {
    let never = Memory { tau_steps: 1e12, p: 0.4, source: MemorySource::Measured };
    for share in [0.2, 0.3, 0.4] {
        let mut run = switched(&never);
        run.bins.retain(|b| b.steps < 60_000.0);
        for b in run.bins.iter_mut().filter(|b| b.steps > 40_000.0) {
            b.loss -= share * (LAW.noise(128.0) - LAW.noise(256.0));
        }
        let refused = measure(&LAW, &[], &[run]).unwrap_err();
        assert!(refused.has.contains("at once and the rest never"), "{share} {refused:?}");
    }
}

/// A law that takes the noise after the switch for lower reads a slower memory from the same run.
#[test]
fn memories_are_redrawn_with_the_law_that_they_belong_to() {
    let truth = Memory { tau_steps: 1500.0, p: 0.45, source: MemorySource::Measured };
    let mut run = switched(&truth);
    for (i, b) in run.bins.iter_mut().enumerate() {
        b.loss += 0.002 * if i % 3 == 0 { 1.0 } else { -0.5 };
    }
    let runs = [run];
    let found = measure(&LAW, &[], &runs).unwrap().memory;
    let same = vec![LAW; 20];
    let spread = redrawn((&LAW, &found), same.iter(), &[], &runs, 1);
    assert_eq!(spread.len(), 20);
    let tau = |m: &(Law, Memory)| (m.1.tau_steps / found.tau_steps).ln();
    assert!(spread.iter().any(|m| tau(m) > 0.01) && spread.iter().any(|m| tau(m) < -0.01));
    assert_eq!(spread, redrawn((&LAW, &found), same.iter(), &[], &runs, 1));
    let steeper = Law { gamma: LAW.gamma * 1.02, c: LAW.c * 128f64.powf(0.02 * LAW.gamma), ..LAW };
    let slower = redrawn((&LAW, &found), [steeper].iter(), &[], &runs, 1);
    assert!(slower[0].1.remembered(20_000.0) > found.remembered(20_000.0));
}

#[test]
fn of_two_runs_each_is_predicted_from_the_other() {
    let truth = Memory { tau_steps: 300.0, p: 0.6, source: MemorySource::Measured };
    let (a, mut b) = (switched(&truth), switched(&truth));
    b.run = "other".into();
    let found = measure(&LAW, &[], &[a, b]).unwrap();
    assert!(found.checks.iter().all(|c| c.predicted_nats.unwrap() < 1e-4), "{found:?}");
    assert_eq!(found.checks.len(), 2);
}

#[test]
fn instant_forgetting_is_measured_as_fast() {
    let found = measure(&LAW, &[], &[switched(&Memory::INSTANT)]).unwrap();
    assert!(found.memory.remembered(2000.0) < 0.05, "{found:?}");
}

/// More data may move a measured memory to where it lies as far from either end: it lies between them.
#[test]
fn a_memory_as_far_from_either_end_is_measured() {
    let (mut nearest, mut taus) = (f64::INFINITY, Vec::new());
    for k in 0..80 {
        let tau_steps = 500.0 * 1.05f64.powi(k);
        let mut run = switched(&Memory { tau_steps, p: 0.4, source: MemorySource::Measured });
        for (i, bin) in run.bins.iter_mut().enumerate() {
            bin.loss += if i % 2 == 0 { 0.008 } else { -0.008 };
        }
        let bins = after_switches(&LAW, &[], &run, 0);
        let all: Vec<&After> = bins.iter().collect();
        let apart = (rms(&all, |_| 0.0) - rms(&all, |_| 1.0)).abs();
        nearest = nearest.min(apart);
        taus.push((tau_steps, measure(&LAW, &[], &[run]).map(|m| m.memory.tau_steps)));
    }
    assert!(nearest < 0.002, "{nearest}");
    assert!(taus.iter().all(|(_, found)| found.is_ok()), "{taus:?}");
}

#[test]
fn without_a_switch_it_says_what_is_missing() {
    let none = measure(&LAW, &[], &[]).unwrap_err();
    assert!(none.needs.contains("changes"));
    let mut short = switched(&Memory::SLOW);
    short.bins.truncate(41);
    assert!(measure(&LAW, &[], &[short]).is_err());
}
