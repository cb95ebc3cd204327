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
