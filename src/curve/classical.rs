//! The classical curve (McCandlish et al. 2018, arXiv 1812.06162):
//! `(E/E_min - 1)(S/S_min - 1) = 1` at one loss level.
//!
//! Along the ray `E = B S` this is `S(B) = S_min + E_min / B`. It is monotone: fewer tokens at every
//! smaller batch size, so it never claims an optimum inside the tested sizes.

use super::level::Points;
use super::model::{Curve, CurveModel, Minimum, Refusal};
use super::report::ModelKind;
use super::solve::{COLD, Residuals, Settings, WARM, multistart};

/// `S_min` in steps, `E_min` in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Classical {
    pub s_min: f64,
    pub e_min: f64,
}

impl Classical {
    /// Steps along the ray of batch size `b`.
    pub fn steps(&self, b: f64) -> f64 {
        self.s_min + self.e_min / b
    }
}

/// Parameters: ln S_min, ln E_min.
pub(super) struct Fit<'a>(pub &'a Points);

impl Residuals<2> for Fit<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn evaluate(&mut self, p: &[f64; 2], r: &mut [f64], j: &mut [[f64; 2]]) -> bool {
        let c = Classical { s_min: p[0].exp(), e_min: p[1].exp() };
        let along = |b: f64| {
            let s = c.steps(b);
            Some((s.ln(), [c.s_min / s, c.e_min / b / s]))
        };
        self.0.residuals(along, r, j)
    }
}

#[derive(Debug)]
pub struct ClassicalModel;

impl CurveModel for ClassicalModel {
    fn kind(&self) -> ModelKind {
        ModelKind::Classical
    }

    fn sizes_needed(&self) -> usize {
        3
    }

    fn parameters(&self) -> usize {
        2
    }

    fn minimum(&self, points: &Points, warm: Option<&Curve>) -> Option<Minimum<Curve>> {
        let (ln_s, ln_e) = (points.least_ln_steps(), points.least_ln_tokens());
        let settings = Settings {
            lower: [ln_s - 12.0, ln_e - 12.0],
            upper: [ln_s + 1.0, ln_e + 1.0],
            huber: points.huber(),
            max_iterations: 60,
            tolerance: if warm.is_some() { WARM } else { COLD },
        };
        let cold = [[ln_s - 0.3, ln_e - 0.3], [ln_s - 2.0, ln_e - 0.1], [ln_s - 0.1, ln_e - 2.0]];
        let found = match warm {
            Some(Curve::Classical(c)) => {
                multistart(&mut Fit(points), [[c.s_min.ln(), c.e_min.ln()]], &settings)
            }
            _ => multistart(&mut Fit(points), cold, &settings),
        };
        let found = found?;
        let refusal = match found.at_bound {
            [true, _] => Some(Refusal::at_bound("S_min", "the level at larger batch sizes")),
            [_, true] => Some(Refusal::at_bound("E_min", "the level at smaller batch sizes")),
            _ => None,
        };
        let [s_min, e_min] = found.p.map(f64::exp);
        Some(Minimum { found: Curve::Classical(Classical { s_min, e_min }), refusal })
    }
}
