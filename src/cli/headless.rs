//! Commands that read once, answer and end.

use super::args::{Fit, Inspect, Plan};
use super::flags::{Fitting, Input as Runs};
use super::values::PlanFormat;
use super::{output, settings};
use crate::error::{Error, ExitCode, Result};
use crate::metrics::{Input, Source, SourceState};
use crate::monitor::{Monitor, Settings};
use crate::report::{json, text};
use crate::run::{Columns, Known, Recorder, RunData};
use crate::snapshot::{self, FieldValues, Inspection};
use crate::{adapters, advice, clock, curve};
use std::ffi::OsStr;
use std::path::Path;

/// Bytes read at once.
const READ: usize = 8 << 20;
/// With as many keys listed there may be more.
const MOST_KEYS: usize = 200;

/// Reads everything there is; a PATH that does not exist is an error here.
pub fn read(input: &Runs, settings: Settings) -> Result<Monitor> {
    let paths = &input.paths;
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
    let none = monitor.data().next().is_none();
    for (path, why) in monitor.left_out() {
        if none {
            return Err(unreadable(path, why));
        }
        output::talk(&format!("boptop: {} is left out: {why}\n", path.display()));
    }
    if none {
        return Err(Error::Usage(format!(
            "no metrics files in {}: boptop looks for *.jsonl, *.ndjson, trainer_state.json, \
             tables (*.csv) and console logs of known trainers",
            paths.join(OsStr::new(" ")).display()
        )));
    }
    has_fields(&monitor, &input.fields)?;
    Ok(monitor)
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::Input {
        path: path.into(),
        line: None,
        found: why.into(),
        expected: "metrics of a training run".into(),
        remedy: "make it readable, or leave it out".into(),
    }
}

/// Where no file that was named can be read there is no answer.
fn needs_readable(monitor: &Monitor) -> Result<()> {
    let all = || monitor.data().flat_map(|(_, sources)| sources).map(Source::status);
    let mut failed = all().filter_map(|s| match &s.state {
        SourceState::Failed(why) => Some((&s.path, why.trim_end_matches("; trying again"))),
        _ => None,
    });
    match failed.next() {
        Some((path, why)) if failed.count() + 1 == all().count() => Err(unreadable(path, why)),
        _ => Ok(()),
    }
}

/// A key that was stated and that no file has is a slip, not something to pass over.
fn has_fields(monitor: &Monitor, stated: &[(String, String)]) -> Result<()> {
    let all = || monitor.data().flat_map(|(_, sources)| sources).map(|s| s.status());
    // Of a file with very many keys not all are listed.
    if all().any(|s| s.keys.len() >= MOST_KEYS) {
        return Ok(());
    }
    for (name, key) in stated {
        if !all().any(|s| s.keys.contains(key)) {
            let mut keys: Vec<&str> = all().flat_map(|s| &s.keys).map(String::as_str).collect();
            keys.sort_unstable();
            keys.dedup();
            return Err(Error::Usage(format!(
                "--field {name}={key}: no file has the key {key}; there are: {}",
                keys.join(", ")
            )));
        }
    }
    Ok(())
}

pub fn inspect(args: &Inspect) -> Result<ExitCode> {
    let settings = Settings {
        sources: settings::sources(&args.input)?,
        assumptions: settings::assumptions(&args.input),
        // What was observed is for those who steer to record.
        read_only: true,
        ..Settings::default()
    };
    let monitor = read(&args.input, settings.clone())?;
    needs_readable(&monitor)?;
    let files: Vec<Inspection> =
        monitor.data().flat_map(|(run, sources)| inspections(run, sources, &settings)).collect();
    if args.json {
        output::json(&json::inspect(&files))
    } else {
        output::text(&text::inspect(&files))
    }
}

/// One for each file. The files of a run are looked at one by one.
fn inspections(run: &RunData, sources: &[Source], settings: &Settings) -> Vec<Inspection> {
    let one = |source: &Source| {
        let alone = (sources.len() > 1).then(|| alone(source, settings));
        let own = alone.as_ref().unwrap_or(run);
        let mut status = source.status().clone();
        status.notes.extend(own.notes.iter().cloned());
        Inspection {
            status,
            tokens_source: own.tokens_source,
            batch_source: own.batch_source,
            schedule: own.phases.schedule,
            first: values(&own.first, own, |c| c.iter().copied().find(|x| x.is_finite())),
            last: values(&own.last, own, |c| c.iter().rev().copied().find(|x| x.is_finite())),
        }
    };
    sources.iter().map(one).collect()
}

/// What one file says without the others of its run.
fn alone(source: &Source, settings: &Settings) -> RunData {
    let mut again = Source::file(&source.status().path, &settings.sources);
    let mut inputs = Vec::new();
    while again.poll(READ, &mut inputs) {}
    again.finish(&mut inputs);
    let mut recorder = Recorder::new("", settings.assumptions.clone());
    for input in &inputs {
        if let Input::Record(record) = input {
            recorder.push(0, record);
        }
    }
    recorder.data()
}

