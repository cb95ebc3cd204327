//! The command line, declared once with clap.

use crate::units;
use clap::{Args, Parser, Subcommand, ValueEnum};
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
    Export(super::export::Export),
    /// Show, propose, approve or undo what the control file of a run says.
    Control {
        #[command(subcommand)]
        action: Control,
    },
    /// Play finished runs through the same pipeline on their own clock.
    Replay(Replay),
    /// Start small real training jobs and watch them: the whole loop in a minute.
    Demo(Demo),
    /// Print what a trainer needs to obey the control file.
    Adapter {
        /// One of the names that `boptop adapter` lists.
        name: Option<String>,
    },
}

/// Where the runs are, and what their logs do not say.
#[derive(Debug, Clone, Default, Args)]
pub struct Input {
    /// Metrics files, directories, globs, - for standard input; A+B: files of one run, oldest first.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// Take a field from this key of the log, e.g. loss=train/lm_loss. Repeatable.
    #[arg(long = "field", value_name = "NAME=KEY", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// Tokens of one sequence, where the log counts in sequences.
    #[arg(long, value_name = "TOKENS", value_parser = count)]
    pub seq_len: Option<f64>,
    /// Tokens of one optimizer step, where the log has no batch size at all.
    #[arg(long = "assume-batch", value_name = "TOKENS", value_parser = count)]
    pub assume_batch: Option<f64>,
    /// The loss is logged in bits per token, not nats.
    #[arg(long)]
    pub loss_in_bits: bool,
}

/// How the curve is fitted.
#[derive(Debug, Clone, Default, Args)]
pub struct Fitting {
    /// Loss to fit; default: train, unless only validation is dense enough.
    #[arg(long, value_enum)]
    pub loss: Option<LossArg>,
    /// Put the runs whose id matches PATTERN into group NAME. Repeatable.
    #[arg(long = "group", value_name = "PATTERN=NAME", value_parser = field)]
    pub groups: Vec<(String, String)>,
    /// Leave the runs whose id matches out of the fits. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Seed of the resampling.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LossArg {
    Train,
    Val,
}

