//! The flags that commands share, each declared once.

use super::values::{
    ColorsArg, GoalArg, LossArg, LrRuleArg, MemoryArg, ThemeArg, count, field, group, guard,
    positive, seconds, whole,
};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Runs, how their curve is fitted, and what is planned for.
#[derive(Debug, Clone, Default, Args)]
pub struct Runs {
    #[command(flatten)]
    pub input: Input,
    #[command(flatten)]
    pub fitting: Fitting,
    #[command(flatten)]
    pub planning: Planning,
}

/// One of the runs, with its control file.
#[derive(Debug, Clone, Default, Args)]
pub struct OneRun {
    #[command(flatten)]
    pub runs: Runs,
    #[command(flatten)]
    pub control: ControlArgs,
    /// The run that is meant; may be left out where only one is there.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
}

/// Where the runs are, and what their logs do not say.
#[derive(Debug, Clone, Default, Args)]
pub struct Input {
    /// Metrics files, directories, globs, - for standard input; A+B: files of one run, oldest first.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// Take a field from this key of the log, e.g. loss=train/lm_loss. Repeatable.
    #[arg(long = "field", value_name = "NAME=KEY", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// The same from the configuration: taken where the log has the key.
    #[arg(skip)]
    pub usual_fields: Vec<(String, String)>,
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
    #[arg(long = "group", value_name = "PATTERN=NAME", value_parser = group)]
    pub groups: Vec<(String, String)>,
    /// Leave the runs whose id matches out of the fits. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Seed of the resampling; default 1.
    #[arg(long)]
    pub seed: Option<u64>,
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

/// How the screen looks, and how it calls.
#[derive(Debug, Clone, Default, Args)]
pub struct Screen {
    /// Only ASCII characters.
    #[arg(long)]
    pub ascii: bool,
    /// Plots of half blocks, where the font has no braille.
    #[arg(long)]
    pub half_blocks: bool,
    /// No colour (also NO_COLOR); the same as --colors none.
    #[arg(long, conflicts_with = "colors")]
    pub no_color: bool,
    /// How many colours; default: what the terminal says it has.
    #[arg(long, value_enum)]
    pub colors: Option<ColorsArg>,
    /// Colours for a dark or a light background, or with the most contrast. `T` changes it.
    #[arg(long, value_enum)]
    pub theme: Option<ThemeArg>,
    /// Leave the mouse to the terminal.
    #[arg(long)]
    pub no_mouse: bool,
    /// Ring the bell of the terminal when the verdict on a run changes.
    #[arg(long)]
    pub bell: bool,
    /// Run PROGRAM when the verdict on a run changes, with two arguments: a title ("boptop: b128
    /// raise") and the verdict in words. No shell sees them. BOPTOP_RUN, BOPTOP_VERDICT and
    /// BOPTOP_VERDICT_BEFORE are set.
    #[arg(long, value_name = "PROGRAM")]
    pub notify: Option<String>,
    /// The program and its first arguments, from the configuration.
    #[arg(skip)]
    pub usual_notify: Vec<String>,
    /// When frames are wrapped in synchronized output, from the configuration.
    #[arg(skip)]
    pub sync_output: crate::tui::SyncOutput,
    /// Runs that stand on top, from the configuration.
    #[arg(skip)]
    pub pinned: Vec<String>,
}
