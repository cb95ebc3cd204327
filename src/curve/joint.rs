//! The joint law (ours): `L(S, B) = L_inf + a (S B^q)^-alpha + c B^-gamma`, all levels at once.
//!
//! The last term is the floor that gradient noise puts under the loss at a constant learning rate.
//! At a level L*, with d = L* - L_inf and alpha' = alpha (1 - q), setting dE/dB = 0 in
//! `E(B) = B^(1-q) (a / (d - c B^-gamma))^(1/alpha)` gives
//! `B_opt = (c (alpha' + gamma) / (alpha' d))^(1/gamma)`; E is infinite at `B_min = (c/d)^(1/gamma)`.
//! It is linear in L_inf, a and c: those are projected out.
//!
//! q is scored by leaving a batch size out, which takes six. Where four or five were trained, to take
//! it as 0 would promise losses too early: the signal of a small batch is then charged to L_inf. So
//! there it is fitted together with what is believed of it, [`BELIEF`].

use super::believed::{self, Believed};
use super::data::{LawPoint, SeriesSet};
use super::law::Law;
use super::model::{AnyLaw, Draw, LossModel, Minimum, Refusal};
use super::projection::{Columns, Projected};
use super::report::ModelKind;
use super::solve::{COLD, Residuals, Settings, Solution, WARM, multistart};
use super::window::rms;

/// Residuals beyond this many nats count linearly.
pub(super) const HUBER_NATS: f64 = 0.01;
/// Bounds of an exponent; a fit that ends there has not found one.
pub(super) const EXPONENT: [f64; 2] = [0.02, 4.0];
const MOST_Q: f64 = 0.9;
/// q before the data are seen, mean and standard deviation: 0.11 and 0.18 on the two real sweeps of
/// enough sizes to tell, 0 in the plain law that is usual for language models.
pub const BELIEF: (f64, f64) = (0.1, 0.1);
/// Batch sizes from which on q can be scored, and is not believed but fitted.
pub const TOLD_FROM: usize = 6;
/// What a law misses a run by at the least, nats.
const LAW_NATS: f64 = 0.002;

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

/// Where the q of a joint law comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Q {
    /// The plain law.
    Zero,
    Fitted,
    /// Fitted together with [`BELIEF`].
    Believed,
}

/// The joint law.
#[derive(Debug)]
pub struct JointModel {
    pub q: Q,
}

impl LossModel for JointModel {
    fn kind(&self) -> ModelKind {
        ModelKind::Joint
    }

    fn name(&self) -> &'static str {
        match self.q {
            Q::Zero => "the joint law",
            Q::Fitted => "the joint law with q",
            Q::Believed => "the joint law with q believed",
        }
    }

    fn parameters(&self) -> usize {
        if self.q == Q::Zero { 5 } else { 6 }
    }

    fn sizes_needed(&self) -> usize {
        if self.q == Q::Fitted { 5 } else { 4 }
    }

    fn is_asked(&self, sizes: usize) -> bool {
        sizes >= self.sizes_needed() && (self.q == Q::Believed) == (sizes < TOLD_FROM)
    }

    fn minimum(&self, set: &SeriesSet, warm: Option<&AnyLaw>) -> Option<Minimum<AnyLaw>> {
        let near = match warm {
            Some(AnyLaw::Floor(law)) => Some(law),
            _ => None,
        };
        match self.q {
            Q::Zero => plain(set, near),
            Q::Fitted => shape(set, with_q(near), None),
            Q::Believed => {
                let first = shape(set, with_q(near), Some((BELIEF, LAW_NATS)))?;
                let AnyLaw::Floor(law) = first.found else { return None };
                shape(set, with_q(Some(&law)), Some((BELIEF, rms(&first.found, set))))
            }
        }
    }

    fn again(&self, set: &SeriesSet, law: &AnyLaw, draw: Draw) -> Option<Minimum<AnyLaw>> {
        match law {
            AnyLaw::Floor(near) if self.q == Q::Believed => {
                let (mean, sd) = BELIEF;
                let moved = (mean + draw.belief * sd, sd);
                shape(set, with_q(Some(near)), Some((moved, draw.misses)))
            }
            _ => self.minimum(set, Some(law)),
        }
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

fn plain(set: &SeriesSet, near: Option<&Law>) -> Option<Minimum<AnyLaw>> {
    let starts = match near {
        Some(law) => vec![[law.alpha.ln(), law.gamma.ln()]],
        None => STARTS.map(|s| s.map(f64::ln)).to_vec(),
    };
    shape(set, starts, None)
}

fn with_q(near: Option<&Law>) -> Vec<[f64; 3]> {
    match near {
        Some(law) => vec![[law.alpha.ln(), law.gamma.ln(), law.q]],
        None => {
            let wide = |s: [f64; 2]| [0.02, 0.25].map(|q| [s[0].ln(), s[1].ln(), q]);
            STARTS.iter().flat_map(|s| wide(*s)).collect()
        }
    }
}

/// The least cost from `starts`; with a belief in q (mean, standard deviation) where one is given,
/// beside a law that misses the runs by so many nats.
fn shape<const N: usize>(
    set: &SeriesSet,
    starts: Vec<[f64; N]>,
    belief: Option<((f64, f64), f64)>,
) -> Option<Minimum<AnyLaw>> {
    let tolerance = if starts.len() > 1 { COLD } else { WARM };
    let settings = settings::<N>(tolerance);
    let data = Projected::<_, N>::new(&set.points, centre(set), HUBER_NATS);
    let (found, linear) = match belief {
        None => searched(data, starts, &settings, |p, at| p.linear_at(at)),
        Some((q, misses)) => {
            let points = set.points.len();
            let nats = believed::weighs(misses.max(LAW_NATS), points, set.runs.len());
            let beliefs = std::array::from_fn(|k| if k == 2 { q } else { (0.0, f64::INFINITY) });
            let both = Believed::new(data, points, beliefs, nats);
            searched(both, starts, &settings, |p, at| p.data.linear_at(at))
        }
    }?;
    read(set, &found, linear)
}

fn searched<P: Residuals<N>, const N: usize>(
    mut problem: P,
    starts: Vec<[f64; N]>,
    settings: &Settings<N>,
    linear: impl Fn(&mut P, &[f64; N]) -> Option<[f64; 3]>,
) -> Option<(Solution<N>, [f64; 3])> {
    let found = multistart(&mut problem, starts, settings)?;
    let linear = linear(&mut problem, &found.p)?;
    Some((found, linear))
}

/// The law of a shape, and why it is not held.
fn read<const N: usize>(
    set: &SeriesSet,
    found: &Solution<N>,
    [l_inf, a, c]: [f64; 3],
) -> Option<Minimum<AnyLaw>> {
    let Floor { ln_steps, ln_batch } = centre(set);
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
