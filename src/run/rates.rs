//! Where a run stands now, and how fast it goes.

use super::crossing::{Crossing, Falling, Point};
use super::smoothing::{self, WINDOW};
use super::{Columns, RunData};
use std::ops::Range;

/// Rows that the present throughput is taken from.
const RECENT: usize = 200;
/// Time per token over its median from which an interval is a pause.
const PAUSE: f64 = 20.0;

/// Losses in a row that are NaN or infinite before a run has none any more.
const LOST: usize = 3;

/// Train losses, else those of the validation.
fn losses(run: &RunData) -> &Columns {
    if run.train.loss.iter().any(|l| l.is_finite()) { &run.train } else { &run.validation }
}

/// Tokens since which every loss of the run is NaN or infinite; `None` where the last ones are not.
pub fn lost_since(run: &RunData) -> Option<f64> {
    let c = match losses(run) {
        c if c.is_empty() => &run.train,
        c => c,
    };
    let lost = c.loss.iter().rev().take_while(|l| !l.is_finite()).count();
    (lost >= LOST).then(|| c.tokens[c.len() - lost])
}

/// The smoothed loss at the present end of the run (train loss, else validation), nats per token.
pub fn loss_now(run: &RunData) -> Option<f64> {
    if lost_since(run).is_some() {
        return None;
    }
    let columns = losses(run);
    let from = last_stretch(run, columns);
    let c = smoothing::clean(columns, from..columns.len());
    let x = *c.x.last()?;
    let value = if c.x.len() < 3 { c.loss.last().copied() } else { Some(c.lines(WINDOW).at(x).0) };
    value.filter(|v| v.is_finite())
}

/// Tokens at which the smoothed, falling loss of a run crosses `loss`, along its whole life; `None`
/// where it never does. For comparing two runs as measured, whatever their schedules.
pub fn tokens_to(run: &RunData, loss: f64) -> Option<f64> {
    arrival(&run.train, loss).map(|(tokens, _)| tokens)
}

/// The same of a series, with the standard error of ln tokens.
pub fn arrival(columns: &Columns, loss: f64) -> Option<(f64, f64)> {
    let s = smoothing::smooth(columns, 0..columns.len(), WINDOW);
    let point = |((t, l), se): ((&f64, &f64), &f64)| Point { x: t.ln(), loss: *l, se: *se };
    let points: Vec<Point> = s.tokens.iter().zip(&s.loss).zip(&s.se).map(point).collect();
    match Falling::new(&points).crossing(loss) {
        Crossing::At { x, se } => Some((x.exp(), se)),
        Crossing::Before | Crossing::Never => None,
    }
}

/// First row of the last window that no batch change and no change of phase cuts.
fn last_stretch(run: &RunData, columns: &Columns) -> usize {
    let segment = run.segments.last().map_or(0.0, |s| s.from_tokens);
    let phase = run.phases.spans.last().map_or(0, |s| s.range.start);
    let phase = run.train.tokens.get(phase).copied().unwrap_or(0.0);
    let end = columns.tokens.last().copied().unwrap_or(f64::NAN);
    let from = segment.max(phase).max(end * (-4.0 * WINDOW).exp());
    let i = columns.tokens.partition_point(|t| *t < from);
    if columns.len() - i >= 3 { i } else { columns.len().saturating_sub(3) }
}

/// Tokens per second over the recent rows at the present batch size. Intervals many times as slow
/// as the median (a restart, a pause) do not count; evaluations and checkpoints do. `None` without
/// times.
pub fn throughput(run: &RunData) -> Option<f64> {
    let c = &run.train;
    let since = run.segments.last().map_or(0, |s| s.range.start);
    let from = if c.len().saturating_sub(since) > 10 { since } else { 0 };
    pace(c, from..c.len())
}

/// The same over the last rows of a range.
pub fn pace(c: &Columns, rows: Range<usize>) -> Option<f64> {
    let recent = joined(&intervals(c, rows).collect::<Vec<_>>());
    let typical = super::segments::median(&recent.iter().map(|(s, t)| s / t).collect::<Vec<_>>());
    let (seconds, tokens) = recent
        .iter()
        .filter(|(s, t)| s / t <= PAUSE * typical)
        .fold((0.0, 0.0), |sum, (s, t)| (sum.0 + s, sum.1 + t));
    (seconds > 0.0).then(|| tokens / seconds)
}

/// Intervals joined until each takes as long as the mean: a writer that logs in bursts has intervals
/// of almost no time, and the pause between two bursts is its pace. A wait in a queue or a wrong
/// clock, which nothing else comes near to, is in no mean.
fn joined(intervals: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut seconds: Vec<f64> = intervals.iter().map(|i| i.0).collect();
    seconds.sort_by(f64::total_cmp);
    while let [.., before, last] = seconds.as_slice()
        && *before > 0.0
        && *last > PAUSE * before
    {
        seconds.pop();
    }
    let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
    let mut out = Vec::new();
    let mut sum = (0.0, 0.0);
    for (seconds, tokens) in intervals {
        sum = (sum.0 + seconds, sum.1 + tokens);
        if sum.0 >= mean {
            out.push(sum);
            sum = (0.0, 0.0);
        }
    }
    out
}

