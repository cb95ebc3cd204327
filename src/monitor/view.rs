//! A followed run as the snapshot shows it.

use super::tracked::Tracked;
use crate::curve::{FitReport, GroupFit};
use crate::refit;
use crate::run::{self, Phase, RunData};
use crate::snapshot::{PlotPoint, RunPlots, RunState, RunView, Verdict, VerdictKind};
use std::sync::Arc;

/// Buckets of a thinned column: two points a column of a wide terminal.
const PLOT_POINTS: usize = 400;
const SPARK_POINTS: usize = 24;

pub(super) struct Context<'a> {
    pub at: f64,
    pub recorded: bool,
    pub report: &'a FitReport,
}

/// Makes the view anew where something changed.
pub(super) fn refresh(run: &mut Tracked, context: &Context<'_>) {
    let state = state(run, context);
    let same = run.view.as_ref().is_some_and(|v| v.state == state);
    if run.changed || !same {
        run.view = Some(Arc::new(view(run, state, context)));
        run.changed = false;
    }
}

fn view(run: &Tracked, state: RunState, context: &Context<'_>) -> RunView {
    let data = run.data();
    let group = refit::group_of(context.report, &data.id);
    let known = |x: f64| x.is_finite().then_some(x);
    let sources = || run.sources.iter().map(|s| s.status());
    let verdict = || Verdict {
        kind: VerdictKind::CannotTell,
        text: "cannot tell: no fit yet".into(),
        reasons: Vec::new(),
    };
    RunView {
        id: data.id.clone(),
        group: group.map(|g| g.id.clone()),
        excluded: run.excluded,
        state,
        phase: data.phase(),
        schedule: data.phases.schedule,
        schedule_why: data.phases.why.clone(),
        step: known(data.step()),
        tokens: known(data.tokens()),
        loss: run.loss_now(),
        lr: data.train.lr.iter().rev().copied().find(|x| x.is_finite()),
        batch_size: data.batch_size(),
        tokens_per_second: run::throughput(data),
        last_write: run.last_write(context.recorded),
        paths: data.paths.clone(),
        format: sources().next().map(|s| s.format.clone()).unwrap_or_default(),
        batch_source: data.batch_source,
        tokens_source: data.tokens_source,
        restarts: data.restarts.clone(),
        notes: sources().flat_map(|s| s.notes.clone()).chain(data.notes.clone()).collect(),
        lines: sources().map(|s| s.lines).sum(),
        bad_lines: sources().map(|s| s.bad_count).sum(),
        b_opt: run.plan.as_ref().map(|p| p.b_opt),
        excess_tokens: run.plan.as_ref().and_then(|p| p.excess_tokens_now),
        verdict: run.plan.as_ref().map_or_else(verdict, |p| p.verdict.clone()),
        plan: run.plan.clone(),
        control: run.desk.view(),
        plots: Arc::new(plots(data, group)),
    }
}

fn state(run: &Tracked, context: &Context<'_>) -> RunState {
    let data = run.data();
    if data.train.is_empty() && data.validation.is_empty() {
        RunState::Waiting
    } else if run.desk.ended() {
        RunState::Ended
    } else if data.restarts.last().is_some_and(|r| data.step() <= r.discarded_to) {
        RunState::Restarted
    } else if run.live(context.at, context.recorded) {
        RunState::Live
    } else {
        RunState::Quiet
    }
}

fn plots(data: &RunData, group: Option<&GroupFit>) -> RunPlots {
    let loss = thinned(&data.train);
    let b_opt = |p: &PlotPoint| {
        let iv = group?.b_opt_at(p.mean)?;
        let known = |x: Option<f64>| x.unwrap_or(f64::NAN);
        iv.value.map(|v| [p.tokens, known(iv.low), v, known(iv.high)])
    };
    let every = (loss.len() / 60).max(1);
    let mut stairs: Vec<[f64; 2]> = Vec::new();
    for s in &data.segments {
        stairs.push([s.from_tokens, s.batch_size]);
        stairs.push([s.to_tokens, s.batch_size]);
    }
    let tokens_of = |i: usize| data.train.tokens.get(i).copied().unwrap_or(data.tokens());
    RunPlots {
        b_opt: loss.iter().step_by(every).filter_map(b_opt).collect(),
        recent: recent(&loss),
        validation: thinned(&data.validation),
        batch_size: stairs,
        phases: data
            .phases
            .spans
            .iter()
            .map(|s| (s.phase, tokens_of(s.range.start), tokens_of(s.range.end)))
            .collect::<Vec<(Phase, f64, f64)>>(),
        restarts: data
            .restarts
            .iter()
            .filter_map(|r| {
                let i = data.train.step.partition_point(|s| *s < r.resumed_at);
                data.train.tokens.get(i).copied()
            })
            .collect(),
        loss,
    }
}

fn thinned(columns: &run::Columns) -> Vec<PlotPoint> {
    run::thin(columns, 0..columns.len(), PLOT_POINTS)
        .into_iter()
        .map(|b| PlotPoint { tokens: b.tokens, min: b.min, mean: b.mean, max: b.max })
        .collect()
}

/// The later half of the run, for the sparkline.
fn recent(loss: &[PlotPoint]) -> Vec<f64> {
    let half = &loss[loss.len() / 2..];
    let every = half.len().div_ceil(SPARK_POINTS).max(1);
    half.chunks(every).map(|c| c.iter().map(|p| p.mean).sum::<f64>() / c.len() as f64).collect()
}
