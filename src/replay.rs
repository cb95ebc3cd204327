//! Replay: recorded lines in order of their times (of their tokens where there are none) into the
//! live path; pause, step, seek. Nothing can be written.
//!
//! A recording keeps its parsed records in memory; seeking back feeds the pipeline anew from the
//! start, so that every moment shows what boptop would have said then, and nothing later.

use crate::command::{Command, ReplayCommand};
use crate::error::{Error, Result};
use crate::metrics::{Input, Record};
use crate::monitor::{Handle, Monitor, Settings};
use crate::refit::Worker;
use crate::snapshot::{ReplayView, Snapshot};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval};

/// Refits of a replay at full speed: one each time the record has grown by this share.
const THROUGH_STEPS: f64 = 100.0;
/// Ticks of a playing replay.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Recorded seconds a second; infinite is as fast as it goes.
    pub speed: f64,
    /// Start where the first run has consumed this many tokens.
    pub from_tokens: Option<f64>,
}

#[derive(Debug, Clone)]
struct Moment {
    /// Unix seconds, or tokens.
    key: f64,
    run: usize,
    stream: usize,
    input: Input,
}

/// Finished runs, in the order in which they happened.
#[derive(Debug)]
pub struct Recording {
    monitor: Monitor,
    moments: Vec<Moment>,
    by_tokens: bool,
    /// Moments that the monitor has been told.
    fed: usize,
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
        let records = || inputs.iter().filter_map(|(_, _, i)| record(i));
        let by_tokens = !records().any(|r| r.time.is_some());
        let mut moments = keyed(inputs, by_tokens);
        moments.sort_by(|a, b| a.key.total_cmp(&b.key));
        if moments.is_empty() {
            return Err(Error::Usage(format!("no records to replay in {}", paths.join(" "))));
        }
        Ok(Recording { monitor, moments, by_tokens, fed: 0 })
    }

    fn from(&self) -> f64 {
        self.moments.first().map_or(0.0, |m| m.key)
    }

    fn to(&self) -> f64 {
        self.moments.last().map_or(0.0, |m| m.key)
    }

    /// Feeds everything up to `key`, from the start where that lies behind.
    fn advance(&mut self, key: f64) {
        if self.fed > 0 && self.moments[self.fed - 1].key > key {
            self.monitor.rewind();
            self.fed = 0;
        }
        while let Some(m) = self.moments.get(self.fed).filter(|m| m.key <= key) {
            self.monitor.ingest(m.run, m.stream, std::slice::from_ref(&m.input));
            self.fed += 1;
        }
    }

    /// Key at which the first run has consumed `tokens`.
    fn key_of_tokens(&self, tokens: f64) -> f64 {
        let reached = |m: &&Moment| {
            m.run == 0 && record(&m.input).and_then(|r| r.tokens).is_some_and(|t| t >= tokens)
        };
        self.moments.iter().find(reached).map_or(self.to(), |m| m.key)
    }

    /// The clock of the monitor at a key: recorded seconds, or tokens.
    fn view(&self, key: f64, playing: bool, speed: f64) -> ReplayView {
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

    /// Plays to the end without a clock, with a snapshot after each step of the record and a fit
    /// whenever one is due. `see` says whether to go on.
    ///
    /// # Errors
    /// Those of `see`.
    pub fn run_through(
        mut self,
        options: &Options,
        mut see: impl FnMut(Snapshot) -> Result<bool>,
    ) -> Result<()> {
        let start = options.from_tokens.map_or(self.from(), |t| self.key_of_tokens(t));
        let (to, mut key) = (self.to(), start);
        let step = ((to - start) / THROUGH_STEPS).max(f64::MIN_POSITIVE);
        loop {
            self.advance(key);
            if self.monitor.fit_due() {
                self.monitor.fit_now(key);
            }
            self.monitor.set_replay(self.view(key, true, f64::INFINITY));
            if !see(self.monitor.snapshot(key))? || key >= to {
                return Ok(());
            }
            key = (key + step).min(to);
        }
    }
}

fn record(input: &Input) -> Option<&Record> {
    match input {
        Input::Record(record) => Some(record),
        Input::Restarted | Input::Replaced => None,
    }
}

