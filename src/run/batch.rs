//! The batch size of every row, by order of trust.

use super::row::Row;
use super::{Assumptions, BatchSource};
use crate::units;

/// Tokens per step between rows by a counter of tokens; a row takes that of the interval which ends
/// at it.
pub(super) fn slopes(steps: &[f64], count: &[f64], recomputed: bool) -> Vec<f64> {
    let mut out = vec![f64::NAN; steps.len()];
    let mut last: Option<usize> = None;
    let mut second = None;
    for i in 0..steps.len() {
        let t = count[i];
        if t.is_nan() {
            continue;
        }
        if recomputed {
            out[i] = t / steps[i];
        } else if let Some(j) = last {
            let slope = (t - count[j]) / (steps[i] - steps[j]);
            if slope > 0.0 && slope.is_finite() {
                out[i] = slope;
                second = second.or(Some(slope));
            }
        }
        last = Some(i);
    }
    // The first interval is not seen whole: counters may begin at another origin than steps.
    if let (Some(first), Some(slope)) = (out.first_mut(), second) {
        *first = slope;
    } else if let (Some(i), None) = (last, second) {
        out[i] = count[i] / steps[i];
    }
    out
}

pub(super) fn seq_len(rows: &[Row], given: &Assumptions) -> Option<f64> {
    rows.iter().rev().map(|r| r.seq_len).find(|s| !s.is_nan()).or(given.seq_len)
}

fn any(column: &[f64]) -> bool {
    column.iter().any(|x| x.is_finite() && *x > 0.0)
}

/// The batch size of every row, and its source.
pub(super) fn batch_sizes(
    rows: &[Row],
    derived: Option<&[f64]>,
    given: &Assumptions,
    notes: &mut Vec<String>,
) -> (Option<Vec<f64>>, BatchSource) {
    let assumed = given.seq_len.unwrap_or(f64::NAN);
    let in_tokens = |n: f64, r: &Row| n * if r.seq_len.is_nan() { assumed } else { r.seq_len };
    type Column = fn(&Row) -> f64;
    let candidates: [(Column, bool, BatchSource); 4] = [
        (|r| r.batch_tokens, false, BatchSource::LoggedTokens),
        (|r| r.tokens_per_step, false, BatchSource::LoggedTokens),
        (|r| r.batch_sequences, true, BatchSource::Sequences),
        (|r| r.batch_micro, true, BatchSource::MicroBatches),
    ];
    for (column, sequences, source) in candidates {
        let raw: Vec<f64> = rows
            .iter()
            .map(|r| if sequences { in_tokens(column(r), r) } else { column(r) })
            .collect();
        if !any(&raw) {
            let logged = rows.iter().rev().map(column).find(|n| *n > 0.0);
            if let Some(n) = logged.filter(|_| sequences && !derived.is_some_and(any)) {
                let n = units::count(n);
                notes.push(format!("the batch size is logged in sequences ({n} now), but not the sequence length: with --seq-len N a step has {n} x N tokens"));
            }
            continue;
        }
        let known = raw.iter().filter(|x| !x.is_nan()).count();
        let carried = carry(raw);
        let Some(d) = derived else { return (Some(carried), source) };
        if agrees(&carried, d) {
            return (Some(carried), source);
        }
        if let Some(factor) = whole_factor(&carried, d) {
            notes.push(format!(
                "the token counter counts {factor} times the logged batch size ({}) a step: taken for \
                 that of one device of {factor}, and the counter believed",
                units::count(carried.last().copied().unwrap_or(f64::NAN))
            ));
            break;
        }
        if known * 2 < rows.len() {
            notes.push("the batch size is logged only now and then and disagrees with the token counter: taken from the tokens between records".into());
            break;
        }
        notes.push(format!(
            "the logged batch size ({}) disagrees with the tokens between records: the logged one counts",
            units::count(carried.last().copied().unwrap_or(f64::NAN))
        ));
        return (Some(carried), source);
    }
    if let Some(d) = derived.filter(|d| any(d)) {
        return (Some(carry(d.to_vec())), BatchSource::Derived);
    }
    if let Some(b) = given.batch_size.filter(|b| *b > 0.0) {
        notes.push(format!("batch size given: {} tokens", units::count(b)));
        return (Some(vec![b; rows.len()]), BatchSource::Given);
    }
    (None, BatchSource::Unknown)
}

/// Whether nine of ten rows agree within 5 % with what the counter says.
fn agrees(logged: &[f64], derived: &[f64]) -> bool {
    let pairs = logged.iter().zip(derived).filter(|(_, d)| d.is_finite());
    let (mut n, mut off) = (0usize, 0usize);
    for (b, d) in pairs {
        n += 1;
        off += usize::from((b / d - 1.0).abs() > 0.05);
    }
    off * 10 <= n.max(10)
}

/// The whole number, 2 or more, of logged batch sizes that the counter counts a step in nine of ten
/// rows.
fn whole_factor(logged: &[f64], derived: &[f64]) -> Option<u32> {
    let ratios = || logged.iter().zip(derived).map(|(b, d)| d / b).filter(|x| x.is_finite());
    let mut sorted: Vec<f64> = ratios().collect();
    sorted.sort_by(f64::total_cmp);
    let factor = sorted.get(sorted.len() / 2)?.round();
    let same = ratios().filter(|x| (x / factor - 1.0).abs() < 0.01).count();
    ((2.0..1e6).contains(&factor) && same >= 4 && same * 10 >= sorted.len() * 9)
        .then_some(factor as u32)
}

/// Unknown values take the last known one, those before the first known one the first.
pub(super) fn carry(mut column: Vec<f64>) -> Vec<f64> {
    let mut last = column.iter().copied().find(|x| !x.is_nan()).unwrap_or(f64::NAN);
    for x in &mut column {
        if x.is_nan() { *x = last } else { last = *x }
    }
    column
}
