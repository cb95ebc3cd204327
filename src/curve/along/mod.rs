//! The law with memory from runs that changed their batch size: branches of one checkpoint, or a sweep
//! whose runs all begin with a batch ramp.
//!
//! Where too few sizes were trained from the start for a law of constant runs, every bin counts with
//! the past of its run, and law and memory are fitted at once ([`model`]). It speaks under three
//! conditions, each told where it is not met: enough batch sizes; one end of the memory excluded (all
//! forgotten at once, nothing at all); and a batch size left out is predicted from the others to half of
//! what its change did.

mod law;
mod levels;
mod model;
mod set;
mod spread;
#[cfg(test)]
mod tests;
mod windows;

pub(super) use levels::{Shown, fill};

use super::model::Refusal;
use super::report::{LawFit, RunUse};
use super::series::{ConstantSeries, Group, SwitchedSeries};
use windows::Tried;

/// A law from batch changes, and the runs whose changes it rests on.
#[derive(Debug)]
pub(super) struct Along {
    pub law: LawFit,
    pub runs: Vec<String>,
}

/// Whether most of what a sweep trained came after its runs had changed their batch size: the first
/// stretches, which are all that a law of constant runs sees, are then a small part of it.
pub(super) fn carries(group: &Group, constant: &[&ConstantSeries]) -> bool {
    let (mut first, mut whole) = (0.0, 0.0);
    for s in constant {
        let changed = group.switched.iter().find(|c| c.run == s.run);
        let last = changed.and_then(|c| c.bins.last()).map_or(s.to_tokens, |b| b.tokens);
        first += s.to_tokens;
        whole += last.max(s.to_tokens);
    }
    first < 0.5 * whole
}

/// The law of a group's constant and changed runs; what it lacks where there is none. `None` where no
/// run changed its batch size: there is nothing to add to the constant ones.
pub(super) fn fit(
    group: &Group,
    constant: &[&ConstantSeries],
    (draws, seed): (usize, u64),
) -> Option<Result<Along, Refusal>> {
    let changed = changed(group);
    if changed.is_empty() {
        return None;
    }
    let law = Tried::all(constant, &changed)
        .and_then(|tried| law::of(group, (constant, &changed), &tried, (draws, seed)));
    let runs = changed.iter().map(|s| s.run.clone()).collect();
    Some(law.map(|law| Along { law, runs }))
}

/// The runs whose changes count are used.
pub(super) fn used(runs: &mut [RunUse], changed: &[String]) {
    for run in runs.iter_mut().filter(|r| changed.contains(&r.id)) {
        run.used = true;
        run.why = Some("changes its batch size: fitted along its changes".into());
    }
}

/// Runs that changed, each training once; not those that drift.
fn changed(group: &Group) -> Vec<&SwitchedSeries> {
    let drifts = |run: &str| group.constant.iter().any(|c| c.run == run && c.drifts_upward);
    let mut out: Vec<&SwitchedSeries> = Vec::new();
    for s in group.switched.iter().filter(|s| !drifts(&s.run)) {
        if !out.iter().any(|o| o.stretches == s.stretches && o.bins == s.bins) {
            out.push(s);
        }
    }
    out
}
