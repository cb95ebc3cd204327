//! From a proposal to an approval: the one path on which a control file comes to be written.
//!
//! A proposal is drawn up, looked at in a dialog that shows the difference, the evidence and the
//! guards; each blocking guard is overridden by its own key; only then does a second, deliberate
//! key send the approval, which names the proposal that was on the screen.

use super::app::{App, Approval, Popup, View};
use super::keymap::Action;
use super::{rows, words};
use crate::command::{Change, Command};
use crate::snapshot::*;

/// Seconds of the monitor's clock after which an unchanged answer counts as the new one.
const SAME_ANSWER_AFTER: f64 = 2.0;

pub(crate) fn update(app: &mut App, action: Action, snapshot: &Snapshot) -> Option<Command> {
    let run = rows::selected(app, snapshot)?;
    let propose = |change| Some(Command::Propose { run: run.id.clone(), change });
    if matches!(
        action,
        Action::ProposeLarger
            | Action::ProposeSmaller
            | Action::ProposeUnitMore
            | Action::ProposeUnitLess
            | Action::ProposeLater
            | Action::ProposeEarlier
    ) {
        // What is being tried stands last among the policies: its worth is looked at as it changes.
        app.policy = Some(usize::MAX);
    }
    match action {
        Action::Override(n) => toggle_override(app, n, snapshot),
        Action::Write => return write(app, snapshot),
        _ if snapshot.read_only => {
            app.said = Some("read only: nothing can be proposed or written".into());
        }
        Action::ProposePlan if run.plan.as_ref().is_none_or(|p| p.schedule.is_empty()) => {
            app.said = Some(format!("no plan for {} yet: {}", run.id, run.verdict.text));
        }
        Action::ProposePlan => return propose(Change::Plan),
        Action::ProposeUndo if run.control.revision.is_none() => {
            app.said = Some("nothing to undo: no revision was written".into());
        }
        Action::ProposeUndo => return propose(Change::Undo),
        Action::ProposeLarger => return propose_batch(app, run, |b, _| b.saturating_mul(2)),
        Action::ProposeSmaller => return propose_batch(app, run, |b, unit| (b / 2).max(unit)),
        Action::ProposeUnitMore => return propose_batch(app, run, |b, u| b.saturating_add(u)),
        Action::ProposeUnitLess => {
            return propose_batch(app, run, |b, u| b.saturating_sub(u).max(u));
        }
        Action::ProposeLater => return move_change(app, run, 1.0),
        Action::ProposeEarlier => return move_change(app, run, -1.0),
        Action::Withdraw if run.control.proposal.is_some() => {
            return Some(Command::Withdraw { run: run.id.clone() });
        }
        Action::Withdraw => app.said = Some("there is no proposal to withdraw".into()),
        Action::Review => review(app, run),
        _ => {}
    }
    None
}

/// A batch size from what is proposed, else from what is in force; in the trainer's units.
fn propose_batch(app: &mut App, run: &RunView, to: impl Fn(u64, u64) -> u64) -> Option<Command> {
    let proposed = run.control.proposal.as_ref().and_then(|p| p.schedule.last());
    let now = run.batch_size.filter(|b| b.is_finite() && *b >= 1.0).map(|b| b.round() as u64);
    let Some(from) = proposed.map(|e| e.batch_size_tokens).or(now) else {
        app.said = Some(format!("the batch size of {} is not known", run.id));
        return None;
    };
    let given = run.control.trainer.as_ref().and_then(|t| t.unit_tokens).filter(|u| *u > 0);
    // Without a known unit a step is an eighth.
    let unit = given.unwrap_or((from / 8).max(1));
    let wanted = to(from, unit);
    let batch_size_tokens = given.map_or(wanted, |u| (wanted / u).max(1) * u);
    Some(Command::Propose {
        run: run.id.clone(),
        change: Change::BatchSize { batch_size_tokens, at_tokens: None },
    })
}

