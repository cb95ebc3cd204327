//! What the files and the metrics of a run say together: the state of the newest revision, what
//! is in force, what comes next. Pure; rebuilt from nothing after a restart.

use super::audit::{AuditLine, Event, LogLine, code};
use super::facts::{Facts, same, slack};
use super::offers::{self, Offer};
use super::protocol::{Ack, AckStatus, Entry, entry_at, plain};
use super::read::{Control, Fate, Files};
use super::signs::{signs, undoer};
use super::state::{ControlState, Signs, state_of};
use super::words::{self, overdue_words, reason_words, size_words};
use crate::advice::TrainerLimits;
use crate::units;

/// An event that belongs into the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub event: Event,
    pub revision: u64,
    pub from_tokens: Option<u64>,
    pub attempt: Option<String>,
    pub reason: Option<String>,
}

/// An earlier revision and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub revision: u64,
    pub state: ControlState,
    pub schedule: Vec<Entry>,
    /// `user@host`, fit for a screen.
    pub by: String,
    pub at: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// The newest that was published.
    pub revision: Option<u64>,
    /// Its state; that of the proposal where nothing was written yet.
    pub state: Option<ControlState>,
    /// Schedule of the newest revision.
    pub schedule: Vec<Entry>,
    /// What the trainer obeys now; empty where it runs by its own batch size.
    pub in_force: Vec<Entry>,
    pub in_force_revision: Option<u64>,
    /// The entry still to come.
    pub next: Option<Entry>,
    pub limits: Option<TrainerLimits>,
    pub can_scale_lr: bool,
    /// The id that the trainer gave in `ready`, byte for byte: not fit for a screen.
    pub run_id: Option<String>,
    pub attempts_alive: usize,
    /// Where the batch size last changed by a revision; by the metrics where the trainer is silent.
    pub last_applied_tokens: Option<f64>,
    /// The trainer's own count, at its last acknowledgement.
    pub trainer_tokens: Option<u64>,
    /// The trainer said `ended` last, and the metrics have not gone on since.
    pub ended: bool,
    /// Proposals since the last approval.
    pub offers: Vec<Offer>,
    /// In words fit for a screen.
    pub notes: Vec<String>,
    /// Newest last, fit for a screen.
    pub log: Vec<LogLine>,
    /// Earlier revisions, lowest first.
    pub history: Vec<Past>,
    /// What belongs into the audit; [`super::record_observed`] adds what is new.
    pub events: Vec<Seen>,
}

/// The state of a run's control, rebuilt from the files and from what its metrics show.
pub fn status(files: &Files, facts: &Facts) -> Status {
    let acks = &files.acks;
    let revision = files.newest();
    let signs_now = revision.map(|r| signs(files, facts, r));
    let state = signs_now.as_ref().map(state_of).or_else(|| drafted(&files.audit));
    let schedule = revision.map(|r| files.schedule(r)).unwrap_or_default();
    let (in_force_revision, in_force) = match acks.in_force() {
        // A trainer whose line lacks the schedule still obeys the revision that it named.
        Some((r, [])) => (Some(r), files.schedule(r)),
        Some((r, s)) => (Some(r), s.to_vec()),
        None => (None, Vec::new()),
    };
    let trainer_tokens = acks.lines.iter().rev().find_map(|a| a.tokens);
    let tokens = facts.tokens.or(trainer_tokens.map(|t| t as f64));
    let coming = match state {
        Some(ControlState::Rejected) | None => &in_force,
        Some(_) => &schedule,
    };
    let next = tokens.and_then(|t| coming.iter().find(|e| e.from_tokens as f64 > t)).copied();
    let quiet = match (facts.seconds_since_write, facts.interval_seconds) {
        (Some(silent), Some(interval)) => silent > 10.0 * interval,
        _ => false,
    };
    let limits = acks.limits();
    let mut status = Status {
        revision,
        state,
        schedule,
        in_force,
        in_force_revision,
        next,
        can_scale_lr: limits.as_ref().is_some_and(|l| l.can_scale_lr),
        limits,
        run_id: acks.run(),
        attempts_alive: acks.alive(quiet).len().max(if facts.interleaved { 2 } else { 0 }),
        last_applied_tokens: acks
            .last_change()
            .map(|t| t as f64)
            .or_else(|| facts.segments.get(1..).and_then(<[_]>::last).map(|s| s[0])),
        trainer_tokens,
        ended: acks
            .lines
            .last()
            .is_some_and(|a| a.status == AckStatus::Ended && !went_on(a, facts)),
        offers: offers::open(&files.audit),
        notes: files.notes.clone(),
        log: words::log(files),
        history: history(files, facts, revision),
        events: Vec::new(),
    };
    status.events = events(files, facts, &status);
    remark(files, facts, signs_now.as_ref(), &mut status);
    status
}

