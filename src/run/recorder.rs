//! Records as they come, and the run that they make.

use super::merge::{self, Row, Stream};
use super::segments::Cut;
use super::{Assumptions, Columns, RunData, phase, segments, tokens};
use crate::metrics::Record;
use crate::units;

/// Collects the records of one run, which may come from several files (streams).
///
/// Streams are numbered by the caller; where an attempt went on in a new file without times, the
/// earlier file should have the lower number.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    id: String,
    assumptions: Assumptions,
    paths: Vec<String>,
    streams: Vec<Stream>,
}

impl Recorder {
    pub fn new(id: &str, assumptions: Assumptions) -> Recorder {
        Recorder { id: id.to_string(), assumptions, ..Recorder::default() }
    }

    /// Paths that the resolved run names as its sources.
    pub fn set_paths(&mut self, paths: Vec<String>) {
        self.paths = paths;
    }

    /// Takes one record; O(1) amortised.
    pub fn push(&mut self, stream: usize, record: &Record) {
        self.stream(stream).push(record);
    }

    /// The file was cut or exchanged. What was read stays until a record repeats its steps, and
    /// that is noticed by the steps themselves.
    pub fn restarted(&mut self, stream: usize) {
        self.stream(stream);
    }

    /// The whole file was written again: the past of that stream is gone.
    pub fn replaced(&mut self, stream: usize) {
        *self.stream(stream) = Stream::default();
    }

    /// Steps that are known of, over all streams.
    pub fn len(&self) -> usize {
        self.streams.iter().map(|s| s.rows.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stream(&mut self, stream: usize) -> &mut Stream {
        if self.streams.len() <= stream {
            self.streams.resize_with(stream + 1, Stream::default);
        }
        &mut self.streams[stream]
    }

    /// Resolves everything; O(n).
    pub fn data(&self) -> RunData {
        let merged = merge::merge(&self.streams);
        let rows = &merged.rows;
        let resolved = tokens::resolve(rows, merged.by_tokens, &self.assumptions);
        let steps = steps(rows, &resolved.tokens, &resolved.cuts, merged.by_tokens);
        let batch = staircase(rows.len(), &resolved.cuts);
        let timeline = Timeline { rows, steps, tokens: resolved.tokens, batch };
        // Without a train loss the whole timeline stands in, so that phases and segments exist.
        let has_loss = rows.iter().any(|r| r.has_loss);
        let (of_row, train) = timeline.columns(|r| r.has_loss || !has_loss, |r| r.loss);
        let (_, validation) = timeline.columns(|r| r.has_val, |r| r.val_loss);
        let segments = segments::segments(&train, &of_row, &resolved.cuts, |s| {
            timeline.tokens_at(s, &resolved.cuts)
        });
        let starts: Vec<usize> = segments.iter().skip(1).map(|s| s.range.start).collect();
        let phases = phase::phases(&train.step, &train.lr, &starts);
        let mut notes = merged.notes;
        notes.extend(resolved.notes);
        notes.extend(nan_losses(&train, has_loss));
        RunData {
            id: self.id.clone(),
            paths: self.paths.clone(),
            train,
            validation,
            segments,
            phases,
            restarts: merged.restarts,
            batch_source: resolved.batch_source,
            tokens_source: resolved.tokens_source,
            notes,
        }
    }
}

struct Timeline<'a> {
    rows: &'a [Row],
    steps: Vec<f64>,
    tokens: Vec<f64>,
    batch: Vec<f64>,
}

impl Timeline<'_> {
    /// The rows that `take` picks, and their indices.
    fn columns(
        &self,
        take: impl Fn(&Row) -> bool,
        loss: impl Fn(&Row) -> f64,
    ) -> (Vec<usize>, Columns) {
        let mut of_row = Vec::new();
        let mut c = Columns::default();
        let mut lr = f64::NAN;
        for (i, r) in self.rows.iter().enumerate() {
            // Trainers log the learning rate on other lines than the loss.
            if !r.lr.is_nan() {
                lr = r.lr;
            }
            if take(r) {
                of_row.push(i);
                c.step.push(self.steps[i]);
                c.tokens.push(self.tokens[i]);
                c.loss.push(loss(r));
                c.lr.push(lr);
                c.batch_size.push(self.batch[i]);
                c.time.push(r.time);
            }
        }
        (of_row, c)
    }

    /// Tokens done at a step between two rows.
    fn tokens_at(&self, step: f64, cuts: &[Cut]) -> f64 {
        let i = self.steps.partition_point(|s| *s < step);
        let b = |at: f64| {
            let k = cuts.partition_point(|c| c.from_step < at);
            cuts.get(k.saturating_sub(1)).map_or(f64::NAN, |c| c.batch_size)
        };
        match (i.checked_sub(1), self.steps.get(i)) {
            (_, Some(s)) if *s == step => self.tokens[i],
            (Some(j), _) => self.tokens[j] + b(step) * (step - self.steps[j]),
            (None, _) => b(step) * step,
        }
    }
}

fn steps(rows: &[Row], tokens: &[f64], cuts: &[Cut], by_tokens: bool) -> Vec<f64> {
    if !by_tokens {
        return rows.iter().map(|r| r.step).collect();
    }
    let mut out = Vec::with_capacity(rows.len());
    let (mut step, mut last, mut k) = (0.0, 0.0, 0);
    for (i, t) in tokens.iter().enumerate() {
        while cuts.get(k + 1).is_some_and(|c| c.row <= i) {
            k += 1;
        }
        step += cuts.get(k).map_or(f64::NAN, |c| (t - last) / c.batch_size);
        last = *t;
        out.push(step);
    }
    out
}

fn staircase(rows: usize, cuts: &[Cut]) -> Vec<f64> {
    let mut out = vec![f64::NAN; rows];
    for (k, c) in cuts.iter().enumerate() {
        let to = cuts.get(k + 1).map_or(rows, |n| n.row);
        if let Some(span) = out.get_mut(c.row..to) {
            span.fill(c.batch_size);
        }
    }
    out
}

fn nan_losses(train: &Columns, has_loss: bool) -> Option<String> {
    let bad = train.loss.iter().filter(|l| !l.is_finite()).count();
    if !has_loss || bad == 0 {
        return None;
    }
    Some(match bad == train.len() {
        true => format!("every loss of {} is NaN or infinite", units::exact(bad as u64)),
        false => format!("{} losses are NaN or infinite and left out", units::exact(bad as u64)),
    })
}
