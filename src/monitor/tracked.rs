//! One followed run: its files, its records, its control desk.

use super::desk::Desk;
use super::view;
use super::zoom::Zoom;
use crate::advice::Situation;
use crate::metrics::{Input, Options, RunFiles, Source, SourceState, SourceStatus};
use crate::refit::Subject;
use crate::run::{self, Assumptions, Recorder, RunData};
use crate::snapshot::{Plan, RunPlots, RunView};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run counts as live until it has been quiet for this many of its own log intervals.
const QUIET_INTERVALS: f64 = 10.0;
/// Below this many seconds nobody is called quiet: writers buffer.
const QUIET_SECONDS: f64 = 30.0;
/// Clocks of two machines differ by less than this many seconds.
const CLOCK_SKEW: f64 = 60.0;

/// What the monitor's times are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The wall clock.
    Live,
    /// The times of the records: replay.
    Recorded,
    /// Tokens, where a recorded run has no times.
    Tokens,
}

#[derive(Debug)]
pub(super) struct Tracked {
    /// What it is called: unique, and the same from one snapshot to the next where it can be.
    pub id: String,
    /// Name from its path, unique.
    pub name: String,
    /// The newest id that a trainer gave in `ready`; stays when the acknowledgements vanish.
    given: Option<String>,
    pub main: PathBuf,
    pub sources: Vec<Source>,
    pub desk: Desk,
    pub excluded: bool,
    pub plan: Option<Arc<Plan>>,
    pub view: Option<Arc<RunView>>,
    /// The sparkline that is shown, and since when.
    pub trend: Option<(f64, Vec<f64>)>,
    /// The part that somebody looks at.
    pub zoom: Option<Zoom>,
    recorder: Recorder,
    data: Arc<RunData>,
    loss_now: Option<f64>,
    /// Of `data`; made when first drawn.
    plots: Option<RunPlots>,
    /// Lines of each file up to the newest record that was told, and the records: all that a replay
    /// knows of.
    told: Vec<(u64, u64)>,
    /// A replay has told all there is.
    pub told_all: bool,
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
            id: files.name.clone(),
            name: files.name.clone(),
            given: None,
            main: files.main.clone(),
            sources,
            desk,
            excluded: false,
            plan: None,
            view: None,
            trend: None,
            zoom: None,
            recorder,
            data,
            loss_now: None,
            plots: None,
            told: Vec::new(),
            told_all: false,
            stale: true,
            changed: true,
        }
    }

    /// The id that it should have: what the trainer gives in `ready`, else the name from the path.
    pub fn wanted_id(&mut self) -> &str {
        if let Some(id) = self.desk.run_id()
            && self.given.as_deref() != Some(id)
        {
            self.given = Some(id.to_string());
        }
        self.given.as_deref().unwrap_or(&self.name)
    }

    pub fn paths(&self) -> Vec<&Path> {
        self.sources.iter().map(|s| s.status().path.as_path()).collect()
    }

    /// Follows one more file of the same run (validation that appeared later).
    pub fn add(&mut self, path: &Path, options: &Options) {
        self.sources.push(Source::file(path, options));
        self.changed = true;
    }

    /// Follows what appeared later of its files. A rotated past was followed under its old name.
    pub fn extend(&mut self, files: &RunFiles, options: &Options) {
        for part in &files.parts {
            if !RunFiles::is_past(part) && !self.paths().contains(&part.as_path()) {
                self.add(part, options);
            }
        }
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
                Input::Record(record) => {
                    self.told.resize(self.told.len().max(stream + 1), (0, 0));
                    let (lines, records) = &mut self.told[stream];
                    *lines = (*lines).max(record.line);
                    *records += 1;
                    self.recorder.push(stream, record);
                }
                Input::Restarted => self.recorder.restarted(stream),
                Input::Replaced => self.recorder.replaced(stream),
            }
        }
        if !inputs.is_empty() {
            self.stale = true;
            self.changed = true;
        }
    }

    /// Whether a record of a file was told by now: a replay tells of nothing that is to come.
    pub fn is_told(&self, stream: usize, line: u64) -> bool {
        self.told.get(stream).is_some_and(|(lines, _)| line <= *lines)
    }

    /// Shows the part between these tokens in detail.
    pub fn look(&mut self, tokens: Option<[f64; 2]>) {
        match (&mut self.zoom, tokens) {
            (Some(zoom), Some(tokens)) => zoom.tokens = tokens,
            (zoom, tokens) => *zoom = tokens.map(Zoom::new),
        }
        self.changed = true;
    }

    pub fn assumptions(&self) -> &Assumptions {
        self.recorder.assumptions()
    }

    /// Forgets every record; the files stay as they are.
    pub fn clear(&mut self, assume: &Assumptions) {
        self.recorder = Recorder::new(&self.name, assume.clone());
        self.told.clear();
        self.zoom.iter_mut().for_each(Zoom::forget);
        self.told_all = false;
        self.plan = None;
        self.stale = true;
        self.changed = true;
    }

    /// Resolves what came in since the last time.
    pub fn resolve(&mut self) {
        if !self.stale && self.data.id == self.id {
            return;
        }
        let mut data = self.recorder.data();
        data.id.clone_from(&self.id);
        data.paths = self.paths().iter().map(|p| p.display().to_string()).collect();
        self.loss_now = run::loss_now(&data);
        self.data = Arc::new(data);
        self.plots = None;
        self.stale = false;
        self.changed = true;
    }

    pub fn data(&self) -> &Arc<RunData> {
        &self.data
    }

    /// What is not kept as it was logged and cannot be read again, in words.
    pub fn resolution(&self) -> Option<String> {
        if self.data.train.count.is_empty() {
            return None;
        }
        let passing = |s: &Source| {
            let status = s.status();
            status.path.as_os_str() == "-" || status.compression != "none"
        };
        self.sources.iter().any(passing).then(|| {
            "read from a pipe or compressed: lines but the newest are kept as means over 0.1 % of the \
             tokens, with their lowest and highest loss"
                .into()
        })
    }

    /// What the run itself gives to plot.
    pub fn plots(&mut self) -> &RunPlots {
        self.plots.get_or_insert_with(|| view::plots(&self.data))
    }

    pub fn loss_now(&self) -> Option<f64> {
        self.loss_now
    }

    /// What there is to say of each file. A replay knows of no line that it has not come to, nor of
    /// words that count lines; of the bad ones beyond those that are kept it knows only at the end.
    pub fn statuses(&self, clock: Clock) -> Vec<SourceStatus> {
        let all = clock == Clock::Live || self.told_all;
        let one = |(i, source): (usize, &Source)| {
            let mut s = source.status().clone();
            if all {
                return s;
            }
            let (lines, records) = self.told.get(i).copied().unwrap_or_default();
            s.lines = s.lines.min(lines);
            s.records = s.records.min(records);
            s.bad_lines.retain(|b| b.line <= s.lines);
            s.bad_count = s.bad_lines.len() as u64;
            s.notes.retain(|n| !n.starts_with(|c: char| c.is_ascii_digit()));
            s.restarts.retain(|at| self.data.restarts.iter().any(|r| r.resumed_at == *at));
            s
        };
        self.sources.iter().enumerate().map(one).collect()
    }

    /// A replay shows no run before its first record.
    pub fn shown(&self, clock: Clock) -> bool {
        clock == Clock::Live || !self.recorder.is_empty()
    }

    /// Time of the last write: the file's own where it is newer than what the records say. A time
    /// that is still to come is no time of a write: the trainer's clock runs ahead.
    pub fn last_write(&self, at: f64, clock: Clock) -> Option<f64> {
        let logged = self.data.train.time.iter().rev().copied().find(|t| t.is_finite());
        if clock != Clock::Live {
            return logged;
        }
        let modified = self.sources.iter().filter_map(|s| s.status().modified);
        let times = modified.chain(logged).filter(|t| *t <= at + CLOCK_SKEW);
        times.reduce(f64::max)
    }

    /// The trainer, or the log itself, said that the training is over. A replay knows the log's last
    /// word at its end.
    pub fn said_ended(&self, clock: Clock) -> bool {
        let by_log = || self.sources.iter().any(Source::said_ended);
        self.desk.ended() || ((clock == Clock::Live || self.told_all) && by_log())
    }

    /// Nothing can come any more: that was said, or every stream was closed.
    pub fn ended(&self, clock: Clock) -> bool {
        self.said_ended(clock) || self.sources.iter().all(Source::ended)
    }

    /// It goes on, as far as can be told.
    pub fn live(&self, at: f64, clock: Clock) -> bool {
        if clock == Clock::Tokens {
            return !self.told_all;
        }
        let patience = run::log_interval(&self.data)
            .map_or(QUIET_SECONDS, |(seconds, _)| (seconds * QUIET_INTERVALS).max(QUIET_SECONDS));
        !self.ended(clock) && self.last_write(at, clock).is_some_and(|t| at - t <= patience)
    }

    pub fn subject(&self, at: f64, clock: Clock, can_write: bool) -> Subject {
        let live = self.live(at, clock);
        let situation = self.desk.situation(&self.data, self.plan.as_deref(), live, can_write);
        Subject {
            data: Arc::clone(&self.data),
            loss_now: self.loss_now,
            // What a fit of these very data says is not old.
            situation: Situation {
                ended: self.said_ended(clock),
                estimate_age_tokens: None,
                ..situation
            },
            excluded: self.excluded,
            lead_seconds: self.desk.lead_seconds(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::monitor::{Monitor, Settings};
    use std::io::Write;
    use std::path::Path;

    #[test]
    fn an_order_and_a_change_ask_for_another_plan_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let lines = |from: u64, to: u64, size: u64| -> String {
            let line = |i| {
                let tokens = if size == 128 { i * 128 } else { 64_000 + (i - 500) * size };
                format!(
                    "{{\"step\":{i},\"tokens\":{tokens},\"batch_size_tokens\":{size},\"loss\":3.0,\"lr\":0.001}}\n"
                )
            };
            (from..to).map(line).collect()
        };
        std::fs::write(dir.path().join("a.jsonl"), lines(1, 501, 128)).unwrap();
        let mut monitor = monitor(dir.path());
        while monitor.read(1 << 20) {}
        assert!(monitor.fit_due());
        monitor.fit_now(0.0);
        assert!(!monitor.fit_due());
        let ack = "{\"version\":1,\"status\":\"accepted\",\"run\":\"a\",\"attempt\":\"j.1\",\
            \"revision\":1,\"step\":500,\"tokens\":64000,\"batch_size_tokens\":128,\
            \"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":128},\
            {\"from_tokens\":90000,\"batch_size_tokens\":256}]}\n";
        std::fs::write(dir.path().join("a.control.ack.jsonl"), ack).unwrap();
        monitor.read_control(0.0);
        assert!(monitor.fit_due(), "what is ordered belongs to the plan");
        monitor.fit_now(0.0);
        assert!(!monitor.fit_due());
    }

    fn monitor(folder: &Path) -> Monitor {
        Monitor::new(&[folder.display().to_string()], Settings::default()).unwrap()
    }

    fn lines(n: usize) -> String {
        (1..=n).map(|s| format!("{{\"step\":{s},\"loss\":3.5,\"tokens\":{s}000}}\n")).collect()
    }

    #[test]
    fn input_that_cannot_be_read_again_says_what_is_kept_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let packed = std::fs::File::create(dir.path().join("a.jsonl.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packed.write_all(lines(9000).as_bytes()).unwrap();
        packed.finish().unwrap();
        std::fs::write(dir.path().join("b.jsonl"), lines(9000)).unwrap();
        let mut monitor = monitor(dir.path());
        monitor.read_all();
        let snapshot = monitor.snapshot(0.0);
        let told = |id: &str| {
            let run = snapshot.runs.iter().find(|r| r.paths[0].contains(id)).unwrap();
            assert_eq!((run.step, run.lines), (Some(9000.0), 9000));
            run.notes.iter().any(|n| n.contains("kept as means"))
        };
        assert!(told("a.jsonl.gz"));
        assert!(!told("b.jsonl"));
    }

    #[test]
    fn a_run_that_ends_is_planned_anew_though_nothing_was_added() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.jsonl"), lines(300)).unwrap();
        let mut monitor = monitor(dir.path());
        monitor.read_all();
        monitor.read_control(0.0);
        monitor.fit_now(0.0);
        assert!(!monitor.fit_due());
        let said = |status: &str| {
            format!("{{\"version\":1,\"status\":\"{status}\",\"run\":\"a\",\"attempt\":\"j.0\"}}\n")
        };
        let acks = dir.path().join("a.control.ack.jsonl");
        std::fs::write(acks, said("ready") + &said("ended")).unwrap();
        monitor.read_control(1.0);
        assert!(monitor.fit_due());
        monitor.fit_now(1.0);
        let verdict = &monitor.snapshot(1.0).runs[0].verdict;
        assert!(verdict.text.contains("has ended"), "{verdict:?}");
        assert!(!monitor.fit_due());
    }

    /// The run goes on while a fit is made: what comes of it is old by that much, and the next one,
    /// of the newest data, is not.
    #[test]
    fn an_estimate_is_as_old_as_the_data_that_it_was_made_of() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.jsonl");
        std::fs::write(&log, lines(300)).unwrap();
        let mut monitor = monitor(dir.path());
        monitor.read_all();
        let request = monitor.request(0.0);
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        file.write_all(&lines(450).as_bytes()[lines(300).len()..]).unwrap();
        monitor.scan();
        monitor.read_all();
        monitor.resolve();
        monitor.fitted(crate::refit::compute(&request), 1.0);
        let run = &monitor.runs[0];
        let age = run.desk.situation(run.data(), None, true, true).estimate_age_tokens;
        assert_eq!(age, Some(150_000.0));
        let again = monitor.request(2.0);
        assert_eq!(again.subjects[0].situation.estimate_age_tokens, None);
    }

    #[test]
    fn of_many_large_files_each_shows_something_at_once() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..20 {
            std::fs::write(dir.path().join(format!("r{i}.jsonl")), lines(30_000)).unwrap();
        }
        let mut monitor = monitor(dir.path());
        assert!(monitor.read(1 << 20), "there is more to read");
        let runs = monitor.snapshot(0.0).runs;
        assert_eq!(runs.len(), 20);
        assert!(runs.iter().all(|r| r.loss == Some(3.5) && r.lines < 30_000));
    }
}
