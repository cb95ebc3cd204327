//! The control desk of one run: what its files say, the proposal on the table, approvals.

use super::core::Settings;
use crate::advice::{self, Entry, GuardAnswer, GuardName, Plan, PlanOptions, Situation};
use crate::command::Change;
use crate::control::protocol::{Evidence, Paths};
use crate::control::read::Stamp;
use crate::control::{self, AuditLine, Author, Draft, Event, Facts, Files, Status};
use crate::curve::GroupFit;
use crate::error::Error;
use crate::metrics::{self, RunFiles};
use crate::run::{self, RunData};
use crate::snapshot::{ControlView, Proposal};
use crate::units;

/// Seconds that a change must lie ahead: a command may take two minutes to be seen on NFS.
const LEAD_NETWORK: f64 = 180.0;
const LEAD_LOCAL: f64 = 20.0;
/// A proposal lies this many lead times ahead, so that a person has time to decide.
const DECIDE_LEADS: f64 = 3.0;
/// A revision that is seen later than this many lead times after its change is too late.
const LATE_LEADS: f64 = 10.0;

#[derive(Debug)]
pub(super) struct Desk {
    /// `None`: the run has no place for control files (standard input without `--control`, replay).
    paths: Option<Paths>,
    stamp: Option<Stamp>,
    files: Option<Files>,
    facts: Facts,
    status: Status,
    lead_seconds: f64,
    table: Option<OnTable>,
    proposals: u64,
    /// Tokens of the run when the newest fit was made.
    estimated_at: Option<f64>,
    /// What became of the last command, where no proposal carries the answer.
    said: Option<String>,
}

/// A proposal, what is to be written, and the revision that was newest when it was drawn up.
#[derive(Debug, Clone)]
struct OnTable {
    shown: Proposal,
    based_on: Option<u64>,
    undoes: Option<u64>,
}

