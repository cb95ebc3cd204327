//! Smoothing with windows proportional to tokens.
//!
//! A window of a fixed number of steps biases large batches more than small ones. Here every
//! window spans the same ratio of tokens, so that the curvature of L(ln E) biases all batch sizes
//! alike, and the value is that of a line fitted within it, so that the ends are not biased
//! either. Losses far from the median around them (spikes, NaN) are left out.

use super::Columns;
use std::ops::Range;

/// Half width of the window in ln tokens: about +-6 %.
pub const WINDOW: f64 = 0.06;
/// Distance from the local median, in robust standard deviations, beyond which a loss is a spike.
const SPIKE: f64 = 6.0;

/// Rows below which spikes are told by their neighbours alone.
const FEW: usize = 48;

/// A smoothed series, one value per kept row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Smoothed {
    /// Index of the row in the columns.
    pub row: Vec<usize>,
    pub tokens: Vec<f64>,
    /// Nats per token.
    pub loss: Vec<f64>,
    /// Standard error of the smoothed loss, nats; lag-1 autocorrelation allowed for.
    pub se: Vec<f64>,
    /// Rows left out as spikes or NaN.
    pub left_out: usize,
}

/// The finite rows of a range, spikes left out: what bins and windows are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clean {
    pub row: Vec<usize>,
    /// ln tokens, ascending.
    pub x: Vec<f64>,
    pub loss: Vec<f64>,
    /// Records that each row is the mean of.
    pub count: Vec<f64>,
    pub left_out: usize,
}

impl Clean {
    /// Lines within windows of +-`half` in ln tokens.
    pub fn lines(&self, half: f64) -> Lines {
        Lines::new(&self.x, &self.loss, &self.count, half)
    }

    /// Noise of the rows around their own lines.
    pub fn noise(&self, lines: &Lines) -> Noise {
        noise(&self.x, &self.loss, &self.count, lines)
    }
}

/// Drops rows without loss or tokens, and spikes.
pub fn clean(columns: &Columns, range: Range<usize>) -> Clean {
    let end = range.end.min(columns.len());
    let mut c = Clean::default();
    for i in range.start.min(end)..end {
        let (t, l) = (columns.tokens[i], columns.loss[i]);
        let x = t.ln();
        if t > 0.0 && x.is_finite() && l.is_finite() && c.x.last().is_none_or(|p| x > *p) {
            c.row.push(i);
            c.x.push(x);
            c.loss.push(l);
            c.count.push(columns.weight(i));
        }
    }
    let total = end.saturating_sub(range.start);
    let keep = not_spikes(&c.x, &c.loss, &c.count);
    let pick = |v: &[f64]| v.iter().zip(&keep).filter(|(_, k)| **k).map(|(a, _)| *a).collect();
    let row = c.row.iter().zip(&keep).filter(|(_, k)| **k).map(|(a, _)| *a).collect();
    let (x, loss, count): (Vec<f64>, Vec<f64>, Vec<f64>) =
        (pick(&c.x), pick(&c.loss), pick(&c.count));
    Clean { left_out: total - x.len(), row, x, loss, count }
}

/// Whether each loss is within [`SPIKE`] robust standard deviations of the median around it. A row
/// that is the mean of fewer records than its neighbours (`count`; empty: one each) may lie further
/// away.
pub(super) fn not_spikes(x: &[f64], loss: &[f64], count: &[f64]) -> Vec<bool> {
    let records = |i: usize| count.get(i).copied().unwrap_or(1.0);
    let n = x.len();
    let mut keep = vec![true; n];
    if n < FEW {
        return no_peaks(x, loss);
    }
    let mut from = 0;
    while from < n {
        // One median serves the rows of half a window.
        let to = from + x[from..].partition_point(|v| *v <= x[from] + WINDOW / 2.0);
        let mut a = x.partition_point(|v| *v < x[from] - WINDOW / 2.0);
        let mut b = x.partition_point(|v| *v <= x[to - 1] + WINDOW / 2.0);
        if b - a < 9 {
            // Far apart and steep: only neighbours compare.
            (a, b) = (a.saturating_sub(12), (b + 12).min(n));
            keep[from..to].copy_from_slice(&no_peaks(&x[a..b], &loss[a..b])[from - a..to - a]);
            from = to;
            continue;
        }
        let of = evenly(a..b, records);
        let pick = |v: &[f64]| of.iter().map(|i| v[*i]).collect::<Vec<f64>>();
        // Against a line through the neighbours' halves, so that a steep start is no spike.
        let slope = trend(&pick(x), &pick(loss));
        let mid = 0.5 * (x[a] + x[b - 1]);
        let flat = |i: usize| loss[i] - slope * (x[i] - mid);
        // Odd, so that what alternates from row to row is seen from both sides.
        let mut of: Vec<usize> = of.iter().step_by((b - a).div_ceil(201) | 1).copied().collect();
        let centre = median_in_place(&mut of.iter().map(|i| flat(*i)).collect::<Vec<_>>());
        let mut d: Vec<f64> = of.iter().map(|i| (flat(*i) - centre).abs()).collect();
        let typical = median_in_place(&mut of.iter().map(|i| records(*i)).collect::<Vec<_>>());
        of.dedup();
        // A median of a few deviations is often far too small.
        let sd = spread(&mut d) * (1.0 + 8.0 / of.len() as f64);
        let sd = sd.max(1e-3 * centre.abs()).max(1e-9);
        for (i, k) in keep.iter_mut().enumerate().take(to).skip(from) {
            let fewer = (typical / records(i)).max(1.0).sqrt();
            *k = (flat(i) - centre).abs() <= SPIKE * sd * fewer;
        }
        from = to;
    }
    keep
}

