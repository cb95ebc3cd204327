//! The control file: what a person approved, written so that it cannot be torn, overwritten or
//! mistaken for done. The only module that writes files that are not ours.
//!
//! [`read::Files`] is all that lies on disk for one run, [`status::status`] says what it means
//! beside the metrics, [`state::approve`] makes the only key that opens [`write::write`], and
//! [`audit`] keeps the record. The protocol is specified in the README.

pub mod ack;
pub mod audit;
pub mod disk;
pub mod protocol;
pub mod read;
pub mod schema;
pub mod state;
pub mod status;
pub mod write;

pub use audit::{AuditLine, Author, Event, LogLine};
pub use protocol::{Paths, control_path, default_run};
pub use read::Files;
pub use schema::SCHEMA;
pub use state::{Approval, Blocked, ControlState, Draft, approve};
pub use status::{Facts, Status, status, undo_schedule};
pub use write::{Options, Written, write};
