//! Which model speaks at a level: the best one at adequate support, by its error on batch sizes left
//! out of its fit.
//!
//! Every model predicts ln E at each batch size from a fit to the others, and, where a run crossed
//! the level in the second half of its tokens, from a fit to the first halves. The scores of neighbouring
//! levels count too (a single level has few sizes), less the further they are. Models within one
//! standard error of the best, paired by batch size, cannot be told from it: they widen the
//! interval. On a tie the one with fewer assumptions speaks.

use super::level::Points;
use super::model::{Curve, CurveModel};
use super::report::ModelKind;
use super::window::mean_and_error;

/// An error in ln E beyond this (a factor of two) is no worse for being larger.
const MOST: f64 = 0.7;
/// Scores closer than this part of the best one are a tie.
const TIE: f64 = 0.05;

/// Error of a model at a batch size that it was not fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LeftOutError {
    pub batch_size: f64,
    /// In ln E.
    pub error: f64,
    /// Smaller where the crossing itself is uncertain, and far from the optimum.
    pub weight: f64,
    /// The run never reached the level: only a prediction that it had is an error.
    pub censored: bool,
    /// The crossing was still to come when the fit was made, rather than its size left out.
    pub future: bool,
}

/// Errors of one model at one level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    pub kind: ModelKind,
    pub errors: Vec<LeftOutError>,
}

impl Score {
    /// Rms error of ln E at batch sizes left out, at this level.
    pub fn rms(&self) -> Option<f64> {
        let (sum, weight) = self.squares(false);
        (weight > 0.0).then(|| (sum / weight).sqrt())
    }

    /// Rms error of ln E at crossings that were still to come.
    pub fn future_rms(&self) -> Option<f64> {
        let (sum, weight) = self.squares(true);
        (weight > 0.0).then(|| (sum / weight).sqrt())
    }

    /// Weighted sum of the square errors, and the sum of the weights.
    pub fn squares(&self, future: bool) -> (f64, f64) {
        let counted = |e: &&LeftOutError| e.future == future && (!e.censored || e.error > 0.0);
        self.errors
            .iter()
            .filter(counted)
            .fold((0.0, 0.0), |(s, w), e| (s + e.weight * e.error * e.error, w + e.weight))
    }
}

/// Error of a curve at point `i`, which it was not fitted to.
pub(super) fn error_at(curve: Option<&Curve>, points: &Points, i: usize) -> LeftOutError {
    let p = &points[i];
    let predicted = curve.and_then(|c| c.steps(p.batch_size)).map(f64::ln);
    let error = match (predicted, p.censored) {
        (Some(s), false) => (s - p.ln_steps).abs(),
        (None, false) => MOST,
        (Some(s), true) => (p.ln_steps - s).max(0.0),
        (None, true) => 0.0,
    };
    // A size that needs several times the fewest tokens says little about the optimum.
    let waste = points.best().map_or(0.0, |b| (p.ln_tokens() - b.ln_tokens()).max(0.0));
    let weight = (0.02 / p.se).powi(2).min(1.0) * (-2.0 * waste).exp();
    let error = if error.is_finite() { error.min(MOST) } else { MOST };
    LeftOutError { batch_size: p.batch_size, error, weight, censored: p.censored, future: false }
}

/// Errors of a one-level model; `None` where too few sizes reached the level to leave one out.
pub(super) fn score_one_level(
    model: &dyn CurveModel,
    points: &Points,
    full: &Curve,
) -> Option<Score> {
    if points.reached().count() <= model.sizes_needed() {
        return None;
    }
    let errors = (0..points.len())
        .map(|i| {
            let others = points.without(i);
            let fitted =
                model.minimum(&others, Some(full)).or_else(|| model.minimum(&others, None));
            error_at(fitted.map(|m| m.found).as_ref(), points, i)
        })
        .collect();
    Some(Score { kind: model.kind(), errors })
}

/// A model that may speak at a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub kind: ModelKind,
    /// It claims no inner optimum, but a smaller batch clearly needed more tokens.
    pub contradicted: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub best: ModelKind,
    pub comparable: Vec<ModelKind>,
    pub why: String,
}

