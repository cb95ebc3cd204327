//! E over S at one loss level with its runs, rays and models, and how far the runs lie from it at
//! all levels.

use super::run_figure::{loss_label, nearest};
use crate::snapshot::*;
use crate::tui::plot::{Axis, Chart, Dash, Figure, Lens, Mark, Panel, Scale, along};
use crate::tui::theme::Role;
use crate::tui::words;
use crate::units;

/// Points of a ray: straight where both axes are alike, bent where one is linear.
const RAY_POINTS: usize = 33;

/// `None` where no run has reached the level and no model speaks.
pub(crate) fn curve(level: &LevelFit, shown: &[bool], lens: &Lens) -> Option<Figure> {
    let observed = &level.observed;
    // The window is that of the measured runs and the optimum; curves run out of it. Runs that
    // have not arrived may lie far off: they are pointed at from the edge.
    let reached = || observed.iter().filter(|o| !o.censored);
    let near = |o: &&Observed| o.censored && observed.len() > 1;
    // A law along batch changes speaks of levels that no run reached at one batch size.
    let alone = level.models.iter().filter(|m| Some(m.model) == level.model);
    let alone: Vec<&CurvePoint> =
        alone.filter(|_| reached().next().is_none()).flat_map(|m| &m.curve).collect();
    let highest = reached().map(|o| o.tokens).fold(f64::NAN, f64::max);
    let at_b_min = level.b_min.value.map(|b| highest / b);
    let s = reached().map(|o| o.steps).chain(level.s_opt_steps.value).chain(at_b_min);
    let s = s.chain(alone.iter().map(|p| p.steps));
    let e = reached()
        .map(|o| o.tokens)
        .chain(level.e_min_tokens.value)
        .chain(alone.iter().map(|p| p.tokens));
    let e = e.chain(observed.iter().filter(near).map(|o| o.tokens));
    let whole = [
        Axis::around(s, lens.scale_x(Scale::Log), 0.08, units::count)?,
        Axis::around(e, lens.scale_y(Scale::Log), 0.18, units::count)?,
    ];
    let (x, y) = (lens.part_x(whole[0]), lens.part_y(whole[1]));
    let mut marks = rays(level, &x, &y);
    marks.extend(models(level, shown));
    marks.extend(points(level, &x));
    marks.extend(lens.cursor_mark());
    let scales = if x.scale == Scale::Log && y.scale == Scale::Log { ", log" } else { "" };
    let title = match lens.cursor.and_then(|s| curve_at(level, s)) {
        Some(words) => vec![(words, Role::Strong)],
        None => vec![(
            format!("tokens E to loss {} over steps S{scales}", units::loss(level.loss)),
            Role::Dim,
        )],
    };
    Some(Figure {
        title: format!("tokens E to loss {} over steps S", units::loss(level.loss)),
        x_name: "steps",
        panels: vec![Panel { title, chart: Chart { x, y, marks }, share: 4, rank: 0 }],
        focus: [
            level.s_opt_steps.value.unwrap_or(f64::NAN),
            level.e_min_tokens.value.unwrap_or(f64::NAN),
        ],
        whole,
    })
}

/// What the curve says at a number of steps, and the run that lies nearest to it.
fn curve_at(level: &LevelFit, steps: f64) -> Option<String> {
    let exact = |x: f64| units::exact(x.max(0.0).round() as u64);
    let speaks = level.models.iter().find(|m| Some(m.model) == level.model)?;
    let p = nearest(&speaks.curve, steps.ln(), |p| p.steps.ln())?;
    let b = units::count(p.tokens / p.steps);
    let mut out = format!("S {} · E {} · B {b}", exact(p.steps), exact(p.tokens));
    let reached: Vec<&Observed> = level.observed.iter().filter(|o| !o.censored).collect();
    if let Some(o) = nearest(&reached, steps.ln(), |o| o.steps.ln()) {
        out.push_str(&format!(
            " · run B {}: S {}, E {}",
            units::count(o.batch_size_tokens),
            exact(o.steps),
            exact(o.tokens)
        ));
    }
    Some(out)
}

