//! Series before they are drawn: thinned to the columns there are, and smoothed.

use super::axes::Axis;
use crate::snapshot::PlotPoint;

/// How far a smoothing window reaches on both sides, as a ratio of tokens; 1 is none.
const SMOOTHING: [f64; 6] = [1.0, 1.02, 1.06, 1.12, 1.25, 1.5];
/// The one that is used where nobody asked for another.
const USUAL: i8 = 2;
/// Points on each side that a window has at least.
const LEAST: usize = 3;

/// The column of a value, if the axis has it.
fn column(axis: &Axis, x: f64, columns: usize) -> Option<usize> {
    let at = axis.place(x);
    // What lies on the right edge belongs to the last column.
    (0.0..=1.0).contains(&at).then(|| ((at * columns as f64) as usize).min(columns - 1))
}

/// Lowest and highest of what falls into each of `columns` columns: (column, low, high), ascending.
/// What is not finite is left out.
pub(crate) fn extremes(points: &[[f64; 3]], axis: &Axis, columns: usize) -> Vec<(usize, f64, f64)> {
    let mut out: Vec<Option<(f64, f64)>> = vec![None; columns];
    for [x, low, high] in points {
        let known = low.is_finite() && high.is_finite();
        if let Some(slot) = column(axis, *x, columns).filter(|_| known).and_then(|i| out.get_mut(i))
        {
            let (l, h) = slot.unwrap_or((*low, *high));
            *slot = Some((l.min(*low), h.max(*high)));
        }
    }
    out.into_iter().enumerate().filter_map(|(i, r)| r.map(|(l, h)| (i, l, h))).collect()
}

/// A line of at most two points a column, the lowest and the highest in the order in which they
/// came: no spike is lost. Points beyond the axis stay as they are; a point that is not finite
/// breaks the line and stays.
pub(crate) fn thin(points: &[[f64; 2]], axis: &Axis, columns: usize) -> Vec<[f64; 2]> {
    if columns == 0 || points.len() <= 2 * columns {
        return points.to_vec();
    }
    let mut out: Vec<[f64; 2]> = Vec::with_capacity(2 * columns);
    let mut here: Option<(usize, [usize; 2])> = None;
    let close = |here: Option<(usize, [usize; 2])>, out: &mut Vec<[f64; 2]>| {
        if let Some((_, [low, high])) = here {
            out.push(points[low.min(high)]);
            if low != high {
                out.push(points[low.max(high)]);
            }
        }
    };
    for (i, [x, y]) in points.iter().enumerate() {
        let Some(c) = column(axis, *x, columns).filter(|_| y.is_finite()) else {
            close(here.take(), &mut out);
            out.push(points[i]);
            continue;
        };
        match &mut here {
            Some((column, [low, high])) if *column == c => {
                if *y < points[*low][1] {
                    *low = i;
                }
                if *y > points[*high][1] {
                    *high = i;
                }
            }
            _ => {
                close(here.take(), &mut out);
                here = Some((c, [i, i]));
            }
        }
    }
    close(here, &mut out);
    out
}

/// The smoothing so many steps from the usual one: its place, and the ratio of tokens.
pub(crate) fn smoothing(steps: i8) -> (i8, f64) {
    let at = USUAL.saturating_add(steps).clamp(0, SMOOTHING.len() as i8 - 1);
    (at - USUAL, SMOOTHING.get(at as usize).copied().unwrap_or(1.0))
}

