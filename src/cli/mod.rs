//! The command line: wiring only.

mod args;
mod config;
mod control;
mod demo;
mod export;
mod flags;
mod headless;
mod notify;
mod output;
mod report;
mod settings;
mod shell;
mod values;
mod watch;

use crate::error::{Error, ExitCode, Result};
use crate::refit::give_way;
use crate::report::text::escaped;
use args::{Cli, Command, Control};
use config::Under;
pub use output::talk;

/// A login node is shared, but keys are answered at once: behind a screen only the threads that work
/// for it give way. The demo's training jobs would starve a monitor that does.
fn has_screen(command: &Command) -> bool {
    match command {
        Command::Demo(_) => true,
        Command::Watch(args) => !args.json,
        Command::Replay(args) => !args.json,
        _ => false,
    }
}

/// Runs the command line and says with which code the process ends.
///
/// # Errors
/// Everything that keeps a command from answering; [`Error::exit_code`] names its code.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<ExitCode> {
    let mut cli = match args::parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                // It repeats the word that is wrong, and a glob makes words of file names.
                output::talk(&error.render().to_string());
                return Ok(ExitCode::Usage);
            }
            // Help and version are answers.
            error.print().map_err(|e| Error::io("terminal", e))?;
            return Ok(ExitCode::Answered);
        }
    };
    if !has_screen(&cli.command) {
        give_way();
    }
    if !cli.no_config {
        configure(&mut cli)?;
    }
    match cli.command {
        Command::Inspect(args) => headless::inspect(&args),
        Command::Fit(args) => headless::fit(&args),
        Command::Plan(args) => headless::plan(&args),
        Command::Export(args) => export::export(&args),
        Command::Watch(args) => watch::watch(&args),
        Command::Report(args) => report::report(&args),
        Command::Replay(args) => watch::replay(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Adapter { name } => headless::adapter(name.as_deref()),
        Command::Config { print_default } => {
            shell::config(print_default, cli.config.as_deref(), cli.no_config)
        }
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { command } => shell::man(command.as_deref()),
        Command::Control { action } => match action {
            Control::Show(args) => control::show(&args),
            Control::Propose(args) => control::propose(&args),
            Control::Approve(args) => control::approve(&args),
            Control::Undo(args) => control::undo(&args),
            Control::Schema => output::text(crate::control::SCHEMA),
        },
    }
}

/// What the flags leave open is taken from the configuration.
fn configure(cli: &mut Cli) -> Result<()> {
    // These must not fail over a file that they are there to mend.
    if matches!(
        cli.command,
        Command::Adapter { .. }
            | Command::Config { .. }
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::Control { action: Control::Schema }
    ) {
        return Ok(());
    }
    let (file, trouble) = config::load(cli.config.as_deref())?;
    if let Some(words) = trouble {
        output::talk(&format!("boptop: {}\n", escaped(&words)));
    }
    match &mut cli.command {
        Command::Inspect(args) => args.input.under(&file),
        Command::Fit(args) => {
            args.input.under(&file);
            args.fitting.under(&file);
        }
        Command::Export(args) => args.runs.under(&file),
        Command::Plan(args) => args.on.under(&file),
        Command::Report(args) => args.on.under(&file),
        Command::Watch(args) => {
            args.runs.under(&file);
            args.control.under(&file);
            args.screen.under(&file);
        }
        Command::Replay(args) => {
            args.runs.under(&file);
            args.screen.under(&file);
        }
        Command::Demo(args) => args.screen.under(&file),
        Command::Control { action } => match action {
            Control::Show(args) => args.one.under(&file),
            Control::Propose(args) => args.on.one.under(&file),
            Control::Approve(args) => args.change.on.one.under(&file),
            Control::Undo(args) => args.on.one.under(&file),
            Control::Schema => {}
        },
        _ => {}
    }
    Ok(())
}
