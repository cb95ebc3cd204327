//! Records of one stream to rows: what several records say of one step is one row, and a restart
//! retires what it repeats.
//!
//! A stream is one file. The train losses of a stream ascend in step, and so do its validation
//! losses; a record that breaks this starts a new attempt, which retires every row at or above
//! its step. Each row is retired at most once, so a push costs O(1) amortised. A lone record that would
//! retire everything is believed once another one follows it: trainers write summaries at step 0.

use super::Restart;
use super::row::{MOST, Row, positive};
use super::store::Store;
use crate::metrics::Record;

/// Restarts that are kept of one stream; a log with more tells nothing by further ones.
const MOST_RESTARTS: usize = 10_000;
/// Steps that a lone record does not retire.
const SETTLED: usize = 8;

/// A restart with the time of its first record, by which other streams are cut.
#[derive(Debug, Clone)]
pub(super) struct Rollback {
    pub restart: Restart,
    pub time: f64,
}

/// The rows of one file, resolved against themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    /// What was said with a train loss, or without any loss.
    pub train: Store,
    /// What was said with a validation loss, which is the loss of these rows.
    pub validation: Store,
    pub rollbacks: Vec<Rollback>,
    /// Steps that were logged again, with another loss, before any later step was.
    pub repeats: Vec<Rollback>,
    /// How many there were of them.
    pub repeated: usize,
    /// Records that had neither a step nor tokens but a loss.
    pub unplaced: u64,
    /// Records that went back to the start, and nothing followed them there.
    pub strays: u64,
    /// One of which that is not known yet.
    doubted: Option<Record>,
    /// Ordered by tokens because no record of it has a step; `step` of its rows holds tokens.
    pub by_tokens: bool,
    last_train: Option<f64>,
    last_val: Option<f64>,
    micro: Option<f64>,
    accum: Option<f64>,
    parallel: Option<f64>,
    seq_len: Option<f64>,
}

/// What one record says, for the series that it belongs to.
#[derive(Debug, Clone, Copy)]
struct Said {
    step: f64,
    time: f64,
    train: Option<Row>,
    validation: Option<Row>,
}

