//! Batch size and tokens of every row, by order of trust, each with where it came from.
//!
//! Batch size: logged in tokens; sequences x seq_len; micro-batch x accumulation x data-parallel x
//! seq_len; (tokens now - tokens before)/(steps between); given. Tokens: logged; samples x seq_len;
//! per-step counts added up; B x steps added up over the segments.

use super::batch::{batch_sizes, carry, seq_len, slopes};
use super::row::Row;
use super::segments::{self, Cut};
use super::{Assumptions, BatchSource, TokensSource};
use crate::units;

/// What [`resolve`] finds for the rows.
#[derive(Debug)]
pub(super) struct Resolved {
    pub tokens: Vec<f64>,
    /// Where batch sizes begin to act, over the rows; empty where no batch size is known.
    pub cuts: Vec<Cut>,
    pub batch_source: BatchSource,
    pub tokens_source: TokensSource,
    pub notes: Vec<String>,
}

/// A cumulative counter of the log, made one that only grows.
struct Counter {
    /// Per row; NaN where not logged.
    count: Vec<f64>,
    source: TokensSource,
    /// Recomputed by the trainer from the present batch size: no count of what was consumed.
    recomputed: bool,
}

pub(super) fn resolve(rows: &[Row], by_tokens: bool, given: &Assumptions) -> Resolved {
    let mut notes = Vec::new();
    let steps: Vec<f64> =
        if by_tokens { vec![f64::NAN; rows.len()] } else { rows.iter().map(|r| r.step).collect() };
    let counter = counter(rows, &steps, given, &mut notes);
    let derived = counter.as_ref().map(|c| slopes(&steps, &c.count, c.recomputed));
    let (batch, batch_source) = batch_sizes(rows, derived.as_deref(), given, &mut notes);
    if by_tokens {
        return without_steps(rows, batch, batch_source, notes);
    }
    let honest = counter.as_ref().filter(|c| !c.recomputed).map(|c| c.count.as_slice());
    let cuts = match &batch {
        Some(b) => {
            let count: Vec<f64> = rows.iter().map(|r| f64::from(r.rows.max(1))).collect();
            segments::cuts(&steps, b, &count, honest, batch_source == BatchSource::Derived)
        }
        None => Vec::new(),
    };
    notes.extend(before_the_log(rows, &cuts));
    let summed = rows.iter().any(|r| !r.tokens_per_step.is_nan());
    let (tokens, tokens_source) = match &counter {
        Some(c) if !c.recomputed => (fill(&steps, &c.count, &cuts), c.source),
        _ if summed => (sum_per_step(rows, &steps), TokensSource::Summed),
        _ if !cuts.is_empty() => (along(&steps, &cuts), TokensSource::BatchTimesStep),
        _ => (vec![f64::NAN; rows.len()], TokensSource::Unknown),
    };
    if tokens_source == TokensSource::BatchTimesStep && counter.is_none() {
        notes.push("tokens are not logged: counted as batch size x steps".into());
    }
    Resolved { tokens, cuts, batch_source, tokens_source, notes }
}

/// A past that the log does not hold.
fn before_the_log(rows: &[Row], cuts: &[Cut]) -> Option<String> {
    let (first, next) = (cuts.first()?, cuts.get(1)?);
    let step = rows.first().map_or(0.0, |r| r.step);
    (next.row == first.row).then(|| {
        format!(
            "the log begins at step {}, with a past of about {} tokens a step and {} since: a branch of \
             a checkpoint, or one whose beginning is missing",
            units::count(step),
            units::count(first.batch_size),
            units::count(next.batch_size)
        )
    })
}

/// A log without steps: the tokens are the order, and the steps follow from the batch size.
fn without_steps(
    rows: &[Row],
    batch: Option<Vec<f64>>,
    batch_source: BatchSource,
    mut notes: Vec<String>,
) -> Resolved {
    let tokens: Vec<f64> = rows.iter().map(|r| r.step).collect();
    notes.push(match batch {
        Some(_) => "steps are not logged: counted as tokens / batch size".into(),
        None => "steps are not logged and no batch size is known: give one (--assume-batch)".into(),
    });
    let cuts = batch.map_or(Vec::new(), |b| segments::cuts_by_tokens(&tokens, &b));
    Resolved { tokens, cuts, batch_source, tokens_source: TokensSource::Logged, notes }
}

