//! The monitor itself: everything that is followed, the newest fit, and what a person asked for.

use super::desk::Desk;
use super::grounds::Case;
use super::reading::Due;
use super::tracked::{Clock, Tracked};
use super::view;
use crate::advice::{Plan, PlanOptions};
use crate::command::Command;
use crate::curve::{FitOptions, FitReport, SavedLaw};
use crate::error::Result;
use crate::metrics::{self, Discovery, RunFiles, Source};
use crate::refit::{self, Outcome, Request};
use crate::run::{Assumptions, RunData};
use crate::snapshot::{FitView, ReplayView, RunView, Snapshot};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Refit once a run has grown by this fraction of its tokens.
const REFIT_GROWTH: f64 = 0.01;

/// What a plan of a run depends on beside its tokens.
#[derive(Debug, PartialEq)]
struct Standing {
    id: String,
    excluded: bool,
    over: bool,
    orders: (Option<u64>, bool),
    /// Batch sizes so far.
    changes: usize,
}

/// What the command line settles once.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub sources: metrics::Options,
    pub assumptions: Assumptions,
    pub fit: FitOptions,
    pub plan: PlanOptions,
    /// `--control`; `{run}` in it stands for the run's name.
    pub control: Option<String>,
    /// Seconds that a change must lie ahead; `None`: by the kind of file system.
    pub lead_seconds: Option<f64>,
    /// Seconds that whoever decides on a proposal takes; `None`: a person at a screen.
    pub decide_seconds: Option<f64>,
    pub read_only: bool,
    /// Write through a symlink out of the run's directory, or over a file of another user that
    /// others may write.
    pub trust_target: bool,
    /// The newest revision that the person has seen (0: none), where it is not the one that stands
    /// when a proposal is drawn up.
    pub seen_revision: Option<u64>,
    /// Look at the files that often, and watch nothing; `None`: as the file system needs it.
    pub poll: Option<Duration>,
    /// Times come from the records: replay.
    pub recorded_clock: bool,
    /// The threads that read and fit give way to other processes; who draws does not.
    pub gives_way: bool,
    /// Fit `excluded` patterns come on top of what a person excludes on the screen.
    pub law: Option<SavedLaw>,
}

/// All that is followed.
#[derive(Debug)]
pub struct Monitor {
    pub(super) settings: Settings,
    discovery: Discovery,
    pub(super) runs: Vec<Tracked>,
    pub(super) due: Due,
    fit: Arc<FitView>,
    /// (run, tokens, excluded) of the newest request, to tell when the next is due.
    fitted: Vec<(f64, Standing)>,
    /// Runs as they were asked for, in the order of the outcome's plans.
    asked: Vec<String>,
    messages: Vec<String>,
    replay: Option<ReplayView>,
    changed: bool,
    clock: Clock,
    /// Something came on the standard input.
    pub(super) stdin: Arc<Notify>,
}

impl Monitor {
    /// Follows PATHs (files, directories, globs, `-`). Reads nothing yet.
    pub fn new(paths: &[impl AsRef<OsStr>], settings: Settings) -> Result<Monitor> {
        let mut monitor = Monitor {
            clock: if settings.recorded_clock { Clock::Recorded } else { Clock::Live },
            settings,
            discovery: Discovery::new(paths)?,
            runs: Vec::new(),
            due: Due::default(),
            fit: Arc::new(FitView {
                report: FitReport { groups: Vec::new() },
                made_at: None,
                intervals_at: None,
                running: false,
            }),
            fitted: Vec::new(),
            asked: Vec::new(),
            messages: Vec::new(),
            replay: None,
            changed: true,
            stdin: Arc::default(),
        };
        monitor.scan();
        Ok(monitor)
    }

    /// Looks for new runs, and new files of known ones.
    pub fn scan(&mut self) {
        let places: HashMap<PathBuf, usize> =
            self.runs.iter().enumerate().map(|(i, r)| (r.main.clone(), i)).collect();
        for files in self.discovery.scan() {
            match places.get(&files.main).and_then(|i| self.runs.get_mut(*i)) {
                Some(known) => known.extend(&files, &self.settings.sources),
                None => self.follow(&files),
            }
        }
        self.look_at_all();
        let missing = self.discovery.missing();
        let waiting = missing.iter().map(|p| format!("waiting for {p}"));
        let shut =
            self.left_out().iter().map(|(p, why)| format!("{} is left out: {why}", p.display()));
        let messages: Vec<String> = waiting.chain(shut).collect();
        self.changed |= messages != self.messages;
        self.messages = messages;
    }

    fn follow(&mut self, files: &RunFiles) {
        let options = &self.settings.sources;
        let open = |path: &PathBuf| match path.as_os_str() == "-" {
            true => {
                let woke = Arc::clone(&self.stdin);
                Source::stdin_notify(options, move || woke.notify_one())
            }
            false => Source::file(path, options),
        };
        let sources = files.parts.iter().map(open).collect();
        let desk = Desk::open(files, &self.settings);
        self.runs.push(Tracked::new(files, sources, desk, &self.settings.assumptions));
        self.changed = true;
    }

