//! How sure a set of branches would make B_opt: the information that their losses would carry about
//! the law and its memory, added to what is believed before (a linear Gaussian design).
//!
//! Parameters: L_inf, ln a, alpha, ln c, gamma, ln tau, ln p. A branch is one change of batch size of
//! the parent, so its loss is [`Law::loss_along`] of the two; each of its bins, equal in log steps
//! since the change, counts with [`BIN_NATS`]. Then
//! `var(ln B_opt) = g' (prior^-1 + sum J'J / sigma^2)^-1 g`, g the gradient of ln B_opt at the loss.

use crate::curve::{Law, LawFit, Memory, Stretch};

/// L_inf, ln a, alpha, ln c, gamma, ln tau, ln p.
const N: usize = 7;
/// Bins that a branch is worth.
const BINS: usize = 16;
/// Error of one of them, nats: what the law along batch changes misses a left-out batch size by on the
/// sweeps in `fixtures/`.
const BIN_NATS: f64 = 0.005;
/// Below this share of a branch's steps nothing is counted.
const FIRST: f64 = 0.02;
/// A saved law is of another model: its draws are widened by this factor.
const WIDER: f64 = 3.0;
/// Standard deviations where nothing is known; those of L_inf in units of L - L_inf.
const UNKNOWN: [f64; N] = [0.5, 1.0, 0.2, 1.5, 0.2, 2.0, 0.7];
/// 90 % of a normal distribution lie within.
const Z90: f64 = 1.645;

type Matrix = [[f64; N]; N];

/// What is believed before any branch.
#[derive(Debug, Clone)]
pub struct Belief {
    law: Law,
    memory: Memory,
    precision: Matrix,
}

impl Belief {
    /// A saved law, widened, since it is of another run.
    pub fn saved(fit: &LawFit) -> Belief {
        let centre = vector(&fit.law, &fit.memory);
        let mut sd = UNKNOWN;
        if fit.draws.len() >= 5 {
            for (k, sd) in sd.iter_mut().enumerate().take(5) {
                let square = |l: &Law| (vector(l, &fit.memory)[k] - centre[k]).powi(2);
                let n = fit.draws.len() as f64;
                *sd = WIDER * (fit.draws.iter().map(square).sum::<f64>() / n).sqrt().max(0.01);
            }
        }
        let memory = Memory { tau_steps: fit.memory.tau_steps.max(1.0), ..fit.memory };
        Belief { law: fit.law, memory, precision: diagonal(sd) }
    }

    /// No law: one whose optimum at `loss` is `b_opt`, through a run that got there after `steps`
    /// at `batch_size`, and next to nothing known of it.
    pub fn guessed(loss: f64, b_opt: f64, batch_size: f64, steps: f64) -> Belief {
        let (alpha, gamma) = (0.5, 0.45);
        let d = 0.15 * loss;
        let c = d * alpha / (alpha + gamma) * b_opt.powf(gamma);
        // Where the guess puts the run below B_min, the floor is its own.
        let noise = (c * batch_size.powf(-gamma)).min(0.7 * d);
        let law =
            Law { l_inf: loss - d, a: (d - noise) * steps.powf(alpha), alpha, c, gamma, q: 0.0 };
        let memory = Memory { tau_steps: (0.03 * steps).max(1.0), ..Memory::SLOW };
        let mut sd = UNKNOWN;
        sd[0] *= d;
        Belief { law, memory, precision: diagonal(sd) }
    }

    /// The belief after a run (its stretches from step 0) has been seen.
    pub fn seen(&mut self, past: &[Stretch]) {
        self.add(&self.information(past));
    }

    pub fn add(&mut self, information: &Matrix) {
        for (row, more) in self.precision.iter_mut().zip(information) {
            for (x, y) in row.iter_mut().zip(more) {
                *x += y;
            }
        }
    }

    /// Information of the last stretch of a run, the others being its past.
    pub fn information(&self, past: &[Stretch]) -> Matrix {
        let mut out = [[0.0; N]; N];
        let Some((last, before)) = past.split_last() else { return out };
        let centre = vector(&self.law, &self.memory);
        let mut along = before.to_vec();
        along.push(*last);
        for i in 0..BINS {
            let share = FIRST.powf(1.0 - (i as f64 + 0.5) / BINS as f64);
            if let Some(end) = along.last_mut() {
                end.steps = share * last.steps;
            }
            let loss = |v: &[f64; N]| {
                let (law, memory) = laws(v, self.law.q, &self.memory);
                law.loss_along(&along, &memory)
            };
            let j = gradient(&centre, loss);
            if j.iter().all(|x| x.is_finite()) {
                for (row, a) in out.iter_mut().zip(&j) {
                    for (x, b) in row.iter_mut().zip(&j) {
                        *x += a * b / BIN_NATS.powi(2);
                    }
                }
            }
        }
        out
    }

