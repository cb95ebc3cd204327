//! The fit window of the laws, and their scores on batch sizes left out.
//!
//! The laws hold after a burn-in that no theory gives: on real sweeps B_opt moves by a factor of two
//! with it. So each burn-in of a geometric grid (powers of two from the end of the warmup) is scored
//! by leaving out one batch size at a time and predicting its loss, always on the same bins; the
//! best one is shown, and those that cannot be told from it widen the interval.

use super::data::{SeriesSet, Weights};
use super::model::{AnyLaw, LAWS, LossModel, Minimum, Refusal};
use super::report::Variation;
use super::series::{Bin, ConstantSeries};
use super::threads;

/// Bins that each batch size must keep after the burn-in, and the factor of tokens they must span.
const LEAST_BINS: usize = 8;
const LEAST_SPAN: f64 = 2.5;
const MOST_WINDOWS: usize = 8;
/// A log begins late where it does so many times later than the middle one.
const LATE: f64 = 2.0;

/// A batch size left out of a fit.
#[derive(Debug, Clone)]
pub(super) struct LeftOut {
    /// Tokens a step.
    pub batch_size: f64,
    /// The law fitted to the others.
    pub law: AnyLaw,
    /// Rms error of its prediction, nats, where every window is scored.
    pub rms_nats: f64,
}

/// One law on one window.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    pub model: &'static dyn LossModel,
    pub law: AnyLaw,
    pub refusal: Option<Refusal>,
    /// Rms of the fit, nats, every batch size with the same weight.
    pub rms_nats: f64,
    /// Empty where there are too few sizes to leave one out.
    pub left_out: Vec<LeftOut>,
}

impl Fitted {
    /// Mean over the batch sizes of the error on the one left out, nats.
    pub fn held_out_nats(&self) -> Option<f64> {
        let n = self.left_out.len();
        (n > 0).then(|| self.left_out.iter().map(|l| l.rms_nats).sum::<f64>() / n as f64)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Steps.
    pub burn_in: f64,
    pub set: SeriesSet,
    /// In the order of [`LAWS`]; those without enough batch sizes are absent.
    pub laws: Vec<Fitted>,
}

impl Window {
    /// The joint law that speaks: with q only where it predicts left-out sizes better, or where too
    /// few sizes were trained to ask for that.
    pub fn joint(&self) -> Option<&Fitted> {
        let plain = self.floors().find(|f| f.model.parameters() == 5);
        let with_q = self.floors().find(|f| f.model.parameters() == 6);
        match (plain, with_q) {
            (Some(p), Some(w)) => match (p.held_out_nats(), w.held_out_nats()) {
                (Some(a), Some(b)) if b < 0.98 * a => Some(w),
                _ => Some(p),
            },
            (p, w) => p.or(w),
        }
    }

    /// The joint law, plain and with q, as far as the data hold it.
    fn floors(&self) -> impl Iterator<Item = &Fitted> {
        self.laws.iter().filter(|f| matches!(f.law, AnyLaw::Floor(_)) && f.refusal.is_none())
    }

    /// How far a run wanders about its course, nats, by the law that leaves least.
    pub fn wander(&self) -> f64 {
        let each = self.laws.iter().map(|f| wander(&f.law, &self.set));
        each.min_by(f64::total_cmp).unwrap_or(0.0)
    }

    pub fn rival(&self) -> Option<&Fitted> {
        self.laws.iter().find(|f| matches!(f.law, AnyLaw::NoFloor(_)))
    }
}

/// The law of the best window, otherwise made.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    pub variation: Variation,
    pub window: Window,
    pub fitted: Fitted,
    /// It predicts left-out sizes no worse than the law that speaks.
    pub comparable: bool,
}

/// The windows tried, the index of the one that predicts best, and those that cannot be told from
/// it.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows {
    pub all: Vec<Window>,
    pub best: usize,
    pub comparable: Vec<usize>,
    /// Of the best one.
    pub variants: Vec<Variant>,
}

impl Windows {
    pub fn best(&self) -> Option<&Window> {
        self.all.get(self.best)
    }

    pub fn fit(series: &[&ConstantSeries]) -> Windows {
        let burn_ins = burn_ins(series);
        // Every window is judged where all of them look.
        let scored_from = burn_ins.last().copied().unwrap_or(0.0);
        let mut all: Vec<Window> = Vec::new();
        for &burn_in in &burn_ins {
            let set = SeriesSet::new(series, burn_in);
            let before = all.last().map(|w: &Window| w.laws.clone()).unwrap_or_default();
            let found = threads::map(&LAWS, |_, m| minimum(*m, &set, &before));
            let found = LAWS.iter().zip(found).filter_map(|(m, f)| Some((*m, f?)));
            let laws = found.map(|(m, f)| scored(m, f, &set, scored_from)).collect();
            all.push(Window { burn_in, set, laws });
        }
        let mut windows = Windows { all, ..Windows::default() };
        windows.choose();
        windows.variants = windows.vary(scored_from).unwrap_or_default();
        windows
    }

