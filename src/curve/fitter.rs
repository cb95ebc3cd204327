//! Fitting again and again as runs grow: a new line of one run does not refit the world.
//!
//! What did not change is not computed again, and what is kept is keyed by all that it depends on:
//! the bins of a run by its rows, the laws of a group by its series, its fit by those and the options.
//! What did change is fitted as from nothing: to begin where an earlier fit ended would leave fits
//! that the data hold loosely (a batch size left out of five) in another place than [`super::fit`],
//! and the model that speaks could hang on what was fitted before.

use super::FitOptions;
use super::fit::{Made, Shared, describe, fit_with};
use super::groups::grouped;
use super::kept::Kept;
use super::report::{FitReport, GroupFit};
use super::series::Group;
use super::warm::{Draws, Spread};
use super::window::Windows;
use crate::run::RunData;
use std::collections::HashMap;
use std::sync::Arc;

/// What the last fit of a group left.
#[derive(Debug, Clone)]
struct Earlier {
    group: Group,
    windows: Windows,
    /// Of the last whole fit; older than `windows` after an estimate.
    draws: Draws,
    /// The whole fit of this very group under these options.
    whole: Option<(FitOptions, GroupFit)>,
}

/// Fits one request after another.
#[derive(Debug, Clone, Default)]
pub struct Fitter {
    bins: Kept,
    groups: HashMap<String, Earlier>,
}

impl Fitter {
    /// The point estimates and the scores, with intervals around them from the draws of the last
    /// whole fit. `None` where there are no such draws, or nothing changed: [`Fitter::fit`] answers.
    pub fn estimate(&mut self, runs: &[Arc<RunData>], options: &FitOptions) -> Option<FitReport> {
        let groups = self.grouped(runs, options);
        if groups.iter().all(|g| self.known(g, options).is_some()) {
            return None;
        }
        let mut out = Vec::new();
        for group in &groups {
            let fit = match self.known(group, options) {
                Some(known) => known.clone(),
                None => self.tentative(group, options)?,
            };
            out.push(described(fit, runs));
        }
        Some(FitReport { groups: out })
    }

    /// The whole fit: the same as [`super::fit`], sooner where little changed.
    pub fn fit(&mut self, runs: &[Arc<RunData>], options: &FitOptions) -> FitReport {
        let groups = self.grouped(runs, options);
        let ids: Vec<&String> = groups.iter().map(|g| &g.id).collect();
        self.groups.retain(|id, _| ids.contains(&id));
        let fits = groups.iter().map(|g| described(self.whole(g, options), runs));
        FitReport { groups: fits.collect() }
    }

    fn grouped(&mut self, runs: &[Arc<RunData>], options: &FitOptions) -> Vec<Group> {
        self.bins.renew(runs);
        let rows: Vec<&RunData> = runs.iter().map(|r| &**r).collect();
        grouped(&rows, &options.group, &self.bins)
    }

    fn known(&self, group: &Group, options: &FitOptions) -> Option<&GroupFit> {
        let earlier = self.groups.get(&group.id).filter(|e| e.group == *group)?;
        earlier.whole.as_ref().filter(|(o, _)| o == options).map(|(_, fit)| fit)
    }

    /// The windows of a group: kept where it is the same one.
    fn windows(&self, shared: &Shared<'_>) -> Windows {
        match self.groups.get(&shared.group.id) {
            Some(earlier) if earlier.group == *shared.group => earlier.windows.clone(),
            _ => Windows::fit(&shared.series),
        }
    }

    fn tentative(&mut self, group: &Group, options: &FitOptions) -> Option<GroupFit> {
        let shared = Shared::new(group);
        let windows = self.windows(&shared);
        let earlier = self.groups.get_mut(&group.id)?;
        let made = fit_with(&shared, &windows, options, Spread::Kept(&earlier.draws));
        (earlier.group, earlier.windows, earlier.whole) = (group.clone(), windows, None);
        made.whole.then_some(made.fit)
    }

