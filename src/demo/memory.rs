//! The ack file as the trainer's memory across restarts.

use crate::control::protocol::{Ack, AckStatus, Entry, VERSION};
use std::path::Path;

/// An accepted revision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InForce {
    pub revision: u64,
    pub schedule: Vec<Entry>,
}

/// What an ack file remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Attempts so far.
    pub ready_lines: u64,
    /// The highest revision accepted or rejected.
    pub judged: u64,
    pub in_force: Option<InForce>,
}

impl Memory {
    /// A missing file is an empty memory; lines that cannot be read are skipped.
    pub(super) fn read(path: &Path, run: &str) -> std::io::Result<Memory> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Memory::default()),
            Err(e) => return Err(e),
        };
        let mut memory = Memory::default();
        for line in bytes.split(|b| *b == b'\n') {
            let Ok(ack) = serde_json::from_slice::<Ack>(line) else { continue };
            if ack.version == VERSION && ack.run == run {
                memory.add(ack);
            }
        }
        Ok(memory)
    }

    fn add(&mut self, ack: Ack) {
        match (ack.status, ack.revision, ack.schedule) {
            (AckStatus::Ready, ..) => self.ready_lines += 1,
            (AckStatus::Accepted, Some(revision), Some(schedule)) => {
                self.judged = self.judged.max(revision);
                if self.in_force.as_ref().is_none_or(|f| f.revision <= revision) {
                    self.in_force = Some(InForce { revision, schedule });
                }
            }
            (AckStatus::Rejected, Some(revision), _) => {
                self.judged = self.judged.max(revision);
                // Rejected after it was accepted: it no longer fitted at a start, for good.
                if self.in_force.as_ref().is_some_and(|f| f.revision == revision) {
                    self.in_force = None;
                }
            }
            _ => {}
        }
    }
}
