//! What could not be read, and what was found in every file.

use super::inset;
use crate::snapshot::*;
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Problems<'a>(pub Scene<'a>);

impl Widget for Problems<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Scene { snapshot, app, theme } = self.0;
        let mut pen = Pen::new(buf, theme, inset(area, 2, 0));
        pen.skip = app.problems_scroll;
        let bad: u64 = snapshot.sources.iter().map(|s| s.bad_count).sum();
        let lines: u64 = snapshot.sources.iter().map(|s| s.lines).sum();
        let title = format!(
            "{} file{} · {} lines · {} bad",
            snapshot.sources.len(),
            if snapshot.sources.len() == 1 { "" } else { "s" },
            units::exact(lines),
            units::exact(bad)
        );
        pen.text(&title, Role::Strong);
        for message in snapshot.messages.iter().chain(&app.troubles) {
            pen.wrapped("· ", message, Role::Warn);
        }
        // Those with a problem first.
        let (worse, fine): (Vec<_>, Vec<_>) = snapshot.sources.iter().partition(|s| troubled(s));
        for source in worse.into_iter().chain(fine) {
            pen.blank();
            one(source, &mut pen);
        }
    }
}

fn troubled(s: &SourceStatus) -> bool {
    s.bad_count > 0 || !matches!(s.state, SourceState::Open) || s.fields.loss.is_none()
}

fn one(s: &SourceStatus, pen: &mut Pen<'_>) {
    let (mark, state, role) = match &s.state {
        SourceState::Waiting => ("○ ", "does not exist yet".to_string(), Role::Warn),
        SourceState::Open => ("● ", String::new(), Role::Good),
        SourceState::Failed(why) => ("✗ ", why.clone(), Role::Bad),
        SourceState::Unsupported(why) => ("✗ ", why.clone(), Role::Warn),
    };
    let path = s.path.to_string_lossy();
    pen.spans(&[(mark, role), (&path, Role::Strong)]);
    if !state.is_empty() {
        pen.wrapped("  ", &state, role);
    }
    if matches!(s.state, SourceState::Open) {
        let packed = if s.compression == "none" || s.compression.is_empty() {
            String::new()
        } else {
            format!(", {}", s.compression)
        };
        let facts = format!(
            "{}{packed} · {} lines · {} records · {} bad",
            s.format,
            units::exact(s.lines),
            units::exact(s.records),
            units::exact(s.bad_count)
        );
        pen.wrapped("  ", &facts, Role::Dim);
        pen.wrapped("  ", &fields(s), Role::Dim);
    }
    for note in &s.notes {
        pen.wrapped("  · ", note, Role::Text);
    }
    for b in &s.bad_lines {
        let column = if b.column > 0 { format!(":{}", b.column) } else { String::new() };
        let place = format!("  line {}{column} {}: ", b.line, b.kind);
        pen.spans(&[(&place, Role::Warn), (&b.text, Role::Text)]);
    }
    let more = s.bad_count.saturating_sub(s.bad_lines.len() as u64);
    if more > 0 {
        pen.text(&format!("  and {} more", units::exact(more)), Role::Dim);
    }
}

/// Which key plays which role.
fn fields(source: &SourceStatus) -> String {
    let f = &source.fields;
    let roles = [
        ("loss", &f.loss),
        ("step", &f.step),
        ("tokens", &f.tokens),
        ("batch size", &f.batch_size),
        ("lr", &f.lr),
        ("time", &f.time),
        ("validation loss", &f.val_loss),
    ];
    let found: Vec<String> = roles
        .iter()
        .filter_map(|(role, key)| Some(format!("{role} = {}", key.as_ref()?)))
        .collect();
    let missing = if f.loss.is_none() { "no loss key found (--field loss=KEY)" } else { "" };
    [found.join(", "), missing.into()]
        .into_iter()
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}
