//! The identities that every model must keep.
use super::data::{LawPoint, RunSpan, SeriesSet};
use super::level::{Point, Points};
use super::model::*;
use super::solve::Residuals;
use super::*;
use super::{classical, smooth, three_stage};
use proptest::prelude::*;

const LAW: Law = Law { l_inf: 1.9, a: 150.0, alpha: 0.7, c: 2.1, gamma: 0.4, q: 0.1 };
const RIVAL: NoFloor = NoFloor { l_inf: 1.9, a: 40.0, alpha: 0.6, b: 30.0, beta: 0.3 };

fn truths() -> Vec<Curve> {
    vec![
        Curve::Classical(Classical { s_min: 900.0, e_min: 2e6 }),
        Curve::Smooth(Smooth { e: 1e6, b_c: 4000.0, b_m: 120.0 }),
        Curve::ThreeStage(ThreeStage {
            s_min: 700.0,
            s_1: 1500.0,
            s_opt: 5000.0,
            s_2: 9000.0,
            e_min: 2e6,
            k: 0.5,
        }),
        Curve::Law(LAW, 2.3),
        Curve::NoFloor(RIVAL, 2.4),
    ]
}

fn points_of(curve: &Curve, sizes: &[f64]) -> Points {
    let point = |&b: &f64| {
        let ln_steps = curve.steps(b)?.ln();
        Some(Point { batch_size: b, ln_steps, se: 0.02, censored: false })
    };
    Points::from_points(sizes.iter().filter_map(point).collect())
}

fn set_of(law: &AnyLaw, sizes: &[f64]) -> SeriesSet {
    let mut set = SeriesSet { sizes: sizes.to_vec(), ..SeriesSet::default() };
    for (size, &b) in sizes.iter().enumerate() {
        let from = set.points.len();
        for i in 0..40 {
            let steps = 300.0 * (f64::from(i) * 0.12).exp();
            let loss = law.loss(steps, b);
            let (ln_steps, ln_batch) = (steps.ln(), b.ln());
            set.points.push(LawPoint { ln_steps, ln_batch, loss, weight: 1.0, size });
        }
        set.runs.push(RunSpan { run: format!("{b}"), size, range: from..set.points.len() });
    }
    set
}

fn sizes(n: usize, from: f64) -> Vec<f64> {
    (0..n).map(|i| from * 1.8f64.powi(i as i32)).collect()
}

#[test]
fn tokens_are_batch_size_times_steps_and_convex_in_steps() {
    for curve in truths() {
        let from = curve.b_min().max(20.0) * 1.05;
        let mut seen = Vec::new();
        for i in 0..400 {
            let b = from * (f64::from(i) * 0.02).exp();
            let (s, e) = (curve.steps(b).unwrap(), curve.tokens(b).unwrap());
            assert!((e / (b * s) - 1.0).abs() < 1e-12);
            seen.push((s, e));
        }
        seen.reverse();
        for w in seen.windows(3) {
            assert!(w[1].0 > w[0].0, "steps fall as the batch grows: {curve:?}");
            let slope = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0);
            if matches!(curve, Curve::Law(..) | Curve::NoFloor(..)) {
                continue; // Convex only for exponents near 1; E/S falls for all.
            }
            let (left, right) = (slope(w[0], w[1]), slope(w[1], w[2]));
            assert!(right - left > -1e-6 * (left.abs() + right.abs()), "{curve:?} {w:?}");
        }
    }
}

#[test]
fn b_opt_needs_the_fewest_tokens_and_lies_above_b_min() {
    for curve in truths() {
        let e_min = curve.e_min().unwrap();
        let Some(b) = curve.b_opt() else {
            assert!(curve.tokens(1e-6).unwrap() >= e_min * (1.0 - 1e-9), "{curve:?}");
            continue;
        };
        assert!(b > curve.b_min());
        assert!(curve.steps(curve.b_min() * 0.999).is_none());
        for f in [0.7, 0.99, 1.01, 1.5] {
            assert!(curve.tokens(b * f).is_none_or(|e| e > e_min), "{curve:?} {f}");
        }
        let [low, high] = curve.within(0.02).unwrap();
        assert!(low < b && b < high);
        for edge in [low, high] {
            assert!((curve.excess(edge).unwrap() - 0.02).abs() < 1e-6, "{curve:?}");
        }
    }
}

#[test]
fn every_model_recovers_its_own_truth() {
    for (model, truth) in MODELS.iter().zip(truths()) {
        let points = points_of(&truth, &sizes(10, 1.3 * truth.b_min().max(50.0)));
        let found = model.fit(&points, None).unwrap();
        for p in points.iter() {
            let error = found.steps(p.batch_size).unwrap().ln() - p.ln_steps;
            assert!(error.abs() < 2e-3, "{found:?} {error}");
        }
        if let Some(b) = truth.b_opt() {
            assert!((found.b_opt().unwrap() / b).ln().abs() < 0.03, "{found:?}");
        }
    }
    let truths = [AnyLaw::Floor(Law { q: 0.0, ..LAW }), AnyLaw::Floor(LAW), AnyLaw::NoFloor(RIVAL)];
    for (model, truth) in LAWS.iter().take(3).zip(truths) {
        let set = set_of(&truth, &sizes(8, 30.0));
        let found = model.fit(&set, None).unwrap();
        for p in &set.points {
            let (s, b) = (p.ln_steps.exp(), p.ln_batch.exp());
            assert!((found.loss(s, b) - p.loss).abs() < 1e-5, "{} {found:?}", model.name());
        }
    }
}

