//! Plots on the buffer and as vector pictures: log and linear axes, lines, ranges from minimum to
//! maximum, staircases, bands, rays and points with error bars. The model knows data alone; cells
//! draw it in braille, half blocks or ASCII, `svg` for people who are not in the terminal. Words
//! are written only where no data is.

mod axes;
mod canvas;
mod cells;
#[cfg(test)]
mod clear;
mod labels;
mod lens;
mod model;
mod series;
mod svg;

pub(crate) use axes::{Axis, Scale};
#[cfg(test)]
pub(crate) use clear::count_clear;
pub(crate) use lens::Lens;
pub(crate) use model::{Chart, Dash, Figure, Mark, Panel, along};
pub(crate) use series::{smoothed, smoothing};
pub(crate) use svg::svg;
#[cfg(test)]
pub(crate) use svg::tests::count_clear as count_clear_svg;