fn counter(
    rows: &[Row],
    steps: &[f64],
    given: &Assumptions,
    notes: &mut Vec<String>,
) -> Option<Counter> {
    let logged: Vec<f64> = rows.iter().map(|r| r.tokens).collect();
    let (raw, source) = if logged.iter().any(|t| *t > 0.0) {
        (logged, TokensSource::Logged)
    } else if rows.iter().any(|r| r.samples > 0.0) {
        if seq_len(rows, given).is_none() {
            notes.push("samples are logged, but not the sequence length: give it (--seq-len) to count tokens".into());
            return None;
        }
        (of_samples(rows, given), TokensSource::Samples)
    } else {
        return None;
    };
    let recomputed = recomputed(steps, &raw);
    if recomputed {
        notes.push("the token counter jumps when the batch size changes (it is recomputed from the present batch size): tokens are counted as batch size x steps instead".into());
        return Some(Counter { count: raw, source, recomputed });
    }
    Some(Counter { count: growing(raw, notes), source, recomputed })
}

/// Tokens of all samples so far, those between two rows as long as the later row says.
fn of_samples(rows: &[Row], given: &Assumptions) -> Vec<f64> {
    let length = match rows.iter().any(|r| !r.seq_len.is_nan()) {
        true => carry(rows.iter().map(|r| r.seq_len).collect()),
        false => vec![given.seq_len.unwrap_or(f64::NAN); rows.len()],
    };
    let (mut sum, mut before) = (0.0, 0.0);
    rows.iter()
        .zip(length)
        .map(|(r, length)| {
            if !r.samples.is_nan() {
                sum += (r.samples - before) * length;
                before = r.samples;
            }
            if r.samples.is_nan() { f64::NAN } else { sum }
        })
        .collect()
}

/// A counter that went back (it began anew at a restart) goes on from where it was.
fn growing(raw: Vec<f64>, notes: &mut Vec<String>) -> Vec<f64> {
    let mut offset = 0.0;
    let mut last = f64::NAN;
    let mut out = Vec::with_capacity(raw.len());
    for t in raw {
        if t.is_nan() {
            out.push(t);
            continue;
        }
        if t + offset < last {
            notes.push(format!(
                "the token counter went back from {} to {}: counted on from there",
                units::count(last - offset),
                units::count(t)
            ));
            offset = last;
        }
        last = t + offset;
        out.push(last);
    }
    out
}

/// Whether the counter is steps x one size on each side of a row, with another size before than
/// after, and passes that row at a pace of neither: a counter that really counts keeps its past.
fn recomputed(steps: &[f64], tokens: &[f64]) -> bool {
    let rows: Vec<(f64, f64)> = steps
        .iter()
        .zip(tokens)
        .filter(|(s, t)| **s > 0.0 && **t > 0.0)
        .map(|(s, t)| (*s, *t))
        .collect();
    let pace = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0);
    let size = |a: (f64, f64), b: (f64, f64)| {
        let size = b.1 / b.0;
        ((pace(a, b) / size - 1.0).abs() < 1e-3).then_some(size)
    };
    rows.windows(4).any(|w| {
        let (Some(a), Some(b)) = (size(w[0], w[1]), size(w[2], w[3])) else { return false };
        let between = 0.99 * a.min(b)..=1.01 * a.max(b);
        (b / a - 1.0).abs() > 0.01 && !between.contains(&pace(w[1], w[2]))
    })
}

/// Logged counts, gaps bridged by the batch size in force.
fn fill(steps: &[f64], count: &[f64], cuts: &[Cut]) -> Vec<f64> {
    let along = if count.iter().any(|t| t.is_nan()) { along(steps, cuts) } else { Vec::new() };
    let first = count.iter().position(|t| !t.is_nan());
    let mut anchor = first;
    (0..steps.len())
        .map(|i| {
            if !count[i].is_nan() {
                anchor = Some(i);
                return count[i];
            }
            match (anchor, along.get(i)) {
                (Some(a), Some(t)) => (count[a] + t - along[a]).max(0.0),
                _ => f64::NAN,
            }
        })
        .collect()
}

