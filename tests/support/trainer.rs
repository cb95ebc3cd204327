//! A small trainer that knows the control protocol from the README alone: it imports nothing of
//! the program under test. It writes `NAME.jsonl` and obeys `NAME.control.json`.

use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the trainer is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `NAME.jsonl`.
    pub metrics: PathBuf,
    pub run: String,
    /// Micro-batch x data-parallel x seq_len.
    pub unit: u64,
    /// The trainer's own batch size, in tokens.
    pub own: u64,
    pub min_batch: Option<u64>,
    pub max_batch: Option<u64>,
    pub up_only: bool,
    pub can_scale_lr: bool,
    pub lr: f64,
    /// Steps between two lines of the metrics.
    pub log_every: u64,
    /// Steps between two looks at the control file.
    pub poll_every: u64,
    /// Acknowledges and does nothing of it.
    pub lies: bool,
    /// Obeys and says nothing.
    pub silent: bool,
    /// Starts without looking at its acknowledgements.
    pub forgets: bool,
}

impl Settings {
    pub fn new(metrics: &Path, unit: u64, own: u64) -> Settings {
        let name = metrics.file_name().unwrap().to_string_lossy().into_owned();
        Settings {
            metrics: metrics.to_path_buf(),
            run: name.trim_end_matches(".jsonl").to_string(),
            unit,
            own,
            min_batch: None,
            max_batch: None,
            up_only: false,
            can_scale_lr: false,
            lr: 1e-3,
            log_every: 1,
            poll_every: 1,
            lies: false,
            silent: false,
            forgets: false,
        }
    }
}

/// One attempt of a run.
#[derive(Debug)]
pub struct Trainer {
    set: Settings,
    control: PathBuf,
    ack: PathBuf,
    attempt: String,
    pub step: u64,
    pub tokens: u64,
    pub revision: Option<u64>,
    pub schedule: Vec<(u64, u64, f64)>,
    judged: u64,
    told: HashSet<(Option<u64>, Option<u64>, u64)>,
}

impl Trainer {
    /// Starts at `step` and `tokens`: zero, or those of a checkpoint.
    pub fn start(set: Settings, step: u64, tokens: u64) -> Trainer {
        let base = set.metrics.to_string_lossy().trim_end_matches(".jsonl").to_string();
        let control = PathBuf::from(format!("{base}.control.json"));
        let ack = PathBuf::from(format!("{base}.control.ack.jsonl"));
        let text = std::fs::read_to_string(&ack).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        let ready = lines.iter().filter(|l| l["status"] == "ready").count();
        let mut trainer = Trainer {
            control,
            ack,
            attempt: format!("test.{}.{ready}", std::process::id()),
            step,
            tokens,
            revision: None,
            schedule: Vec::new(),
            judged: 0,
            told: HashSet::new(),
            set,
        };
        let misfit = trainer.remember(if trainer.set.forgets { &[] } else { &lines });
        let limits = json!({
            "unit_tokens": trainer.set.unit,
            "min_batch_tokens": trainer.set.min_batch,
            "max_batch_tokens": trainer.set.max_batch,
            "direction": if trainer.set.up_only { "up" } else { "both" },
            "can_scale_lr": trainer.set.can_scale_lr,
        });
        trainer.say("ready", trainer.revision, limits);
        if let Some((revision, code)) = misfit {
            trainer.say("rejected", Some(revision), json!({"reason": code}));
        }
        trainer
    }

    /// The acknowledgements are the memory.
    fn remember(&mut self, lines: &[Value]) -> Option<(u64, &'static str)> {
        let answers = || {
            let said =
                lines.iter().filter(|l| l["status"] == "accepted" || l["status"] == "rejected");
            said.filter_map(|l| Some((l["revision"].as_u64()?, l)))
        };
        self.judged = answers().map(|a| a.0).max().unwrap_or(0);
        let top = answers().filter(|a| a.1["status"] == "accepted").map(|a| a.0).max()?;
        let last = answers().rfind(|a| a.0 == top)?.1;
        if last["status"] != "accepted" {
            return None;
        }
        let schedule = entries(&last["schedule"])?;
        match self.misfit(&schedule, None) {
            Some(code) => Some((top, code)),
            None => {
                self.revision = Some(top);
                self.schedule = schedule;
                None
            }
        }
    }

    fn entry(&self) -> Option<(u64, u64, f64)> {
        self.schedule.iter().rev().find(|e| e.0 <= self.tokens).copied()
    }

    /// Batch size of the next step.
    pub fn batch(&self) -> u64 {
        self.entry().filter(|_| !self.set.lies).map_or(self.set.own, |e| e.1)
    }

    /// One optimizer step: looks at the control file, obeys, logs.
    pub fn train_step(&mut self) {
        if self.step.is_multiple_of(self.set.poll_every) {
            self.poll();
        }
        let entry = self.entry();
        let said = entry.map_or(self.set.own, |e| e.1);
        let key = (self.revision.filter(|_| entry.is_some()), entry.map(|e| e.0), said);
        if self.told.insert(key) {
            self.say("applied", key.0, json!({"from_tokens": key.1}));
        }
        let batch = self.batch();
        let lr = self.set.lr * entry.map_or(1.0, |e| e.2);
        self.step += 1;
        self.tokens += batch;
        if self.step.is_multiple_of(self.set.log_every) {
            let loss = 2.0 + 50.0 / (self.step as f64 + 20.0).sqrt() + 1.0 / (batch as f64).sqrt();
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let line = json!({"time": since.as_secs_f64(), "step": self.step, "tokens": self.tokens, "batch_size_tokens": batch,
                "loss": loss, "lr": lr, "control_revision": self.revision});
            append(&self.set.metrics, &line);
        }
    }