/// Rays of constant batch size: through each point, at B_min, at the ends of the 2 % range.
fn rays(level: &LevelFit, x: &Axis, y: &Axis) -> Vec<Mark> {
    let ray = |b: f64, role, dash| {
        let at = |i: usize| x.value(i as f64 / (RAY_POINTS - 1) as f64);
        let points = (0..RAY_POINTS).map(|i| [at(i), at(i) * b]).collect();
        Mark::Line { points, role, dash, layer: 0 }
    };
    // Where a ray leaves the window, its label stands, or before.
    let end = |b: f64, from: f64, by: f64| -> Vec<[f64; 2]> {
        let heights = (0..16).map(|i| from + by * f64::from(i));
        let ray = heights.map(|h| [y.value(h) / b, y.value(h)]);
        ray.filter(|at| at[0] >= x.low && at[0] <= x.value(0.97)).collect()
    };
    let mut marks = Vec::new();
    for o in level.observed.iter().filter(|o| !o.censored) {
        marks.push(ray(o.batch_size_tokens, Role::Guide, Dash::Sparse));
    }
    for b in level.within_2_percent.into_iter().flatten() {
        marks.push(ray(b, Role::BatchOpt, Dash::Dotted));
        marks.push(Mark::Label {
            at: end(b, 0.97, -0.03),
            text: "2 %".into(),
            role: Role::BatchOpt,
        });
    }
    if let Some(b) = level.b_min.value.filter(|b| *b > 0.0) {
        marks.push(ray(b, Role::Bad, Dash::Dotted));
        // Its lower end lies where no curve comes.
        let at = end(b, 0.04, 0.03);
        marks.push(Mark::Label { at, text: "B_min".into(), role: Role::Bad });
    }
    if let Some(e) = level.e_min_tokens.value {
        marks.push(Mark::Horizontal { y: e, role: Role::BatchOpt, dash: Dash::Sparse });
    }
    if let Some(s) = level.s_opt_steps.value {
        marks.push(Mark::Vertical { x: s, role: Role::BatchOpt, dash: Dash::Sparse });
    }
    marks
}

fn models(level: &LevelFit, shown: &[bool]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (i, m) in level.models.iter().enumerate() {
        let speaks = level.model == Some(m.model);
        if !speaks && !shown.get(i).copied().unwrap_or(false) {
            continue;
        }
        marks.push(Mark::Line {
            points: m.curve.iter().map(|p| [p.steps, p.tokens]).collect(),
            role: if speaks { Role::Curve } else { Role::Other },
            dash: if speaks { Dash::Solid } else { Dash::Dotted },
            layer: if speaks { 4 } else { 3 },
        });
        if !speaks {
            let points: Vec<[f64; 2]> = m.curve.iter().map(|p| [p.steps, p.tokens]).collect();
            let text = words::model(m.model).to_string();
            marks.push(Mark::Label { at: along(&points, 0.75), text, role: Role::Other });
        }
    }
    marks
}

/// Runs as points with their error bars along the ray; the optimum; those that never arrived.
fn points(level: &LevelFit, x: &Axis) -> Vec<Mark> {
    let mut marks = Vec::new();
    for o in &level.observed {
        let at = [o.steps.min(x.high), o.tokens];
        if o.se_ln > 0.0 && o.se_ln.is_finite() && !o.censored {
            let f = o.se_ln.exp();
            marks.push(Mark::Line {
                points: vec![[o.steps / f, o.tokens / f], [o.steps * f, o.tokens * f]],
                role: Role::Point,
                dash: Dash::Solid,
                layer: 2,
            });
        }
        // A run that has not arrived yet: E lies above its tokens so far.
        let (symbol, role) = match o.censored {
            true if o.steps > x.high => ('▸', Role::Warn),
            true => ('▲', Role::Warn),
            false => ('●', Role::Point),
        };
        marks.push(Mark::Symbol { at, symbol, role });
    }
    let optimum = level.s_opt_steps.value.zip(level.e_min_tokens.value);
    if let Some((s, e)) = optimum {
        marks.push(Mark::Symbol { at: [s, e], symbol: '✕', role: Role::BatchOpt });
        let text = format!("B_opt {}", words::value(&level.b_opt));
        marks.push(Mark::Label { at: vec![[s, e]], text, role: Role::BatchOpt });
    }
    for o in &level.observed {
        let text = units::count(o.batch_size_tokens);
        let role = if o.censored { Role::Warn } else { Role::Text };
        marks.push(Mark::Label { at: vec![[o.steps.min(x.high), o.tokens]], text, role });
    }
    marks
}