/// The rows, or as many places evenly apart in records where some rows are the mean of more than
/// others: in a window that ends amid the rows of one record each, they are not the most of it.
fn evenly(rows: Range<usize>, records: impl Fn(usize) -> f64) -> Vec<usize> {
    if rows.clone().all(|i| records(i) == records(rows.start)) {
        return rows.collect();
    }
    let each = rows.clone().map(&records).sum::<f64>() / rows.len() as f64;
    let (mut row, mut upto) = (rows.start, records(rows.start));
    let place = |k: usize| (k as f64 + 0.5) * each;
    (0..rows.len())
        .map(|k| {
            while upto < place(k) && row + 1 < rows.end {
                row += 1;
                upto += records(row);
            }
            row
        })
        .collect()
}

/// Standard deviation from the absolute deviations: by their median, or by their upper quartile
/// where it says more (losses printed with few digits have a median deviation of 0).
fn spread(d: &mut [f64]) -> f64 {
    let half = 1.4826 * median_in_place(d);
    let quarter = d.len() - 1 - d.len() / 4;
    let upper = 0.8693 * *d.select_nth_unstable_by(quarter, f64::total_cmp).1;
    half.max(upper)
}

/// For a handful of rows (evaluations), whose neighbours lie far apart: a row is a spike when it
/// stands above the chord of its neighbours by far more than others do.
fn no_peaks(x: &[f64], loss: &[f64]) -> Vec<bool> {
    let n = x.len();
    let mut keep = vec![true; n];
    let above: Vec<f64> = (1..n.saturating_sub(1))
        .map(|i| {
            let w = (x[i] - x[i - 1]) / (x[i + 1] - x[i - 1]);
            loss[i] - (loss[i - 1] + w * (loss[i + 1] - loss[i - 1]))
        })
        .collect();
    if above.len() < 5 {
        return keep;
    }
    let mut size: Vec<f64> = above.iter().map(|a| a.abs()).collect();
    let sd = 1.4826 * median_in_place(&mut size);
    for (i, a) in above.iter().enumerate() {
        keep[i + 1] = *a <= SPIKE * sd.max(1e-3 * loss[i + 1].abs());
    }
    keep
}

/// Slope between the medians of the two halves.
fn trend(x: &[f64], y: &[f64]) -> f64 {
    let h = x.len() / 2;
    let (mut a, mut b) = (y[..h].to_vec(), y[h..].to_vec());
    let (mut p, mut q) = (x[..h].to_vec(), x[h..].to_vec());
    let dx = median_in_place(&mut q) - median_in_place(&mut p);
    if dx > 0.0 { (median_in_place(&mut b) - median_in_place(&mut a)) / dx } else { 0.0 }
}

fn median_in_place(v: &mut [f64]) -> f64 {
    if v.is_empty() {
        return f64::NAN;
    }
    let mid = v.len() / 2;
    *v.select_nth_unstable_by(mid, f64::total_cmp).1
}

/// Lines within windows of ln tokens, by prefix sums: O(1) a value.
#[derive(Debug, Clone)]
pub struct Lines {
    x: Vec<f64>,
    y: Vec<f64>,
    centre: (f64, f64),
    sums: Vec<[f64; 5]>,
    half: f64,
}

impl Lines {
    /// `x` ascending (ln tokens), `count` the weights (empty: 1 each), `half` the half width of the
    /// windows in `x`.
    pub fn new(x: &[f64], y: &[f64], count: &[f64], half: f64) -> Lines {
        let n = x.len().min(y.len()).max(1) as f64;
        let centre = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
        let mut sums = Vec::with_capacity(x.len() + 1);
        let mut s = [0.0; 5];
        sums.push(s);
        for (i, (a, b)) in x.iter().zip(y).enumerate() {
            let w = count.get(i).copied().unwrap_or(1.0);
            let (a, b) = (a - centre.0, b - centre.1);
            s = [s[0] + w * a, s[1] + w * b, s[2] + w * a * a, s[3] + w * a * b, s[4] + w];
            sums.push(s);
        }
        Lines { x: x.to_vec(), y: y.to_vec(), centre, sums, half }
    }

