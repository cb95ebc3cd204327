//! What a fit leaves to the next one: where the fits to left-out batch sizes ended, and the draws
//! from which intervals are made while newer ones are under way.

use super::model::{AnyLaw, Curve};
use super::report::ModelKind;
use super::window::Windows;

/// Relative change of an exponent, and change of q, up to which an earlier fit is a neighbour.
const NEAR: f64 = 0.05;

/// One law on one window, and what it became without each batch size.
#[derive(Debug, Clone)]
struct Fold {
    model: &'static str,
    burn_in: f64,
    law: AnyLaw,
    left_out: Vec<(f64, AnyLaw)>,
}

/// Starts for the fits that leave a batch size out. Each lies near its end where the data changed
/// little; where the law as a whole moved, none is given.
#[derive(Debug, Clone, Default)]
pub(super) struct Folds(Vec<Fold>);

impl Folds {
    pub fn of(windows: &Windows) -> Folds {
        let fold = |burn_in: f64, f: &super::window::Fitted| Fold {
            model: f.model.name(),
            burn_in,
            law: f.law,
            left_out: f.left_out.iter().map(|l| (l.batch_size, l.law)).collect(),
        };
        let of = |w: &super::window::Window| -> Vec<Fold> {
            w.laws.iter().map(|f| fold(w.burn_in, f)).collect()
        };
        Folds(windows.all.iter().flat_map(of).collect())
    }

    /// Where the fit without `batch_size` ended, if `law`, the one with it, is near the earlier one.
    pub fn start(
        &self,
        model: &str,
        burn_in: f64,
        law: &AnyLaw,
        batch_size: f64,
    ) -> Option<&AnyLaw> {
        let fold = self.0.iter().find(|f| f.model == model && f.burn_in == burn_in)?;
        let start = fold.left_out.iter().find(|(b, _)| *b == batch_size)?;
        near(&fold.law, law).then_some(&start.1)
    }
}

fn near(a: &AnyLaw, b: &AnyLaw) -> bool {
    let same = |x: f64, y: f64| (x / y - 1.0).abs() < NEAR;
    match (a, b) {
        (AnyLaw::Floor(a), AnyLaw::Floor(b)) => {
            same(a.alpha, b.alpha) && same(a.gamma, b.gamma) && (a.q - b.q).abs() < NEAR
        }
        (AnyLaw::NoFloor(a), AnyLaw::NoFloor(b)) => same(a.alpha, b.alpha) && same(a.beta, b.beta),
        _ => false,
    }
}

/// Resampled curves by model.
pub(super) type Spreads = Vec<(ModelKind, Vec<Curve>)>;

/// Resampled laws and curves of a fit.
#[derive(Debug, Clone, Default)]
pub(super) struct Draws {
    /// By burn-in.
    pub windows: Vec<(f64, Vec<AnyLaw>)>,
    /// By loss and model.
    pub levels: Vec<(f64, Spreads)>,
}

/// Where the spread of a fit comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spread<'a> {
    /// Resampled now.
    Fresh,
    /// Of an earlier fit.
    Kept(&'a Draws),
}

impl Draws {
    pub fn window(&self, burn_in: f64) -> Vec<AnyLaw> {
        let of = self.windows.iter().find(|w| w.0 == burn_in);
        of.map(|w| w.1.clone()).unwrap_or_default()
    }

    pub fn level(&self, loss: f64, model: ModelKind) -> Option<Vec<Curve>> {
        let level = self.levels.iter().find(|l| l.0 == loss)?;
        level.1.iter().find(|m| m.0 == model).map(|m| m.1.clone())
    }
}
