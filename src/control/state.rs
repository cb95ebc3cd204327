//! The life of a revision as one pure table.

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