    /// Gives every run the id of its trainer, else its name. Two trainers that give the same id are
    /// told apart: the run that has it keeps it, the other one goes by its name or its path.
    fn name_runs(&mut self) {
        let mut taken: HashSet<String> = HashSet::new();
        let mut open = Vec::new();
        for (i, run) in self.runs.iter_mut().enumerate() {
            let id = run.id.clone();
            if !(id == run.wanted_id() && taken.insert(id)) {
                open.push(i);
            }
        }
        for i in open {
            let run = &mut self.runs[i];
            let path = run.main.display().to_string();
            let wanted = run.wanted_id().to_string();
            let free = [wanted, run.name.clone(), path].into_iter().find(|id| !taken.contains(id));
            if let Some(id) = free {
                run.changed |= run.id != id;
                taken.insert(id.clone());
                run.id = id;
            }
        }
    }

    /// Plain PATHs that do not exist.
    pub fn left_out(&self) -> &[(PathBuf, String)] {
        self.discovery.left_out()
    }

    pub fn missing(&self) -> Vec<String> {
        self.discovery.missing()
    }

    /// Directories worth a watch.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.discovery.directories()
    }

    /// Hands a run's recorded inputs on (replay).
    pub fn ingest(&mut self, run: usize, stream: usize, inputs: &[metrics::Input]) {
        if let Some(run) = self.runs.get_mut(run) {
            run.ingest(stream, inputs);
        }
    }

    /// What the times of a replay are.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Nothing of this run is left to tell (replay).
    pub fn told_all(&mut self, run: usize) {
        if let Some(run) = self.runs.get_mut(run) {
            run.told_all = true;
            run.changed = true;
        }
    }

    /// Resolves what came in since the last time.
    pub fn resolve(&mut self) {
        self.runs.iter_mut().for_each(Tracked::resolve);
    }

    /// Forgets all records and fits (replay, seeking back).
    pub fn rewind(&mut self) {
        for run in &mut self.runs {
            run.clear(&self.settings.assumptions);
        }
        self.fitted.clear();
        self.publish_fit(FitView {
            report: FitReport { groups: Vec::new() },
            made_at: None,
            intervals_at: None,
            running: false,
        });
    }

    /// Where a replay stands, for the screen.
    pub fn set_replay(&mut self, view: ReplayView) {
        self.changed |= self.replay.as_ref() != Some(&view);
        self.replay = Some(view);
    }

    /// Looks at the control files again.
    pub fn read_control(&mut self, at: f64) {
        let clock = self.clock;
        for run in &mut self.runs {
            run.resolve();
            let quiet = run.last_write(at, clock).map(|t| at - t);
            let data = Arc::clone(run.data());
            run.changed |= run.desk.read(&data, quiet, !self.settings.read_only);
        }
        self.name_runs();
    }

    /// A fit is due: runs came, went, were excluded, ended, or grew by one per cent.
    pub fn fit_due(&mut self) -> bool {
        self.resolve();
        let now = self.fingerprint();
        now.len() != self.fitted.len()
            || now.iter().zip(&self.fitted).any(|(now, then)| {
                now.1 != then.1
                    || (now.0.is_finite()
                        && !(now.0 - then.0).abs().le(&(REFIT_GROWTH * then.0.abs())))
            })
    }

    fn fingerprint(&self) -> Vec<(f64, Standing)> {
        let one = |r: &Tracked| {
            let standing = Standing {
                id: r.id.clone(),
                excluded: r.excluded,
                over: r.said_ended(self.clock),
                orders: r.desk.orders(),
                changes: r.data().segments.len(),
            };
            (r.data().tokens(), standing)
        };
        self.shown().map(one).collect()
    }

    /// The runs that there are by now.
    fn shown(&self) -> impl Iterator<Item = &Tracked> {
        self.runs.iter().filter(|r| r.shown(self.clock))
    }

    /// Everything the next fit depends on; counts as asked for.
    pub fn request(&mut self, at: f64) -> Request {
        self.fitted = self.fingerprint();
        self.asked = self.shown().map(|r| r.id.clone()).collect();
        self.publish_fit(FitView { running: true, ..(*self.fit).clone() });
        self.assemble(at)
    }

    fn assemble(&self, at: f64) -> Request {
        let s = &self.settings;
        let subject = |r: &Tracked| r.subject(at, self.clock, !s.read_only);
        Request {
            subjects: self.shown().map(subject).collect(),
            fit: s.fit.clone(),
            plan: s.plan.clone(),
            law: s.law.clone(),
        }
    }

    /// Takes what came of a request; whether that was all of it.
    pub fn fitted(&mut self, outcome: Outcome, at: f64) -> bool {
        let report = outcome.report;
        let Some(plans) = outcome.plans else {
            let intervals_at = self.fit.intervals_at;
            self.publish_fit(FitView { report, made_at: Some(at), intervals_at, running: true });
            return false;
        };
        // An estimate is as old as the data that it was made of, however long the fit took.
        let of = self.asked.iter().zip(plans.iter().zip(&self.fitted));
        let plans: HashMap<&String, (&Arc<Plan>, f64)> =
            of.map(|(id, (plan, then))| (id, (plan, then.0))).collect();
        for run in &mut self.runs {
            if let Some((plan, tokens)) = plans.get(&run.id) {
                run.desk.estimated(*tokens);
                run.plan = Some(Arc::clone(plan));
                run.changed = true;
            }
        }
        let (made_at, intervals_at) = (Some(at), Some(at));
        self.publish_fit(FitView { report, made_at, intervals_at, running: false });
        true
    }

    fn publish_fit(&mut self, fit: FitView) {
        self.changed |= *self.fit != fit;
        self.fit = Arc::new(fit);
    }

    /// Fits at once, in this thread (headless commands, replay at full speed).
    pub fn fit_now(&mut self, at: f64) {
        let request = self.request(at);
        let outcome = refit::compute(&request);
        self.fitted(outcome, at);
    }

    /// Does what a person asked for.
    pub fn command(&mut self, command: Command, at: f64) {
        match command {
            Command::Exclude { run, excluded } => {
                if let Some(run) = self.find(&run) {
                    run.excluded = excluded;
                    run.changed = true;
                }
            }
            Command::Propose { run, change } => {
                self.at_desk(&run, at, |desk, case| desk.propose(&change, case));
            }
            Command::Approve { run, proposal, overrides } => {
                let read_only = self.settings.read_only;
                self.read_control(at);
                self.at_desk(&run, at, |desk, case| {
                    desk.approve(proposal, &overrides, read_only, case);
                });
            }
            Command::Withdraw { run } => {
                if let Some(run) = self.find(&run) {
                    run.desk.withdraw();
                    run.changed = true;
                }
            }
            Command::Look { run, tokens } => self.look(&run, tokens),
            // The replay driver obeys these before they come here.
            Command::Replay(_) => {}
        }
    }

    /// One part at a time is shown in detail.
    fn look(&mut self, id: &str, tokens: Option<[f64; 2]>) {
        for run in &mut self.runs {
            let wanted = tokens.filter(|_| run.id == id);
            if wanted.is_some() || run.zoom.is_some() {
                run.look(wanted);
            }
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Tracked> {
        self.runs.iter_mut().find(|r| r.id == id)
    }

    fn at_desk(&mut self, id: &str, at: f64, act: impl FnOnce(&mut Desk, Case<'_>)) {
        let clock = self.clock;
        let fit = Arc::clone(&self.fit);
        let saved = self.settings.law.as_ref().map(SavedLaw::group);
        let options = self.settings.plan.clone();
        let Some(run) = self.find(id) else { return };
        run.resolve();
        let group = refit::group_of(&fit.report, id);
        let (live, ended) = (run.live(at, clock), run.said_ended(clock));
        let data = Arc::clone(run.data());
        let plan = run.plan.clone();
        let case = Case {
            data: &data,
            loss_now: run.loss_now(),
            group: group.filter(|g| g.law.is_some()).or(saved.as_ref()).or(group),
            plan: plan.as_deref(),
            options: &options,
            live,
            ended,
        };
        act(&mut run.desk, case);
        run.changed = true;
    }

    /// Notices what time alone changes: a run that fell silent.
    pub fn notice(&mut self, at: f64) {
        let clock = self.clock;
        for run in &mut self.runs {
            let state = view::state(run, at, clock);
            run.changed |= run.view.as_ref().is_some_and(|v| v.state != state);
        }
    }

    /// Something that a snapshot shows has changed since the last one.
    pub fn has_changed(&self) -> bool {
        self.changed || self.runs.iter().any(|r| r.changed)
    }

    /// What is known now.
    pub fn snapshot(&mut self, at: f64) -> Snapshot {
        let context = view::Context { at, clock: self.clock, report: &self.fit.report };
        for run in &mut self.runs {
            run.resolve();
            view::refresh(run, &context);
        }
        self.changed = false;
        Snapshot {
            at,
            replay: self.replay.clone(),
            read_only: self.settings.read_only,
            seq_len: self.settings.assumptions.seq_len.map(|s| s as u64),
            runs: self.shown().filter_map(|r| r.view.clone()).collect(),
            fit: Arc::clone(&self.fit),
            sources: self.shown().flat_map(|r| r.statuses(self.clock)).map(Arc::new).collect(),
            messages: self.messages.clone(),
        }
    }

    /// The runs as the numerics see them, with the status of their files.
    pub fn data(&self) -> impl Iterator<Item = (&Arc<RunData>, &[Source])> {
        self.runs.iter().map(|r| (r.data(), r.sources.as_slice()))
    }

    pub fn view(&self, id: &str) -> Option<Arc<RunView>> {
        self.runs.iter().find(|r| r.id == id).and_then(|r| r.view.clone())
    }
}
