//! The plot of one run: loss above, batch size below, over one token axis, with phases, restarts,
//! bumps and what is planned.

use crate::snapshot::*;
use crate::tui::plot::{Axis, Chart, Dash, Figure, Lens, Mark, Panel, Scale, smoothed, smoothing};
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::words;
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// `None` where no loss was read.
pub(crate) fn figure(run: &RunView, lens: &Lens, smoother: i8) -> Option<Figure> {
    let whole = token_axis(run, lens.scale_x(Scale::Linear))?;
    let x = lens.part_x(whole);
    let (_, ratio) = smoothing(smoother);
    let detail = detail(run, &x);
    let points = detail.map_or(&run.plots.loss, |d| &d.points);
    let smooth = smoothed(if ratio > 1.0 { &run.plots.loss } else { points }, ratio);
    let whole_y = loss_axis(&run.plots, points, &smooth, &x, lens)?;
    let y = lens.part_y(whole_y);
    let mut panels = vec![Panel {
        title: loss_title(run, lens, ratio, &smooth, detail),
        chart: Chart { x, y, marks: loss_marks(run, points, smooth, &x, lens) },
        share: 3,
        rank: 0,
    }];
    panels.extend(batch_panel(run, x, lens));
    let now = run.tokens.unwrap_or(f64::NAN);
    Some(Figure {
        title: format!("{}: loss and batch size over tokens", run.id),
        x_name: "tokens",
        panels,
        focus: [now, run.loss.unwrap_or(f64::NAN)],
        whole: [whole, whole_y],
    })
}

/// Words in place of the plot.
pub(crate) fn nothing(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    Pen::new(buf, scene.theme, area).text("  no losses read yet", Role::Dim);
}

type Title = Vec<(String, Role)>;

/// What is known more finely of all that is shown.
fn detail<'a>(run: &'a RunView, x: &Axis) -> Option<&'a Detail> {
    let holds = |d: &&Detail| d.tokens[0] <= x.low.max(0.0) && x.high <= d.tokens[1];
    run.plots.detail.as_deref().filter(holds)
}

fn loss_title(
    run: &RunView,
    lens: &Lens,
    ratio: f64,
    smooth: &[[f64; 2]],
    detail: Option<&Detail>,
) -> Title {
    let means = detail.and_then(|d| d.means).map(|why| (format!("  {why}"), Role::Dim));
    if let Some(words) = lens.cursor.and_then(|x| loss_at(run, x, smooth, detail)) {
        return [Some((words, Role::Strong)), means].into_iter().flatten().collect();
    }
    let how = if ratio > 1.0 {
        format!("loss, smoothed ±{:.0} %", (ratio - 1.0) * 100.0)
    } else {
        "loss".into()
    };
    let mut title = vec![(how, Role::Curve), ("  single steps".into(), Role::Guide)];
    if !run.plots.validation.is_empty() {
        title.push(("  validation".into(), Role::Other));
    }
    if planned_path(run).is_some() {
        title.push(("  planned".into(), Role::Planned));
    }
    title.extend(means);
    title
}

/// What stands at the cursor, exactly: `12,400,000 tokens · loss 2.2143 (2.1820 to 2.2710)`, where
/// single lines are known `12,400,000 tokens · step 31,000: 2.1820 · loss 2.2143`.
fn loss_at(run: &RunView, x: f64, smooth: &[[f64; 2]], detail: Option<&Detail>) -> Option<String> {
    let block = nearest(detail.map_or(&run.plots.loss, |d| &d.points), x, |q| q.tokens)?;
    let line = detail.filter(|_| block.min == block.max).and_then(|d| {
        let at = d.points.iter().position(|q| q == block)?;
        d.steps.get(at).filter(|s| **s >= 0.0)
    });
    let mut words = format!("{} tokens", units::exact(block.tokens.max(0.0).round() as u64));
    if let Some(step) = line {
        let step = units::exact(step.round() as u64);
        words.push_str(&format!(" · step {step}: {}", units::loss(block.mean)));
    }
    if let Some(s) = nearest(smooth, x, |p| p[0]) {
        words.push_str(&format!(" · loss {}", units::loss(s[1])));
    }
    if block.max > block.min {
        let (low, high) = (units::loss(block.min), units::loss(block.max));
        words.push_str(&format!(", single steps {low} to {high}"));
    }
    if let Some(v) = nearest(&run.plots.validation, x, |q| q.tokens) {
        words.push_str(&format!(" · validation {}", units::loss(v.mean)));
    }
    Some(words)
}

