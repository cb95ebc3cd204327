//! `boptop demo`: real training jobs in this process, and the ordinary monitor on top of them.

use super::args;
use super::{output, watch};
use crate::advice::PlanOptions;
use crate::clock;
use crate::command::{Change, Command};
use crate::demo::{Demo, DemoOptions};
use crate::error::{Error, ExitCode, Result};
use crate::monitor::{self, Handle, Monitor, Settings};
use crate::report::text;
use crate::run::{self, RunData};
use crate::snapshot::{ControlState, Entry, RunView, VerdictKind};
use crate::units;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The demo's trainers poll ten times a second, so a change needs no longer lead than this.
const LEAD_SECONDS: f64 = 1.0;
/// How often the headless demo looks whether its jobs have ended.
const LOOK: Duration = Duration::from_millis(200);

pub fn demo(args: &args::Demo) -> Result<ExitCode> {
    if !args.headless && !std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        return Err(Error::Usage(
            "standard output is no terminal: `boptop demo --headless --yes` runs the same without \
             one and ends with a report"
                .into(),
        ));
    }
    let place = Place::new(args.keep.as_deref())?;
    let demo = Demo::start(DemoOptions { dir: place.dir.clone(), seed: args.seed, pace: 1.0 })?;
    let handle = monitor::spawn(
        &[place.dir.display().to_string()],
        settings(demo.budget_tokens(), !args.headless),
    )?;
    if !args.headless {
        let code = watch::screen(handle, &args.screen)?;
        if code != ExitCode::Answered {
            return Ok(code);
        }
        let report = outcome(&demo, &place.dir)?;
        demo.stop();
        return output::text(&report);
    }
    let (demo, code) = headless(demo, handle, args.yes)?;
    if code != ExitCode::Answered {
        return Ok(code);
    }
    let report = outcome(&demo, &place.dir)?;
    demo.stop();
    output::text(&report)
}

/// The monitor knows the budget of the steered run, as its operator would; a person at the screen
/// takes some time to decide, a script does not.
fn settings(budget: u64, person: bool) -> Settings {
    Settings {
        decide_seconds: (!person).then_some(0.0),
        plan: PlanOptions { budget_tokens: Some(budget as f64), ..PlanOptions::default() },
        lead_seconds: Some(LEAD_SECONDS),
        ..Settings::default()
    }
}

/// Where the jobs write: the directory that was asked for, or one that goes away at the end.
struct Place {
    dir: PathBuf,
    temporary: bool,
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Place> {
        let dir = match keep {
            Some(dir) => dir.to_path_buf(),
            None => std::env::temp_dir().join(format!("boptop-demo-{}", std::process::id())),
        };
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
        Ok(Place { dir, temporary: keep.is_none() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Watches until the jobs have ended; with `yes`, approves what is recommended and unguarded.
fn headless(demo: Demo, handle: Handle, yes: bool) -> Result<(Demo, ExitCode)> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = built.map_err(|e| Error::io("runtime", e))?;
    runtime.block_on(async move {
        let mut steering = Steering { yes, ..Steering::default() };
        let mut snapshots = handle.snapshots.clone();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() {
                    return Err(Error::Usage("the monitor has stopped".into()));
                },
                _ = look.tick() => {}
                signal = tokio::signal::ctrl_c() => {
                    signal.map_err(|e| Error::io("signal", e))?;
                    return Ok((demo, ExitCode::Interrupted));
                }
            }
            let snapshot = snapshots.borrow_and_update().clone();
            if let Some(view) = snapshot.runs.iter().find(|r| r.id == demo.steered())
                && let Some(command) = steering.see(view)
                && handle.commands.send(command).is_err()
            {
                return Err(Error::Usage("the monitor has stopped".into()));
            }
            if demo.is_done() {
                return Ok((demo, ExitCode::Answered));
            }
        }
    })
}

/// What was said and asked so far, so that each thing is said once.
#[derive(Debug, Default)]
struct Steering {
    yes: bool,
    /// Newest proposal that was approved or shown.
    seen: u64,
    /// Schedule that was asked for last: another one is asked for only when the plan has changed.
    asked: Vec<Entry>,
    /// (revision, state) said last.
    said: Option<(u64, ControlState)>,
}

impl Steering {
    fn see(&mut self, view: &RunView) -> Option<Command> {
        self.tell(view);
        if let Some(p) = &view.control.proposal {
            let fresh = p.number > self.seen;
            self.seen = p.number;
            if fresh {
                output::talk(&text::proposal(&view.id, p));
                let blocked = p.guards.iter().any(|g| g.blocks);
                return Some(if self.yes && !blocked {
                    let run = view.id.clone();
                    Command::Approve { run, proposal: p.number, overrides: Vec::new() }
                } else {
                    Command::Withdraw { run: view.id.clone() }
                });
            }
            return None;
        }
        let plan = view.plan.as_ref()?;
        // One change after the other: what is under way is watched first.
        let settled = view.control.next.is_none()
            && !matches!(
                view.control.state,
                Some(ControlState::Approved | ControlState::Written | ControlState::Accepted)
            );
        let clear = settled && plan.verdict.kind == VerdictKind::Raise;
        let new = plan.schedule != view.control.schedule && plan.schedule != self.asked;
        if clear && new && self.yes {
            self.asked = plan.schedule.clone();
            return Some(Command::Propose { run: view.id.clone(), change: Change::Plan });
        }
        None
    }

