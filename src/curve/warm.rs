//! What a fit leaves to the next one: the draws from which intervals are made while newer ones are
//! under way.

use super::model::{AnyLaw, Curve};
use super::other_loss::Beside;
use super::report::{ModelKind, Variation};

/// Resampled curves by model.
pub(super) type Spreads = Vec<(ModelKind, Vec<Curve>)>;

/// Steps of the burn-in, and how the law differs from the one that speaks on that window.
pub(super) type WindowKey = (f64, Option<Variation>);

/// Resampled laws and curves of a fit.
#[derive(Debug, Clone, Default)]
pub(super) struct Draws {
    /// By burn-in and variation.
    pub windows: Vec<(WindowKey, Vec<AnyLaw>)>,
    /// By loss and model.
    pub levels: Vec<(f64, Spreads)>,
    /// By loss: what the other loss says.
    pub beside: Vec<(f64, Option<Beside>)>,
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
    pub fn window(&self, key: WindowKey) -> Vec<AnyLaw> {
        let of = self.windows.iter().find(|w| w.0 == key);
        of.map(|w| w.1.clone()).unwrap_or_default()
    }

    /// `None` where it was not asked.
    pub fn beside(&self, loss: f64) -> Option<Option<Beside>> {
        self.beside.iter().find(|b| b.0 == loss).map(|b| b.1)
    }

    pub fn level(&self, loss: f64, model: ModelKind) -> Option<Vec<Curve>> {
        let level = self.levels.iter().find(|l| l.0 == loss)?;
        level.1.iter().find(|m| m.0 == model).map(|m| m.1.clone())
    }
}
