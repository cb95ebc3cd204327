//! Across the levels: the scores of every model, and which one speaks at each.

use super::level_fit::Level;
use super::model::Curve;
use super::report::{ModelKind, ModelScore};
use super::select::{self, Choice, Score};

/// The scores of every model over all levels, those near the lowest loss counting most.
pub(super) fn scores(levels: &[Level]) -> Vec<ModelScore> {
    let kinds = [
        ModelKind::Classical,
        ModelKind::Smooth,
        ModelKind::ThreeStage,
        ModelKind::Joint,
        ModelKind::NoFloor,
    ];
    let pooled = |kind: ModelKind, future: bool| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (above, level) in levels.iter().rev().enumerate() {
            for score in level.scores.iter().filter(|s| s.kind == kind) {
                let (s, w) = score.squares(future);
                let near = 0.5f64.powi(above.min(60) as i32);
                (sum, weight) = (sum + near * s, weight + near * w);
            }
        }
        (weight > 0.0).then(|| (sum / weight).sqrt())
    };
    let scored =
        |level: &&Level, kind| level.scores.iter().any(|s| s.kind == kind && s.rms().is_some());
    let of = |kind: ModelKind| {
        Some(ModelScore {
            model: kind,
            lowest_loss: levels.iter().rev().find(|l| scored(l, kind))?.loss(),
            held_out_ln_e: pooled(kind, false),
            future_ln_e: pooled(kind, true),
        })
    };
    kinds.into_iter().filter_map(of).collect()
}

/// Which model speaks at each level. B_min and B_opt rise as the loss falls; a one-level model whose
/// numbers do not (between neighbouring levels its noise is independent) leaves the word to the law
/// over all levels.
pub(super) fn choose(levels: &[Level]) -> Vec<Option<Choice>> {
    let scores: Vec<Vec<Score>> = levels.iter().map(|l| l.scores.clone()).collect();
    let mut choices: Vec<Option<Choice>> = levels
        .iter()
        .enumerate()
        .map(|(i, l)| select::choose(i, &scores, &l.candidates()))
        .collect();
    // Each pass moves at least one level to the law, or ends.
    for _ in 0..levels.len() {
        let Some(falling) = first_fall(levels, &choices) else { break };
        for i in falling {
            if let Some(c) = &mut choices[i] {
                c.why = format!(
                    "the {} predicts left-out sizes better here, but its optimum does not rise as \
                     the loss falls; the joint law speaks",
                    select::name(c.best)
                );
                c.comparable.push(ModelKind::Joint);
                c.best = ModelKind::Joint;
            }
        }
    }
    choices
}

/// Neighbouring levels at which B_opt or B_min falls with the loss: those of the two that can leave
/// the word to the law.
fn first_fall(levels: &[Level], choices: &[Option<Choice>]) -> Option<Vec<usize>> {
    let speaking: Vec<(usize, Curve)> = choices
        .iter()
        .enumerate()
        .filter_map(|(i, c)| Some((i, levels[i].curve_of(c.as_ref()?.best)?)))
        .collect();
    speaking.windows(2).find_map(|w| {
        let [(i, upper), (j, lower)] = [w[0], w[1]];
        let falls = |a: f64, b: f64| b < a * (1.0 - 1e-6);
        let b_opt = |c: &Curve| c.b_opt().unwrap_or(0.0);
        if !falls(b_opt(&upper), b_opt(&lower)) && !falls(upper.b_min(), lower.b_min()) {
            return None;
        }
        // The law without a floor is one of all levels: that it speaks is no noise of this one.
        let one_level = |k: ModelKind| !matches!(k, ModelKind::Joint | ModelKind::NoFloor);
        let movable = |&k: &usize| {
            choices[k].as_ref().is_some_and(|c| one_level(c.best))
                && levels[k].curve_of(ModelKind::Joint).is_some()
                && !levels[k].contradicted
        };
        let both: Vec<usize> = [i, j].into_iter().filter(movable).collect();
        (!both.is_empty()).then_some(both)
    })
}
