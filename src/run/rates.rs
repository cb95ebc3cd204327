//! Where a run stands now, and how fast it goes.

use super::smoothing::{self, WINDOW};
use super::{Columns, RunData};

/// Rows that the present throughput is taken from.
const RECENT: usize = 200;

/// The smoothed loss at the present end of the run (train loss, else validation), nats per token.
pub fn loss_now(run: &RunData) -> Option<f64> {
    let columns =
        if run.train.loss.iter().any(|l| l.is_finite()) { &run.train } else { &run.validation };
    let from = last_stretch(run, columns);
    let c = smoothing::clean(columns, from..columns.len());
    let x = *c.x.last()?;
    let value = if c.x.len() < 3 {
        c.loss.last().copied()
    } else {
        let lines = smoothing::Lines::new(&c.x, &c.loss, WINDOW);
        Some(lines.at(x).0)
    };
    value.filter(|v| v.is_finite())
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

/// Tokens per second over the recent rows: the median of the intervals weighted by their tokens,
/// so that pauses and restarts do not count. `None` without times.
pub fn throughput(run: &RunData) -> Option<f64> {
    let mut rates: Vec<(f64, f64)> = intervals(&run.train)
        .filter(|(_, tokens)| *tokens > 0.0)
        .map(|(seconds, tokens)| (tokens / seconds, tokens))
        .collect();
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = rates.iter().map(|r| r.1).sum::<f64>() / 2.0;
    let mut sum = 0.0;
    rates
        .into_iter()
        .find(|(_, w)| {
            sum += w;
            sum >= half
        })
        .map(|r| r.0)
}

/// Median seconds and tokens between records. `None` without times.
pub fn log_interval(run: &RunData) -> Option<(f64, f64)> {
    let recent: Vec<(f64, f64)> = intervals(&run.train).collect();
    let middle = |v: Vec<f64>| super::segments::median(&v);
    (!recent.is_empty()).then(|| {
        (middle(recent.iter().map(|r| r.0).collect()), middle(recent.iter().map(|r| r.1).collect()))
    })
}

/// Seconds and tokens between the recent rows.
fn intervals(c: &Columns) -> impl Iterator<Item = (f64, f64)> {
    let known: Vec<(f64, f64)> = (0..c.len())
        .rev()
        .filter(|i| c.time[*i].is_finite() && c.tokens[*i].is_finite())
        .take(RECENT)
        .map(|i| (c.time[i], c.tokens[i]))
        .collect();
    let pairs: Vec<(f64, f64)> =
        known.windows(2).map(|w| (w[0].0 - w[1].0, w[0].1 - w[1].1)).collect();
    pairs.into_iter().filter(|(s, t)| *s > 0.0 && *t > 0.0)
}
