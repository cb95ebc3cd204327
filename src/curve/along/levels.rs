//! What a law from batch changes says at the levels where nothing else speaks.

use crate::curve::level_fit::{SLACK, drawn, flipped};
use crate::curve::levels::spaced;
use crate::curve::model::{AnyLaw, Curve};
use crate::curve::query::by_law;
use crate::curve::report::{Interval, LawFit, LevelFit, ModelFit, ModelKind};
use crate::curve::uncertainty::of;

/// What a person sees of the law.
#[derive(Debug, Clone, Copy)]
pub(in crate::curve) struct Shown {
    /// Levels that it brings of its own, below those that there are; 0 where levels were asked for.
    pub count: usize,
    /// It speaks at every level, not only where nothing else does.
    pub overrules: bool,
}

/// Puts the law into levels within the losses that it rests on.
pub(in crate::curve) fn fill(levels: &mut Vec<LevelFit>, fit: &LawFit, shown: Shown) {
    let lowest = levels.last().map_or(f64::INFINITY, |l| l.loss);
    let own = losses(fit, shown.count).into_iter().filter(|l| *l < lowest);
    levels.extend(own.map(|loss| LevelFit::silent(loss, fit.on)));
    if shown.count > 0 {
        // Above what the law rests on nothing is known of one size alone.
        levels.retain(|l| l.loss <= fit.losses[1] || l.model.is_some() || l.bounded());
    }
    let [low, high] = fit.losses;
    let silent = |l: &&mut LevelFit| l.model.is_none() || shown.overrules;
    for level in levels.iter_mut().filter(|l| (low..=high).contains(&l.loss)).filter(silent) {
        let curve = AnyLaw::Floor(fit.law).curve(level.loss).filter(|c| c.e_min().is_some());
        if let Some((curve, b_opt)) = curve.zip(by_law(fit, level.loss, None)) {
            speak(level, fit, curve, b_opt);
        }
    }
}

fn speak(level: &mut LevelFit, fit: &LawFit, curve: Curve, b_opt: Interval) {
    let draws: Vec<Curve> =
        fit.draws.iter().filter_map(|l| AnyLaw::Floor(*l).curve(level.loss)).collect();
    level.model = Some(ModelKind::Joint);
    level.why = format!(
        "the law along the batch changes of {} runs, fitted at once with its memory",
        fit.memory_checks.len()
    );
    level.b_opt = b_opt;
    level.b_min = of(&curve, &draws, |c| Some(c.b_min()));
    level.e_min_tokens = Interval::UNKNOWN;
    level.s_opt_steps = flipped(of(&curve, &draws, Curve::s_opt), &b_opt);
    if b_opt.value.is_some() {
        level.e_min_tokens = of(&curve, &draws, Curve::e_min);
    }
    let [smallest, largest] = fit.batch_sizes;
    let range = curve.within(SLACK).map(|[low, high]| [low.max(smallest), high.min(largest)]);
    level.within_2_percent = range.filter(|[low, high]| low < high);
    level.models.retain(|m| m.model != ModelKind::Joint);
    level.models.push(ModelFit {
        model: ModelKind::Joint,
        b_min: level.b_min,
        b_opt,
        e_min_tokens: level.e_min_tokens,
        held_out_ln_e: None,
        future_ln_e: None,
        refused: None,
        curve: drawn(&curve, fit.batch_sizes),
    });
    level.curve = Some(curve);
    level.draws = draws;
}

/// Levels evenly spaced in the tokens that the best batch size needs to them.
fn losses(fit: &LawFit, count: usize) -> Vec<f64> {
    let [low, high] = fit.losses;
    let tokens = |loss: f64| {
        let best = fit.law.b_opt(loss)?.clamp(fit.batch_sizes[0], fit.batch_sizes[1]);
        Some(fit.law.tokens_to(loss, best)?.ln())
    };
    if count == 0 { Vec::new() } else { spaced(high, low, count, tokens) }
}