fn sum_per_step(rows: &[Row], steps: &[f64]) -> Vec<f64> {
    let per_step = carry(rows.iter().map(|r| r.tokens_per_step).collect());
    let (mut sum, mut before) = (0.0, 0.0f64.min(steps.first().copied().unwrap_or(0.0) - 1.0));
    steps
        .iter()
        .zip(per_step)
        .map(|(s, t)| {
            sum += t * (s - before);
            before = *s;
            sum
        })
        .collect()
}

/// B x steps along the segments.
pub(super) fn along(steps: &[f64], cuts: &[Cut]) -> Vec<f64> {
    let mut base = 0.0;
    let mut k = 0;
    steps
        .iter()
        .map(|s| {
            while let Some(next) = cuts.get(k + 1).filter(|c| c.from_step < *s) {
                base += cuts[k].batch_size * (next.from_step - cuts[k].from_step);
                k += 1;
            }
            cuts.get(k).map_or(f64::NAN, |c| base + c.batch_size * (s - c.from_step))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{RunData, fixture};
    use super::*;
    use crate::metrics::Record;

    fn run(f: impl Fn(f64, &mut Record), given: Assumptions) -> RunData {
        let records: Vec<Record> = (1..=40)
            .map(|i| {
                let step = f64::from(i) * 10.0;
                let mut r = Record { step: Some(step), loss: Some(3.0), ..Record::default() };
                f(step, &mut r);
                r
            })
            .collect();
        fixture::made_of(&records, given)
    }

    fn given(seq_len: Option<f64>, batch_size: Option<f64>) -> Assumptions {
        Assumptions { seq_len, batch_size }
    }

    fn check(r: &RunData, batch: BatchSource, tokens: TokensSource, size: f64) {
        assert_eq!((r.batch_source, r.tokens_source), (batch, tokens), "{:?}", r.notes);
        assert_eq!(r.segments.len(), 1, "{:?}", r.segments);
        assert!((r.segments[0].batch_size / size - 1.0).abs() < 1e-9, "{:?}", r.segments);
        assert!((r.tokens() / (400.0 * size) - 1.0).abs() < 1e-9, "{}", r.tokens());
    }

    #[test]
    fn every_source_by_order_of_trust() {
        use BatchSource::{Derived, Given, LoggedTokens, MicroBatches, Sequences};
        use TokensSource::{BatchTimesStep, Logged, Samples, Summed};
        let none = given(None, None);
        let logged =
            run(|s, r| (r.tokens, r.batch_tokens) = (Some(s * 64.0), Some(64.0)), none.clone());
        check(&logged, LoggedTokens, Logged, 64.0);
        let derived = run(|s, r| r.tokens = Some(s * 64.0), none.clone());
        check(&derived, Derived, Logged, 64.0);
        let sequences = |s: f64, r: &mut Record| {
            (r.batch_sequences, r.samples) = (Some(4.0), Some(s * 4.0));
        };
        check(&run(sequences, given(Some(16.0), None)), Sequences, Samples, 64.0);
        let micro = run(
            |_, r| {
                (r.micro_batch, r.grad_accum) = (Some(2.0), Some(4.0));
                (r.data_parallel, r.seq_len) = (Some(8.0), Some(16.0));
            },
            none.clone(),
        );
        check(&micro, MicroBatches, BatchTimesStep, 1024.0);
        assert!(micro.notes.iter().any(|n| n.contains("batch size x steps")));
        check(&run(|_, _| (), given(None, Some(64.0))), Given, BatchTimesStep, 64.0);
        let per_step = run(|_, r| r.tokens_per_step = Some(64.0), none);
        check(&per_step, LoggedTokens, Summed, 64.0);
    }

    #[test]
    fn samples_are_as_long_as_they_were() {
        for sequences in [None, Some(4.0)] {
            let r = run(
                |s, r| {
                    r.seq_len = Some(if s <= 200.0 { 16.0 } else { 32.0 });
                    (r.samples, r.batch_sequences) = (Some(s * 4.0), sequences);
                },
                given(None, None),
            );
            assert_eq!(r.tokens_source, TokensSource::Samples, "{:?}", r.notes);
            assert_eq!(r.tokens(), 200.0 * 64.0 + 200.0 * 128.0);
            let sizes: Vec<f64> = r.segments.iter().map(|s| s.batch_size).collect();
            assert_eq!(sizes, [64.0, 128.0], "{:?}", r.segments);
            assert_eq!(r.segments[1].from_tokens, 200.0 * 64.0);
            assert!(!r.notes.iter().any(|n| n.contains("disagrees")), "{:?}", r.notes);
        }
    }

    /// The batch size of one rank of 16 beside a counter of all tokens.
    #[test]
    fn a_whole_part_of_what_the_counter_counts_is_that_of_one_device() {
        let r = run(
            |s, r| {
                (r.batch_sequences, r.seq_len) = (Some(4.0), Some(16.0));
                r.tokens = Some(s * 1024.0);
            },
            given(None, None),
        );
        check(&r, BatchSource::Derived, TokensSource::Logged, 1024.0);
        assert!(r.notes.iter().any(|n| n.contains("16 times the logged")), "{:?}", r.notes);
        // Any other disagreement: the logged one counts, and it is said.
        let other = run(
            |s, r| (r.batch_tokens, r.tokens) = (Some(64.0), Some(s * 100.0)),
            given(None, None),
        );
        assert_eq!(other.batch_size(), Some(64.0));
        assert!(other.notes.iter().any(|n| n.contains("disagrees")), "{:?}", other.notes);
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let r = run(|_, r| r.batch_sequences = Some(4.0), given(None, None));
        assert_eq!(
            (r.batch_source, r.tokens_source),
            (BatchSource::Unknown, TokensSource::Unknown)
        );
        assert!(r.tokens().is_nan() && r.segments.is_empty());
        assert!(r.notes.iter().any(|n| n.contains("--seq-len")), "{:?}", r.notes);
    }

    #[test]
    fn a_counter_recomputed_from_the_present_batch_size_is_not_believed() {
        for logged in [false, true] {
            let r = run(
                |s, r| {
                    let b = if s <= 200.0 { 64.0 } else { 128.0 };
                    r.tokens = Some(s * b);
                    r.batch_tokens = logged.then_some(b);
                },
                given(None, None),
            );
            assert_eq!(r.tokens_source, TokensSource::BatchTimesStep, "{:?}", r.notes);
            assert!(r.notes.iter().any(|n| n.contains("jumps")), "{:?}", r.notes);
            assert_eq!(r.segments.len(), 2);
            assert_eq!(r.tokens(), 200.0 * 64.0 + 200.0 * 128.0);
        }
        let honest = run(
            |s, r| r.tokens = Some(64.0 * s.min(205.0) + 128.0 * (s - 205.0).max(0.0)),
            given(None, None),
        );
        assert_eq!(honest.tokens_source, TokensSource::Logged);
        assert_eq!(honest.segments.len(), 2);
        assert_eq!(
            (honest.segments[1].from_step, honest.segments[1].from_tokens),
            (205.0, 205.0 * 64.0)
        );
    }

    #[test]
    fn a_counter_that_began_anew_is_counted_on() {
        let r = run(
            |s, r| r.tokens = Some(if s <= 200.0 { s * 64.0 } else { (s - 200.0) * 64.0 }),
            given(None, None),
        );
        assert!(r.notes.iter().any(|n| n.contains("went back")), "{:?}", r.notes);
        assert_eq!(r.tokens(), 400.0 * 64.0);
        assert_eq!(r.segments.len(), 1);
    }

    #[test]
    fn gaps_in_the_counter_are_bridged() {
        let r = run(
            |s, r| {
                r.batch_tokens = Some(64.0);
                r.tokens = (s % 50.0 == 0.0).then_some(s * 64.0);
            },
            given(None, None),
        );
        assert!(r.train.tokens.iter().zip(&r.train.step).all(|(t, s)| *t == s * 64.0));
    }
}
