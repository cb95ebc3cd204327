//! Plots on the buffer and as vector pictures: log and linear axes, lines, ranges from minimum to
//! maximum, staircases, bands, rays and points with error bars. The model knows data alone; cells
//! draw it in braille, half blocks or ASCII, `svg` for people who are not in the terminal. Words
//! are written only where no data is.

mod axes;
mod canvas;
mod cells;
mod labels;
mod lens;
mod model;
mod series;
mod svg;

pub(crate) use axes::{Axis, Scale};
pub(crate) use lens::Lens;
pub(crate) use model::{Chart, Dash, Figure, Mark, Panel};
pub(crate) use series::{smoothed, smoothing};
pub(crate) use svg::svg;
