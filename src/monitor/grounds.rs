//! What a change rests on: for the trainer, for the audit, and in words.

use super::desk::Case;
use crate::advice::Entry;
use crate::control::protocol::{Evidence, entry_at};
use crate::run::{self, RunData};
use crate::units;

/// The batch size that the trainer's next step should have (`now` and `not_after` in its count);
/// `None` where the log does not state it exactly, or where the schedule in force changes it
/// before the revision may be seen: then any one size could be the wrong one.
pub(super) fn expected(
    data: &RunData,
    in_force: &[Entry],
    now: u64,
    not_after: Option<u64>,
) -> Option<u64> {
    let exact = !matches!(data.batch_source, run::BatchSource::Derived | run::BatchSource::Unknown);
    let logged = data.batch_size().filter(|_| exact)?.round() as u64;
    let until = not_after.unwrap_or(now);
    let changes = in_force.iter().any(|e| e.from_tokens > now && e.from_tokens <= until);
    // A change that the next log line will show acts already.
    let differs = entry_at(in_force, now).is_some_and(|e| e.batch_size_tokens != logged);
    (!changes && !differs).then_some(logged)
}

pub(super) fn evidence(case: Case<'_>) -> Evidence {
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

pub(super) fn evidence_words(case: Case<'_>, estimated_at: Option<f64>) -> Vec<String> {
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