    /// A clean exit. A trainer that is killed says nothing.
    pub fn end(self) {
        self.say("ended", self.revision, json!({}));
    }

    fn poll(&mut self) {
        let Ok(text) = std::fs::read_to_string(&self.control) else { return };
        let Ok(file) = serde_json::from_str::<Value>(&text) else { return };
        let Some(revision) = whole(&file["revision"]).filter(|r| *r > self.judged) else { return };
        match self.judge(&file) {
            Ok(schedule) => {
                let told: Vec<Value> = schedule
                    .iter()
                    .map(|e| json!({"from_tokens": e.0, "batch_size_tokens": e.1, "lr_scale": e.2}))
                    .collect();
                self.say("accepted", Some(revision), json!({"schedule": told}));
                self.revision = Some(revision);
                self.schedule = schedule;
            }
            Err(code) => self.say("rejected", Some(revision), json!({"reason": code})),
        }
        self.judged = revision;
    }

    fn judge(&self, file: &Value) -> Result<Vec<(u64, u64, f64)>, &'static str> {
        if whole(&file["version"]) != Some(1) {
            return Err("version");
        }
        if file["run"].as_str() != Some(&self.set.run) {
            return Err("wrong_run");
        }
        let schedule = entries(&file["schedule"]).ok_or("schedule")?;
        let present = self.entry().map_or(self.set.own, |e| e.1);
        if whole(&file["expect"]["batch_size_tokens"]).is_some_and(|b| b != present) {
            return Err("expect");
        }
        if whole(&file["not_after"]["tokens"]).is_some_and(|t| t < self.tokens) {
            return Err("expired");
        }
        self.misfit(&schedule, Some(present)).map_or(Ok(schedule), Err)
    }

    /// Entries that can still act, against the unit, the limits and the direction.
    fn misfit(&self, schedule: &[(u64, u64, f64)], present: Option<u64>) -> Option<&'static str> {
        let now = schedule.iter().rev().find(|e| e.0 <= self.tokens);
        let acting: Vec<_> =
            now.into_iter().chain(schedule.iter().filter(|e| e.0 > self.tokens)).collect();
        if acting.iter().any(|e| !e.1.is_multiple_of(self.set.unit)) {
            return Some("not_divisible");
        }
        let (low, high) = (self.set.min_batch.unwrap_or(0), self.set.max_batch.unwrap_or(u64::MAX));
        if acting.iter().any(|e| e.1 < low || e.1 > high) {
            return Some("limit");
        }
        let own = now.is_none().then_some(self.set.own);
        let way: Vec<u64> =
            present.into_iter().chain(own).chain(acting.iter().map(|e| e.1)).collect();
        if self.set.up_only && way.windows(2).any(|w| w[1] < w[0]) {
            return Some("direction");
        }
        (!self.set.can_scale_lr && acting.iter().any(|e| e.2 != 1.0)).then_some("lr_scale")
    }

    fn say(&self, status: &str, revision: Option<u64>, more: Value) {
        if self.set.silent {
            return;
        }
        let entry = self.entry();
        let mut line = json!({"version": 1, "status": status, "run": self.set.run,
            "attempt": self.attempt, "revision": revision, "step": self.step,
            "tokens": self.tokens, "batch_size_tokens": entry.map_or(self.set.own, |e| e.1),
            "lr_scale": entry.map_or(1.0, |e| e.2), "reason": null, "detail": null,
            "time": "2026-01-01T00:00:00Z"});
        for (key, value) in more.as_object().into_iter().flatten() {
            line[key] = value.clone();
        }
        append(&self.ack, &line);
    }
}

fn whole(v: &Value) -> Option<u64> {
    v.as_u64().or_else(|| v.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64))
}

fn entries(v: &Value) -> Option<Vec<(u64, u64, f64)>> {
    let mut out: Vec<(u64, u64, f64)> = Vec::new();
    for e in v.as_array().filter(|a| !a.is_empty())? {
        let scale = match &e["lr_scale"] {
            Value::Null => 1.0,
            v => v.as_f64().filter(|s| *s > 0.0)?,
        };
        let entry = (whole(&e["from_tokens"])?, whole(&e["batch_size_tokens"])?, scale);
        if entry.1 == 0 || out.last().is_some_and(|l| l.0 >= entry.0) {
            return None;
        }
        out.push(entry);
    }
    Some(out)
}

/// One write, begun with a newline where the file does not end in one.
fn append(path: &Path, line: &Value) {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).unwrap();
    let mut text = format!("{line}\n");
    if file.seek(SeekFrom::End(0)).unwrap() > 0 {
        file.seek(SeekFrom::End(-1)).unwrap();
        let mut last = [0];
        file.read_exact(&mut last).unwrap();
        if last[0] != b'\n' {
            text.insert(0, '\n');
        }
    }
    assert_eq!(file.write(text.as_bytes()).unwrap(), text.len());
    file.sync_data().unwrap();
}
