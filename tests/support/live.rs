//! A training job in a process of its own, and the built binary beside it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use super::support::{self, Said};
use super::trainer::{Settings, Trainer};
use notify::Watcher;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longer than any step of a test takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds that a change lies ahead.
const LEAD: &str = "0.2";
/// What one optimizer step of the trainer takes.
const STEP: Duration = Duration::from_millis(10);
pub const UNIT: u64 = 16;
pub const OWN: u64 = 128;

pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Trains until it is killed, where the environment says so.
pub fn be_a_trainer() {
    let Ok(metrics) = std::env::var("CONTROL_TRAINER") else { return };
    let number = |key: &str| std::env::var(key).unwrap().parse::<u64>().unwrap();
    let set = Settings { log_every: 2, lr: 2e-3, ..Settings::new(Path::new(&metrics), UNIT, OWN) };
    let mut trainer = Trainer::start(set, number("CONTROL_STEP"), number("CONTROL_TOKENS"));
    let end = Instant::now() + PATIENCE * 5;
    while Instant::now() < end {
        trainer.train_step();
        // Stands for the work of the step, which takes time: nothing is waited for.
        std::thread::sleep(STEP);
    }
}

/// A child that does not outlive the test.
pub struct Running(pub Child);

impl Running {
    /// SIGKILL: no last words.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory with one steered run.
pub struct Job {
    dir: tempfile::TempDir,
    name: String,
}

impl Job {
    pub fn new(name: &str) -> Job {
        Job { dir: tempfile::tempdir().unwrap(), name: name.into() }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `NAME.<end>`.
    pub fn file(&self, end: &str) -> PathBuf {
        self.dir().join(format!("{}.{end}", self.name))
    }

    /// The trainer from a checkpoint: this test binary, told by its environment to be one.
    pub fn start(&self, step: u64, tokens: u64) -> Running {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "trainer_process", "--nocapture"])
            .env("CONTROL_TRAINER", self.file("jsonl"))
            .env("CONTROL_STEP", step.to_string())
            .env("CONTROL_TOKENS", tokens.to_string());
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// `boptop control <what> DIR --run NAME ...`.
    pub fn control(&self, what: &str, more: &[&str]) -> Said {
        self.control_with_lead(LEAD, what, more)
    }

    fn control_with_lead(&self, lead: &str, what: &str, more: &[&str]) -> Said {
        let dir = self.dir().display().to_string();
        let mut args = vec!["control", what, &dir, "--run", &self.name, "--lead", lead];
        args.extend(more);
        boptop(&args)
    }

    pub fn approve(&self, size: u64, more: &[&str]) -> Said {
        let size = size.to_string();
        self.control("approve", &[&["--batch-size", &size, "--yes"], more].concat())
    }

    /// With every guard overridden that blocks now, but for the lead time.
    pub fn approve_all(&self, size: u64, more: &[&str]) -> Said {
        self.approve(size, &[OVERRIDES, more].concat())
    }

    /// The same for a trainer that looks before every step: the lead time is less than a step.
    pub fn undo_at_once(&self) -> Said {
        self.control_with_lead("0", "undo", &[OVERRIDES, &["--yes", "--json"]].concat())
    }

    pub fn undo(&self) -> Said {
        self.control("undo", &[OVERRIDES, &["--yes", "--json"]].concat())
    }

    fn lines(&self, end: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file(end)).unwrap_or_default();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    pub fn metrics(&self) -> Vec<Value> {
        self.lines("jsonl")
    }

    pub fn acks(&self) -> Vec<Value> {
        self.lines("control.ack.jsonl")
    }

    pub fn audit(&self) -> Vec<Value> {
        self.lines("control.log.jsonl")
    }

    pub fn events(&self) -> Vec<String> {
        self.audit().iter().map(|l| l["event"].as_str().unwrap().to_string()).collect()
    }

    pub fn control_file(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.file("control.json")).unwrap()).unwrap()
    }

    /// Waits for the files to say something: looks again whenever one of them was written.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Job) -> bool) {
        let (send, written) = std::sync::mpsc::channel();
        let tell = move |event: notify::Result<notify::Event>| {
            // What is only read, by this loop among others, says nothing new.
            if !event.is_ok_and(|e| e.kind.is_access()) {
                let _ = send.send(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).unwrap();
        watcher.watch(self.dir(), notify::RecursiveMode::NonRecursive).unwrap();
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            let left = end.saturating_duration_since(Instant::now());
            let woke = written.recv_timeout(left).is_ok();
            assert!(woke, "no {what}: {:?} {:?}", self.acks(), self.audit());
        }
    }

    /// Waits until the trainer says that `revision` acts, then asks boptop until it agrees.
    #[track_caller]
    pub fn until_state(&self, state: &str, revision: u64) -> Value {
        self.until("applied", |j| {
            let applied = |a: &&Value| a["status"] == "applied" && a["revision"] == revision;
            let last = self.control_file()["schedule"].as_array().unwrap().last().cloned();
            let from = last.unwrap()["from_tokens"].clone();
            j.acks().iter().filter(applied).any(|a| a["from_tokens"] == from)
        });
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = self.control("show", &["--json"]).json(0);
            if shown["state"] == state && shown["revision"] == revision {
                return shown;
            }
            assert!(Instant::now() < end, "not {state}: {shown}");
        }
    }

    /// At every token count the batch size is what the accepted schedule of the revision that the
    /// line names says; the trainer's own without one.
    #[track_caller]
    pub fn obeyed(&self) {
        let schedules: Vec<(u64, Value)> = self
            .acks()
            .iter()
            .filter(|a| a["status"] == "accepted")
            .map(|a| (a["revision"].as_u64().unwrap(), a["schedule"].clone()))
            .collect();
        let mut steered = 0;
        for line in self.metrics() {
            let size = line["batch_size_tokens"].as_u64().unwrap();
            let start = line["tokens"].as_u64().unwrap() - size;
            let ordered = line["control_revision"].as_u64().and_then(|r| {
                let (_, schedule) = schedules.iter().find(|s| s.0 == r)?;
                let entries = schedule.as_array()?.iter();
                let mut acts = entries.filter(|e| e["from_tokens"].as_u64().unwrap() <= start);
                steered += 1;
                acts.next_back()?["batch_size_tokens"].as_u64()
            });
            assert_eq!(size, ordered.unwrap_or(OWN), "{line}");
        }
        assert!(steered > 0);
    }
}

const OVERRIDES: &[&str] = &[
    "--override",
    "catch-up",
    "--override",
    "law-misses-past",
    "--override",
    "below-b-min",
    "--override",
    "models-disagree",
    "--override",
    "warmup",
    "--override",
    "bump-size",
    "--override",
    "stale-estimate",
];

fn boptop(args: &[&str]) -> Said {
    support::boptop(args)
}
