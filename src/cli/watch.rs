//! `boptop watch` and `boptop replay`: a screen or a JSON stream over snapshots.

use super::args::{Replay, Watch};
use super::flags::{ControlArgs, Input, Screen};
use super::values::{ColorsArg, ThemeArg};
use super::{notify, output, settings};
use crate::command::Command;
use crate::error::{Error, ExitCode, Result};
use crate::monitor::{self, Handle};
use crate::report::json;
use crate::snapshot::{ReplayView, Snapshot};
use crate::{replay as player, tui};
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Lines of the stream are at least this far apart.
const STREAM_EVERY: Duration = Duration::from_millis(100);

pub fn watch(args: &Watch) -> Result<ExitCode> {
    if !args.json {
        terminal("watch", &args.runs.input)?;
    }
    let mut settings = settings::all(&args.runs, &args.control)?;
    settings.poll = args.poll.map(|s| Duration::from_secs_f64(s.clamp(0.01, 3600.0)));
    settings.gives_way = !args.json;
    open_directories(&args.runs.input.paths)?;
    let handle = monitor::spawn(&args.runs.input.paths, settings)?;
    if args.json { stream_live(handle) } else { screen(handle, &args.screen) }
}

/// Files may come and be made readable while one watches; nothing is seen of a directory that is shut.
fn open_directories(paths: &[OsString]) -> Result<()> {
    for path in paths.iter().filter(|p| std::path::Path::new(p).is_dir()) {
        std::fs::read_dir(path).map_err(|e| Error::io(path, e))?;
    }
    Ok(())
}

pub fn replay(args: &Replay) -> Result<ExitCode> {
    if !args.json {
        terminal("replay", &args.runs.input)?;
    }
    let mut settings = settings::all(&args.runs, &ControlArgs::default())?;
    settings.gives_way = !args.json;
    let options = player::Options { speed: args.speed, from_tokens: args.from };
    let recording = player::Recording::load(&args.runs.input.paths, settings)?;
    if args.json {
        // At full speed there is no clock to wait for; otherwise the stream is paced as the screen.
        if args.speed.is_infinite() {
            let mut before: Option<Arc<Snapshot>> = None;
            recording.run_through(&options, |now| {
                tell_unread(before.as_deref(), &now);
                let now = Arc::new(now);
                let line = json::watch(before.as_deref(), &now);
                before = Some(now);
                line.map_or(Ok(true), |line| output::line(&line))
            })?;
            return Ok(ExitCode::Answered);
        }
        return stream_live(player::spawn(recording, options)?);
    }
    screen(player::spawn(recording, options)?, &args.screen)
}

/// What a replay leaves out of runs that were not there before, said beside the stream.
fn tell_unread(before: Option<&Snapshot>, now: &Snapshot) {
    let known = |id: &str| before.is_some_and(|b| b.runs.iter().any(|r| r.id == id));
    for run in now.runs.iter().filter(|r| !known(&r.id)) {
        for note in &run.control.notes {
            output::talk(&format!("boptop: {}: {note}\n", run.id));
        }
    }
}

/// A screen needs a terminal; the error names the commands that do not.
pub fn terminal(command: &str, input: &Input) -> Result<()> {
    if std::io::stdout().is_terminal() {
        return Ok(());
    }
    let paths = input.paths.join(OsStr::new(" "));
    let paths = paths.display();
    Err(Error::Usage(format!(
        "standard output is no terminal: `boptop {command} --json {paths}` streams the same as JSON \
         lines; `boptop fit` and `boptop plan` answer once"
    )))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|e| Error::io("runtime", e))
}

/// Draws until the user leaves.
pub fn screen(handle: Handle, args: &Screen) -> Result<ExitCode> {
    let settings = tui_settings(args);
    let Handle { snapshots, commands, .. } = &handle;
    let program = match &args.notify {
        Some(program) => vec![program.clone()],
        None => args.usual_notify.clone(),
    };
    let (say, notices) = mpsc::unbounded_channel();
    let told = notify::notify(program, snapshots.clone(), say);
    let shown = show(snapshots.clone(), commands.clone(), notices, settings);
    let exit = runtime()?.block_on(async {
        tokio::select! {
            exit = shown => exit,
            // Runs as long as the screen does.
            never = told => match never {},
        }
    })?;
    Ok(match exit {
        tui::Exit::Quit | tui::Exit::Ended => ExitCode::Answered,
        tui::Exit::Signal(_) => ExitCode::Interrupted,
    })
}

async fn show(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    commands: mpsc::UnboundedSender<Command>,
    notices: mpsc::UnboundedReceiver<String>,
    settings: tui::Settings,
) -> Result<tui::Exit> {
    tui::run(snapshots, commands, notices, settings).await.map_err(|e| Error::io("terminal", e))
}

fn tui_settings(args: &Screen) -> tui::Settings {
    let mut settings = tui::Settings::from_env();
    settings.ascii |= args.ascii;
    settings.half_blocks |= args.half_blocks;
    settings.mouse &= !args.no_mouse;
    settings.no_color |= args.no_color;
    settings.bell = args.bell;
    settings.sync_output = args.sync_output;
    settings.pinned.clone_from(&args.pinned);
    if let Some(theme) = args.theme {
        settings.theme = match theme {
            ThemeArg::Dark => tui::ThemeName::Dark,
            ThemeArg::Light => tui::ThemeName::Light,
            ThemeArg::HighContrast => tui::ThemeName::HighContrast,
        };
    }
    if let Some(colors) = args.colors {
        settings.no_color = false;
        settings.depth = match colors {
            ColorsArg::None => tui::ColorDepth::None,
            ColorsArg::Ansi16 => tui::ColorDepth::Ansi16,
            ColorsArg::Ansi256 => tui::ColorDepth::Ansi256,
            ColorsArg::Rgb => tui::ColorDepth::Rgb,
        };
    }
    settings
}

/// One line for each change, until the reader goes away, the sender ends, or a signal comes.
fn stream_live(handle: Handle) -> Result<ExitCode> {
    runtime()?.block_on(async {
        let mut snapshots = handle.snapshots.clone();
        // Kept through the pauses between lines: an interrupt that comes there must not be lost.
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Error::io("signal", e))?;
        let mut before: Option<Arc<Snapshot>> = None;
        loop {
            let now = snapshots.borrow_and_update().clone();
            if now.replay.is_some() {
                tell_unread(before.as_deref(), &now);
            }
            if let Some(line) = json::watch(before.as_deref(), &now)
                && !output::line(&line)?
            {
                return Ok(ExitCode::Answered);
            }
            // A replay that has come to its end, and whose last fit is made, has no more to say.
            let over = |r: &ReplayView| !r.playing && r.position >= 1.0 && !now.fit.running;
            if now.replay.as_ref().is_some_and(over) {
                return Ok(ExitCode::Answered);
            }
            before = Some(now);
            let next = Instant::now() + STREAM_EVERY;
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() {
                    return Ok(ExitCode::Answered);
                },
                _ = interrupt.recv() => return Ok(ExitCode::Interrupted),
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                _ = interrupt.recv() => return Ok(ExitCode::Interrupted),
            }
        }
    })
}
