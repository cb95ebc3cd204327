//! The control desk of one run: what its files say, the proposal on the table, approvals.

mod back;
#[cfg(test)]
mod back_tests;
mod decided;
mod moved;
mod shown;
#[cfg(test)]
mod tests;

use super::core::Settings;
use super::counts::{ahead, offset, shifted};
use super::grounds::{Case, Does, added, disobeyed, facts, or_own, over, rests_on, soonest};
use super::worth::{Worth, worth};
use crate::advice::{self, Entry, GuardAnswer, Plan, PlanOptions, Situation};
use crate::command::Change;
use crate::control::protocol::Paths;
use crate::control::read::Stamp;
use crate::control::{self, AuditLine, ControlState, Event, Facts, Files, Forecast, Status};
use crate::metrics::{self, RunFiles};
use crate::run::{self, RunData};
use crate::snapshot::Proposal;

/// Seconds that a change must lie ahead: a command may take two minutes to be seen on NFS.
const LEAD_NETWORK: f64 = 180.0;
const LEAD_LOCAL: f64 = 20.0;
/// A change that is drawn up now lies a lead time ahead, to be seen in, and as long again, but at
/// least these seconds, for whoever decides on it.
const DECIDE_SECONDS: f64 = 8.0;

#[derive(Debug)]
pub(super) struct Desk {
    /// `None`: the run has no place for control files (standard input without `--control`, replay).
    paths: Option<Paths>,
    stamp: Option<Stamp>,
    files: Option<Files>,
    facts: Facts,
    status: Status,
    /// The trainer's count of tokens less that of the metrics.
    offset: i64,
    lead_seconds: f64,
    decide_seconds: f64,
    read_only: bool,
    trust_target: bool,
    /// What the trainer runs by itself, where a person said so; in the count of the metrics.
    declared: Vec<Entry>,
    /// Newest revision that the person saw, where it is not what stands when a proposal is made.
    seen_revision: Option<u64>,
    table: Option<OnTable>,
    forecasts: Vec<Forecast>,
    proposals: u64,
    /// Tokens of the run when the newest fit was made.
    estimated_at: Option<f64>,
    /// What became of the last command, where no proposal carries the answer.
    said: Option<String>,
    /// Control files that are there and not read, in words.
    unread: Option<String>,
    /// The audit cannot be added to.
    trouble: Option<String>,
    /// Proposals that were made at this desk, by time: the others are somebody else's.
    made_here: Vec<AuditLine>,
}

/// A proposal, what is to be written, and the revision that was newest when it was drawn up.
#[derive(Debug, Clone)]
struct OnTable {
    shown: Proposal,
    based_on: Option<u64>,
    undoes: Option<u64>,
    drawn_up: moved::Mark,
}

impl Desk {
    pub fn open(files: &RunFiles, settings: &Settings) -> Desk {
        let given = settings.control.as_deref();
        let stdin = files.main.as_os_str() == "-";
        let paths = match given {
            _ if settings.recorded_clock => None,
            None if stdin => None,
            _ => Some(control::control_path(&files.main, &files.name, given)),
        };
        let beside = settings.recorded_clock && !stdin;
        let beside = beside.then(|| control::control_path(&files.main, &files.name, given));
        let unread = beside.filter(|p| p.control.exists() || p.log.exists()).map(|p| {
            format!(
                "a replay reads no control files: what {} ordered, and what it was to bring, is not \
                 in what is said here",
                control::protocol::plain(&p.control.display().to_string())
            )
        });
        let network = paths.as_ref().is_some_and(|p| metrics::on_network(&p.control));
        let by_disk = if network { LEAD_NETWORK } else { LEAD_LOCAL };
        Desk {
            paths,
            stamp: None,
            files: None,
            facts: Facts::default(),
            status: Status::default(),
            offset: 0,
            decide_seconds: settings.decide_seconds.unwrap_or(DECIDE_SECONDS),
            read_only: settings.read_only || settings.recorded_clock,
            trust_target: settings.trust_target,
            declared: settings.plan.schedule.clone().unwrap_or_default(),
            seen_revision: settings.seen_revision,
            lead_seconds: settings.lead_seconds.unwrap_or(by_disk),
            table: None,
            forecasts: Vec::new(),
            proposals: 0,
            estimated_at: None,
            said: None,
            unread,
            trouble: None,
            made_here: Vec::new(),
        }
    }