fn batch_at(run: &RunView, x: f64) -> String {
    let p = &run.plots;
    let now = p.batch_size.iter().rfind(|b| b[0] <= x).or(p.batch_size.first());
    let mut words = match now {
        Some(b) if b[1] >= 0.0 => format!("B {}", units::exact(b[1].round() as u64)),
        _ => "B -".into(),
    };
    if let Some([_, low, value, high]) = nearest(&p.b_opt, x, |b| b[0]) {
        let n = |v: f64| units::count(v);
        words.push_str(&format!(" · B_opt {} ({}–{})", n(*value), n(*low), n(*high)));
    }
    let phase = p.phases.iter().find(|f| (f.1..=f.2).contains(&x));
    if let Some((phase, ..)) = phase {
        words.push_str(&format!(" · {}", words::phase(Some(*phase))));
    }
    words
}

/// The element whose place lies nearest to `x`.
pub(crate) fn nearest<T>(list: &[T], x: f64, place: impl Fn(&T) -> f64) -> Option<&T> {
    let known = list.iter().filter(|q| place(q).is_finite());
    known.min_by(|a, b| (place(a) - x).abs().total_cmp(&(place(b) - x).abs()))
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

/// Over what is shown of the tokens, and there over the range that matters: the first twentieth
/// falls too fast to be shown with the rest on a linear axis.
fn loss_axis(
    p: &RunPlots,
    points: &[PlotPoint],
    smooth: &[[f64; 2]],
    x: &Axis,
    lens: &Lens,
) -> Option<Axis> {
    let last = p.loss.iter().map(|q| q.tokens).fold(0.0, f64::max);
    let steep = x.scale == Scale::Linear && lens.x.is_none();
    let from = if steep { last * 0.05 } else { x.low };
    let seen = from..=x.high;
    let shown = |q: &&PlotPoint| seen.contains(&q.tokens);
    // What single steps do beyond it still reaches the edge.
    let means = smooth.iter().filter(|q| seen.contains(&q[0])).map(|q| q[1]);
    let validation = p.validation.iter().filter(shown).map(|q| q.mean);
    let usual = usual_range(points.iter().filter(shown));
    let scale = lens.scale_y(Scale::Linear);
    Axis::around(means.chain(validation).chain(usual), scale, 0.06, loss_label)
        .or_else(|| Axis::around(p.loss.iter().map(|q| q.mean), scale, 0.06, loss_label))
}

/// Between which losses nine of ten points of the plot lie with their extremes.
fn usual_range<'a>(points: impl Iterator<Item = &'a PlotPoint>) -> [f64; 2] {
    let (mut lows, mut highs): (Vec<f64>, Vec<f64>) = points.map(|q| (q.min, q.max)).unzip();
    lows.sort_by(f64::total_cmp);
    highs.sort_by(f64::total_cmp);
    let at = |v: &[f64], share: f64| v.get((v.len() as f64 * share) as usize).copied();
    [at(&lows, 0.1).unwrap_or(f64::NAN), at(&highs, 0.9).unwrap_or(f64::NAN)]
}

pub(crate) fn loss_label(x: f64) -> String {
    let s = units::loss(x);
    if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_string() } else { s }
}

/// The loss that the planned schedule is to bring, from now on.
fn planned_path(run: &RunView) -> Option<&PolicyOutcome> {
    let policies = &run.plan.as_ref()?.policies;
    policies.iter().find(|p| p.policy == Policy::Planned && p.path.len() > 1)
}

fn loss_marks(
    run: &RunView,
    points: &[PlotPoint],
    smooth: Vec<[f64; 2]>,
    x: &Axis,
    lens: &Lens,
) -> Vec<Mark> {
    let p = &run.plots;
    let mut marks = phases(run);
    marks.extend(events(run));
    marks.extend(flags(run));
    marks.push(Mark::Range {
        points: points.iter().map(|q| [q.tokens, q.min, q.max]).collect(),
        role: Role::Guide,
    });
    let line = |points, role, dash, layer| Mark::Line { points, role, dash, layer };
    let validation = p.validation.iter().map(|q| [q.tokens, q.mean]).collect();
    marks.push(line(validation, Role::Other, Dash::Solid, 2));
    if let Some(planned) = planned_path(run) {
        marks.push(line(planned.path.clone(), Role::Planned, Dash::Dotted, 2));
    }
    let target = run.plan.iter().flat_map(|p| &p.policies).find_map(|p| p.target_loss);
    if let Some(y) = target {
        marks.push(Mark::Horizontal { y, role: Role::Planned, dash: Dash::Sparse });
        // In what is to come, else where there is room.
        let at: Vec<[f64; 2]> = (0..12).map(|i| [x.value(0.95 - 0.08 * f64::from(i)), y]).collect();
        let text = format!("target {}", loss_label(y));
        marks.push(Mark::Label { at, text, role: Role::Planned });
    }
    marks.push(line(smooth, Role::Curve, Dash::Solid, 3));
    marks.extend(lens.cursor_mark());
    marks
}

