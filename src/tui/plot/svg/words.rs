//! Words of a chart of a picture: they stand on no line and on no other words.

use super::super::canvas::clip;
use super::super::labels;
use super::super::model::Mark;
use super::draw::Plot;
use super::{CHAR, FONT, LEFT, WIDTH, over, text};

/// Pixels between the lines of words, and from a symbol's middle to its edge.
const ROW: f64 = 14.0;
const SYMBOL: f64 = 5.0;

/// A rectangle: left, top, right, bottom.
type Box4 = [f64; 4];

fn apart(a: &Box4, b: &Box4) -> bool {
    a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1]
}

/// What words cover that begin at (x, y), with a rim.
fn covered([x, y]: [f64; 2], chars: usize) -> Box4 {
    [x - 2.0, y - FONT + 2.0, x + chars as f64 * CHAR + 2.0, y + 3.0]
}

impl Plot<'_> {
    /// Words in the strip above the plot.
    pub(super) fn strip(&self, out: &mut String) {
        let y = self.top - 5.0;
        let mut taken: Vec<Box4> = Vec::new();
        for mark in &self.chart.marks {
            let (at, words, role) = match mark {
                Mark::Flag { x, text, role } => (self.chart.x.place(*x), text, role),
                Mark::Top { from, to, text, role } => {
                    let ends = [*from, *to].map(|x| self.chart.x.place(x).clamp(0.0, 1.0));
                    if (ends[1] - ends[0]) * self.width() < text.chars().count() as f64 * CHAR {
                        continue;
                    }
                    (ends[0] + 0.004, text, role)
                }
                _ => continue,
            };
            let [x, _] = self.pixel([at, 1.0]);
            let place = covered([x, y], words.chars().count());
            let inside = (0.0..=1.0).contains(&at) && place[2] <= WIDTH - 2.0;
            if inside && taken.iter().all(|t| apart(&place, t)) {
                taken.push(place);
                text(out, [x, y], words, *role, "start");
            }
        }
    }

    /// Words beside their places where nothing else is.
    pub(super) fn labels(&self, out: &mut String) {
        let lines = self.lines();
        let mut taken: Vec<Box4> = Vec::new();
        let mut places: Vec<[i64; 2]> = Vec::new();
        let symbols = self.chart.marks.iter().filter_map(|m| match m {
            Mark::Symbol { at, .. } => self.inside(*at),
            _ => None,
        });
        for [x, y] in symbols {
            taken.push([x - SYMBOL, y - SYMBOL, x + SYMBOL, y + SYMBOL]);
            places.push(rounded([x, y]));
        }
        for mark in &self.chart.marks {
            let Mark::Label { at, text: words, role } = mark else { continue };
            let chars = words.chars().count();
            let found = at.iter().filter_map(|at| self.inside(*at)).find_map(|[x, y]| {
                labels::near(chars as i64).into_iter().find_map(|[dx, dy]| {
                    let to = [x + dx as f64 * CHAR, y + 4.0 + dy as f64 * ROW];
                    let place = covered(to, chars);
                    let near = labels::nearest(rounded([x, y]), rounded(to), chars as i64, &places);
                    let free = near && self.holds(&place) && taken.iter().all(|t| apart(&place, t));
                    (free && !lines.iter().any(|l| crosses(l, &place))).then_some(([x, y], to))
                })
            });
            if let Some((place, to)) = found {
                taken.push(covered(to, chars));
                places.push(rounded(place));
                over(out, to, words, *role);
            }
        }
    }

    fn holds(&self, place: &Box4) -> bool {
        let (right, bottom) = (LEFT + self.width(), self.top + self.height);
        place[0] > LEFT && place[2] <= right && place[1] >= self.top && place[3] < bottom
    }

    /// All straight pieces that are drawn, in pixels.
    fn lines(&self) -> Vec<[[f64; 2]; 2]> {
        let pieces = self.chart.marks.iter().flat_map(|m| self.pieces(m));
        pieces.map(|ends| ends.map(|p| self.pixel(p))).collect()
    }
}

/// A place in characters and rows.
fn rounded([x, y]: [f64; 2]) -> [i64; 2] {
    [(x / CHAR).round() as i64, (y / ROW).round() as i64]
}

/// Whether a straight piece runs through a rectangle.
fn crosses([a, b]: &[[f64; 2]; 2], place: &Box4) -> bool {
    let (w, h) = (place[2] - place[0], place[3] - place[1]);
    let unit = |p: &[f64; 2]| [(p[0] - place[0]) / w, (p[1] - place[1]) / h];
    clip(unit(a), unit(b)).is_some()
}