/// The model that speaks at `level`; `scores` holds those of every level.
pub(super) fn choose(
    level: usize,
    scores: &[Vec<Score>],
    candidates: &[Candidate],
) -> Option<Choice> {
    let open: Vec<ModelKind> =
        candidates.iter().filter(|c| !c.contradicted).map(|c| c.kind).collect();
    let scored: Vec<ModelKind> = open
        .iter()
        .copied()
        .filter(|k| scores[level].iter().any(|s| s.kind == *k && s.rms().is_some()))
        .collect();
    if scored.is_empty() {
        return unscored(&open);
    }
    let table = paired(level, scores, &scored);
    let mean = |i: usize| mean_and_error(&table[i]).0;
    let best = (0..scored.len()).min_by(|&a, &b| mean(a).total_cmp(&mean(b)))?;
    let comparable: Vec<usize> = (0..scored.len())
        .filter(|&i| {
            let d: Vec<f64> = table[i].iter().zip(&table[best]).map(|(a, b)| a - b).collect();
            let (mean, se) = mean_and_error(&d);
            // A thousandth of ln E is nothing.
            mean <= se + 1e-6
        })
        .collect();
    // Candidates come in the order of their assumptions.
    let tie = |i: usize| mean(i).sqrt() <= mean(best).sqrt() * (1.0 + TIE) + 1e-4;
    let speaks = (0..scored.len()).find(|&i| tie(i)).unwrap_or(best);
    let mut why = format!("smallest error on a batch size left out ({}", percent(mean(speaks)));
    let others: Vec<String> = (0..scored.len())
        .filter(|&i| i != speaks)
        .map(|i| format!("{} {}", name(scored[i]), percent(mean(i))))
        .collect();
    if !others.is_empty() {
        why.push_str("; ");
        why.push_str(&others.join(", "));
    }
    why.push(')');
    if speaks != best {
        why.push_str(", fewest assumptions on a tie");
    }
    Some(Choice {
        best: scored[speaks],
        comparable: comparable.into_iter().map(|i| scored[i]).collect(),
        why,
    })
}

fn percent(mean_square: f64) -> String {
    format!("{} of E", crate::units::percent(mean_square.sqrt()))
}

pub(super) fn name(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Classical => "classical",
        ModelKind::Smooth => "smooth",
        ModelKind::ThreeStage => "three-stage",
        ModelKind::Joint => "joint law",
        ModelKind::NoFloor => "law without a floor",
    }
}

/// Nobody can be scored: the model with the widest support speaks, and that is said.
fn unscored(open: &[ModelKind]) -> Option<Choice> {
    let order = [
        ModelKind::Joint,
        ModelKind::Smooth,
        ModelKind::ThreeStage,
        ModelKind::NoFloor,
        ModelKind::Classical,
    ];
    let best = order.into_iter().find(|k| open.contains(k))?;
    Some(Choice {
        best,
        comparable: open.to_vec(),
        why: format!(
            "the {} speaks without a held-out score: that needs one more batch size",
            name(best)
        ),
    })
}

