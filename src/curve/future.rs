//! Leaving the future out: what a fit to the first half of every run's tokens says of the second.
//!
//! A batch size left out of a fit lies among others of the same age; what a live run asks is where
//! the loss goes next. So everything is fitted once more to the first halves. A law then predicts
//! the loss of the second halves; every model predicts ln E at the levels that a run crossed there,
//! which are the lowest ones. One-level models need enough sizes that had reached the level by
//! half-time, and predict the ones that came later.

use super::data::SeriesSet;
use super::level::Points;
use super::level_laws::Laws;
use super::levels::Curves;
use super::model::{AnyLaw, Curve, CurveModel};
use super::report::ModelKind;
use super::select::{self, LeftOutError};
use super::series::{Bin, ConstantSeries, Group};
use super::window::{Fitted, Window};

/// Part of its tokens that a run has had at the cut.
pub(super) const PAST: f64 = 0.5;

/// The group as it was when every run had this part of its tokens.
pub(super) fn past(group: &Group, part: f64) -> Group {
    let cut = |s: &ConstantSeries| {
        let to_tokens = s.to_tokens * part;
        let bins = s.bins.iter().filter(|b| b.tokens <= to_tokens).copied().collect();
        ConstantSeries { bins, to_tokens, ..s.clone() }
    };
    Group { constant: group.constant.iter().map(cut).collect(), ..group.clone() }
}

/// A law fitted to the first halves, and its error on the second.
#[derive(Debug, Clone)]
pub(super) struct PastLaw {
    pub law: AnyLaw,
    /// Rms, nats, every batch size with the same weight.
    pub rms_nats: f64,
}

/// `fitted`, a law of `window`, fitted again to the first halves of `series`.
pub(super) fn law(
    fitted: &Fitted,
    window: &Window,
    series: &[&ConstantSeries],
    past: &[&ConstantSeries],
) -> Option<PastLaw> {
    let set = SeriesSet::new(past, window.burn_in).weighed(window.set.weights);
    if set.sizes.len() < window.set.sizes.len() {
        return None;
    }
    let law = fitted.model.minimum(&set, Some(&fitted.law))?.found;
    let mut sizes: Vec<(f64, f64, f64)> = Vec::new();
    for s in series {
        for (square, _) in misses(&law, s, window) {
            match sizes.iter_mut().find(|x| (x.0 / s.batch_size).ln().abs() < 1e-3) {
                Some(x) => (x.1, x.2) = (x.1 + square, x.2 + 1.0),
                None => sizes.push((s.batch_size, square, 1.0)),
            }
        }
    }
    let mean = sizes.iter().map(|x| x.1 / x.2).sum::<f64>() / sizes.len().max(1) as f64;
    (!sizes.is_empty() && mean.is_finite()).then(|| PastLaw { law, rms_nats: mean.sqrt() })
}

/// What `law` misses the second half of a run by, bin by bin: (its square, that of the noise of the
/// lines), nats squared.
fn misses<'a>(
    law: &'a AnyLaw,
    s: &'a ConstantSeries,
    window: &'a Window,
) -> impl Iterator<Item = (f64, f64)> + 'a {
    let later = |b: &&Bin| b.tokens > s.to_tokens * PAST && b.steps >= window.burn_in;
    let counts = s.bins.iter().filter(later).filter(|b| b.loss.is_finite());
    counts.map(|b| ((law.loss(b.steps, s.batch_size) - b.loss).powi(2), b.se * b.se))
}

/// What a law fitted to the first halves misses the second by, nats rms beyond the noise of their
/// lines and what that may come to by chance, at the sizes that had gone far enough by then. `None`
/// where those are too few for the law.
pub(super) fn excess(
    fitted: &Fitted,
    window: &Window,
    series: &[&ConstantSeries],
    past: &[&ConstantSeries],
) -> Option<f64> {
    let set = SeriesSet::new(past, window.burn_in);
    if set.sizes.len() < fitted.model.sizes_needed() {
        return None;
    }
    let law = fitted.model.minimum(&set, Some(&fitted.law))?.found;
    let tested = |b: f64| set.sizes.iter().any(|x| (x / b).ln().abs() < 1e-3);
    let (mut sum, mut chance, mut runs) = (0.0, 0.0, 0.0);
    for s in series.iter().filter(|s| tested(s.batch_size)) {
        let (squares, noise, n) = misses(&law, s, window)
            .fold((0.0, 0.0, 0.0), |(sum, by, n): (f64, f64, f64), (square, noise)| {
                (sum + square, by + noise, n + 1.0)
            });
        if n > 0.0 {
            sum += (squares - noise) / n;
            chance += 2.0 * (noise / n).powi(2) / n;
            runs += 1.0;
        }
    }
    let mean: f64 = (sum - chance.sqrt()) / runs;
    mean.is_finite().then(|| mean.max(0.0).sqrt())
}

