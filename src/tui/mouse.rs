//! The mouse: a place on the screen to the action that a key would do there.

use super::app::{App, View};
use super::keymap::Action;
use super::theme::Theme;
use super::views;
use crate::snapshot::Snapshot;
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

/// What a mouse event asks for; nothing where the place means nothing.
pub(crate) fn action(event: &MouseEvent, app: &App, snapshot: &Snapshot) -> Option<Action> {
    match event.kind {
        MouseEventKind::ScrollDown => Some(Action::Down),
        MouseEventKind::ScrollUp => Some(Action::Up),
        MouseEventKind::Down(MouseButton::Left) if app.popup.is_none() => {
            click(Position::new(event.column, event.row), app, snapshot)
        }
        _ => None,
    }
}

fn click(at: Position, app: &App, snapshot: &Snapshot) -> Option<Action> {
    let screen = Rect::new(0, 0, app.size.0, app.size.1);
    let areas = views::areas(screen, app, snapshot);
    if at.y == areas.header.y {
        return views::tabs(areas.header)
            .into_iter()
            .find(|(_, place)| place.contains(at))
            .map(|(view, _)| Action::Show(view));
    }
    if let (Some(row), Some(replay)) = (areas.scrub, &snapshot.replay)
        && let Some(bar) = views::scrub_bar(&Theme::plain(), replay, row)
        && bar.contains(at)
    {
        let place = f64::from(at.x - bar.x) / f64::from(bar.width.max(2) - 1);
        return Some(Action::SeekTo((place * 1000.0).round() as u16));
    }
    match app.view {
        View::Overview => views::overview::hit(areas.body, at, app, snapshot),
        _ => None,
    }
}
