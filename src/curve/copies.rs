//! Runs that are the same training: byte-identical copies, restarts, branches from a checkpoint,
//! twins of one seed that differ only in when they log. Counted twice they would look like two
//! seeds that agree.

use crate::run::{Columns, RunData};

/// Decimals that make two equal losses evidence of one training rather than of rounding.
const TELLING_DECIMALS: f64 = 1e4;

/// The tokens up to which `a` and `b` are one training, if they begin as one; at most `until`,
/// where both are still at one batch size and in the stable phase.
///
/// A train loss that is a mean since the last record differs between logs of different intervals;
/// a validation loss does not. So equality in either tells; a difference tells only where the
/// column had agreed before.
pub(super) fn shared_until(a: &RunData, b: &RunData, until: f64) -> Option<f64> {
    let train = prefix(&a.train, &b.train, until);
    let validation = prefix(&a.validation, &b.validation, until);
    match (train, validation) {
        (Some(t), Some(v)) => Some(t.max(v)),
        (t, v) => t.or(v),
    }
}

fn prefix(a: &Columns, b: &Columns, until: f64) -> Option<f64> {
    let (mut i, mut j) = (0, 0);
    let (mut equal, mut telling, mut last) = (0u32, 0u32, f64::NAN);
    while i < a.len() && j < b.len() {
        if a.step[i] < b.step[j] {
            i += 1;
            continue;
        }
        if a.step[i] > b.step[j] {
            j += 1;
            continue;
        }
        if a.tokens[i] > until || b.tokens[j] > until {
            break;
        }
        let (x, y) = (a.loss[i], b.loss[j]);
        if x.is_finite() && y.is_finite() {
            if x != y {
                return enough(equal, telling).then_some(last);
            }
            equal += 1;
            let digits = x * TELLING_DECIMALS;
            telling += u32::from((digits - digits.round()).abs() > 1e-3);
            last = a.tokens[i];
        }
        i += 1;
        j += 1;
    }
    enough(equal, telling).then_some(until)
}

fn enough(equal: u32, telling: u32) -> bool {
    telling >= 2 || equal >= 10
}
