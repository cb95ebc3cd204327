//! `boptop control`: the same desk as on the screen, from the shell.

use super::args::{Consent, ControlApprove, ControlChange, ControlRun, ControlUndo};
use super::{headless, output, settings};
use crate::clock;
use crate::command::{Change, Command};
use crate::error::{Error, ExitCode, Result};
use crate::monitor::Monitor;
use crate::report::{json, text};
use crate::snapshot::{Proposal, RunView};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

/// A monitor that has read everything, and the run that is asked for.
fn open(args: &ControlRun, fit: bool) -> Result<(Monitor, String)> {
    let settings = settings::all(&args.input, &args.fitting, &args.planning, &args.control)?;
    let mut monitor = headless::read(&args.input.paths, settings)?;
    let run = headless::choose(&mut monitor, args.run.as_deref())?;
    if fit {
        monitor.fit_now(clock::now());
        monitor.read_control(clock::now());
    }
    Ok((monitor, run))
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

/// The proposal on the table, or the words why there is none.
fn drawn_up(monitor: &mut Monitor, run: &str, change: Change) -> Result<Proposal> {
    monitor.command(Command::Propose { run: run.into(), change }, clock::now());
    let view = look(monitor, run)?;
    view.control.proposal.clone().ok_or_else(|| {
        let why = view.control.notes.last().cloned();
        Error::Refused(why.unwrap_or_else(|| format!("nothing to propose for {run}")))
    })
}

pub fn propose(args: &ControlChange) -> Result<ExitCode> {
    let (mut monitor, run) = open(&args.on, true)?;
    let proposal = drawn_up(&mut monitor, &run, change(args))?;
    if args.on.json {
        let view = look(&mut monitor, &run)?;
        output::json(&json::control(&run, &view.control, false))
    } else {
        output::text(&text::proposal(&run, &proposal))
    }
}

pub fn approve(args: &ControlApprove) -> Result<ExitCode> {
    write(&args.change.on, change(&args.change), &args.consent)
}

pub fn undo(args: &ControlUndo) -> Result<ExitCode> {
    write(&args.on, Change::Undo, &args.consent)
}

fn write(on: &ControlRun, change: Change, consent: &Consent) -> Result<ExitCode> {
    let (mut monitor, run) = open(on, true)?;
    let before = look(&mut monitor, &run)?.control.revision;
    let proposal = drawn_up(&mut monitor, &run, change)?;
    if !on.json {
        output::text(&text::proposal(&run, &proposal))?;
    }
    if !consent.yes && !asked()? {
        return Err(Error::Refused("not approved: nothing was written".into()));
    }
    let number = proposal.number;
    let overrides = consent.overrides.clone();
    monitor
        .command(Command::Approve { run: run.clone(), proposal: number, overrides }, clock::now());
    let view = look(&mut monitor, &run)?;
    let wrote = view.control.revision > before && view.control.proposal.is_none();
    if on.json {
        output::json(&json::control(&run, &view.control, wrote))?;
    }
    let answer = view.control.proposal.as_ref().and_then(|p| p.answer.clone());
    let answer = answer.or_else(|| view.control.notes.last().cloned()).unwrap_or_default();
    if !wrote {
        return Err(Error::Refused(answer));
    }
    if !on.json {
        output::text(&answer)?;
    }
    Ok(ExitCode::Answered)
}

/// A typed yes at a terminal; without one, nothing is approved silently.
fn asked() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage("no terminal to ask at: approve with --yes".into()));
    }
    eprint!("Write this to the control file? Type yes: ");
    std::io::stderr().flush().map_err(|e| Error::io("terminal", e))?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Error::io("terminal", e))?;
    Ok(line.trim() == "yes")
}
