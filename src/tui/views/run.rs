//! One run: loss and batch size over one token axis, with phases, restarts and bumps.

use super::{above, detail};
use crate::snapshot::*;
use crate::tui::plot::{Axis, Chart, Dash, GUTTER, Mark, Scale};
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::{rows, words};
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Run<'a>(pub Scene<'a>);

impl Widget for Run<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let scene = self.0;
        let Some(run) = rows::selected(scene.app, scene.snapshot) else { return };
        let facts = if area.height >= 18 { 5 } else { 3 };
        let (head, body) = above(area, facts);
        let head = Rect { x: head.x + 2, width: head.width.saturating_sub(4), ..head };
        let mut pen = Pen::new(buf, scene.theme, head);
        headline(&mut pen, run);
        numbers(&mut pen, run);
        let (glyph, role) = words::verdict(run.verdict.kind);
        pen.text(&format!("{glyph} {}", run.verdict.text), role);
        if pen.left() > 0 {
            pen.text(&detail::control_line(run), Role::Dim);
        }
        plots(&scene, run, body, buf);
    }
}

fn headline(pen: &mut Pen<'_>, run: &RunView) {
    let (mark, state, role) = words::state(run.state);
    let schedule = match run.schedule {
        Schedule::Wsd => "",
        Schedule::Declining => " · learning rate without a plateau",
        Schedule::Unknown => " · schedule not recognised",
        Schedule::Absent => " · no learning rate logged",
    };
    let lr = run.lr.filter(|_| pen.area.width >= 90);
    let lr = lr.map_or(String::new(), |lr| format!(" · lr {}", units::learning_rate(lr)));
    let rest = format!(
        "  {} · step {} · {} tokens · loss {}{lr}{schedule}",
        words::phase(run.phase),
        if pen.area.width < 100 {
            words::count(run.step)
        } else {
            run.step.map_or("-".into(), |s| units::exact(s.max(0.0) as u64))
        },
        words::count(run.tokens),
        words::loss(run.loss),
    );
    pen.spans(&[
        (&run.id, Role::Strong),
        ("  ", Role::Text),
        (mark, role),
        (" ", Role::Text),
        (state, role),
        (&rest, Role::Text),
    ]);
}

fn numbers(pen: &mut Pen<'_>, run: &RunView) {
    let speed = run.tokens_per_second.map_or("-".into(), units::count);
    let iv = run.b_opt.as_ref().map_or("-".into(), words::interval);
    pen.spans(&[
        ("B ", Role::Dim),
        (&words::count(run.batch_size), Role::BatchNow),
        ("  B_opt ", Role::Dim),
        (&iv, Role::BatchOpt),
        ("  tokens lost at B ", Role::Dim),
        (&words::percent(run.excess_tokens), Role::Text),
        ("  ", Role::Dim),
        (&speed, Role::Text),
        (" tokens/s", Role::Dim),
    ]);
}

/// Loss above, batch size below, over the same tokens.
pub(crate) fn plots(scene: &Scene<'_>, run: &RunView, area: Rect, buf: &mut Buffer) {
    let p = &run.plots;
    let scale = if scene.app.log_tokens { Scale::Log } else { Scale::Linear };
    let Some(x) = token_axis(run, scale) else {
        Pen::new(buf, scene.theme, area).text("  no losses read yet", Role::Dim);
        return;
    };
    let lower = if area.height >= 12 { area.height * 2 / 5 } else { 0 };
    let (top, bottom) = above(area, area.height - lower);
    let title = |buf: &mut Buffer, area: Rect, parts: &[(&str, Role)]| {
        let (row, rest) = above(area, 1);
        let at = Rect { x: row.x + GUTTER + 1, width: row.width.saturating_sub(GUTTER + 1), ..row };
        Pen::new(buf, scene.theme, at).spans(parts);
        rest
    };
    if let Some(y) = loss_axis(p, &x) {
        let val = if p.validation.is_empty() { "" } else { "  validation" };
        let parts =
            [("loss, smoothed", Role::Curve), ("  single steps", Role::Guide), (val, Role::Other)];
        let rest = title(buf, top, &parts);
        let marks = loss_marks(run, &y);
        let x_labels = lower == 0;
        (&Chart { theme: scene.theme, x, y, marks, x_labels, gutter: GUTTER }).render(rest, buf);
    }
    let batch = p.batch_size.iter().map(|b| b[1]);
    let opt = p.b_opt.iter().flat_map(|b| [b[1], b[3]]);
    let planned = run.plan.iter().flat_map(|p| &p.schedule).map(|e| e.batch_size_tokens as f64);
    let y = Axis::around(batch.chain(opt).chain(planned), Scale::Log, 0.15, units::count);
    if let Some(y) = y.filter(|_| lower > 0) {
        let parts = [
            ("B now, tokens", Role::BatchNow),
            ("  B_opt, stable phase", Role::BatchOpt),
            (if run.plan.is_some() { "  planned" } else { "" }, Role::Planned),
        ];
        let rest = title(buf, bottom, &parts);
        let marks = batch_marks(run, &x);
        let chart = Chart { theme: scene.theme, x, y, marks, x_labels: true, gutter: GUTTER };
        (&chart).render(rest, buf);
    }
}

fn token_axis(run: &RunView, scale: Scale) -> Option<Axis> {
    let p = &run.plots;
    let seen = p.loss.iter().chain(&p.validation).map(|q| q.tokens);
    let last = seen.clone().filter(|t| t.is_finite()).fold(0.0, f64::max);
    // Room for the next steps of the plan, but not so much that the run becomes small.
    let coming = run
        .plan
        .iter()
        .flat_map(|p| &p.schedule)
        .map(|e| e.from_tokens as f64 * 1.08)
        .filter(|t| *t > last && *t <= last * 1.6);
    let start = (scale == Scale::Linear && last > 0.0).then_some(0.0);
    Axis::around(seen.chain(coming).chain(start), scale, 0.0, units::count)
}

