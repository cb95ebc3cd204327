//! What a person reads about a run's control: the notes beside its state, and its log.

use super::audit::{Event, LogLine};
use super::protocol::{Ack, AckStatus, plain};
use super::read::{Control, Files};
use super::state::{ControlState, Signs};
use super::status::{Facts, Status, slack};
use crate::units;

/// Lines of the log that a screen gets.
const LOG_LINES: usize = 400;

pub(super) fn remark(files: &Files, facts: &Facts, signs: Option<&Signs>, status: &mut Status) {
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
                notes.push(format!("the trainer rejected revision {revision}: {}", words(line)));
            }
            Some(ControlState::Written) if acks.lines.is_empty() => notes.push(
                "no acknowledgement so far: whether a trainer reads the file is unknown".into(),
            ),
            Some(ControlState::Overdue) => notes.push(overdue_words(facts, said)),
            Some(ControlState::Reverted) => notes.push(format!(
                "revision {revision} was in force and a restart lost it: the run trains at {}",
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

pub(super) fn size_words(batch_size: Option<f64>) -> String {
    batch_size
        .map_or("an unknown batch size".into(), |b| format!("{} tokens a step", units::count(b)))
}

fn overdue_words(facts: &Facts, said: Option<&Ack>) -> String {
    let measured = size_words(facts.batch_size);
    match said.and_then(|a| a.batch_size_tokens) {
        Some(size) => format!(
            "the trainer says that it runs at {}, the metrics show {measured}",
            units::count(size as f64)
        ),
        None => format!("the run is past the change and still trains at {measured}"),
    }
}

/// The trainer's reason, fit for a screen.
fn words(line: Option<&Ack>) -> String {
    let Some(a) = line else { return "no reason given".into() };
    let reason = a.reason.as_deref().unwrap_or("no reason given");
    match a.detail.as_deref() {
        Some(detail) => plain(&format!("{reason} ({detail})")),
        None => plain(reason),
    }
}

/// The audit and the trainer's lines in the order of their times.
pub(super) fn log(files: &Files) -> Vec<LogLine> {
    let audit = files.audit.iter().filter(|a| {
        // The trainer's own line says it better.
        !matches!(a.event, Event::Accepted | Event::Rejected)
    });
    let audited = audit.map(|a| {
        let mut text = a.reason.as_deref().map(plain).unwrap_or_default();
        if !a.guards_overridden.is_empty() {
            let names: Vec<String> =
                a.guards_overridden.iter().map(|g| super::state::guard_word(*g)).collect();
            text = format!("{text} overridden: {}", names.join(", ")).trim().to_string();
        }
        LogLine {
            at: plain(&a.at),
            event: a.event.word().into(),
            revision: a.revision,
            by: plain(&format!("{}@{}", a.user, a.host)),
            text,
        }
    });
    let acked = files.acks.lines.iter().map(|a| LogLine {
        at: a.time.as_deref().map(plain).unwrap_or_default(),
        event: match a.status {
            AckStatus::Ready => "ready",
            AckStatus::Accepted => "accepted",
            AckStatus::Applied => "applied",
            AckStatus::Rejected => "rejected",
            AckStatus::Ended => "ended",
        }
        .into(),
        revision: a.revision,
        by: format!("trainer {}", plain(&a.attempt)),
        text: ack_words(a),
    });
    let mut lines: Vec<LogLine> = audited.chain(acked).collect();
    // By instant; within one second the order of the files stands.
    let instant = |l: &LogLine| l.at.parse::<jiff::Timestamp>().ok().map(|t| t.as_second());
    lines.sort_by_key(instant);
    lines.split_off(lines.len().saturating_sub(LOG_LINES))
}

fn ack_words(a: &Ack) -> String {
    let count = |x: Option<u64>| x.map_or("?".into(), |x| units::count(x as f64));
    match a.status {
        AckStatus::Rejected => words(Some(a)),
        AckStatus::Applied => {
            format!("{} a step at {} tokens", count(a.batch_size_tokens), count(a.tokens))
        }
        AckStatus::Ready => format!("unit {}, at {} tokens", count(a.unit_tokens), count(a.tokens)),
        _ => format!("at {} tokens", count(a.tokens)),
    }
}
