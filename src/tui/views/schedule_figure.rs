//! The policies over tokens: the loss on the way of each above, the staircase of the chosen one
//! below.

use super::run_figure::{coming, loss_label, nearest};
use crate::snapshot::*;
use crate::tui::app::App;
use crate::tui::plot::{
    Axis, Chart, Dash, Figure, Lens, Mark, Panel, Scale, along, smoothed, smoothing,
};
use crate::tui::theme::Role;
use crate::tui::{rows, words};
use crate::units;

/// `None` where there is no policy to show.
pub(crate) fn figure(run: &RunView, app: &App, lens: &Lens) -> Option<Figure> {
    let plan = run.plan.as_ref()?;
    let policies = rows::policies(run);
    let chosen = rows::policy(app, policies)?;
    let now = run.tokens.unwrap_or(0.0);
    let whole = token_axis(policies, chosen, now, lens.scale_x(Scale::Linear))?;
    let x = lens.part_x(whole);
    let stairs = stairs(run, plan, chosen, x, now, lens)?;
    let loss = loss(run, policies, chosen, x, now, lens);
    let whole_y = loss.as_ref().map_or(stairs.chart.y, |(_, whole)| *whole);
    Some(Figure {
        title: format!("{}: {}", run.id, words::policy(chosen.policy)),
        x_name: "tokens",
        panels: loss.map(|l| l.0).into_iter().chain([stairs]).collect(),
        focus: [now, run.loss.unwrap_or(f64::NAN)],
        whole: [whole, whole_y],
    })
}

/// From the start to the end of the policies, as long as that leaves something to see of the run.
fn token_axis(
    policies: &[PolicyOutcome],
    chosen: &PolicyOutcome,
    now: f64,
    scale: Scale,
) -> Option<Axis> {
    let ends = policies.iter().filter_map(|p| p.tokens.value);
    let starts = chosen.schedule.iter().map(|e| e.from_tokens as f64 * 1.1);
    let start = if scale == Scale::Linear { 0.0 } else { now / 10.0 };
    let seen = ends.chain(starts).chain([start, now]).filter(|t| *t <= now.max(1.0) * 20.0);
    Axis::around(seen, scale, 0.0, units::count)
}

/// The loss on the way of every policy, beside what the run has done; with the axis before a zoom.
fn loss(
    run: &RunView,
    policies: &[PolicyOutcome],
    chosen: &PolicyOutcome,
    x: Axis,
    now: f64,
    lens: &Lens,
) -> Option<(Panel, Axis)> {
    let late = |t: f64| t >= x.low.max(now * 0.5) && t <= x.high;
    let smooth = smoothed(&run.plots.loss, smoothing(0).1);
    let past = smooth.iter().filter(|p| late(p[0])).map(|p| p[1]);
    let ways = || policies.iter().flat_map(|p| &p.path);
    ways().next()?;
    let coming = ways().filter(|p| late(p[0])).map(|p| p[1]);
    let target = chosen.target_loss;
    let values = past.chain(coming).chain(target);
    let whole = Axis::around(values, lens.scale_y(Scale::Linear), 0.08, loss_label)?;
    let y = lens.part_y(whole);
    let line = |points, role, dash, layer| Mark::Line { points, role, dash, layer };
    let mut marks = vec![Mark::Vertical { x: now, role: Role::Guide, dash: Dash::Dotted }];
    marks.extend(target.map(|y| Mark::Horizontal { y, role: Role::Planned, dash: Dash::Sparse }));
    for p in policies.iter().filter(|p| p.policy != chosen.policy) {
        marks.push(line(p.path.clone(), Role::Other, Dash::Dotted, 2));
        let shown = |q: &&[f64; 2]| q[0] >= x.low && q[0] <= x.value(0.9);
        let shown: Vec<[f64; 2]> = p.path.iter().filter(shown).copied().collect();
        let text = words::policy(p.policy).to_string();
        marks.push(Mark::Label { at: along(&shown, 0.99), text, role: Role::Other });
    }
    marks.push(line(smooth, Role::Curve, Dash::Solid, 3));
    marks.push(line(chosen.path.clone(), Role::Planned, Dash::Solid, 4));
    marks.push(Mark::Flag { x: now, text: "now".into(), role: Role::Dim });
    marks.extend(lens.cursor_mark());
    let title = match lens.cursor {
        Some(x) => vec![(losses_at(policies, x), Role::Strong)],
        None => vec![
            ("loss so far".into(), Role::Curve),
            (format!("  {}", words::policy(chosen.policy)), Role::Planned),
            ("  the others".into(), Role::Other),
        ],
    };
    // Without room the staircase stays: it is what would be written.
    Some((Panel { title, chart: Chart { x, y, marks }, share: 3, rank: 1 }, whole))
}

