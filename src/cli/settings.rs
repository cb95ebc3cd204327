//! Flags to the settings of the monitor.

use super::flags::{ControlArgs, Fitting, Input, Planning, Runs};
use super::values::{GoalArg, LossArg, LrRuleArg, MemoryArg};
use crate::advice::{self, Entry, Goal, LrRule, MemoryChoice, PlanOptions};
use crate::curve::{FitOptions, LossKind, SavedLaw};
use crate::error::{Error, Result};
use crate::metrics;
use crate::monitor::Settings;
use crate::run::Assumptions;
use std::path::Path;

/// Of the resampling, where none is given.
const SEED: u64 = 1;

pub fn sources(input: &Input) -> Result<metrics::Options> {
    let options = metrics::Options {
        fields: input.fields.iter().chain(&input.usual_fields).cloned().collect(),
        loss_in_bits: input.loss_in_bits,
        // What a person says goes before a file that nobody named.
        log_only: input.seq_len.is_some(),
    };
    options.check()?;
    Ok(options)
}

pub fn assumptions(input: &Input) -> Assumptions {
    Assumptions { seq_len: input.seq_len, batch_size: input.assume_batch }
}

/// Everything that a monitor is told at its start.
pub fn all(runs: &Runs, control: &ControlArgs) -> Result<Settings> {
    let Runs { input, fitting, planning } = runs;
    Ok(Settings {
        sources: sources(input)?,
        assumptions: assumptions(input),
        fit: fit(fitting),
        plan: plan(planning, input.seq_len)?,
        control: control.control.clone(),
        lead_seconds: control.lead,
        read_only: control.read_only,
        trust_target: control.trust_target,
        law: planning.law.as_deref().map(law).transpose()?,
        ..Settings::default()
    })
}

pub fn fit(args: &Fitting) -> FitOptions {
    let mut options = FitOptions { seed: args.seed.unwrap_or(SEED), ..FitOptions::default() };
    options.group.on = args.loss.map(|l| match l {
        LossArg::Train => LossKind::Train,
        LossArg::Val => LossKind::Val,
    });
    options.group.excluded = args.exclude.clone();
    options.group.groups = args.groups.clone();
    options
}

fn plan(args: &Planning, seq_len: Option<f64>) -> Result<PlanOptions> {
    let schedule = args.schedule.as_deref().map(|s| schedule(s, seq_len)).transpose()?;
    let what_if = args.what_if.as_deref().map(advice::parse_what_if).transpose();
    Ok(PlanOptions {
        goal: args.goal.map(|g| match g {
            GoalArg::Stable => Goal::Stable,
            GoalArg::Decayed => Goal::Decayed,
            GoalArg::Interim => Goal::Interim,
            GoalArg::Time => Goal::Time,
        }),
        target_loss: args.target_loss,
        budget_tokens: args.budget_tokens,
        unit: args.unit,
        max_batch: args.max_batch,
        what_if: what_if.map_err(|e| Error::Usage(format!("--what-if: {e}")))?,
        schedule,
        decay_tokens: args.decay_tokens,
        lr_rule: match args.lr_rule {
            Some(LrRuleArg::Sqrt) => LrRule::Sqrt,
            Some(LrRuleArg::Unchanged) | None => LrRule::Unchanged,
        },
        memory: args.memory.map(|m| match m {
            MemoryArg::Measured => MemoryChoice::Measured,
            MemoryArg::Slow => MemoryChoice::Slow,
            MemoryArg::Fast => MemoryChoice::Fast,
        }),
        ..PlanOptions::default()
    })
}

/// A file where there is one of that name, else the words themselves.
fn schedule(given: &str, seq_len: Option<f64>) -> Result<Vec<Entry>> {
    let path = Path::new(given);
    if !path.exists() {
        return advice::parse_schedule(given, seq_len).map_err(|e| {
            Error::Usage(format!(
                "--schedule: found {e} (and no file has that name); expected {}",
                advice::SCHEDULE_FORMS
            ))
        });
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    advice::parse_schedule(&text, seq_len).map_err(|e| Error::Input {
        path: path.into(),
        line: None,
        found: e,
        expected: advice::SCHEDULE_FORMS.into(),
        remedy: "mend the line, or write the schedule on the command line".into(),
    })
}

fn law(path: &Path) -> Result<SavedLaw> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    SavedLaw::from_json(&text).map_err(|found| Error::Input {
        path: path.into(),
        line: None,
        found,
        expected: "a law written by `boptop fit --save-law`".into(),
        remedy: "save it again".into(),
    })
}
