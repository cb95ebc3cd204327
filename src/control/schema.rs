//! The JSON Schema of the protocol, as the binary prints it.

/// JSON Schema (draft 2020-12) of the control file, of one line of acknowledgements and of one
/// line of the audit: `$defs/control`, `$defs/ack`, `$defs/audit`.
pub const SCHEMA: &str = include_str!("schema.json");