fn batch_panel(run: &RunView, x: Axis, lens: &Lens) -> Option<Panel> {
    let p = &run.plots;
    let batch = p.batch_size.iter().map(|b| b[1]);
    let opt = p.b_opt.iter().flat_map(|b| [b[1], b[3]]);
    let planned = run.plan.iter().flat_map(|p| &p.schedule).map(|e| e.batch_size_tokens as f64);
    let y = Axis::around(batch.chain(opt).chain(planned), Scale::Log, 0.15, units::count)?;
    let title = match lens.cursor {
        Some(x) => vec![(batch_at(run, x), Role::Strong)],
        None => {
            let mut title = vec![("B now, tokens".into(), Role::BatchNow)];
            title.push(("  B_opt, stable phase".into(), Role::BatchOpt));
            if run.plan.is_some() {
                title.push(("  planned".into(), Role::Planned));
            }
            title
        }
    };
    let mut marks = batch_marks(run, &x);
    marks.extend(lens.cursor_mark());
    Some(Panel { title, chart: Chart { x, y, marks }, share: 2, rank: 1 })
}

fn batch_marks(run: &RunView, x: &Axis) -> Vec<Mark> {
    let p = &run.plots;
    let mut marks: Vec<Mark> =
        phases(run).into_iter().filter(|m| matches!(m, Mark::Shade { .. })).collect();
    marks.extend(events(run));
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

/// Where the batch size changed: (tokens, to).
fn bumps(run: &RunView) -> impl Iterator<Item = [f64; 2]> + '_ {
    run.plots.batch_size.windows(2).filter(|w| w[0][1] != w[1][1]).map(|w| w[1])
}

/// What is to come: the entries of the plan beyond now.
fn planned(run: &RunView) -> impl Iterator<Item = &Entry> {
    let now = run.tokens.unwrap_or(f64::NAN);
    run.plan.iter().flat_map(|p| &p.schedule).filter(move |e| e.from_tokens as f64 > now)
}

/// The phases in words, and a ground below those that are not stable.
fn phases(run: &RunView) -> Vec<Mark> {
    let spans = run.plots.phases.iter();
    spans
        .flat_map(|(phase, from, to)| {
            let (from, to) = (*from, *to);
            let text = words::phase(Some(*phase)).to_string();
            let shade = (*phase != Phase::Stable).then_some(Mark::Shade { from, to });
            [Some(Mark::Top { from, to, text, role: Role::Dim }), shade].into_iter().flatten()
        })
        .collect()
}

/// Restarts and batch sizes in words, above the plot.
fn flags(run: &RunView) -> Vec<Mark> {
    let size = |b: f64| units::count(b);
    let flag = |x: f64, text: String, role| Mark::Flag { x, text, role };
    let restarts = run.plots.restarts.iter().map(|x| flag(*x, "↻".into(), Role::Bad));
    let bumps = bumps(run).map(|b| flag(b[0], size(b[1]), Role::BatchNow));
    let planned = planned(run)
        .map(|e| flag(e.from_tokens as f64, size(e.batch_size_tokens as f64), Role::Planned));
    restarts.chain(bumps).chain(planned).collect()
}

/// Vertical lines: where phases begin, the run was restarted, the batch size changed or is to.
fn events(run: &RunView) -> Vec<Mark> {
    let p = &run.plots;
    let line = |x: f64, role, dash| Mark::Vertical { x, role, dash };
    let phases = p.phases.iter().skip(1).map(|f| line(f.1, Role::Guide, Dash::Sparse));
    let restarts = p.restarts.iter().map(|x| line(*x, Role::Bad, Dash::Sparse));
    let bumps = bumps(run).map(|b| line(b[0], Role::BatchNow, Dash::Sparse));
    let coming = planned(run).map(|e| line(e.from_tokens as f64, Role::Planned, Dash::Sparse));
    phases.chain(restarts).chain(bumps).chain(coming).collect()
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
