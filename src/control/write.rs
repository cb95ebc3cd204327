//! The one write: claim the revision, rename the new file over the old one, read back. At every
//! step either the old file stands or the new one, never neither and never half of one.

use super::approval::Approval;
use super::audit::{AuditLine, Event, append};
use super::disk::{self, Disk, FileSystem, remedy};
use super::protocol::{Paths, plain};
pub use super::publish::Written;
use super::publish::{Writer, line, refused, taken};
use super::read::{Control, Fate, Files, leftovers};
use super::target::{directory, inside, target};
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// How long a write waits for another one that holds the lock.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// How a write is done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Nothing may be written.
    pub read_only: bool,
    /// Follow a symlink out of the run's directory, and replace a group- or world-writable file of
    /// another user.
    pub trust_target: bool,
    /// Use the courtesy lock; the claim decides with and without it.
    pub lock: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { read_only: false, trust_target: false, lock: true }
    }
}

/// Writes what was approved. `based_on` is the newest revision that the person saw (`None`: there
/// was none); where a newer one stands, nothing is written. Approval, write and burned claims go
/// to the audit.
///
/// # Errors
/// [`Error::Refused`] where another person's revision, another writer or the target itself stands
/// against it; [`Error::Io`] where a call fails: the text says what stands now and what to do.
pub fn write(
    paths: &Paths,
    approval: &Approval,
    based_on: Option<u64>,
    options: Options,
) -> Result<Written> {
    write_through(&Disk, paths, approval, based_on, options)
}

/// [`write()`] through a given seam.
///
/// # Errors
/// As [`write()`].
pub fn write_through(
    fs: &dyn FileSystem,
    paths: &Paths,
    approval: &Approval,
    based_on: Option<u64>,
    options: Options,
) -> Result<Written> {
    if options.read_only {
        return Err(Error::Refused("read-only: nothing is written".into()));
    }
    let target = target(&paths.control, options.trust_target);
    let checked = target.and_then(|t| {
        inside(&paths.claims)?;
        inside(&paths.log)?;
        Ok(Paths { control: t, ..paths.clone() })
    });
    let paths = checked.map_err(|e| match e {
        Error::Refused(why) => refused(fs, paths, approval, None, why),
        other => other,
    })?;
    make_claims(fs, &paths, approval)?;
    // Whoever holds it is awaited for a moment, so that the refusal can name them; then the claim
    // decides as it does without locks.
    let _lock = options.lock.then(|| disk::lock_within(&paths.claims, LOCK_WAIT));
    let files = Files::read(&paths);
    if let Err(why) = unopposed(&files, based_on) {
        return Err(refused(fs, &paths, approval, None, why));
    }
    let revision = files.highest() + 1;
    repair(fs, &paths, &files, approval);
    Writer { fs, paths: &paths, approval, revision, warnings: Vec::new() }.run(&files)
}

/// Nothing newer than what the person saw, nobody writing, and a file that can be understood.
fn unopposed(files: &Files, based_on: Option<u64>) -> std::result::Result<(), String> {
    match &files.control {
        Control::Foreign(why) => {
            return Err(format!(
                "{} is not understood ({}): it is never overwritten; move it away first",
                plain(&files.paths.control.to_string_lossy()),
                plain(&why.to_string())
            ));
        }
        Control::Unreadable(why) => {
            return Err(format!(
                "{} cannot be read ({why}): what it says is unknown, so it is not replaced",
                plain(&files.paths.control.to_string_lossy())
            ));
        }
        Control::Absent | Control::Present(_) => {}
    }
    if let Some(claim) = files.claims.iter().rev().find(|c| c.fate == Fate::InFlight) {
        return Err(taken(claim));
    }
    let newest = files.newest();
    if newest > based_on {
        let revision = newest.unwrap_or_default();
        let by = files.revision(revision).map(|f| (plain(&f.issued_by), plain(&f.issued_at)));
        let (by, at) = by.unwrap_or_else(|| ("somebody".into(), "an unknown time".into()));
        return Err(format!(
            "revision {revision} by {by} of {at} came first: look at it, then decide again"
        ));
    }
    Ok(())
}

/// A writer that died between its rename and its last audit line left a published revision
/// without a `written`: add it. And clear the temporary files of dead writers of this machine.
fn repair(fs: &dyn FileSystem, paths: &Paths, files: &Files, approval: &Approval) {
    let logged = |event, r| files.audit.iter().any(|a| a.event == event && a.revision == Some(r));
    if let Some(file) = files.file()
        && logged(Event::Approved, file.revision)
        && !logged(Event::Written, file.revision)
    {
        let revision = Some(file.revision);
        let mut line = AuditLine::new(Event::Written, &file.run, revision, approval.who());
        line.schedule.clone_from(&file.schedule);
        line.reason = Some(format!("found published; {} left no line", plain(&file.issued_by)));
        let _ = append(fs, &paths.log, &line);
    }
    for leftover in leftovers(&paths.control) {
        if leftover.dead(&approval.who().host) {
            let _ = fs.remove(&leftover.path);
        }
    }
}

/// The directory of claims, with the group of the directory that it lies in: colleagues claim
/// there too.
fn make_claims(fs: &dyn FileSystem, paths: &Paths, approval: &Approval) -> Result<()> {
    if paths.claims.is_dir() {
        return Ok(());
    }
    if let Err(e) = fs.make_dir(&paths.claims)
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        let why =
            format!("could not make the directory of claims: {e}; nothing changed; {}", remedy(&e));
        let mut line = line(approval, Event::Refused, None);
        line.reason = Some(why.clone());
        let _ = append(fs, &paths.log, &line);
        return Err(Error::io(&paths.claims, io::Error::new(e.kind(), why)));
    }
    let group = std::fs::metadata(directory(&paths.control)).map(|m| m.gid());
    if let (Ok(group), Ok(dir)) = (group, File::open(&paths.claims)) {
        // Where the group cannot be given, the directory's own is what colleagues get.
        let _ = fs.set_group(&dir, group);
    }
    Ok(())
}
