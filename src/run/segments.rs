//! Stretches of constant batch size, whatever the printing and the noise of what is logged.
//!
//! Trainers log a batch size exactly (then every change counts), or it follows from a rounded
//! token counter or from packed sequences and wanders by some per cent (then only a lasting change
//! larger than the noise counts). A change lies between two records; where a token counter is
//! logged, the step at which it happened is solved for:
//! `dT = B_1 x + B_2 (dS - x)`.

use super::{Columns, Segment};
use std::ops::Range;

/// From `row` on (an index into all rows) and from `from_step` on this batch size acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub row: usize,
    pub from_step: f64,
    pub batch_size: f64,
}

/// Relative wander of a batch size below which it counts as exact.
const EXACT: f64 = 2e-3;
/// A counter of tokens goes on by the batch size that is logged, up to this share.
const SAME_PACE: f64 = 0.02;
/// A log begins at a checkpoint where more than so many of its intervals lie before it.
const FAR: f64 = 20.0;
/// Another mean batch size before the log differs by this factor; by the larger one the counters of
/// steps and tokens have not begun at the same time.
const OTHER: f64 = 1.05;
const STRANGE: f64 = 64.0;
/// Rows that a change must last to be believed where the batch size is noisy.
const LASTING: usize = 4;

/// Where batch sizes change.
///
/// `batch` has a value for every row, the mean of `count` records (empty: one each); `tokens` is the
/// logged count, NaN where it is not; `derived` says that `batch` was taken from it.
pub(super) fn cuts(
    steps: &[f64],
    batch: &[f64],
    count: &[f64],
    tokens: Option<&[f64]>,
    derived: bool,
) -> Vec<Cut> {
    let noise = wander(batch, count);
    let starts = if noise <= EXACT { exact(batch, derived) } else { noisy(batch, noise) };
    let mut out: Vec<Cut> = Vec::with_capacity(starts.len());
    for (k, &row) in starts.iter().enumerate() {
        let end = starts.get(k + 1).copied().unwrap_or(batch.len());
        let size = if noise <= EXACT && !derived {
            median(&batch[row..end])
        } else {
            mean_size(steps, batch, count, tokens, row..end, derived && row > 0)
        };
        if size.is_nan() || size <= 0.0 {
            continue;
        }
        let from_step = match out.last() {
            None => 0.0f64.min(steps[row]),
            Some(before) => switch(steps, tokens, row, before.batch_size, size),
        };
        out.push(Cut { row, from_step, batch_size: size });
    }
    if let Some(past) = tokens.zip(out.first()).and_then(|(t, first)| unseen(steps, t, first)) {
        out[0].from_step = past.1;
        out.insert(0, past.0);
    }
    out
}

/// What a log that begins at a checkpoint tells of the steps before it: their mean batch size, where
/// it is not the one that the log begins with, and the step at which that one took over, an interval
/// of the log before its first row. `None` where its counters began with it, or do not go together.
fn unseen(steps: &[f64], tokens: &[f64], first: &Cut) -> Option<(Cut, f64)> {
    let mut known = (0..steps.len()).filter(|i| steps[*i].is_finite() && tokens[*i].is_finite());
    let (i, j) = (known.next()?, known.next()?);
    let interval = steps[j] - steps[i];
    let size = first.batch_size;
    let pace = (tokens[j] - tokens[i]) / interval;
    let took_over = steps[i] - interval;
    if !(near(pace, size, SAME_PACE) && took_over > FAR * interval) {
        return None;
    }
    let before = ((tokens[i] - size * interval) / took_over).round();
    let ratio = (before / size).ln().abs();
    let past = Cut { row: 0, from_step: 0.0, batch_size: before };
    (ratio > OTHER.ln() && ratio < STRANGE.ln()).then_some((past, took_over))
}

/// The same for a log without steps: each stretch's steps are tokens / batch size.
pub(super) fn cuts_by_tokens(tokens: &[f64], batch: &[f64]) -> Vec<Cut> {
    let mut out: Vec<Cut> = Vec::new();
    let mut step = 0.0;
    let mut last = 0.0;
    let mut size = f64::NAN;
    for (row, (t, b)) in tokens.iter().zip(batch).enumerate() {
        if size.is_nan() || (b / size - 1.0).abs() > EXACT {
            out.push(Cut { row, from_step: step, batch_size: *b });
            size = *b;
        }
        step += (t - last) / size;
        last = *t;
    }
    out
}

