//! The smooth WSD curve (ours): `E(B) = e (1 + B/B_c) / (1 - B_m/B)` at one loss level.
//!
//! As B grows, S -> e/B_c (the inverse-linear stage of the WSD curve); as B falls to B_m, S grows
//! without limit along the line of slope B_m (the linear stage). `B_min = B_m` and
//! `B_opt = B_m + sqrt(B_m^2 + B_m B_c)`; with B_m = 0 it is the classical curve, so the data say
//! whether they ask for the WSD form.

use super::level::Points;
use super::model::{Curve, CurveModel, Minimum, Refusal};
use super::report::ModelKind;
use super::solve::{COLD, Residuals, Settings, WARM, multistart};
use super::uncertainty::LIKELY;

/// `e` in tokens, `b_c` and `b_m` in tokens a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smooth {
    pub e: f64,
    pub b_c: f64,
    pub b_m: f64,
}

impl Smooth {
    /// Steps along the ray of batch size `b`; `None` at or below B_min.
    pub fn steps(&self, b: f64) -> Option<f64> {
        (b > self.b_m).then(|| self.e * (1.0 + b / self.b_c) / (b - self.b_m))
    }

    pub fn b_opt(&self) -> f64 {
        self.b_m + (self.b_m * (self.b_m + self.b_c)).sqrt()
    }
}

/// Parameters: ln e, ln B_c, ln B_m.
pub(super) struct Fit<'a>(pub &'a Points);

impl Residuals<3> for Fit<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn evaluate(&mut self, p: &[f64; 3], r: &mut [f64], j: &mut [[f64; 3]]) -> bool {
        let c = Smooth { e: p[0].exp(), b_c: p[1].exp(), b_m: p[2].exp() };
        let along = |b: f64| Some((c.steps(b)?.ln(), [1.0, -b / (c.b_c + b), c.b_m / (b - c.b_m)]));
        self.0.residuals(along, r, j)
    }
}

/// The same with a given B_min.
struct Held<'a> {
    points: &'a Points,
    b_m: f64,
}

impl Residuals<2> for Held<'_> {
    fn count(&self) -> usize {
        self.points.len()
    }

    fn evaluate(&mut self, p: &[f64; 2], r: &mut [f64], j: &mut [[f64; 2]]) -> bool {
        let c = Smooth { e: p[0].exp(), b_c: p[1].exp(), b_m: self.b_m };
        let along = |b: f64| Some((c.steps(b)?.ln(), [1.0, -b / (c.b_c + b)]));
        self.points.residuals(along, r, j)
    }
}

/// Values of B_min that are tried, as shares of the smallest size that arrived.
const TRIED: usize = 50;

/// The curves of this form with the smallest and the largest B_opt that lie as near to the points as
/// one can be told to (profile likelihood over B_min from 0, 90 %), however few the points are.
pub(super) fn extremes(points: &Points) -> Vec<Curve> {
    let (Some(smallest), Some(best)) = (points.smallest_reached(), points.best()) else {
        return Vec::new();
    };
    let ln_e = points.least_ln_tokens();
    let ln_b = best.batch_size.ln();
    let settings = Settings {
        lower: [ln_e - 10.0, ln_b - 7.0],
        upper: [ln_e + 1.0, ln_b + 12.0],
        huber: points.huber(),
        max_iterations: 80,
        tolerance: COLD,
    };
    let one = |k: usize| {
        let b_m = smallest * k as f64 / TRIED as f64;
        let starts = [1.0f64, 8.0, 0.3].map(|c| [ln_e - 0.5, ln_b + c.ln()]);
        let m = multistart(&mut Held { points, b_m }, starts, &settings)?;
        let [e, b_c] = m.p.map(f64::exp);
        Some((m.cost, Smooth { e, b_c, b_m }))
    };
    let tried: Vec<(f64, Smooth)> = (0..TRIED).filter_map(one).collect();
    let least = tried.iter().map(|t| t.0).fold(f64::INFINITY, f64::min);
    let mut likely: Vec<Smooth> =
        tried.into_iter().filter(|t| t.0 - least <= LIKELY).map(|t| t.1).collect();
    likely.sort_by(|a, b| a.b_opt().total_cmp(&b.b_opt()));
    [likely.first(), likely.last()].into_iter().flatten().map(|c| Curve::Smooth(*c)).collect()
}

