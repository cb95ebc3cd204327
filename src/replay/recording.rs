//! Finished runs in the order in which they happened, and the monitor that is told of them.

use super::feed::{self, Feed};
use super::order::{self, record};
use crate::error::{Error, Result};
use crate::metrics::{Record, Source};
use crate::monitor::{Clock, Monitor, Settings};
use crate::run::RunData;
use crate::snapshot::{ReplayView, Snapshot};
use std::ffi::OsStr;
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

/// When an input of a stream of a run is told; the inputs of one stream in the order of its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Unix seconds, or tokens.
    pub key: f64,
    run: u32,
    stream: u32,
}

impl Moment {
    fn place(&self) -> (usize, usize) {
        (self.run as usize, self.stream as usize)
    }
}

/// Finished runs, in the order in which they happened.
#[derive(Debug)]
pub struct Recording {
    pub(super) monitor: Monitor,
    pub(super) moments: Vec<Moment>,
    /// Where the inputs come from, by run and stream.
    feeds: Vec<Vec<Feed>>,
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
    /// Reads PATHs whole, once to resolve the runs and once to place their lines in time. The lines
    /// themselves are not kept: a replay reads them again as it comes to them.
    ///
    /// # Errors
    /// A PATH that does not exist, or files without a single record.
    pub fn load(paths: &[impl AsRef<OsStr>], settings: Settings) -> Result<Recording> {
        let settings = Settings { read_only: true, recorded_clock: true, ..settings };
        let options = settings.sources.clone();
        let mut monitor = Monitor::new(paths, settings)?;
        if let Some(path) = monitor.missing().first() {
            return Err(Error::Usage(format!("{path}: no such file or directory to replay")));
        }
        let open = |s: &Source| Feed::new(&s.status().path, &options);
        let mut feeds: Vec<Vec<Feed>> =
            monitor.data().map(|(_, sources)| sources.iter().map(open).collect()).collect();
        // Told once in whole, the runs say where on the axis their steps lie; then all is forgotten.
        let mut timed: Vec<Option<bool>> = vec![None; feeds.len()];
        monitor.read_recorded(feed::CHUNK, |run, stream, input| {
            let has_time = |r: &Record| r.time.is_some_and(f64::is_finite);
            if let Some(record) = record(input) {
                timed[run] = Some(timed[run] == Some(true) || has_time(record));
            }
            feeds[run][stream].keep_passing(*input);
        });
        let Some(first) = timed.iter().position(Option::is_some) else {
            let named = paths.iter().map(|p| p.as_ref().display().to_string());
            let named: Vec<String> = named.collect();
            return Err(Error::Usage(format!("no records to replay in {}", named.join(" "))));
        };
        let by_tokens = timed.contains(&Some(false));
        let runs: Vec<Arc<RunData>> = monitor.data().map(|(run, _)| Arc::clone(run)).collect();
        let mut moments: Vec<Moment> = Vec::new();
        for (r, run) in runs.iter().enumerate() {
            for (s, feed) in feeds[r].iter_mut().enumerate() {
                let keys = std::iter::from_fn(|| feed.next())
                    .map(|input| order::own_key(&input, run, by_tokens));
                let keys = order::steady(&keys.collect::<Vec<_>>());
                let moment = |key| Moment { key, run: r as u32, stream: s as u32 };
                moments.extend(keys.into_iter().map(moment));
            }
        }
        moments.sort_by(|a, b| a.key.total_cmp(&b.key));
        moments.shrink_to_fit();
        monitor.set_clock(if by_tokens { Clock::Tokens } else { Clock::Recorded });
        let left = Vec::new();
        let mut recording =
            Recording { monitor, moments, feeds, by_tokens, fed: 0, left, first, runs };
        recording.rewind();
        Ok(recording)
    }

    /// Back to where nothing has been told.
    fn rewind(&mut self) {
        self.monitor.rewind();
        self.fed = 0;
        self.left = vec![0; self.runs.len()];
        self.moments.iter().for_each(|m| self.left[m.place().0] += 1);
        self.feeds.iter_mut().flatten().for_each(Feed::rewind);
    }

    pub(super) fn from(&self) -> f64 {
        self.moments.first().map_or(0.0, |m| m.key)
    }

    pub(super) fn to(&self) -> f64 {
        self.moments.last().map_or(0.0, |m| m.key)
    }