/// Median relative change from record to record; that of means of many is the smaller for it.
fn wander(batch: &[f64], count: &[f64]) -> f64 {
    let records = |i: usize| count.get(i).copied().unwrap_or(1.0);
    let change = |(i, w): (usize, &[f64])| {
        let both = records(i).recip() + records(i + 1).recip();
        (w[1] / w[0]).ln().abs() * (2.0 / both).sqrt()
    };
    let changes: Vec<f64> = batch.windows(2).enumerate().map(change).collect();
    let m = median(&changes);
    if m.is_nan() { 0.0 } else { m }
}

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a / b - 1.0).abs() <= tolerance
}

fn exact(batch: &[f64], derived: bool) -> Vec<usize> {
    let mut starts = vec![0];
    let tolerance = if derived { 0.01 } else { EXACT };
    let Some(mut size) = batch.first().copied() else { return Vec::new() };
    let mut i = 1;
    while i < batch.len() {
        if near(batch[i], size, tolerance) {
            i += 1;
            continue;
        }
        match batch.get(i + 1) {
            // One row (the last batch of an epoch, a misprint) is no change.
            Some(b) if near(*b, size, tolerance) => i += 2,
            // The interval in which it changed has a mixture of both.
            Some(b) if derived => {
                starts.push(i);
                size = *b;
                i += 2;
            }
            // Not to be told yet from an odd interval.
            None if derived => break,
            _ => {
                starts.push(i);
                size = batch[i];
                i += 1;
            }
        }
    }
    starts
}

fn noisy(batch: &[f64], noise: f64) -> Vec<usize> {
    let tolerance = (6.0 * noise).max(0.05);
    let mut starts = vec![0];
    let mut from = 0;
    let mut i = 1;
    while i < batch.len() {
        let near_by = &batch[from.max(i.saturating_sub(64))..i];
        let size = median(near_by);
        let lasting = batch.get(i..i + LASTING).is_some_and(|next| {
            let high = next.iter().all(|b| *b > size * (1.0 + tolerance));
            let low = next.iter().all(|b| *b < size / (1.0 + tolerance));
            high || low
        });
        if lasting {
            starts.push(i);
            from = i;
            i += LASTING;
        } else {
            i += 1;
        }
    }
    starts
}

/// Tokens per step over the rows; the interval that the change lies in is left out.
fn mean_size(
    steps: &[f64],
    batch: &[f64],
    count: &[f64],
    tokens: Option<&[f64]>,
    rows: Range<usize>,
    skip_first: bool,
) -> f64 {
    if let Some(t) = tokens {
        let mut known = rows.clone().filter(|i| !t[*i].is_nan());
        if let (Some(a), Some(b)) = (known.next(), known.next_back()) {
            let size = (t[b] - t[a]) / (steps[b] - steps[a]);
            if size > 0.0 && size.is_finite() {
                let whole = size.round();
                return if near(size, whole, 1e-6) { whole } else { size };
            }
        }
    }
    let rest = (rows.start + usize::from(skip_first)).min(rows.end)..rows.end;
    let rest = if rest.is_empty() { rows } else { rest };
    let records = |i: usize| count.get(i).copied().unwrap_or(1.0);
    let weight: f64 = rest.clone().map(records).sum();
    rest.map(|i| batch[i] * records(i)).sum::<f64>() / weight
}

/// The step at which the new size began to act, between the rows `row - 1` and `row`.
fn switch(steps: &[f64], tokens: Option<&[f64]>, row: usize, before: f64, after: f64) -> f64 {
    let (s0, s1) = (steps[row - 1], steps[row]);
    let Some(t) = tokens else { return s0 };
    let x = (after * (s1 - s0) - (t[row] - t[row - 1])) / (after - before);
    if x.is_nan() { s0 } else { s0 + x.clamp(0.0, s1 - s0).round() }
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut v: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    if v.is_empty() {
        return f64::NAN;
    }
    let mid = v.len() / 2;
    *v.select_nth_unstable_by(mid, f64::total_cmp).1
}

