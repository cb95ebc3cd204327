//! What real logs do to a sweep must not move its answer: spikes, restarts, copies, printed digits,
//! runs that stop early.

use super::*;
use crate::metrics::Record;
use crate::run::{Assumptions, Recorder, RunData};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

const LAW: Law = Law { l_inf: 1.8, a: 60.0, alpha: 0.6, c: 6.0, gamma: 0.5, q: 0.0 };
/// Where the optimum lies within the sizes below.
const LOSS: f64 = 2.15;
const LINES: usize = 300;

/// What is done to a run beside its noise.
#[derive(Debug, Clone, Copy, Default)]
struct Harm {
    spikes: f64,
    restarts: bool,
    decimals: Option<i32>,
    /// Of its tokens.
    cut: Option<f64>,
}

fn run(id: &str, batch: f64, tokens: f64, seed: u64, harm: Harm) -> RunData {
    let mut rng = Pcg64::seed_from_u64(seed ^ batch as u64);
    let mut other = Pcg64::seed_from_u64(seed.wrapping_mul(31) ^ batch as u64);
    let mut r = Recorder::new(id, Assumptions::default());
    let tokens = tokens * harm.cut.unwrap_or(1.0);
    let every = (tokens / batch / LINES as f64).max(1.0).floor();
    let digits = |x: f64| harm.decimals.map_or(x, |d| (x * 10f64.powi(d)).round() / 10f64.powi(d));
    let mut push = |k: usize, loss: f64| {
        let step = k as f64 * every;
        let lr = digits(3e-4 * (step / (5.0 * every)).min(1.0));
        let (step, tokens) = (Some(step), Some(step * batch));
        let (loss, lr, batch_tokens) = (Some(loss), Some(lr), Some(batch));
        r.push(0, &Record { step, tokens, batch_tokens, loss, lr, ..Record::default() });
    };
    let back = harm.restarts.then(|| other.random_range(LINES / 3..LINES));
    for k in 1..=LINES {
        let z: f64 = StandardNormal.sample(&mut rng);
        let loss = LAW.loss(k as f64 * every, batch) + 0.004 * z;
        let spike = other.random::<f64>() < harm.spikes;
        push(k, loss + if spike { other.random_range(0.2..4.0) } else { 0.0 });
        if back == Some(k) {
            // The attempt that is replaced had gone wrong.
            for j in k + 1..(k + 20).min(LINES) {
                push(j, loss + 0.2);
            }
        }
    }
    r.data()
}

fn sizes() -> Vec<f64> {
    let b_opt = LAW.b_opt(LOSS).unwrap();
    (-2..4).map(|k| (b_opt * 2f64.powi(k)).round()).collect()
}

fn sweep(seed: u64, harm: Harm) -> Vec<RunData> {
    let enough = 3.0 * LAW.tokens_to(LOSS, LAW.b_opt(LOSS).unwrap()).unwrap();
    sizes().iter().map(|&b| run(&format!("b{b}"), b, enough, seed, harm)).collect()
}

fn answer(runs: &[RunData]) -> LevelFit {
    let options = FitOptions { at_loss: vec![LOSS + 0.1, LOSS], draws: 40, ..Default::default() };
    let mut report = fit(runs, &options);
    assert_eq!(
        report.groups.len(),
        1,
        "{:?}",
        report.groups.iter().map(|g| &g.id).collect::<Vec<_>>()
    );
    report.groups.remove(0).levels.pop().unwrap()
}

fn off(level: &LevelFit) -> f64 {
    (level.b_opt.value.unwrap() / LAW.b_opt(LOSS).unwrap()).ln().abs()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn spikes_and_restarts_do_not_move_the_optimum(seed in 0u64..1000) {
        for harm in [
            Harm { spikes: 0.02, ..Harm::default() },
            Harm { restarts: true, ..Harm::default() },
        ] {
            let level = answer(&sweep(seed, harm));
            prop_assert!(off(&level) < 0.2, "{:?} {:?}", harm, level.b_opt);
        }
    }

    #[test]
    fn the_digits_of_a_printed_learning_rate_do_not_matter(seed in 0u64..1000) {
        // 3.00e-4 printed as 0.0003.
        let exact = answer(&sweep(seed, Harm::default()));
        let printed = answer(&sweep(seed, Harm { decimals: Some(4), ..Harm::default() }));
        let (a, b) = (exact.b_opt.value.unwrap(), printed.b_opt.value.unwrap());
        prop_assert!((a / b).ln().abs() < 0.05, "{} {}", a, b);
    }

    #[test]
    fn a_copy_counts_once_and_a_seed_counts(seed in 0u64..1000, which in 0usize..6) {
        let runs = sweep(seed, Harm::default());
        let once = answer(&runs);
        let mut copied = runs.clone();
        copied.push(RunData { id: "zz".into(), ..runs[which].clone() });
        let twice = answer(&copied);
        prop_assert_eq!(twice.b_opt, once.b_opt);
        prop_assert_eq!(twice.e_min_tokens, once.e_min_tokens);
        prop_assert_eq!(twice.observed.len(), once.observed.len());
        let another = sweep(seed + 5000, Harm::default()).swap_remove(which);
        let mut seeds = runs;
        seeds.push(RunData { id: "zz".into(), ..another });
        let level = answer(&seeds);
        prop_assert_eq!(level.observed.len(), once.observed.len() + 1);
        prop_assert!(off(&level) < 0.2);
        let spread = |runs: &[RunData]| {
            let notes = &fit(runs, &FitOptions { draws: 0, ..FitOptions::default() }).groups[0].notes;
            notes.iter().any(|n| n.starts_with("runs of one batch size differ by"))
        };
        prop_assert!(spread(&seeds) && !spread(&copied));
    }

    /// Runs of which some stop before the level: those that did bound the answer only where they
    /// had gone further than the best needed, and the answer holds the optimum on both sides.
    #[test]
    fn runs_that_stop_early_never_exclude_the_optimum(seed in 0u64..1000, cut in 0.05f64..1.0, which in 0usize..6) {
        let mut runs = sweep(seed, Harm::default());
        let enough = 3.0 * LAW.tokens_to(LOSS, LAW.b_opt(LOSS).unwrap()).unwrap();
        let b = sizes()[which];
        runs[which] = run(&format!("b{b}"), b, enough, seed, Harm { cut: Some(cut), ..Harm::default() });
        let level = answer(&runs);
        let truth = LAW.b_opt(LOSS).unwrap();
        let near = 1.25;
        prop_assert!(level.b_opt.low.is_none_or(|low| low < truth * near), "{:?}", level.b_opt);
        prop_assert!(level.b_opt.high.is_none_or(|high| high > truth / near), "{:?}", level.b_opt);
    }
}
