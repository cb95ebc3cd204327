//! Plots on the buffer: log and linear axes, lines, columns from minimum to maximum, staircases,
//! bands, rays and points with error bars, in braille, half blocks or ASCII. Labels are written
//! only where no data is.

mod axes;
mod canvas;
mod chart;
mod labels;

pub(crate) use axes::{Axis, Scale};
pub(crate) use chart::{Chart, Dash, GUTTER, Mark};