/// Segments over the rows of `train`, whose rows have the indices `of_row` among all rows.
pub(super) fn segments(
    train: &Columns,
    of_row: &[usize],
    cuts: &[Cut],
    tokens_at: impl Fn(f64) -> f64,
) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    for (k, c) in cuts.iter().enumerate() {
        let next = cuts.get(k + 1);
        let from = of_row.partition_point(|r| *r < c.row);
        let to = next.map_or(of_row.len(), |n| of_row.partition_point(|r| *r < n.row));
        let to_step = next.map_or(train.step.last().copied(), |n| Some(n.from_step));
        let to_tokens = match next {
            Some(n) => tokens_at(n.from_step),
            None => train.tokens.last().copied().unwrap_or(f64::NAN),
        };
        out.push(Segment {
            batch_size: c.batch_size,
            range: from..to,
            from_step: c.from_step,
            from_tokens: if k == 0 { 0.0 } else { tokens_at(c.from_step) },
            to_step: to_step.unwrap_or(f64::NAN),
            to_tokens,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(n: usize, every: f64) -> Vec<f64> {
        (1..=n).map(|i| i as f64 * every).collect()
    }

    fn sizes(cuts: &[Cut]) -> Vec<f64> {
        cuts.iter().map(|c| c.batch_size).collect()
    }

    #[test]
    fn a_logged_change_is_found_at_its_very_step() {
        let s = steps(20, 10.0);
        let b: Vec<f64> = s.iter().map(|s| if *s <= 87.0 { 64.0 } else { 128.0 }).collect();
        let t: Vec<f64> =
            s.iter().map(|s| 64.0 * s.min(87.0) + 128.0 * (s - 87.0).max(0.0)).collect();
        let found = cuts(&s, &b, &[], Some(&t), false);
        assert_eq!(sizes(&found), [64.0, 128.0]);
        assert_eq!(found[1].from_step, 87.0);
        // Without tokens: as early as it may have been.
        assert_eq!(cuts(&s, &b, &[], None, false)[1].from_step, 80.0);
    }

    #[test]
    fn noise_is_one_segment_and_a_doubling_in_it_two() {
        let s = steps(400, 1.0);
        let wobble = |i: usize| 1.0 + 0.03 * ((i * 7919 % 101) as f64 / 50.0 - 1.0);
        let even: Vec<f64> = (0..400).map(|i| 40_000.0 * wobble(i)).collect();
        let found = cuts(&s, &even, &[], None, false);
        assert_eq!(found.len(), 1);
        assert!((found[0].batch_size / 40_000.0 - 1.0).abs() < 0.01);
        let twice: Vec<f64> =
            even.iter().enumerate().map(|(i, b)| if i < 200 { *b } else { 2.0 * b }).collect();
        let found = cuts(&s, &twice, &[], None, false);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].row, 200);
    }

    #[test]
    fn a_log_that_begins_at_a_checkpoint_has_a_past() {
        // 128 up to step 1000, 512 from there on; logged every 10 steps.
        let s: Vec<f64> = (1..=50).map(|i| 1000.0 + f64::from(i) * 10.0).collect();
        let t: Vec<f64> = s.iter().map(|s| 128e3 + 512.0 * (s - 1000.0)).collect();
        let b = vec![512.0; 50];
        let found = cuts(&s, &b, &[], Some(&t), false);
        let at: Vec<(f64, f64)> = found.iter().map(|c| (c.from_step, c.batch_size)).collect();
        assert_eq!(at, [(0.0, 128.0), (1000.0, 512.0)]);
        // The same size all along; a counter that began with the log; one that counts otherwise.
        let same: Vec<f64> = s.iter().map(|s| 512.0 * s).collect();
        let anew: Vec<f64> = s.iter().map(|s| 512.0 * (s - 1000.0)).collect();
        let padded: Vec<f64> = s.iter().map(|s| 400.0 * s).collect();
        for counter in [same, anew, padded] {
            assert_eq!(sizes(&cuts(&s, &b, &[], Some(&counter), false)), [512.0]);
        }
        assert_eq!(sizes(&cuts(&s, &b, &[], None, false)), [512.0]);
    }

    #[test]
    fn one_odd_row_is_no_change_and_a_ramp_is_many() {
        let s = steps(9, 1.0);
        let odd = [64.0, 64.0, 64.0, 17.0, 64.0, 64.0, 64.0, 64.0, 64.0];
        assert_eq!(sizes(&cuts(&s, &odd, &[], None, false)), [64.0]);
        let ramp = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0];
        assert_eq!(sizes(&cuts(&s, &ramp, &[], None, false)), [1.0, 2.0, 3.0]);
        assert!(cuts(&[], &[], &[], None, false).is_empty());
    }

    #[test]
    fn the_switched_fixtures_are_cut_where_they_were_switched() {
        for (sweep, name, want) in [
            ("mlp_sweep", "sched", vec![(128.0, 0.0), (256.0, 78_125.0), (512.0, 117_188.0)]),
            ("mlp2_sweep", "ramp1024", vec![(1024.0, 0.0), (2048.0, 17_579.0), (4096.0, 20_509.0)]),
        ] {
            let runs = super::super::fixture::sweep(sweep);
            let r = runs.iter().find(|r| r.id.contains(name)).unwrap();
            let got: Vec<(f64, f64)> =
                r.segments.iter().map(|s| (s.batch_size, s.from_step)).collect();
            assert_eq!(got, want);
            for w in r.segments.windows(2) {
                let steps = w[0].to_step - w[0].from_step;
                assert_eq!(w[1].from_tokens - w[0].from_tokens, steps * w[0].batch_size);
            }
        }
    }
}
