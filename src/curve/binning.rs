//! A run's loss as bins of equal width in ln tokens: what the fits see.

use super::Bin;
use crate::run::{Columns, Lines, WINDOW, clean, noise};

/// Bins of the stable phase of a run.
pub(super) const BINS: usize = 60;
/// Bins of each stretch after a switch, equal in ln steps since it.
const BINS_AFTER_SWITCH: usize = 20;
/// Standard error assumed where a series is too short to tell its noise, nats.
const UNKNOWN_SE: f64 = 0.02;

/// Rise of the loss that is no wandering at a floor, nats.
const DRIFT: f64 = 0.025;

/// Rows of `columns` with tokens in `(from, to]`, `from` included where `closed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub from: f64,
    pub to: f64,
    pub closed: bool,
}

impl Window {
    fn rows(&self, c: &Columns) -> std::ops::Range<usize> {
        let first = if self.closed {
            c.tokens.partition_point(|t| *t < self.from)
        } else {
            c.tokens.partition_point(|t| *t <= self.from)
        };
        first..c.tokens.partition_point(|t| *t <= self.to).max(first)
    }

    /// Rows with a finite loss.
    pub fn points(&self, c: &Columns) -> usize {
        c.loss[self.rows(c)].iter().filter(|l| l.is_finite()).count()
    }
}

/// Bins of one stretch at constant batch size.
pub(super) fn constant(columns: &Columns, window: Window) -> Vec<Bin> {
    let width = (window.to / window.from.max(1.0)).ln() / BINS as f64;
    let from = window.from.max(1.0).ln();
    binned(columns, window, |x, _| (((x - from) / width) as usize).min(BINS - 1))
}

/// Bins of a stretch that begins with a switch at `from_step`: equal in ln steps since it, so that
/// the relaxation is seen.
pub(super) fn after_switch(columns: &Columns, window: Window, from_step: f64) -> Vec<Bin> {
    let rows = window.rows(columns);
    let steps =
        rows.end.checked_sub(1).and_then(|i| columns.step.get(i)).map_or(0.0, |s| s - from_step);
    let unit = (steps * 0.02).max(1.0);
    let width = (1.0 + steps / unit).ln() / BINS_AFTER_SWITCH as f64;
    binned(columns, window, |_, step| {
        ((1.0 + (step - from_step).max(0.0) / unit).ln() / width) as usize
    })
}

/// Means over the rows that `bin` (of ln tokens and steps) puts together.
fn binned(columns: &Columns, window: Window, bin: impl Fn(f64, f64) -> usize) -> Vec<Bin> {
    let c = clean(columns, window.rows(columns));
    let lines = Lines::new(&c.x, &c.loss, WINDOW);
    let noise = noise(&c.x, &c.loss, &lines);
    let mut out = Vec::new();
    let mut i = 0;
    while i < c.x.len() {
        let k = bin(c.x[i], columns.step[c.row[i]]);
        let mut j = i + 1;
        while j < c.x.len() && bin(c.x[j], columns.step[c.row[j]]) == k {
            j += 1;
        }
        let n = (j - i) as f64;
        let mean = |f: &dyn Fn(usize) -> f64| (i..j).map(f).sum::<f64>() / n;
        let ln_steps = mean(&|r| columns.step[c.row[r]].max(0.5).ln());
        let se = noise.sd * (noise.inflation / n).min(1.0).sqrt();
        out.push(Bin {
            steps: ln_steps.exp(),
            tokens: mean(&|r| c.x[r]).exp(),
            loss: mean(&|r| c.loss[r]),
            se: if se.is_finite() { se } else { UNKNOWN_SE },
        });
        i = j;
    }
    out
}

/// Whether the smoothed loss rises through the late part: its last value lies above its lowest by
/// more than noise and by more than [`DRIFT`], and the lowest came before half of the tokens.
/// (At its floor a run wanders by 0.015 nats and is fitted; those that drift went up by 0.1.)
pub(super) fn drifts_upward(bins: &[Bin]) -> bool {
    let smooth: Vec<(f64, f64, f64)> = bins
        .windows(3)
        .map(|w| {
            let loss = w.iter().map(|b| b.loss).sum::<f64>() / 3.0;
            let se = w.iter().map(|b| b.se * b.se).sum::<f64>().sqrt() / 3.0;
            (w[1].tokens, loss, se)
        })
        .collect();
    let Some(last) = smooth.last() else { return false };
    let Some(low) = smooth.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return false };
    let rise = last.1 - low.1;
    rise > (4.0 * last.2.hypot(low.2)).max(DRIFT) && low.0 < 0.5 * last.0
}
