//! Runs to observations to fits: the WSD E(S) curve, its models, their uncertainty, and which of
//! them speaks. Pure; knows no file.
//!
//! The curve (Zhou et al., arXiv 2601.05034): at one loss level, in the stable phase at one
//! learning rate, a run at batch size B reaches the level after S steps and E = B S tokens.
//! B_opt = E_min / S_opt is the batch size that needs the fewest tokens; below B_min the level is
//! never reached.

mod binning;
mod copies;
mod groups;
mod law;
mod levels;
mod report;
mod series;
mod stable;

pub use groups::{GroupOptions, group_runs};
pub use law::{Law, Memory, MemorySource, Stretch};
pub use levels::{levels, observe};
pub use report::{
    CurvePoint, FitReport, GroupFit, Interval, LawFit, LevelFit, LossKind, MemoryCheck, ModelFit,
    ModelKind, Observed, Open, Refused, RunUse,
};
pub use series::{Bin, ConstantSeries, Group, Member, Observation, SwitchedSeries};
