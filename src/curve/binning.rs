//! A run's loss as bins of equal width in ln tokens: what the fits see.

use super::{Bin, ConstantSeries};
use crate::run::{Columns, WINDOW, clean};

/// Bins of the stable phase of a run.
pub(super) const BINS: usize = 60;
/// Bins of each stretch after a switch, equal in ln steps since it.
const BINS_AFTER_SWITCH: usize = 20;
/// Standard error assumed where a series is too short to tell its noise, nats.
const UNKNOWN_SE: f64 = 0.02;

/// Rise of the loss that is no wandering at a floor, nats.
const DRIFT: f64 = 0.025;
/// A rise that is no drift any more, nats.
const DIVERGED: f64 = 0.06;

/// Bins below which a series does not tell its own noise.
const SPARSE: usize = 24;

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
    let noise = c.noise(&c.lines(WINDOW));
    let mut out = Vec::new();
    let mut i = 0;
    while i < c.x.len() {
        let k = bin(c.x[i], columns.step[c.row[i]]);
        let mut j = i + 1;
        while j < c.x.len() && bin(c.x[j], columns.step[c.row[j]]) == k {
            j += 1;
        }
        let n: f64 = c.count[i..j].iter().sum();
        let mean = |f: &dyn Fn(usize) -> f64| (i..j).map(|r| f(r) * c.count[r]).sum::<f64>() / n;
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

/// A handful of evaluations does not tell its own noise: such series take the median of all such.
pub(super) fn share_noise(series: &mut [ConstantSeries]) {
    let sparse = |s: &&mut ConstantSeries| s.bins.len() < SPARSE;
    let mut all: Vec<f64> =
        series.iter_mut().filter(sparse).flat_map(|s| s.bins.iter().map(|b| b.se)).collect();
    all.sort_by(f64::total_cmp);
    let Some(&se) = all.get(all.len() / 2) else { return };
    for b in series.iter_mut().filter(sparse).flat_map(|s| s.bins.iter_mut()) {
        b.se = se;
    }
}

/// Whether the smoothed loss rises through the late part: its last value lies above its lowest by
/// more than noise and by more than [`DRIFT`], and the lowest came before half of the tokens; or it
/// rises by more than [`DIVERGED`] and has not come back for a while.
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
    let noise = last.2.hypot(low.2);
    let drifted = rise > (4.0 * noise).max(DRIFT) && low.0 < 0.5 * last.0;
    drifted || (rise > (6.0 * noise).max(DIVERGED) && low.0 < 0.8 * last.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(loss: impl Fn(f64) -> f64, se: f64) -> Vec<Bin> {
        (0..60)
            .map(|i| 1e6 * 1.1f64.powi(i))
            .map(|t| Bin { steps: t / 64.0, tokens: t, loss: loss(t), se })
            .collect()
    }

    #[test]
    fn a_rise_is_a_drift_and_a_wander_at_the_floor_is_none() {
        let end = 1e6 * 1.1f64.powi(59);
        assert!(drifts_upward(&bins(|t| 2.0 + 0.1 * (t / end), 0.002)));
        assert!(!drifts_upward(&bins(|t| 2.0 + 0.015 * (t / end), 0.002)));
        assert!(!drifts_upward(&bins(|t| 2.0 + 0.1 * (t / end), 0.1)));
        assert!(!drifts_upward(&bins(|t| 2.0 + 100.0 * t.powf(-0.3), 0.002)));
        assert!(!drifts_upward(&[]));
        // One that diverged late, one that has a spike at its very end.
        let falls = |t: f64| 2.0 + 100.0 * t.powf(-0.4);
        let jumps = |at: f64| bins(move |t| falls(t) + if t > at * end { 3.0 } else { 0.0 }, 0.002);
        assert!(drifts_upward(&jumps(0.75)) && !drifts_upward(&jumps(0.95)));
    }

    #[test]
    fn bins_say_how_sure_they_are() {
        let mut c = Columns::default();
        for i in 1..=6000 {
            let x = f64::from(i);
            c.step.push(x);
            c.tokens.push(64.0 * x);
            c.loss.push(2.0 + x.powf(-0.3) + if i % 2 == 0 { 0.05 } else { -0.05 });
        }
        let all = constant(&c, Window { from: 6400.0, to: 384_000.0, closed: true });
        assert_eq!(all.len(), BINS);
        for b in &all {
            assert!((b.loss - 2.0 - b.steps.powf(-0.3)).abs() < 3.0 * b.se + 0.02, "{b:?}");
            assert!((b.tokens / b.steps - 64.0).abs() < 1e-6);
        }
        let (first, last) = (all[0], all[BINS - 1]);
        assert!(last.se < first.se && first.se < 0.05, "{first:?}");
        // The stretch after a switch is fine near the switch.
        let after =
            after_switch(&c, Window { from: 64_000.0, to: 384_000.0, closed: false }, 1000.0);
        assert!(after[0].steps > 1000.0 && after[0].steps < 1100.0, "{:?}", after[0]);
        assert!(after.len() <= BINS_AFTER_SWITCH + 1);
    }
}