fn values(known: &Known, run: &RunData, pick: impl Fn(&[f64]) -> Option<f64>) -> FieldValues {
    FieldValues {
        step: known.step,
        tokens: known.tokens,
        loss: pick(&run.train.loss),
        val_loss: pick(&run.validation.loss),
        lr: known.lr,
        batch_size_tokens: known.batch_size,
        time: known.time,
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
    let mut monitor = read(&args.input, settings)?;
    needs_loss(&monitor, None)?;
    say_unmatched(&monitor, &args.fitting);
    monitor.fit_now(clock::now());
    let snapshot = monitor.snapshot(clock::now());
    let report = &snapshot.fit.report;
    let said =
        if args.json { output::json(&json::fit(report)) } else { output::text(&text::fit(report)) };
    match &args.save_law {
        Some(path) if said.is_ok() => save_law(report, path, &args.law_note),
        _ => said,
    }
}

/// Without any loss there is nothing to fit; the error names the keys and the flag. Of several runs
/// one without is left to the report, which says why it is not used.
fn needs_loss(monitor: &Monitor, only: Option<&str>) -> Result<()> {
    let mut files = Vec::new();
    for (run, sources) in monitor.data().filter(|(run, _)| only.is_none_or(|id| run.id == id)) {
        let has = |c: &Columns| c.loss.iter().any(|l| !l.is_nan());
        let statuses = || sources.iter().map(Source::status);
        let named = statuses().any(|s| s.fields.loss.is_some() || s.fields.val_loss.is_some());
        if named || has(&run.train) || has(&run.validation) {
            return Ok(());
        }
        files.extend(statuses());
    }
    let Some(status) = files.first() else { return Ok(()) };
    let found = match &status.state {
        SourceState::Unsupported(why) | SourceState::Failed(why) => why.clone(),
        _ if status.keys.is_empty() => "no keys at all".into(),
        _ => format!("the keys {}", status.keys.join(", ")),
    };
    Err(Error::Input {
        path: status.path.clone(),
        line: None,
        found,
        expected: "a training or validation loss".into(),
        remedy: "name its key with --field loss=KEY, or leave the file out".into(),
    })
}

/// A pattern that matches no run is likely a slip; the answer stands.
fn say_unmatched(monitor: &Monitor, fitting: &Fitting) {
    let ids: Vec<&str> = monitor.data().map(|(run, _)| run.id.as_str()).collect();
    let matches = |pattern: &str| {
        let glob = globset::Glob::new(pattern).map(|g| g.compile_matcher());
        ids.iter().any(|id| *id == pattern || glob.as_ref().is_ok_and(|g| g.is_match(id)))
    };
    let excluded = fitting.exclude.iter().map(|p| ("--exclude", p));
    for (flag, pattern) in excluded.chain(fitting.groups.iter().map(|(p, _)| ("--group", p))) {
        if !matches(pattern) {
            let ids = ids.join(", ");
            output::talk(&format!("boptop: {flag} {pattern} matches no run; there are: {ids}\n"));
        }
    }
}

/// Saves the one law that there is. The answer was given; no law is the failure that the command was
/// asked to detect.
fn save_law(report: &snapshot::FitReport, path: &Path, note: &str) -> Result<ExitCode> {
    let laws: Vec<_> =
        report.groups.iter().filter_map(|g| curve::SavedLaw::from_group(g, note)).collect();
    match laws.as_slice() {
        [law] => {
            output::file(path, law.to_json().as_bytes())?;
            Ok(ExitCode::Answered)
        }
        [] => {
            output::talk(
                "boptop: no law to save: the joint law needs 4 batch sizes of one learning rate\n",
            );
            Ok(ExitCode::Detected)
        }
        _ => Err(Error::Usage(
            "more than one group has a law: name the runs of one of them, or use --exclude".into(),
        )),
    }
}

pub fn plan(args: &Plan) -> Result<ExitCode> {
    let on = &args.on;
    let mut monitor = read(&on.runs.input, settings::all(&on.runs, &on.control)?)?;
    let run = choose(&mut monitor, on.run.as_deref())?;
    needs_loss(&monitor, Some(&run))?;
    say_unmatched(&monitor, &on.runs.fitting);
    monitor.fit_now(clock::now());
    let snapshot = monitor.snapshot(clock::now());
    let plan = snapshot.runs.iter().find(|r| r.id == run).and_then(|r| r.plan.clone());
    let plan = plan.ok_or_else(|| Error::Usage(format!("nothing is known of run {run} yet")))?;
    match if args.json { PlanFormat::Json } else { args.format } {
        PlanFormat::Text => output::text(&text::plan(&plan)),
        PlanFormat::Json => output::json(&json::plan(&plan)),
        PlanFormat::Megatron => {
            let seq_len = on.runs.input.seq_len.ok_or_else(|| {
                Error::Usage("--format megatron counts in sequences: give --seq-len TOKENS".into())
            })? as u64;
            megatron(&plan.schedule, seq_len)
        }
        PlanFormat::Csv => output::text(&advice::csv(&plan.schedule)),
    }
}

/// A sequence length that does not fit is wrong use; a schedule that Megatron-LM cannot run is no
/// answer to give.
fn megatron(schedule: &[snapshot::Entry], seq_len: u64) -> Result<ExitCode> {
    let steps_down = schedule.windows(2).any(|w| w[1].batch_size_tokens < w[0].batch_size_tokens);
    match advice::megatron(schedule, seq_len) {
        Ok(text) => {
            if let Some(words) = advice::unsaid_lr(schedule) {
                output::talk(&format!("boptop: {words}\n"));
            }
            output::text(&text)
        }
        Err(why) if steps_down => {
            output::talk(&format!("boptop: {why}\n"));
            Ok(ExitCode::Detected)
        }
        Err(why) => Err(Error::Usage(why)),
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
