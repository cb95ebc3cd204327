//! Runs to observations to fits: the WSD E(S) curve, its models, their uncertainty, and which of
//! them speaks. Pure; knows no file.
//!
//! The curve (Zhou et al., arXiv 2601.05034): at one loss level, in the stable phase at one
//! learning rate, a run at batch size B reaches the level after S steps and E = B S tokens.
//! B_opt = E_min / S_opt is the batch size that needs the fewest tokens; below B_min the level is
//! never reached.

mod binning;
mod classical;
mod copies;
mod data;
mod evidence;
mod fit;
mod groups;
mod joint;
mod law;
mod level;
mod level_fit;
mod levels;
mod memory;
mod model;
mod no_floor;
mod projection;
mod query;
#[cfg(test)]
mod real;
mod report;
mod saved;
mod select;
mod series;
mod smooth;
mod solve;
mod stable;
mod three_stage;
mod trend;
#[cfg(test)]
mod truth;
mod uncertainty;
mod window;

pub use classical::Classical;
pub use fit::{FitOptions, fit, fit_group};
pub use groups::{GroupOptions, group_runs};
pub use law::{Law, Memory, MemorySource, Stretch};
pub use levels::{levels, observe};
pub use model::{AnyLaw, Curve, CurveModel, LAWS, LossModel, MODELS, Minimum, Refusal};
pub use no_floor::NoFloor;
pub use report::{
    CurvePoint, FitReport, GroupFit, Interval, LawFit, LeftOutSize, LevelFit, LossKind,
    MemoryCheck, ModelFit, ModelKind, Observed, Open, Refused, RunUse, WindowScore,
};
pub use saved::{SAVED_GROUP, SavedLaw};
pub use series::{Bin, ConstantSeries, Group, Member, Observation, SwitchedSeries};
pub use smooth::Smooth;
pub use three_stage::ThreeStage;