    /// Half width of the 90 % interval of ln B_opt at a loss; `None` at or below L_inf.
    pub fn half_width(&self, loss: f64) -> Option<f64> {
        let centre = vector(&self.law, &self.memory);
        self.law.b_opt(loss)?;
        let g = gradient(&centre, |v| {
            let (law, _) = laws(v, self.law.q, &self.memory);
            law.b_opt(loss).map_or(f64::NAN, f64::ln)
        });
        let x = solve(self.precision, g)?;
        let variance: f64 = g.iter().zip(&x).map(|(a, b)| a * b).sum();
        (variance.is_finite() && variance > 0.0).then(|| Z90 * variance.sqrt())
    }
}

fn vector(l: &Law, m: &Memory) -> [f64; N] {
    [l.l_inf, l.a.ln(), l.alpha, l.c.ln(), l.gamma, m.tau_steps.max(1.0).ln(), m.p.ln()]
}

fn laws(v: &[f64; N], q: f64, memory: &Memory) -> (Law, Memory) {
    let law = Law { l_inf: v[0], a: v[1].exp(), alpha: v[2], c: v[3].exp(), gamma: v[4], q };
    (law, Memory { tau_steps: v[5].exp(), p: v[6].exp(), ..*memory })
}

fn gradient(at: &[f64; N], of: impl Fn(&[f64; N]) -> f64) -> [f64; N] {
    const STEP: f64 = 1e-4;
    std::array::from_fn(|k| {
        let (mut up, mut down) = (*at, *at);
        up[k] += STEP;
        down[k] -= STEP;
        (of(&up) - of(&down)) / (2.0 * STEP)
    })
}

fn diagonal(sd: [f64; N]) -> Matrix {
    let mut out = [[0.0; N]; N];
    for (k, sd) in sd.iter().enumerate() {
        out[k][k] = sd.powi(-2);
    }
    out
}

/// Solves m x = y by elimination with the largest pivot; `None` where m is singular.
fn solve(mut m: Matrix, mut y: [f64; N]) -> Option<[f64; N]> {
    for k in 0..N {
        let best = (k..N).max_by(|&i, &j| m[i][k].abs().total_cmp(&m[j][k].abs()))?;
        m.swap(k, best);
        y.swap(k, best);
        let pivot = m[k];
        if pivot[k].is_nan() || pivot[k].abs() < 1e-300 {
            return None;
        }
        for i in k + 1..N {
            let f = m[i][k] / pivot[k];
            for (x, p) in m[i].iter_mut().zip(&pivot).skip(k) {
                *x -= f * p;
            }
            y[i] -= f * y[k];
        }
    }
    for k in (0..N).rev() {
        let rest: f64 = (k + 1..N).map(|j| m[k][j] * y[j]).sum();
        y[k] = (y[k] - rest) / m[k][k];
    }
    Some(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, group_of};

    fn branch(batch_size: f64, steps: f64) -> [Stretch; 2] {
        [Stretch { batch_size: 128.0, steps: 30_000.0 }, Stretch { batch_size, steps }]
    }

    #[test]
    fn more_and_longer_branches_tell_more_and_one_size_tells_nothing() {
        let mut one = Belief::guessed(2.3, 200.0, 128.0, 30_000.0);
        assert!((one.law.b_opt(2.3).unwrap() / 200.0 - 1.0).abs() < 1e-9);
        let nothing = one.half_width(2.3).unwrap();
        one.seen(&[Stretch { batch_size: 128.0, steps: 30_000.0 }]);
        let parent = one.half_width(2.3).unwrap();
        assert!(parent > 0.5 && parent <= nothing, "{parent} {nothing}");
        let after = |sizes: &[f64], steps: f64| {
            let mut b = one.clone();
            sizes.iter().for_each(|s| b.seen(&branch(*s, steps)));
            b.half_width(2.3).unwrap()
        };
        let few = after(&[64.0, 256.0], 3000.0);
        assert!(few < parent);
        assert!(after(&[64.0, 256.0], 12_000.0) < few);
        assert!(after(&[32.0, 64.0, 256.0, 512.0], 3000.0) < few);
    }

    #[test]
    fn a_saved_law_is_believed_but_not_to_the_letter() {
        let group = group_of(&LAW, MEMORY);
        let fit = group.law.as_ref().unwrap();
        let width = Belief::saved(fit).half_width(2.2).unwrap();
        assert!((0.05..1.5).contains(&width), "{width}");
        assert_eq!(Belief::saved(fit).half_width(1.9), None);
    }
}
