//! The screen: a snapshot drawn, keys turned into commands. Nothing of training is computed here.
//!
//! ```text
//! terminal event -> keymap (context, key) -> Action -> update(&mut App, Action, &Snapshot) -> Command
//! snapshot, app, theme -> views -> Buffer -> only the cells that changed
//! ```
//!
//! [`App`] knows what is looked at (view, selection, filter, popup) and no run data; [`Snapshot`]
//! knows everything else. The loop sleeps until a key, a snapshot or a signal comes and draws only
//! when one of them changed something. `terminal.rs` alone sets terminal modes, `theme.rs` alone
//! names colours, `text.rs` alone lets text from logs through to the buffer.

mod app;
mod approve;
mod event_loop;
mod key;
mod keymap;
mod mouse;
mod picture;
mod plot;
mod plots;
mod rows;
mod settings;
mod terminal;
mod text;
mod theme;
mod update;
mod verdicts;
mod views;
mod widgets;
mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fixture_fit;
#[cfg(test)]
mod fixture_plan;
#[cfg(test)]
mod monkey;
#[cfg(test)]
mod screens;

pub use app::{App, View};
pub use event_loop::{Exit, run};
pub use keymap::keys_markdown;
pub use picture::{Shot, picture, write_picture};
pub use settings::{ColorDepth, Settings, SyncOutput, ThemeName};
pub use verdicts::{VerdictChange, Verdicts, verdict_word};

use crate::command::Command;
use crate::snapshot::Snapshot;

/// The screen as text, without colour: for tests, tickets and the README.
pub fn draw_to_text(snapshot: &Snapshot, app: &App, width: u16, height: u16) -> String {
    let theme = theme::Theme::plain();
    let area = ratatui::layout::Rect::new(0, 0, width, height);
    let mut buffer = ratatui::buffer::Buffer::empty(area);
    views::draw(theme::Scene { snapshot, app, theme: &theme }, area, &mut buffer);
    text::buffer_to_text(&buffer)
}

/// Feeds keys as a terminal would, without one: `"3"`, `"Enter"`, `"Tab"`, `"Ctrl-c"`, separated by
/// blanks. Returns the commands that they caused.
pub fn press(app: &mut App, keys: &str, snapshot: &Snapshot) -> Vec<Command> {
    update::settle(app, snapshot);
    keys.split_whitespace()
        .filter_map(key::Key::parse)
        .filter_map(|key| {
            let action = keymap::action(key, app, snapshot)?;
            update::update(app, action, snapshot)
        })
        .collect()
}
