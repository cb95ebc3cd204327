//! The law with memory along schedules, fitted at once.
//!
//! `L = L_inf + a (sum_i B_i^q dS_i)^-alpha + c sum_i B_i^-gamma [F(age of i's end) - F(age of i's start)]`
//! with `F(x) = (1 + x/tau)^-p` (see [`crate::curve::Law::loss_along`]). Given alpha, gamma, q, tau and
//! p it is linear in L_inf, a and c: those are projected out. All at once the data of few branches
//! leave directions open (a faster memory of less noise looks alike for a while), so each of the five
//! has a wide prior: what is usual for language models, and next to nothing of tau.

use super::set::{AlongSet, LAW_NATS};
use crate::curve::believed::{self, Believed};
use crate::curve::data::LawPoint;
use crate::curve::joint::{EXPONENT, HUBER_NATS};
use crate::curve::law::{Law, Memory, MemorySource};
use crate::curve::projection::{Columns, Projected};
use crate::curve::solve::{COLD, Settings, WARM, multistart};

/// ln alpha, ln gamma, q, ln tau (over the steps of the set's unit), ln p.
pub(super) const N: usize = 5;
/// A normal prior of each, (mean, standard deviation). Exponents of published scaling laws and of the
/// sweeps that the law was made on lie between 0.3 and 0.9; tau from a thousandth of the steps to as
/// many; p as in the memory that is assumed where none was measured.
pub(super) const PRIOR: [(f64, f64); N] =
    [(-0.69, 0.5), (-0.80, 0.5), (0.0, 0.15), (-3.5, 2.3), (-0.92, 0.7)];
const MOST_Q: f64 = 0.9;

/// A law with its memory, and where the fit ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub theta: [f64; N],
    pub law: Law,
    pub memory: Memory,
    /// Rms of the fit, nats.
    pub rms_nats: f64,
    /// Huber cost, nats squared.
    pub cost: f64,
}

impl Found {
    pub fn loss(&self, past: &[crate::curve::Stretch]) -> f64 {
        self.law.loss_along(past, &self.memory)
    }
}

/// A stretch of a past: ln B and steps over the unit's, and the ages of its end and its start.
struct Piece {
    ln_batch: f64,
    steps: f64,
    young: f64,
    /// The first one carries all older weight.
    old: Option<f64>,
}

/// Columns of the law along the pasts of a set; the memory is free or given.
struct Along<'a> {
    pasts: &'a [Vec<Piece>],
    memory: Option<Memory>,
    unit: Unit,
}

/// What steps and batch sizes are counted in, so that the columns stay near 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    steps: f64,
    batch: f64,
}

/// Weight of what is older than `x`, and its derivatives by ln tau and ln p.
fn remembered(x: f64, tau: f64, p: f64) -> [f64; 3] {
    if tau <= 0.0 {
        return [f64::from(u8::from(x <= 0.0)), 0.0, 0.0];
    }
    let log = (x / tau).ln_1p();
    let f = (-p * log).exp();
    [f, f * p * x / (tau + x), -f * p * log]
}

