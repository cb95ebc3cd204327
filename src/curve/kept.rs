//! Bins made before: a run that did not grow is not binned again.

use super::binning::{self, Window};
use super::stable::columns;
use super::{Bin, LossKind};
use crate::run::RunData;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// What the bins of a run depend on beside its rows: which loss, of which tokens, and for a stretch
/// after a switch the step of it.
type Key = (LossKind, Window, Option<f64>);
type Bins = RefCell<Vec<(Key, Vec<Bin>)>>;

/// Bins by run. The rows are held, and compared by identity: bins of a run that changed are
/// unreachable.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(HashMap<String, (Arc<RunData>, Bins)>);

impl Kept {
    /// Forgets the bins of runs that are not these very ones.
    pub fn renew(&mut self, runs: &[Arc<RunData>]) {
        let mut next = HashMap::new();
        for run in runs {
            let same = self.0.remove(&run.id).filter(|(rows, _)| Arc::ptr_eq(rows, run));
            next.insert(run.id.clone(), same.unwrap_or_else(|| (Arc::clone(run), Bins::default())));
        }
        self.0 = next;
    }

    /// [`binning::constant`].
    pub fn constant(&self, run: &RunData, on: LossKind, window: Window) -> Vec<Bin> {
        self.get(run, (on, window, None), || binning::constant(columns(run, on), window))
    }

    /// [`binning::after_switch`].
    pub fn after_switch(
        &self,
        run: &RunData,
        on: LossKind,
        window: Window,
        from_step: f64,
    ) -> Vec<Bin> {
        let make = || binning::after_switch(columns(run, on), window, from_step);
        self.get(run, (on, window, Some(from_step)), make)
    }

    fn get(&self, run: &RunData, key: Key, make: impl Fn() -> Vec<Bin>) -> Vec<Bin> {
        let known = self.0.get(&run.id).filter(|(rows, _)| std::ptr::eq(&**rows, run));
        let Some((_, bins)) = known else { return make() };
        if let Some((_, bins)) = bins.borrow().iter().find(|(k, _)| *k == key) {
            return bins.clone();
        }
        let made = make();
        bins.borrow_mut().push((key, made.clone()));
        made
    }
}