    /// The other form of the law, and the one that speaks with every bin weighing the same.
    fn vary(&self, scored_from: f64) -> Option<Vec<Variant>> {
        let best = self.best()?;
        let speaks = best.joint()?;
        let errors = |f: &Fitted| -> Vec<f64> { f.left_out.iter().map(|l| l.rms_nats).collect() };
        let variant = |variation, set: SeriesSet, fitted: Fitted| Variant {
            variation,
            comparable: not_worse(&errors(&fitted), &errors(speaks)),
            window: Window { burn_in: best.burn_in, set, laws: Vec::new() },
            fitted,
        };
        let other = best.floors().find(|f| f.model.parameters() != speaks.model.parameters());
        let form = other.map(|f| variant(Variation::Form, best.set.clone(), f.clone()));
        let set = best.set.clone().weighed(Weights::Bins);
        let found = speaks.model.minimum(&set, Some(&speaks.law)).filter(|m| m.refusal.is_none());
        let weights = found.map(|m| {
            let fitted = scored(speaks.model, m, &set, scored_from);
            variant(Variation::Weights, set, fitted)
        });
        Some(form.into_iter().chain(weights).collect())
    }

    fn choose(&mut self) {
        let errors: Vec<Option<Vec<f64>>> = self
            .all
            .iter()
            .map(|w| w.joint().filter(|j| !j.left_out.is_empty()))
            .map(|j| j.map(|j| j.left_out.iter().map(|l| l.rms_nats).collect()))
            .collect();
        let mean = |e: &[f64]| e.iter().sum::<f64>() / e.len() as f64;
        let scored = errors.iter().enumerate().filter_map(|(i, e)| Some((i, mean(e.as_ref()?))));
        match scored.min_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((best, _)) => {
                self.best = best;
                let reference = errors[best].clone().unwrap_or_default();
                self.comparable = (0..self.all.len())
                    .filter(|&i| errors[i].as_ref().is_some_and(|e| not_worse(e, &reference)))
                    .collect();
            }
            None => {
                // Nothing to judge by: the middle one speaks and all of them widen.
                let held = |w: &Window| w.joint().is_some();
                let usable: Vec<usize> =
                    (0..self.all.len()).filter(|&i| held(&self.all[i])).collect();
                self.best = usable.get(usable.len() / 2).copied().unwrap_or(0);
                self.comparable = usable;
            }
        }
    }
}

/// Whether errors are within one standard error of the best ones, paired by batch size.
pub(super) fn not_worse(errors: &[f64], best: &[f64]) -> bool {
    if errors.len() != best.len() {
        return false;
    }
    let d: Vec<f64> = errors.iter().zip(best).map(|(a, b)| a - b).collect();
    let (mean, se) = mean_and_error(&d);
    mean <= se + 1e-9
}

