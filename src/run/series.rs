//! Thinning for plots: minimum, mean and maximum of every bucket, so that a spike of one step is
//! never lost. Fits never see thinned data.

use super::Columns;
use std::ops::Range;

/// A bucket of a thinned series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Mean steps and tokens of its rows.
    pub step: f64,
    pub tokens: f64,
    /// Nats per token, over the finite losses.
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

/// Thins the rows of a range to at most `points` buckets, equal in tokens (in steps where tokens
/// are unknown). Rows without a finite loss are left out.
pub fn thin(columns: &Columns, range: Range<usize>, points: usize) -> Vec<Bucket> {
    let end = range.end.min(columns.len());
    let start = range.start.min(end);
    let by_tokens = columns.tokens[start..end].iter().any(|t| t.is_finite());
    let axis = if by_tokens { &columns.tokens } else { &columns.step };
    let rows: Vec<usize> =
        (start..end).filter(|i| columns.loss[*i].is_finite() && axis[*i].is_finite()).collect();
    let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else { return Vec::new() };
    let (from, width) = (axis[first], axis[last] - axis[first]);
    let points = points.max(1);
    let few = rows.len() <= points;
    let bucket = |i: usize| {
        if few || width <= 0.0 {
            return None;
        }
        Some((((axis[i] - from) / width * points as f64) as usize).min(points - 1))
    };
    let mut out: Vec<(Option<usize>, f64, Bucket)> = Vec::new();
    for i in rows {
        let (k, w, (low, high)) = (bucket(i), columns.weight(i), columns.extremes(i));
        let (s, t, l) = (columns.step[i] * w, columns.tokens[i] * w, columns.loss[i] * w);
        match out.last_mut() {
            Some((last, n, b)) if k.is_some() && *last == k => {
                *n += w;
                b.step += s;
                b.tokens += t;
                b.mean += l;
                b.min = b.min.min(low);
                b.max = b.max.max(high);
            }
            _ => out.push((k, w, Bucket { step: s, tokens: t, min: low, mean: l, max: high })),
        }
    }
    out.into_iter()
        .map(|(_, n, b)| {
            // The mean of equal values may round to beside them.
            let mean = (b.mean / n).clamp(b.min, b.max);
            Bucket { step: b.step / n, tokens: b.tokens / n, mean, ..b }
        })
        .take(points)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns(loss: Vec<f64>) -> Columns {
        let step: Vec<f64> = (1..=loss.len()).map(|s| s as f64).collect();
        let tokens = step.iter().map(|s| s * 100.0).collect();
        Columns { step, tokens, loss, ..Columns::default() }
    }

    #[test]
    fn a_spike_of_one_step_is_never_lost() {
        let mut loss = vec![2.0; 10_000];
        loss[7_777] = 9.0;
        loss[1_234] = 1.0;
        let thinned = thin(&columns(loss), 0..10_000, 100);
        assert_eq!(thinned.len(), 100);
        assert!(thinned.iter().any(|b| b.max == 9.0));
        assert!(thinned.iter().any(|b| b.min == 1.0));
    }

    #[test]
    fn without_tokens_the_steps_are_the_axis() {
        let mut c = columns(vec![2.0, 1.0, f64::NAN, 3.0]);
        c.tokens = vec![f64::NAN; 4];
        let thinned = thin(&c, 0..4, 2);
        assert_eq!(thinned.iter().map(|b| b.mean).collect::<Vec<_>>(), [1.5, 3.0]);
        assert!(thin(&c, 2..3, 5).is_empty());
        assert!(thin(&c, 3..9, 5).len() == 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn extremes_stay_and_points_are_few(
            loss in prop::collection::vec(prop_oneof![9 => 0.0f64..10.0, 1 => Just(f64::NAN)], 0..300),
            points in 1usize..50,
        ) {
            let n = loss.len();
            let known: Vec<f64> = loss.iter().copied().filter(|l| l.is_finite()).collect();
            let out = thin(&columns(loss), 0..n, points);
            prop_assert!(out.len() <= points);
            let max = |v: &mut dyn Iterator<Item = f64>| v.fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(max(&mut known.iter().copied()), max(&mut out.iter().map(|b| b.max)));
            prop_assert_eq!(
                max(&mut known.iter().map(|l| -l)), max(&mut out.iter().map(|b| -b.min)));
            for b in out {
                prop_assert!(b.min <= b.mean && b.mean <= b.max);
            }
        }
    }
}
