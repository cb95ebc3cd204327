//! The models behind two small traits, and what they all answer: a [`Curve`] at one level.
//!
//! A newcomer adds a model as one file and one line in [`MODELS`] (fitted level by level) or
//! [`LAWS`] (fitted to all levels at once); the tests below then hold it to the identities.

use super::classical::{Classical, ClassicalModel};
use super::data::SeriesSet;
use super::joint::JointModel;
use super::law::Law;
use super::level::Points;
use super::no_floor::{NoFloor, NoFloorModel};
use super::report::ModelKind;
use super::smooth::{Smooth, SmoothModel};
use super::three_stage::{ThreeStage, ThreeStageModel};

/// E(S) at one loss level, by one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Curve {
    Classical(Classical),
    Smooth(Smooth),
    ThreeStage(ThreeStage),
    /// The joint law at a loss.
    Law(Law, f64),
    /// Its rival at a loss.
    NoFloor(NoFloor, f64),
}

impl Curve {
    /// Optimizer steps to the level at batch size `b`; `None` where it is never reached.
    pub fn steps(&self, b: f64) -> Option<f64> {
        let s = match self {
            Curve::Classical(c) => Some(c.steps(b)),
            Curve::Smooth(c) => c.steps(b),
            Curve::ThreeStage(c) => c.steps(b),
            Curve::Law(law, loss) => law.steps_to(*loss, b),
            Curve::NoFloor(law, loss) => law.steps_to(*loss, b),
        };
        s.filter(|s| s.is_finite() && *s > 0.0)
    }

    /// Tokens to the level at batch size `b`: E = B S.
    pub fn tokens(&self, b: f64) -> Option<f64> {
        self.steps(b).map(|s| s * b)
    }

    /// The batch size at and below which the level is never reached; 0 in the models that know
    /// none.
    pub fn b_min(&self) -> f64 {
        let b = match self {
            Curve::Classical(_) | Curve::NoFloor(..) => 0.0,
            Curve::Smooth(c) => c.b_m,
            Curve::ThreeStage(c) => c.b_min(),
            Curve::Law(law, loss) => law.b_min(*loss).unwrap_or(f64::INFINITY),
        };
        if b.is_nan() { f64::INFINITY } else { b }
    }

    /// The batch size of the fewest tokens; `None` where the model has no inner minimum.
    pub fn b_opt(&self) -> Option<f64> {
        let b = match self {
            Curve::Classical(_) | Curve::NoFloor(..) => None,
            Curve::Smooth(c) => Some(c.b_opt()),
            Curve::ThreeStage(c) => Some(c.b_opt()),
            Curve::Law(law, loss) => law.b_opt(*loss),
        };
        b.filter(|b| b.is_finite() && *b > 0.0)
    }

    /// The fewest tokens; in a model without an inner minimum the limit of small batch sizes.
    pub fn e_min(&self) -> Option<f64> {
        let e = match self {
            Curve::Classical(c) => Some(c.e_min),
            Curve::NoFloor(law, loss) => law.e_min(*loss),
            _ => self.b_opt().and_then(|b| self.tokens(b)),
        };
        e.filter(|e| e.is_finite() && *e > 0.0)
    }

    /// Steps at the optimum.
    pub fn s_opt(&self) -> Option<f64> {
        self.b_opt().and_then(|b| self.steps(b))
    }

    /// `E(B)/E_min - 1`: the share of tokens that batch size `b` wastes to this level. Infinite
    /// where it is never reached.
    pub fn excess(&self, b: f64) -> Option<f64> {
        let e_min = self.e_min()?;
        Some(self.tokens(b).map_or(f64::INFINITY, |e| (e / e_min - 1.0).max(0.0)))
    }

    /// Batch sizes that need at most `1 + slack` times the fewest tokens.
    pub fn within(&self, slack: f64) -> Option<[f64; 2]> {
        let (b_opt, e_min) = (self.b_opt()?, self.e_min()?);
        let over = |b: f64| self.tokens(b).is_none_or(|e| e > e_min * (1.0 + slack));
        let edge = |sign: f64| {
            let (mut near, mut far) = (0.0, 0.02);
            while !over(b_opt * (sign * far).exp()) {
                (near, far) = (far, far * 2.0);
                if far > 40.0 {
                    return b_opt * (sign * near).exp();
                }
            }
            for _ in 0..40 {
                let middle = 0.5 * (near + far);
                if over(b_opt * (sign * middle).exp()) { far = middle } else { near = middle }
            }
            b_opt * (sign * near).exp()
        };
        Some([edge(-1.0), edge(1.0)])
    }
}