/// Median seconds and tokens between records. `None` without times.
pub fn log_interval(run: &RunData) -> Option<(f64, f64)> {
    let recent: Vec<(f64, f64)> =
        intervals(&run.train, 0..run.train.len()).filter(|i| i.0 > 0.0).collect();
    let middle = |v: Vec<f64>| super::segments::median(&v);
    (!recent.is_empty()).then(|| {
        (middle(recent.iter().map(|r| r.0).collect()), middle(recent.iter().map(|r| r.1).collect()))
    })
}

/// Seconds and tokens between the last rows of a range.
fn intervals(c: &Columns, rows: Range<usize>) -> impl Iterator<Item = (f64, f64)> {
    let known: Vec<(f64, f64)> = rows
        .rev()
        .filter(|i| c.time[*i].is_finite() && c.tokens[*i].is_finite())
        .take(RECENT)
        .map(|i| (c.time[i], c.tokens[i]))
        .collect();
    let pairs: Vec<(f64, f64)> =
        known.windows(2).map(|w| (w[0].0 - w[1].0, w[0].1 - w[1].1)).collect();
    pairs.into_iter().filter(|(s, t)| *s >= 0.0 && *t > 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::{Assumptions, fixture};
    use super::*;
    use crate::metrics::Record;

    fn run(time: impl Fn(f64) -> f64, batch: impl Fn(f64) -> f64) -> RunData {
        let records: Vec<Record> = (1..=100)
            .map(|i| {
                let step = f64::from(i) * 10.0;
                Record {
                    step: Some(step),
                    loss: Some(3.0 - step / 1e3),
                    batch_tokens: Some(batch(step)),
                    time: Some(1e9 + time(step)),
                    ..Record::default()
                }
            })
            .collect();
        fixture::made_of(&records, Assumptions::default())
    }

    #[test]
    fn a_run_whose_losses_are_nan_has_none() {
        let lost = |from: f64, to: f64| {
            let mut record = |i: u32| {
                let step = f64::from(i);
                let loss = if (from..to).contains(&step) { f64::NAN } else { 3.0 };
                let loss = if step == to { f64::INFINITY } else { loss };
                let (step, loss, batch_tokens) = (Some(step), Some(loss), Some(64.0));
                Record { step, loss, batch_tokens, ..Record::default() }
            };
            let records: Vec<Record> = (1..=100).map(&mut record).collect();
            let r = fixture::made_of(&records, Assumptions::default());
            (loss_now(&r).is_some(), lost_since(&r))
        };
        assert_eq!(lost(40.0, 60.0), (true, None));
        // One or two may be skipped steps.
        assert_eq!(lost(99.0, 100.0), (true, None));
        assert_eq!(lost(98.0, 100.0), (false, Some(98.0 * 64.0)));
        assert_eq!(lost(1.0, 100.0), (false, Some(64.0)));
    }

    #[test]
    fn a_pause_does_not_slow_the_run_down() {
        let r = run(|s| s + if s > 500.0 { 3600.0 } else { 0.0 }, |_| 64.0);
        assert!((throughput(&r).unwrap() - 64.0).abs() < 1e-9);
        assert_eq!(log_interval(&r), Some((10.0, 640.0)));
    }

    #[test]
    fn a_day_in_the_queue_or_a_wrong_clock_does_not_slow_the_run_down() {
        let day = |s: f64| if s > 500.0 { 86400.0 } else { 0.0 };
        let ahead = |s: f64| if s > 990.0 { 3e9 } else { 0.0 };
        for wrong in [false, true] {
            let clock = |s: f64| s / 10.0 + day(s) + if wrong { ahead(s) } else { 0.0 };
            let r = run(clock, |_| 64.0);
            assert!((throughput(&r).unwrap() - 640.0).abs() < 1e-9, "{:?}", throughput(&r));
        }
        // Ten lines at once, ten seconds apart: the pause is the pace.
        let bursts = run(|s| (s / 100.0).ceil() * 10.0 + s * 1e-5, |_| 64.0);
        assert!((throughput(&bursts).unwrap() / 640.0 - 1.0).abs() < 0.15);
    }

    #[test]
    fn only_the_present_batch_size_counts() {
        let r = run(|s| s, |s| if s > 500.0 { 128.0 } else { 64.0 });
        assert!((throughput(&r).unwrap() - 128.0).abs() < 1e-9);
        let silent = run(|_| f64::NAN, |_| 64.0);
        assert_eq!((throughput(&silent), log_interval(&silent)), (None, None));
    }

    #[test]
    fn the_present_loss_of_the_real_runs() {
        for r in fixture::sweep("mlp_sweep") {
            let end = r.train.len() - 100;
            let mean = r.train.loss[end..].iter().sum::<f64>() / 100.0;
            let now = loss_now(&r).unwrap();
            let decays = r.id.contains("wsd");
            assert!((now - mean).abs() < if decays { 0.03 } else { 0.01 }, "{} {now} {mean}", r.id);
        }
        assert_eq!(loss_now(&fixture::made_of(&[], Assumptions::default())), None);
    }
}