/// Means over windows in proportion to the tokens (`ratio` on both sides), cut to the same length
/// on both sides at the beginning, where a loss falls steeply; 1 leaves the means of the points.
/// Towards the end, where the newest points have nothing behind them, a straight line through the
/// window: one noisy point at the end must not look like a jump.
pub(crate) fn smoothed(points: &[PlotPoint], ratio: f64) -> Vec<[f64; 2]> {
    let drawn = |p: &&PlotPoint| p.mean.is_finite() && p.tokens.is_finite();
    let known: Vec<&PlotPoint> = points.iter().filter(drawn).collect();
    if ratio <= 1.0 {
        return known.iter().map(|p| [p.tokens, p.mean]).collect();
    }
    let mut sums = vec![[0.0, 0.0]];
    for (i, p) in known.iter().enumerate() {
        let [s, weighted] = sums[i];
        sums.push([s + p.mean, weighted + i as f64 * p.mean]);
    }
    let last = known.len().saturating_sub(1);
    let one = |i: usize| {
        let t = known[i].tokens;
        let from = known.partition_point(|p| p.tokens < t / ratio);
        let to = known.partition_point(|p| p.tokens <= t * ratio);
        let reach = i.saturating_sub(from).max(to.saturating_sub(i + 1)).max(LEAST).min(i);
        let (from, to) = (i - reach, (i + reach).min(last));
        let n = (to - from + 1) as f64;
        let middle = (from + to) as f64 / 2.0;
        let [sum, weighted] = [0, 1].map(|k| sums[to + 1][k] - sums[from][k]);
        let spread = n * (n * n - 1.0) / 12.0;
        let slope = if spread > 0.0 { (weighted - middle * sum) / spread } else { 0.0 };
        [t, sum / n + slope * (i as f64 - middle)]
    };
    (0..known.len()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::*;
    use proptest::prelude::*;

    fn axis(low: f64, high: f64) -> Axis {
        Axis { low, high, scale: Scale::Linear, label: crate::units::count }
    }

    #[test]
    fn a_line_that_is_smoothed_stays_one_and_noise_is_calmed() {
        let point =
            |i: usize, mean: f64| PlotPoint { tokens: i as f64, min: mean, mean, max: mean };
        let straight: Vec<PlotPoint> = (1..200).map(|i| point(i, 5.0 - i as f64 * 0.01)).collect();
        for ratio in SMOOTHING {
            for (p, q) in straight.iter().zip(smoothed(&straight, ratio)) {
                assert!((p.mean - q[1]).abs() < 1e-9 && p.tokens == q[0], "{q:?}");
            }
        }
        let noisy: Vec<PlotPoint> = (1..200).map(|i| point(i, (i % 2) as f64)).collect();
        assert!(smoothed(&noisy, 1.06)[20..180].iter().all(|q| (q[1] - 0.5).abs() < 0.1));
        assert_eq!(smoothed(&noisy, 1.0)[2][1], 1.0);
        let mut jumpy = straight.clone();
        let end = jumpy.len() - 1;
        jumpy[end].mean += 1.0;
        let seen = smoothed(&jumpy, 1.06)[end][1] - straight[end].mean;
        assert!(seen < 0.35, "one point at the end is no jump: {seen}");
        assert!(smoothed(&[], 1.5).is_empty());
        assert_eq!([smoothing(0), smoothing(-9), smoothing(9)], [(0, 1.06), (-2, 1.0), (3, 1.5)]);
    }

    fn values() -> impl Strategy<Value = Vec<[f64; 2]>> {
        let y = prop_oneof![12 => -10.0f64..10.0, 1 => Just(f64::NAN), 1 => Just(1e9)];
        prop::collection::vec((-10.0f64..110.0, y), 0..400).prop_map(|mut v| {
            v.sort_by(|a, b| a.0.total_cmp(&b.0));
            v.into_iter().map(|(x, y)| [x, y]).collect()
        })
    }

    /// Lowest and highest finite y of each column.
    fn by_column(points: &[[f64; 2]], a: &Axis, columns: usize) -> Vec<(usize, f64, f64)> {
        let both: Vec<[f64; 3]> = points.iter().map(|p| [p[0], p[1], p[1]]).collect();
        extremes(&both, a, columns)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn no_spike_is_lost_and_a_column_has_two_points(points in values(), columns in 1usize..60) {
            let a = axis(0.0, 100.0);
            let thinned = thin(&points, &a, columns);
            prop_assert_eq!(by_column(&thinned, &a, columns), by_column(&points, &a, columns));
            // In their order, and none that was not there.
            let mut rest = points.iter();
            for p in &thinned {
                prop_assert!(rest.any(|q| q[0] == p[0] && q[1].total_cmp(&p[1]).is_eq()));
            }
            if points.len() > 2 * columns && points.iter().all(|p| p[1].is_finite()) {
                for c in 0..columns {
                    let inside = thinned.iter().filter(|p| column(&a, p[0], columns) == Some(c));
                    prop_assert!(inside.count() <= 2);
                }
            }
        }
    }
}