    /// Feeds everything up to `key`, from the start where that lies behind. True: it did lie behind.
    pub(super) fn advance(&mut self, key: f64) -> bool {
        let behind = self.fed > 0 && self.moments[self.fed - 1].key > key;
        if behind {
            self.rewind();
        }
        while let Some(m) = self.moments.get(self.fed).filter(|m| m.key <= key) {
            let (run, stream) = m.place();
            // A file that has become shorter since has fewer.
            if let Some(input) = self.feeds[run][stream].next() {
                self.monitor.ingest(run, stream, std::slice::from_ref(&input));
            }
            self.fed += 1;
            self.left[run] -= 1;
            if self.left[run] == 0 {
                self.monitor.told_all(run);
            }
        }
        behind
    }

    /// Key at which the first run has consumed `tokens`; the end where it never does.
    pub(super) fn key_of_tokens(&mut self, tokens: f64) -> f64 {
        let run = &self.runs[self.first].train;
        let i = run.tokens.partition_point(|t| *t < tokens);
        let Some(step) = run.step.get(i).copied() else { return self.to() };
        if self.by_tokens {
            return run.tokens[i];
        }
        let feeds = &mut self.feeds[self.first];
        feeds.iter_mut().for_each(Feed::rewind);
        let reached = |m: &&Moment| {
            let (run, stream) = m.place();
            let input = (run == self.first).then(|| feeds[stream].next()).flatten();
            input.and_then(|i| record(&i)?.step).is_some_and(|s| s >= step)
        };
        let key = self.moments.iter().find(reached).map(|m| m.key);
        self.rewind();
        key.unwrap_or(self.to())
    }

    /// Where a replay begins.
    pub(super) fn start(&mut self, options: &Options) -> f64 {
        let start = match options.from_tokens {
            Some(tokens) => self.key_of_tokens(tokens),
            None => self.from(),
        };
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
            hunting: false,
            changes: Vec::new(),
        }
    }

    /// Where a run's batch size changes, on the axis of the replay, ascending.
    pub(super) fn bumps(&self) -> Vec<f64> {
        let mut out = Vec::new();
        for (index, run) in self.runs.iter().enumerate() {
            for w in run.segments.windows(2).filter(|w| w[0].batch_size != w[1].batch_size) {
                let times = run.train.time.iter().skip(w[1].range.start);
                let time = || times.copied().find(|t| t.is_finite());
                // The first line under it: tokens beyond those done before, or its own time.
                let from = match self.by_tokens {
                    true => self.moments.partition_point(|m| m.key <= w[1].from_tokens),
                    false => {
                        let Some(time) = time() else { continue };
                        self.moments.partition_point(|m| m.key < time)
                    }
                };
                let own = self.moments[from..].iter().find(|m| m.place().0 == index);
                out.extend(own.map(|m| m.key));
            }
        }
        out.sort_by(f64::total_cmp);
        out.dedup();
        out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_count_lines_are_said_when_the_lines_were_there() {
        let line = |step: u64, loss: &str| {
            format!(
                "{{\"step\":{step},\"tokens\":{},\"loss\":{loss},\"lr\":1e-3,\"time\":{}}}\n",
                step * 64,
                1e9 + step as f64
            )
        };
        let dir = tempfile::tempdir().unwrap();
        let text: String = (1..=50).map(|s| line(s, "2.5")).collect::<String>() + &line(51, "NaN");
        std::fs::write(dir.path().join("a.jsonl"), text + &line(52, "2.4")).unwrap();
        let paths = [dir.path().display().to_string()];
        let mut recording = Recording::load(&paths, Settings::default()).unwrap();
        let mut counted = |key: f64| {
            recording.advance(key);
            let s = recording.monitor.snapshot(key);
            let of_files = s.sources.iter().flat_map(|f| &f.notes);
            let noted = of_files.chain(&s.runs[0].notes).any(|n| n.contains("NaN"));
            (s.sources[0].lines, s.sources[0].records, noted)
        };
        assert_eq!(counted(1e9 + 20.0), (20, 20, false));
        assert_eq!(counted(1e9 + 52.0), (52, 52, true));
        assert_eq!(counted(1e9 + 10.0), (10, 10, false), "and again when it was moved back");
    }
}
