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
        // The mean of a block is no loss that the other logged.
        if x.is_finite() && y.is_finite() && a.weight(i) == b.weight(j) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(every: usize, loss: impl Fn(f64) -> f64) -> Columns {
        let step: Vec<f64> = (1..=100).map(|i| (i * every) as f64).collect();
        let tokens = step.iter().map(|s| s * 64.0).collect();
        let loss = step.iter().map(|s| loss(*s)).collect();
        Columns { step, tokens, loss, ..Columns::default() }
    }

    fn training(s: f64) -> f64 {
        ((3.0 + (s * 0.7).sin()) * 1e6).round() / 1e6
    }

    #[test]
    fn one_training_is_known_by_its_losses_wherever_both_log() {
        let a = columns(3, training);
        assert_eq!(prefix(&a, &columns(3, training), 1e9), Some(1e9));
        assert_eq!(prefix(&a, &columns(4, training), 1e9), Some(1e9));
        let branch = columns(3, |s| if s <= 150.0 { training(s) } else { training(s) + 0.1 });
        assert_eq!(prefix(&a, &branch, 1e9), Some(150.0 * 64.0));
        assert_eq!(prefix(&a, &columns(3, |s| training(s) + 1e-6), 1e9), None);
        // Equal by rounding, then not.
        let coarse = |f: fn(f64) -> f64| move |s: f64| (f(s) * 10.0).round() / 10.0;
        let other = |s: f64| training(s) + if s > 6.0 { 0.5 } else { 0.0 };
        assert_eq!(prefix(&columns(3, coarse(training)), &columns(3, coarse(other)), 1e9), None);
        assert_eq!(prefix(&Columns::default(), &a, 1e9), None);
    }
}
