//! The E(S) curve at one loss level, or B_opt over all levels; the numbers stand beside it.

use super::{above, curve_panel, instead, split};
use crate::snapshot::*;
use crate::tui::app::CurvePlot;
use crate::tui::plot::{Axis, Chart, Dash, GUTTER, Mark, Scale};
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::{rows, words};
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Curve<'a>(pub Scene<'a>);

impl Widget for Curve<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let scene = self.0;
        let Some(group) = rows::group(scene.app, scene.snapshot) else {
            let words = if scene.snapshot.fit.running {
                "the first fit is being computed"
            } else {
                "a fit needs runs at several batch sizes and one learning rate, in their stable phase"
            };
            return instead(scene, area, "No fit yet.", &[words.into()], buf);
        };
        let Some(at) = rows::level(scene.app, group) else {
            let mut why: Vec<String> = group.refused.iter().map(refusal).collect();
            why.extend(
                group.runs.iter().filter_map(|r| r.why.as_ref().map(|w| format!("{}: {w}", r.id))),
            );
            return instead(scene, area, "No loss level can be compared yet.", &why, buf);
        };
        let level = &group.levels[at];
        let panel = (area.width / 3).clamp(30, 56);
        let (left, right) = split(area, area.width - panel - 1, 1);
        let (title, plot) = above(left, 1);
        match scene.app.curve.plot {
            CurvePlot::Curve => self.curve(level, title, plot, buf),
            CurvePlot::OverLoss => self.over_loss(group, level, title, plot, buf),
        }
        curve_panel::Panel { scene, group, at }.render(right, buf);
    }
}

/// `what: why; needs`
pub(crate) fn refusal(r: &Refused) -> String {
    if r.needs.is_empty() {
        format!("{}: {}", r.what, r.why)
    } else {
        format!("{}: {}; needs {}", r.what, r.why, r.needs)
    }
}

