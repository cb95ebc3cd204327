//! The joint law (ours): `L(S, B) = L_inf + a (S B^q)^-alpha + c B^-gamma`, all levels at once.
//!
//! The last term is the floor that gradient noise puts under the loss at a constant learning rate.
//! At a level L*, with d = L* - L_inf and alpha' = alpha (1 - q), setting dE/dB = 0 in
//! `E(B) = B^(1-q) (a / (d - c B^-gamma))^(1/alpha)` gives
//! `B_opt = (c (alpha' + gamma) / (alpha' d))^(1/gamma)`; E is infinite at `B_min = (c/d)^(1/gamma)`.
//! It is linear in L_inf, a and c: those are projected out.

use super::data::{LawPoint, SeriesSet};
use super::law::Law;
use super::model::{AnyLaw, LossModel, Minimum, Refusal};
use super::projection::{Columns, Projected};
use super::report::ModelKind;
use super::solve::{COLD, Settings, WARM, multistart};

/// Residuals beyond this many nats count linearly.
pub(super) const HUBER_NATS: f64 = 0.01;
/// Bounds of an exponent; a fit that ends there has not found one.
pub(super) const EXPONENT: [f64; 2] = [0.02, 4.0];
const MOST_Q: f64 = 0.9;

/// theta = ln alpha, ln gamma, and q where it is free.
struct Floor {
    ln_steps: f64,
    ln_batch: f64,
}

impl<const N: usize> Columns<N> for Floor {
    fn at(
        &self,
        _: usize,
        p: &LawPoint,
        theta: &[f64; N],
        [alpha, gamma]: [f64; 2],
    ) -> ([f64; 2], [[f64; N]; 2]) {
        let q = theta.get(2).copied().unwrap_or(0.0);
        // Centred, so that the columns stay near 1.
        let s = p.ln_steps - self.ln_steps + q * (p.ln_batch - self.ln_batch);
        let b = p.ln_batch - self.ln_batch;
        let (x, y) = ((-alpha * s).exp(), (-gamma * b).exp());
        let (mut dx, mut dy) = ([0.0; N], [0.0; N]);
        dx[0] = -alpha * s * x;
        dy[1] = -gamma * b * y;
        if let Some(d) = dx.get_mut(2) {
            *d = -alpha * b * x;
        }
        ([x, y], [dx, dy])
    }
}

/// The joint law, plain (q = 0) or with q.
#[derive(Debug)]
pub struct JointModel {
    pub with_q: bool,
}

impl LossModel for JointModel {
    fn kind(&self) -> ModelKind {
        ModelKind::Joint
    }

    fn name(&self) -> &'static str {
        if self.with_q { "the joint law with q" } else { "the joint law" }
    }

    fn parameters(&self) -> usize {
        if self.with_q { 6 } else { 5 }
    }

    fn sizes_needed(&self) -> usize {
        if self.with_q { 5 } else { 4 }
    }

    fn minimum(&self, set: &SeriesSet, warm: Option<&AnyLaw>) -> Option<Minimum<AnyLaw>> {
        let warm = match warm {
            Some(AnyLaw::Floor(law)) => Some(law),
            _ => None,
        };
        if self.with_q { with_q(set, warm) } else { plain(set, warm) }
    }
}

fn centre(set: &SeriesSet) -> Floor {
    let n = set.points.len().max(1) as f64;
    Floor {
        ln_steps: set.points.iter().map(|p| p.ln_steps).sum::<f64>() / n,
        ln_batch: set.points.iter().map(|p| p.ln_batch).sum::<f64>() / n,
    }
}

fn settings<const N: usize>(tolerance: f64) -> Settings<N> {
    let mut lower = [EXPONENT[0].ln(); N];
    let mut upper = [EXPONENT[1].ln(); N];
    if N == 3 {
        (lower[2], upper[2]) = (0.0, MOST_Q);
    }
    Settings { lower, upper, huber: HUBER_NATS, max_iterations: 80, tolerance }
}

const STARTS: [[f64; 2]; 4] = [[0.4, 0.4], [0.8, 0.4], [0.4, 1.0], [1.0, 1.0]];

fn plain(set: &SeriesSet, warm: Option<&Law>) -> Option<Minimum<AnyLaw>> {
    let starts = match warm {
        Some(law) => vec![[law.alpha.ln(), law.gamma.ln()]],
        None => STARTS.map(|s| s.map(f64::ln)).to_vec(),
    };
    shape(set, starts)
}

fn with_q(set: &SeriesSet, warm: Option<&Law>) -> Option<Minimum<AnyLaw>> {
    let starts = match warm {
        Some(law) => vec![[law.alpha.ln(), law.gamma.ln(), law.q]],
        None => {
            let wide = |s: [f64; 2]| [0.02, 0.25].map(|q| [s[0].ln(), s[1].ln(), q]);
            STARTS.iter().flat_map(|s| wide(*s)).collect()
        }
    };
    shape(set, starts)
}

fn shape<const N: usize>(set: &SeriesSet, starts: Vec<[f64; N]>) -> Option<Minimum<AnyLaw>> {
    let tolerance = if starts.len() > 1 { COLD } else { WARM };
    let at = centre(set);
    let (ln_steps, ln_batch) = (at.ln_steps, at.ln_batch);
    let mut problem = Projected::<_, N>::new(&set.points, at, HUBER_NATS);
    let found = multistart(&mut problem, starts, &settings::<N>(tolerance))?;
    let [l_inf, a, c] = problem.linear_at(&found.p)?;
    let (alpha, gamma) = (found.p[0].exp(), found.p[1].exp());
    let q = found.p.get(2).copied().unwrap_or(0.0);
    let law = Law {
        l_inf,
        a: a * (alpha * (ln_steps + q * ln_batch)).exp(),
        alpha,
        c: c * (gamma * ln_batch).exp(),
        gamma,
        q,
    };
    let sound = [law.l_inf, law.a, law.alpha, law.c, law.gamma, law.q];
    let refusal = if a <= 0.0 || found.at_bound[0] {
        Some(Refusal::at_bound("alpha", "a longer stretch of the stable phase"))
    } else if c <= 0.0 {
        Some(Refusal::at_bound("c", "smaller batch sizes, trained until they flatten"))
    } else if found.at_bound[1] {
        Some(Refusal::at_bound("gamma", "a wider range of batch sizes"))
    } else if q >= MOST_Q * (1.0 - 1e-6) {
        Some(Refusal::at_bound("q", "a wider range of batch sizes"))
    } else {
        None
    };
    sound.iter().all(|x| x.is_finite()).then_some(Minimum { found: AnyLaw::Floor(law), refusal })
}
