//! The part of a plot that a person looks at: zoomed, moved, on another scale, with a cursor.

use super::axes::{Axis, Scale};
use super::model::{Dash, Figure, Mark};
use crate::tui::theme::Role;

/// The least part of an axis that is shown.
const LEAST: f64 = 1e-4;

/// What a person changed of a plot; the default is all of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lens {
    /// Shown part of each axis, in places of the whole one, 0 to 1.
    pub x: Option<[f64; 2]>,
    pub y: Option<[f64; 2]>,
    /// The scale that is not the usual one, linear or logarithmic.
    pub flip_x: bool,
    pub flip_y: bool,
    /// Where the cursor stands, in units of x.
    pub cursor: Option<f64>,
}

impl Lens {
    pub fn scale_x(&self, usual: Scale) -> Scale {
        flipped(usual, self.flip_x)
    }

    pub fn scale_y(&self, usual: Scale) -> Scale {
        flipped(usual, self.flip_y)
    }

    pub fn part_x(&self, whole: Axis) -> Axis {
        self.x.map_or(whole, |w| whole.part(w))
    }

    pub fn part_y(&self, whole: Axis) -> Axis {
        self.y.map_or(whole, |w| whole.part(w))
    }

    /// Shows `by` times as much of x, and of y where both are moved together, about the cursor or
    /// what matters most.
    pub fn zoom(&mut self, by: f64, figure: &Figure, both: bool) {
        let [x, y] = &figure.whole;
        let about = self.cursor.unwrap_or(figure.focus[0]);
        self.x = zoomed(self.x, x.place(about), by);
        if both {
            self.y = zoomed(self.y, y.place(figure.focus[1]), by);
        }
    }

    /// Moves by a part of what is shown, to the right and upwards.
    pub fn pan(&mut self, right: f64, up: f64) {
        self.x = self.x.map(|w| moved(w, right));
        self.y = self.y.map(|w| moved(w, up));
    }

    /// All of it, on the same scales.
    pub fn reset(&mut self) {
        (self.x, self.y) = (None, None);
    }

    /// Moves the cursor by a part of what is shown; what is shown follows it.
    pub fn step(&mut self, by: f64, figure: &Figure) {
        let Some(at) = self.cursor else { return };
        let whole = &figure.whole[0];
        let [low, high] = self.x.unwrap_or([0.0, 1.0]);
        let place = (whole.place(at) + by * (high - low)).clamp(0.0, 1.0);
        if !place.is_finite() {
            return;
        }
        self.cursor = Some(whole.value(place));
        let over = (place - high).max(0.0) + (place - low).min(0.0);
        self.x = self.x.map(|w| moved(w, over / (high - low)));
    }

    /// The cursor as a mark.
    pub fn cursor_mark(&self) -> Option<Mark> {
        self.cursor.map(|x| Mark::Vertical { x, role: Role::Strong, dash: Dash::Dotted })
    }
}

fn flipped(usual: Scale, flip: bool) -> Scale {
    match (usual, flip) {
        (s, false) => s,
        (Scale::Linear, true) => Scale::Log,
        (Scale::Log, true) => Scale::Linear,
    }
}

fn zoomed(window: Option<[f64; 2]>, about: f64, by: f64) -> Option<[f64; 2]> {
    let [low, high] = window.unwrap_or([0.0, 1.0]);
    let about = if about.is_finite() { about.clamp(low, high) } else { (low + high) / 2.0 };
    let width = ((high - low) * by).max(LEAST);
    if width >= 1.0 {
        return None;
    }
    let share = (about - low) / (high - low);
    let low = (about - share * width).clamp(0.0, 1.0 - width);
    Some([low, low + width])
}

fn moved([low, high]: [f64; 2], by: f64) -> [f64; 2] {
    let width = high - low;
    let low = (low + by * width).clamp(0.0, 1.0 - width);
    [low, low + width]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figure() -> Figure {
        let axis = |scale| Axis { low: 1.0, high: 101.0, scale, label: crate::units::count };
        Figure {
            title: String::new(),
            x_name: "tokens",
            panels: Vec::new(),
            focus: [26.0, 10.0],
            whole: [axis(Scale::Linear), axis(Scale::Log)],
        }
    }

    #[test]
    fn a_zoom_keeps_the_place_that_it_is_about() {
        let (f, mut lens) = (figure(), Lens::default());
        lens.zoom(0.5, &f, false);
        assert_eq!(lens.x, Some([0.125, 0.625]));
        assert!((lens.part_x(f.whole[0]).place(26.0) - 0.25).abs() < 1e-12);
        lens.zoom(2.0, &f, false);
        assert_eq!(lens.x, None);
    }

    #[test]
    fn what_is_shown_follows_the_cursor() {
        let (f, mut lens) = (figure(), Lens { cursor: Some(60.0), ..Lens::default() });
        lens.zoom(0.25, &f, false);
        for _ in 0..40 {
            lens.step(0.1, &f);
        }
        assert_eq!((lens.cursor, lens.x), (Some(101.0), Some([0.75, 1.0])));
    }

    proptest! {
        #[test]
        fn the_part_that_is_shown_stays_inside(
            acts in prop::collection::vec((0u8..5, -1.0f64..1.0), 0..60)
        ) {
            let (f, mut lens) = (figure(), Lens::default());
            for (act, by) in acts {
                match act {
                    0 => lens.zoom(0.5, &f, true),
                    1 => lens.zoom(2.0, &f, by > 0.0),
                    2 => lens.pan(by, -by),
                    3 => lens.cursor = Some(by * 200.0),
                    _ => lens.step(by, &f),
                }
                for [low, high] in [lens.x, lens.y].into_iter().flatten() {
                    prop_assert!(0.0 <= low && low < high && high <= 1.0 + 1e-12);
                }
                let x = lens.part_x(f.whole[0]);
                prop_assert!(x.low < x.high && x.low >= 1.0 - 1e-9 && x.high <= 101.0 + 1e-9);
            }
        }
    }
}