/// Square errors by batch size (their mean is the score), on the (level, size) pairs that all models predicted; levels
/// next to `level` count half, the ones after them a quarter.
fn paired(level: usize, scores: &[Vec<Score>], kinds: &[ModelKind]) -> Vec<Vec<f64>> {
    // (batch size, weight, error by model)
    let mut sizes: Vec<f64> = Vec::new();
    let mut sums: Vec<Vec<[f64; 2]>> = vec![Vec::new(); kinds.len()];
    for (l, here) in scores.iter().enumerate() {
        let far = l.abs_diff(level);
        if far > 2 {
            continue;
        }
        let of: Option<Vec<&Score>> =
            kinds.iter().map(|k| here.iter().find(|s| s.kind == *k)).collect();
        let Some(of) = of else { continue };
        for e in &of[0].errors {
            let same = |x: &&LeftOutError| x.batch_size == e.batch_size && x.future == e.future;
            let errors: Option<Vec<&LeftOutError>> =
                of.iter().map(|s| s.errors.iter().find(same)).collect();
            let Some(errors) = errors else { continue };
            if e.censored && errors.iter().all(|x| x.error == 0.0) {
                continue;
            }
            let weight = e.weight * 0.5f64.powi(far as i32);
            let at = sizes.iter().position(|b| *b == e.batch_size).unwrap_or_else(|| {
                sizes.push(e.batch_size);
                sums.iter_mut().for_each(|s| s.push([0.0; 2]));
                sizes.len() - 1
            });
            for (s, x) in sums.iter_mut().zip(errors) {
                s[at][0] += weight * x.error * x.error;
                s[at][1] += weight;
            }
        }
    }
    // Scaled so that the plain mean over the sizes is the weighted mean of all pairs.
    let n = sizes.len() as f64;
    let share = |s: &[[f64; 2]]| s.iter().map(|x| x[1]).sum::<f64>().max(1e-12) / n;
    sums.iter().map(|s| s.iter().map(|x| x[0] / share(s)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(kind: ModelKind, errors: &[f64]) -> Score {
        let errors = errors
            .iter()
            .enumerate()
            .map(|(i, &error)| LeftOutError {
                batch_size: i as f64 + 1.0,
                error,
                weight: 1.0,
                censored: false,
                future: false,
            })
            .collect();
        Score { kind, errors }
    }

    fn open(kind: ModelKind) -> Candidate {
        Candidate { kind, contradicted: false }
    }

    #[test]
    fn the_best_predictor_speaks_and_a_close_one_widens() {
        let scores = vec![vec![
            score(ModelKind::Classical, &[0.3, 0.2, 0.25, 0.3]),
            score(ModelKind::Smooth, &[0.02, 0.03, 0.03, 0.05]),
            score(ModelKind::Joint, &[0.02, 0.03, 0.02, 0.02]),
        ]];
        let all = [ModelKind::Classical, ModelKind::Smooth, ModelKind::Joint].map(open);
        let c = choose(0, &scores, &all).unwrap();
        assert_eq!(c.best, ModelKind::Joint);
        assert_eq!(c.comparable, [ModelKind::Joint]);
        let scores = vec![vec![
            score(ModelKind::Smooth, &[0.04, 0.03, 0.02, 0.02]),
            score(ModelKind::Joint, &[0.02, 0.03, 0.03, 0.03]),
        ]];
        let c = choose(0, &scores, &all[1..]).unwrap();
        assert_eq!(c.comparable, [ModelKind::Smooth, ModelKind::Joint]);
    }

    #[test]
    fn a_model_that_predicts_sizes_but_not_the_future_does_not_speak() {
        let mut joint = score(ModelKind::Joint, &[0.02, 0.02, 0.02]);
        let mut smooth = score(ModelKind::Smooth, &[0.018, 0.018, 0.018]);
        let kinds = [ModelKind::Smooth, ModelKind::Joint].map(open);
        let before = choose(0, &[vec![smooth.clone(), joint.clone()]], &kinds).unwrap();
        assert_eq!(before.best, ModelKind::Smooth);
        for (s, error) in [(&mut smooth, 0.3), (&mut joint, 0.02)] {
            s.errors.push(LeftOutError { error, future: true, ..s.errors[0] });
        }
        assert!(smooth.rms().unwrap() < 0.02 && smooth.future_rms() == Some(0.3));
        let c = choose(0, &[vec![smooth, joint]], &kinds).unwrap();
        assert_eq!(c.best, ModelKind::Joint);
    }

    #[test]
    fn on_a_tie_the_fewer_assumptions_speak() {
        let scores = vec![vec![
            score(ModelKind::Smooth, &[0.0301, 0.03, 0.03]),
            score(ModelKind::Joint, &[0.03, 0.03, 0.03]),
        ]];
        let c = choose(0, &scores, &[ModelKind::Smooth, ModelKind::Joint].map(open)).unwrap();
        assert_eq!(c.best, ModelKind::Smooth);
        assert!(c.why.contains("tie"));
    }

    #[test]
    fn a_contradicted_model_does_not_speak() {
        let scores = vec![vec![score(ModelKind::Classical, &[0.0, 0.0, 0.0])]];
        let contradicted = Candidate { kind: ModelKind::Classical, contradicted: true };
        assert!(choose(0, &scores, &[contradicted]).is_none());
        let c = choose(0, &scores, &[contradicted, open(ModelKind::Joint)]).unwrap();
        assert_eq!(c.best, ModelKind::Joint);
        assert!(c.why.contains("without a held-out score"));
    }
}
