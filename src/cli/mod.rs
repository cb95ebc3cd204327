//! The command line: wiring only.

mod args;
mod control;
mod demo;
mod export;
mod headless;
mod output;
mod settings;
mod watch;

use crate::error::{Error, ExitCode, Result};
use args::{Command, Control};
pub use output::fit_for_terminal;

/// What is added to the nice value of every command that only watches.
const NICE: i32 = 10;

/// Runs the command line and says with which code the process ends.
///
/// # Errors
/// Everything that keeps a command from answering; [`Error::exit_code`] names its code.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<ExitCode> {
    let cli = match args::parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                // It repeats the word that is wrong, and a glob makes words of file names.
                eprint!("{}", fit_for_terminal(&error.render().to_string()));
                return Ok(ExitCode::Usage);
            }
            // Help and version are answers.
            error.print().map_err(|e| Error::io("terminal", e))?;
            return Ok(ExitCode::Answered);
        }
    };
    // A login node is shared; the demo's training jobs would starve a monitor that gives way.
    if !matches!(cli.command, Command::Demo(_)) {
        let _ = rustix::process::nice(NICE);
    }
    match cli.command {
        Command::Inspect(args) => headless::inspect(&args),
        Command::Fit(args) => headless::fit(&args),
        Command::Plan(args) => headless::plan(&args),
        Command::Export(args) => export::export(&args),
        Command::Watch(args) => watch::watch(&args),
        Command::Replay(args) => watch::replay(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Adapter { name } => headless::adapter(name.as_deref()),
        Command::Control { action } => match action {
            Control::Show(args) => control::show(&args),
            Control::Propose(args) => control::propose(&args),
            Control::Approve(args) => control::approve(&args),
            Control::Undo(args) => control::undo(&args),
            Control::Schema => output::text(crate::control::SCHEMA),
        },
    }
}
