//! The command line: wiring only.

mod args;
mod control;
mod demo;
mod headless;
mod output;
mod settings;
mod watch;

use crate::error::{Error, ExitCode, Result};
use args::{Command, Control};
pub use output::fit_for_terminal;

/// Runs the command line and says with which code the process ends.
///
/// # Errors
/// Everything that keeps a command from answering; [`Error::exit_code`] names its code.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<ExitCode> {
    let cli = match args::parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; clap writes them to stdout, errors to stderr.
            let wrong = error.use_stderr();
            error.print().map_err(|e| Error::io("terminal", e))?;
            return Ok(if wrong { ExitCode::Usage } else { ExitCode::Answered });
        }
    };
    match cli.command {
        Command::Inspect(args) => headless::inspect(&args),
        Command::Fit(args) => headless::fit(&args),
        Command::Plan(args) => headless::plan(&args),
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