    /// What became of the newest revision.
    fn tell(&mut self, view: &RunView) {
        let (Some(revision), Some(state)) = (view.control.revision, view.control.state) else {
            return;
        };
        if self.said != Some((revision, state)) {
            self.said = Some((revision, state));
            let tokens = units::count(view.tokens.unwrap_or(f64::NAN));
            let words = format!("{state:?}").to_lowercase();
            let id = &view.id;
            output::talk(&format!("{id}: revision {revision} {words}, at {tokens} tokens\n"));
        }
    }
}

/// The report: the fit at the end, and the steered job against its twin, as measured.
fn outcome(demo: &Demo, dir: &Path) -> Result<String> {
    let mut monitor =
        Monitor::new(&[dir.display().to_string()], settings(demo.budget_tokens(), false))?;
    monitor.read_all();
    monitor.read_control(clock::now());
    monitor.fit_now(clock::now());
    let snapshot = monitor.snapshot(clock::now());
    let mut out = text::fit_summary(&snapshot.fit.report);
    let view = snapshot.runs.iter().find(|r| r.id == demo.steered());
    if let Some(view) = view {
        out += &format!("\n{}", text::control(&view.id, &view.control));
    }
    let find = |id: &str| monitor.data().map(|(d, _)| Arc::clone(d)).find(|d| d.id == id);
    if let (Some(steered), Some(twin)) = (find(demo.steered()), find(demo.twin())) {
        out += &format!("\n{}", comparison(&steered, &twin));
    }
    Ok(out)
}

/// Tokens of both to the lowest loss that both reached.
fn comparison(steered: &RunData, twin: &RunData) -> String {
    let lowest = |d: &RunData| run::loss_now(d);
    let (Some(a), Some(b)) = (lowest(steered), lowest(twin)) else {
        return "The steered job or its twin logged no loss.\n".into();
    };
    // The last point of a run is no crossing yet: the lowest level that both have passed.
    let levels = (0..100).map(|k| a.max(b) + 0.0005 * f64::from(k));
    let passed = |loss| Some((loss, run::tokens_to(steered, loss)?, run::tokens_to(twin, loss)?));
    let Some((loss, with, without)) = levels.into_iter().find_map(passed) else {
        return "The two have no loss in common.\n".into();
    };
    let saved = 1.0 - with / without;
    let word = if saved >= 0.0 { "saved" } else { "lost" };
    format!(
        "Measured, to loss {}: {} took {} tokens, its twin {} (left alone) {}: {} {word}.\n\
         At the end of the same budget: loss {} against {}.\n\
         This problem forgets the noise of a former batch size faster than a language model does.\n",
        units::loss(loss),
        steered.id,
        units::count(with),
        twin.id,
        units::count(without),
        units::percent(saved.abs()),
        units::loss(a),
        units::loss(b),
    )
}
