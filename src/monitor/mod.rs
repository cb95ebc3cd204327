//! Owns all state: inputs and commands in, snapshots out. No drawing, no numerics of its own.
//!
//! [`Monitor`] is driven from outside: the live driver lets it read files on the wall clock, replay
//! feeds it recorded lines on theirs, headless commands read everything once. All of them run the
//! same code.

mod core;
mod counts;
mod desk;
mod grounds;
mod live;
mod reading;
mod tracked;
mod view;
mod worth;
mod zoom;

pub use core::{Monitor, Settings};
pub use live::{Handle, spawn};
pub use tracked::Clock;