/// A start without the adapter says nothing, and its metrics do.
fn went_on(ended: &Ack, facts: &Facts) -> bool {
    ended.tokens.zip(facts.tokens).is_some_and(|(then, now)| now > then as f64 + slack(facts))
}

/// Proposed or approved, where nothing was ever written.
fn drafted(audit: &[AuditLine]) -> Option<ControlState> {
    match audit.last()?.event {
        Event::Proposed => Some(ControlState::Proposed),
        Event::Approved => Some(ControlState::Approved),
        _ => None,
    }
}

fn history(files: &Files, facts: &Facts, newest: Option<u64>) -> Vec<Past> {
    let claimed = files.claims.iter().filter(|c| c.fate != Fate::Burned).map(|c| c.revision);
    let mut revisions: Vec<u64> =
        claimed.chain(files.acks.lines.iter().filter_map(|a| a.revision)).collect();
    revisions.sort_unstable();
    revisions.dedup();
    let past = revisions.into_iter().filter(|r| Some(*r) < newest);
    past.map(|revision| {
        let mut signs = signs(files, facts, revision);
        // Not answered and overtaken: a trainer takes the newest alone.
        signs.replaced |= !signs.accepted && !signs.rejected && newest > Some(revision);
        let file = files.revision(revision);
        Past {
            revision,
            state: state_of(&signs),
            schedule: files.schedule(revision),
            by: file.map(|f| plain(&f.issued_by)).unwrap_or_default(),
            at: file.map(|f| plain(&f.issued_at)).unwrap_or_default(),
        }
    })
    .collect()
}

/// The entry whose batch size the metrics show: the newest line may still be one of the size before
/// the entry that acts by now.
fn shown(schedule: &[Entry], facts: &Facts) -> Option<Entry> {
    let tokens = facts.tokens.unwrap_or(0.0).max(0.0) as u64;
    let Some(size) = facts.batch_size else { return entry_at(schedule, tokens) };
    let begun = schedule.iter().rev().filter(|e| e.from_tokens <= tokens);
    begun.copied().find(|e| same(size, e.batch_size_tokens))
}

/// What the files and the metrics show that belongs into the audit.
fn events(files: &Files, facts: &Facts, status: &Status) -> Vec<Seen> {
    let mut out = Vec::new();
    let mut push = |event, revision, from_tokens, attempt: Option<&str>, reason| {
        let attempt = attempt.map(str::to_string);
        out.push(Seen { event, revision, from_tokens, attempt, reason });
    };
    for ack in &files.acks.lines {
        let Some(revision) = ack.revision else { continue };
        match ack.status {
            AckStatus::Accepted => push(Event::Accepted, revision, None, Some(&ack.attempt), None),
            AckStatus::Rejected => {
                let reason = Some(code(ack.reason.as_deref()));
                push(Event::Rejected, revision, None, Some(&ack.attempt), reason);
            }
            _ => {}
        }
    }
    for claim in files.claims.iter().filter(|c| c.fate == Fate::Burned) {
        let reason = Some(format!("claimed by {} and never published", claim.author()));
        push(Event::Burned, claim.revision, None, None, reason);
    }
    for past in status.history.iter().filter(|p| p.state == ControlState::Undone) {
        let by = undoer(files, past.revision).map(|r| format!("by revision {r}"));
        push(Event::Undone, past.revision, None, None, by);
    }
    let Some(revision) = status.revision else { return out };
    let attempt = files.acks.ready().map(|(_, a)| a.attempt.as_str());
    match status.state {
        Some(ControlState::Applied) => {
            let from = shown(&status.schedule, facts);
            push(
                Event::Applied,
                revision,
                from.map(|e| e.from_tokens),
                attempt,
                Some(format!("the metrics show {}", size_words(facts.batch_size))),
            );
        }
        Some(ControlState::Overdue) => push(
            Event::Overdue,
            revision,
            None,
            attempt,
            Some(format!("the metrics show {}", size_words(facts.batch_size))),
        ),
        Some(ControlState::Reverted) => push(Event::Reverted, revision, None, attempt, None),
        _ => {}
    }
    out
}

