//! A box over the view.

use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

/// Draws an empty box in the middle of `area`; returns its inside.
pub(crate) fn open(
    buf: &mut Buffer,
    theme: &Theme,
    area: Rect,
    (width, height): (u16, u16),
    title: &str,
) -> Rect {
    let (w, h) = (width.min(area.width), height.min(area.height));
    let outer = Rect {
        x: area.x + (area.width - w) / 2,
        y: area.y + (area.height - h) / 2,
        width: w,
        height: h,
    };
    Clear.render(outer, buf);
    if w < 4 || h < 3 {
        return Rect { width: 0, height: 0, ..outer };
    }
    let style = theme.style(Role::Dim);
    let line = "─".repeat(usize::from(w - 2));
    for (y, left, right) in [(outer.top(), "┌", "┐"), (outer.bottom() - 1, "└", "┘")] {
        text::put(buf, theme, (outer.x, y), 1, left, style);
        text::put(buf, theme, (outer.x + 1, y), w - 2, &line, style);
        text::put(buf, theme, (outer.right() - 1, y), 1, right, style);
    }
    for y in outer.top() + 1..outer.bottom() - 1 {
        text::put(buf, theme, (outer.x, y), 1, "│", style);
        text::put(buf, theme, (outer.right() - 1, y), 1, "│", style);
    }
    let title = format!(" {title} ");
    text::put(buf, theme, (outer.x + 2, outer.y), w - 4, &title, theme.style(Role::Strong));
    Rect { x: outer.x + 2, y: outer.y + 1, width: w - 4, height: h - 2 }
}