    /// Value of the line around `at`, and the variance of it in units of one record's noise variance.
    /// Where the window holds fewer than three rows: interpolated between neighbours.
    pub fn at(&self, at: f64) -> (f64, f64) {
        let a = self.x.partition_point(|v| *v < at - self.half);
        let b = self.x.partition_point(|v| *v <= at + self.half);
        if b - a < 3 {
            return (self.interpolated(at), 1.0);
        }
        let d = |k: usize| self.sums[b][k] - self.sums[a][k];
        let n = d(4);
        let (mx, my) = (d(0) / n, d(1) / n);
        let sxx = d(2) - n * mx * mx;
        let dx = at - self.centre.0 - mx;
        if sxx <= 1e-12 * n {
            return (my + self.centre.1, 1.0 / n);
        }
        let slope = (d(3) - n * mx * my) / sxx;
        (my + slope * dx + self.centre.1, 1.0 / n + dx * dx / sxx)
    }

    fn interpolated(&self, at: f64) -> f64 {
        let i = self.x.partition_point(|v| *v < at);
        match (i.checked_sub(1), self.x.get(i)) {
            (Some(j), Some(right)) => {
                let w = (at - self.x[j]) / (right - self.x[j]);
                self.y[j] + w * (self.y[i] - self.y[j])
            }
            (None, Some(_)) => self.y[i],
            (Some(j), None) => self.y[j],
            (None, None) => f64::NAN,
        }
    }
}

/// Noise of a clean series around its own smooth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation of one row, nats.
    pub sd: f64,
    /// Factor on the variance of a mean: (1 + r)/(1 - r), r the lag-1 autocorrelation.
    pub inflation: f64,
}

/// Noise of rows `x`, `loss`, each the mean of `count` records, around the lines of their windows.
fn noise(x: &[f64], loss: &[f64], count: &[f64], lines: &Lines) -> Noise {
    let mut residuals = Vec::with_capacity(x.len());
    let mut freedom = 0.0;
    for (i, (a, l)) in x.iter().zip(loss).enumerate() {
        let w = count.get(i).copied().unwrap_or(1.0);
        let (value, v) = lines.at(*a);
        if v * w < 0.999 {
            residuals.push((l - value) * w.sqrt());
            freedom += 1.0 - v * w;
        }
    }
    if residuals.len() < 20 {
        return Noise { sd: by_decline(x, loss), inflation: 1.0 };
    }
    let ss: f64 = residuals.iter().map(|r| r * r).sum();
    let lagged: f64 = residuals.windows(2).map(|w| w[0] * w[1]).sum();
    let r = if ss > 0.0 { (lagged / ss).clamp(0.0, 0.95) } else { 0.0 };
    Noise { sd: (ss / freedom).sqrt(), inflation: (1.0 + r) / (1.0 - r) }
}

/// Noise of a series with too few rows for windows: what a + b T^-1/2 + c T^-1 leaves of its last
/// rows, T the tokens.
fn by_decline(x: &[f64], loss: &[f64]) -> f64 {
    let from = x.len().saturating_sub(SPARSE);
    let (x, loss) = (&x[from..], &loss[from..]);
    let n = x.len();
    if n < 5 {
        return f64::NAN;
    }
    let basis = |v: f64| {
        let u = (0.5 * (x[0] - v)).exp();
        [1.0, u, u * u]
    };
    // Gram-Schmidt on three columns.
    let mut columns: Vec<Vec<f64>> = Vec::new();
    let mut rest = loss.to_vec();
    for k in 0..3 {
        let mut c: Vec<f64> = x.iter().map(|v| basis(*v)[k]).collect();
        let size = dot(&c, &c);
        for q in &columns {
            take_out(&mut c, q);
        }
        let norm = dot(&c, &c);
        if norm <= 1e-10 * size {
            continue;
        }
        c.iter_mut().for_each(|v| *v /= norm.sqrt());
        take_out(&mut rest, &c);
        columns.push(c);
    }
    // One outlying evaluation must not speak for all.
    let mut a: Vec<f64> = rest.iter().map(|v| v.abs()).collect();
    1.4826 * median_in_place(&mut a) * (n as f64 / (n - columns.len()) as f64).sqrt()
}

