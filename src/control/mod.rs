//! The control file: what a person approved, written so that it cannot be torn, overwritten or
//! mistaken for done. The only module that writes files that are not ours.
//!
//! [`read::Files`] is all that lies on disk for one run, [`status::status`] says what it means
//! beside the metrics, [`state::approve`] makes the only key that opens [`write::write`], and
//! [`audit`] keeps the record. The README specifies the protocol for authors of trainers.

pub mod ack;
pub mod audit;
pub mod changes;
pub mod disk;
mod forecasts;
mod offers;
pub mod paths;
pub mod protocol;
mod publish;
pub mod read;
mod rewrite;
pub mod schema;
pub mod state;
pub mod status;
mod target;
mod tolerant;
mod words;
pub mod write;

pub use audit::{AuditLine, Author, Event, LogLine};
pub use changes::undo_schedule;
pub use forecasts::{FORECAST, Forecast, forecasts, record_judged};
pub use offers::Offer;
pub use paths::{Paths, control_path, default_run};
pub use read::Files;
pub use schema::SCHEMA;
pub use state::{Approval, Blocked, ControlState, Draft, approve};
pub use status::{Facts, Status, status};
pub use write::{Options, Written, write};
