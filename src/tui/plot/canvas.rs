//! A grid of dots, several to a cell where the terminal has the characters.

use crate::tui::theme::Role;

/// The characters that dots are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dots {
    /// 2 x 4 dots to a cell.
    Braille,
    /// 1 x 2 dots to a cell, for fonts without braille.
    HalfBlocks,
    /// One dot to a cell.
    Ascii,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    mask: u8,
    /// Of the most important mark in the cell.
    layer: u8,
    role: Option<Role>,
    ascii: Option<char>,
}

/// Dots over `width` x `height` cells; (0, 0) is the top left dot.
#[derive(Debug)]
pub(crate) struct Canvas {
    pub width: usize,
    pub height: usize,
    dots: Dots,
    cells: Vec<Cell>,
}

/// How dots are set: what they mean, how important they are, and their ASCII character.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ink {
    pub role: Role,
    pub layer: u8,
    pub ascii: char,
    /// Of every `period` dots along a line the first `on` are set.
    pub on: u32,
    pub period: u32,
}

impl Canvas {
    pub fn new(width: u16, height: u16, dots: Dots) -> Self {
        let (width, height) = (usize::from(width), usize::from(height));
        Canvas { width, height, dots, cells: vec![Cell::default(); width * height] }
    }

    /// Dots to a cell.
    fn grain(&self) -> (usize, usize) {
        match self.dots {
            Dots::Braille => (2, 4),
            Dots::HalfBlocks => (1, 2),
            Dots::Ascii => (1, 1),
        }
    }

    /// Columns and rows of dots.
    pub fn size(&self) -> (usize, usize) {
        let (gx, gy) = self.grain();
        (self.width * gx, self.height * gy)
    }

    pub fn set(&mut self, x: i64, y: i64, ink: Ink) {
        let (gx, gy) = self.grain();
        let (w, h) = self.size();
        if x < 0 || y < 0 || x >= w as i64 || y >= h as i64 {
            return;
        }
        let (x, y) = (x as usize, y as usize);
        let cell = &mut self.cells[(y / gy) * self.width + x / gx];
        cell.mask |= match self.dots {
            Dots::Ascii => 1,
            Dots::HalfBlocks => 1 << (y % 2),
            Dots::Braille => match (x % 2, y % 4) {
                (0, 3) => 0x40,
                (1, 3) => 0x80,
                (col, row) => 1 << (row + 3 * col),
            },
        };
        if cell.role.is_none() || ink.layer >= cell.layer {
            cell.layer = ink.layer;
            cell.role = Some(ink.role);
            cell.ascii = Some(ink.ascii);
        }
    }

    /// A straight line between two places (fractions of the canvas, y upwards), cut at its edges.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], ink: Ink) {
        let Some((a, b)) = clip(from, to) else { return };
        let ((x0, y0), (x1, y1)) = (self.dot(a), self.dot(b));
        let n = (x1 - x0).abs().max((y1 - y0).abs()).max(1.0) as u32;
        for i in 0..=n {
            // The pattern hangs on the place, so that short pieces of one line continue it.
            let t = f64::from(i) / f64::from(n);
            let (x, y) = (x0 + (x1 - x0) * t, y0 + (y1 - y0) * t);
            // Upright lines beside each other make a checked pattern.
            let upright = x0 == x1;
            let phase = match (x1 - x0).abs() >= (y1 - y0).abs() {
                true => x,
                false if upright => x + y,
                false => y,
            };
            if ink.period <= 1
                || (phase.round() as i64).rem_euclid(i64::from(ink.period)) < i64::from(ink.on)
            {
                self.set(x.round() as i64, y.round() as i64, ink);
            }
        }
    }

    /// The dot at a place.
    fn dot(&self, [x, y]: [f64; 2]) -> (f64, f64) {
        let (w, h) = self.size();
        let across = x * (w as f64 - 1.0);
        let down = (1.0 - y) * (h as f64 - 1.0);
        (across.round(), down.round())
    }

    /// The cell at a place, if it is on the canvas.
    pub fn cell_at(&self, [x, y]: [f64; 2]) -> Option<(usize, usize)> {
        if !(-1e-9..=1.0 + 1e-9).contains(&x) || !(-1e-9..=1.0 + 1e-9).contains(&y) {
            return None;
        }
        let (gx, gy) = self.grain();
        let (dx, dy) = self.dot([x.clamp(0.0, 1.0), y.clamp(0.0, 1.0)]);
        let (cx, cy) = (dx as usize / gx, dy as usize / gy);
        (cx < self.width && cy < self.height).then_some((cx, cy))
    }

    /// The character of a cell and what it means; `None` where no dot is set.
    pub fn glyph(&self, x: usize, y: usize) -> Option<(char, Role)> {
        let cell = self.cells.get(y * self.width + x)?;
        let role = cell.role.filter(|_| cell.mask != 0)?;
        let c = match self.dots {
            Dots::Ascii => cell.ascii.unwrap_or('.'),
            Dots::HalfBlocks => ['▀', '▄', '█'][usize::from(cell.mask.clamp(1, 3)) - 1],
            Dots::Braille => char::from_u32(0x2800 + u32::from(cell.mask)).unwrap_or(' '),
        };
        Some((c, role))
    }

    /// Whether a cell holds more than helping lines (layer 0).
    pub fn is_data(&self, x: usize, y: usize) -> bool {
        self.cells.get(y * self.width + x).is_some_and(|c| c.mask != 0 && c.layer > 0)
    }
}

