//! One followed run: its files, its records, its control desk.

use super::desk::Desk;
use crate::metrics::{Input, Options, RunFiles, Source, SourceState};
use crate::refit::Subject;
use crate::run::{self, Assumptions, Recorder, RunData};
use crate::snapshot::{Plan, RunView};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run counts as live until it has been quiet for this many of its own log intervals.
const QUIET_INTERVALS: f64 = 10.0;
/// Below this many seconds nobody is called quiet: writers buffer.
const QUIET_SECONDS: f64 = 30.0;

#[derive(Debug)]
pub(super) struct Tracked {
    /// Name from its path, unique.
    pub name: String,
    pub main: PathBuf,
    pub sources: Vec<Source>,
    pub desk: Desk,
    pub excluded: bool,
    pub plan: Option<Arc<Plan>>,
    pub view: Option<Arc<RunView>>,
    /// The sparkline that is shown, and since when.
    pub trend: Option<(f64, Vec<f64>)>,
    recorder: Recorder,
    data: Arc<RunData>,
    loss_now: Option<f64>,
    /// The recorder has seen more than `data` holds.
    stale: bool,
    /// Something that the view shows has changed.
    pub changed: bool,
}

impl Tracked {
    pub fn new(
        files: &RunFiles,
        sources: Vec<Source>,
        desk: Desk,
        assume: &Assumptions,
    ) -> Tracked {
        let recorder = Recorder::new(&files.name, assume.clone());
        let data = Arc::new(recorder.data());
        Tracked {
            name: files.name.clone(),
            main: files.main.clone(),
            sources,
            desk,
            excluded: false,
            plan: None,
            view: None,
            trend: None,
            recorder,
            data,
            loss_now: None,
            stale: true,
            changed: true,
        }
    }

    /// The id that the trainer gives in `ready`, else the name from the path.
    pub fn id(&self) -> &str {
        self.desk.run_id().unwrap_or(&self.name)
    }

    pub fn paths(&self) -> Vec<&Path> {
        self.sources.iter().map(|s| s.status().path.as_path()).collect()
    }

    /// Follows one more file of the same run (validation that appeared later).
    pub fn add(&mut self, path: &Path, options: &Options) {
        self.sources.push(Source::file(path, options));
        self.changed = true;
    }

    /// Reads at most `budget` bytes of every file. True: there is more to read now.
    pub fn read(&mut self, budget: usize) -> bool {
        let mut more = false;
        let mut inputs = Vec::new();
        for stream in 0..self.sources.len() {
            inputs.clear();
            let before = (self.sources[stream].status().lines, self.state_words(stream));
            more |= self.sources[stream].poll(budget, &mut inputs);
            self.changed |=
                before != (self.sources[stream].status().lines, self.state_words(stream));
            self.ingest(stream, &inputs);
        }
        more
    }

    fn state_words(&self, stream: usize) -> SourceState {
        self.sources[stream].status().state.clone()
    }

    /// Takes a last line without a newline as written: nothing will follow.
    pub fn finish(&mut self) {
        let mut inputs = Vec::new();
        for stream in 0..self.sources.len() {
            inputs.clear();
            self.sources[stream].finish(&mut inputs);
            self.ingest(stream, &inputs);
        }
    }

    pub fn ingest(&mut self, stream: usize, inputs: &[Input]) {
        for input in inputs {
            match input {
                Input::Record(record) => self.recorder.push(stream, record),
                Input::Restarted => self.recorder.restarted(stream),
                Input::Replaced => self.recorder.replaced(stream),
            }
        }
        if !inputs.is_empty() {
            self.stale = true;
            self.changed = true;
        }
    }

    /// Forgets every record; the files stay as they are.
    pub fn clear(&mut self, assume: &Assumptions) {
        self.recorder = Recorder::new(&self.name, assume.clone());
        self.plan = None;
        self.stale = true;
        self.changed = true;
    }

    /// Resolves what came in since the last time.
    pub fn resolve(&mut self) {
        let id = self.id().to_string();
        if !self.stale && self.data.id == id {
            return;
        }
        let mut data = self.recorder.data();
        data.id = id;
        data.paths = self.paths().iter().map(|p| p.display().to_string()).collect();
        self.loss_now = run::loss_now(&data);
        self.data = Arc::new(data);
        self.stale = false;
        self.changed = true;
    }

    pub fn data(&self) -> &Arc<RunData> {
        &self.data
    }

    pub fn loss_now(&self) -> Option<f64> {
        self.loss_now
    }

    /// Time of the last write: the file's own where it is newer than what the records say.
    pub fn last_write(&self, recorded: bool) -> Option<f64> {
        let logged = self.data.train.time.iter().rev().copied().find(|t| t.is_finite());
        if recorded {
            return logged;
        }
        let modified = self.sources.iter().filter_map(|s| s.status().modified);
        modified.fold(logged, |a, b| Some(a.map_or(b, |a| a.max(b))))
    }

    pub fn live(&self, at: f64, recorded: bool) -> bool {
        let patience = run::log_interval(&self.data)
            .map_or(QUIET_SECONDS, |(seconds, _)| (seconds * QUIET_INTERVALS).max(QUIET_SECONDS));
        !self.desk.ended() && self.last_write(recorded).is_some_and(|t| at - t <= patience)
    }

    pub fn subject(&self, at: f64, recorded: bool, can_write: bool) -> Subject {
        let live = self.live(at, recorded);
        Subject {
            data: Arc::clone(&self.data),
            loss_now: self.loss_now,
            situation: self.desk.situation(&self.data, self.plan.as_deref(), live, can_write),
            excluded: self.excluded,
            lead_seconds: self.desk.lead_seconds(),
        }
    }
}
