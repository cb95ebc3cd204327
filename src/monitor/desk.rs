//! The control desk of one run: what its files say, the proposal on the table, approvals.

use crate::advice::{self, Entry, GuardName, Plan, PlanOptions, Situation};
use crate::command::Change;
use crate::control::protocol::{Evidence, Paths};
use crate::control::{self, Author, Draft, Facts, Files, Status, WriteOptions};
use crate::curve::GroupFit;
use crate::run::{self, RunData};
use crate::snapshot::{ControlView, Proposal};
use crate::units;

#[derive(Debug)]
pub(super) struct Desk {
    /// `None`: the run has no place for control files (standard input without `--control`).
    paths: Option<Paths>,
    files: Files,
    status: Status,
    proposal: Option<OnTable>,
    proposals: u64,
    lead_seconds: f64,
    /// What became of the last command, when no proposal is there to carry the answer.
    said: Option<String>,
}

/// A proposal, and the revision that was newest when it was drawn up.
#[derive(Debug, Clone)]
struct OnTable {
    shown: Proposal,
    based_on: Option<u64>,
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
