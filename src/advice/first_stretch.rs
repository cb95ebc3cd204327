//! A law against a run's first stretch, where no memory matters: does it say where the loss lies,
//! and how fast it fell?
//!
//! The level alone lets a law of another learning rate pass, since at twice the rate the signal is
//! smaller and the noise larger: somewhere along the run the two make up for one another. The fall
//! is the signal's alone (`dL / d ln S = -alpha a (S B^q)^-alpha`), and it is what a plan rests on:
//! what the run lies above the law by is taken out of a forecast, what it falls slower by is not.

use super::own_past::{stable_from, window};
use crate::curve::{Law, LawFit, LossKind};
use crate::run::RunData;

/// A law that misses a run's first stretch by more than this multiple of its own error is none of
/// this run, whatever share of L - L_inf that is.
pub const STRANGE: f64 = 3.0;
/// ... and so is one whose loss falls faster or slower than the run's by more than this multiple of
/// what noise and the law's own error explain.
pub const STEEP: f64 = 2.0;
/// No law is trusted closer than this, nats.
const LEAST_ERROR: f64 = 0.005;
/// Share of the noise's variance in which a misfit may hide, where some fifty bins were fitted.
const HIDDEN: f64 = 0.2;
/// Steps of the past that are looked at: the last factor of so many.
const LONGEST_PAST: f64 = 8.0;
const BINS: usize = 8;
/// Bins that a fall is taken from, at least.
const LEAST_BINS: usize = 5;

/// What a law says of a run's first stretch, beside what was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FirstStretch {
    /// Rms of observed - law, in units of what the law may miss it by.
    pub off: f64,
    /// `None` where the stretch is too short.
    pub fall: Option<Fall>,
}

/// How fast the loss fell: nats for each factor of e in steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fall {
    pub observed: f64,
    pub predicted: f64,
    /// What their difference may be by the noise of the losses and by the law's own error.
    pub se: f64,
}

impl Fall {
    pub fn off(&self) -> f64 {
        (self.observed - self.predicted).abs() / self.se
    }
}

/// A bin of the stretch.
#[derive(Debug, Clone, Copy)]
struct Bin {
    step: f64,
    loss: f64,
    se: f64,
    /// Log lines.
    lines: f64,
}

impl FirstStretch {
    /// Over bins equal in log steps from the burn-in on. `None` where the stretch is too short.
    pub fn of(run: &RunData, fit: &LawFit) -> Option<FirstStretch> {
        let batch_size = run.segments.first()?.batch_size;
        let bins = bins(run, fit)?;
        let off = strangeness(&bins, fit, batch_size)?;
        Some(FirstStretch { off, fall: fall(&bins, fit, batch_size) })
    }
}

fn bins(run: &RunData, fit: &LawFit) -> Option<Vec<Bin>> {
    let columns = match fit.on {
        LossKind::Train => &run.train,
        LossKind::Val => &run.validation,
    };
    let end = run.segments.get(1).map_or(f64::INFINITY, |next| next.from_step);
    let end = end.min(columns.step.last().copied()?);
    let from = fit.burn_in_steps.max(stable_from(run)).max(columns.step.first().copied()?);
    let from = from.max(end / LONGEST_PAST);
    if !(end > 1.3 * from && from > 0.0) {
        return None;
    }
    let edge = |k: usize| from * (end / from).powf(k as f64 / BINS as f64);
    let one = |k: usize| {
        let (step, loss, se) = window(columns, edge(k), edge(k + 1))?;
        let [lo, hi] = [k, k + 1].map(|k| columns.step.partition_point(|s| *s <= edge(k)));
        let lines = (lo..hi).filter(|i| columns.loss[*i].is_finite()).map(|i| columns.weight(i));
        Some(Bin { step, loss, se, lines: lines.sum() })
    };
    Some((0..BINS).filter_map(one).collect())
}

