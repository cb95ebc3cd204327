//! Where every recorded input lies on the axis of the replay.

use crate::metrics::{Input, Record};
use crate::run::{Columns, RunData, TokensSource};

/// The key of an input by what it says itself, or by what the resolved run says of its step: tokens,
/// else Unix seconds.
pub(super) fn own_key(input: &Input, run: &RunData, by_tokens: bool) -> Option<f64> {
    let record = record(input)?;
    let key = if by_tokens { tokens_of(record, run) } else { time_of(record, run) };
    key.filter(|k| k.is_finite())
}

pub(super) fn record(input: &Input) -> Option<&Record> {
    match input {
        Input::Record(record) => Some(record),
        Input::Restarted | Input::Replaced => None,
    }
}

fn time_of(record: &Record, run: &RunData) -> Option<f64> {
    let at_step = || at_step(&run.train, &run.train.time, record.step?);
    record.time.filter(|t| t.is_finite()).or_else(at_step)
}

fn tokens_of(record: &Record, run: &RunData) -> Option<f64> {
    let logged = record.tokens.filter(|_| run.tokens_source == TokensSource::Logged);
    let by_step = || at_step(&run.train, &run.train.tokens, record.step?);
    // Where nothing tells the tokens the steps are an order too.
    logged.or_else(by_step).or(record.step).or(record.tokens)
}

/// The first known value at a step or after it, else the last one.
fn at_step(columns: &Columns, values: &[f64], step: f64) -> Option<f64> {
    let i = columns.step.partition_point(|s| *s < step).min(values.len());
    let known = |v: &&f64| v.is_finite();
    values[i..].iter().find(known).or_else(|| values[..i].iter().rfind(known)).copied()
}

/// Keys of a stream in an order that never falls: the most of the given ones that can stay as they
/// are do, so that neither a clock that was set back nor one wild time moves the others; the rest
/// lies at the one before it.
pub(super) fn steady(own: &[Option<f64>]) -> Vec<f64> {
    let kept = longest_rise(own);
    let first = kept.first().and_then(|i| own[*i]).unwrap_or(0.0);
    let mut out = vec![first; own.len()];
    let mut kept = kept.into_iter().peekable();
    let mut last = first;
    for (i, key) in own.iter().enumerate() {
        if kept.next_if_eq(&i).is_some() {
            last = key.unwrap_or(last);
        }
        out[i] = last;
    }
    out
}

/// Indices of a longest subsequence that never falls.
fn longest_rise(own: &[Option<f64>]) -> Vec<usize> {
    // tails[k]: where the rise of length k + 1 with the lowest end ends.
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; own.len()];
    let value = |i: usize| own[i].unwrap_or(f64::NAN);
    for (i, key) in own.iter().enumerate() {
        let Some(key) = key else { continue };
        let k = tails.partition_point(|t| value(*t) <= *key);
        before[i] = k.checked_sub(1).map(|k| tails[k]);
        if k == tails.len() { tails.push(i) } else { tails[k] = i }
    }
    let mut out: Vec<usize> =
        std::iter::successors(tails.last().copied(), |i| before[*i]).collect();
    out.reverse();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_wild_time_moves_no_other() {
        let own = [1.0, 2.0, 9e9, 3.0, -5.0, 4.0].map(Some);
        assert_eq!(steady(&own), [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
        assert_eq!(steady(&[None, Some(3.0), None]), [3.0; 3]);
        assert_eq!(steady(&[None, None]), [0.0; 2]);
    }

    proptest! {
        #[test]
        fn keys_never_fall_and_a_rising_clock_is_left_alone(times in prop::collection::vec(0u32..50, 0..40)) {
            let own: Vec<Option<f64>> = times.iter().map(|t| Some(f64::from(*t))).collect();
            let keys = steady(&own);
            prop_assert!(keys.is_sorted());
            prop_assert!(keys.iter().all(|k| own.contains(&Some(*k))));
            let mut rising = own;
            rising.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let same: Vec<Option<f64>> = steady(&rising).into_iter().map(Some).collect();
            prop_assert_eq!(same, rising);
        }
    }
}
