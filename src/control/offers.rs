//! Proposals that nobody has decided on: so that two people at two terminals see each other's.

use super::audit::{AuditLine, Event};
use super::protocol::{Entry, plain};
use crate::units;

/// So many are shown, the newest ones.
const SHOWN: usize = 3;

/// A proposal in the audit that no approval has followed. All texts are fit for a screen.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// RFC 3339, UTC.
    pub at: String,
    /// `user@host`.
    pub by: String,
    pub schedule: Vec<Entry>,
}

impl Offer {
    /// Who proposes what since when.
    pub fn words(&self) -> String {
        let entries = self.schedule.iter().map(|e| {
            let (from, size) = (e.from_tokens as f64, e.batch_size_tokens as f64);
            format!("{} tokens a step from {}", units::count(size), units::count(from))
        });
        let entries = entries.collect::<Vec<_>>().join(", ");
        format!("proposed by {} at {}, not decided: {entries}", self.by, self.at)
    }
}

/// The newest proposals since the last approval, oldest first, each schedule once for each author.
pub(super) fn open(audit: &[AuditLine]) -> Vec<Offer> {
    let decided = audit.iter().rposition(|a| matches!(a.event, Event::Approved | Event::Written));
    let since = &audit[decided.map_or(0, |i| i + 1)..];
    let mut out: Vec<Offer> = Vec::new();
    for line in since.iter().filter(|a| a.event == Event::Proposed) {
        let by = plain(&format!("{}@{}", line.user, line.host));
        out.retain(|o| (&o.by, &o.schedule) != (&by, &line.schedule));
        out.push(Offer { at: plain(&line.at), by, schedule: line.schedule.clone() });
    }
    out.split_off(out.len().saturating_sub(SHOWN))
}
