//! Records of one stream to rows: what several records say of one step is one row, and a restart
//! retires what it repeats.
//!
//! A stream is one file. The train losses of a stream ascend in step, and so do its validation
//! losses; a record that breaks this starts a new attempt, which retires every row at or above
//! its step. Each row is retired at most once, so a push costs O(1) amortised.

use super::Restart;
use crate::metrics::Record;

/// One step, with everything that was said of it. NaN: unknown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub step: f64,
    pub tokens: f64,
    pub samples: f64,
    pub tokens_per_step: f64,
    pub batch_tokens: f64,
    /// Sequences per optimizer step as logged.
    pub batch_sequences: f64,
    /// micro-batch x accumulation x data-parallel, in sequences.
    pub batch_micro: f64,
    pub seq_len: f64,
    pub loss: f64,
    pub val_loss: f64,
    pub lr: f64,
    pub time: f64,
    /// The trainer wrote a loss, be it NaN.
    pub has_loss: bool,
    pub has_val: bool,
}

impl Row {
    fn at(step: f64) -> Row {
        let x = f64::NAN;
        Row {
            step,
            tokens: x,
            samples: x,
            tokens_per_step: x,
            batch_tokens: x,
            batch_sequences: x,
            batch_micro: x,
            seq_len: x,
            loss: x,
            val_loss: x,
            lr: x,
            time: x,
            has_loss: false,
            has_val: false,
        }
    }

    /// Takes what `r` knows; with `over`, what `r` knows wins.
    fn take(&mut self, r: &Row, over: bool) {
        let set = |a: &mut f64, b: f64| {
            if !b.is_nan() && (over || a.is_nan()) {
                *a = b;
            }
        };
        set(&mut self.tokens, r.tokens);
        set(&mut self.samples, r.samples);
        set(&mut self.tokens_per_step, r.tokens_per_step);
        set(&mut self.batch_tokens, r.batch_tokens);
        set(&mut self.batch_sequences, r.batch_sequences);
        set(&mut self.batch_micro, r.batch_micro);
        set(&mut self.seq_len, r.seq_len);
        set(&mut self.lr, r.lr);
        set(&mut self.time, r.time);
        if r.has_loss && (over || !self.has_loss) {
            (self.loss, self.has_loss) = (r.loss, true);
        }
        if r.has_val && (over || !self.has_val) {
            (self.val_loss, self.has_val) = (r.val_loss, true);
        }
    }
}

/// A restart with the time of its first record, by which other streams are cut.
#[derive(Debug, Clone)]
pub(super) struct Rollback {
    pub restart: Restart,
    pub time: f64,
}

/// The rows of one file, resolved against themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    /// Ascending in step.
    pub rows: Vec<Row>,
    pub rollbacks: Vec<Rollback>,
    /// Steps that were logged again, with another loss, before any later step was.
    pub repeats: Vec<Rollback>,
    /// Records that had neither a step nor tokens but a loss.
    pub unplaced: u64,
    /// Ordered by tokens because no record of it has a step; `step` of its rows holds tokens.
    pub by_tokens: bool,
    last_train: Option<f64>,
    last_val: Option<f64>,
    micro: Option<f64>,
    accum: Option<f64>,
    parallel: Option<f64>,
    seq_len: Option<f64>,
}

impl Stream {
    pub fn push(&mut self, r: &Record) {
        self.micro = positive(r.micro_batch).or(self.micro);
        self.accum = positive(r.grad_accum).or(self.accum);
        self.parallel = positive(r.data_parallel).or(self.parallel);
        self.seq_len = positive(r.seq_len).or(self.seq_len);
        let Some(step) = self.place(r) else {
            if r.loss.is_some() || r.val_loss.is_some() {
                self.unplaced += 1;
            }
            return;
        };
        let row = self.row(step, r);
        let train = row.has_loss && self.last_train.is_some_and(|s| step <= s);
        let val = row.has_val && self.last_val.is_some_and(|s| step <= s);
        if (train || val) && !self.said_again(&row) {
            self.retire(&row, train);
        }
        self.insert(row);
    }

    /// The step of a record, or what stands for it.
    fn place(&mut self, r: &Record) -> Option<f64> {
        if let Some(s) = r.step.filter(|s| s.is_finite()) {
            if self.by_tokens {
                // The first steps of a stream that had none: what was read by tokens is unplaced.
                self.unplaced +=
                    self.rows.iter().filter(|r| r.has_loss || r.has_val).count() as u64;
                *self = Stream { unplaced: self.unplaced, ..self.context() };
            }
            return Some(s);
        }
        let tokens = r.tokens.filter(|t| t.is_finite())?;
        let Some(last) = self.rows.last() else {
            self.by_tokens = true;
            return Some(tokens);
        };
        if self.by_tokens {
            return Some(tokens);
        }
        // A record without a step among others with: by the tokens per step so far.
        let per_step = last.tokens / last.step;
        (per_step > 0.0 && per_step.is_finite()).then(|| (tokens / per_step).round())
    }

    fn context(&self) -> Stream {
        Stream {
            micro: self.micro,
            accum: self.accum,
            parallel: self.parallel,
            seq_len: self.seq_len,
            ..Stream::default()
        }
    }