impl<const M: usize> Columns<M> for Along<'_> {
    fn at(
        &self,
        i: usize,
        _: &LawPoint,
        theta: &[f64; M],
        [alpha, gamma]: [f64; 2],
    ) -> ([f64; 2], [[f64; M]; 2]) {
        let q = theta.get(2).copied().unwrap_or(0.0);
        let (tau, p) = match (self.memory, theta.get(3), theta.get(4)) {
            (None, Some(tau), Some(p)) => (tau.exp(), p.exp()),
            (memory, ..) => {
                let m = memory.unwrap_or(Memory::INSTANT);
                (m.tau_steps / self.unit.steps, m.p)
            }
        };
        let (mut progress, mut by_q, mut noise, mut by_gamma) = (0.0, 0.0, 0.0, 0.0);
        let mut by_memory = [0.0; 2];
        for piece in &self.pasts[i] {
            let made = piece.steps * (q * piece.ln_batch).exp();
            progress += made;
            by_q += made * piece.ln_batch;
            let floor = (-gamma * piece.ln_batch).exp();
            let young = remembered(piece.young, tau, p);
            let old = piece.old.map_or([0.0; 3], |x| remembered(x, tau, p));
            noise += floor * (young[0] - old[0]);
            by_gamma -= gamma * piece.ln_batch * floor * (young[0] - old[0]);
            for k in 0..2 {
                by_memory[k] += floor * (young[k + 1] - old[k + 1]);
            }
        }
        let s = progress.ln();
        let x = (-alpha * s).exp();
        let (mut dx, mut dy) = ([0.0; M], [0.0; M]);
        let d = [-alpha * s * x, 0.0, -alpha * x * by_q / progress];
        dx.iter_mut().zip(d).for_each(|(to, d)| *to = d);
        let free = if self.memory.is_none() { by_memory } else { [0.0; 2] };
        let d = [0.0, by_gamma, 0.0, free[0], free[1]];
        dy.iter_mut().zip(d).for_each(|(to, d)| *to = d);
        ([x, noise], [dx, dy])
    }
}

/// A set made ready to be fitted.
pub(super) struct Problem<'a> {
    set: &'a AlongSet,
    pasts: Vec<Vec<Piece>>,
    unit: Unit,
}

