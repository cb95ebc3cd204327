//! What the other loss of the same runs says of the optimum: validation beside train, or the reverse.
//!
//! A level of the one is no level of the other. It is taken to be where the other stood, in the median
//! over the runs, when they crossed this one; everything is fitted to it there once more. Where what
//! speaks then predicts the tokens of left-out sizes about as well, nothing shows which of the two
//! losses is right about the optimum, and the interval spans both.

use super::fit::{self, FitOptions};
use super::level_choice;
use super::level_fit::Level;
use super::level_laws::NO_WORSE;
use super::levels::Curves;
use super::model::Curve;
use super::report::{LossKind, ModelKind, ModelScore};
use super::select::Choice;
use super::series::Group;

/// What the other loss says at a level of this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Beside {
    pub on: LossKind,
    /// At the level of this loss.
    pub curve: Curve,
}

impl Beside {
    pub fn words(&self) -> String {
        let on = match self.on {
            LossKind::Train => "train",
            LossKind::Val => "validation",
        };
        let optimum = match self.curve.b_opt() {
            Some(b) => format!("puts the optimum at {}", crate::units::count(b)),
            None => "knows no inner optimum".into(),
        };
        format!("; the {on} loss predicts left-out sizes about as well and {optimum}")
    }
}

/// What `other` says at each of the levels, where it predicts left-out sizes comparably.
pub(super) fn says(
    curves: &Curves<'_>,
    other: &Group,
    levels: &[Level],
    choices: &[Option<Choice>],
    seed: u64,
) -> Vec<Option<Beside>> {
    let theirs = Curves::of(other);
    let stood: Vec<Option<f64>> = levels.iter().map(|l| curves.beside(&theirs, l.loss())).collect();
    let at_loss = stood.iter().copied().flatten().collect();
    let options = FitOptions { at_loss, draws: 0, seed, ..FitOptions::default() };
    let fit = fit::fit_group(other, &options);
    let ours = level_choice::scores(levels);
    let error = |scores: &[ModelScore], kind: ModelKind| {
        scores.iter().find(|s| s.model == kind).and_then(|s| s.held_out_ln_e)
    };
    let one = |(i, level): (usize, &Level)| {
        let there = fit.levels.iter().find(|l| Some(l.loss) == stood[i])?;
        let best = choices[i].as_ref()?.best;
        let (a, b) = (error(&fit.scores, there.model?)?, error(&ours, best)?);
        let curve = moved(there.curve?, level.loss());
        (a <= NO_WORSE * b).then_some(Beside { on: other.on, curve })
    };
    levels.iter().enumerate().map(one).collect()
}

/// The same curve in (S, E), as one of another loss: what is read near it moves with that loss.
fn moved(curve: Curve, loss: f64) -> Curve {
    match curve {
        Curve::Law(mut law, at) => {
            law.l_inf += loss - at;
            Curve::Law(law, loss)
        }
        Curve::NoFloor(mut law, at) => {
            law.l_inf += loss - at;
            Curve::NoFloor(law, loss)
        }
        one_level => one_level,
    }
}

#[cfg(test)]
mod tests {
    use super::super::truth::{sizes, sweep};
    use super::super::{AnyLaw, Law, LevelFit, Open, fit_group};
    use super::*;

    const LAW: Law = Law { l_inf: 1.8, a: 200.0, alpha: 0.7, c: 4.0, gamma: 0.5, q: 0.0 };

    /// A sweep whose other loss, 0.3 nats higher, has `noise` and its optimum at `factor` times the
    /// batch size of this one's.
    fn at(factor: f64, noise: f64) -> [LevelFit; 2] {
        let other = Law { l_inf: LAW.l_inf + 0.3, c: LAW.c * factor.powf(LAW.gamma), ..LAW };
        let sweep = |law, noise| sweep(&AnyLaw::Floor(law), &sizes(8), 3e8, noise, 1);
        let alone = sweep(LAW, 0.005);
        let other = Group { on: LossKind::Val, ..sweep(other, noise) };
        let both = Group { other: Some(Box::new(other)), ..alone.clone() };
        let options = FitOptions { at_loss: vec![2.3], draws: 40, ..FitOptions::default() };
        [alone, both].map(|g| fit_group(&g, &options).levels.remove(0))
    }

    #[test]
    fn an_interval_reaches_as_far_as_the_other_loss_says() {
        let [alone, both] = at(1.5, 0.005);
        assert_eq!((alone.b_opt.value, alone.b_opt.low), (both.b_opt.value, both.b_opt.low));
        let truth = LAW.b_opt(2.3).unwrap();
        let [before, now] = [&alone, &both].map(|l| l.b_opt.high.unwrap() / truth);
        assert!(before < 1.1 && now > 1.2 && both.b_opt.open == Open::None, "{before} {now}");
        assert!(both.why.contains("the validation loss predicts left-out sizes about as well"));
        // E_min and what is read beside it are of the same draws.
        assert_eq!(both.draws.len(), alone.draws.len() + 1);
        // More noise at every batch size also lifts the level: less than the factor is left.
        let theirs = both.draws.last().unwrap().b_opt().unwrap() / truth;
        assert!((1.2..1.5).contains(&theirs), "{theirs}");
    }

    #[test]
    fn a_loss_that_predicts_worse_does_not_widen() {
        let [alone, both] = at(1.5, 0.15);
        assert_eq!(alone, both);
    }
}