/// Adds the notes that a person reads beside the state.
fn remark(files: &Files, facts: &Facts, signs: Option<&Signs>, status: &mut Status) {
    let acks = &files.acks;
    let notes = &mut status.notes;
    if let Some(revision) = status.revision {
        let said = acks
            .lines
            .iter()
            .rev()
            .find(|a| a.status == AckStatus::Applied && a.revision == Some(revision));
        match status.state {
            Some(ControlState::Rejected) => {
                let line = acks.answer(revision).map(|(_, i)| &acks.lines[i]);
                notes.push(format!(
                    "the trainer rejected revision {revision}: {}",
                    reason_words(line)
                ));
            }
            Some(ControlState::Written) if acks.lines.is_empty() => notes.push(
                "no acknowledgement so far: whether a trainer reads the file is unknown".into(),
            ),
            Some(ControlState::Overdue) => notes.push(overdue_words(facts, said)),
            Some(ControlState::Reverted) => notes.push(format!(
                "revision {revision} was in force and {}: the run trains at {}",
                match signs.is_some_and(|s| s.lost) {
                    true => "a restart lost it",
                    false => "is no longer followed, though no restart was told",
                },
                size_words(facts.batch_size)
            )),
            Some(ControlState::Accepted) if said.is_some() && facts.batch_size.is_none() => {
                notes.push(
                    "the trainer says applied; its metrics show no batch size to confirm it".into(),
                );
            }
            _ => {}
        }
        if signs.is_some_and(|s| !s.accepted && !s.rejected && s.late && s.seen == Some(true)) {
            notes.push(
                "the metrics show the ordered batch size, the trainer acknowledged nothing".into(),
            );
        }
        if files.file().is_some_and(|f| f.revision < revision) {
            notes.push(format!(
                "the control file carries an older revision than {revision}; the trainer ignores it"
            ));
        }
        if files.control == Control::Absent {
            notes.push("the control file is gone; the trainer keeps what it accepted".into());
        }
    }
    if let Some((line, ready)) = acks.ready() {
        let earlier = acks.lines[..line].iter().any(|a| a.tokens.is_some_and(|t| t > 0));
        if ready.tokens == Some(0) && earlier && status.in_force_revision.is_some() {
            notes.push(format!(
                "this attempt started from zero and follows the schedule of revision {} all the same",
                status.in_force_revision.unwrap_or_default()
            ));
        }
    } else if status.revision.is_some() {
        notes.push("the trainer never said ready: its unit and limits are unknown".into());
    }
    if let (Some(theirs), Some(ours)) = (status.trainer_tokens, facts.tokens) {
        let theirs = theirs as f64;
        if theirs > ours * 1.02 + slack(facts) {
            notes.push(format!(
                "the trainer counts {} tokens, the metrics show {}: thresholds follow the trainer's",
                units::count(theirs),
                units::count(ours)
            ));
        }
    }
    if status.attempts_alive > 1 {
        notes.push(format!("{} attempts of this run are alive", status.attempts_alive));
    }
}
