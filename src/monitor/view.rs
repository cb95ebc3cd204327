//! A followed run as the snapshot shows it.

use super::tracked::{Clock, Tracked};
use super::zoom;
use crate::curve::{FitReport, GroupFit, LevelFit};
use crate::refit;
use crate::run::{self, Phase, RunData};
use crate::snapshot::{PlotPoint, RunPlots, RunState, RunView, Verdict, VerdictKind};
use std::sync::Arc;

/// Buckets of a thinned column: two points a column of a wide terminal, four times zoomed in.
const PLOT_POINTS: usize = 1600;
/// Points of B_opt along a run.
const B_OPT_POINTS: usize = 60;
const SPARK_POINTS: usize = 24;
/// A sparkline stands still for this many seconds, so that a screen sends little.
const SPARK_EVERY: f64 = 10.0;
/// Tokens of a smoothed point and of the ends of its window are at most this ratio apart.
const SMOOTH_RATIO: f64 = 1.06;
/// Points on each side that a window has at least.
const SMOOTH_LEAST: usize = 3;

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
        let id = run.data().id.clone();
        let mut plots = with_fit(run.plots(), &id, group);
        plots.detail = zoom::detail(run, context.clock).map(Arc::new);
        match run.trend.take().filter(|(at, _)| (context.at - at).abs() < SPARK_EVERY) {
            Some((at, before)) if !before.is_empty() => {
                plots.recent.clone_from(&before);
                run.trend = Some((at, before));
            }
            _ => run.trend = Some((context.at, plots.recent.clone())),
        }
        run.view = Some(Arc::new(view(run, state, context, plots)));
        run.changed = false;
    }
}

fn view(run: &Tracked, state: RunState, context: &Context<'_>, plots: RunPlots) -> RunView {
    let data = run.data();
    let group = refit::group_of(context.report, &data.id);
    let files = run.statuses(context.clock);
    let known = |x: f64| x.is_finite().then_some(x);
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
        format: files.first().map(|s| s.format.clone()).unwrap_or_default(),
        batch_source: data.batch_source,
        tokens_source: data.tokens_source,
        restarts: data.restarts.clone(),
        notes: files
            .iter()
            .flat_map(|s| &s.notes)
            .chain(&data.notes)
            .cloned()
            .chain(run.resolution())
            .collect(),
        lines: files.iter().map(|s| s.lines).sum(),
        bad_lines: files.iter().map(|s| s.bad_count).sum(),
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
    } else if run.ended(clock) {
        RunState::Ended
    } else if data.restarts.last().is_some_and(|r| data.step() <= r.discarded_to) {
        RunState::Restarted
    } else if run.live(at, clock) {
        RunState::Live
    } else {
        RunState::Quiet
    }
}

/// The plots with what the newest fit says: B_opt along the run, and how far the run lies from the
/// curve.
fn with_fit(plots: &RunPlots, run: &str, group: Option<&GroupFit>) -> RunPlots {
    let b_opt = |[tokens, loss]: &[f64; 2]| {
        let iv = group?.b_opt_at(*loss)?;
        let known = |x: Option<f64>| x.unwrap_or(f64::NAN);
        iv.value.map(|v| [*tokens, known(iv.low), v, known(iv.high)])
    };
    let every = (plots.smooth.len() / B_OPT_POINTS).max(1);
    let b_opt = plots.smooth.iter().step_by(every).filter_map(b_opt).collect();
    let residuals = group.map(|g| residuals(g, run)).unwrap_or_default();
    RunPlots { b_opt, residuals, ..plots.clone() }
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
        detail: None,
        recent: recent(&loss),
        smooth: smoothed(&loss),
        residuals: Vec::new(),
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

/// How far the run lies from the curve at each level that it reached.
fn residuals(group: &GroupFit, run: &str) -> Vec<[f64; 2]> {
    let at = |level: &LevelFit| {
        let seen = level.observed.iter().find(|o| o.run == run && !o.censored)?;
        let by_curve = level.curve?.tokens(seen.batch_size_tokens)?;
        let miss = seen.tokens / by_curve - 1.0;
        miss.is_finite().then_some([level.loss, miss])
    };
    group.levels.iter().filter_map(at).collect()
}

/// Means over windows in proportion to the tokens, cut to the same length on both sides at the ends.
fn smoothed(loss: &[PlotPoint]) -> Vec<[f64; 2]> {
    // A log without tokens has nothing to draw against.
    let drawn = |p: &&PlotPoint| p.mean.is_finite() && p.tokens.is_finite();
    let known: Vec<&PlotPoint> = loss.iter().filter(drawn).collect();
    let mut sums = vec![0.0];
    for p in &known {
        sums.push(sums[sums.len() - 1] + p.mean);
    }
    let one = |i: usize| {
        let t = known[i].tokens;
        let from = known.partition_point(|p| p.tokens < t / SMOOTH_RATIO);
        let to = known.partition_point(|p| p.tokens <= t * SMOOTH_RATIO);
        let reach = i.saturating_sub(from).max(to.saturating_sub(i + 1)).max(SMOOTH_LEAST);
        let reach = reach.min(i).min(known.len() - 1 - i);
        let n = 2 * reach + 1;
        [t, (sums[i + reach + 1] - sums[i - reach]) / n as f64]
    };
    (0..known.len()).map(one).collect()
}

/// The later half of the run, for the sparkline.
fn recent(loss: &[PlotPoint]) -> Vec<f64> {
    let half = &loss[loss.len() / 2..];
    let every = half.len().div_ceil(SPARK_POINTS).max(1);
    half.chunks(every).map(|c| c.iter().map(|p| p.mean).sum::<f64>() / c.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoothed_line_keeps_a_straight_one_and_calms_noise() {
        let point =
            |i: usize, mean: f64| PlotPoint { tokens: i as f64, min: mean, mean, max: mean };
        let straight: Vec<PlotPoint> = (1..200).map(|i| point(i, 5.0 - i as f64 * 0.01)).collect();
        for (p, q) in straight.iter().zip(smoothed(&straight)) {
            assert!((p.mean - q[1]).abs() < 1e-9 && p.tokens == q[0], "{q:?}");
        }
        let noisy: Vec<PlotPoint> = (1..200).map(|i| point(i, (i % 2) as f64)).collect();
        assert!(smoothed(&noisy)[20..180].iter().all(|q| (q[1] - 0.5).abs() < 0.1));
        assert!(smoothed(&[]).is_empty());
        assert_eq!(smoothed(&[point(1, 2.0), point(2, f64::NAN)]), [[1.0, 2.0]]);
    }
}
