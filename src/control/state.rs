//! The life of a revision as one pure table, and the only place where an approval is made.

use super::audit::Author;
use super::protocol::{Entry, Evidence, check_schedule};
use crate::advice::{GuardAnswer, GuardName};
use serde::Serialize;

/// State of the newest revision, or of the proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlState {
    Proposed,
    Approved,
    Written,
    Accepted,
    Applied,
    Rejected,
    Overdue,
    Reverted,
    Superseded,
    Undone,
}

/// What the files and the metrics show of one revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// It was published under `NAME.control.json`.
    pub written: bool,
    /// The trainer's last word on it.
    pub accepted: bool,
    pub rejected: bool,
    /// A later start has another revision in force, or none.
    pub lost: bool,
    /// The run is past the change that it brings (past its newest one, if it brings several).
    pub due: bool,
    /// More tokens are logged past that change than a log line or two explain.
    pub late: bool,
    /// The batch size in the metrics is the one that it orders now; `None`: they do not show one.
    pub seen: Option<bool>,
    /// The metrics showed the change before.
    pub was_seen: bool,
    /// The trainer accepted a newer one.
    pub replaced: bool,
    /// ... which was an undo of this one.
    pub undone: bool,
}

/// The table, read from the top; the first row that fits is the state.
pub fn state_of(s: &Signs) -> ControlState {
    use ControlState::*;
    match s {
        Signs { replaced: true, undone: true, .. } => Undone,
        Signs { replaced: true, .. } => Superseded,
        Signs { written: false, accepted: false, rejected: false, .. } => Approved,
        Signs { rejected: true, .. } => Rejected,
        Signs { lost: true, .. } => Reverted,
        Signs { accepted: true, due: true, seen: Some(true), .. } => Applied,
        Signs { accepted: true, late: true, seen: Some(false), was_seen: true, .. } => Reverted,
        // A trainer that says so where the metrics carry no batch size: unknown, never success.
        Signs { accepted: true, seen: None, .. } => Accepted,
        Signs { accepted: true, late: true, .. } => Overdue,
        Signs { accepted: true, .. } => Accepted,
        Signs { late: true, seen: Some(true), .. } => Written,
        Signs { late: true, .. } => Overdue,
        _ => Written,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_row_of_the_table() {
        use ControlState::*;
        let none = Signs::default();
        let written = Signs { written: true, ..none };
        let accepted = Signs { accepted: true, seen: Some(false), ..written };
        let due = Signs { due: true, ..accepted };
        let rows = [
            (none, Approved),
            (written, Written),
            (accepted, Accepted),
            (due, Accepted),
            (Signs { seen: Some(true), ..accepted }, Accepted),
            (Signs { seen: Some(true), ..due }, Applied),
            (Signs { late: true, ..due }, Overdue),
            (Signs { late: true, was_seen: true, ..due }, Reverted),
            (Signs { late: true, seen: None, ..due }, Accepted),
            (Signs { lost: true, seen: Some(true), ..due }, Reverted),
            (Signs { rejected: true, ..written }, Rejected),
            (Signs { late: true, ..written }, Overdue),
            (Signs { late: true, due: true, seen: Some(true), ..written }, Written),
            (Signs { replaced: true, seen: Some(true), ..due }, Superseded),
            (Signs { replaced: true, undone: true, seen: Some(true), ..due }, Undone),
        ];
        for (signs, state) in rows {
            assert_eq!(state_of(&signs), state, "{signs:?}");
        }
    }

    proptest! {
        /// Applied is never said without both the trainer's word and the metrics.
        #[test]
        fn applied_needs_the_word_and_the_sight(bits in any::<[bool; 9]>(), seen in any::<Option<bool>>()) {
            let [written, accepted, rejected, lost, due, late, was_seen, replaced, undone] = bits;
            let signs = Signs { written, accepted, rejected, lost, due, late, seen, was_seen, replaced, undone };
            if state_of(&signs) == ControlState::Applied {
                prop_assert!(accepted && due && seen == Some(true) && !rejected && !lost && !replaced);
            }
        }
    }
}