    fn whole(&mut self, group: &Group, options: &FitOptions) -> GroupFit {
        if let Some(known) = self.known(group, options) {
            return known.clone();
        }
        let shared = Shared::new(group);
        let windows = self.windows(&shared);
        let Made { fit, draws, .. } = fit_with(&shared, &windows, options, Spread::Fresh);
        let whole = Some((options.clone(), fit.clone()));
        let earlier = Earlier { group: group.clone(), windows, draws, whole };
        self.groups.insert(group.id.clone(), earlier);
        fit
    }
}

/// With what only the runs themselves know.
fn described(mut fit: GroupFit, runs: &[Arc<RunData>]) -> GroupFit {
    for run in &mut fit.runs {
        if let Some(data) = runs.iter().find(|r| r.id == run.id) {
            describe(run, data);
        }
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{Interval, Law, LevelFit, ModelKind, fit};
    use crate::metrics::Record;
    use crate::run::{Assumptions, Recorder, fixture};
    use proptest::prelude::*;

    fn run(law: &Law, batch: f64, rows: usize, seed: f64) -> Arc<RunData> {
        let mut r = Recorder::new(&format!("b{batch}"), Assumptions::default());
        for i in 1..=rows {
            let step = 20.0 * i as f64;
            let noise = 0.004 * ((i as f64 * 12.9898 + seed).sin() * 43_758.547).fract();
            r.push(
                0,
                &Record {
                    step: Some(step),
                    tokens: Some(step * batch),
                    loss: Some(law.loss(step, batch) + noise),
                    lr: Some(1e-3),
                    ..Record::default()
                },
            );
        }
        Arc::new(r.data())
    }

    fn near(a: Option<f64>, b: Option<f64>, tolerance: f64) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= tolerance * b.abs().max(1e-9),
            (a, b) => a == b,
        }
    }

    fn same_level(a: &LevelFit, b: &LevelFit) -> Result<(), TestCaseError> {
        prop_assert_eq!((a.loss, a.model, &a.observed), (b.loss, b.model, &b.observed));
        prop_assert!(near(a.b_opt.value, b.b_opt.value, 1e-9));
        for (x, y) in a.models.iter().zip(&b.models) {
            prop_assert!(near(x.held_out_ln_e, y.held_out_ln_e, 1e-9), "{:?} {:?}", x, y);
        }
        Ok(())
    }

    /// Alike but for the intervals, and for whether they are open: an estimate has those of the fit
    /// before it.
    fn same(a: &FitReport, b: &FitReport) -> Result<(), TestCaseError> {
        prop_assert_eq!(a.groups.len(), b.groups.len());
        for (a, b) in a.groups.iter().zip(&b.groups) {
            prop_assert_eq!(&a.runs, &b.runs);
            prop_assert_eq!(a.law.as_ref().map(|l| l.law), b.law.as_ref().map(|l| l.law));
            let held = |g: &GroupFit| g.law.as_ref().and_then(|l| l.held_out_nats);
            prop_assert!(near(held(a), held(b), 1e-9));
            prop_assert_eq!(a.levels.len(), b.levels.len());
            for (a, b) in a.levels.iter().zip(&b.levels) {
                same_level(a, b)?;
            }
        }
        Ok(())
    }

    fn same_intervals(a: &FitReport, b: &FitReport) -> Result<(), TestCaseError> {
        let levels = |r: &FitReport| -> Vec<Interval> {
            r.groups.iter().flat_map(|g| &g.levels).map(|l| l.b_opt).collect()
        };
        prop_assert_eq!(levels(a), levels(b));
        Ok(())
    }

    fn options() -> FitOptions {
        FitOptions { levels: 5, draws: 12, ..FitOptions::default() }
    }

    /// One run grew, and one may be gone, after a first fit.
    fn history_does_not_show(
        law: &Law,
        which: usize,
        growth: f64,
        drop: Option<usize>,
    ) -> Result<(), TestCaseError> {
        let make = |grown: bool| -> Vec<Arc<RunData>> {
            (0..6)
                .map(|i| {
                    let rows = if grown && i == which { (300.0 * growth) as usize } else { 300 };
                    run(law, 64.0 * 2f64.powi(i as i32), rows, i as f64)
                })
                .collect()
        };
        let (before, mut after) = (make(false), make(true));
        // Runs that did not grow are the same ones.
        for i in (0..6).filter(|i| *i != which) {
            after[i] = Arc::clone(&before[i]);
        }
        if let Some(i) = drop {
            after.remove(i);
        }
        let mut fitter = Fitter::default();
        fitter.fit(&before, &options());
        let scratch = fit(&after, &options());
        if let Some(estimate) = fitter.estimate(&after, &options()) {
            same(&estimate, &scratch)?;
        }
        let again = fitter.fit(&after, &options());
        same(&again, &scratch)?;
        same_intervals(&again, &scratch)?;
        // And once more, with nothing new.
        prop_assert!(fitter.estimate(&after, &options()).is_none());
        let again = fitter.fit(&after, &options());
        same(&again, &scratch)?;
        same_intervals(&again, &scratch)?;
        Ok(())
    }

    /// A finding of the property below: the intervals of an estimate are from the draws of the fit
    /// before it, here one with a run more; those of the fit are its own.
    #[test]
    fn a_run_that_is_gone_does_not_show() -> Result<(), TestCaseError> {
        let (alpha, gamma, q) =
            (0.587_141_288_079_440_8, 0.716_103_925_658_419, 0.140_305_963_797_100_8);
        let law = Law { l_inf: 1.8, a: 12.0, alpha, c: 6.0, gamma, q };
        history_does_not_show(&law, 0, 1.0, Some(3))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        /// Whatever was fitted before, the fit is that from nothing.
        #[test]
        fn what_was_fitted_before_does_not_show(
            alpha in 0.4f64..0.7, gamma in 0.4f64..0.8, q in 0.0f64..0.15,
            which in 0usize..6, growth in 1.0f64..1.6, drop in prop::option::of(0usize..6),
        ) {
            let law = Law { l_inf: 1.8, a: 12.0, alpha, c: 6.0, gamma, q };
            history_does_not_show(&law, which, growth, drop)?;
        }
    }

    #[test]
    fn an_estimate_comes_with_the_intervals_of_the_last_fit_and_never_without_any() {
        let runs: Vec<Arc<RunData>> =
            fixture::sweep("mlp_sweep").into_iter().map(Arc::new).collect();
        let options = FitOptions { draws: 40, ..FitOptions::default() };
        let mut fitter = Fitter::default();
        assert!(fitter.estimate(&runs, &options).is_none(), "nothing to take intervals from");
        let first = fitter.fit(&runs, &options);
        assert!(fitter.estimate(&runs, &options).is_none(), "nothing changed");
        let other = FitOptions { seed: 9, ..options.clone() };
        let estimate = fitter.estimate(&runs, &other).unwrap();
        let law = |r: &FitReport| r.groups[0].law.clone().unwrap();
        assert_eq!(law(&estimate).draws, law(&first).draws);
        let joint = |r: &FitReport| {
            let level = r.groups[0].levels.iter().find(|l| l.model == Some(ModelKind::Joint));
            level.unwrap().b_opt
        };
        assert_eq!(joint(&estimate), joint(&first));
        assert_ne!(law(&fitter.fit(&runs, &other)).draws, law(&first).draws);
    }

    #[test]
    fn a_run_that_changed_under_its_name_is_binned_again() {
        let law = Law { l_inf: 1.8, a: 12.0, alpha: 0.5, c: 6.0, gamma: 0.5, q: 0.0 };
        let other = Law { l_inf: 2.1, ..law };
        let sweep = |law: &Law| -> Vec<Arc<RunData>> {
            (0..5).map(|i| run(law, 64.0 * 2f64.powi(i), 200, f64::from(i))).collect()
        };
        let mut fitter = Fitter::default();
        fitter.fit(&sweep(&law), &options());
        let found = fitter.fit(&sweep(&other), &options());
        assert_eq!(found.groups[0].law.as_ref().unwrap().law, {
            fit(&sweep(&other), &options()).groups[0].law.as_ref().unwrap().law
        });
    }
}
