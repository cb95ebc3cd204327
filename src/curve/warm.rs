//! What a fit leaves to the next one: the draws from which intervals are made while newer ones are
//! under way.

use super::model::{AnyLaw, Curve};
use super::report::ModelKind;

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