/// Rows that [`by_decline`] looks at.
const SPARSE: usize = 16;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn take_out(v: &mut [f64], unit: &[f64]) {
    let d = dot(v, unit);
    v.iter_mut().zip(unit).for_each(|(x, u)| *x -= d * u);
}

/// Smooths the rows of a range (of one phase, at one batch size) over windows of +-`half` in ln
/// tokens; [`WINDOW`] is what everything else uses. Rows without tokens are left out.
pub fn smooth(columns: &Columns, range: Range<usize>, half: f64) -> Smoothed {
    let c = clean(columns, range);
    let lines = c.lines(half);
    let noise = c.noise(&lines);
    let (loss, se) =
        c.x.iter()
            .map(|x| {
                let (value, v) = lines.at(*x);
                (value, noise.sd * (v * noise.inflation).min(1.0).sqrt())
            })
            .unzip();
    let tokens = c.row.iter().map(|i| columns.tokens[*i]).collect();
    Smoothed { row: c.row, tokens, loss, se, left_out: c.left_out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// A power law in tokens, logged every `every` steps of `batch` tokens, with noise.
    fn run(batch: f64, every: f64, rows: usize, noise: f64, seed: u64) -> Columns {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
        let mut c = Columns::default();
        for i in 1..=rows {
            let step = i as f64 * every;
            let tokens = step * batch;
            // Twelve uniforms less six have variance 1.
            let z: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            c.step.push(step);
            c.tokens.push(tokens);
            c.loss.push(truth(tokens) + noise * z);
        }
        c
    }

    fn truth(tokens: f64) -> f64 {
        2.0 + 20.0 * tokens.powf(-0.3)
    }

    #[test]
    fn every_batch_size_is_biased_alike_and_little() {
        for (batch, every) in [(64.0, 100.0), (1024.0, 10.0), (65536.0, 1.0)] {
            let c = run(batch, every, 3000, 0.0, 1);
            let s = smooth(&c, 0..c.len(), WINDOW);
            assert_eq!(s.left_out, 0);
            for (t, l) in s.tokens.iter().zip(&s.loss).skip(40) {
                assert!((l - truth(*t)).abs() < 1.5e-3 * (l - 2.0), "{batch} {t} {l}");
            }
        }
    }

    #[test]
    fn the_error_is_as_large_as_it_says() {
        let c = run(256.0, 20.0, 4000, 0.05, 7);
        let s = smooth(&c, 0..c.len(), WINDOW);
        let z: Vec<f64> = (100..s.loss.len())
            .step_by(50)
            .map(|i| (s.loss[i] - truth(s.tokens[i])) / s.se[i])
            .collect();
        let rms = (z.iter().map(|v| v * v).sum::<f64>() / z.len() as f64).sqrt();
        assert!((0.6..1.4).contains(&rms), "{rms}");
        assert!(s.se[2000] < 0.01 && s.se[2000] > 0.001, "{}", s.se[2000]);
    }

    #[test]
    fn spikes_and_nan_are_left_out() {
        let mut c = run(256.0, 20.0, 2000, 0.02, 3);
        let clean_end = smooth(&c, 0..c.len(), WINDOW);
        for i in [3usize, 500, 501, 502, 1500] {
            c.loss[i] += 3.0;
        }
        c.loss[900] = f64::NAN;
        c.loss[901] = f64::INFINITY;
        let s = smooth(&c, 0..c.len(), WINDOW);
        let gone: Vec<usize> = (0..c.len()).filter(|i| !s.row.contains(i)).collect();
        assert_eq!(gone, [3, 500, 501, 502, 900, 901, 1500]);
        for (row, l) in s.row.iter().zip(&s.loss) {
            assert!((l - clean_end.loss[*row]).abs() < 0.05, "{row}");
        }
    }

    #[test]
    fn a_spiked_evaluation_among_few_is_left_out() {
        let mut c = run(4096.0, 500.0, 12, 0.002, 5);
        c.loss[6] += 0.3;
        let kept = clean(&c, 0..12);
        assert_eq!(kept.row, (0..12).filter(|i| *i != 6).collect::<Vec<_>>());
    }

    #[test]
    fn degenerate_input_gives_no_number_from_thin_air() {
        let empty = smooth(&Columns::default(), 0..10, WINDOW);
        assert!(empty.loss.is_empty());
        let mut c = run(256.0, 20.0, 30, 0.0, 1);
        c.loss.fill(2.5);
        assert!(smooth(&c, 0..30, WINDOW).loss.iter().all(|l| (l - 2.5).abs() < 1e-12));
        c.tokens.fill(f64::NAN);
        assert_eq!(smooth(&c, 0..30, WINDOW).left_out, 30);
        c.tokens.fill(0.0);
        assert!(smooth(&c, 0..30, WINDOW).loss.is_empty());
    }
}