/// `16,000,000 tokens · leave it 2.1731 · planned ramp 2.1622`
fn losses_at(policies: &[PolicyOutcome], x: f64) -> String {
    let mut words = vec![format!("{} tokens", units::exact(x.max(0.0) as u64))];
    for p in policies {
        let ends = p.path.first().zip(p.path.last());
        let inside = ends.is_some_and(|(a, b)| (a[0]..=b[0]).contains(&x));
        if let Some(q) = nearest(&p.path, x, |q| q[0]).filter(|_| inside) {
            words.push(format!("{} {}", words::policy(p.policy), units::loss(q[1])));
        }
    }
    words.join(" · ")
}

/// The staircase of the chosen policy behind what the run has done.
fn stairs(
    run: &RunView,
    plan: &Plan,
    policy: &PolicyOutcome,
    x: Axis,
    now: f64,
    lens: &Lens,
) -> Option<Panel> {
    let schedule = &policy.schedule;
    let sizes = run.plots.batch_size.iter().map(|b| b[1]);
    let planned = schedule.iter().map(|e| e.batch_size_tokens as f64);
    let band = [plan.b_opt.low, plan.b_opt.value, plan.b_opt.high];
    let all = sizes.chain(planned).chain(band.into_iter().flatten()).chain(run.batch_size);
    let y = Axis::around(all, Scale::Log, 0.15, units::count)?;
    let mut marks = Vec::new();
    if let (Some(l), Some(h)) = (plan.b_opt.low, plan.b_opt.high) {
        let points = vec![[x.low, l, h], [now, l, h]];
        marks.push(Mark::Band { points, role: Role::BatchOpt });
    }
    marks.push(Mark::Vertical { x: now, role: Role::Guide, dash: Dash::Dotted });
    marks.push(Mark::Stairs {
        points: coming(schedule, now),
        until: policy.tokens.value.unwrap_or(x.high).min(x.high),
        role: Role::Planned,
        dash: Dash::Solid,
        layer: 3,
    });
    marks.push(Mark::Stairs {
        points: run.plots.batch_size.clone(),
        until: now,
        role: Role::BatchNow,
        dash: Dash::Solid,
        layer: 4,
    });
    for e in schedule.iter().filter(|e| e.from_tokens as f64 > now) {
        let (x, text) = (e.from_tokens as f64, units::count(e.batch_size_tokens as f64));
        marks.push(Mark::Flag { x, text, role: Role::Planned });
    }
    marks.push(Mark::Top { from: now, to: x.high, text: "now".into(), role: Role::Dim });
    marks.extend(lens.cursor_mark());
    let title = match lens.cursor {
        Some(x) => (size_at(schedule, x), Role::Strong),
        None => {
            let stairs = match policy.policy {
                Policy::Planned if plan.first_change_due => words::due_schedule(schedule, now),
                _ => words::schedule(schedule),
            };
            (format!("{}: {stairs}", words::policy(policy.policy)), Role::Planned)
        }
    };
    Some(Panel { title: vec![title], chart: Chart { x, y, marks }, share: 2, rank: 0 })
}

fn size_at(schedule: &[Entry], x: f64) -> String {
    match schedule.iter().rfind(|e| e.from_tokens as f64 <= x) {
        Some(e) => format!("B {} tokens", words::entry(e)),
        None => "the trainer's own batch size".into(),
    }
}
