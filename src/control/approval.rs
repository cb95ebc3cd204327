//! A change that is drawn up, and the only place where an approval of one is made.

use super::audit::{AuditLine, Author, Event};
use super::protocol::{Entry, Evidence, check_schedule};
use crate::advice::{GuardAnswer, GuardName};

/// A change that a person is asked about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    pub run: String,
    /// The whole instruction, not the change alone.
    pub schedule: Vec<Entry>,
    /// The batch size (tokens) that the trainer's next step must have for it to be accepted.
    pub expect: Option<u64>,
    /// Too late once the trainer has seen more tokens.
    pub not_after: Option<u64>,
    pub evidence: Evidence,
    /// The revision that this one takes back, for an undo.
    pub undoes: Option<u64>,
}

impl Draft {
    /// A line of now for the audit.
    pub fn line(&self, event: Event, revision: Option<u64>, who: &Author) -> AuditLine {
        let mut line = AuditLine::new(event, &self.run, revision, who);
        line.schedule.clone_from(&self.schedule);
        line.evidence = Some(self.evidence.clone());
        line
    }
}

/// The key to one write: of exactly this draft, by this person. Only [`approve`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    draft: Draft,
    overridden: Vec<GuardName>,
    who: Author,
}

impl Approval {
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The guards that stood against it and were overridden by name.
    pub fn overridden(&self) -> &[GuardName] {
        &self.overridden
    }

    pub fn who(&self) -> &Author {
        &self.who
    }
}

/// Why a draft cannot be approved.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("not approved: {}", .reasons.join("; "))]
pub struct Blocked {
    /// Guards that block and were not overridden.
    pub guards: Vec<GuardName>,
    /// In words, with what to do.
    pub reasons: Vec<String>,
}

impl From<Blocked> for crate::error::Error {
    fn from(blocked: Blocked) -> Self {
        crate::error::Error::Refused(blocked.to_string())
    }
}

/// Approves a draft, unless a guard blocks that `overrides` does not name.
///
/// # Errors
/// [`Blocked`] with every guard that stands against it, or with what is wrong with the schedule.
pub fn approve(
    draft: Draft,
    guards: &[GuardAnswer],
    overrides: &[GuardName],
    who: &Author,
) -> Result<Approval, Blocked> {
    let blocking = || guards.iter().filter(|g| g.blocks);
    let mut reasons: Vec<String> = Vec::new();
    let mut names = Vec::new();
    for guard in blocking().filter(|g| !overrides.contains(&g.name)) {
        names.push(guard.name);
        reasons.push(format!("{}: {}", guard_word(guard.name), guard.text));
    }
    if let Err(why) = check_schedule(&draft.schedule) {
        reasons.push(why);
    }
    if draft.run.is_empty() {
        reasons.push("the run has no id: name it in the trainer's `ready` or with --run".into());
    }
    if !reasons.is_empty() {
        return Err(Blocked { guards: names, reasons });
    }
    let mut overridden = Vec::new();
    for guard in blocking() {
        if !overridden.contains(&guard.name) {
            overridden.push(guard.name);
        }
    }
    Ok(Approval { draft, overridden, who: who.clone() })
}

/// The name of a guard as it is written on a command line.
pub fn guard_word(name: GuardName) -> String {
    match serde_json::to_value(name) {
        Ok(serde_json::Value::String(word)) => word,
        _ => format!("{name:?}"),
    }
}
