//! A projected law whose shape parameters have beliefs beside the data.

use super::projection::{Columns, Projected};
use super::solve::Residuals;

/// Of the bins of a run so many have a misfit of their own.
const INDEPENDENT: f64 = 4.0;
/// Nats that a standard deviation of a belief is written with: so few that it stays square, whatever
/// residuals of the data count linearly.
const SMALL: f64 = 1e-5;

/// The residuals of the data and of the beliefs, in nats.
pub(super) struct Believed<'a, C, const M: usize> {
    pub data: Projected<'a, C, M>,
    points: usize,
    /// (mean, standard deviation) of each parameter before the data are seen; infinitely wide where
    /// nothing is believed.
    beliefs: [(f64, f64); M],
    /// Nats that a standard deviation weighs.
    nats: f64,
}

impl<'a, C, const M: usize> Believed<'a, C, M> {
    pub fn new(
        data: Projected<'a, C, M>,
        points: usize,
        beliefs: [(f64, f64); M],
        nats: f64,
    ) -> Self {
        Believed { data, points, beliefs, nats }
    }
}

/// What a standard deviation of a belief weighs beside `points` bins of `runs` that a law misses by
/// `rms` nats.
pub(super) fn weighs(rms: f64, points: usize, runs: usize) -> f64 {
    let independent = INDEPENDENT * runs as f64;
    rms * (points as f64 / independent.max(1.0)).sqrt().max(1.0)
}

impl<C: Columns<M>, const M: usize> Residuals<M> for Believed<'_, C, M> {
    fn count(&self) -> usize {
        self.points + M
    }

    fn weight(&self, i: usize) -> f64 {
        if i < self.points { self.data.weight(i) } else { (self.nats / SMALL).powi(2) }
    }

    fn evaluate(&mut self, theta: &[f64; M], r: &mut [f64], j: &mut [[f64; M]]) -> bool {
        let n = self.points;
        if !self.data.evaluate(theta, &mut r[..n], &mut j[..n]) {
            return false;
        }
        for (k, (mean, sd)) in self.beliefs.into_iter().enumerate() {
            r[n + k] = SMALL * (theta[k] - mean) / sd;
            j[n + k] = [0.0; M];
            j[n + k][k] = SMALL / sd;
        }
        true
    }
}
