//! The spread of an estimate: fixed-design resampling of whole-run residuals.
//!
//! Every batch size stays in every draw. A draw gives each run the whole residual curve of a run
//! picked at random, with a random sign, times a small-sample factor, and fits again. Residuals
//! resampled one by one as if independent would cover 40 % where 90 % is said; whole curves 68 to
//! 77 %; with the factor 90 to 93 % (a heuristic, calibrated on synthetic sweeps).

use super::anchor;
use super::data::SeriesSet;
use super::law::Law;
use super::level::Points;
use super::model::{AnyLaw, Curve, CurveModel, Draw, LossModel};
use super::report::{Interval, Open};
use super::window::rms;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

/// Nominal coverage of every interval.
pub const LEVEL: f64 = 0.9;
/// How much a cost may rise along a profile likelihood at that level: half of the quantile of chi
/// square with one degree of freedom.
pub(super) const LIKELY: f64 = 1.353;

/// 95 % quantile of Student's t with `df` degrees of freedom (Cornish-Fisher from the normal
/// quantile; exact values for the smallest).
pub(super) fn t_95(df: f64) -> f64 {
    const SMALL: [f64; 4] = [6.314, 2.920, 2.353, 2.132];
    if df < 1.0 {
        return SMALL[0];
    }
    if df < 5.0 {
        return SMALL[df as usize - 1];
    }
    let z: f64 = 1.644_854;
    let g1 = (z.powi(3) + z) / 4.0;
    let g2 = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let g3 = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + g1 / df + g2 / df.powi(2) + g3 / df.powi(3)
}

/// What the spread of n batch sizes is multiplied with: t with n - 1 degrees of freedom over the
/// normal quantile, and sqrt(n / (n - 2.5)).
pub(super) fn small_sample_factor(n: usize) -> f64 {
    let n = n.max(3) as f64;
    t_95(n - 1.0) / 1.644_854 * (n / (n - 2.5)).sqrt()
}

/// Part of the small-sample factor that forecasts need. It is there since all of a run's curve may be
/// off as one; the noise of the lines is not, and has many independent values in each curve. `misses`:
/// what the law misses what it was not fitted to by beyond that noise, nats.
pub(super) fn share_of_factor(sizes: usize, noise: f64, misses: f64) -> f64 {
    let factor = small_sample_factor(sizes);
    let (off, noise) = (3.0 * misses.powi(2), noise.powi(2));
    let part = off / (off + noise);
    if part.is_finite() { (1.0 + (factor.powi(2) - 1.0) * part).sqrt() / factor } else { 1.0 }
}

/// A resampled law at a share of its distance from the one that it was resampled from.
pub(super) fn nearer(law: &Law, centre: &Law, share: f64) -> Law {
    let linear = |x: f64, c: f64| c + share * (x - c);
    let ratio = |x: f64, c: f64| c * (x / c).powf(share);
    Law {
        l_inf: linear(law.l_inf, centre.l_inf),
        a: ratio(law.a, centre.a),
        alpha: ratio(law.alpha, centre.alpha),
        c: ratio(law.c, centre.c),
        gamma: ratio(law.gamma, centre.gamma),
        q: linear(law.q, centre.q),
    }
}

/// What sets the random numbers of beliefs apart from those of the residuals.
const BELIEFS: u64 = 1 << 40;

/// Resampled joint laws.
pub(super) fn law_draws(
    model: &dyn LossModel,
    law: &AnyLaw,
    set: &SeriesSet,
    count: usize,
    seed: u64,
) -> Vec<Law> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut beliefs = Pcg64::seed_from_u64(seed.wrapping_add(BELIEFS));
    let misses = rms(law, set);
    let fitted: Vec<f64> =
        set.points.iter().map(|p| law.loss(p.ln_steps.exp(), p.ln_batch.exp())).collect();
    let factor = small_sample_factor(set.sizes.len());
    let mut resampled = set.clone();
    let mut draws = Vec::with_capacity(count);
    for _ in 0..count {
        for run in &set.runs {
            let from = &set.runs[rng.random_range(0..set.runs.len())].range;
            let sign = if rng.random_bool(0.5) { factor } else { -factor };
            let n = run.range.len();
            for k in 0..n {
                // The other run's curve, stretched over this one.
                let j = from.start + k * from.len() / n;
                let i = run.range.start + k;
                let residual = set.points[j].loss - fitted[j];
                resampled.points[i].loss = fitted[i] + sign * residual;
            }
        }
        // By the factor too, so that [`nearer`] leaves what was believed as wide as it was.
        let z: f64 = StandardNormal.sample(&mut beliefs);
        let draw = Draw { belief: factor * z, misses };
        if let Some(AnyLaw::Floor(law)) = model.again(&resampled, law, draw).map(|m| m.found) {
            draws.push(law);
        }
    }
    draws
}