/// Unlike a share of L - L_inf it does not hang on L_inf.
fn strangeness(bins: &[Bin], fit: &LawFit, batch_size: f64) -> Option<f64> {
    let own = fit.rms_nats.max(LEAST_ERROR);
    let mut sum = 0.0;
    for bin in bins {
        let by = |law: &Law| law.loss(bin.step, batch_size);
        let centre = by(&fit.law);
        let draws = fit.draws.iter().map(by).filter(|l| l.is_finite());
        let (squares, count) =
            draws.fold((0.0, 0.0), |(s, n), l| (s + (l - centre).powi(2), n + 1.0f64));
        let variance = own.powi(2) + bin.se.powi(2) + squares / count.max(1.0);
        sum += (bin.loss - centre).powi(2) / variance;
    }
    let off = (sum / bins.len() as f64).sqrt();
    (bins.len() >= 3 && off.is_finite()).then_some(off)
}

/// Straight lines through the bins over ln S, each weighted by its log lines.
fn fall(bins: &[Bin], fit: &LawFit, batch_size: f64) -> Option<Fall> {
    if bins.len() < LEAST_BINS {
        return None;
    }
    let lines: f64 = bins.iter().map(|b| b.lines).sum();
    let middle = bins.iter().map(|b| b.lines * b.step.ln()).sum::<f64>() / lines;
    let lever = |b: &Bin| b.lines * (b.step.ln() - middle);
    let spread: f64 = bins.iter().map(|b| lever(b) * (b.step.ln() - middle)).sum();
    let slope =
        |of: &dyn Fn(&Bin) -> f64| bins.iter().map(|b| lever(b) * of(b)).sum::<f64>() / spread;
    let by = |law: &Law| slope(&|b| law.loss(b.step, batch_size));
    let (observed, predicted) = (slope(&|b| b.loss), by(&fit.law));
    // The noise as the lines of a bin scatter, or as the bins do, which knows what a run wanders by.
    let by_lines = bins.iter().map(|b| (lever(b) * b.se).powi(2)).sum::<f64>() / spread.powi(2);
    let above = |b: &Bin| b.loss - fit.law.loss(b.step, batch_size);
    let mean = bins.iter().map(|b| b.lines * above(b)).sum::<f64>() / lines;
    let rest = |b: &Bin| above(b) - mean - (observed - predicted) * (b.step.ln() - middle);
    let scatter = bins.iter().map(|b| b.lines * rest(b).powi(2)).sum::<f64>();
    let by_bins = scatter / (bins.len() - 2) as f64 / spread;
    // Half of the draws lie so close; a few of a vague law lie anywhere.
    let mut draws: Vec<f64> = fit.draws.iter().map(|l| (by(l) - predicted).abs()).collect();
    draws.retain(|d| d.is_finite());
    draws.sort_by(f64::total_cmp);
    let of_draws = 1.48 * draws.get(draws.len() / 2).copied().unwrap_or(0.0);
    // What the law misses its own runs by, were it all in the fall.
    let noise2 = fit.noise_nats.powi(2);
    let misfit2 = (fit.rms_nats.powi(2) - noise2).max(HIDDEN * noise2);
    let se2 = by_lines.max(by_bins) + of_draws.powi(2) + misfit2 * lines / spread;
    let fall = Fall { observed, predicted, se: se2.sqrt() };
    fall.off().is_finite().then_some(fall)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{LAW, MEMORY, group_of, live, loss_of, on_disk, run_of};
    use super::super::{VerdictKind, plan};
    use super::*;
    use crate::curve::{FitOptions, GroupFit, Law, fit};
    use crate::run::fixture;

    fn sharp(law: &Law) -> LawFit {
        LawFit { rms_nats: 0.006, ..group_of(law, MEMORY).law.unwrap() }
    }

    /// A run of the law's own rate, and one at 1.25 times that: less signal, and as much more noise on
    /// the way.
    #[test]
    fn a_law_of_another_rate_whose_level_agrees_is_told_by_the_fall() {
        let part = (512.0, 4e6);
        let right = run_of(&LAW, &MEMORY, &[part], 0.005);
        let own = FirstStretch::of(&right, &sharp(&LAW)).unwrap();
        assert!(own.off < 1.0 && own.fall.unwrap().off() < 1.0, "{own:?}");

        let less = 1.25f64.powf(-LAW.alpha);
        let lacks = LAW.signal(0.6 * part.1 / part.0 * 512f64.powf(LAW.q)) * (1.0 - less);
        let c = LAW.c + lacks * 512f64.powf(LAW.gamma);
        let fast = run_of(&Law { a: LAW.a * less, c, ..LAW }, &MEMORY, &[part], 0.005);
        let first = FirstStretch::of(&fast, &sharp(&LAW)).unwrap();
        assert!(first.off < STRANGE && first.fall.unwrap().off() > STEEP, "{first:?}");
        let ask = |run: &RunData| {
            let group = GroupFit { law: Some(sharp(&LAW)), ..group_of(&LAW, MEMORY) };
            plan(run, loss_of(run), Some(&group), &live(true), &on_disk()).verdict
        };
        assert_ne!(ask(&right).kind, VerdictKind::CannotTell);
        let refused = ask(&fast);
        assert_eq!(refused.kind, VerdictKind::CannotTell);
        assert!(refused.text.contains("in how fast the loss changed, -0."), "{refused:?}");
    }

    #[test]
    fn the_fall_is_in_nats_for_each_factor_of_e_in_steps() {
        let run = run_of(&LAW, &MEMORY, &[(512.0, 8e6)], 0.0);
        let fall = FirstStretch::of(&run, &sharp(&LAW)).unwrap().fall.unwrap();
        let signal = |tokens: f64| LAW.signal(tokens / 512.0 * 512f64.powf(LAW.q));
        let (early, late) = (-LAW.alpha * signal(1e6), -LAW.alpha * signal(8e6));
        assert!(early < fall.observed && fall.observed < late, "{early} {fall:?} {late}");
        assert!((fall.observed / fall.predicted - 1.0).abs() < 0.01, "{fall:?}");
    }

    #[test]
    fn a_short_stretch_has_no_fall() {
        let run = run_of(&LAW, &MEMORY, &[(512.0, 1600.0 * 512.0)], 0.005);
        assert_eq!(FirstStretch::of(&run, &sharp(&LAW)), None);
    }

    /// A law of the other sizes of a real sweep is one to trust at the size left out, at any time of
    /// the run.
    #[test]
    fn a_real_run_does_not_refuse_a_law_of_its_siblings() {
        let runs = fixture::sweep("mlp_sweep");
        let options = FitOptions { draws: 40, levels: 2, ..FitOptions::default() };
        let mut asked = 0;
        for id in ["b0032_lr2e-3_s1", "b0128_lr2e-3_s1", "b0512_lr2e-3_s1", "b2048_lr2e-3_s1"] {
            let run = runs.iter().find(|r| r.id == id).unwrap();
            let size = |r: &RunData| r.segments.first().map(|s| s.batch_size);
            let others: Vec<RunData> =
                runs.iter().filter(|r| size(r) != size(run)).cloned().collect();
            let law = fit(&others, &options).groups.remove(0).law.unwrap();
            for share in [0.1, 0.25, 0.5, 1.0] {
                let mut past = run.clone();
                let lines = past.train.tokens.partition_point(|t| *t <= share * run.tokens());
                // What is looked at ends with the steps.
                past.train.step.truncate(lines);
                let Some(first) = FirstStretch::of(&past, &law) else { continue };
                assert!(first.off < STRANGE, "{id} {share} {first:?}");
                assert!(first.fall.is_none_or(|f| f.off() < STEEP), "{id} {share} {first:?}");
                asked += usize::from(first.fall.is_some());
            }
        }
        assert!(asked >= 12, "{asked}");
    }
}