/// Each input under its time; one without a time belongs to the record before it.
fn keyed(inputs: Vec<(usize, usize, Input)>, by_tokens: bool) -> Vec<Moment> {
    let mut last = (usize::MAX, usize::MAX, f64::NEG_INFINITY);
    let own = |input: &Input| {
        let r = record(input)?;
        if by_tokens { r.tokens.or(r.step) } else { r.time }
    };
    let first_of = |run: usize, stream: usize| {
        let of = |(r, s, i): &&(usize, usize, Input)| (*r, *s) == (run, stream) && own(i).is_some();
        inputs.iter().find(of).and_then(|(_, _, i)| own(i)).unwrap_or(0.0)
    };
    let keys: Vec<f64> = inputs
        .iter()
        .map(|(run, stream, input)| {
            if (last.0, last.1) != (*run, *stream) {
                last = (*run, *stream, first_of(*run, *stream));
            }
            // A clock that was set back must not reorder a file.
            last.2 = own(input).map_or(last.2, |k| k.max(last.2));
            last.2
        })
        .collect();
    let moment = |(key, (run, stream, input))| Moment { key, run, stream, input };
    keys.into_iter().zip(inputs).map(moment).collect()
}

/// Plays a recording in a thread of its own.
///
/// # Errors
/// A thread that cannot be started.
pub fn spawn(mut recording: Recording, options: Options) -> Result<Handle> {
    let start = options.from_tokens.map_or(recording.from(), |t| recording.key_of_tokens(t));
    recording.advance(start);
    recording.monitor.set_replay(recording.view(start, true, options.speed));
    let first = Arc::new(recording.monitor.snapshot(start));
    let (publish, snapshots) = watch::channel(first);
    let (commands, orders) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let player =
        Player { recording, key: start, speed: options.speed, playing: true, fitting: false };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("runtime", e))?;
    std::thread::Builder::new()
        .name("replay".into())
        .spawn(move || runtime.block_on(player.play(publish, orders, stopped)))
        .map_err(|e| Error::io("thread", e))?;
    Ok(Handle::new(snapshots, commands, stop))
}

#[derive(Debug)]
struct Player {
    recording: Recording,
    key: f64,
    speed: f64,
    playing: bool,
    fitting: bool,
}

impl Player {
    async fn play(
        mut self,
        publish: watch::Sender<Arc<Snapshot>>,
        mut orders: mpsc::UnboundedReceiver<Command>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut worker = Worker::start();
        let mut ticks = interval(TICK);
        let mut before = Instant::now();
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                order = orders.recv() => match order {
                    Some(Command::Replay(order)) => self.obey(order),
                    Some(other) => self.recording.monitor.command(other, self.key),
                    None => return,
                },
                outcome = worker.next() => {
                    self.fitting = false;
                    self.recording.monitor.fitted(outcome, self.key);
                }
                _ = ticks.tick(), if self.playing => {}
            }
            if self.playing {
                self.key = self.moved(before.elapsed().as_secs_f64());
                self.playing = self.key < self.recording.to();
            }
            before = Instant::now();
            self.recording.advance(self.key);
            if !self.fitting && self.recording.monitor.fit_due() {
                self.fitting = true;
                worker.request(self.recording.monitor.request(self.key));
            }
            let view = self.recording.view(self.key, self.playing, self.speed);
            self.recording.monitor.set_replay(view);
            if self.recording.monitor.has_changed() {
                let snapshot = Arc::new(self.recording.monitor.snapshot(self.key));
                if publish.send(snapshot).is_err() {
                    return;
                }
            }
        }
    }

    /// Where the play head stands after `seconds`. Tokens have no seconds of their own: there a
    /// speed of 60 plays the whole record in one minute.
    fn moved(&self, seconds: f64) -> f64 {
        if self.speed.is_infinite() {
            return self.recording.to();
        }
        let whole = self.recording.to() - self.recording.from();
        let ahead = if self.recording.by_tokens {
            whole * seconds * self.speed / 3600.0
        } else {
            seconds * self.speed
        };
        (self.key + ahead).min(self.recording.to())
    }

    fn obey(&mut self, order: ReplayCommand) {
        let (from, to) = (self.recording.from(), self.recording.to());
        match order {
            ReplayCommand::TogglePause => self.playing = !self.playing && self.key < to,
            ReplayCommand::Step => {
                self.playing = false;
                let next = self.recording.moments.get(self.recording.fed).map(|m| m.key);
                self.key = next.unwrap_or(to);
            }
            ReplayCommand::Speed(speed) => self.speed = speed.max(0.0),
            ReplayCommand::Seek(position) => {
                self.key = from + position.clamp(0.0, 1.0) * (to - from);
            }
        }
    }
}