#[test]
fn the_joints_of_the_three_stages_are_c1() {
    let Curve::ThreeStage(c) = truths()[2] else { unreachable!() };
    for joint in [c.s_1, c.s_2] {
        let (below, above) = (joint * (1.0 - 1e-13), joint * (1.0 + 1e-13));
        let (e0, e1) = (c.tokens_at(below).unwrap(), c.tokens_at(above).unwrap());
        assert!((e0 / e1 - 1.0).abs() < 1e-9);
        let (d0, d1) = (c.slope(below), c.slope(above));
        assert!((d0 - d1).abs() <= 1e-9 * d0.abs(), "{d0} {d1}");
    }
    for b in sizes(14, c.b_min() * 1.001) {
        let s = c.steps(b).unwrap();
        assert!((c.tokens_at(s).unwrap() / (b * s) - 1.0).abs() < 1e-9, "{b}");
    }
}

fn check_jacobian<const N: usize>(problem: &mut impl Residuals<N>, p: [f64; N]) {
    let n = problem.count();
    let mut r = vec![0.0; n];
    let mut j = vec![[0.0; N]; n];
    let mut unused = j.clone();
    assert!(problem.evaluate(&p, &mut r, &mut j));
    for k in 0..N {
        let at = |h: f64, problem: &mut _, j: &mut Vec<[f64; N]>| {
            let mut q = p;
            q[k] += h;
            let mut r = vec![0.0; n];
            assert!(Residuals::evaluate(problem, &q, &mut r, j));
            r
        };
        let up = at(1e-5, problem, &mut unused);
        let down = at(-1e-5, problem, &mut unused);
        for i in 0..n {
            let numeric = (up[i] - down[i]) / 2e-5;
            let scale = 1.0 + numeric.abs();
            assert!((j[i][k] - numeric).abs() < 1e-4 * scale, "{i} {k}: {} {numeric}", j[i][k]);
        }
    }
}

#[test]
fn analytic_jacobians_equal_numeric_ones() {
    let truths = truths();
    let points = points_of(&truths[2], &sizes(12, 250.0));
    check_jacobian(&mut classical::Fit(&points), [6.5, 14.0]);
    check_jacobian(&mut smooth::Fit(&points), [13.9, 8.0, 4.9]);
    let Curve::ThreeStage(c) = truths[2] else { unreachable!() };
    let mut free = c.to_free();
    free.iter_mut().enumerate().for_each(|(k, x)| *x += 0.05 * (k as f64 - 2.0));
    check_jacobian(&mut three_stage::Fit(&points), free);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_gives_a_refusal_or_a_finite_curve(
        values in proptest::collection::vec((0.0f64..1e9, -1e3f64..1e9, any::<bool>()), 0..10)
    ) {
        let points = values
            .iter()
            .filter(|v| v.0 > 0.0)
            .map(|&(b, x, censored)| Point { batch_size: b, ln_steps: x.max(1e-3).ln(), se: 0.02, censored })
            .collect();
        let points = Points::from_points(points);
        for model in MODELS {
            if points.reached().count() < model.sizes_needed() {
                continue;
            }
            if let Ok(curve) = model.fit(&points, None) {
                prop_assert!(curve.e_min().is_none_or(f64::is_finite));
                prop_assert!(curve.b_opt().is_none_or(|b| b >= curve.b_min()));
            }
        }
    }

    #[test]
    fn the_unit_of_tokens_does_not_matter(scale in 1e-3f64..1e6) {
        for (model, truth) in MODELS.iter().zip(truths()) {
            let points = points_of(&truth, &sizes(9, 1.3 * truth.b_min().max(50.0)));
            let scaled = Points::from_points(
                points.iter().map(|p| Point { batch_size: p.batch_size * scale, ..*p }).collect(),
            );
            let (Ok(a), Ok(b)) = (model.fit(&points, None), model.fit(&scaled, None)) else {
                return Err(TestCaseError::fail("refused"));
            };
            if let (Some(a), Some(b)) = (a.b_opt(), b.b_opt()) {
                prop_assert!((b / a / scale).ln().abs() < 1e-2, "{a} {b}");
            }
        }
    }
}

#[test]
fn three_stages_through_few_points_span_the_truth_and_through_many_are_held() {
    let truth = truths()[2];
    let b_opt = truth.b_opt().unwrap();
    let width = |n: usize| {
        let around: Vec<f64> =
            (0..n).map(|i| b_opt * 1.8f64.powf(i as f64 - n as f64 / 2.0 + 0.3)).collect();
        let ends = three_stage::extremes(&points_of(&truth, &around));
        let [low, high] = [0, 1].map(|i: usize| ends[i].b_opt().unwrap());
        assert!(low < b_opt && b_opt < high, "{n}: {low} {b_opt} {high}");
        (high / low).ln()
    };
    let (few, many) = (width(4), width(12));
    assert!(few > 0.3 && many < 0.6 * few, "{few} {many}");
    assert!(three_stage::extremes(&Points::default()).is_empty());
}
