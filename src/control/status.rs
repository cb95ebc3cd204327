//! What the files and the metrics of a run say together: the state of the newest revision, what
//! is in force, what comes next. Pure; rebuilt from nothing after a restart.

use super::ack::Answer;
use super::audit::{AuditLine, Event, LogLine, code};
use super::changes::changes;
use super::offers::{self, Offer};
use super::protocol::{AckStatus, Entry, entry_at, plain};
use super::read::{Fate, Files};
use super::state::{ControlState, Signs, state_of};
use super::words;
use crate::advice::TrainerLimits;

/// What the metrics show of the run, all counts in tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub tokens: Option<f64>,
    pub batch_size: Option<f64>,
    /// Tokens between two lines of the metrics.
    pub log_interval_tokens: Option<f64>,
    pub seconds_since_write: Option<f64>,
    /// Seconds between two lines of the metrics.
    pub interval_seconds: Option<f64>,
    /// (tokens, batch size) from each change of the batch size on, ascending.
    pub segments: Vec<[f64; 2]>,
    /// Tokens that the run makes in the lead time of a command; an undo starts no earlier.
    pub lead_tokens: Option<f64>,
    /// Two attempts write the metrics by turns.
    pub interleaved: bool,
}

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
    /// The trainer said `ended` last.
    pub ended: bool,
    /// Proposals since the last approval.
    pub offers: Vec<Offer>,
    /// In words fit for a screen.
    pub notes: Vec<String>,
    /// Newest last, fit for a screen.
    pub log: Vec<LogLine>,
    /// Earlier revisions, lowest first.
    pub history: Vec<Past>,
    /// What belongs into the audit; [`super::audit::record_observed`] adds what is new.
    pub events: Vec<Seen>,
}

/// Two batch sizes that metrics can tell apart are not `same`: within 2 %.
fn same(measured: f64, ordered: u64) -> bool {
    (measured / ordered as f64 - 1.0).abs() <= 0.02
}

/// What the files and the metrics say of one revision.
fn signs(files: &Files, facts: &Facts, revision: u64) -> Signs {
    let acks = &files.acks;
    let answer = acks.answer(revision);
    let accepted = matches!(answer, Some((Answer::Accepted, _)));
    let schedule = files.schedule(revision);
    let before = before(files, revision);
    let expect = files.revision(revision).and_then(|f| f.expect?.batch_size_tokens);
    let own = expect.or(answer.and_then(|(_, i)| acks.lines[i].batch_size_tokens));
    let since = answer.filter(|_| accepted).and_then(|(_, i)| acks.lines[i].tokens);
    let changes = changes(&schedule, &before, own, since);
    let tokens = facts.tokens.unwrap_or(0.0);
    let slack = slack(facts);
    let due = changes.iter().rev().find(|e| e.from_tokens as f64 <= tokens);
    let late = due.is_some_and(|e| tokens > e.from_tokens as f64 + slack);
    let ordered = entry_at(&schedule, tokens.max(0.0) as u64);
    let mut seen = match (facts.batch_size, ordered) {
        (Some(b), Some(e)) => Some(same(b, e.batch_size_tokens)),
        _ => None,
    };
    // In the first log lines after a change the one before it still counts as seen.
    let former = due.and_then(|d| changes.iter().rev().find(|e| e.from_tokens < d.from_tokens));
    if let (Some(false), false, Some(former)) = (seen, late, former) {
        seen = facts.batch_size.map(|b| same(b, former.batch_size_tokens));
    }
    let was_seen = due.is_some_and(|d| {
        let after = |s: &&[f64; 2]| s[0] >= d.from_tokens as f64 - slack;
        facts.segments.iter().filter(after).any(|s| same(s[1], d.batch_size_tokens))
            || files.audit.iter().any(|a| {
                a.event == Event::Applied
                    && a.revision == Some(revision)
                    && a.from_tokens == Some(d.from_tokens)
            })
    });
    Signs {
        written: files.file().is_some_and(|f| f.revision >= revision)
            || files.claims.iter().any(|c| c.revision == revision && c.fate == Fate::Published),
        accepted,
        rejected: matches!(answer, Some((Answer::Rejected, _))),
        lost: lost(files, revision),
        // A revision that changes nothing has nothing to wait for.
        due: due.is_some() || changes.is_empty(),
        late,
        seen,
        was_seen,
        replaced: acks.in_force().is_some_and(|(r, _)| r > revision),
        undone: undoer(files, revision).is_some(),
    }
}

/// Tokens that a change may take to show: three log lines.
pub(super) fn slack(facts: &Facts) -> f64 {
    facts.log_interval_tokens.or(facts.batch_size.map(|b| 10.0 * b)).unwrap_or(0.0) * 3.0
}

/// What was in force when a revision came: the highest accepted one below it, else the newest
/// published one that the trainer did not reject.
pub(super) fn before(files: &Files, revision: u64) -> Vec<Entry> {
    let below = |r: &u64| *r < revision;
    let accepted = files
        .acks
        .lines
        .iter()
        .filter(|a| a.status == AckStatus::Accepted)
        .filter_map(|a| a.revision)
        .filter(below)
        .max();
    let published = || {
        let claims = files.claims.iter().filter(|c| c.fate == Fate::Published);
        let rejected = |r: &u64| matches!(files.acks.answer(*r), Some((Answer::Rejected, _)));
        claims.map(|c| c.revision).filter(below).filter(|r| !rejected(r)).max()
    };
    let silent = files.acks.lines.is_empty();
    let former = if silent { published() } else { accepted };
    former.map(|r| files.schedule(r)).unwrap_or_default()
}

/// A start after the acceptance of a revision has another one in force, or none.
fn lost(files: &Files, revision: u64) -> bool {
    let acks = &files.acks;
    let Some((at, ready)) = acks.ready() else { return false };
    if ready.revision.is_some_and(|r| r >= revision) {
        return false;
    }
    match acks.answer(revision) {
        Some((Answer::Accepted, i)) => i < at,
        Some(_) => false,
        // The acknowledgements themselves were lost.
        None => files.audit.iter().any(|a| {
            matches!(a.event, Event::Accepted | Event::Applied) && a.revision == Some(revision)
        }),
    }
}

/// The accepted revision that took this one back.
fn undoer(files: &Files, revision: u64) -> Option<u64> {
    let (in_force, _) = files.acks.in_force()?;
    (revision + 1..=in_force).find(|r| {
        let file = files.revision(*r);
        let undoes = file.and_then(|f| f.evidence.as_ref()?.unknown.get("undoes")?.as_u64());
        undoes == Some(revision) && matches!(files.acks.answer(*r), Some((Answer::Accepted, _)))
    })
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
        ended: acks.lines.last().is_some_and(|a| a.status == AckStatus::Ended),
        offers: offers::open(&files.audit),
        notes: files.notes.clone(),
        log: words::log(files),
        history: history(files, facts, revision),
        events: Vec::new(),
    };
    status.events = events(files, facts, &status);
    words::remark(files, facts, signs_now.as_ref(), &mut status);
    status
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
                Some(format!("the metrics show {}", words::size_words(facts.batch_size))),
            );
        }
        Some(ControlState::Overdue) => push(
            Event::Overdue,
            revision,
            None,
            attempt,
            Some(format!("the metrics show {}", words::size_words(facts.batch_size))),
        ),
        Some(ControlState::Reverted) => push(Event::Reverted, revision, None, attempt, None),
        _ => {}
    }
    out
}
