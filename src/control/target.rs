//! What may be written to: nothing through a symlink out of the run's directory, nothing that
//! another user owns and others may write.

use super::protocol::plain;
use crate::error::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory that a file lies in.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(d) if !d.as_os_str().is_empty() => d,
        _ => Path::new("."),
    }
}

/// Where a symlink leads, if it is one and leads out of the directory that it lies in.
pub fn leads_out(path: &Path) -> Option<PathBuf> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    if !meta.file_type().is_symlink() {
        return None;
    }
    let here = std::fs::canonicalize(directory(path)).ok();
    let raw = || std::fs::read_link(path).unwrap_or_default();
    // A dangling one leads nowhere that could be checked.
    let Ok(there) = std::fs::canonicalize(path) else { return Some(raw()) };
    (there.parent() != here.as_deref()).then_some(there)
}

/// Refuses a symlink out of the run's directory.
pub(super) fn inside(path: &Path) -> Result<()> {
    match leads_out(path) {
        Some(there) => Err(Error::Refused(format!(
            "{} is a symlink out of the run's directory, to {}: nothing is written through it",
            plain(&path.to_string_lossy()),
            plain(&there.to_string_lossy())
        ))),
        None => Ok(()),
    }
}

/// The file to replace: the path itself, or what a symlink stands for.
pub(super) fn target(control: &Path, trust: bool) -> Result<PathBuf> {
    if !trust {
        inside(control)?;
    }
    let target = match std::fs::symlink_metadata(control) {
        Ok(m) if m.file_type().is_symlink() => {
            std::fs::canonicalize(control).map_err(|e| Error::io(control, e))?
        }
        _ => control.to_path_buf(),
    };
    if let Ok(m) = std::fs::metadata(&target) {
        let open = m.mode() & 0o022 != 0;
        let other = m.uid() != rustix::process::geteuid().as_raw();
        if open && other && !trust {
            return Err(Error::Refused(format!(
                "{} belongs to user {} and others may write it (mode {:o}): ask its owner, or \
                 write all the same with --trust-target",
                plain(&target.to_string_lossy()),
                m.uid(),
                m.mode() & 0o777
            )));
        }
    }
    Ok(target)
}
