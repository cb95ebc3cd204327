//! Streams to one run: their rows as one ascending sequence.

use super::Restart;
use super::row::Row;
use super::store::cut;
use super::stream::{Rollback, Stream};

/// All streams as one ascending sequence of rows.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Every step that something was said of, with its train loss.
    pub rows: Vec<Row>,
    /// Validation losses; each ends at the step of a row.
    pub validation: Vec<Row>,
    pub restarts: Vec<Restart>,
    pub by_tokens: bool,
    pub notes: Vec<String>,
}

impl Merged {
    /// Adds the rows of a stream that `keep` picks. What is there already stays.
    fn add(&mut self, s: &Stream, keep: impl Fn(&Row) -> bool) {
        let picked = |rows: &[Row]| rows.iter().filter(|r| keep(r)).copied().collect::<Vec<Row>>();
        let mut validation = picked(s.validation.rows());
        merge_rows(&mut self.rows, &picked(s.train.rows()));
        merge_rows(&mut self.validation, &validation);
        // What a train row counts is not counted again.
        let beside = |r: &Row| Row {
            lag: 0.0,
            rows: r.rows - r.beside.min(r.rows),
            beside: 0,
            ..r.with(None)
        };
        validation.iter_mut().for_each(|r| *r = beside(r));
        merge_rows(&mut self.rows, &validation);
    }

    /// A further file with train losses retires the steps that it repeats.
    fn supersede(&mut self, s: &Stream, rollbacks: &mut Vec<Rollback>) {
        let first = s.train.rows().iter().find(|r| r.has_loss);
        let (Some(first), Some(last)) = (first, self.rows.last()) else { return };
        let discarded_to = last.step;
        let resumed_at = first.step - first.span();
        let discarded = cut(&mut self.rows, resumed_at);
        cut(&mut self.validation, resumed_at);
        if discarded > 0 {
            let restart = Restart { resumed_at, discarded_to, discarded };
            rollbacks.push(Rollback { restart, time: first.time });
        }
    }
}

/// Merges streams; among those with train losses the later one wins from its first step on.
/// Later is told by the time of the first record, else by the stream's number.
pub(super) fn merge(streams: &[Stream]) -> Merged {
    let mut out = Merged::default();
    let (mut train, rest): (Vec<&Stream>, Vec<&Stream>) =
        streams.iter().filter(|s| !s.is_empty()).partition(|s| s.has_train_loss());
    if train.iter().all(|s| s.started().is_some()) {
        let start = |s: &Stream| s.started().unwrap_or(0.0);
        train.sort_by(|a, b| start(a).total_cmp(&start(b)));
    }
    let mut rollbacks: Vec<Rollback> = Vec::new();
    for s in &train {
        out.supersede(s, &mut rollbacks);
        out.add(s, |_| true);
        rollbacks.extend(s.rollbacks.iter().cloned());
    }
    let head = out.rows.last().map(|r| r.step);
    for s in &rest {
        let stale = |r: &Row| {
            rollbacks.iter().any(|b| {
                let before = r.time < b.time;
                let ahead = head.is_some_and(|h| r.step > h) && r.step <= b.restart.discarded_to;
                r.step >= b.restart.resumed_at && (before || ahead)
            })
        };
        out.add(s, |r| !stale(r));
        // What the evaluation repeats is the same restart, unless nothing else tells of it.
        if train.is_empty() {
            rollbacks.extend(s.rollbacks.iter().cloned());
        }
    }
    let repeats: usize = streams.iter().map(|s| s.repeated).sum();
    let steps: usize = out.rows.iter().map(|r| r.rows as usize).sum();
    if repeats > 5 && repeats * 20 > steps {
        out.notes.push(format!(
            "{repeats} steps are logged more than once with different losses (several ranks in one file?): the last one counts"
        ));
    } else {
        rollbacks.extend(streams.iter().flat_map(|s| s.repeats.iter().cloned()));
    }
    out.restarts = rollbacks.into_iter().map(|b| b.restart).collect();
    out.by_tokens = streams.iter().any(|s| s.by_tokens);
    let unplaced: u64 = streams.iter().map(|s| s.unplaced).sum();
    if unplaced > 0 {
        out.notes.push(format!(
            "{unplaced} records with a loss have neither a step nor tokens and are left out"
        ));
    }
    let lone: u64 = streams.iter().map(Stream::lone).sum();
    if lone > 0 {
        out.notes.push(format!(
            "{lone} records went back to the first step and nothing followed them there: left out, \
             they are no restart"
        ));
    }
    out
}

fn merge_rows(into: &mut Vec<Row>, rows: &[Row]) {
    match (into.last(), rows.first()) {
        (None, _) => return into.extend_from_slice(rows),
        (Some(a), Some(b)) if a.step < b.step => return into.extend_from_slice(rows),
        _ => {}
    }
    let old = std::mem::take(into);
    into.reserve(old.len() + rows.len());
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < rows.len() {
        match (old.get(i), rows.get(j)) {
            (Some(a), Some(b)) if a.step == b.step => {
                let mut row = *a;
                row.take(b, false);
                into.push(row);
                i += 1;
                j += 1;
            }
            (Some(a), b) if b.is_none_or(|b| a.step < b.step) => {
                into.push(*a);
                i += 1;
            }
            (_, Some(b)) => {
                into.push(*b);
                j += 1;
            }
            (Some(_), None) | (None, None) => break,
        }
    }
}