impl Stream {
    /// `whole`: one that puts nothing together.
    pub fn new(whole: bool) -> Stream {
        let store = || if whole { Store::whole() } else { Store::default() };
        Stream { train: store(), validation: store(), ..Stream::default() }
    }

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
        if let Some(doubted) = self.doubted.take() {
            if self.newest().is_some_and(|newest| step > newest) {
                self.strays += 1;
            } else {
                self.believe(&doubted);
            }
        } else if r.loss.is_some() && self.undoes_all(step) {
            self.doubted = Some(*r);
            return;
        }
        self.take(step, r);
    }

    /// A step at or before the first of many.
    fn undoes_all(&self, step: f64) -> bool {
        let first = self.train.rows().iter().find(|r| r.has_loss);
        first.is_some_and(|first| step <= first.step - first.span()) && self.steps() >= SETTLED
    }

    fn believe(&mut self, r: &Record) {
        if let Some(step) = self.place(r) {
            self.take(step, r);
        }
    }

    /// Records that were left out because nothing followed them, or has so far.
    pub fn lone(&self) -> u64 {
        self.strays + u64::from(self.doubted.is_some())
    }

    fn take(&mut self, step: f64, r: &Record) {
        let said = self.said(step, r);
        let train = r.loss.is_some() && self.last_train.is_some_and(|s| step <= s);
        let val = r.val_loss.is_some() && self.last_val.is_some_and(|s| step <= s);
        if (train || val) && !self.said_again(&said) {
            self.retire(&said, train);
        }
        if let Some(row) = said.train {
            self.last_train = if row.has_loss { Some(step) } else { self.last_train };
            self.train.insert(row);
            if let Some(last) = self.validation.last_mut().filter(|l| l.step == step) {
                last.beside = 1;
            }
        }
        if let Some(row) = said.validation {
            self.last_val = Some(step);
            let beside = u32::from(said.train.is_some() || self.train.at(step).is_some());
            self.validation.insert(Row { beside, ..row });
        }
    }

    /// The last step of all.
    fn newest(&self) -> Option<f64> {
        let ends = [self.train.last(), self.validation.last()];
        ends.into_iter().flatten().map(|r| r.step).reduce(f64::max)
    }

    pub fn is_empty(&self) -> bool {
        self.train.rows().is_empty() && self.validation.rows().is_empty()
    }

    pub fn has_train_loss(&self) -> bool {
        self.train.rows().iter().any(|r| r.has_loss)
    }

    /// Time of the first record that has one.
    pub fn started(&self) -> Option<f64> {
        let first =
            |s: &Store| s.rows().iter().find(|r| !r.time.is_nan()).map(|r| (r.step, r.time));
        let both = [first(&self.train), first(&self.validation)].into_iter().flatten();
        both.min_by(|a, b| a.0.total_cmp(&b.0)).map(|f| f.1)
    }

    /// Steps that were logged.
    pub fn steps(&self) -> usize {
        let train = self.train.rows().iter().map(|r| r.rows);
        let validation = self.validation.rows().iter();
        train.chain(validation.map(|r| r.rows.saturating_sub(r.beside))).map(|n| n as usize).sum()
    }

    /// The step of a record, or what stands for it.
    fn place(&mut self, r: &Record) -> Option<f64> {
        if let Some(s) = r.step.filter(|s| (0.0..=MOST).contains(s)) {
            if self.by_tokens {
                // The first steps of a stream that had none: what was read by tokens is unplaced.
                let train = self.train.rows().iter().filter(|r| r.has_loss).map(|r| r.rows);
                let validation = self.validation.rows().iter().map(|r| r.rows - r.beside);
                self.unplaced += train.chain(validation).map(u64::from).sum::<u64>();
                let (mut anew, unplaced) = (self.context(), self.unplaced);
                std::mem::swap(&mut anew.train, &mut self.train);
                std::mem::swap(&mut anew.validation, &mut self.validation);
                anew.train.clear();
                anew.validation.clear();
                *self = Stream { unplaced, ..anew };
            }
            return Some(s);
        }
        let tokens = r.tokens.filter(|t| t.is_finite() && *t <= MOST)?;
        if self.is_empty() {
            self.by_tokens = true;
        }
        if self.by_tokens {
            return Some(tokens);
        }
        // A record without a step among others with: by the tokens per step so far.
        let ends = [self.train.last(), self.validation.last()].into_iter().flatten();
        let last = ends.max_by(|a, b| a.step.total_cmp(&b.step))?;
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

    fn said(&self, step: f64, r: &Record) -> Said {
        let micro = match (self.micro, self.accum, self.parallel) {
            (Some(m), Some(a), Some(d)) => m * a * d,
            _ => f64::NAN,
        };
        let row = Row::of(step, r, micro, self.seq_len.unwrap_or(f64::NAN));
        let beside = r.val_loss.is_none() || r.loss.is_some();
        Said {
            step,
            time: row.time,
            train: beside.then(|| row.with(r.loss)),
            validation: r.val_loss.is_some().then(|| row.with(r.val_loss)),
        }
    }

    /// The newest step once more: the same line again, or a value that replaces it.
    fn said_again(&mut self, said: &Said) -> bool {
        if self.newest() != Some(said.step) {
            return false;
        }
        let again = |store: &mut Store, row: Option<Row>| {
            let last = store.last_mut().filter(|l| l.step == said.step);
            let (Some(row), Some(last)) = (row, last) else { return false };
            let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
            let changed = row.has_loss && last.has_loss && !same(row.loss, last.loss);
            last.take(&row, true);
            changed
        };
        let train = again(&mut self.train, said.train);
        let validation = again(&mut self.validation, said.validation);
        if train || validation {
            self.repeated += 1;
            let step = said.step;
            let restart = Restart { resumed_at: step, discarded_to: step, discarded: 1 };
            note(&mut self.repeats, Rollback { restart, time: said.time });
        }
        true
    }

    fn retire(&mut self, said: &Said, train: bool) {
        let (step, discarded_to) = (said.step, self.newest().unwrap_or(said.step));
        // An evaluation at the start of an attempt repeats the step of its checkpoint, whose
        // train loss nobody will log again.
        let kept = self.train.at(step).is_some_and(|r| !train && r.has_loss);
        let train = if kept { self.train.cut_after(step) } else { self.train.cut(step) };
        let discarded = train + self.validation.cut(step);
        self.last_train = self.train.rows().iter().rev().find(|r| r.has_loss).map(|r| r.step);
        self.last_val = self.validation.last().map(|r| r.step);
        if discarded > 0 {
            let restart = Restart { resumed_at: step, discarded_to, discarded };
            note(&mut self.rollbacks, Rollback { restart, time: said.time });
        }
    }
}

fn note(list: &mut Vec<Rollback>, rollback: Rollback) {
    if list.len() < MOST_RESTARTS {
        list.push(rollback);
    }
}