/// A level at half-time.
#[derive(Debug, Clone)]
pub(super) struct PastLevel {
    points: Points,
    /// Indices, into the points of today, of the sizes that crossed it since.
    later: Vec<usize>,
}

impl PastLevel {
    pub fn new(curves: &Curves<'_>, loss: f64, today: &Points) -> PastLevel {
        let points = Points::pool(&curves.observe(loss, 0.0));
        let had = |b: f64| points.reached().any(|p| (p.batch_size / b).ln().abs() < 1e-3);
        let later =
            (0..today.len()).filter(|&i| !today[i].censored && !had(today[i].batch_size)).collect();
        PastLevel { points, later }
    }

    /// Errors of a model of one level, fitted to what there was.
    pub fn one_level(
        &self,
        model: &dyn CurveModel,
        curve: &Curve,
        today: &Points,
    ) -> Vec<LeftOutError> {
        if self.later.is_empty() || self.points.reached().count() < model.sizes_needed() {
            return Vec::new();
        }
        let found = model.minimum(&self.points, Some(curve)).map(|m| m.found);
        self.errors(found.as_ref(), today)
    }

    /// Errors of a law over all levels.
    pub fn law(
        &self,
        kind: ModelKind,
        laws: &Laws<'_>,
        window: Option<usize>,
        loss: f64,
        today: &Points,
    ) -> Vec<LeftOutError> {
        let past = match kind {
            ModelKind::NoFloor => laws.rival_past.as_ref(),
            _ => window.and_then(|w| laws.windows.get(w)).and_then(|w| w.past.as_ref()),
        };
        let Some(past) = past else { return Vec::new() };
        self.errors(past.law.curve(loss).as_ref(), today)
    }

    fn errors(&self, curve: Option<&Curve>, today: &Points) -> Vec<LeftOutError> {
        let at = |&i: &usize| LeftOutError { future: true, ..select::error_at(curve, today, i) };
        self.later.iter().map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FitOptions, GroupOptions, ModelScore, fit, group_runs};
    use super::*;
    use crate::run::fixture;

    #[test]
    fn what_lies_after_half_time_is_not_seen() {
        let group = group_runs(&fixture::sweep("mlp_sweep"), &GroupOptions::default()).remove(0);
        let then = past(&group, PAST);
        for (now, then) in group.constant.iter().zip(&then.constant) {
            assert_eq!(then.to_tokens, 0.5 * now.to_tokens);
            assert!(then.bins.len() < now.bins.len());
            assert!(then.bins.iter().all(|b| b.tokens <= then.to_tokens));
        }
    }

    #[test]
    fn on_the_real_sweep_the_law_predicts_the_second_halves_and_its_rival_does_not() {
        let g =
            fit(&fixture::sweep("mlp_sweep"), &FitOptions { draws: 20, ..FitOptions::default() })
                .groups
                .remove(0);
        let law = g.law.as_ref().unwrap();
        let (own, rival) = (law.future_nats.unwrap(), law.rival_future_nats.unwrap());
        assert!(own < 0.04 && own < rival, "{own} {rival}");
        let joint: &ModelScore = g.scores.iter().find(|s| s.model == ModelKind::Joint).unwrap();
        assert!(joint.held_out_ln_e.is_some() && joint.future_ln_e.is_some(), "{:?}", g.scores);
        // Some level was crossed late, and says so.
        let joint = |l: &super::super::LevelFit| {
            l.models.iter().find(|m| m.model == ModelKind::Joint).and_then(|m| m.future_ln_e)
        };
        assert!(g.levels.iter().filter_map(joint).count() >= 1);
    }
}
