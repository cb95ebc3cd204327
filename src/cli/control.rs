//! `boptop control`: the same desk as on the screen, from the shell.

use super::args::{ControlApprove, ControlChange, ControlRun, ControlUndo};
use super::flags::Consent;
use super::{headless, output, settings};
use crate::clock;
use crate::command::{Change, Command};
use crate::error::{Error, ExitCode, Result};
use crate::monitor::Monitor;
use crate::report::{json, text};
use crate::snapshot::{Proposal, RunView};
use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

/// A monitor that has read everything, and the run that is asked for.
fn open(args: &ControlRun, fit: bool) -> Result<(Monitor, String)> {
    open_at(args, fit, None, None)
}

fn open_at(
    args: &ControlRun,
    fit: bool,
    seen: Option<u64>,
    decide: Option<f64>,
) -> Result<(Monitor, String)> {
    let one = &args.one;
    let mut settings = settings::all(&one.runs, &one.control)?;
    settings.seen_revision = seen;
    settings.decide_seconds = decide;
    let mut monitor = headless::read(&one.runs.input, settings)?;
    let run = headless::choose(&mut monitor, one.run.as_deref())?;
    if fit {
        monitor.fit_now(clock::now());
        read_on(&mut monitor);
    }
    Ok((monitor, run))
}

/// The run went on while something was fitted, or a person thought.
fn read_on(monitor: &mut Monitor) {
    while monitor.read(8 << 20) {}
    monitor.read_control(clock::now());
}

fn look(monitor: &mut Monitor, run: &str) -> Result<Arc<RunView>> {
    let snapshot = monitor.snapshot(clock::now());
    let found = snapshot.runs.into_iter().find(|r| r.id == run);
    found.ok_or_else(|| Error::Usage(format!("run {run} is gone")))
}

pub fn show(args: &ControlRun) -> Result<ExitCode> {
    let (mut monitor, run) = open(args, false)?;
    let view = look(&mut monitor, &run)?;
    if args.json {
        output::json(&json::control(&run, &view.control, false))
    } else {
        output::text(&text::control(&run, &view.control))
    }
}

fn change(args: &ControlChange) -> Change {
    match args.batch_size {
        Some(size) => Change::BatchSize {
            batch_size_tokens: size as u64,
            at_tokens: args.at_tokens.map(|t| t as u64),
        },
        None => Change::Plan,
    }
}

/// Draws up the change. `Err`: the words why there is nothing to propose.
fn drawn_up(monitor: &mut Monitor, run: &str, change: Change) -> Result<Result<Proposal, String>> {
    monitor.command(Command::Propose { run: run.into(), change }, clock::now());
    let view = look(monitor, run)?;
    Ok(view.control.proposal.clone().ok_or_else(|| {
        let why = view.control.notes.last().cloned();
        why.unwrap_or_else(|| format!("nothing to propose for {run}"))
    }))
}

/// Answers, also where the answer is that there is nothing to propose.
pub fn propose(args: &ControlChange) -> Result<ExitCode> {
    let (mut monitor, run) = open(&args.on, true)?;
    let drawn = drawn_up(&mut monitor, &run, change(args))?;
    if args.on.json {
        let view = look(&mut monitor, &run)?;
        return output::json(&json::control(&run, &view.control, false));
    }
    match drawn {
        Ok(proposal) => output::text(&text::proposal(&run, &proposal)),
        Err(why) => output::text(&text::escaped(&format!("{run}: {why}"))),
    }
}

pub fn approve(args: &ControlApprove) -> Result<ExitCode> {
    write(&args.change.on, change(&args.change), &args.consent)
}

pub fn undo(args: &ControlUndo) -> Result<ExitCode> {
    write(&args.on, Change::Undo, &args.consent)
}

fn write(on: &ControlRun, change: Change, consent: &Consent) -> Result<ExitCode> {
    if !consent.yes && !std::io::stdin().is_terminal() {
        return Err(Error::Usage("no terminal to ask at: approve with --yes".into()));
    }
    // With --yes it is decided already.
    let decide = consent.yes.then_some(0.0);
    let (mut monitor, run) = open_at(on, true, consent.if_revision, decide)?;
    let before = look(&mut monitor, &run)?.control.revision;
    let drawn = drawn_up(&mut monitor, &run, change)?;
    if let Ok(proposal) = &drawn {
        let shown = text::proposal(&run, proposal);
        if !on.json {
            output::text(&shown)?;
        } else if !consent.yes {
            // What is asked about must be seen; stdout belongs to the JSON.
            output::talk(&shown);
        }
    }
    let outcome = match drawn {
        Err(why) => Err(why),
        Ok(_) if !consent.yes && !asked()? => Err("not approved: nothing was written".into()),
        Ok(proposal) => approved(&mut monitor, &run, proposal.number, before, consent)?,
    };
    if on.json {
        let view = look(&mut monitor, &run)?;
        output::json(&json::control(&run, &view.control, outcome.is_ok()))?;
    }
    match outcome {
        Ok(_) if on.json => Ok(ExitCode::Answered),
        Ok(answer) => output::text(&text::escaped(&answer)),
        Err(why) => Err(Error::Refused(why)),
    }
}

/// Approves the proposal: what was written, or why nothing was.
fn approved(
    monitor: &mut Monitor,
    run: &str,
    proposal: u64,
    before: Option<u64>,
    consent: &Consent,
) -> Result<Result<String, String>> {
    read_on(monitor);
    let overrides = consent.overrides.clone();
    let approve = Command::Approve { run: run.into(), proposal, overrides };
    monitor.command(approve, clock::now());
    let answer = look(monitor, run)?.control.notes.last().cloned().unwrap_or_default();
    // What the files say now is what is shown.
    read_on(monitor);
    let view = look(monitor, run)?;
    Ok(match &view.control.proposal {
        Some(refused) => Err(refused.answer.clone().unwrap_or(answer)),
        None if view.control.revision > before => Ok(answer),
        None => Err(answer),
    })
}

/// A typed yes at a terminal.
fn asked() -> Result<bool> {
    output::talk("Write this to the control file? Type yes: ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Error::io("terminal", e))?;
    Ok(line.trim() == "yes")
}