/// Where the control files are.
#[derive(Debug, Clone, Default, Args)]
pub struct ControlArgs {
    /// The control file; {run} in it stands for the name of the run. Default: beside the metrics.
    #[arg(long, value_name = "PATH", env = "BOPTOP_CONTROL")]
    pub control: Option<String>,
    /// How long before a change takes effect it must be written, in seconds. Default: 180 on a
    /// network file system, 20 on a local disk.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub lead: Option<f64>,
    /// Nothing can be approved or written, the audit included.
    #[arg(long)]
    pub read_only: bool,
    /// Write through a symlink that leads out of the run's directory, or over a file of another
    /// user that others may write.
    #[arg(long)]
    pub trust_target: bool,
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

/// The goal and the limits of a plan.
#[derive(Debug, Clone, Default, Args)]
pub struct Planning {
    /// What the plan is for.
    #[arg(long, value_enum)]
    pub goal: Option<GoalArg>,
    /// Stable-phase loss to reach; with --goal interim too, which never lets the loss rise above
    /// that of leaving the run on the way.
    #[arg(long, value_name = "L", value_parser = positive, allow_negative_numbers = true)]
    pub target_loss: Option<f64>,
    /// Tokens that the run may consume in all, e.g. 2T.
    #[arg(long, value_name = "N", value_parser = count)]
    pub budget_tokens: Option<f64>,
    /// Batch sizes must be multiples of this many tokens.
    #[arg(long, value_name = "N", value_parser = whole)]
    pub unit: Option<u64>,
    /// Largest batch size in tokens.
    #[arg(long, value_name = "N", value_parser = whole)]
    pub max_batch: Option<u64>,
    /// A schedule of your own to compare, e.g. "0:2M 250B:4M" (from tokens : batch size).
    #[arg(long, value_name = "SCHEDULE")]
    pub what_if: Option<String>,
    /// What the trainer runs by itself, a file or the words: "0:768 250B:1536" as Megatron-LM takes
    /// it (in sequences of --seq-len), or lines from_tokens,batch_size_tokens. The forecasts follow
    /// it, and deviations are shown.
    #[arg(long, value_name = "FILE|SCHEDULE")]
    pub schedule: Option<String>,
    /// Tokens of the decay at the end of the budget; the goal is then the loss after it, unless
    /// another is named.
    #[arg(long, value_name = "N", value_parser = count)]
    pub decay_tokens: Option<f64>,
    /// What happens to the learning rate when the batch size changes; default: unchanged.
    #[arg(long, value_enum)]
    pub lr_rule: Option<LrRuleArg>,
    /// How fast the noise of a former batch size is forgotten.
    #[arg(long, value_enum)]
    pub memory: Option<MemoryArg>,
    /// A law saved by `fit --save-law` from a sweep of a proxy, used where the runs cannot speak.
    #[arg(long, value_name = "FILE")]
    pub law: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum GoalArg {
    Stable,
    Decayed,
    Interim,
    Time,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LrRuleArg {
    Unchanged,
    /// Times the square root of the batch ratio, where the trainer can scale it.
    Sqrt,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum MemoryArg {
    Measured,
    Slow,
    Fast,
}

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub input: Input,
    #[command(flatten)]
    pub fitting: Fitting,
    #[command(flatten)]
    pub planning: Planning,
    #[command(flatten)]
    pub control: ControlArgs,
    /// Run to plan for; may be left out where only one run is there.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// How to write the plan.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    /// Short for --format json (boptop.plan/1).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    Text,
    Json,
    /// The argument of Megatron-LM's --step-batch-size-schedule.
    Megatron,
    /// tokens,batch_size_tokens
    Csv,
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
    pub input: Input,
    #[command(flatten)]
    pub fitting: Fitting,
    #[command(flatten)]
    pub planning: Planning,
    #[command(flatten)]
    pub control: ControlArgs,
    /// Run to steer; may be left out where only one run is there.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
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

/// The approval itself.
#[derive(Debug, Clone, Args)]
pub struct Consent {
    /// Approve without being asked.
    #[arg(long)]
    pub yes: bool,
    /// Override one guard by its name. Repeatable; recorded in the audit.
    #[arg(long = "override", value_name = "GUARD", value_parser = guard)]
    pub overrides: Vec<crate::advice::GuardName>,
    /// Refuse where another revision than this one is the newest (0: none yet), as after
    /// `control show --json`.
    #[arg(long, value_name = "REVISION")]
    pub if_revision: Option<u64>,
}

/// How the screen looks.
#[derive(Debug, Clone, Default, Args)]
pub struct Screen {
    /// Only ASCII characters.
    #[arg(long)]
    pub ascii: bool,
    /// Plots of half blocks, where the font has no braille.
    #[arg(long)]
    pub half_blocks: bool,
    /// No colour (also NO_COLOR).
    #[arg(long)]
    pub no_color: bool,
    /// Leave the mouse to the terminal.
    #[arg(long)]
    pub no_mouse: bool,
}

#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    pub input: Input,
    #[command(flatten)]
    pub fitting: Fitting,
    #[command(flatten)]
    pub planning: Planning,
    #[command(flatten)]
    pub control: ControlArgs,
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
pub struct Replay {
    #[command(flatten)]
    pub input: Input,
    #[command(flatten)]
    pub fitting: Fitting,
    #[command(flatten)]
    pub planning: Planning,
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

/// The parsed command line; a first word that is no command is a path to watch.
pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let mut args: Vec<_> = args.into_iter().collect();
    let commands = <Cli as clap::CommandFactory>::command();
    let is_command =
        |word: &str| word == "help" || commands.get_subcommands().any(|c| c.get_name() == word);
    let own_flags = ["-h", "--help", "-V", "--version"];
    let first = args.get(1).map(|a| a.to_string_lossy().into_owned());
    if let Some(word) = first
        && !is_command(&word)
        && !own_flags.contains(&word.as_str())
    {
        args.insert(1, "watch".into());
    }
    Cli::try_parse_from(args)
}

fn count(text: &str) -> Result<f64, String> {
    let x = units::parse_count(text).filter(|x| *x > 0.0);
    x.ok_or_else(|| "expected a number above 0 such as 4194304, 4.19M or 250B".into())
}

fn whole(text: &str) -> Result<u64, String> {
    let x = count(text)?;
    // Below 2^53 a whole number is itself.
    let whole = (x.fract() == 0.0 && x < 9e15).then_some(x as u64);
    whole.ok_or_else(|| "expected a whole number of tokens such as 65536 or 4.19M".into())
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    let x = text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
    x.ok_or_else(|| "expected a number above 0".into())
}

/// 0 is a trainer that looks before every step.
fn seconds(text: &str) -> Result<f64, String> {
    let x = text.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0);
    x.ok_or_else(|| "expected a number of seconds, 0 or more".into())
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.into(), b.into())),
        _ => Err("expected NAME=KEY".into()),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    if text == "max" {
        return Ok(f64::INFINITY);
    }
    let x = text.trim_end_matches('x').parse().ok().filter(|x: &f64| *x > 0.0);
    x.ok_or_else(|| "expected a factor such as 60x, or max".into())
}

fn guard(text: &str) -> Result<crate::advice::GuardName, String> {
    use serde::de::{IntoDeserializer, value::StrDeserializer};
    let name: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    serde::Deserialize::deserialize(name)
        .map_err(|e| e.to_string().replace("unknown variant", "no guard is called"))
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
        assert_eq!(watch.input.paths, ["runs/a.jsonl"]);
        assert!(watch.control.read_only);
    }

    #[test]
    fn flags_before_a_path_are_watched_too() {
        let Command::Watch(watch) = parsed("boptop --json -").unwrap().command else {
            panic!("not watch")
        };
        assert!(watch.json);
        assert_eq!(watch.input.paths, ["-"]);
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