/// The part of a line inside the unit square (Liang and Barsky 1984).
pub(super) fn clip(a: [f64; 2], b: [f64; 2]) -> Option<([f64; 2], [f64; 2])> {
    if ![a[0], a[1], b[0], b[1]].iter().all(|v| v.is_finite()) {
        return None;
    }
    let d = [b[0] - a[0], b[1] - a[1]];
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    for axis in 0..2 {
        for (p, q) in [(-d[axis], a[axis]), (d[axis], 1.0 - a[axis])] {
            if p == 0.0 {
                if q < 0.0 {
                    return None;
                }
            } else if p < 0.0 {
                enter = enter.max(q / p);
            } else {
                leave = leave.min(q / p);
            }
        }
    }
    let at = |t: f64| [a[0] + d[0] * t, a[1] + d[1] * t];
    (enter <= leave).then(|| (at(enter), at(leave)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INK: Ink = Ink { role: Role::Curve, layer: 1, ascii: '*', on: 1, period: 1 };

    fn text(c: &Canvas) -> Vec<String> {
        (0..c.height)
            .map(|y| (0..c.width).map(|x| c.glyph(x, y).map_or(' ', |g| g.0)).collect())
            .collect()
    }

    #[test]
    fn braille_dots_sit_where_they_belong() {
        let mut c = Canvas::new(1, 1, Dots::Braille);
        c.set(0, 0, INK);
        assert_eq!(text(&c), ["⠁"]);
        c.set(1, 3, INK);
        assert_eq!(text(&c), ["⢁"]);
    }

    #[test]
    fn half_blocks_are_an_upper_and_a_lower_dot() {
        let mut c = Canvas::new(3, 1, Dots::HalfBlocks);
        for (x, y) in [(0, 0), (1, 1), (2, 0), (2, 1)] {
            c.set(x, y, INK);
        }
        assert_eq!(text(&c), ["▀▄█"]);
        assert_eq!(c.size(), (3, 2));
    }

    #[test]
    fn lines_run_from_corner_to_corner_and_are_cut_at_the_edge() {
        let mut c = Canvas::new(3, 3, Dots::Ascii);
        c.line([0.0, 0.0], [1.0, 1.0], INK);
        assert_eq!(text(&c), ["  *", " * ", "*  "]);
        let mut c = Canvas::new(3, 3, Dots::Ascii);
        c.line([-1e300, 0.5], [1e300, 0.5], INK);
        c.line([f64::NAN, 0.0], [1.0, 1.0], INK);
        c.line([2.0, 2.0], [3.0, 3.0], INK);
        assert_eq!(text(&c)[0], "   ");
    }

    #[test]
    fn the_more_important_mark_gives_the_colour() {
        let mut c = Canvas::new(1, 1, Dots::Braille);
        c.set(0, 0, Ink { layer: 5, ..INK });
        c.set(1, 1, Ink { role: Role::Guide, layer: 1, ..INK });
        assert_eq!(c.glyph(0, 0).map(|g| g.1), Some(Role::Curve));
    }
}
