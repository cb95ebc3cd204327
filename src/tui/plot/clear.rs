//! For tests: whether the words of a plot keep clear of what is drawn and of each other.

use super::model::{Figure, Mark};
use crate::tui::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

fn drawn(figure: &Figure, theme: &Theme, area: Rect) -> Buffer {
    let mut buf = Buffer::empty(area);
    figure.draw(theme, area, &mut buf);
    buf
}

/// The words that a figure may put between its axes, the longest first.
fn labels(figure: &Figure, theme: &Theme) -> Vec<String> {
    let marks = figure.panels.iter().flat_map(|p| &p.chart.marks);
    let mut all: Vec<String> = marks
        .filter_map(|m| match m {
            Mark::Label { text, .. } => Some(theme.clean(text).into_owned()),
            _ => None,
        })
        .collect();
    all.sort_by_key(|t| std::cmp::Reverse(t.len()));
    all
}

/// How many labels are seen; fails where one shares a cell with what is drawn, or with another.
pub(crate) fn count_clear(figure: &Figure, theme: &Theme, area: Rect) -> usize {
    let words = labels(figure, theme);
    let full = drawn(figure, theme, area);
    let mut bare = figure.clone();
    for panel in &mut bare.panels {
        panel.chart.marks.retain(|m| !matches!(m, Mark::Label { .. }));
    }
    let bare = drawn(&bare, theme, area);
    let mut seen = 0;
    for y in area.top()..area.bottom() {
        // What the labels added, in a row of blanks.
        let mut row = String::new();
        for x in area.left()..area.right() {
            let (with, without) = (full[(x, y)].symbol(), bare[(x, y)].symbol());
            assert!(with == without || without == " ", "{with} on {without} at {x}, {y}");
            row.push_str(if with == without { " " } else { with });
        }
        let mut rest = row.trim_start();
        while !rest.is_empty() {
            let whole = words.iter().find_map(|w| rest.strip_prefix(w.as_str()));
            let after = whole.filter(|r| r.is_empty() || r.starts_with(' '));
            assert!(after.is_some(), "no whole label at {rest:?} of {words:?}");
            rest = after.unwrap_or_default().trim_start();
            seen += 1;
        }
    }
    seen
}