/// Resampled laws held to the points of a level, which are redrawn within their errors.
pub(super) fn anchored_draws<'a>(
    laws: impl Iterator<Item = &'a AnyLaw>,
    loss: f64,
    points: &Points,
    seed: u64,
) -> Vec<Curve> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let points = anchor::widened(points);
    let factor = t_95(points.reached().count() as f64 - 1.0) / 1.644_854;
    let mut redrawn = points.clone();
    let mut draws = Vec::new();
    for law in laws {
        for (to, from) in redrawn.iter_mut().zip(points.iter()).filter(|(p, _)| !p.censored) {
            let z: f64 = StandardNormal.sample(&mut rng);
            to.ln_steps = from.ln_steps + factor * from.se * z;
        }
        if let AnyLaw::Floor(law) = law
            && let Some(law) = anchor::move_to(law, loss, &redrawn)
        {
            draws.push(Curve::Law(law, loss));
        }
    }
    draws
}

/// Resampled curves of a one-level model.
pub(super) fn curve_draws(
    model: &dyn CurveModel,
    curve: &Curve,
    points: &Points,
    count: usize,
    seed: u64,
) -> Vec<Curve> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let fitted: Vec<Option<f64>> =
        points.iter().map(|p| curve.steps(p.batch_size).map(f64::ln)).collect();
    let standardised: Vec<f64> = points
        .iter()
        .zip(&fitted)
        .filter(|(p, _)| !p.censored)
        .filter_map(|(p, f)| f.map(|f| (p.ln_steps - f) / p.se))
        .collect();
    let n = standardised.len();
    if n == 0 {
        return Vec::new();
    }
    let free = n.saturating_sub(model.parameters()).max(1) as f64;
    let factor = t_95(n as f64 - 1.0) / 1.644_854;
    let scale = (n as f64 / free).sqrt();
    let mut resampled = points.clone();
    let mut draws = Vec::with_capacity(count);
    for _ in 0..count {
        for (i, f) in fitted.iter().enumerate() {
            let (Some(f), false) = (f, points[i].censored) else { continue };
            let picked = standardised[rng.random_range(0..n)].abs();
            // As many parameters as points leave no residuals: the crossings' own error remains.
            let z = (picked * scale).max(0.5) * factor;
            let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
            resampled[i].ln_steps = f + sign * z * points[i].se;
        }
        if let Some(m) = model.minimum(&resampled, Some(curve)) {
            draws.push(m.found);
        }
    }
    draws
}

/// Lower and upper quantile for [`LEVEL`], of values that may be infinite.
pub(super) fn quantiles(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.retain(|v| !v.is_nan());
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    Some([at((1.0 - LEVEL) / 2.0), at((1.0 + LEVEL) / 2.0)])
}

/// An interval from draws of a quantity, open where the draws are not finite.
pub(super) fn interval(value: Option<f64>, draws: Vec<f64>) -> Interval {
    let value = value.filter(|v| v.is_finite());
    let Some([low, high]) = quantiles(draws) else {
        return Interval { value, low: None, high: None, level: LEVEL, open: Open::Both };
    };
    let low = value.map_or(low, |v| low.min(v));
    let high = value.map_or(high, |v| high.max(v));
    let (low, high) =
        (Some(low).filter(|x| x.is_finite() && *x > 0.0), Some(high).filter(|x| x.is_finite()));
    Interval { value, low, high, level: LEVEL, open: open(low.is_none(), high.is_none()) }
}

/// 90 % of the draws of B_opt, and all of the curves that cannot be told from the best one; 0 where
/// a curve has no inner optimum.
pub(super) fn span(curve: &Curve, draws: &[Curve], others: &[Curve]) -> [f64; 2] {
    let b_opt = |c: &Curve| c.b_opt().unwrap_or(0.0);
    let own = b_opt(curve);
    let [low, high] = quantiles(draws.iter().map(b_opt).collect()).unwrap_or([own, own]);
    let others = || others.iter().map(b_opt);
    [others().fold(low.min(own), f64::min), others().fold(high.max(own), f64::max)]
}

/// An interval for a quantity of a curve; without draws only its value is known.
pub(super) fn of(curve: &Curve, draws: &[Curve], f: impl Fn(&Curve) -> Option<f64>) -> Interval {
    let value = f(curve);
    let spread: Vec<f64> = draws.iter().filter_map(&f).collect();
    if spread.is_empty() {
        return Interval { value, low: None, high: None, level: LEVEL, open: Open::Both };
    }
    interval(value, spread)
}

pub(super) fn open(low: bool, high: bool) -> Open {
    match (low, high) {
        (false, false) => Open::None,
        (true, false) => Open::Low,
        (false, true) => Open::High,
        (true, true) => Open::Both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_quantiles() {
        for (df, want) in [(1.0, 6.314), (4.0, 2.132), (7.0, 1.895), (11.0, 1.796), (100.0, 1.660)]
        {
            assert!((t_95(df) - want).abs() < 0.004, "{df} {}", t_95(df));
        }
        assert!(small_sample_factor(5) > small_sample_factor(12));
        assert!((small_sample_factor(1000) - 1.0).abs() < 0.01);
    }

    #[test]
    fn an_interval_is_open_where_the_draws_are() {
        let draws: Vec<f64> = (1..=100).map(f64::from).collect();
        let i = interval(Some(50.0), draws.clone());
        assert_eq!((i.low, i.high, i.open), (Some(6.0), Some(95.0), Open::None));
        let mut some = draws;
        some.extend([f64::INFINITY; 20]);
        assert_eq!(interval(Some(50.0), some).open, Open::High);
        assert_eq!(interval(None, vec![]).open, Open::Both);
    }
}
