//! The command line, declared once with clap: help, completions and the man page come from here.

use super::flags::{Consent, Fitting, Input, OneRun, Runs, Screen};
use super::values::{PlanFormat, Plot, count, positive, seconds, speed};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// top for B_opt: watch live training, see the optimal batch size, approve changes by hand.
///
/// `boptop PATH...` is short for `boptop watch PATH...`.
#[derive(Debug, Parser)]
#[command(name = "boptop", version, max_term_width = 100, subcommand_required = true)]
#[command(
    after_help = "Exit codes: 0 answered (a refusal to estimate is an answer), 1 the failure \
    that the command was asked to detect, 2 wrong use or unreadable input, 3 refused by a guard or \
    by another person's revision, 130 interrupted."
)]
pub struct Cli {
    /// Read the configuration from FILE; default: boptop/config.toml in the XDG place.
    #[arg(long, value_name = "FILE", env = "BOPTOP_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Read no configuration.
    #[arg(long, global = true, conflicts_with = "config")]
    pub no_config: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow runs as they train: the screen, or a JSON stream with --json.
    Watch(Watch),
    /// Say what was detected in metrics files: format, fields, units, bad lines.
    Inspect(Inspect),
    /// Fit the WSD E(S) curve once: B_min, B_opt with intervals, per loss level.
    Fit(Fit),
    /// The recommended schedule of one run beside the alternatives, and what each is worth.
    Plan(Plan),
    /// Write a plot as a picture (SVG), the same as the screen shows.
    Export(Export),
    /// Show, propose, approve or undo what the control file of a run says.
    Control {
        #[command(subcommand)]
        action: Control,
    },
    /// Write one self-contained page about a run, to be attached to a ticket.
    Report(Report),
    /// Play finished runs through the same pipeline on their own clock.
    Replay(Replay),
    /// Start small real training jobs and watch them: the whole loop in a minute.
    Demo(Demo),
    /// Print what a trainer needs to obey the control file.
    Adapter {
        /// One of the names that `boptop adapter` lists.
        name: Option<String>,
    },
    /// Say where the configuration is looked for, and check it.
    Config {
        /// Print the configuration with every key at its default, to begin one with.
        #[arg(long)]
        print_default: bool,
    },
    /// Print the completions of a shell.
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the man page of boptop, or of one of its commands.
    Man {
        /// A command, such as plan.
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    pub runs: Runs,
    #[command(flatten)]
    pub control: super::flags::ControlArgs,
    #[command(flatten)]
    pub screen: Screen,
    /// Ask for no notification: look at the files every SECONDS. Default: both, every second, every
    /// 3 s on a network file system.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub poll: Option<f64>,
    /// Stream changes as JSON lines (boptop.watch/1) instead of drawing.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    pub input: Input,
    /// Write JSON (boptop.inspect/1).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Fit {
    #[command(flatten)]
    pub input: Input,
    #[command(flatten)]
    pub fitting: Fitting,
    /// Fit at this loss instead of at levels chosen from the data. Repeatable.
    #[arg(long, value_name = "L", value_parser = positive, allow_negative_numbers = true)]
    pub at_loss: Vec<f64>,
    /// Save the joint law, with what it rests on, for the next and larger run.
    #[arg(long, value_name = "FILE")]
    pub save_law: Option<PathBuf>,
    /// What the saved law is of: the model, the data, the tokenizer.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "save_law")]
    pub law_note: String,
    /// Write JSON (boptop.fit/1).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub on: OneRun,
    /// How to write the plan.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    /// Short for --format json (boptop.plan/1).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Report {
    #[command(flatten)]
    pub on: OneRun,
    /// Where the page is written, - for the standard output; default: boptop-ID.html.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Control {
    /// What the control file, the trainer and the metrics say.
    Show(ControlRun),
    /// Draw up a change and ask the guards; nothing is written.
    Propose(ControlChange),
    /// Write a change: with --yes, or after a typed answer at a terminal.
    Approve(ControlApprove),
    /// Go back to what was in force before the newest revision.
    Undo(ControlUndo),
    /// Print the JSON Schema of the control protocol.
    Schema,
}

#[derive(Debug, Args)]
pub struct ControlRun {
    #[command(flatten)]
    pub one: OneRun,
    /// Write JSON (boptop.control/1).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ControlChange {
    #[command(flatten)]
    pub on: ControlRun,
    /// Batch size in tokens; without it the plan's schedule is taken.
    #[arg(long = "batch-size", value_name = "N", value_parser = count)]
    pub batch_size: Option<f64>,
    /// Token count from which the batch size acts; default: as early as the lead time allows.
    #[arg(long, value_name = "T", value_parser = count, requires = "batch_size")]
    pub at_tokens: Option<f64>,
}

#[derive(Debug, Args)]
pub struct ControlUndo {
    #[command(flatten)]
    pub on: ControlRun,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Debug, Args)]
