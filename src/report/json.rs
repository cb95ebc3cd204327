//! The machine interfaces: versioned by `schema`, plain numbers, unknown is null.

use crate::snapshot::{
    ControlView, FitReport, Inspection, Interval, Plan, Proposal, RunView, Snapshot, Verdict,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// `serde_json` writes NaN and infinities as null, which is what unknown means here.
fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

/// `boptop.inspect/1`.
pub fn inspect(files: &[Inspection]) -> Value {
    json!({"schema": "boptop.inspect/1", "files": value(&files)})
}

/// `boptop.fit/1`.
pub fn fit(report: &FitReport) -> Value {
    json!({"schema": "boptop.fit/1", "groups": value(&report.groups)})
}

/// `boptop.plan/1`.
pub fn plan(plan: &Plan) -> Value {
    with_schema("boptop.plan/1", value(plan))
}

/// `boptop.control/1`.
pub fn control(run: &str, control: &ControlView, wrote: bool) -> Value {
    #[derive(Serialize)]
    struct Shown<'a> {
        run: &'a str,
        path: &'a str,
        revision: Option<u64>,
        state: Option<crate::snapshot::ControlState>,
        schedule: &'a [crate::snapshot::Entry],
        next: Option<crate::snapshot::Entry>,
        trainer: &'a Option<crate::snapshot::TrainerLimits>,
        notes: &'a [String],
        forecasts: &'a [crate::snapshot::Forecast],
        proposal: &'a Option<Proposal>,
        wrote: bool,
    }
    let shown = Shown {
        run,
        path: &control.path,
        revision: control.revision,
        state: control.state,
        schedule: &control.schedule,
        next: control.next,
        trainer: &control.trainer,
        notes: &control.notes,
        forecasts: &control.forecasts,
        proposal: &control.proposal,
        wrote,
    };
    with_schema("boptop.control/1", value(&shown))
}

/// One run of a `boptop.watch/1` line.
pub fn watch_run(run: &RunView) -> Value {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a str,
        state: crate::snapshot::RunState,
        phase: Option<crate::snapshot::Phase>,
        step: Option<f64>,
        tokens: Option<f64>,
        loss: Option<f64>,
        batch_size_tokens: Option<f64>,
        b_opt: Option<Interval>,
        verdict: &'a Verdict,
        lines: u64,
        bad_lines: u64,
        control: Value,
    }
    let control = &run.control;
    value(&Line {
        id: &run.id,
        state: run.state,
        phase: run.phase,
        step: run.step,
        tokens: run.tokens,
        loss: run.loss,
        batch_size_tokens: run.batch_size,
        b_opt: run.b_opt,
        verdict: &run.verdict,
        lines: run.lines,
        bad_lines: run.bad_lines,
        control: json!({
            "revision": control.revision,
            "state": value(&control.state),
            "next": value(&control.next),
        }),
    })
}

/// A `boptop.watch/1` line of the runs that changed between two snapshots, and the ids that are no
/// more (a trainer gave another); `None` where nothing changed.
pub fn watch(before: Option<&Snapshot>, now: &Snapshot) -> Option<Value> {
    let old: HashMap<&str, &Arc<RunView>> =
        before.iter().flat_map(|s| &s.runs).map(|r| (r.id.as_str(), r)).collect();
    let ids: HashSet<&str> = now.runs.iter().map(|r| r.id.as_str()).collect();
    let gone: Vec<&str> = before
        .iter()
        .flat_map(|s| &s.runs)
        .map(|r| r.id.as_str())
        .filter(|id| !ids.contains(id))
        .collect();
    let runs: Vec<Value> = now
        .runs
        .iter()
        .filter_map(|run| {
            let old = old.get(run.id.as_str());
            if old.is_some_and(|old| Arc::ptr_eq(old, run)) {
                return None;
            }
            let line = watch_run(run);
            let old = old.map(|r| watch_run(r));
            (old.as_ref() != Some(&line)).then_some(line)
        })
        .collect();
    let changed = !runs.is_empty() || !gone.is_empty();
    // Null where the intervals are those of the estimate.
    let older = now.fit.intervals_at.filter(|at| now.fit.made_at.is_some_and(|made| *at < made));
    changed.then(|| {
        json!({
            "schema": "boptop.watch/1",
            "at": now.at,
            "runs": runs,
            "gone": gone,
            "intervals_at": value(&older),
        })
    })
}

fn with_schema(schema: &str, body: Value) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("schema".into(), schema.into());
    if let Value::Object(body) = body {
        out.extend(body);
    }
    Value::Object(out)
}
