//! Which runs, groups and levels are looked at: filter, order, selection.

use super::app::{App, OverviewState, SortKey};
use super::words;
use crate::snapshot::*;
use std::cmp::Ordering;

/// The runs of the overview, filtered and in order.
pub(crate) fn rows<'a>(state: &OverviewState, snapshot: &'a Snapshot) -> Vec<&'a RunView> {
    let needle = state.filter.to_lowercase();
    let mut rows: Vec<&RunView> =
        snapshot.runs.iter().map(AsRef::as_ref).filter(|r| matches(r, &needle)).collect();
    if state.sort != SortKey::Found {
        // What is not known stands last in either direction.
        rows.sort_by(|a, b| order(state.sort, state.reversed, a, b));
    } else if state.reversed {
        rows.reverse();
    }
    let group = |r: &RunView| state.grouped.then(|| group_place(r, snapshot));
    rows.sort_by_cached_key(|r| (!state.pinned.contains(&r.id), group(r)));
    rows
}

/// Where a run's group stands among the groups; the runs of none stand last.
fn group_place(run: &RunView, snapshot: &Snapshot) -> usize {
    let groups = &snapshot.fit.report.groups;
    let found = groups.iter().position(|g| Some(&g.id) == run.group.as_ref());
    found.unwrap_or(groups.len())
}

/// Every word of the filter is found in the run's id, group, state, phase or verdict.
fn matches(run: &RunView, needle: &str) -> bool {
    let (_, state, _) = words::state(run.state);
    let hay = format!(
        "{} {} {state} {} {}",
        run.id,
        run.group.as_deref().unwrap_or_default(),
        words::phase(run.phase),
        run.verdict.text
    )
    .to_lowercase();
    needle.split_whitespace().all(|w| hay.contains(w))
}

fn order(key: SortKey, reversed: bool, a: &RunView, b: &RunView) -> Ordering {
    let number = |f: fn(&RunView) -> Option<f64>| match (f(a), f(b)) {
        (Some(x), Some(y)) if reversed => y.total_cmp(&x),
        (Some(x), Some(y)) => x.total_cmp(&y),
        (x, y) => y.is_some().cmp(&x.is_some()),
    };
    let flip = |o: Ordering| if reversed { o.reverse() } else { o };
    match key {
        SortKey::Found => Ordering::Equal,
        SortKey::Run => flip(a.id.cmp(&b.id)),
        SortKey::Tokens => number(|r| r.tokens),
        SortKey::Loss => number(|r| r.loss),
        SortKey::Batch => number(|r| r.batch_size),
        SortKey::BOpt => number(|r| r.b_opt.and_then(|i| i.value.or(i.high).or(i.low))),
        SortKey::Lost => number(|r| r.excess_tokens),
        SortKey::Verdict => flip(urgency(a).cmp(&urgency(b))),
        SortKey::LastWrite => number(|r| r.last_write),
    }
}

fn urgency(r: &RunView) -> u8 {
    match r.verdict.kind {
        VerdictKind::Raise => 0,
        VerdictKind::Lower => 1,
        VerdictKind::Hold => 2,
        VerdictKind::CannotTell => 3,
    }
}

/// Row of the selected run.
pub(crate) fn selected_row(app: &App, rows: &[&RunView]) -> usize {
    app.selected.as_ref().and_then(|id| rows.iter().position(|r| r.id == *id)).unwrap_or(0)
}

/// The selected run: by its id, else the first one.
pub(crate) fn selected<'a>(app: &App, snapshot: &'a Snapshot) -> Option<&'a RunView> {
    app.selected
        .as_ref()
        .and_then(|id| snapshot.runs.iter().find(|r| r.id == *id))
        .map(AsRef::as_ref)
        .or_else(|| rows(&app.overview, snapshot).first().copied())
}

/// The policies side by side: those of the proposal on the table, since its own schedule is among
/// them, else those of the plan.
pub(crate) fn policies(run: &RunView) -> &[PolicyOutcome] {
    let proposed = run.control.proposal.as_ref().map(|p| p.policies.as_slice());
    let planned = || run.plan.as_ref().map(|p| p.policies.as_slice());
    proposed.filter(|p| !p.is_empty()).or_else(planned).unwrap_or_default()
}

/// Row of the policy that is looked at: the planned one until another was chosen, for that is what
/// approval would write.
pub(crate) fn policy_row(app: &App, policies: &[PolicyOutcome]) -> usize {
    let planned = || policies.iter().position(|p| p.policy == Policy::Planned).unwrap_or(0);
    app.policy.unwrap_or_else(planned).min(policies.len().saturating_sub(1))
}

/// The policy that is looked at.
pub(crate) fn policy<'a>(app: &App, policies: &'a [PolicyOutcome]) -> Option<&'a PolicyOutcome> {
    policies.get(policy_row(app, policies))
}

/// The group of the curve view.
pub(crate) fn group<'a>(app: &App, snapshot: &'a Snapshot) -> Option<&'a GroupFit> {
    let groups = &snapshot.fit.report.groups;
    let wanted = app.curve.group.clone().or_else(|| selected(app, snapshot)?.group.clone());
    wanted.and_then(|id| groups.iter().find(|g| g.id == id)).or_else(|| groups.first())
}

/// Place of the level looked at in the group's list.
pub(crate) fn level(app: &App, group: &GroupFit) -> Option<usize> {
    let levels = &group.levels;
    match app.curve.level {
        Some(loss) => levels
            .iter()
            .enumerate()
            .min_by(|a, b| (a.1.loss - loss).abs().total_cmp(&(b.1.loss - loss).abs()))
            .map(|(i, _)| i),
        None => levels.iter().rposition(|l| l.model.is_some()).or(levels.len().checked_sub(1)),
    }
}
