//! What there is to say of one run: the verdict with its reasons, the control state, and where the
//! numbers come from.

use super::run::plots;
use super::split;
use crate::snapshot::*;
use crate::tui::text::{self, Pen};
use crate::tui::theme::{Role, Scene};
use crate::tui::words;
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Detail<'a>(pub Scene<'a>, pub &'a RunView);

impl Widget for Detail<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Detail(scene, run) = self;
        text::rule(buf, scene.theme, Rect { height: 1, ..area }, &run.id);
        let inner = Rect {
            x: area.x + 2,
            y: area.y + 1,
            width: area.width.saturating_sub(4),
            height: area.height.saturating_sub(1),
        };
        let side = inner.width >= 110 && inner.height >= 8 && !run.plots.loss.is_empty();
        let (left, right) =
            if side { split(inner, inner.width / 2, 2) } else { (inner, Rect::ZERO) };
        let mut pen = Pen::new(buf, scene.theme, left);
        verdict(&mut pen, run);
        // Control and sources stand below the reasons where there is room.
        if pen.left() >= 1 {
            pen.wrapped("control  ", &control_line(run), Role::Dim);
        }
        if pen.left() >= 2 {
            pen.wrapped("source   ", &source_line(run), Role::Dim);
        }
        for note in &run.notes {
            if pen.left() >= 1 {
                pen.wrapped("note     ", note, Role::Dim);
            }
        }
        if side {
            plots(&scene, run, right, buf);
        }
    }
}

/// The verdict in words and what it rests on; at least a line is kept free for the control state.
pub(crate) fn verdict(pen: &mut Pen<'_>, run: &RunView) {
    let (glyph, role) = words::verdict(run.verdict.kind);
    pen.wrapped(&format!("{glyph} "), &run.verdict.text, role);
    for reason in &run.verdict.reasons {
        if pen.left() > 2 {
            pen.wrapped("  · ", reason, Role::Text);
        }
    }
}

/// `revision 7 applied · next 4.19M at 250B tokens in 1d 02h · trainer: unit 65,536`
pub(crate) fn control_line(run: &RunView) -> String {
    let c = &run.control;
    let mut parts = Vec::new();
    match (c.revision, c.state) {
        (Some(n), Some(s)) => parts.push(format!("revision {n} {}", words::control(s).0)),
        (_, Some(s)) => parts.push(words::control(s).0.into()),
        _ if c.path.is_empty() => parts.push("no control file".into()),
        _ => parts.push("nothing written".into()),
    }
    if let Some(p) = &c.proposal {
        parts.push(format!("proposed: {} (4 a)", words::schedule(&p.schedule)));
    }
    if let Some(next) = &c.next {
        parts.push(next_bump(run, next));
    }
    match &c.trainer {
        Some(t) => {
            let unit = t.unit_tokens.map_or("unit unknown".into(), |u| {
                format!("trainer ready, unit {}", units::count(u as f64))
            });
            parts.push(unit);
        }
        None => parts.push("no trainer has said ready".into()),
    }
    parts.join(" · ")
}

/// `next 4.19M at 250B, in 1d 02h`
pub(crate) fn next_bump(run: &RunView, next: &Entry) -> String {
    let (b, at) = (next.batch_size_tokens as f64, next.from_tokens as f64);
    let away = match (run.tokens, run.tokens_per_second) {
        (Some(t), Some(rate)) if rate > 0.0 && at > t => {
            format!(", in {}", units::duration((at - t) / rate))
        }
        _ => String::new(),
    };
    format!("next {} at {}{away}", units::count(b), units::count(at))
}

fn source_line(run: &RunView) -> String {
    let bad = match run.bad_lines {
        0 => String::new(),
        n => format!(", {} bad (6)", units::exact(n)),
    };
    format!(
        "{} · {} lines{bad} · B {} · tokens {}",
        run.format,
        units::exact(run.lines),
        words::batch_source(run.batch_source),
        words::tokens_source(run.tokens_source)
    )
}
