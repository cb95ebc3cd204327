//! The laws over all levels, as each level sees them: which windows' laws hold there.

use super::future::PastLaw;
use super::level::Points;
use super::model::{AnyLaw, Refusal};
use super::report::{ModelKind, Variation};
use super::select::{self, LeftOutError, Score};
use super::window::Fitted;

/// The joint law of one fit window.
#[derive(Debug, Clone)]
pub(super) struct WindowLaw<'a> {
    pub fitted: &'a Fitted,
    /// Steps before the window.
    pub burn_in: f64,
    /// How it differs from the law that speaks on this window.
    pub variation: Option<Variation>,
    /// The window that predicts the loss best.
    pub best: bool,
    /// By its error on the loss it cannot be told from the best one.
    pub comparable: bool,
    /// Fitted to the first half of every run.
    pub past: Option<PastLaw>,
    /// Resampled laws.
    pub draws: Vec<AnyLaw>,
}

/// What the laws over all levels bring to each level.
#[derive(Debug, Clone, Default)]
pub(super) struct Laws<'a> {
    pub windows: Vec<WindowLaw<'a>>,
    pub rival: Option<&'a Fitted>,
    /// How far a run wanders about its course, nats.
    pub wander: f64,
    pub rival_past: Option<PastLaw>,
    /// Why there is no joint law.
    pub refusal: Option<Refusal>,
}

impl<'a> Laws<'a> {
    pub fn joint(&self) -> Option<&'a Fitted> {
        self.windows.iter().find(|w| w.best).map(|w| w.fitted)
    }

    /// That law fitted to the first half of every run.
    pub fn past(&self) -> Option<&PastLaw> {
        self.windows.iter().find(|w| w.best)?.past.as_ref()
    }
}

/// Windows whose error in ln E is at most this much larger than that of the best one are shown to
/// be no worse by so few sizes.
pub(super) const NO_WORSE: f64 = 1.25;

/// Which windows' laws hold at each level, the one that speaks first: a law holds only after its
/// burn-in, so high losses may ask for a shorter one than the loss as a whole does.
pub(super) fn windows_at(
    losses: &[f64],
    points: &[Points],
    windows: &[WindowLaw<'_>],
) -> Vec<Vec<usize>> {
    let errors: Vec<Vec<Option<f64>>> = windows
        .iter()
        .map(|w| {
            let at = |(l, p): (&f64, &Points)| score_law(ModelKind::Joint, w.fitted, *l, p).rms();
            losses.iter().zip(points).map(at).collect()
        })
        .collect();
    let pooled = |w: usize, level: usize| {
        let near = (0..losses.len()).filter(|l| l.abs_diff(level) <= 2);
        let (sum, weight) = near
            .filter_map(|l| Some((errors[w][l]?, 0.5f64.powi(l.abs_diff(level) as i32))))
            .fold((0.0, 0.0), |(s, n), (e, weight)| (s + weight * e * e, n + weight));
        (weight > 0.0).then(|| (sum / weight).sqrt())
    };
    let best = windows.iter().position(|w| w.best).unwrap_or(0);
    (0..losses.len())
        .map(|level| {
            let scores: Vec<Option<f64>> = (0..windows.len()).map(|w| pooled(w, level)).collect();
            // A variant only widens: it neither speaks nor shows another window worse.
            let own = (0..windows.len()).filter(|&w| windows[w].variation.is_none());
            let least = own.filter_map(|w| scores[w]).fold(f64::INFINITY, f64::min);
            if !least.is_finite() {
                let mut all: Vec<usize> =
                    (0..windows.len()).filter(|&w| windows[w].comparable || w == best).collect();
                all.sort_by_key(|&w| w != best);
                return all;
            }
            let good = |w: &usize| scores[*w].is_some_and(|s| s <= NO_WORSE * least);
            let mut held: Vec<usize> = (0..windows.len()).filter(good).collect();
            held.sort_by(|&a, &b| {
                let key = |w: usize| (w != best, windows[w].variation.is_some());
                key(a).cmp(&key(b)).then_with(|| {
                    scores[a].unwrap_or(f64::MAX).total_cmp(&scores[b].unwrap_or(f64::MAX))
                })
            });
            held
        })
        .collect()
}

/// Errors in ln E of a law at the sizes that were left out of its fit.
pub(super) fn score_law(kind: ModelKind, fitted: &Fitted, loss: f64, points: &Points) -> Score {
    let errors: Vec<LeftOutError> = (0..points.len())
        .filter_map(|i| {
            let b = points[i].batch_size;
            let out = fitted.left_out.iter().find(|l| (l.batch_size / b).ln().abs() < 1e-3)?;
            let curve = out.law.curve(loss);
            Some(select::error_at(curve.as_ref(), points, i))
        })
        .collect();
    Score { kind, errors }
}
