//! The spread of a law fitted along batch changes: the misfit of whole parts redrawn, as for laws of
//! constant runs (see [`crate::curve::uncertainty`]), and the priors with it (randomize-then-optimize;
//! Bardsley et al. 2014), so that what the data leave open is open in the draws.

use super::model::{Found, N, PRIOR, Problem};
use super::set::AlongSet;
use crate::curve::threads;
use crate::curve::uncertainty::small_sample_factor;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

/// `count` laws that might as well have been found.
pub(super) fn draws(
    problem: &Problem<'_>,
    set: &AlongSet,
    found: &Found,
    count: usize,
    seed: u64,
) -> Vec<Found> {
    let fitted: Vec<f64> = set.pasts.iter().map(|p| found.loss(p)).collect();
    let factor = small_sample_factor(set.sizes.len());
    let one = |i: usize, _: &()| {
        let mut rng = Pcg64::seed_from_u64(seed.wrapping_add(i as u64));
        let mut losses = fitted.clone();
        for part in &set.parts {
            let from = &set.parts[rng.random_range(0..set.parts.len())].range;
            let sign = if rng.random_bool(0.5) { factor } else { -factor };
            let n = part.range.len();
            for k in 0..n {
                // The other part's curve, stretched over this one.
                let j = from.start + k * from.len() / n;
                losses[part.range.start + k] += sign * (set.points[j].loss - fitted[j]);
            }
        }
        let prior: [(f64, f64); N] = PRIOR.map(|(mean, sd)| {
            let z: f64 = StandardNormal.sample(&mut rng);
            (mean + sd * z, sd)
        });
        problem.again(found, &losses, &prior)
    };
    threads::map(&vec![(); count], one).into_iter().flatten().collect()
}
