//! The control log of one run: what was proposed, approved, written, acknowledged.

use super::above;
use crate::snapshot::*;
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::{rows, words};
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Control<'a>(pub Scene<'a>);

/// The way of a change that all goes well with.
const WAY: [ControlState; 5] = [
    ControlState::Proposed,
    ControlState::Approved,
    ControlState::Written,
    ControlState::Accepted,
    ControlState::Applied,
];

impl Widget for Control<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Scene { snapshot, app, theme } = self.0;
        let Some(run) = rows::selected(app, snapshot) else { return };
        let c = &run.control;
        let head = (8 + c.notes.len() as u16).min(area.height / 2);
        let (top, log) = above(area, head);
        let top = Rect { x: top.x + 2, width: top.width.saturating_sub(4), ..top };
        let mut pen = Pen::new(buf, theme, top);
        pen.spans(&[(&run.id, Role::Strong), ("  ", Role::Text), (&path(c), Role::Dim)]);
        way(c, &mut pen);
        pen.field("in force", 10, &words::schedule(&c.schedule), Role::Text);
        let next = c.next.map_or("nothing to come".into(), |e| words::entry(&e));
        pen.field("next", 10, &next, Role::Text);
        pen.field("trainer", 10, &trainer(c.trainer.as_ref()), Role::Text);
        for note in &c.notes {
            pen.wrapped("note      ", note, Role::Warn);
        }
        self.log(c, log, buf);
    }
}

fn path(c: &ControlView) -> String {
    if c.path.is_empty() { "no control file".into() } else { c.path.clone() }
}

/// `revision 7   proposed → approved → written → accepted → applied`, the present one marked.
fn way(c: &ControlView, pen: &mut Pen<'_>) {
    let revision = c.revision.map_or("no revision yet   ".into(), |n| format!("revision {n}   "));
    let mut spans: Vec<(&str, Role)> = vec![(&revision, Role::Text)];
    let off_the_way = c.state.filter(|s| !WAY.contains(s));
    for (i, s) in WAY.iter().enumerate() {
        if i > 0 {
            spans.push((" → ", Role::Guide));
        }
        let (word, role) = words::control(*s);
        if c.state == Some(*s) {
            spans.push(("●", role));
            spans.push((word, role));
        } else {
            spans.push((word, Role::Dim));
        }
    }
    if let Some(s) = off_the_way {
        let (word, role) = words::control(s);
        spans.push(("   ✗ ", role));
        spans.push((word, role));
    }
    pen.spans(&spans);
}

fn trainer(t: Option<&TrainerLimits>) -> String {
    let Some(t) = t else {
        return "has not said ready: nothing is known of its limits".into();
    };
    let size = |x: Option<u64>| x.map_or("no limit".into(), |v| units::count(v as f64));
    format!(
        "unit {} · smallest {} · largest {} · {} · {}",
        t.unit_tokens.map_or("unknown".into(), units::exact),
        size(t.min_batch_tokens),
        size(t.max_batch_tokens),
        if t.up_only { "up only" } else { "up and down" },
        if t.can_scale_lr { "scales its learning rate" } else { "cannot scale its learning rate" },
    )
}

impl Control<'_> {
    fn log(&self, c: &ControlView, area: Rect, buf: &mut Buffer) {
        let Scene { app, theme, .. } = self.0;
        let mut pen = Pen::new(
            buf,
            theme,
            Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area },
        );
        let back = usize::from(app.control_scroll).min(c.log.len().saturating_sub(1));
        let title = if back > 0 { format!("log, {back} newer below") } else { "log".into() };
        pen.rule(&title);
        if c.log.is_empty() {
            pen.text(" nothing yet", Role::Dim);
            return;
        }
        // From the newest seen line upwards, so that the newest stands at the bottom.
        let room = usize::from(pen.left());
        let text_width = pen.area.width.saturating_sub(INDENT);
        let mut shown = Vec::new();
        let mut used = 0;
        for line in c.log[..c.log.len() - back].iter().rev() {
            let words = format!("{}{}", line.text, by(line));
            let lines = crate::tui::text::wrap(theme, &words, text_width.max(20));
            let height = lines.len().max(1);
            if used + height > room {
                break;
            }
            used += height;
            shown.push((line, lines));
        }
        for (line, lines) in shown.into_iter().rev() {
            let revision = line.revision.map_or(String::new(), |n| n.to_string());
            let lead = format!(
                " {:<15} {:>4} {:<10} ",
                words::local_time(theme, &line.at),
                revision,
                line.event
            );
            let role = event_role(&line.event);
            let first = lines.first().cloned().unwrap_or_default();
            pen.spans(&[(&lead, role), (&first, Role::Text)]);
            for more in lines.iter().skip(1) {
                let blank = " ".repeat(usize::from(INDENT));
                pen.spans(&[(&blank, Role::Text), (more, Role::Text)]);
            }
        }
    }
}

/// Columns before the words of a line.
const INDENT: u16 = 33;

fn by(line: &LogLine) -> String {
    if line.by.is_empty() { String::new() } else { format!(" ({})", line.by) }
}

fn event_role(event: &str) -> Role {
    match event {
        "applied" | "accepted" => Role::Good,
        "rejected" | "refused" | "overdue" | "reverted" | "burned" => Role::Bad,
        "written" | "approved" => Role::Warn,
        _ => Role::Dim,
    }
}