/// What a proposal is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub data: &'a RunData,
    pub loss_now: Option<f64>,
    pub group: Option<&'a GroupFit>,
    pub plan: Option<&'a Plan>,
    pub options: &'a PlanOptions,
    pub live: bool,
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
        let network = paths.as_ref().is_some_and(|p| metrics::on_network(&p.control));
        let by_disk = if network { LEAD_NETWORK } else { LEAD_LOCAL };
        Desk {
            paths,
            stamp: None,
            files: None,
            facts: Facts::default(),
            status: Status::default(),
            lead_seconds: settings.lead_seconds.unwrap_or(by_disk),
            table: None,
            proposals: 0,
            estimated_at: None,
            said: None,
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
        let Some(files) = &self.files else { return false };
        self.facts = facts(data, quiet_seconds, self.lead_seconds);
        let status = control::status(files, &self.facts);
        if record
            && files.newest().is_some()
            && let Err(error) = control::audit::record_observed(files, &status, &Author::current())
        {
            self.said = Some(error.to_string());
        }
        let changed = status != self.status;
        self.status = status;
        changed
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
        Situation {
            live,
            tokens_per_second: run::throughput(data),
            log_interval_tokens: run::log_interval(data).map(|(_, tokens)| tokens),
            limits: self.status.limits.clone(),
            in_force: self.status.in_force.clone(),
            attempts_alive: self.status.attempts_alive,
            last_change_tokens: self.status.last_applied_tokens,
            estimate_age_tokens: self.estimated_at.and_then(|t| known(data.tokens() - t)),
            committed: plan.map(|p| p.schedule.clone()),
            can_write: can_write && self.paths.is_some(),
        }
    }

    /// Draws up a proposal; nothing but the audit is written.
    pub fn propose(&mut self, change: &Change, case: Case<'_>) {
        self.said = None;
        match self.draw_up(change, case) {
            Ok(table) => {
                let line = self.line(Event::Proposed, &table, case);
                self.table = Some(table);
                self.log(line);
            }
            Err(why) => {
                self.table = None;
                self.said = Some(why);
            }
        }
    }

    fn draw_up(&mut self, change: &Change, case: Case<'_>) -> Result<OnTable, String> {
        if self.paths.is_none() {
            return Err("this run has no control file: give one with --control PATH".into());
        }
        let situation = self.situation(case.data, case.plan, case.live, true);
        let (schedule, undoes) = self.wanted(change, case, &situation)?;
        let own = case.data.batch_size().unwrap_or(f64::NAN);
        let mut policies = case.plan.map(|p| p.policies.clone()).unwrap_or_default();
        if let Change::BatchSize { .. } = change {
            let what_if = PlanOptions { what_if: Some(schedule.clone()), ..case.options.clone() };
            policies =
                advice::plan(case.data, case.loss_now, case.group, &situation, &what_if).policies;
        }
        self.proposals += 1;
        Ok(OnTable {
            shown: Proposal {
                number: self.proposals,
                from: self.in_force_or_own(own),
                guards: self.guards(&schedule, case, &situation),
                evidence: evidence_words(case, self.estimated_at),
                policies,
                schedule,
                answer: None,
            },
            based_on: self.status.revision,
            undoes,
        })
    }

    fn in_force_or_own(&self, own: f64) -> Vec<Entry> {
        if self.status.in_force.is_empty() && own.is_finite() {
            vec![Entry { from_tokens: 0, batch_size_tokens: own as u64, lr_scale: None }]
        } else {
            self.status.in_force.clone()
        }
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
                    let ahead = self.lead_tokens(situation, DECIDE_LEADS);
                    Ok((not_before(&plan.schedule, case.data.tokens(), ahead), None))
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
                let lead = self.lead_tokens(situation, 1.0);
                let schedule = advice::with_change(
                    &situation.in_force,
                    own as u64,
                    *batch_size_tokens,
                    *at_tokens,
                    now as u64,
                    (now + lead).ceil() as u64,
                );
                Ok((schedule, None))
            }
            Change::Undo => {
                let files = self.files.as_ref().ok_or("nothing was read yet")?;
                let schedule = control::undo_schedule(files, &self.facts);
                let schedule = schedule.ok_or("there is no revision in force to undo")?;
                Ok((schedule, files.newest()))
            }
        }
    }

    /// Tokens that a live run makes in so many lead times.
    fn lead_tokens(&self, situation: &Situation, leads: f64) -> f64 {
        let rate = situation.tokens_per_second.filter(|_| situation.live).unwrap_or(0.0);
        rate * self.lead_seconds * leads
    }

    fn guards(
        &self,
        schedule: &[Entry],
        case: Case<'_>,
        situation: &Situation,
    ) -> Vec<GuardAnswer> {
        let options = PlanOptions { lead_seconds: self.lead_seconds, ..case.options.clone() };
        advice::check(schedule, case.data, case.loss_now, case.group, situation, &options)
    }

    /// Writes the proposal `number` if it is still the one on the table, the guards of this very
    /// moment pass or are overridden, and nobody else wrote since.
    pub fn approve(
        &mut self,
        number: u64,
        overrides: &[GuardName],
        read_only: bool,
        case: Case<'_>,
    ) {
        let Some(mut table) = self.table.take().filter(|t| t.shown.number == number) else {
            self.said = Some("that proposal is no longer on the table: look at the new one".into());
            return;
        };
        let situation = self.situation(case.data, case.plan, case.live, true);
        table.shown.guards = self.guards(&table.shown.schedule, case, &situation);
        match self.write(&table, overrides, read_only, case) {
            Ok(answer) => self.said = Some(answer),
            Err(error) => {
                let mut line = self.line(Event::Refused, &table, case);
                line.reason = Some(error.to_string());
                table.shown.answer = Some(error.to_string());
                self.table = Some(table);
                if !read_only {
                    self.log(line);
                }
            }
        }
        // The next reading shows what stands in the files now.
        self.stamp = None;
    }

    fn write(
        &self,
        table: &OnTable,
        overrides: &[GuardName],
        read_only: bool,
        case: Case<'_>,
    ) -> Result<String, Error> {
        let no_place = || Error::Refused("this run has no control file".into());
        let paths = self.paths.as_ref().ok_or_else(no_place)?;
        let lead = run::throughput(case.data).unwrap_or(0.0) * self.lead_seconds;
        let change = advice::first_change(
            &table.shown.from,
            &table.shown.schedule,
            case.data.batch_size().unwrap_or(0.0) as u64,
            case.data.tokens() as u64,
        );
        let draft = Draft {
            run: case.data.id.clone(),
            schedule: table.shown.schedule.clone(),
            expect: expected(case.data),
            not_after: change.map(|t| t + (LATE_LEADS * lead).max(t as f64 * 0.05) as u64),
            evidence: evidence(case),
            undoes: table.undoes,
        };
        let who = Author::current();
        let approval = control::approve(draft, &table.shown.guards, overrides, &who)?;
        let options = control::Options { read_only, ..control::Options::default() };
        let written = control::write(paths, &approval, table.based_on, options)?;
        let mut answer = format!(
            "revision {} written to {}; waiting for the trainer",
            written.revision,
            paths.control.display()
        );
        for warning in &written.warnings {
            answer += &format!("; {warning}");
        }
        Ok(answer)
    }

    pub fn withdraw(&mut self) {
        self.table = None;
        self.said = None;
    }

    fn line(&self, event: Event, table: &OnTable, case: Case<'_>) -> AuditLine {
        let mut line = AuditLine::new(event, &case.data.id, table.undoes, &Author::current());
        line.schedule = table.shown.schedule.clone();
        line.evidence = Some(evidence(case));
        line
    }

    fn log(&mut self, line: AuditLine) {
        if let Some(paths) = &self.paths
            && let Err(error) = control::audit::record(paths, &line)
        {
            self.said = Some(error.to_string());
        }
    }

    pub fn view(&self) -> ControlView {
        let s = &self.status;
        ControlView {
            path: self.paths.as_ref().map(|p| p.control.display().to_string()).unwrap_or_default(),
            revision: s.revision,
            state: s.state,
            schedule: s.schedule.clone(),
            next: s.next,
            trainer: s.limits.clone(),
            notes: s.notes.iter().chain(&self.said).cloned().collect(),
            proposal: self.table.as_ref().map(|t| t.shown.clone()),
            log: s.log.clone(),
        }
    }
}