/// Over the range that matters: the first twentieth of the tokens falls too fast to be shown with
/// the rest on a linear axis.
fn loss_axis(p: &RunPlots, x: &Axis) -> Option<Axis> {
    let last = p.loss.iter().map(|q| q.tokens).fold(0.0, f64::max);
    let from = if x.scale == Scale::Linear { last * 0.05 } else { 0.0 };
    let late = |q: &&PlotPoint| q.tokens >= from;
    // What single steps do beyond it still reaches the edge.
    let means = p.smooth.iter().filter(|q| q[0] >= from).map(|q| q[1]);
    let validation = p.validation.iter().filter(late).map(|q| q.mean);
    let usual = usual_range(p.loss.iter().filter(late));
    Axis::around(means.chain(validation).chain(usual), Scale::Linear, 0.06, loss_label)
        .or_else(|| Axis::around(p.loss.iter().map(|q| q.mean), Scale::Linear, 0.06, loss_label))
}

/// Between which losses nine of ten points of the plot lie with their extremes.
fn usual_range<'a>(points: impl Iterator<Item = &'a PlotPoint>) -> [f64; 2] {
    let (mut lows, mut highs): (Vec<f64>, Vec<f64>) = points.map(|q| (q.min, q.max)).unzip();
    lows.sort_by(f64::total_cmp);
    highs.sort_by(f64::total_cmp);
    let at = |v: &[f64], share: f64| v.get((v.len() as f64 * share) as usize).copied();
    [at(&lows, 0.1).unwrap_or(f64::NAN), at(&highs, 0.9).unwrap_or(f64::NAN)]
}

fn loss_label(x: f64) -> String {
    let s = units::loss(x);
    if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_string() } else { s }
}

fn loss_marks(run: &RunView, y: &Axis) -> Vec<Mark> {
    let p = &run.plots;
    let mut marks = events(run);
    for q in &p.loss {
        // What lies above the range still reaches its upper edge.
        let (low, high) = (q.min.min(y.high), q.max.max(y.low));
        marks.push(Mark::Column { x: q.tokens, low, high, role: Role::Guide });
    }
    let line = |points: &[PlotPoint], role, layer| Mark::Line {
        points: points.iter().map(|q| [q.tokens, q.mean]).collect(),
        role,
        dash: Dash::Solid,
        layer,
    };
    marks.push(line(&p.validation, Role::Other, 2));
    marks.push(Mark::Line {
        points: p.smooth.clone(),
        role: Role::Curve,
        dash: Dash::Solid,
        layer: 3,
    });
    for (phase, from, to) in &p.phases {
        let text = words::phase(Some(*phase)).to_string();
        marks.push(Mark::Top { from: *from, to: *to, text, role: Role::Dim });
    }
    marks
}

fn batch_marks(run: &RunView, x: &Axis) -> Vec<Mark> {
    let p = &run.plots;
    let mut marks = events(run);
    let band = p.b_opt.iter().map(|b| [b[0], b[1], b[3]]).collect();
    marks.push(Mark::Band { points: band, role: Role::BatchOpt });
    marks.push(Mark::Line {
        points: p.b_opt.iter().map(|b| [b[0], b[2]]).collect(),
        role: Role::BatchOpt,
        dash: Dash::Solid,
        layer: 2,
    });
    let now = run.tokens.unwrap_or(f64::NAN);
    if let Some(plan) = &run.plan {
        marks.push(Mark::Stairs {
            points: coming(&plan.schedule, now),
            until: x.high,
            role: Role::Planned,
            dash: Dash::Dotted,
            layer: 3,
        });
    }
    marks.push(Mark::Stairs {
        points: p.batch_size.clone(),
        until: now,
        role: Role::BatchNow,
        dash: Dash::Solid,
        layer: 4,
    });
    marks
}

/// The part of a schedule from `now` on.
pub(crate) fn coming(schedule: &[Entry], now: f64) -> Vec<[f64; 2]> {
    let in_force = schedule.iter().rfind(|e| e.from_tokens as f64 <= now);
    let first = in_force.map(|e| [now, e.batch_size_tokens as f64]);
    let later = schedule.iter().filter(|e| e.from_tokens as f64 > now);
    first
        .into_iter()
        .chain(later.map(|e| [e.from_tokens as f64, e.batch_size_tokens as f64]))
        .collect()
}

/// Vertical lines: where phases begin, the run was restarted, the batch size changed.
fn events(run: &RunView) -> Vec<Mark> {
    let p = &run.plots;
    let line = |x: f64, role, dash| Mark::Vertical { x, role, dash };
    let phases = p.phases.iter().skip(1).map(|f| line(f.1, Role::Guide, Dash::Sparse));
    let restarts = p.restarts.iter().map(|x| line(*x, Role::Bad, Dash::Sparse));
    let bumps = p.batch_size.iter().skip(1).map(|b| line(b[0], Role::BatchNow, Dash::Sparse));
    phases.chain(restarts).chain(bumps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coming_part_of_a_schedule_starts_with_what_is_in_force() {
        let e = |from_tokens, batch_size_tokens| Entry {
            from_tokens,
            batch_size_tokens,
            lr_scale: None,
        };
        let s = [e(0, 10), e(100, 20), e(200, 40)];
        assert_eq!(coming(&s, 150.0), [[150.0, 20.0], [200.0, 40.0]]);
        assert_eq!(coming(&s, 500.0), [[500.0, 40.0]]);
        assert!(coming(&[], 1.0).is_empty());
    }
}