/// Losses from high to low: to the right, as training goes.
pub(crate) fn falling_loss(losses: impl Iterator<Item = f64>) -> Option<Axis> {
    Axis::around(losses.map(|l| -l), Scale::Linear, 0.05, |x| loss_label(-x))
}

/// How far each run lies from the curve that speaks, level by level.
pub(crate) fn residuals(
    snapshot: &Snapshot,
    group: &GroupFit,
    level: &LevelFit,
    lens: &Lens,
) -> Option<Figure> {
    let mut runs: Vec<(f64, &RunView)> = Vec::new();
    for o in group.levels.iter().flat_map(|l| &l.observed) {
        if !runs.iter().any(|(_, r)| r.id == o.run)
            && let Some(run) = snapshot.runs.iter().find(|r| r.id == o.run)
        {
            runs.push((o.batch_size_tokens, run));
        }
    }
    let all = || runs.iter().flat_map(|(_, r)| &r.plots.residuals);
    let misses = all().map(|r| r[1]).chain([0.02, -0.02]);
    let whole = [
        falling_loss(all().map(|r| r[0]))?,
        Axis::around(misses, Scale::Linear, 0.1, units::percent)?,
    ];
    let (x, y) = (lens.part_x(whole[0]), lens.part_y(whole[1]));
    let mut marks = vec![
        Mark::Horizontal { y: 0.0, role: Role::Curve, dash: Dash::Dotted },
        Mark::Vertical { x: -level.loss, role: Role::Guide, dash: Dash::Sparse },
    ];
    for (b, run) in &runs {
        let points: Vec<[f64; 2]> = run.plots.residuals.iter().map(|r| [-r[0], r[1]]).collect();
        let here = points.iter().find(|p| p[0] == -level.loss).or(points.last()).copied();
        marks.push(Mark::Line { points, role: Role::Other, dash: Dash::Solid, layer: 2 });
        if let Some(at) = here {
            marks.push(Mark::Symbol { at, symbol: '●', role: Role::Point });
            marks.push(Mark::Label { at: vec![at], text: units::count(*b), role: Role::Text });
        }
    }
    marks.extend(lens.cursor_mark());
    let words = match lens.cursor {
        Some(x) => residuals_at(&runs, -x),
        None => "tokens of a run over those of the curve, less 1, by loss level".into(),
    };
    Some(Figure {
        title: "how far the runs lie from the curve".into(),
        x_name: "loss",
        panels: vec![Panel {
            title: vec![(words, if lens.cursor.is_some() { Role::Strong } else { Role::Dim })],
            chart: Chart { x, y, marks },
            share: 4,
            rank: 0,
        }],
        focus: [-level.loss, 0.0],
        whole,
    })
}

/// `loss 2.30: 64 +1.2 %, 128 -0.4 %`
fn residuals_at(runs: &[(f64, &RunView)], loss: f64) -> String {
    let all = runs.iter().flat_map(|(_, r)| &r.plots.residuals);
    let levels: Vec<f64> = all.map(|r| r[0]).collect();
    let Some(level) = nearest(&levels, loss, |l| *l) else { return String::new() };
    let one = |(b, run): &(f64, &RunView)| {
        let miss = run.plots.residuals.iter().find(|r| r[0] == *level)?[1];
        Some(format!("{} {}", units::count(*b), words::change(miss)))
    };
    let each: Vec<String> = runs.iter().filter_map(one).collect();
    format!("loss {}: {}", units::loss(*level), each.join(", "))
}