/// The schedule with what is still to come put off as a whole, where its first change lies less
/// than `ahead` tokens ahead.
fn not_before(schedule: &[Entry], now: f64, ahead: f64) -> Vec<Entry> {
    let to_come = |e: &Entry| e.from_tokens as f64 > now;
    let Some(first) = schedule.iter().find(|e| to_come(e)).filter(|_| now.is_finite()) else {
        return schedule.to_vec();
    };
    let late = ((now + ahead).ceil() as u64).saturating_sub(first.from_tokens);
    let put_off = |e: &Entry| Entry { from_tokens: e.from_tokens + late, ..*e };
    schedule.iter().map(|e| if to_come(e) { put_off(e) } else { *e }).collect()
}

fn facts(data: &RunData, quiet_seconds: Option<f64>, lead_seconds: f64) -> Facts {
    let interval = run::log_interval(data);
    Facts {
        tokens: Some(data.tokens()).filter(|t| t.is_finite()),
        batch_size: data.batch_size(),
        log_interval_tokens: interval.map(|(_, tokens)| tokens),
        seconds_since_write: quiet_seconds,
        interval_seconds: interval.map(|(seconds, _)| seconds),
        segments: data.segments.iter().map(|s| [s.from_tokens, s.batch_size]).collect(),
        lead_tokens: run::throughput(data).map(|rate| rate * lead_seconds),
    }
}

/// The batch size that the trainer's next step should have, where the log states it exactly.
fn expected(data: &RunData) -> Option<u64> {
    let exact = !matches!(data.batch_source, run::BatchSource::Derived | run::BatchSource::Unknown);
    data.batch_size().filter(|_| exact).map(|b| b.round() as u64)
}

fn evidence(case: Case<'_>) -> Evidence {
    let b_opt = case.plan.map(|p| p.b_opt);
    let runs = case.group.map(|g| g.runs.iter().filter(|r| r.used).map(|r| r.id.clone()).collect());
    Evidence {
        b_opt: b_opt.and_then(|iv| iv.value),
        b_opt_low: b_opt.and_then(|iv| iv.low),
        b_opt_high: b_opt.and_then(|iv| iv.high),
        loss: case.loss_now,
        model: case.group.and_then(|g| g.law.as_ref()).map(|_| "joint".to_string()),
        runs: runs.unwrap_or_default(),
        ..Evidence::default()
    }
}

fn evidence_words(case: Case<'_>, estimated_at: Option<f64>) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(plan) = case.plan {
        out.push(plan.verdict.text.clone());
        out.extend(plan.verdict.reasons.iter().cloned());
    }
    if let Some(group) = case.group {
        let used = group.runs.iter().filter(|r| r.used).count();
        out.push(format!("{used} runs of group {} are in the fit", group.id));
    }
    if let Some(at) = estimated_at {
        let age = units::count((case.data.tokens() - at).max(0.0));
        out.push(format!("the estimate is {age} tokens of this run old"));
    }
    out
}
