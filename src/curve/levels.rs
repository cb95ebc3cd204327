//! Loss levels worth looking at, and what each run observed there.

use super::{ConstantSeries, Group, Observation, threads};
use crate::run::{Crossing, Falling, Point};

/// Steps between levels that a person reads easily, nats.
const STEPS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// The falling curves of the runs that are fitted, once for all levels.
#[derive(Debug)]
pub(super) struct Curves<'a>(Vec<(&'a ConstantSeries, Falling)>);

impl<'a> Curves<'a> {
    pub fn of(group: &'a Group) -> Curves<'a> {
        let fitted = group.constant.iter().filter(|s| !s.drifts_upward && s.bins.len() >= 2);
        let fitted: Vec<&ConstantSeries> = fitted.collect();
        Curves(threads::map(&fitted, |_, s| (*s, falling(s))))
    }

    /// `wander`: how far a run wanders about its course, nats.
    pub fn observe(&self, loss: f64, wander: f64) -> Vec<Observation> {
        self.0.iter().filter_map(|(s, curve)| observation(s, curve, loss, wander)).collect()
    }

    /// Where another loss of the same runs stood when they crossed this one: the median over the
    /// runs.
    pub fn beside(&self, other: &Curves<'_>, loss: f64) -> Option<f64> {
        let stood = self.0.iter().filter_map(|(s, curve)| {
            let Crossing::At { x, .. } = curve.crossing(loss) else { return None };
            let (theirs, there) = other.0.iter().find(|(t, _)| t.run == s.run)?;
            let (first, last) = (theirs.bins.first()?.tokens, theirs.bins.last()?.tokens);
            (first.ln()..=last.ln()).contains(&x).then(|| there.at(x))
        });
        let mut stood: Vec<f64> = stood.collect();
        stood.sort_by(f64::total_cmp);
        let n = stood.len();
        (n > 0).then(|| 0.5 * (stood[n / 2] + stood[(n - 1) / 2]))
    }

    pub fn levels(&self, count: usize) -> Vec<f64> {
        // Per batch size: where its runs begin, and the lowest that one of them came to.
        let mut sizes: Vec<(f64, f64, f64)> = Vec::new();
        for (s, curve) in &self.0 {
            let Some((high, low)) = curve.range() else { continue };
            match sizes.iter_mut().find(|x| (x.0 / s.batch_size - 1.0).abs() < 1e-3) {
                Some(x) => (x.1, x.2) = (x.1.max(high), x.2.min(low)),
                None => sizes.push((s.batch_size, high, low)),
            }
        }
        if sizes.is_empty() || count == 0 {
            return Vec::new();
        }
        let mut highs: Vec<f64> = sizes.iter().map(|s| s.1).collect();
        let mut lows: Vec<f64> = sizes.iter().map(|s| s.2).collect();
        highs.sort_by(|a, b| b.total_cmp(a));
        lows.sort_by(f64::total_cmp);
        let most = (highs.len() * 3).div_ceil(4) - 1;
        let (Some(high), Some(low)) = (highs.get(most), lows.get(1).or(lows.first())) else {
            return Vec::new();
        };
        spaced(*high, *low, count, |loss| self.fastest(loss))
    }

    /// Least ln tokens of a crossing.
    fn fastest(&self, loss: f64) -> Option<f64> {
        let least = |best: f64, (_, curve): &(&ConstantSeries, Falling)| {
            curve.crossing_before(loss, best).unwrap_or(best)
        };
        let x = self.0.iter().fold(f64::INFINITY, least);
        x.is_finite().then_some(x)
    }
}

/// Losses from `high` down to `low`, evenly spaced in the ln tokens that the `fastest` one needs
/// to them (a loss curve is steep early and flat late: even spacing in the loss would leave
/// nothing near today's), at numbers that a person reads easily.
pub(super) fn spaced(
    high: f64,
    low: f64,
    count: usize,
    fastest: impl Fn(f64) -> Option<f64> + Sync,
) -> Vec<f64> {
    const FINE: usize = 400;
    let all: Vec<f64> = (0..=FINE).map(|i| high + (low - high) * i as f64 / FINE as f64).collect();
    let fine = threads::map(&all, |_, &loss| Some((loss, fastest(loss)?)));
    let fine: Vec<(f64, f64)> = fine.into_iter().flatten().collect();
    let (Some(first), Some(last)) = (fine.first(), fine.last()) else { return Vec::new() };
    let gap = (last.1 - first.1) / count.saturating_sub(1).max(1) as f64;
    let wanted: Vec<f64> = (0..count)
        .filter_map(|k| fine.iter().find(|f| f.1 >= first.1 + gap * k as f64 - 1e-12))
        .map(|f| f.0)
        .collect();
    let mut out: Vec<f64> = Vec::new();
    for (i, loss) in wanted.iter().enumerate() {
        let near = |j: Option<usize>| j.and_then(|j| wanted.get(j)).map(|o| (o - loss).abs());
        let room = [near(i.checked_sub(1)), near(Some(i + 1))].into_iter().flatten();
        let room = room.fold(f64::INFINITY, f64::min);
        let step = STEPS.into_iter().rev().find(|s| *s <= room / 2.0).unwrap_or(STEPS[0]);
        if let Some(round) = readable(*loss, step, high, low)
            && out.last().is_none_or(|o| round < *o)
        {
            out.push(round);
        }
    }
    out
}

fn falling(series: &ConstantSeries) -> Falling {
    let points: Vec<Point> =
        series.bins.iter().map(|b| Point { x: b.tokens.ln(), loss: b.loss, se: b.se }).collect();
    Falling::new(&points)
}

/// Loss levels from the highest useful one down to the lowest that two batch sizes reached (one,
/// where there is but one), at round steps, at most `count`.
///
/// The highest is the one at which three of four runs can be watched crossing within their stable
/// phase.
pub fn levels(group: &Group, count: usize) -> Vec<f64> {
    Curves::of(group).levels(count)
}

/// The multiple of `step` nearest to `loss` within `low` to `high`.
fn readable(loss: f64, step: f64, high: f64, low: f64) -> Option<f64> {
    let (top, bottom) = ((high / step - 1e-9).floor(), (low / step + 1e-9).ceil());
    // 231 x 0.01 is not 2.31 in binary; what a person types is.
    let per_nat = (1.0 / step).round();
    (top >= bottom).then(|| (loss / step).round().clamp(bottom, top) / per_nat)
}

/// What every run at constant batch size observed at a level: the tokens at which its isotonic
/// loss came down to it, or how far it got without. Runs that drift upward are left out; so are
/// runs that were below the level when their stable phase began.
pub fn observe(group: &Group, loss: f64) -> Vec<Observation> {
    Curves::of(group).observe(loss, 0.0)
}

/// Half the width over which the slope at a crossing is taken, in ln tokens.
const SLOPE: f64 = 0.15;

fn observation(s: &ConstantSeries, curve: &Falling, loss: f64, wander: f64) -> Option<Observation> {
    let (x, se_ln, censored) = match curve.crossing(loss) {
        Crossing::At { x, se } => {
            let slope = (curve.at(x - SLOPE) - curve.at(x + SLOPE)) / (2.0 * SLOPE);
            let wandered = if wander > 0.0 { wander / slope.max(1e-9) } else { 0.0 };
            let se = se.hypot(wandered.min(1.0));
            // It was there before the run ended: no error leads far beyond that.
            let left = (s.to_tokens.ln() - x) / 2.2;
            (x, if wander > 0.0 { se.min(left.max(0.15)) } else { se }, false)
        }
        Crossing::Never => (s.to_tokens.ln(), 0.0, true),
        Crossing::Before => return None,
    };
    let tokens = x.exp();
    Some(Observation {
        run: s.run.clone(),
        batch_size: s.batch_size,
        steps: tokens / s.batch_size,
        tokens,
        se_ln,
        censored,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Bin, GroupOptions, group_runs};
    use super::*;
    use crate::run::fixture;
    use proptest::prelude::*;

    fn real(sweep: &str) -> Group {
        let mut groups = group_runs(&fixture::sweep(sweep), &GroupOptions::default());
        assert_eq!(groups.len(), 1);
        groups.remove(0)
    }

    /// Million tokens of the crossing of the run that has this name; `None` where censored.
    fn crossing(group: &Group, loss: f64, run: &str) -> (Option<f64>, f64) {
        let all = observe(group, loss);
        let o = all.iter().find(|o| o.run == run).unwrap();
        ((!o.censored).then_some(o.tokens / 1e6), o.se_ln)
    }

    /// The crossings that a prototype found (smoothed over 6 % of tokens, first time at or below
    /// the level) on the nine constant runs. Small batches at their floor wander: there the first
    /// dip comes earlier than an isotonic curve, and the standard error says so.
    #[test]
    fn crossings_of_the_real_sweep_agree_with_the_prototype() {
        let x = f64::NAN;
        let sizes = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
        let table = [
            (2.7, [0.19, 0.11, 0.12, 0.15, 0.20, 0.32, 0.51, 0.86, 1.44]),
            (2.5, [x, 0.64, 0.26, 0.35, 0.44, 0.63, 0.97, 1.51, 2.44]),
            (2.4, [x, x, 0.76, 0.60, 0.67, 0.99, 1.45, 2.26, 3.44]),
            (2.3, [x, x, x, 1.71, 1.28, 1.83, 2.38, 3.47, 5.42]),
            (2.2, [x, x, x, x, 4.60, 3.57, 4.80, 6.74, 10.03]),
            // 512 ends at 2.1002: the prototype's 56.8 was a dip at the very end.
            (2.1, [x, x, x, x, x, x, 19.0, 24.9, 34.7]),
        ];
        let group = real("mlp_sweep");
        let (mut near, mut n) = (0, 0);
        for (loss, row) in table {
            for (size, want) in sizes.iter().zip(row) {
                let run = format!("b{size:04}_lr2e-3_s1");
                let (got, se) = crossing(&group, loss, &run);
                assert_eq!(got.is_none(), want.is_nan(), "{size} at {loss}: {got:?}");
                let Some(got) = got else { continue };
                let off = (got / want).ln().abs();
                assert!(
                    off < 0.08_f64.max(2.5 * se),
                    "{size} at {loss}: {got} for {want}, se {se}"
                );
                n += 1;
                near += usize::from(off < 0.08);
            }
        }
        assert!(near * 10 >= n * 8, "{near} of {n} within 8 %");
    }

    #[test]
    fn crossings_of_the_second_sweep() {
        let group = real("mlp2_sweep");
        for (size, loss, want) in [
            (512, 2.0, 5.66),
            (1024, 2.0, 6.08),
            (2048, 2.0, 8.46),
            (512, 1.95, 12.3),
            (1024, 1.95, 9.83),
            (2048, 1.95, 12.9),
            (1024, 1.9, 19.6),
            (2048, 1.9, 22.8),
            (1024, 1.88, 29.8),
            (2048, 1.88, 29.8),
            (1024, 1.86, 49.7),
            (2048, 1.86, 41.5),
        ] {
            let (got, se) = crossing(&group, loss, &format!("b{size:04}_lr2e-3_s21"));
            let off = (got.unwrap() / want).ln().abs();
            assert!(off < 0.08, "{size} at {loss}: {got:?} for {want}, se {se}");
        }
        assert_eq!(crossing(&group, 1.9, "b0512_lr2e-3_s21").0, None);
        // What drifts is not observed at all.
        assert!(observe(&group, 2.3).iter().all(|o| o.batch_size >= 512.0));
    }

    #[test]
    fn levels_are_round_and_few_and_reached() {
        let group = real("mlp_sweep");
        let few = levels(&group, 12);
        assert!((8..=12).contains(&few.len()), "{few:?}");
        assert!(few.windows(2).all(|w| w[0] > w[1]), "{few:?}");
        // Two decimals at most, early and late levels as far apart in ln tokens.
        assert!(few.iter().all(|l| (l * 100.0 - (l * 100.0).round()).abs() < 1e-9), "{few:?}");
        assert!(few[0] - few[1] > 2.0 * (few[few.len() - 2] - few[few.len() - 1]), "{few:?}");
        let many = levels(&group, 32);
        assert!(many.len() > few.len() && many.len() <= 32, "{many:?}");
        for l in many {
            let reached = observe(&group, l).iter().filter(|o| !o.censored).count();
            assert!(reached >= 2, "{l}");
        }
        assert!(levels(&group, 0).is_empty());
    }

    fn series(run: &str, batch_size: f64, unit: f64, losses: &[f64]) -> ConstantSeries {
        let bins: Vec<Bin> = losses
            .iter()
            .enumerate()
            .map(|(i, l)| {
                let steps = 100.0 * 1.2f64.powi(i as i32);
                Bin { steps, tokens: steps * batch_size * unit, loss: *l, se: 0.003 }
            })
            .collect();
        let to_tokens = bins.last().map_or(0.0, |b| b.tokens);
        ConstantSeries {
            run: run.into(),
            batch_size: batch_size * unit,
            bins,
            stable_from_steps: 100.0,
            stable_from_tokens: 100.0 * batch_size * unit,
            to_tokens,
            drifts_upward: false,
        }
    }

    fn group_of(constant: Vec<ConstantSeries>) -> Group {
        Group {
            id: String::new(),
            lr: None,
            on: crate::curve::LossKind::Train,
            members: Vec::new(),
            constant,
            switched: Vec::new(),
            decayed: Vec::new(),
            other: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn tokens_may_be_counted_in_any_unit(
            losses in prop::collection::vec(1.0f64..4.0, 2..40),
            level in 1.0f64..4.0,
            unit in 1e-3f64..1e6,
        ) {
            let mut sorted = losses;
            sorted.sort_by(|a, b| b.total_cmp(a));
            let one = observe(&group_of(vec![series("a", 64.0, 1.0, &sorted)]), level);
            let other = observe(&group_of(vec![series("a", 64.0, unit, &sorted)]), level);
            prop_assert_eq!(one.len(), other.len());
            for (a, b) in one.iter().zip(&other) {
                prop_assert_eq!(a.censored, b.censored);
                prop_assert!((b.tokens / a.tokens / unit - 1.0).abs() < 1e-6);
                prop_assert!((b.steps / a.steps - 1.0).abs() < 1e-6);
                prop_assert!((a.se_ln - b.se_ln).abs() < 1e-6);
            }
        }

        #[test]
        fn a_lower_level_takes_no_fewer_tokens(
            losses in prop::collection::vec(1.0f64..4.0, 2..40),
            a in 1.0f64..4.0,
            b in 1.0f64..4.0,
        ) {
            let group = group_of(vec![series("a", 64.0, 1.0, &losses)]);
            let at = |l: f64| observe(&group, l).first().filter(|o| !o.censored).map(|o| o.tokens);
            if let (Some(high), Some(low)) = (at(a.max(b)), at(a.min(b))) {
                prop_assert!(high <= low * (1.0 + 1e-9), "{} {}", high, low);
            }
        }
    }
}
