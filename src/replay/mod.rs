//! Replay: recorded lines in order of their times (of their tokens where a run has none) into the
//! live path; pause, step, seek, jump to the next decision or bump. Nothing can be written.
//!
//! A recording keeps the time of every line, not the line: files are read again as a replay comes to
//! them (the standard input is kept). Seeking back feeds the pipeline anew from the start, so that
//! every moment shows what boptop would have said then, and nothing later.

mod changes;
mod feed;
mod order;
mod player;
mod recording;

pub use player::spawn;
pub use recording::{Options, Recording};
