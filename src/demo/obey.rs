//! The trainer's side of the control protocol, version 1: read the control file, judge each
//! revision once, remember in the ack file, say what acts.
//!
//! Self-contained, and stands on nothing but the files: the ack file is the whole memory, so a
//! restarted trainer needs nothing in its checkpoint.

use super::judge::{self, Ask, Refusal};
use super::limits::{Direction, Limits};
use super::memory::{InForce, Memory};
use super::writer::{Moment, append_line};
use crate::control::protocol::{Ack, AckStatus, Entry, Paths, VERSION};
use crate::error::{Error, Result};
use serde_json::Map;
use std::io::Read;
use std::path::Path;

/// A larger control file is not one.
const MAX_CONTROL_BYTES: u64 = 1 << 20;

/// Where the trainer stands: steps done and tokens seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub step: u64,
    pub tokens: u64,
}

/// What the next step runs under.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Tokens per optimizer step.
    pub batch_size: u64,
    /// Against the trainer's own learning rate.
    pub lr_scale: f64,
    /// The entry that acts: its revision and `from_tokens`; `None` for the trainer's own.
    pub entry: Option<(u64, u64)>,
}

/// One trainer's obedience. Every judgement and every change goes to the ack file first; what
/// cannot be appended does not count and is tried again at the next poll.
#[derive(Debug)]
pub struct Obey {
    paths: Paths,
    run: String,
    attempt: String,
    limits: Limits,
    /// The trainer's own batch size, in tokens.
    own: u64,
    in_force: Option<InForce>,
    /// The highest revision accepted or rejected so far.
    judged: u64,
    /// What the last `applied` line said.
    said: Option<Setting>,
}

impl Obey {
    /// Reads the ack file, says `ready`, and rejects for good an accepted schedule that no longer
    /// fits. `metrics` is the run's metrics file, which the control files lie beside; `attempt` is
    /// the job's name without the count; `own` the batch size before any entry.
    ///
    /// # Errors
    /// `Error::Io` if the ack file cannot be read or appended to: a trainer that cannot remember
    /// must not obey.
    pub fn start(
        metrics: &Path,
        run: &str,
        attempt: &str,
        own: u64,
        limits: Limits,
        at: Progress,
        now: Moment,
    ) -> Result<Obey> {
        let paths = Paths::beside(metrics);
        let memory = Memory::read(&paths.ack, run).map_err(|e| Error::io(&paths.ack, e))?;
        let mut obey = Obey {
            attempt: format!("{attempt}.{}", memory.ready_lines),
            paths,
            run: run.to_string(),
            limits,
            own,
            in_force: memory.in_force,
            judged: memory.judged,
            said: None,
        };
        let unfit = obey.in_force.as_ref().and_then(|f| {
            judge::fits(&f.schedule, at.tokens, None, own, &limits).err().map(|v| (f.revision, v))
        });
        if unfit.is_some() {
            obey.in_force = None;
        }
        obey.say_ready(at, now).map_err(|e| Error::io(&obey.paths.ack, e))?;
        if let Some((revision, why)) = unfit {
            obey.reject(revision, &why, at, now).map_err(|e| Error::io(&obey.paths.ack, e))?;
        }
        Ok(obey)
    }

    /// The trainer's own batch size from now on: its own ramp, which any entry in force overrides.
    pub fn set_own(&mut self, batch_size: u64) {
        self.own = batch_size;
    }

    /// The revision in force.
    pub fn revision(&self) -> Option<u64> {
        self.in_force.as_ref().map(|f| f.revision)
    }

    /// What a step that starts at `tokens` runs under: the last entry at or below them.
    pub fn setting(&self, tokens: u64) -> Setting {
        let entry = self.in_force.as_ref().and_then(|f| {
            let e = f.schedule.iter().rev().find(|e| e.from_tokens <= tokens)?;
            Some((f.revision, e))
        });
        match entry {
            None => Setting { batch_size: self.own, lr_scale: 1.0, entry: None },
            Some((revision, e)) => Setting {
                batch_size: e.batch_size_tokens,
                lr_scale: e.lr_scale.unwrap_or(1.0),
                entry: Some((revision, e.from_tokens)),
            },
        }
    }

