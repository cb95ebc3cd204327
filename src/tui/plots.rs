//! Keys that change what a plot shows, or take a picture of it. Pure.

use super::app::{App, Picture, PlotKind};
use super::keymap::Action;
use super::plot::{Scale, smoothing};
use super::{picture, rows, views};
use crate::command::Command;
use crate::snapshot::Snapshot;

/// Parts of what is shown that the cursor and a key move by.
const CURSOR: f64 = 0.005;
const PAN: f64 = 0.25;
/// What is asked for in detail beside what is shown, on each side, in parts of it; and how much of
/// it there may be until less is asked for.
const ASKED: f64 = 0.5;
const MOST_ASKED: f64 = 3.9;

pub(crate) fn update(app: &mut App, action: Action, snapshot: &Snapshot) {
    if action == Action::Picture {
        return take(app, snapshot);
    }
    let Some(plot) = app.plot() else { return };
    let Some(figure) = views::figure(app, snapshot) else {
        app.said = Some("nothing is plotted here yet".into());
        return;
    };
    let falls = matches!(plot, PlotKind::OverLoss | PlotKind::Residuals);
    // One that follows the data upwards by itself, or has nothing beside.
    let both = !matches!(plot, PlotKind::Run | PlotKind::Schedule);
    match action {
        Action::FlipX if falls => {
            app.said = Some("the loss falls to the right: it has no logarithm there".into());
            return;
        }
        Action::FlipY if plot == PlotKind::Residuals => {
            app.said = Some("residuals have both signs: they have no logarithm".into());
            return;
        }
        Action::Smoother => return smooth(app, 1),
        Action::Rougher => return smooth(app, -1),
        _ => {}
    }
    let lens = app.lens_mut(plot);
    match action {
        Action::ZoomIn => lens.zoom(0.5, &figure, both),
        Action::ZoomOut => lens.zoom(2.0, &figure, both),
        Action::ZoomReset => lens.reset(),
        Action::PanLeft => lens.pan(-PAN, 0.0),
        Action::PanRight => lens.pan(PAN, 0.0),
        Action::PanUp => lens.pan(0.0, PAN),
        Action::PanDown => lens.pan(0.0, -PAN),
        Action::FlipX => {
            (lens.flip_x, lens.x) = (!lens.flip_x, None);
            let scale = flipped(figure.whole[0].scale);
            app.said = Some(format!("{} is {scale}", figure.x_name));
        }
        Action::FlipY => {
            (lens.flip_y, lens.y) = (!lens.flip_y, None);
            let scale = flipped(figure.whole[1].scale);
            app.said = Some(format!("the axis upwards is {scale}"));
        }
        Action::Cursor if lens.cursor.is_some() => lens.cursor = None,
        Action::Cursor => {
            let [from, to] = lens.x.unwrap_or([0.0, 1.0]);
            let place = figure.whole[0].place(figure.focus[0]);
            let seen = (from..=to).contains(&place);
            let place = if seen { place } else { (from + to) / 2.0 };
            lens.cursor = Some(figure.whole[0].value(place));
        }
        Action::CursorStep(n) => lens.step(f64::from(n) * CURSOR, &figure),
        _ => {}
    }
}

/// Asks for the part of a run that is looked at in detail, with as much beside it on each side, where
/// what was asked for last does not hold it or is too wide for it.
pub(crate) fn look(app: &mut App, snapshot: &Snapshot) -> Option<Command> {
    let run = rows::selected(app, snapshot).filter(|_| app.plot() == Some(PlotKind::Run));
    let seen = run.and_then(|run| {
        let part = app.lens(PlotKind::Run).x?;
        let x = views::figure(app, snapshot)?.whole[0].part(part);
        Some((run.id.clone(), [x.low.max(0.0), x.high]))
    });
    let Some((id, [low, high])) = seen else {
        let (run, _) = app.looked.take()?;
        return Some(Command::Look { run, tokens: None });
    };
    let width = high - low;
    let held = app.looked.as_ref().is_some_and(|(run, [from, to])| {
        *run == id && *from <= low && high <= *to && to - from <= MOST_ASKED * width
    });
    if held {
        return None;
    }
    let tokens = [(low - ASKED * width).max(0.0), high + ASKED * width];
    app.looked = Some((id.clone(), tokens));
    Some(Command::Look { run: id, tokens: Some(tokens) })
}

/// What the other scale is called.
fn flipped(scale: Scale) -> &'static str {
    match scale {
        Scale::Linear => "logarithmic",
        Scale::Log => "linear",
    }
}

fn smooth(app: &mut App, by: i8) {
    let (at, ratio) = smoothing(app.smoothing.saturating_add(by));
    app.smoothing = at;
    app.said = Some(match ratio > 1.0 {
        true => format!("smoothed over ±{:.0} % of the tokens", (ratio - 1.0) * 100.0),
        false => "not smoothed".into(),
    });
}

fn take(app: &mut App, snapshot: &Snapshot) {
    match picture::shoot(app, snapshot) {
        Some((name, svg)) => app.picture = Some(Picture { name, svg }),
        None => app.said = Some("there is no plot on this screen".into()),
    }
}
