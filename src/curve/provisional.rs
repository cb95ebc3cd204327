//! A law of three batch sizes, for one purpose: to measure how fast noise is forgotten.
//!
//! Three sizes hold the parameters of the law, q with what is believed of it, but leave nothing to
//! score them with, so no optimum is claimed from it (the law speaks from four sizes on). What a
//! ramp between the tested sizes shows of the memory needs less: only that the law comes close to
//! the constant runs before and after each switch, and what it misses them by is corrected there
//! (see [`super::memory`]). So tau and p are measured under the law of every fit window, and the
//! window counts under which the switched runs predict one another best: a score on data that
//! neither the law nor tau and p were fitted to.

use super::joint::{JointModel, Q};
use super::memory::{Measured, measure};
use super::model::{AnyLaw, LossModel};
use super::report::Provisional;
use super::series::{ConstantSeries, SwitchedSeries};
use super::window::{Windows, rms};
use crate::units::count;

/// Batch sizes that hold the law.
const SIZES: usize = 3;

/// `None` where there are fewer sizes, no switch that predicts another, or a law with a parameter at
/// its bound.
pub(super) fn fit(
    windows: &Windows,
    series: &[&ConstantSeries],
    switched: &[SwitchedSeries],
) -> Option<Provisional> {
    let of_window = |window: &super::window::Window| {
        if window.set.sizes.len() < SIZES {
            return None;
        }
        let found = JointModel { q: Q::Believed }.fit(&window.set, None).ok()?;
        let AnyLaw::Floor(law) = found else { return None };
        let Measured { memory, checks, predicted_nats } = measure(&law, series, switched).ok()?;
        let provisional = Provisional {
            law,
            memory,
            rms_nats: rms(&found, &window.set),
            burn_in_steps: window.burn_in,
            batch_sizes: window.set.sizes.clone(),
            memory_checks: checks,
        };
        Some((predicted_nats?, provisional))
    };
    let measured = windows.all.iter().filter_map(of_window);
    measured.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, p)| p)
}

/// What it says, and what it does not.
pub(super) fn words(p: &Provisional) -> String {
    let sizes: Vec<String> = p.batch_sizes.iter().map(|b| count(*b)).collect();
    let predicted: Vec<String> = p
        .memory_checks
        .iter()
        .filter_map(|c| Some(format!("{} to {:.3} nats", c.run, c.predicted_nats?)))
        .collect();
    format!(
        "provisional: under a law of only {} batch sizes ({}), which no size could be left out of, \
         noise is forgotten with tau {} steps, p {:.2}; measured without it, this predicts {}. No \
         optimum and no plan is taken from that law",
        p.batch_sizes.len(),
        sizes.join(", "),
        count(p.memory.tau_steps),
        p.memory.p,
        predicted.join(", ")
    )
}
