//! Symbols and words of a chart: a word stands only where nothing is drawn.

use super::canvas::Canvas;
use super::cells::Cells;
use super::model::Mark;
use crate::tui::text;
use crate::tui::theme::Role;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// How far words may stand from their place: columns and rows between.
const FAR: (i64, i64) = (4, 2);

/// What a cell holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Free,
    /// A helping line: words may stand beside it, not on it.
    Helped,
    /// Data, a symbol or a word: a blank is kept beside it.
    Taken,
}

/// What the cells of a plot hold, and the places that words belong to.
#[derive(Debug)]
struct Ground {
    width: usize,
    height: usize,
    cells: Vec<Held>,
    places: Vec<[i64; 2]>,
}

impl Ground {
    fn new(canvas: &Canvas) -> Self {
        let (width, height) = (canvas.width, canvas.height);
        let held = |at: usize| match canvas.glyph(at % width, at / width) {
            None => Held::Free,
            Some(_) if canvas.is_data(at % width, at / width) => Held::Taken,
            Some(_) => Held::Helped,
        };
        let cells = (0..width * height).map(held).collect();
        Ground { width, height, cells, places: Vec::new() }
    }

    fn take(&mut self, [x, y]: [usize; 2], w: usize) {
        let row = y * self.width;
        self.cells[row + x..row + (x + w).min(self.width)].fill(Held::Taken);
    }

    /// Where words of `w` columns stand best beside a place: (column, row), if anywhere. With a
    /// blank on both sides if that can be had, in any case with one to all but helping lines.
    fn room(&self, place: [i64; 2], w: i64) -> Option<[usize; 2]> {
        let near = near(w);
        let stand = |rim: fn(&Held) -> bool| {
            let mut all = near.iter().map(|[dx, dy]| [place[0] + dx, place[1] + dy]);
            all.find(|at| nearest(place, *at, w, &self.places) && self.is_clear(*at, w, rim))
        };
        let found = stand(|c| *c == Held::Free).or_else(|| stand(|c| *c != Held::Taken));
        found.map(|at| at.map(|v| v as usize))
    }

    fn is_clear(&self, [x, y]: [i64; 2], w: i64, rim: fn(&Held) -> bool) -> bool {
        if x < 0 || x + w > self.width as i64 || y < 0 || y >= self.height as i64 {
            return false;
        }
        let (x, y, w) = (x as usize, y as usize, w as usize);
        let row = &self.cells[y * self.width..(y + 1) * self.width];
        let apart = &row[x.saturating_sub(1)..(x + w + 1).min(self.width)];
        row[x..x + w].iter().all(|c| *c == Held::Free) && apart.iter().all(rim)
    }
}

/// Where words of `w` columns may begin, from their place (columns, rows), the best first: right of
/// it, left, above, below, then farther off.
pub(super) fn near(w: i64) -> Vec<[i64; 2]> {
    let mut all: Vec<(i64, [i64; 2])> = Vec::new();
    for dy in -FAR.1..=FAR.1 {
        for dx in -w - FAR.0..=FAR.0 + 1 {
            let aside = gap(dx, w);
            if dy == 0 && aside < 2 {
                continue;
            }
            // Left of the place stands a little worse, and so does what is above but not centred.
            let left = i64::from(dx < 0 && aside > 0);
            let off = if aside == 0 { (2 * dx + w).abs() } else { 0 };
            all.push((10 * aside + 25 * dy.abs() + 3 * left + off + i64::from(dy > 0), [dx, dy]));
        }
    }
    all.sort();
    all.into_iter().map(|(_, at)| at).collect()
}

/// Columns between a place and words of `w` columns that begin `dx` right of it.
fn gap(dx: i64, w: i64) -> i64 {
    dx.max(-(dx + w - 1)).max(0)
}

/// Whether words at (x, y) stand as near to their own place as to any other, so that nobody reads
/// them as another's. A row counts as two columns.
pub(super) fn nearest(own: [i64; 2], [x, y]: [i64; 2], w: i64, places: &[[i64; 2]]) -> bool {
    let far = |p: &[i64; 2]| gap(x - p[0], w).pow(2) + (2 * (y - p[1])).pow(2);
    places.iter().all(|p| far(&own) <= far(p))
}

impl Cells<'_> {
    /// Symbols, then words where nothing else is.
    pub(super) fn words(&self, plot: Rect, canvas: &Canvas, buf: &mut Buffer) {
        let mut ground = Ground::new(canvas);
        let cell = |at: &[f64; 2]| canvas.cell_at(self.chart.at(*at));
        for mark in &self.chart.marks {
            if let Mark::Symbol { at, symbol, role } = mark
                && let Some((x, y)) = cell(at)
            {
                ground.take([x, y], 1);
                ground.places.push([x as i64, y as i64]);
                let at = (plot.x + x as u16, plot.y + y as u16);
                text::put(buf, self.theme, at, 1, &symbol.to_string(), self.theme.style(*role));
            }
        }
        for mark in &self.chart.marks {
            let Mark::Label { at, text: words, role } = mark else { continue };
            let w = text::width(self.theme, words);
            let places = at.iter().filter_map(cell).map(|(x, y)| [x as i64, y as i64]);
            let room = |p| ground.room(p, w.into()).map(|at| (p, at));
            let Some((place, [x, y])) = places.into_iter().find_map(room) else { continue };
            ground.take([x, y], w.into());
            ground.places.push(place);
            let at = (plot.x + x as u16, plot.y + y as u16);
            text::put(buf, self.theme, at, w, words, self.theme.style(*role));
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
}