/// The proposal by 5 % of the tokens so far later or earlier.
fn move_change(app: &mut App, run: &RunView, by: f64) -> Option<Command> {
    let now = run.tokens.filter(|t| (0.0..1e18).contains(t));
    let (Some(now), Some(_)) = (now, &run.control.proposal) else {
        app.said = Some("no change is proposed: p the plan, + or - a batch size".into());
        return None;
    };
    let by_tokens = (by * (now * 0.05).max(1.0)).round() as i64;
    Some(Command::Propose { run: run.id.clone(), change: Change::Move { by_tokens } })
}

fn review(app: &mut App, run: &RunView) {
    match &run.control.proposal {
        Some(p) => {
            app.view = View::Schedule;
            app.selected = Some(run.id.clone());
            app.popup = Some(Popup::Approval(Approval {
                run: run.id.clone(),
                number: p.number,
                ..Approval::default()
            }));
        }
        None => {
            app.said = Some("nothing is proposed: p the plan, + or - a batch size, u undo".into());
        }
    }
}

/// The proposal that a dialog is about, if it is still the one on the table.
pub(crate) fn proposal<'a>(a: &Approval, snapshot: &'a Snapshot) -> Option<&'a Proposal> {
    let run = snapshot.runs.iter().find(|r| r.id == a.run)?;
    run.control.proposal.as_ref().filter(|p| p.number == a.number)
}

/// Guards that block, in the order of their numbers in the dialog.
pub(crate) fn blocking(proposal: &Proposal) -> impl Iterator<Item = &GuardAnswer> {
    proposal.guards.iter().filter(|g| g.blocks)
}

fn toggle_override(app: &mut App, n: u8, snapshot: &Snapshot) {
    let Some(Popup::Approval(a)) = &mut app.popup else { return };
    a.said = None;
    let Some(p) = proposal(a, snapshot) else { return };
    let Some(guard) = blocking(p).nth(usize::from(n).saturating_sub(1)) else {
        a.said = Some(format!("no blocking guard has the number {n}"));
        return;
    };
    match a.overrides.iter().position(|g| *g == guard.name) {
        Some(at) => drop(a.overrides.remove(at)),
        None => a.overrides.push(guard.name),
    }
}

fn write(app: &mut App, snapshot: &Snapshot) -> Option<Command> {
    let Some(Popup::Approval(a)) = &mut app.popup else { return None };
    if snapshot.read_only {
        a.said = Some("read only: nothing is written".into());
        return None;
    }
    if a.sent.is_some() {
        a.said = Some("sent; waiting for the answer".into());
        return None;
    }
    let Some(p) = proposal(a, snapshot) else {
        a.said = Some("the proposal changed meanwhile: Esc, and look at the new one".into());
        return None;
    };
    let open: Vec<&str> =
        blocking(p).filter(|g| !a.overrides.contains(&g.name)).map(|g| g.name.as_str()).collect();
    if !open.is_empty() {
        a.said = Some(format!("nothing written: {} blocks", open.join(", ")));
        return None;
    }
    a.sent = Some((p.answer.clone(), snapshot.at));
    // Only guards that block now are overridden: an old mark must not speak for a new answer.
    let overrides = blocking(p).map(|g| g.name).filter(|g| a.overrides.contains(g)).collect();
    Some(Command::Approve { run: a.run.clone(), proposal: a.number, overrides })
}

/// Closes the dialog once its answer is there, and says the answer.
pub(crate) fn settle(app: &mut App, snapshot: &Snapshot) {
    let Some(Popup::Approval(a)) = &app.popup else { return };
    let Some((before, at)) = &a.sent else { return };
    let answer = match proposal(a, snapshot) {
        Some(p) if p.answer != *before => p.answer.clone(),
        Some(p) if snapshot.at - at > SAME_ANSWER_AFTER => p.answer.clone(),
        Some(_) => None,
        // The proposal is gone: it was written, or let go by someone else.
        None => Some(outcome(a, snapshot)),
    };
    if answer.is_some() {
        app.said = answer;
        app.popup = None;
    }
}

fn outcome(a: &Approval, snapshot: &Snapshot) -> String {
    let control = snapshot.runs.iter().find(|r| r.id == a.run).map(|r| &r.control);
    match control.and_then(|c| Some((c.revision?, c.state?))) {
        Some((revision, state)) => format!("revision {revision}: {}", words::control(state).0),
        None => "the proposal is gone; see the control log".into(),
    }
}
