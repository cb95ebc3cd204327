//! `boptop` is `top` for B_opt: it tails the metrics of live training runs, refits the WSD E(S)
//! curve as they train, shows the optimal batch size beside the current one, and writes what a
//! person approved to a control file that the trainer obeys.
//!
//! # The way the data goes
//!
//! ```text
//! files -> metrics (follow, parse, name the fields) -> run (attempts, segments, phase, smoothing)
//!       -> curve (levels, fits, uncertainty) -> advice (B_opt against B, plans, guards)
//!       -> snapshot -> tui | report
//! person approves -> command -> monitor -> control (claim, write, audit) -> trainer -> its metrics
//! ```
//!
//! Each module imports only from those to its left:
//! `error, units | metrics | run | curve | advice | control | snapshot, command | refit, monitor |
//! replay, demo | cli`. `report` and `tui` see `snapshot`, `command` and `units` alone, `demo` of
//! `control` only the protocol. `tests/architecture.rs` keeps these arrows.
//!
//! `run`, `curve` and `advice` are pure: no I/O, no clock, no terminal. Live, replay and headless
//! commands run the same code.

pub mod adapters;
pub mod advice;
pub mod cli;
pub mod clock;
pub mod command;
pub mod control;
pub mod curve;
pub mod demo;
pub mod error;
pub mod metrics;
pub mod monitor;
pub mod refit;
pub mod replay;
pub mod report;
pub mod run;
pub mod snapshot;
pub mod tui;
pub mod units;