    /// Reads the files again where they, or the metrics, have changed; `record`: what was observed
    /// goes into the audit. True: the view has changed.
    pub fn read(&mut self, data: &RunData, quiet_seconds: Option<f64>, record: bool) -> bool {
        let Some(paths) = &self.paths else { return false };
        let stamp = Stamp::of(paths);
        if self.stamp != Some(stamp) || self.files.is_none() {
            self.files = Some(Files::read(paths));
            self.stamp = Some(stamp);
        }
        let decided_in = self.decided_in();
        let Some(files) = &mut self.files else { return false };
        self.offset = offset(files, data);
        self.facts = facts(data, quiet_seconds, decided_in, self.offset);
        let mut status = control::status(files, &self.facts);
        self.trouble = None;
        if record && files.newest().is_some() {
            match added(files, &status, data) {
                // What was just recorded belongs to the log that is shown.
                Ok(lines) if lines > 0 => {
                    *files = Files::read(paths);
                    status = control::status(files, &self.facts);
                }
                Ok(_) => {}
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        let forecasts = control::forecasts(files, &status, data);
        let changed = status != self.status || forecasts != self.forecasts;
        self.forecasts = forecasts;
        // "Waiting for the trainer" is over once the trainer has spoken.
        let written = matches!(status.state, Some(ControlState::Approved | ControlState::Written));
        if status.state != self.status.state && !written {
            self.said = None;
        }
        self.status = status;
        changed
    }

    /// Seconds from drawing up a change to its earliest beginning.
    fn decided_in(&self) -> f64 {
        self.lead_seconds + self.lead_seconds.max(self.decide_seconds)
    }

    pub fn lead_seconds(&self) -> f64 {
        self.lead_seconds
    }

    /// The id that the trainer gave in `ready`.
    pub fn run_id(&self) -> Option<&str> {
        self.status.run_id.as_deref()
    }

    pub fn ended(&self) -> bool {
        self.status.ended
    }

    /// A fit was made when the run had consumed `tokens`.
    pub fn estimated(&mut self, tokens: f64) {
        self.estimated_at = Some(tokens);
    }

    pub fn situation(
        &self,
        data: &RunData,
        plan: Option<&Plan>,
        live: bool,
        can_write: bool,
    ) -> Situation {
        let known = |x: f64| x.is_finite().then_some(x);
        let mut situation = Situation {
            live,
            ended: self.status.ended,
            tokens_per_second: run::throughput(data),
            log_interval_tokens: run::log_interval(data).map(|(_, tokens)| tokens),
            limits: self.status.limits.clone(),
            in_force: Vec::new(),
            promised: self.promised(),
            ordered: self.ordered_revision(),
            taken_back: self.taken_back(),
            disobeyed: disobeyed(&self.status, data),
            attempts_alive: self.status.attempts_alive,
            last_change_tokens: self.status.last_applied_tokens.map(|t| t - self.offset as f64),
            estimate_age_tokens: self.estimated_at.and_then(|t| known(data.tokens() - t)),
            committed: plan.map(|p| p.committed.clone()),
            said: plan.map(|p| p.verdict.kind),
            can_write: can_write && self.paths.is_some(),
            decayed: plan.map(|p| p.decayed.clone()).unwrap_or_default(),
        };
        let in_force = self.in_force();
        if !in_force.is_empty() {
            situation.in_force = advice::as_trained(&in_force, data, &situation);
        }
        situation
    }

    /// What a plan depends on beside the metrics: the revision that was ordered, and whether it stands.
    pub fn orders(&self) -> (Option<u64>, bool) {
        (self.ordered_revision(), self.status.state == Some(ControlState::Overdue))
    }

    fn ordered_revision(&self) -> Option<u64> {
        match self.status.state {
            Some(ControlState::Written | ControlState::Accepted | ControlState::Applied) => {
                self.status.revision
            }
            _ => self.status.in_force_revision,
        }
    }

    /// What the revision that acts took back, in the count of the metrics.
    fn taken_back(&self) -> Option<advice::TakenBack> {
        let (revision, schedule) =
            control::taken_back(self.files.as_ref()?, self.ordered_revision()?)?;
        Some(advice::TakenBack { revision, schedule: shifted(&schedule, -self.offset) })
    }

    /// The forecasts of the revision that acts, and of changes before it that nobody could have judged
    /// when it was approved: those count for what they brought, and no longer for what they aim at.
    fn promised(&self) -> Vec<advice::Promise> {
        let Some(revision) = self.ordered_revision() else { return Vec::new() };
        let of = |f: &&Forecast| f.revision == revision;
        let made_at = self.forecasts.iter().find(of).and_then(|f| f.made_at_tokens);
        let unsettled =
            |f: &Forecast| f.revision < revision && made_at.is_some_and(|t| f.unsettled_at(t));
        let promise = |f: &Forecast| match f.revision == revision {
            true => Some(f.promise.clone()),
            false if unsettled(f) => {
                Some(advice::Promise { target_loss: None, tokens: None, ..f.promise.clone() })
            }
            false => None,
        };
        self.forecasts.iter().filter_map(promise).collect()
    }

    /// What the trainer obeys, else what it runs by itself, in the count of the metrics.
    fn in_force(&self) -> Vec<Entry> {
        let ordered = shifted(&self.ordered(), -self.offset);
        if ordered.is_empty() { self.declared.clone() } else { ordered }
    }

    /// What the trainer obeys, or will as soon as it looks, in its own count.
    fn ordered(&self) -> Vec<Entry> {
        match self.status.state {
            Some(ControlState::Written | ControlState::Accepted | ControlState::Applied) => {
                self.status.schedule.clone()
            }
            _ => self.status.in_force.clone(),
        }
    }

    /// Draws up a proposal; nothing but the audit is written.
    pub fn propose(&mut self, change: &Change, case: Case<'_>) {
        self.said = None;
        match self.draw_up(change, case) {
            Ok(table) => {
                let line = self.line(Event::Proposed, &table, case);
                self.table = Some(table);
                self.made_here.push(line.clone());
                self.log(&line);
            }
            Err(why) => {
                // What cannot be moved stays where it is.
                if !matches!(change, Change::Move { .. }) {
                    self.table = None;
                }
                self.said = Some(why);
            }
        }
    }

    fn draw_up(&mut self, change: &Change, case: Case<'_>) -> Result<OnTable, String> {
        if self.paths.is_none() {
            return Err("this run has no control file: give one with --control PATH".into());
        }
        if let Some(why) = over(case, change) {
            return Err(why.into());
        }
        let situation = self.situation(case.data, case.plan, case.live, true);
        // In the count of the metrics, as the guards and the plan judge it.
        let (schedule, undoes) = self.wanted(change, case, &situation)?;
        let own = case.data.batch_size().unwrap_or(f64::NAN);
        let now = case.data.tokens().max(0.0) as u64;
        let changes = advice::first_change(&situation.in_force, &schedule, own as u64, now);
        if changes.is_none() && undoes.is_none() {
            return Err("nothing to change: that is what the run does, or was told, already".into());
        }
        // What the plan says is of the plan's own schedule.
        let moved = case.plan.is_some_and(|p| p.schedule != schedule);
        let Worth { policies, words, nothing } = match change {
            Change::Plan if !moved => Worth::of_plan(case.plan),
            _ => {
                let kept = if undoes.is_some() { "if the change stays" } else { "if it is left" };
                worth(&schedule, (changes, kept), self.lead_seconds, case, &situation)
            }
        };
        let seen = soonest(case, &situation, self.lead_seconds, self.decided_in());
        let both = (situation.in_force.as_slice(), schedule.as_slice());
        let taken = |r| back::undoes(r, both, own as u64, (now, seen));
        let does = Does { undoes: undoes.map(taken), brings: words };
        if let Some(why) = nothing.filter(|_| *change == Change::Plan) {
            return Err(why);
        }
        self.proposals += 1;
        Ok(OnTable {
            shown: Proposal {
                number: self.proposals,
                from: or_own(shifted(&situation.in_force, self.offset), own),
                guards: self.guards(&schedule, undoes.is_some(), case, &situation),
                evidence: rests_on(case, does, self.estimated_at, &self.status, self.offset),
                policies,
                schedule: shifted(&schedule, self.offset),
                answer: None,
            },
            based_on: match self.seen_revision {
                Some(seen) => Some(seen).filter(|r| *r > 0),
                None => self.status.revision,
            },
            undoes,
            drawn_up: moved::Mark::of(case.data),
        })
    }

    fn wanted(
        &self,
        change: &Change,
        case: Case<'_>,
        situation: &Situation,
    ) -> Result<(Vec<Entry>, Option<u64>), String> {
        match change {
            Change::Plan => match case.plan {
                Some(plan) if !plan.schedule.is_empty() => {
                    let soonest = soonest(case, situation, self.lead_seconds, self.decided_in());
                    Ok((ahead(plan, case.data, situation, soonest), None))
                }
                Some(plan) => Err(format!("no schedule is recommended: {}", plan.verdict.text)),
                None => Err("no plan yet: nothing was fitted".into()),
            },
            Change::BatchSize { batch_size_tokens, at_tokens } => {
                let own = case.data.batch_size().ok_or("the batch size of the run is not known")?;
                let now = case.data.tokens();
                if !now.is_finite() {
                    return Err("the tokens of the run are not known".into());
                }
                let in_force = advice::as_trained(&situation.in_force, case.data, situation);
                let schedule = advice::with_change(
                    &in_force,
                    own as u64,
                    *batch_size_tokens,
                    *at_tokens,
                    now as u64,
                    soonest(case, situation, self.lead_seconds, self.decided_in()),
                );
                Ok((schedule, None))
            }
            Change::Move { by_tokens } => {
                let table = self.table.as_ref().ok_or("no change is proposed")?;
                let proposed = shifted(&table.shown.schedule, -self.offset);
                let now = case.data.tokens().max(0.0) as u64;
                let soonest = soonest(case, situation, self.lead_seconds, self.decided_in());
                let own = case.data.batch_size().unwrap_or(0.0) as u64;
                let in_force = &situation.in_force;
                let moved = moved::moved(&proposed, in_force, own, (now, soonest), *by_tokens);
                Ok((moved.ok_or("the proposal has no change to move")?, table.undoes))
            }
            Change::Undo => {
                let files = self.files.as_ref().ok_or("nothing was read yet")?;
                // Where the guards let a change begin, in slow steps later than the lead time says.
                let ahead = soonest(case, situation, self.lead_seconds, self.decided_in()) as f64
                    - case.data.tokens().max(0.0);
                let facts = Facts { lead_tokens: Some(ahead), ..self.facts.clone() };
                let schedule = control::undo_schedule(files, &facts);
                let schedule = schedule.ok_or_else(|| match control::to_undo(files) {
                    Some(r) => format!("revision {r} changes nothing that could be undone"),
                    None => "there is no revision in force to undo".into(),
                })?;
                Ok((shifted(&schedule, -self.offset), control::to_undo(files)))
            }
        }
    }

    fn guards(
        &self,
        schedule: &[Entry],
        undoes: bool,
        case: Case<'_>,
        situation: &Situation,
    ) -> Vec<GuardAnswer> {
        let options = PlanOptions { lead_seconds: self.lead_seconds, ..case.options.clone() };
        if undoes {
            return self.guards_of_undo(schedule, case, situation, &options);
        }
        advice::check(schedule, case.data, case.loss_now, case.group, situation, &options)
    }

    pub fn withdraw(&mut self) {
        self.table = None;
        self.said = None;
    }
}
