//! A followed run as the snapshot shows it.

use super::tracked::{Clock, Tracked};
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
    pub clock: Clock,
    pub report: &'a FitReport,
}

/// Makes the view anew where something changed.
pub(super) fn refresh(run: &mut Tracked, context: &Context<'_>) {
    let state = state(run, context.at, context.clock);
    let same = run.view.as_ref().is_some_and(|v| v.state == state);
    if run.changed || !same {
        let group = refit::group_of(context.report, &run.data().id);
        let plots = with_b_opt(run.plots(), group);
        run.view = Some(Arc::new(view(run, state, context, plots)));
        run.changed = false;
    }
}

fn view(run: &Tracked, state: RunState, context: &Context<'_>, plots: RunPlots) -> RunView {
    let data = run.data();
    let group = refit::group_of(context.report, &data.id);
    let (lines, bad_lines) = run.lines(context.clock);
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
        last_write: run.last_write(context.at, context.clock),
        paths: data.paths.clone(),
        format: sources().next().map(|s| s.format.clone()).unwrap_or_default(),
        batch_source: data.batch_source,
        tokens_source: data.tokens_source,
        restarts: data.restarts.clone(),
        notes: sources().flat_map(|s| s.notes.clone()).chain(data.notes.clone()).collect(),
        lines,
        bad_lines,
        b_opt: run.plan.as_ref().map(|p| p.b_opt),
        excess_tokens: run.plan.as_ref().and_then(|p| p.excess_tokens_now),
        verdict: run.plan.as_ref().map_or_else(verdict, |p| p.verdict.clone()),
        plan: run.plan.clone(),
        control: run.desk.view(),
        plots: Arc::new(plots),
    }
}

/// What a run is doing at the time `at`.
pub(super) fn state(run: &Tracked, at: f64, clock: Clock) -> RunState {
    let data = run.data();
    if data.train.is_empty() && data.validation.is_empty() {
        RunState::Waiting
    } else if run.ended() {
        RunState::Ended
    } else if data.restarts.last().is_some_and(|r| data.step() <= r.discarded_to) {
        RunState::Restarted
    } else if run.live(at, clock) {
        RunState::Live
    } else {
        RunState::Quiet
    }
}

/// The plots with B_opt along the run, as the newest fit has it.
fn with_b_opt(plots: &RunPlots, group: Option<&GroupFit>) -> RunPlots {
    let b_opt = |p: &PlotPoint| {
        let iv = group?.b_opt_at(p.mean)?;
        let known = |x: Option<f64>| x.unwrap_or(f64::NAN);
        iv.value.map(|v| [p.tokens, known(iv.low), v, known(iv.high)])
    };
    let every = (plots.loss.len() / 60).max(1);
    let b_opt = plots.loss.iter().step_by(every).filter_map(b_opt).collect();
    RunPlots { b_opt, ..plots.clone() }
}

/// Everything to plot that the run itself says.
pub(super) fn plots(data: &RunData) -> RunPlots {
    let loss = thinned(&data.train);
    let mut stairs: Vec<[f64; 2]> = Vec::new();
    for s in &data.segments {
        stairs.push([s.from_tokens, s.batch_size]);
        stairs.push([s.to_tokens, s.batch_size]);
    }
    let tokens_of = |i: usize| data.train.tokens.get(i).copied().unwrap_or(data.tokens());
    RunPlots {
        b_opt: Vec::new(),
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