pub struct ControlApprove {
    #[command(flatten)]
    pub change: ControlChange,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    pub runs: Runs,
    #[command(flatten)]
    pub screen: Screen,
    /// Recorded seconds a second, e.g. 60x, or max.
    #[arg(long, default_value = "60x", value_parser = speed)]
    pub speed: f64,
    /// Start where the first run has consumed this many tokens.
    #[arg(long, value_name = "TOKENS", value_parser = count)]
    pub from: Option<f64>,
    /// Stream changes as JSON lines instead of drawing.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Run without a terminal and end with a report.
    #[arg(long)]
    pub headless: bool,
    /// With --headless: approve the recommended change when the guards pass.
    #[arg(long)]
    pub yes: bool,
    /// Leave the logs and control files in DIR.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Seed of the training jobs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub screen: Screen,
}

/// The whole declaration.
pub fn declared() -> clap::Command {
    Cli::command()
}

/// The parsed command line; a first word that is no command is a path to watch.
pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let mut args: Vec<_> = args.into_iter().collect();
    let commands = declared();
    let is_command =
        |word: &str| word == "help" || commands.get_subcommands().any(|c| c.get_name() == word);
    let own_flags = ["-h", "--help", "-V", "--version"];
    let words: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
    // The flags of every command may stand before the command.
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match word.as_ref() {
            "--config" => at += 2,
            "--no-config" => at += 1,
            word if word.starts_with("--config=") => at += 1,
            _ => break,
        }
    }
    let first = words.get(at).map(ToString::to_string);
    if let Some(word) = first
        && !is_command(&word)
        && !own_flags.contains(&word.as_str())
    {
        args.insert(at, "watch".into());
    }
    Cli::try_parse_from(args)
}

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    pub runs: Runs,
    /// The file; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub svg: PathBuf,
    /// Which plot.
    #[arg(long, value_enum, default_value_t = Plot::Curve)]
    pub view: Plot,
    /// Run to plot, or whose group; the first one where left out.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Loss level of the curve; default: the lowest at which a model speaks.
    #[arg(long, value_name = "L", value_parser = positive, allow_negative_numbers = true)]
    pub at_loss: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn the_declaration_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_path_alone_is_watched() {
        let Command::Watch(watch) = parsed("boptop runs/a.jsonl --read-only").unwrap().command
        else {
            panic!("not watch")
        };
        assert_eq!(watch.runs.input.paths, ["runs/a.jsonl"]);
        assert!(watch.control.read_only);
    }

    #[test]
    fn flags_before_a_path_are_watched_too() {
        let Command::Watch(watch) = parsed("boptop --json -").unwrap().command else {
            panic!("not watch")
        };
        assert!(watch.json);
        assert_eq!(watch.runs.input.paths, ["-"]);
    }

    #[test]
    fn flags_of_every_command_may_stand_before_it() {
        for line in ["--config c.toml", "--config=c.toml", "--no-config"] {
            let cli = parsed(&format!("boptop {line} fit runs")).unwrap();
            assert!(matches!(cli.command, Command::Fit(_)), "{line}");
            let cli = parsed(&format!("boptop {line} runs")).unwrap();
            assert!(matches!(cli.command, Command::Watch(_)), "{line}");
        }
    }

    #[test]
    fn values_are_checked_at_the_edge() {
        assert!(parsed("boptop plan x --budget-tokens lots").is_err());
        assert!(parsed("boptop plan x --budget-tokens 2T").is_ok());
        assert!(parsed("boptop control approve x --override no-such-guard").is_err());
        assert!(parsed("boptop control approve x --override bump-size --yes").is_ok());
        assert!(parsed("boptop control approve x --at-tokens 3M").is_err());
        assert!(parsed("boptop replay x --speed max").is_ok());
        assert!(parsed("boptop replay x --speed slow").is_err());
        for absurd in ["NaN", "inf", "-1", "x"] {
            for flag in ["fit x --at-loss", "plan x --target-loss", "plan x --lead"] {
                assert!(parsed(&format!("boptop {flag} {absurd}")).is_err(), "{flag} {absurd}");
            }
        }
        for absurd in ["0.4", "1e30", "0"] {
            assert!(parsed(&format!("boptop plan x --unit {absurd}")).is_err(), "{absurd}");
        }
        assert!(parsed("boptop fit x --law y").is_err(), "a fit has no use for a saved law");
        for (poll, right) in
            [("2", true), ("0.05", true), ("-1", false), ("NaN", false), ("1h", false)]
        {
            assert_eq!(parsed(&format!("boptop watch x --poll {poll}")).is_ok(), right, "{poll}");
        }
        assert!(parsed("boptop").is_err());
    }
}