    fn row(&self, step: f64, r: &Record) -> Row {
        let known = |x: Option<f64>| x.filter(|v| v.is_finite()).unwrap_or(f64::NAN);
        let size = |x: Option<f64>| positive(x).unwrap_or(f64::NAN);
        let micro = match (self.micro, self.accum, self.parallel) {
            (Some(m), Some(a), Some(d)) => m * a * d,
            _ => f64::NAN,
        };
        Row {
            tokens: known(r.tokens),
            samples: known(r.samples),
            tokens_per_step: size(r.tokens_per_step),
            batch_tokens: size(r.batch_tokens),
            batch_sequences: size(r.batch_sequences),
            batch_micro: micro,
            seq_len: self.seq_len.unwrap_or(f64::NAN),
            loss: known(r.loss),
            val_loss: known(r.val_loss),
            lr: known(r.lr),
            time: known(r.time),
            has_loss: r.loss.is_some(),
            has_val: r.val_loss.is_some(),
            ..Row::at(step)
        }
    }

    /// The newest step once more: the same line again, or a value that replaces it.
    fn said_again(&mut self, row: &Row) -> bool {
        let Some(last) = self.rows.last_mut().filter(|l| l.step == row.step) else {
            return false;
        };
        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        let train = row.has_loss && last.has_loss && !same(row.loss, last.loss);
        let val = row.has_val && last.has_val && !same(row.val_loss, last.val_loss);
        last.take(row, true);
        if train || val {
            let restart = Restart { resumed_at: row.step, discarded_to: row.step, discarded: 1 };
            self.repeats.push(Rollback { restart, time: row.time });
        }
        true
    }

    fn retire(&mut self, row: &Row, train: bool) {
        // An evaluation at the start of an attempt repeats the step of its checkpoint, whose
        // train loss nobody will log again.
        let mut keep = self.rows.partition_point(|r| r.step < row.step);
        if !train && self.rows.get(keep).is_some_and(|r| r.step == row.step && r.has_loss) {
            keep += 1;
        }
        let discarded = self.rows.len() - keep;
        let discarded_to = self.rows.last().map_or(row.step, |r| r.step);
        self.rows.truncate(keep);
        if let Some(last) = self.rows.last_mut().filter(|r| r.step == row.step) {
            (last.val_loss, last.has_val) = (row.val_loss, row.has_val);
        }
        self.last_train = self.rows.iter().rev().find(|r| r.has_loss).map(|r| r.step);
        self.last_val = self.rows.iter().rev().find(|r| r.has_val).map(|r| r.step);
        if discarded > 0 {
            let restart = Restart { resumed_at: row.step, discarded_to, discarded };
            self.rollbacks.push(Rollback { restart, time: row.time });
        }
    }

    fn insert(&mut self, row: Row) {
        if row.has_loss {
            self.last_train = Some(row.step);
        }
        if row.has_val {
            self.last_val = Some(row.step);
        }
        match self.rows.last_mut() {
            Some(last) if last.step == row.step => last.take(&row, false),
            Some(last) if last.step > row.step => {
                // A late evaluation, or a record without a loss.
                let i = self.rows.partition_point(|r| r.step < row.step);
                match self.rows.get_mut(i) {
                    Some(r) if r.step == row.step => r.take(&row, false),
                    _ => self.rows.insert(i, row),
                }
            }
            _ => self.rows.push(row),
        }
    }
}

/// Sizes and counts of tokens; beyond 1e18 a number is damage, and steps would drown in it.
fn positive(x: Option<f64>) -> Option<f64> {
    x.filter(|v| *v > 0.0 && *v <= 1e18)
}

/// All streams as one ascending sequence of rows.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub rows: Vec<Row>,
    pub restarts: Vec<Restart>,
    pub by_tokens: bool,
    pub notes: Vec<String>,
}

/// Merges streams; among those with train losses the later one wins from its first step on.
/// Later is told by the time of the first record, else by the stream's number.
pub(super) fn merge(streams: &[Stream]) -> Merged {
    let mut out = Merged::default();
    let (mut train, rest): (Vec<&Stream>, Vec<&Stream>) = streams
        .iter()
        .filter(|s| !s.rows.is_empty())
        .partition(|s| s.rows.iter().any(|r| r.has_loss));
    let start = |s: &Stream| s.rows.iter().map(|r| r.time).find(|t| !t.is_nan());
    if train.iter().all(|s| start(s).is_some()) {
        train.sort_by(|a, b| start(a).unwrap_or(0.0).total_cmp(&start(b).unwrap_or(0.0)));
    }
    let mut rollbacks: Vec<Rollback> = Vec::new();
    for s in &train {
        supersede(&mut out, s, &mut rollbacks);
        merge_rows(&mut out.rows, &s.rows);
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
        let rows: Vec<Row> = s.rows.iter().filter(|r| !stale(r)).copied().collect();
        merge_rows(&mut out.rows, &rows);
        // What the evaluation repeats is the same restart, unless nothing else tells of it.
        if train.is_empty() {
            rollbacks.extend(s.rollbacks.iter().cloned());
        }
    }
    let repeats: usize = streams.iter().map(|s| s.repeats.len()).sum();
    if repeats > 5 && repeats * 20 > out.rows.len() {
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
    out
}

/// A further file with train losses retires the steps that it repeats.
fn supersede(out: &mut Merged, s: &Stream, rollbacks: &mut Vec<Rollback>) {
    let (Some(first), Some(last)) = (s.rows.iter().find(|r| r.has_loss), out.rows.last()) else {
        return;
    };
    let keep = out.rows.partition_point(|r| r.step < first.step);
    if keep < out.rows.len() {
        let restart = Restart {
            resumed_at: first.step,
            discarded_to: last.step,
            discarded: out.rows.len() - keep,
        };
        rollbacks.push(Rollback { restart, time: first.time });
        out.rows.truncate(keep);
    }
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