impl Curve<'_> {
    fn curve(&self, level: &LevelFit, title: Rect, area: Rect, buf: &mut Buffer) {
        let theme = self.0.theme;
        let words = format!("tokens E to loss {} over steps S, log", units::loss(level.loss));
        Pen::new(buf, theme, indent(title)).text(&words, Role::Dim);
        let observed = &level.observed;
        // The window is that of the measured runs and the optimum; curves run out of it.
        // Runs that have not arrived may lie far off: they are pointed at from the edge.
        let reached = || observed.iter().filter(|o| !o.censored);
        let near = |o: &&Observed| o.censored && observed.len() > 1;
        let highest = reached().map(|o| o.tokens).fold(f64::NAN, f64::max);
        let at_b_min = level.b_min.value.map(|b| highest / b);
        let s = reached().map(|o| o.steps).chain(level.s_opt_steps.value).chain(at_b_min);
        let e = reached().map(|o| o.tokens).chain(level.e_min_tokens.value);
        let e = e.chain(observed.iter().filter(near).map(|o| o.tokens));
        let axes = (
            Axis::around(s, Scale::Log, 0.08, units::count),
            Axis::around(e, Scale::Log, 0.18, units::count),
        );
        let (Some(x), Some(y)) = axes else {
            let at = Rect { x: area.x + 2, ..area };
            Pen::new(buf, theme, at).text("no run has reached this level", Role::Text);
            return;
        };
        let mut marks = self.rays(level, &x, &y);
        marks.extend(self.models(level));
        marks.extend(points(level, &x));
        (&Chart { theme, x, y, marks, x_labels: true, gutter: GUTTER }).render(area, buf);
    }

    /// Rays of constant batch size: through each point, at B_min, at the ends of the 2 % range.
    fn rays(&self, level: &LevelFit, x: &Axis, y: &Axis) -> Vec<Mark> {
        let ray = |b: f64, role, dash| Mark::Line {
            points: vec![[x.low, x.low * b], [x.high, x.high * b]],
            role,
            dash,
            layer: 0,
        };
        // Where a ray leaves the window, its label stands.
        let end = |b: f64| {
            let s = (y.high * 0.97 / b).min(x.high * 0.97);
            [s, s * b]
        };
        let mut marks = Vec::new();
        for o in level.observed.iter().filter(|o| !o.censored) {
            marks.push(ray(o.batch_size_tokens, Role::Guide, Dash::Sparse));
        }
        for b in level.within_2_percent.into_iter().flatten() {
            marks.push(ray(b, Role::BatchOpt, Dash::Dotted));
            marks.push(Mark::Label { at: end(b), text: "2 %".into(), role: Role::BatchOpt });
        }
        if let Some(b) = level.b_min.value.filter(|b| *b > 0.0) {
            marks.push(ray(b, Role::Bad, Dash::Dotted));
            // Its lower end lies where no curve comes.
            let s = (y.low * 1.1 / b).max(x.low);
            let at = [s, s * b];
            marks.push(Mark::Label { at, text: "B_min".into(), role: Role::Bad });
        }
        if let Some(e) = level.e_min_tokens.value {
            marks.push(Mark::Horizontal { y: e, role: Role::BatchOpt, dash: Dash::Sparse });
        }
        marks
    }

    fn models(&self, level: &LevelFit) -> Vec<Mark> {
        let mut marks = Vec::new();
        for (i, m) in level.models.iter().enumerate() {
            let speaks = level.model == Some(m.model);
            let shown = self.0.app.curve.shown.get(i).copied().unwrap_or(false);
            if !speaks && !shown {
                continue;
            }
            marks.push(Mark::Line {
                points: m.curve.iter().map(|p| [p.steps, p.tokens]).collect(),
                role: if speaks { Role::Curve } else { Role::Other },
                dash: if speaks { Dash::Solid } else { Dash::Dotted },
                layer: if speaks { 4 } else { 3 },
            });
            let last = m.curve.get(m.curve.len() * 3 / 4).filter(|_| !speaks);
            if let Some(p) = last {
                let text = words::model(m.model).to_string();
                marks.push(Mark::Label { at: [p.steps, p.tokens], text, role: Role::Other });
            }
        }
        marks
    }

    fn over_loss(
        &self,
        group: &GroupFit,
        level: &LevelFit,
        title: Rect,
        area: Rect,
        buf: &mut Buffer,
    ) {
        let theme = self.0.theme;
        Pen::new(buf, theme, indent(title)).text("B_opt, tokens, over the loss level", Role::Dim);
        let known: Vec<&LevelFit> =
            group.levels.iter().filter(|l| l.b_opt.value.is_some()).collect();
        let runs = || self.0.snapshot.runs.iter().filter(|r| r.group.as_ref() == Some(&group.id));
        let b = known.iter().flat_map(|l| [l.b_opt.low, l.b_opt.value, l.b_opt.high]).flatten();
        let batches = runs().filter_map(|r| r.batch_size);
        let axes = (
            // The loss falls as training goes on: to the right.
            Axis::around(known.iter().map(|l| -l.loss), Scale::Linear, 0.05, |x| {
                units::loss(-x).trim_end_matches('0').trim_end_matches('.').to_string()
            }),
            Axis::around(b.chain(batches), Scale::Log, 0.1, units::count),
        );
        let (Some(x), Some(y)) = axes else {
            let at = Rect { x: area.x + 2, ..area };
            Pen::new(buf, theme, at).text("no level has a B_opt yet", Role::Text);
            return;
        };
        let edges = |l: &&LevelFit| {
            let v = l.b_opt.value.unwrap_or(f64::NAN);
            [-l.loss, l.b_opt.low.unwrap_or(v), l.b_opt.high.unwrap_or(v)]
        };
        let mut marks = vec![
            Mark::Band { points: known.iter().map(edges).collect(), role: Role::BatchOpt },
            Mark::Line {
                points: known.iter().filter_map(|l| Some([-l.loss, l.b_opt.value?])).collect(),
                role: Role::BatchOpt,
                dash: Dash::Solid,
                layer: 3,
            },
            Mark::Vertical { x: -level.loss, role: Role::Guide, dash: Dash::Sparse },
        ];
        for r in runs() {
            if let (Some(loss), Some(b)) = (r.loss, r.batch_size) {
                marks.push(Mark::Symbol { at: [-loss, b], symbol: '●', role: Role::BatchNow });
                marks.push(Mark::Label { at: [-loss, b], text: r.id.clone(), role: Role::Dim });
            }
        }
        (&Chart { theme, x, y, marks, x_labels: true, gutter: GUTTER }).render(area, buf);
    }
}

fn indent(row: Rect) -> Rect {
    Rect { x: row.x + GUTTER + 1, width: row.width.saturating_sub(GUTTER + 1), ..row }
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
        marks.push(Mark::Label { at: [s, e], text, role: Role::BatchOpt });
    }
    for o in &level.observed {
        let text = units::count(o.batch_size_tokens);
        let role = if o.censored { Role::Warn } else { Role::Text };
        marks.push(Mark::Label { at: [o.steps.min(x.high), o.tokens], text, role });
    }
    marks
}
