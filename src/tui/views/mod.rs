//! The screens. Each is a widget for a scene: a snapshot, what is looked at, and a theme.

mod approval;
mod b_opt_figure;
mod control;
mod curve;
mod curve_figure;
mod curve_panel;
mod detail;
mod help;
pub(crate) mod overview;
mod problems;
mod run;
mod run_figure;
mod schedule;
mod schedule_figure;

use super::app::{App, PlotKind, Popup, View, too_small};
use super::plot::{Figure, Lens};
use super::rows;
use super::text::{Pen, put};
use super::theme::{Role, Scene};
use super::widgets::status;
use crate::snapshot::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

pub(crate) use status::{scrub_bar, tabs};

/// Where the parts of the screen lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Areas {
    pub header: Rect,
    pub body: Rect,
    pub said: Option<Rect>,
    pub scrub: Option<Rect>,
    pub footer: Rect,
}

pub(crate) fn areas(screen: Rect, app: &App, snapshot: &Snapshot) -> Areas {
    let row = |y: u16| Rect { y, height: 1.min(screen.height), ..screen };
    let mut bottom = screen.bottom().saturating_sub(1);
    let footer = row(bottom);
    let scrub = snapshot.replay.is_some().then(|| {
        bottom = bottom.saturating_sub(1);
        row(bottom)
    });
    // With no run the messages have the whole body.
    let speaks = app.said.is_some() || (!snapshot.messages.is_empty() && !snapshot.runs.is_empty());
    let said = speaks.then(|| {
        bottom = bottom.saturating_sub(1);
        row(bottom)
    });
    let top = screen.y + 1;
    let body = Rect { y: top, height: bottom.saturating_sub(top), ..screen };
    Areas { header: row(screen.y), body, said, scrub, footer }
}

/// Draws the whole screen.
pub(crate) fn draw(scene: Scene<'_>, screen: Rect, buf: &mut Buffer) {
    let Scene { snapshot, app, theme } = scene;
    if too_small((screen.width, screen.height)) {
        let [width, height] = [screen.width, screen.height];
        let words =
            format!("{width}x{height} is too small: boptop needs 40x12; only q and Ctrl-Z act");
        Pen::new(buf, theme, screen).wrapped("", &words, Role::Text);
        return;
    }
    let areas = areas(screen, app, snapshot);
    status::header(scene, areas.header, buf);
    if snapshot.runs.is_empty() && matches!(app.view, View::Overview | View::Run) {
        empty(scene, areas.body, buf);
    } else {
        match app.view {
            View::Overview => overview::Overview(scene).render(areas.body, buf),
            View::Run => run::Run(scene).render(areas.body, buf),
            View::Curve => curve::Curve(scene).render(areas.body, buf),
            View::Schedule => schedule::Schedule(scene).render(areas.body, buf),
            View::Control => control::Control(scene).render(areas.body, buf),
            View::Problems => problems::Problems(scene).render(areas.body, buf),
        }
    }
    if let (Some(row), Some(words)) = (areas.said, status::said(scene)) {
        let style = theme.style(Role::Warn);
        put(buf, theme, (row.x + 1, row.y), row.width.saturating_sub(2), &words, style);
    }
    if let (Some(row), Some(replay)) = (areas.scrub, &snapshot.replay) {
        status::scrub(theme, replay, row, buf);
    }
    status::footer(scene, areas.footer, buf);
    match &app.popup {
        Some(Popup::Help { scroll }) => help::Help(scene, *scroll).render(areas.body, buf),
        Some(Popup::Approval(a)) => approval::Dialog(scene, a).render(areas.body, buf),
        None => {}
    }
}

/// The plot of the present view, as a model; `None` where nothing is plotted.
pub(crate) fn figure(app: &App, snapshot: &Snapshot) -> Option<Figure> {
    let run = || rows::selected(app, snapshot);
    match app.view {
        View::Overview => run_figure::figure(run()?, &Lens::default(), 0),
        View::Run => run_figure::figure(run()?, app.lens(PlotKind::Run), app.smoothing),
        View::Curve => curve::figure(app, snapshot),
        View::Schedule => schedule_figure::figure(run()?, app, app.lens(PlotKind::Schedule)),
        View::Control | View::Problems => None,
    }
}

/// No run yet: what is waited for.
fn empty(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let area = inset(area, 3, area.height / 4);
    let mut pen = Pen::new(buf, scene.theme, area);
    pen.text("No runs yet.", Role::Strong);
    pen.blank();
    for message in &scene.snapshot.messages {
        pen.wrapped("", message, Role::Text);
    }
    if scene.snapshot.messages.is_empty() {
        pen.wrapped("", "boptop waits for metrics files to appear.", Role::Text);
    }
    pen.blank();
    pen.wrapped("", "6 shows every file and what was found in it.", Role::Dim);
}

/// The area less a margin.
fn inset(area: Rect, x: u16, y: u16) -> Rect {
    Rect {
        x: area.x + x.min(area.width),
        y: area.y + y.min(area.height),
        width: area.width.saturating_sub(2 * x),
        height: area.height.saturating_sub(2 * y),
    }
}

/// The left part and the rest, with a gap.
fn split(area: Rect, left: u16, gap: u16) -> (Rect, Rect) {
    let left = left.min(area.width);
    let x = (area.x + left + gap).min(area.right());
    (Rect { width: left, ..area }, Rect { x, width: area.right() - x, ..area })
}

/// The upper part and the rest.
fn above(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let rest = Rect { y: area.y + height, height: area.height - height, ..area };
    (Rect { height, ..area }, rest)
}

/// Words in the middle of nothing.
fn instead(scene: Scene<'_>, area: Rect, title: &str, words: &[String], buf: &mut Buffer) {
    let mut pen = Pen::new(buf, scene.theme, inset(area, 2, 1));
    pen.text(title, Role::Strong);
    pen.blank();
    for w in words {
        pen.wrapped("· ", w, Role::Text);
    }
}