/// Mean of some values and its standard error.
pub(super) fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    if n == 0.0 {
        return (0.0, 0.0);
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

/// The grid: powers of two from the end of the longest warmup, as far as every batch size keeps
/// enough of its run.
fn burn_ins(series: &[&ConstantSeries]) -> Vec<f64> {
    let first = |s: &&ConstantSeries| {
        s.bins.iter().map(|b| b.steps).find(|s| *s > 0.0).unwrap_or(f64::INFINITY)
    };
    let earliest = series.iter().map(first).fold(f64::INFINITY, f64::min);
    let earliest = if earliest.is_finite() { earliest.max(1.0) } else { 1.0 };
    let keeps = |b: f64, burn_in: f64| {
        let mut runs = series.iter().filter(|s| (s.batch_size / b).ln().abs() <= 1e-3);
        runs.any(|s| keeps(&s.bins, burn_in))
    };
    let all = SeriesSet::new(series, earliest).sizes;
    let kept = |from: f64| all.iter().filter(|b| keeps(**b, from)).count();
    let stable = series.iter().map(|s| (s.stable_from_steps, s.stable_from_tokens));
    let start = longest_warmup(stable, |s| kept(s.max(earliest)), LAWS[0].sizes_needed());
    let start = start.map_or(earliest, |s| s.max(earliest));
    let sizes = SeriesSet::new(series, start).sizes;
    let mut grid = vec![start];
    while grid.len() < 40 && sizes.iter().all(|b| keeps(*b, grid[grid.len() - 1] * 2.0)) {
        grid.push(grid[grid.len() - 1] * 2.0);
    }
    grid.drain(..grid.len().saturating_sub(MOST_WINDOWS));
    grid
}

/// Whether a run that is binned so keeps enough after a burn-in.
pub(super) fn keeps(bins: &[Bin], burn_in: f64) -> bool {
    bins.iter().filter(|b| b.steps >= burn_in).count() >= LEAST_BINS
        && bins.last().is_some_and(|b| b.steps >= LEAST_SPAN * burn_in)
}

/// Steps at the end of the longest warmup, of the steps and tokens at which runs become stable, but no
/// later than `needed` of them are `kept`, or the most there are. A log that begins late, in steps and in
/// tokens, by the side of the others, takes nothing from them.
pub(super) fn longest_warmup(
    stable: impl Iterator<Item = (f64, f64)>,
    kept: impl Fn(f64) -> usize,
    needed: usize,
) -> Option<f64> {
    let stable: Vec<(f64, f64)> = stable.filter(|(s, t)| s.is_finite() && t.is_finite()).collect();
    let middle = |of: fn(&(f64, f64)) -> f64| {
        let mut sorted: Vec<f64> = stable.iter().map(of).collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
    };
    let (steps, tokens) = (middle(|s| s.0), middle(|s| s.1));
    let late = |(s, t): &&(f64, f64)| *s > LATE * steps && *t > LATE * tokens;
    let mut early: Vec<f64> = stable.iter().filter(|s| !late(s)).map(|s| s.0).collect();
    early.sort_by(f64::total_cmp);
    early.into_iter().max_by_key(|s| kept(*s).min(needed))
}

/// A law on the whole set, from where the window before ended if that holds.
fn minimum(
    model: &'static dyn LossModel,
    set: &SeriesSet,
    before: &[Fitted],
) -> Option<Minimum<AnyLaw>> {
    if !model.is_asked(set.sizes.len()) {
        return None;
    }
    let near = before.iter().find(|f| f.model.name() == model.name()).map(|f| &f.law);
    near.and_then(|law| model.minimum(set, Some(law)))
        .filter(|m| m.refusal.is_none())
        .or_else(|| model.minimum(set, None))
}

/// With its errors on batch sizes left out.
fn scored(
    model: &'static dyn LossModel,
    found: Minimum<AnyLaw>,
    set: &SeriesSet,
    scored_from: f64,
) -> Fitted {
    let mut fitted = Fitted {
        model,
        law: found.found,
        refusal: found.refusal,
        rms_nats: rms(&found.found, set),
        left_out: Vec::new(),
    };
    if set.sizes.len() > model.sizes_needed() {
        let left_out = threads::map(&set.sizes, |size, &batch_size| {
            let law = model.minimum(&set.without(size), Some(&found.found))?.found;
            let rms_nats = prediction_error(&law, set, size, scored_from);
            Some(LeftOut { batch_size, law, rms_nats })
        });
        fitted.left_out = left_out.into_iter().flatten().collect();
    }
    fitted
}

/// Weighted rms of a law on a set, nats.
pub(super) fn rms(law: &AnyLaw, set: &SeriesSet) -> f64 {
    let (mut sum, mut weight) = (0.0, 0.0);
    for p in &set.points {
        let r = law.loss(p.ln_steps.exp(), p.ln_batch.exp()) - p.loss;
        sum += p.weight * r * r;
        weight += p.weight;
    }
    (sum / weight.max(f64::MIN_POSITIVE)).sqrt()
}

/// Steps of a run between which its slow wander has become another one, in ln tokens.
const APART: f64 = 0.3;

/// How far the loss of a run wanders about any smooth course, nats: more slowly than its lines show,
/// faster than a law is wrong. Robust, from second differences of what the law leaves.
pub(super) fn wander(law: &AnyLaw, set: &SeriesSet) -> f64 {
    let mut all = Vec::new();
    for run in &set.runs {
        let points = &set.points[run.range.clone()];
        let [first, .., last] = points else { continue };
        let width = (last.ln_steps - first.ln_steps) / (points.len() - 1) as f64;
        let far = ((APART / width).round() as usize).max(1);
        let left = |i: usize| {
            let p: &super::data::LawPoint = &points[i];
            p.loss - law.loss(p.ln_steps.exp(), p.ln_batch.exp())
        };
        all.extend(
            (far..points.len().saturating_sub(far))
                .map(|i| (left(i - far) - 2.0 * left(i) + left(i + far)).abs() / 6f64.sqrt()),
        );
    }
    all.retain(|x| x.is_finite());
    all.sort_by(f64::total_cmp);
    1.4826 * all.get(all.len() / 2).copied().unwrap_or(0.0)
}

fn prediction_error(law: &AnyLaw, set: &SeriesSet, size: usize, from: f64) -> f64 {
    let points = set.points.iter().filter(|p| p.size == size && p.ln_steps >= from.ln());
    let (mut sum, mut n) = (0.0, 0.0);
    for p in points {
        sum += (law.loss(p.ln_steps.exp(), p.ln_batch.exp()) - p.loss).powi(2);
        n += 1.0;
    }
    if n > 0.0 { (sum / n).sqrt() } else { 0.0 }
}