/// Why a model gives no answer, in words that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub has: String,
    pub needs: String,
}

impl Refusal {
    pub fn new(has: impl Into<String>, needs: impl Into<String>) -> Refusal {
        Refusal { has: has.into(), needs: needs.into() }
    }

    /// The data do not hold a parameter.
    pub fn at_bound(parameter: &str, needs: &str) -> Refusal {
        Refusal::new(format!("the data do not hold {parameter}: the fit ends at its bound"), needs)
    }

    pub fn not_finite() -> Refusal {
        Refusal::new("the fit found no finite minimum", "series without gaps, constant or NaN loss")
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; needs {}", self.has, self.needs)
    }
}

/// A model of E(S) at one level, fitted to the points of that level alone.
pub trait CurveModel: Sync + std::fmt::Debug {
    fn kind(&self) -> ModelKind;

    /// Batch sizes that must have reached the level.
    fn sizes_needed(&self) -> usize;

    /// Free parameters.
    fn parameters(&self) -> usize;

    /// The least Huber cost over the points, from the neighbourhood of `warm` where one is given,
    /// and why its parameters are not to be read where they are not held; `None` where there is no
    /// finite one.
    fn minimum(&self, points: &Points, warm: Option<&Curve>) -> Option<Minimum<Curve>>;

    /// The curve through `points`.
    fn fit(&self, points: &Points, warm: Option<&Curve>) -> Result<Curve, Refusal> {
        self.minimum(points, warm).map_or_else(|| Err(Refusal::not_finite()), Minimum::held)
    }
}

/// Where a fit ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum<T> {
    pub found: T,
    /// A parameter ended at its bound: the fit predicts, but the parameter means nothing.
    pub refusal: Option<Refusal>,
}

impl<T> Minimum<T> {
    fn held(self) -> Result<T, Refusal> {
        self.refusal.map_or(Ok(self.found), Err)
    }
}

/// A law of the loss of every constant run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyLaw {
    Floor(Law),
    NoFloor(NoFloor),
}

impl AnyLaw {
    /// Loss after `steps` at `batch_size`.
    pub fn loss(&self, steps: f64, batch_size: f64) -> f64 {
        match self {
            AnyLaw::Floor(law) => law.loss(steps, batch_size),
            AnyLaw::NoFloor(law) => law.loss(steps, batch_size),
        }
    }

    /// E(S) at a loss; `None` at or below L_inf.
    pub fn curve(&self, loss: f64) -> Option<Curve> {
        match self {
            AnyLaw::Floor(law) if loss > law.l_inf => Some(Curve::Law(*law, loss)),
            AnyLaw::NoFloor(law) if loss > law.l_inf => Some(Curve::NoFloor(*law, loss)),
            _ => None,
        }
    }
}

/// A model of the loss over all levels and runs at once.
pub trait LossModel: Sync + std::fmt::Debug {
    fn kind(&self) -> ModelKind;
    fn name(&self) -> &'static str;
    /// Free parameters: on a tie the fewer speak.
    fn parameters(&self) -> usize;
    /// Batch sizes that must be in the set.
    fn sizes_needed(&self) -> usize;

    /// The least Huber cost over the set, and why its parameters are not to be read where they are
    /// not held; `None` where there is no finite one.
    fn minimum(&self, set: &SeriesSet, warm: Option<&AnyLaw>) -> Option<Minimum<AnyLaw>>;

    fn fit(&self, set: &SeriesSet, warm: Option<&AnyLaw>) -> Result<AnyLaw, Refusal> {
        self.minimum(set, warm).map_or_else(|| Err(Refusal::not_finite()), Minimum::held)
    }
}

/// The one-level models, from few assumptions to many.
pub const MODELS: [&dyn CurveModel; 3] = [&ClassicalModel, &SmoothModel, &ThreeStageModel];

/// The laws over all levels: the joint law plain and with q, and its rival.
pub const LAWS: [&dyn LossModel; 3] =
    [&JointModel { with_q: false }, &JointModel { with_q: true }, &NoFloorModel];

#[cfg(test)]
mod tests {
    use super::super::data::{LawPoint, RunSpan};
    use super::super::level::Point;
    use super::super::solve::Residuals;
    use super::super::{classical, smooth, three_stage};
    use super::*;
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
        let truths =
            [AnyLaw::Floor(Law { q: 0.0, ..LAW }), AnyLaw::Floor(LAW), AnyLaw::NoFloor(RIVAL)];
        for (model, truth) in LAWS.iter().zip(truths) {
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
}
