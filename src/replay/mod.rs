//! Replay: recorded lines in order of their times (of their tokens where a run has none) into the
//! live path; pause, step, seek. Nothing can be written.
//!
//! A recording keeps its parsed records in memory; seeking back feeds the pipeline anew from the
//! start, so that every moment shows what boptop would have said then, and nothing later.

mod order;
mod player;
mod recording;

pub use player::spawn;
pub use recording::{Options, Recording};
