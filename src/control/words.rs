//! Lines of the files in words, and the log that a person reads.

use super::approval::guard_word;
use super::audit::{Event, LogLine};
use super::facts::Facts;
use super::protocol::{Ack, AckStatus, plain};
use super::read::Files;
use crate::units;

/// Lines of the log that a screen gets.
const LOG_LINES: usize = 400;

pub(super) fn size_words(batch_size: Option<f64>) -> String {
    batch_size
        .map_or("an unknown batch size".into(), |b| format!("{} tokens a step", units::count(b)))
}

pub(super) fn overdue_words(facts: &Facts, said: Option<&Ack>) -> String {
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
pub(super) fn reason_words(line: Option<&Ack>) -> String {
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
            let names: Vec<String> = a.guards_overridden.iter().map(|g| guard_word(*g)).collect();
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
        AckStatus::Rejected => reason_words(Some(a)),
        AckStatus::Applied => {
            format!("{} a step at {} tokens", count(a.batch_size_tokens), count(a.tokens))
        }
        AckStatus::Ready => format!("unit {}, at {} tokens", count(a.unit_tokens), count(a.tokens)),
        _ => format!("at {} tokens", count(a.tokens)),
    }
}
