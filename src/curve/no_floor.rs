//! The joint law's rival: `L(S, B) = L_inf + a S^-alpha + b E^-beta`, E = B S.
//!
//! No batch size has a floor of its own, so at any level a smaller batch never needs more tokens
//! (the classical picture, over all levels at once). It claims no inner optimum; where it predicts
//! as well as the joint law, neither can be trusted to know one.

use super::data::{LawPoint, SeriesSet};
use super::joint::{EXPONENT, HUBER_NATS};
use super::model::{AnyLaw, LossModel, Minimum, Refusal};
use super::projection::{Columns, Projected};
use super::report::ModelKind;
use super::solve::{COLD, Settings, WARM, multistart};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoFloor {
    /// Nats.
    pub l_inf: f64,
    pub a: f64,
    pub alpha: f64,
    pub b: f64,
    pub beta: f64,
}

impl NoFloor {
    /// Loss after `steps` at `batch_size`.
    pub fn loss(&self, steps: f64, batch_size: f64) -> f64 {
        self.l_inf
            + self.a * steps.powf(-self.alpha)
            + self.b * (steps * batch_size).powf(-self.beta)
    }

    /// Steps to `loss`: the loss falls strictly in S, so Newton in ln S between safe bounds.
    pub fn steps_to(&self, loss: f64, batch_size: f64) -> Option<f64> {
        let d = loss - self.l_inf;
        if d.is_nan() || d <= 0.0 || batch_size.is_nan() || batch_size <= 0.0 {
            return None;
        }
        // Either term alone must fall to d: the answer lies between the larger of both and where
        // each has fallen to d/2.
        let alone = |c: f64, e: f64, d: f64| (c.max(1e-300) / d).ln() / e;
        let both = |d: f64| {
            let tokens = alone(self.b, self.beta, d) - batch_size.ln();
            alone(self.a, self.alpha, d).max(tokens)
        };
        let (mut low, mut high) = (both(d), both(d / 2.0));
        let mut x = low;
        for _ in 0..60 {
            let s = self.a * (-self.alpha * x).exp();
            let e = self.b * (-self.beta * (x + batch_size.ln())).exp();
            let f = s + e - d;
            if f > 0.0 {
                low = low.max(x)
            } else {
                high = high.min(x)
            }
            let newton = x + f / (self.alpha * s + self.beta * e);
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            if (next - x).abs() < 1e-12 * (1.0 + x.abs()) {
                break;
            }
            x = next;
        }
        x.is_finite().then(|| x.exp())
    }

    /// The tokens that are never enough, at any batch size.
    pub fn e_min(&self, loss: f64) -> Option<f64> {
        let d = loss - self.l_inf;
        (d > 0.0).then(|| (self.b / d).powf(1.0 / self.beta))
    }
}

/// theta = ln alpha, ln beta.
struct TwoPowers {
    ln_steps: f64,
    ln_tokens: f64,
}

impl Columns<2> for TwoPowers {
    fn at(
        &self,
        _: usize,
        p: &LawPoint,
        _: &[f64; 2],
        [alpha, beta]: [f64; 2],
    ) -> ([f64; 2], [[f64; 2]; 2]) {
        let s = p.ln_steps - self.ln_steps;
        let e = p.ln_steps + p.ln_batch - self.ln_tokens;
        let (x, y) = ((-alpha * s).exp(), (-beta * e).exp());
        ([x, y], [[-alpha * s * x, 0.0], [0.0, -beta * e * y]])
    }
}

#[derive(Debug)]
pub struct NoFloorModel;

impl LossModel for NoFloorModel {
    fn kind(&self) -> ModelKind {
        ModelKind::NoFloor
    }

    fn name(&self) -> &'static str {
        "the law without a noise floor"
    }

    fn parameters(&self) -> usize {
        5
    }

    fn sizes_needed(&self) -> usize {
        4
    }

    fn minimum(&self, set: &SeriesSet, warm: Option<&AnyLaw>) -> Option<Minimum<AnyLaw>> {
        let n = set.points.len().max(1) as f64;
        let ln_steps = set.points.iter().map(|p| p.ln_steps).sum::<f64>() / n;
        let ln_tokens = set.points.iter().map(|p| p.ln_steps + p.ln_batch).sum::<f64>() / n;
        let settings = Settings {
            lower: [EXPONENT[0].ln(); 2],
            upper: [EXPONENT[1].ln(); 2],
            huber: HUBER_NATS,
            max_iterations: 80,
            tolerance: if warm.is_some() { WARM } else { COLD },
        };
        let starts = match warm {
            Some(AnyLaw::NoFloor(w)) => vec![[w.alpha.ln(), w.beta.ln()]],
            _ => vec![[0.5, 0.3], [1.0, 0.3], [0.4, 0.8], [1.5, 0.6]]
                .into_iter()
                .map(|s: [f64; 2]| s.map(f64::ln))
                .collect(),
        };
        let mut problem =
            Projected::<_, 2>::new(&set.points, TwoPowers { ln_steps, ln_tokens }, HUBER_NATS);
        let found = multistart(&mut problem, starts, &settings)?;
        let [l_inf, a, b] = problem.linear_at(&found.p)?;
        let [alpha, beta] = found.p.map(f64::exp);
        let refusal = if a <= 0.0 {
            Some(Refusal::at_bound("a", "larger batch sizes"))
        } else if b <= 0.0 {
            Some(Refusal::at_bound("b", "smaller batch sizes"))
        } else if found.at_bound.iter().any(|x| *x) {
            Some(Refusal::at_bound("an exponent", "a longer stretch of the stable phase"))
        } else {
            None
        };
        let law = NoFloor {
            l_inf,
            a: a * (alpha * ln_steps).exp(),
            alpha,
            b: b * (beta * ln_tokens).exp(),
            beta,
        };
        let sound = [law.l_inf, law.a, law.b].iter().all(|x| x.is_finite());
        sound.then_some(Minimum { found: AnyLaw::NoFloor(law), refusal })
    }
}
