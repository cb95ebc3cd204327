//! Files that are recognised and not read: W&B run files, TensorBoard event files, tables, archives.

use std::path::Path;

/// What a file that boptop does not read is, by its name.
pub fn unsupported_name(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    if name.ends_with(".wandb") {
        Some("wandb: a W&B run file")
    } else if name.contains("tfevents.") || name.starts_with("events.out.tfevents") {
        Some("tensorboard: a TensorBoard event file")
    } else {
        None
    }
}

/// The same by its first bytes.
pub fn unsupported_content(first: &[u8]) -> Option<&'static str> {
    if first.starts_with(b":W&B") {
        return Some("wandb: a W&B run file");
    }
    // A TFRecord: length (8 bytes), its checksum (4), then the event, which names its version.
    let event =
        first.len() > 40 && first[..64.min(first.len())].windows(12).any(|w| w == b"brain.Event:");
    if event {
        return Some("tensorboard: a TensorBoard event file");
    }
    let binary = first.starts_with(b"PAR1")
        || first.starts_with(b"SQLite format 3")
        || first.starts_with(b"PK\x03\x04");
    binary.then_some("binary: a table or archive, not a text log")
}
