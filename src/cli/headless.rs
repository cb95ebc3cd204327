//! Commands that read once, answer and end.

use super::args::{Fit, Inspect, Plan, PlanFormat};
use super::{output, settings};
use crate::error::{Error, ExitCode, Result};
use crate::metrics::SourceState;
use crate::monitor::{Monitor, Settings};
use crate::report::{json, text};
use crate::run::{Columns, RunData};
use crate::snapshot::{self, FieldValues, Inspection};
use crate::{adapters, advice, clock, curve};

/// Reads everything there is; a PATH that does not exist is an error here.
pub fn read(paths: &[String], settings: Settings) -> Result<Monitor> {
    let mut monitor = Monitor::new(paths, settings)?;
    if let Some(path) = monitor.missing().first() {
        return Err(Error::Input {
            path: path.into(),
            line: None,
            found: "no such file or directory".into(),
            expected: "metrics of a training run".into(),
            remedy: "check the path; `boptop watch` waits for files that do not exist yet".into(),
        });
    }
    monitor.read_all();
    monitor.read_control(clock::now());
    if monitor.data().next().is_none() {
        return Err(Error::Usage(format!(
            "no metrics files in {}: boptop looks for *.jsonl, *.ndjson, trainer_state.json and \
             console logs of known trainers",
            paths.join(" ")
        )));
    }
    Ok(monitor)
}

pub fn inspect(args: &Inspect) -> Result<ExitCode> {
    let settings = Settings {
        sources: settings::sources(&args.input)?,
        assumptions: settings::assumptions(&args.input),
        // What was observed is for those who steer to record.
        read_only: true,
        ..Settings::default()
    };
    let monitor = read(&args.input.paths, settings)?;
    let files: Vec<Inspection> =
        monitor.data().flat_map(|(run, sources)| inspections(run, sources)).collect();
    if args.json {
        output::json(&json::inspect(&files))
    } else {
        output::text(&text::inspect(&files))
    }
}

fn inspections(run: &RunData, sources: &[crate::metrics::Source]) -> Vec<Inspection> {
    let one = |source: &crate::metrics::Source| Inspection {
        status: source.status().clone(),
        tokens_source: run.tokens_source,
        batch_source: run.batch_source,
        schedule: run.phases.schedule,
        first: values(run, |c| c.iter().copied().find(|x| x.is_finite())),
        last: values(run, |c| c.iter().rev().copied().find(|x| x.is_finite())),
    };
    sources.iter().map(one).collect()
}

fn values(run: &RunData, pick: impl Fn(&[f64]) -> Option<f64>) -> FieldValues {
    let main: &Columns = if run.train.is_empty() { &run.validation } else { &run.train };
    FieldValues {
        step: pick(&main.step),
        tokens: pick(&main.tokens),
        loss: pick(&run.train.loss),
        val_loss: pick(&run.validation.loss),
        lr: pick(&main.lr),
        batch_size_tokens: pick(&main.batch_size),
        time: pick(&main.time),
    }
}

pub fn fit(args: &Fit) -> Result<ExitCode> {
    let mut settings = Settings {
        sources: settings::sources(&args.input)?,
        assumptions: settings::assumptions(&args.input),
        fit: settings::fit(&args.fitting),
        read_only: true,
        ..Settings::default()
    };
    settings.fit.at_loss = args.at_loss.clone();
    let mut monitor = read(&args.input.paths, settings)?;
    needs_loss(&monitor)?;
    monitor.fit_now(clock::now());
    let snapshot = monitor.snapshot(clock::now());
    let report = &snapshot.fit.report;
    if let Some(path) = &args.save_law {
        save_law(report, path, &args.law_note)?;
    }
    if args.json { output::json(&json::fit(report)) } else { output::text(&text::fit(report)) }
}

/// A file without any loss cannot be fitted; the error names the keys and the flag.
fn needs_loss(monitor: &Monitor) -> Result<()> {
    for (_, sources) in monitor.data() {
        for status in sources.iter().map(|s| s.status()) {
            let why = match &status.state {
                SourceState::Unsupported(why) | SourceState::Failed(why) => why.clone(),
                _ => String::new(),
            };
            let lossless = status.fields.loss.is_none() && status.fields.val_loss.is_none();
            if !why.is_empty() || lossless {
                let seen = if why.is_empty() && !status.keys.is_empty() {
                    format!("the keys {}", status.keys.join(", "))
                } else if why.is_empty() {
                    "no keys at all".into()
                } else {
                    why
                };
                return Err(Error::Input {
                    path: status.path.clone(),
                    line: None,
                    found: seen,
                    expected: "a training or validation loss".into(),
                    remedy: "name its key with --field loss=KEY, or leave the file out".into(),
                });
            }
        }
    }
    Ok(())
}

fn save_law(report: &snapshot::FitReport, path: &std::path::Path, note: &str) -> Result<()> {
    let laws: Vec<_> =
        report.groups.iter().filter_map(|g| curve::SavedLaw::from_group(g, note)).collect();
    match laws.as_slice() {
        [law] => std::fs::write(path, law.to_json()).map_err(|e| Error::io(path, e)),
        [] => Err(Error::Refused(
            "no law to save: the joint law needs 4 batch sizes of one learning rate".into(),
        )),
        _ => Err(Error::Usage(
            "more than one group has a law: name the runs of one of them, or use --exclude".into(),
        )),
    }
}

pub fn plan(args: &Plan) -> Result<ExitCode> {
    let settings = settings::all(&args.input, &args.fitting, &args.planning, &args.control)?;
    let mut monitor = read(&args.input.paths, settings)?;
    let run = choose(&mut monitor, args.run.as_deref())?;
    monitor.fit_now(clock::now());
    let snapshot = monitor.snapshot(clock::now());
    let plan = snapshot.runs.iter().find(|r| r.id == run).and_then(|r| r.plan.clone());
    let plan = plan.ok_or_else(|| Error::Usage(format!("nothing is known of run {run} yet")))?;
    match if args.json { PlanFormat::Json } else { args.format } {
        PlanFormat::Text => output::text(&text::plan(&plan)),
        PlanFormat::Json => output::json(&json::plan(&plan)),
        PlanFormat::Megatron => {
            let seq_len = args.input.seq_len.unwrap_or(0.0) as u64;
            let text = advice::megatron(&plan.schedule, seq_len).map_err(Error::Refused)?;
            output::text(&text)
        }
        PlanFormat::Csv => output::text(&advice::csv(&plan.schedule)),
    }
}

/// The run that was named, or the only one there is.
pub fn choose(monitor: &mut Monitor, named: Option<&str>) -> Result<String> {
    let ids: Vec<String> = monitor.data().map(|(run, _)| run.id.clone()).collect();
    match (named, ids.as_slice()) {
        (Some(id), _) if ids.iter().any(|i| i == id) => Ok(id.into()),
        (None, [only]) => Ok(only.clone()),
        (Some(id), _) => Err(Error::Usage(format!("no run {id}; there are: {}", ids.join(", ")))),
        (None, _) => Err(Error::Usage(format!("name one with --run ID: {}", ids.join(", ")))),
    }
}

pub fn adapter(name: Option<&str>) -> Result<ExitCode> {
    let Some(name) = name else {
        let lines = adapters::list().iter().map(|(name, about)| format!("{name:<10} {about}\n"));
        return output::text(&lines.collect::<String>());
    };
    let names = || adapters::list().iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
    match adapters::text(name) {
        Some(text) => output::text(text),
        None => Err(Error::Usage(format!("no adapter {name}; there are: {}", names()))),
    }
}
