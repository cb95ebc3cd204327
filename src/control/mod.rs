//! The control file: what a person approved, written so that it cannot be torn, overwritten or
//! mistaken for done. The only module that writes files that are not ours.
//!
//! [`read::Files`] is all that lies on disk for one run, [`status::status`] says what it means
//! beside the metrics, [`approve`] makes the only key that opens [`write::write`], and
//! [`audit`] keeps the record. The README specifies the protocol for authors of trainers.

pub mod ack;
mod approval;
pub mod audit;
pub mod changes;
pub mod disk;
mod facts;
mod forecasts;
mod observe;
mod offers;
pub mod paths;
pub mod protocol;
mod publish;
pub mod read;
mod rewrite;
pub mod schema;
mod signs;
pub mod state;
pub mod status;
mod target;
mod tolerant;
mod words;
pub mod write;

pub use approval::{Approval, Blocked, Draft, approve};
pub use audit::{AuditLine, Author, Event, LogLine};
pub use changes::{taken_back, to_undo, undo_schedule};
pub use facts::Facts;
pub use forecasts::{Forecast, forecast_words, forecasts, promise_in, record_judged};
pub use observe::{record_observed, record_proposed, record_refused};
pub use offers::Offer;
pub use paths::{Paths, control_path, default_run};
pub use read::Files;
pub use schema::SCHEMA;
pub use state::ControlState;
pub use status::{Status, status};
pub use write::{Options, Written, write};
