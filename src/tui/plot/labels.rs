//! Symbols and words of a chart: a word stands only where no data is.

use super::canvas::Canvas;
use super::cells::Cells;
use super::model::Mark;
use crate::tui::text;
use crate::tui::theme::Role;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

impl Cells<'_> {
    /// Symbols, then words where nothing else is.
    pub(super) fn words(&self, plot: Rect, canvas: &Canvas, taken: &mut [bool], buf: &mut Buffer) {
        let width = canvas.width;
        for mark in &self.chart.marks {
            if let Mark::Symbol { at, symbol, role } = mark
                && let Some((x, y)) = canvas.cell_at(self.chart.at(*at))
            {
                taken[y * width + x] = true;
                let at = (plot.x + x as u16, plot.y + y as u16);
                text::put(buf, self.theme, at, 1, &symbol.to_string(), self.theme.style(*role));
            }
        }
        for mark in &self.chart.marks {
            if let Mark::Label { at, text, role } = mark
                && let Some((x, y)) = canvas.cell_at(self.chart.at(*at))
            {
                self.label(plot, (x, y), text, *role, canvas, taken, buf);
            }
        }
    }

    /// The row above the plot: flags at their places, then words over ranges where none is.
    pub(super) fn strip(&self, row: Rect, buf: &mut Buffer) {
        let mut taken = vec![false; usize::from(row.width)];
        let last = f64::from(row.width) - 1.0;
        let cell = |v: f64| (self.chart.x.place(v).clamp(0.0, 1.0) * last).round() as usize;
        let mut write = |from: usize, words: &str, role: Role| {
            let w = usize::from(text::width(self.theme, words));
            let near = from.saturating_sub(1)..(from + w + 1).min(taken.len());
            if from + w > taken.len() || taken[near].iter().any(|t| *t) {
                return false;
            }
            taken[from..from + w].fill(true);
            let at = (row.x + from as u16, row.y);
            text::put(buf, self.theme, at, w as u16, words, self.theme.style(role));
            true
        };
        for mark in &self.chart.marks {
            if let Mark::Flag { x, text, role } = mark
                && (0.0..=1.0).contains(&self.chart.x.place(*x))
            {
                write(cell(*x), text, *role);
            }
        }
        for mark in &self.chart.marks {
            if let Mark::Top { from, to, text: words, role } = mark {
                let w = usize::from(text::width(self.theme, words));
                let (a, b) = (cell(*from) + 1, cell(*to) + 1);
                for x in a..b.saturating_sub(w) {
                    if write(x, words, *role) {
                        break;
                    }
                }
            }
        }
    }

    /// Right of the place, left of it, above or below it: the first that is free.
    #[expect(clippy::too_many_arguments, reason = "one call site")]
    fn label(
        &self,
        plot: Rect,
        (x, y): (usize, usize),
        words: &str,
        role: Role,
        canvas: &Canvas,
        taken: &mut [bool],
        buf: &mut Buffer,
    ) {
        let w = usize::from(text::width(self.theme, words));
        let (x, y, wi) = (x as i64, y as i64, w as i64);
        let (near, far) = (x + 2, x - wi - 1);
        let places = [
            (near, y),
            (far, y),
            (near, y - 1),
            (near, y + 1),
            (far, y - 1),
            (far, y + 1),
            (x + 3, y),
            (x - wi - 2, y),
            (x + 4, y),
            (x - wi - 3, y),
            (x - wi / 2, y - 1),
            (x - wi / 2, y + 1),
            (x + 3, y - 2),
            (x - wi, y + 2),
        ];
        for (lx, ly) in places {
            if lx < 0 || ly < 0 || ly >= canvas.height as i64 || lx + wi > canvas.width as i64 {
                continue;
            }
            let (lx, ly) = (lx as usize, ly as usize);
            let row = ly * canvas.width;
            // A blank on both sides, so that words do not grow together.
            let from = row + lx.saturating_sub(1);
            let to = row + (lx + w + 1).min(canvas.width);
            if taken[from..to].iter().all(|t| !*t) {
                self.write(plot, (lx, ly), words, role, canvas.width, taken, buf);
                return;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a place, words and what they are written on")]
    fn write(
        &self,
        plot: Rect,
        (x, y): (usize, usize),
        words: &str,
        role: Role,
        width: usize,
        taken: &mut [bool],
        buf: &mut Buffer,
    ) {
        let w = usize::from(text::width(self.theme, words));
        let row = y * width;
        taken[row + x..row + (x + w).min(width)].fill(true);
        let at = (plot.x + x as u16, plot.y + y as u16);
        text::put(buf, self.theme, at, w as u16, words, self.theme.style(role));
    }
}
