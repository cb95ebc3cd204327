//! The joint law with memory: the loss of any run along any batch schedule.
//!
//! At constant batch size
//! `L(S, B) = L_inf + a (S B^q)^-alpha + c B^-gamma` (ours; DESIGN of the theory in the README).
//! Along a schedule the noise of earlier batch sizes is remembered:
//! `L = L_inf + a (sum_i B_i^q dS_i)^-alpha + c sum_i B_i^-gamma [F(age of i's end) - F(age of i's start)]`
//! with `F(x) = (1 + x/tau)^-p`, ages in steps; the first stretch carries all older weight, so that
//! a constant run keeps `c B^-gamma`.

use serde::{Deserialize, Serialize};

/// Parameters of the joint law at one learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// Nats per token.
    pub l_inf: f64,
    pub a: f64,
    pub alpha: f64,
    pub c: f64,
    pub gamma: f64,
    /// 0 is the plain law; 0 <= q < 1.
    pub q: f64,
}

/// Where tau and p come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemorySource {
    /// Fitted to runs of the group that switched their batch size.
    Measured,
    /// Nothing switched yet: assumed slow.
    Assumed,
    /// From a saved law.
    Saved,
}

/// How fast the noise of a former batch size is forgotten: `F(x) = (1 + x/tau)^-p`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Optimizer steps at the plateau learning rate. 0 is instant forgetting.
    pub tau_steps: f64,
    pub p: f64,
    pub source: MemorySource,
}

impl Memory {
    /// What is assumed until a switch was seen.
    pub const SLOW: Memory = Memory { tau_steps: 1500.0, p: 0.4, source: MemorySource::Assumed };
    /// Noise is forgotten at once: the other end.
    pub const INSTANT: Memory = Memory { tau_steps: 0.0, p: 1.0, source: MemorySource::Assumed };

    /// Weight of the noise that is older than `age` steps; F(0) = 1, F(infinity) = 0.
    pub fn remembered(&self, age: f64) -> f64 {
        if age <= 0.0 {
            1.0
        } else if self.tau_steps <= 0.0 || !age.is_finite() {
            0.0
        } else {
            (-self.p * (age / self.tau_steps).ln_1p()).exp()
        }
    }
}

/// A stretch of a run at one batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Tokens per optimizer step.
    pub batch_size: f64,
    /// Optimizer steps done at it.
    pub steps: f64,
}

impl Law {
    /// Loss of a run at constant batch size after `steps`.
    pub fn loss(&self, steps: f64, batch_size: f64) -> f64 {
        self.signal(steps * batch_size.powf(self.q)) + self.noise(batch_size) + self.l_inf
    }

    /// The signal part, at progress `sum B^q dS`.
    pub fn signal(&self, progress: f64) -> f64 {
        self.a * progress.powf(-self.alpha)
    }

    /// The noise floor of a batch size.
    pub fn noise(&self, batch_size: f64) -> f64 {
        self.c * batch_size.powf(-self.gamma)
    }

    /// Loss at the end of `past`, a run's whole history from step 0.
    pub fn loss_along(&self, past: &[Stretch], memory: &Memory) -> f64 {
        let progress: f64 = past.iter().map(|s| s.batch_size.powf(self.q) * s.steps).sum();
        let mut age = 0.0;
        let mut noise = 0.0;
        for (i, s) in past.iter().enumerate().rev() {
            let young = memory.remembered(age);
            age += s.steps;
            let old = if i == 0 { 0.0 } else { memory.remembered(age) };
            noise += self.noise(s.batch_size) * (young - old);
        }
        self.l_inf + self.signal(progress) + noise
    }

    /// Steps that a constant run needs to `loss`; `None` where its noise floor lies above.
    pub fn steps_to(&self, loss: f64, batch_size: f64) -> Option<f64> {
        let d = loss - self.l_inf - self.noise(batch_size);
        (d > 0.0).then(|| (self.a / d).powf(1.0 / self.alpha) * batch_size.powf(-self.q))
    }

    /// Tokens that a constant run needs to `loss`; `None` where its noise floor lies above.
    pub fn tokens_to(&self, loss: f64, batch_size: f64) -> Option<f64> {
        self.steps_to(loss, batch_size).map(|s| s * batch_size)
    }

    /// The batch size below which `loss` is never reached: `(c/d)^(1/gamma)`, d = L - L_inf.
    pub fn b_min(&self, loss: f64) -> Option<f64> {
        let d = loss - self.l_inf;
        (d > 0.0).then(|| (self.c / d).powf(1.0 / self.gamma))
    }

    /// The batch size that needs the fewest tokens to `loss`:
    /// `(c (alpha' + gamma) / (alpha' d))^(1/gamma)`, `alpha' = alpha (1 - q)`.
    pub fn b_opt(&self, loss: f64) -> Option<f64> {
        let d = loss - self.l_inf;
        let alpha = self.alpha * (1.0 - self.q);
        (d > 0.0 && alpha > 0.0)
            .then(|| (self.c * (alpha + self.gamma) / (alpha * d)).powf(1.0 / self.gamma))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: Law = Law { l_inf: 1.941, a: 214.0, alpha: 0.798, c: 2.167, gamma: 0.417, q: 0.111 };

    #[test]
    fn b_opt_is_the_minimum_of_the_tokens() {
        for loss in [2.6, 2.4, 2.2] {
            let b = LAW.b_opt(loss).unwrap();
            let e = LAW.tokens_to(loss, b).unwrap();
            for factor in [0.8, 0.95, 1.05, 1.25] {
                assert!(LAW.tokens_to(loss, b * factor).unwrap() > e);
            }
            assert!(LAW.b_min(loss).unwrap() < b);
            assert!(LAW.tokens_to(loss, LAW.b_min(loss).unwrap() * 0.999).is_none());
        }
    }

    #[test]
    fn a_constant_run_does_not_feel_how_its_history_is_cut() {
        let whole = LAW.loss_along(&[Stretch { batch_size: 128.0, steps: 9000.0 }], &Memory::SLOW);
        let cut = LAW.loss_along(
            &[
                Stretch { batch_size: 128.0, steps: 4000.0 },
                Stretch { batch_size: 128.0, steps: 5000.0 },
            ],
            &Memory::SLOW,
        );
        assert!((whole - cut).abs() < 1e-12);
        assert!((whole - LAW.loss(9000.0, 128.0)).abs() < 1e-12);
    }

    #[test]
    fn instant_forgetting_sees_only_the_last_batch_size() {
        let past = [
            Stretch { batch_size: 128.0, steps: 4000.0 },
            Stretch { batch_size: 512.0, steps: 1.0 },
        ];
        let noise = LAW.loss_along(&past, &Memory::INSTANT)
            - LAW.l_inf
            - LAW.signal(128f64.powf(LAW.q) * 4000.0 + 512f64.powf(LAW.q));
        assert!((noise - LAW.noise(512.0)).abs() < 1e-12);
        assert!(LAW.loss_along(&past, &Memory::SLOW) > LAW.loss_along(&past, &Memory::INSTANT));
    }
}
