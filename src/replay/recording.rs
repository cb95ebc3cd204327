//! Finished runs in the order in which they happened, and the monitor that is told of them.

use super::order::{self, Order, record};
use crate::error::{Error, Result};
use crate::metrics::Input;
use crate::monitor::{Clock, Monitor, Settings};
use crate::run::RunData;
use crate::snapshot::{ReplayView, Snapshot};
use std::sync::Arc;

/// Snapshots of a replay at full speed: one each time so many parts of the record have been told.
const THROUGH_STEPS: usize = 100;

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Recorded seconds a second; infinite is as fast as it goes.
    pub speed: f64,
    /// Start where the first run has consumed this many tokens.
    pub from_tokens: Option<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// Unix seconds, or tokens.
    pub key: f64,
    run: usize,
    stream: usize,
    input: Input,
}

/// Finished runs, in the order in which they happened.
#[derive(Debug)]
pub struct Recording {
    pub(super) monitor: Monitor,
    pub(super) moments: Vec<Moment>,
    pub(super) by_tokens: bool,
    /// Moments that the monitor has been told.
    pub(super) fed: usize,
    /// Moments of each run that it has not been told.
    left: Vec<usize>,
    /// The run that is told of first.
    first: usize,
    /// The runs as they ended. They tell where a position lies, and nothing of it is shown.
    runs: Vec<Arc<RunData>>,
}

impl Recording {
    /// Reads PATHs whole.
    ///
    /// # Errors
    /// A PATH that does not exist, or files without a single record.
    pub fn load(paths: &[String], settings: Settings) -> Result<Recording> {
        let settings = Settings { read_only: true, recorded_clock: true, ..settings };
        let mut monitor = Monitor::new(paths, settings)?;
        if let Some(path) = monitor.missing().first() {
            return Err(Error::Usage(format!("{path}: no such file or directory to replay")));
        }
        let inputs = monitor.take_recorded();
        if inputs.is_empty() {
            return Err(Error::Usage(format!("no records to replay in {}", paths.join(" "))));
        }
        // Told once in whole, the runs say where on the axis their steps lie; then all is forgotten.
        for (run, stream, input) in &inputs {
            monitor.ingest(*run, *stream, std::slice::from_ref(input));
        }
        monitor.resolve();
        let runs: Vec<Arc<RunData>> = monitor.data().map(|(run, _)| Arc::clone(run)).collect();
        let Order { by_tokens, keys } = order::order(&inputs, &runs);
        let first = inputs.first().map_or(0, |i| i.0);
        let moment = |(key, (run, stream, input))| Moment { key, run, stream, input };
        let mut moments: Vec<Moment> = keys.into_iter().zip(inputs).map(moment).collect();
        moments.sort_by(|a, b| a.key.total_cmp(&b.key));
        monitor.set_clock(if by_tokens { Clock::Tokens } else { Clock::Recorded });
        let mut recording =
            Recording { monitor, moments, by_tokens, fed: 0, left: Vec::new(), first, runs };
        recording.rewind();
        Ok(recording)
    }

    /// Back to where nothing has been told.
    fn rewind(&mut self) {
        self.monitor.rewind();
        self.fed = 0;
        self.left = vec![0; self.runs.len()];
        self.moments.iter().for_each(|m| self.left[m.run] += 1);
    }

    pub(super) fn from(&self) -> f64 {
        self.moments.first().map_or(0.0, |m| m.key)
    }

    pub(super) fn to(&self) -> f64 {
        self.moments.last().map_or(0.0, |m| m.key)
    }

    /// Feeds everything up to `key`, from the start where that lies behind.
    pub(super) fn advance(&mut self, key: f64) {
        if self.fed > 0 && self.moments[self.fed - 1].key > key {
            self.rewind();
        }
        while let Some(m) = self.moments.get(self.fed).filter(|m| m.key <= key) {
            self.monitor.ingest(m.run, m.stream, std::slice::from_ref(&m.input));
            self.fed += 1;
            self.left[m.run] -= 1;
            if self.left[m.run] == 0 {
                self.monitor.told_all(m.run);
            }
        }
    }

    /// Key at which the first run has consumed `tokens`; the end where it never does.
    fn key_of_tokens(&self, tokens: f64) -> f64 {
        let run = &self.runs[self.first].train;
        let i = run.tokens.partition_point(|t| *t < tokens);
        let Some(step) = run.step.get(i) else { return self.to() };
        let reached = |m: &&Moment| {
            let step_of = || record(&m.input)?.step;
            m.run == self.first && step_of().is_some_and(|s| s >= *step)
        };
        match self.by_tokens {
            true => run.tokens[i],
            false => self.moments.iter().find(reached).map_or(self.to(), |m| m.key),
        }
    }

    /// Where a replay begins.
    pub(super) fn start(&self, options: &Options) -> f64 {
        let start = options.from_tokens.map_or(self.from(), |t| self.key_of_tokens(t));
        start.clamp(self.from(), self.to())
    }

    /// What a screen shows of the play head.
    pub(super) fn view(&self, key: f64, playing: bool, speed: f64) -> ReplayView {
        let (from, to) = (self.from(), self.to());
        ReplayView {
            playing,
            speed,
            position: if to > from { ((key - from) / (to - from)).clamp(0.0, 1.0) } else { 1.0 },
            from,
            to,
            by_tokens: self.by_tokens,
        }
    }

    /// Plays to the end without a clock, with a snapshot after each part of the record and a fit
    /// whenever one is due. `see` says whether to go on.
    ///
    /// # Errors
    /// Those of `see`.
    pub fn run_through(
        mut self,
        options: &Options,
        mut see: impl FnMut(Snapshot) -> Result<bool>,
    ) -> Result<()> {
        let start = self.start(options);
        let begun = self.moments.partition_point(|m| m.key <= start);
        let left = self.moments.len() - begun;
        // Parts of the record, not of its time: between two runs months may lie.
        let fed = (0..=THROUGH_STEPS).map(|i| begun + left * i / THROUGH_STEPS);
        let mut keys: Vec<f64> = fed.map(|n| self.moments[n.max(1) - 1].key.max(start)).collect();
        keys.dedup();
        for key in keys {
            self.advance(key);
            if self.monitor.fit_due() {
                self.monitor.fit_now(key);
            }
            self.monitor.set_replay(self.view(key, true, f64::INFINITY));
            if !see(self.monitor.snapshot(key))? {
                break;
            }
        }
        Ok(())
    }
}