#[derive(Debug)]
pub struct SmoothModel;

impl CurveModel for SmoothModel {
    fn kind(&self) -> ModelKind {
        ModelKind::Smooth
    }

    fn sizes_needed(&self) -> usize {
        4
    }

    fn parameters(&self) -> usize {
        3
    }

    fn minimum(&self, points: &Points, warm: Option<&Curve>) -> Option<Minimum<Curve>> {
        let smallest = points.smallest_reached()?;
        let best = points.best().map_or(smallest, |p| p.batch_size);
        let ln_e = points.least_ln_tokens();
        let settings = Settings {
            lower: [ln_e - 10.0, best.ln() - 7.0, smallest.ln() - 9.0],
            upper: [ln_e + 1.0, best.ln() + 12.0, smallest.ln() - 1e-5],
            huber: points.huber(),
            max_iterations: 80,
            tolerance: if warm.is_some() { WARM } else { COLD },
        };
        let cold = [(0.3, 1.0), (0.8, 4.0), (0.02, 8.0), (0.9, 0.5)]
            .map(|(m, c): (f64, f64)| [ln_e - 0.5, (best * c).ln(), (smallest * m).ln()]);
        let found = match warm {
            Some(Curve::Smooth(c)) => {
                multistart(&mut Fit(points), [[c.e.ln(), c.b_c.ln(), c.b_m.ln()]], &settings)
            }
            _ => multistart(&mut Fit(points), cold, &settings),
        };
        let found = found?;
        let [e, b_c, b_m] = found.p.map(f64::exp);
        let refusal = if b_m < 1e-3 * smallest {
            Some(Refusal::at_bound("B_min", "the level at smaller batch sizes"))
        } else if found.at_bound[2] {
            Some(Refusal::at_bound("B_min", "the level between the smallest batch sizes"))
        } else if found.at_bound[0] || found.at_bound[1] {
            Some(Refusal::at_bound("B_c", "the level at larger batch sizes"))
        } else {
            None
        };
        Some(Minimum { found: Curve::Smooth(Smooth { e, b_c, b_m }), refusal })
    }
}

#[cfg(test)]
mod tests {
    use super::super::level::Point;
    use super::*;

    fn points(tokens: &[(f64, f64)]) -> Points {
        let point = |&(batch_size, e): &(f64, f64)| Point {
            batch_size,
            ln_steps: (e / batch_size).ln(),
            se: 0.02,
            censored: false,
        };
        Points::from_points(tokens.iter().map(point).collect())
    }

    fn b_opts(points: &Points) -> [f64; 2] {
        let b: Vec<f64> = extremes(points).iter().map(|c| c.b_opt().unwrap_or(0.0)).collect();
        [b[0], b[b.len() - 1]]
    }

    #[test]
    fn the_likely_shapes_hold_the_one_that_made_the_points() {
        for b_m in [40.0, 100.0, 200.0] {
            let truth = Smooth { e: 1e6, b_c: 900.0, b_m };
            let at = |b: f64| (b, truth.steps(b).unwrap() * b);
            let [low, high] = b_opts(&points(&[at(256.0), at(512.0), at(1024.0)]));
            let b = truth.b_opt();
            assert!(
                low <= 1.05 * b && b <= 1.05 * high && high < 1.6 * b,
                "{b_m} {low} {b} {high}"
            );
        }
    }

    #[test]
    fn a_classical_curve_has_no_inner_optimum_among_them() {
        let classical = Smooth { e: 1e6, b_c: 900.0, b_m: 0.0 };
        let at = |b: f64| (b, classical.steps(b).unwrap() * b);
        let found = extremes(&points(&[at(256.0), at(512.0), at(1024.0)]));
        assert!(found.iter().any(|c| c.b_min() == 0.0));
        assert_eq!(extremes(&Points::default()), []);
    }
}
