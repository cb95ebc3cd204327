//! A table whose columns come and go with the width.

use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub title: &'static str,
    /// Least width.
    pub width: u16,
    /// Grows up to this where there is room.
    pub most: u16,
    pub right: bool,
    /// Columns of a lower rank stay longer on a narrow terminal; rank 0 always.
    pub rank: u8,
}

/// Blank columns between columns.
const GAP: u16 = 2;

/// Which columns fit, with their place: (index, x, width).
pub(crate) fn layout(columns: &[Column], x: u16, width: u16) -> Vec<(usize, u16, u16)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let need = |kept: &[usize]| -> u16 {
        kept.iter().map(|i| columns[*i].width + GAP).sum::<u16>().saturating_sub(GAP)
    };
    while need(&kept) > width {
        let worst = kept.iter().copied().max_by_key(|i| columns[*i].rank);
        match worst.filter(|i| columns[*i].rank > 0) {
            Some(i) => kept.retain(|k| *k != i),
            None => break,
        }
    }
    let mut spare = width.saturating_sub(need(&kept));
    let mut widths: Vec<u16> = kept.iter().map(|i| columns[*i].width).collect();
    // What is left goes to the columns that can use it, the first ones first.
    for (w, i) in widths.iter_mut().zip(&kept) {
        let more = columns[*i].most.saturating_sub(*w).min(spare);
        *w += more;
        spare -= more;
    }
    let mut at = x;
    let mut out = Vec::with_capacity(kept.len());
    for (w, i) in widths.into_iter().zip(kept) {
        let w = w.min((x + width).saturating_sub(at));
        out.push((i, at, w));
        at += w + GAP;
    }
    out
}

/// One row of cells, one for each column of the table, drawn where the column is.
pub(crate) fn row(
    buf: &mut Buffer,
    theme: &Theme,
    columns: &[Column],
    places: &[(usize, u16, u16)],
    y: u16,
    cells: &[(String, Style)],
) {
    for (i, x, w) in places {
        let Some((words, style)) = cells.get(*i) else { continue };
        if columns[*i].right {
            text::put_right(buf, theme, (x + w, y), *w, words, *style);
        } else {
            text::put(buf, theme, (*x, y), *w, words, *style);
        }
    }
}

/// The titles; `marked` carries a mark for the order.
pub(crate) fn header(
    buf: &mut Buffer,
    theme: &Theme,
    columns: &[Column],
    places: &[(usize, u16, u16)],
    y: u16,
    marked: Option<(usize, bool)>,
) {
    let style = theme.style(Role::Heading);
    let cells: Vec<(String, Style)> = columns
        .iter()
        .enumerate()
        .map(|(i, c)| match marked {
            Some((m, reversed)) if m == i => {
                (format!("{}{}", c.title, if reversed { "▼" } else { "▲" }), style)
            }
            _ => (c.title.to_string(), style),
        })
        .collect();
    row(buf, theme, columns, places, y, &cells);
}

/// Rows that are seen: `height` of `len`, with the selected one among them.
pub(crate) fn window(len: usize, selected: usize, height: u16) -> std::ops::Range<usize> {
    let height = usize::from(height);
    // Pages turn by halves, so that the list stands still while the selection moves.
    let step = (height / 2).max(1);
    let first = if selected < height { 0 } else { ((selected - height) / step + 1) * step };
    let first = first.min(len.saturating_sub(height));
    first..len.min(first + height)
}

/// A selected row in its whole width.
pub(crate) fn select(buf: &mut Buffer, theme: &Theme, row: Rect) {
    buf.set_style(row, theme.style(Role::Selected));
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "a", width: 5, most: 8, right: false, rank: 0 },
        Column { title: "b", width: 5, most: 5, right: true, rank: 2 },
        Column { title: "c", width: 5, most: 40, right: false, rank: 1 },
    ];

    #[test]
    fn the_least_important_column_goes_first_and_room_is_used() {
        let at = |w| layout(&COLUMNS, 0, w);
        assert_eq!(at(30), [(0, 0, 8), (1, 10, 5), (2, 17, 13)]);
        assert_eq!(at(15).iter().map(|p| p.0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(at(6), [(0, 0, 6)]);
        assert_eq!(at(3), [(0, 0, 3)]);
    }

    #[test]
    fn the_selected_row_is_always_seen() {
        for len in 0..50 {
            for height in 1..12 {
                for selected in 0..len {
                    let w = window(len, selected, height);
                    assert!(w.contains(&selected), "{selected} of {len} in {height}: {w:?}");
                    assert!(w.len() <= usize::from(height));
                }
            }
        }
    }
}