impl<'a> Problem<'a> {
    /// `None` where there is nothing to fit.
    pub fn new(set: &'a AlongSet) -> Option<Problem<'a>> {
        let n = set.points.len() as f64;
        let steps = set.points.iter().map(|p| p.ln_steps).fold(f64::NEG_INFINITY, f64::max).exp();
        let batch = (set.points.iter().map(|p| p.ln_batch).sum::<f64>() / n).exp();
        let unit = Unit { steps, batch };
        let sound = steps.is_finite() && steps > 0.0 && batch.is_finite() && batch > 0.0;
        let pasts = set.pasts.iter().map(|past| pieces(past, unit)).collect();
        sound.then_some(Problem { set, pasts, unit })
    }

    /// The likeliest law and memory, from everywhere or from the neighbourhood of `near`.
    pub fn fit(&self, near: Option<&[f64; N]>) -> Option<Found> {
        let first = self.minimum(near, &PRIOR, LAW_NATS)?;
        self.minimum(Some(&first.theta), &PRIOR, first.rms_nats.max(LAW_NATS))
    }

    /// The same for other losses at the same points, under other priors, from the neighbourhood of
    /// what was found.
    pub fn again(&self, found: &Found, losses: &[f64], prior: &[(f64, f64); N]) -> Option<Found> {
        let mut points = self.set.points.clone();
        points.iter_mut().zip(losses).for_each(|(p, l)| p.loss = *l);
        let nats = self.nats(found.rms_nats.max(LAW_NATS));
        self.solve(&points, [found.theta], (prior, nats), WARM)
    }

    /// The least cost with a memory that is given.
    pub fn under(&self, memory: Memory, found: &Found) -> Option<Found> {
        let [a, g, q, ..] = found.theta;
        let nats = self.nats(found.rms_nats.max(LAW_NATS));
        let columns = Along { pasts: &self.pasts, memory: Some(memory), unit: self.unit };
        let starts = [[a, g, q], [PRIOR[0].0, PRIOR[1].0, 0.05]];
        let (p, linear, cost) =
            self.search::<3>(&self.set.points, columns, starts, (&PRIOR, nats), COLD)?;
        let theta = [p[0], p[1], p[2], 0.0, 0.0];
        self.found(theta, linear, memory, cost)
    }

    fn nats(&self, rms: f64) -> f64 {
        believed::weighs(rms, self.set.points.len(), self.set.parts.len())
    }

    fn minimum(&self, near: Option<&[f64; N]>, prior: &[(f64, f64); N], rms: f64) -> Option<Found> {
        let weighed = (prior, self.nats(rms));
        if let Some(theta) = near {
            return self.solve(&self.set.points, [*theta], weighed, COLD);
        }
        let starts = [(-6.0, 0.0), (-3.5, 0.0), (-1.0, 0.0), (-3.5, 0.6)]
            .map(|(tau, g)| [PRIOR[0].0, PRIOR[1].0 + g, 0.05, tau, PRIOR[4].0]);
        self.solve(&self.set.points, starts, weighed, COLD)
    }

    fn solve(
        &self,
        points: &[LawPoint],
        starts: impl IntoIterator<Item = [f64; N]>,
        weighed: (&[(f64, f64); N], f64),
        tolerance: f64,
    ) -> Option<Found> {
        let columns = Along { pasts: &self.pasts, memory: None, unit: self.unit };
        let (theta, linear, cost) =
            self.search::<N>(points, columns, starts, weighed, tolerance)?;
        let (tau_steps, p) = (theta[3].exp() * self.unit.steps, theta[4].exp());
        let memory = Memory { tau_steps, p, source: MemorySource::Measured };
        self.found(theta, linear, memory, cost)
    }

    fn search<const M: usize>(
        &self,
        points: &[LawPoint],
        columns: Along<'_>,
        starts: impl IntoIterator<Item = [f64; M]>,
        (prior, nats): (&[(f64, f64); N], f64),
        tolerance: f64,
    ) -> Option<([f64; M], [f64; 3], f64)> {
        let lower = [EXPONENT[0].ln(), EXPONENT[0].ln(), 0.0, -14.0, 0.05f64.ln()];
        let upper = [EXPONENT[1].ln(), EXPONENT[1].ln(), MOST_Q, 7.0, 8f64.ln()];
        let settings = Settings {
            lower: std::array::from_fn(|k| lower[k]),
            upper: std::array::from_fn(|k| upper[k]),
            huber: HUBER_NATS,
            max_iterations: 80,
            tolerance,
        };
        let data = Projected::new(points, columns, HUBER_NATS);
        let mut problem =
            Believed::new(data, points.len(), std::array::from_fn(|k| prior[k]), nats);
        let found = multistart(&mut problem, starts, &settings)?;
        let linear = problem.data.linear_at(&found.p)?;
        Some((found.p, linear, found.cost))
    }

    fn found(
        &self,
        theta: [f64; N],
        [l_inf, a, c]: [f64; 3],
        memory: Memory,
        cost: f64,
    ) -> Option<Found> {
        let (alpha, gamma, q) = (theta[0].exp(), theta[1].exp(), theta[2]);
        let Unit { steps, batch } = self.unit;
        let law = Law {
            l_inf,
            a: a * (steps * batch.powf(q)).powf(alpha),
            alpha,
            c: c * batch.powf(gamma),
            gamma,
            q,
        };
        let all = [law.l_inf, law.a, law.c, memory.tau_steps, memory.p, cost];
        let mut found = Found { theta, law, memory, rms_nats: 0.0, cost };
        found.rms_nats = rms(&found, self.set, 0..self.set.points.len());
        (all.iter().all(|x| x.is_finite()) && found.rms_nats.is_finite()).then_some(found)
    }
}

fn pieces(past: &[crate::curve::Stretch], unit: Unit) -> Vec<Piece> {
    let mut age = 0.0;
    let mut out: Vec<Piece> = Vec::with_capacity(past.len());
    for (i, s) in past.iter().enumerate().rev() {
        let steps = s.steps / unit.steps;
        let young = age;
        age += steps;
        let old = (i > 0).then_some(age);
        out.push(Piece { ln_batch: (s.batch_size / unit.batch).ln(), steps, young, old });
    }
    out
}

/// Weighted rms of what a law misses some points by, nats.
pub(super) fn rms(found: &Found, set: &AlongSet, of: impl IntoIterator<Item = usize>) -> f64 {
    let (mut sum, mut weight) = (0.0, 0.0);
    for i in of {
        let p = &set.points[i];
        sum += p.weight * (found.loss(&set.pasts[i]) - p.loss).powi(2);
        weight += p.weight;
    }
    (sum / weight.max(f64::MIN_POSITIVE)).sqrt()
}