    /// Looks at the control file. A revision above the last one judged is judged once, whole;
    /// garbage, a torn or vanished file and a lower revision are nothing new.
    ///
    /// # Errors
    /// The ack file could not be appended to; nothing changed, the next poll tries again.
    pub fn poll(&mut self, at: Progress, now: Moment) -> std::io::Result<()> {
        let Some(request) = self.read_control().and_then(|text| judge::read_request(&text)) else {
            return Ok(());
        };
        if request.revision <= self.judged {
            return Ok(());
        }
        let ask = Ask {
            run: &self.run,
            tokens: at.tokens,
            batch_size: self.setting(at.tokens).batch_size,
            own: self.own,
            limits: &self.limits,
        };
        match judge::judge(&request, &ask) {
            Ok(schedule) => self.accept(request.revision, schedule, at, now),
            Err(why) => self.reject(request.revision, &why, at, now),
        }
    }

    /// What the next step runs under, said in an `applied` line when it is new in this attempt.
    ///
    /// # Errors
    /// The ack file could not be appended to: the setting acts all the same, and the line is
    /// tried again at the next call.
    pub fn before_step(&mut self, at: Progress, now: Moment) -> (Setting, std::io::Result<()>) {
        let setting = self.setting(at.tokens);
        if self.said == Some(setting) {
            return (setting, Ok(()));
        }
        let mut ack = self.ack(AckStatus::Applied, at, setting, now);
        ack.revision = setting.entry.map(|e| e.0);
        ack.from_tokens = setting.entry.map(|e| e.1);
        let said = append_line(&self.paths.ack, &ack, false);
        if said.is_ok() {
            self.said = Some(setting);
        }
        (setting, said)
    }

    /// A clean exit.
    pub fn end(&mut self, at: Progress, detail: &str, now: Moment) -> std::io::Result<()> {
        let mut ack = self.ack(AckStatus::Ended, at, self.setting(at.tokens), now);
        ack.detail = Some(detail.to_string());
        append_line(&self.paths.ack, &ack, false)
    }

    /// The directory is listed first and the file opened afresh: on NFS an open alone can keep a
    /// stale entry alive for ever.
    fn read_control(&self) -> Option<String> {
        let directory = self.paths.control.parent()?;
        let name = self.paths.control.file_name()?;
        let mut entries = std::fs::read_dir(directory).ok()?;
        if !entries.any(|e| e.is_ok_and(|e| e.file_name() == name)) {
            return None;
        }
        let mut text = String::new();
        let file = std::fs::File::open(&self.paths.control).ok()?;
        file.take(MAX_CONTROL_BYTES).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn say_ready(&mut self, at: Progress, now: Moment) -> std::io::Result<()> {
        let mut ack = self.ack(AckStatus::Ready, at, self.setting(at.tokens), now);
        ack.unit_tokens = Some(self.limits.unit_tokens);
        ack.min_batch_tokens = Some(self.limits.min_batch_tokens);
        ack.max_batch_tokens = self.limits.max_batch_tokens;
        ack.direction = Some(
            match self.limits.direction {
                Direction::Up => "up",
                Direction::Both => "both",
            }
            .to_string(),
        );
        ack.can_scale_lr = Some(self.limits.can_scale_lr);
        append_line(&self.paths.ack, &ack, false)
    }

    fn accept(
        &mut self,
        revision: u64,
        schedule: Vec<Entry>,
        at: Progress,
        now: Moment,
    ) -> std::io::Result<()> {
        let mut ack = self.ack(AckStatus::Accepted, at, self.setting(at.tokens), now);
        ack.revision = Some(revision);
        ack.schedule = Some(schedule.clone());
        append_line(&self.paths.ack, &ack, true)?;
        self.in_force = Some(InForce { revision, schedule });
        self.judged = revision;
        Ok(())
    }

    fn reject(
        &mut self,
        revision: u64,
        why: &Refusal,
        at: Progress,
        now: Moment,
    ) -> std::io::Result<()> {
        let mut ack = self.ack(AckStatus::Rejected, at, self.setting(at.tokens), now);
        ack.revision = Some(revision);
        ack.reason = Some(why.code.to_string());
        ack.detail = Some(why.detail.clone());
        append_line(&self.paths.ack, &ack, true)?;
        self.judged = self.judged.max(revision);
        Ok(())
    }

    fn ack(&self, status: AckStatus, at: Progress, setting: Setting, now: Moment) -> Ack {
        Ack {
            version: VERSION,
            status,
            run: self.run.clone(),
            attempt: self.attempt.clone(),
            revision: self.revision(),
            step: Some(at.step),
            tokens: Some(at.tokens),
            batch_size_tokens: Some(setting.batch_size),
            lr_scale: Some(setting.lr_scale),
            from_tokens: None,
            schedule: None,
            reason: None,
            detail: None,
            time: now.rfc3339(),
            unit_tokens: None,
            min_batch_tokens: None,
            max_batch_tokens: None,
            direction: None,
            can_scale_lr: None,
            unknown: Map::new(),
        }
    }
}
