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
    let mut out: Vec<(Option<usize>, usize, Bucket)> = Vec::new();
    for i in rows {
        let (k, l) = (bucket(i), columns.loss[i]);
        let (s, t) = (columns.step[i], columns.tokens[i]);
        match out.last_mut() {
            Some((last, n, b)) if k.is_some() && *last == k => {
                *n += 1;
                b.step += s;
                b.tokens += t;
                b.mean += l;
                b.min = b.min.min(l);
                b.max = b.max.max(l);
            }
            _ => out.push((k, 1, Bucket { step: s, tokens: t, min: l, mean: l, max: l })),
        }
    }
    out.into_iter()
        .map(|(_, n, b)| {
            let n = n as f64;
            // The mean of equal values may round to beside them.
            let mean = (b.mean / n).clamp(b.min, b.max);
            Bucket { step: b.step / n, tokens: b.tokens / n, mean, ..b }
        })
        .take(points)
        .collect()
}
