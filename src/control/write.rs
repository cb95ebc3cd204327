//! The one write: claim the revision, rename the new file over the old one, read back. At every
//! step either the old file stands or the new one, never neither and never half of one.

use super::audit::{AuditLine, Event, append, now};
use super::disk::{self, Disk, FileSystem, Locked, identity, no_links, remedy};
use super::protocol::{ControlFile, Entry, Expect, NotAfter, Paths, VERSION, plain, rewritten};
use super::read::{Claim, Control, Fate, Files, claim_number, hidden_from_owner, leftovers};
use super::state::{Approval, Draft};
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A revision that stands in the control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub revision: u64,
    /// What a person should know all the same.
    pub warnings: Vec<String>,
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

/// [`write`] through a given seam.
///
/// # Errors
/// As [`write`].
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
    let target = target(&paths.control, options)?;
    let paths = Paths { control: target, ..paths.clone() };
    inside(&paths.claims)?;
    inside(&paths.log)?;
    make_claims(fs, &paths, approval)?;
    let _lock = match options.lock.then(|| disk::lock(&paths.claims)) {
        Some(Locked::Taken) => {
            return Err(refused(fs, &paths, approval, None, "another boptop is writing to this run at this moment; look at its revision, then decide again".into()));
        }
        other => other,
    };
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

fn taken(claim: &Claim) -> String {
    format!(
        "revision {} is being written by {}: look at it, then decide again",
        claim.revision,
        claim.author()
    )
}

/// Puts a refusal into the audit as far as that goes, and makes the error.
fn refused(
    fs: &dyn FileSystem,
    paths: &Paths,
    approval: &Approval,
    revision: Option<u64>,
    why: String,
) -> Error {
    let mut line = line(approval, Event::Refused, revision);
    line.reason = Some(why.clone());
    // The refusal stands whether or not the log takes it.
    let _ = append(fs, &paths.log, &line);
    Error::Refused(why)
}

fn line(approval: &Approval, event: Event, revision: Option<u64>) -> AuditLine {
    let mut line = AuditLine::of(event, approval.draft(), revision, approval.who());
    line.guards_overridden = approval.overridden().to_vec();
    line
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

/// One write from the approval on.
struct Writer<'a> {
    fs: &'a dyn FileSystem,
    paths: &'a Paths,
    approval: &'a Approval,
    revision: u64,
    warnings: Vec<String>,
}

impl Writer<'_> {
    fn run(mut self, files: &Files) -> Result<Written> {
        let text = self.text(files)?;
        // An approval that cannot be recorded is not acted on.
        self.audit(Event::Approved, None)?;
        let temporary = match self.temporary(&text) {
            Ok(path) => path,
            Err(e) => return Err(self.stopped(e)),
        };
        let outcome = self.claim_and_publish(&temporary, &text);
        if outcome.is_err() {
            let _ = self.fs.remove(&temporary);
        }
        outcome?;
        self.warnings.extend(hidden_from_owner(self.paths));
        if let Err(e) = self.audit(Event::Written, None) {
            self.warnings.push(format!("revision {} is written, but {e}", self.revision));
        }
        Ok(Written { revision: self.revision, warnings: self.warnings })
    }

    /// The file as it will stand.
    fn text(&self, files: &Files) -> Result<Vec<u8>> {
        let draft = self.approval.draft();
        let mut evidence = draft.evidence.clone();
        if let Some(undoes) = draft.undoes {
            evidence.unknown.insert("undoes".into(), undoes.into());
        }
        let file = ControlFile {
            version: VERSION,
            run: draft.run.clone(),
            revision: self.revision,
            issued_at: now(),
            issued_by: self.approval.who().at_host(),
            schedule: scaled(draft, files),
            expect: draft.expect.map(|b| Expect { batch_size_tokens: Some(b) }),
            not_after: draft.not_after.map(|t| NotAfter { tokens: Some(t) }),
            evidence: Some(evidence),
            unknown: Default::default(),
        };
        let old = match &files.control {
            Control::Present(_) => {
                let read = self.fs.read(&self.paths.control);
                // Without it, keys that are not ours would be lost.
                Some(read.map_err(|e| self.stopped(("read the former file", e)))?)
            }
            _ => None,
        };
        let value = rewritten(old.as_deref(), &file);
        let mut text = serde_json::to_vec(&value)
            .map_err(|e| Error::io(&self.paths.control, io::Error::from(e)))?;
        text.push(b'\n');
        Ok(text)
    }

    fn audit(&self, event: Event, reason: Option<String>) -> Result<()> {
        let mut line = line(self.approval, event, Some(self.revision));
        line.reason = reason;
        append(self.fs, &self.paths.log, &line)
    }

    /// Nothing was claimed; the old file stands.
    fn stopped(&self, (step, e): Failure) -> Error {
        let why = format!("could not {step}: {e}; nothing changed; {}", remedy(&e));
        let _ = self.audit(Event::Refused, Some(why.clone()));
        Error::io(&self.paths.control, io::Error::new(e.kind(), why))
    }

    /// The revision is claimed, the old file stands.
    fn burned(&self, (step, e): Failure) -> Error {
        let why = format!(
            "could not {step}: {e}; the former file stands and revision {} is burned; {}",
            self.revision,
            remedy(&e)
        );
        let _ = self.audit(Event::Burned, Some(why.clone()));
        Error::io(&self.paths.control, io::Error::new(e.kind(), why))
    }

    /// The new text under a name of its own, with the mode and group of its place, synced.
    fn temporary(&mut self, text: &[u8]) -> std::result::Result<PathBuf, Failure> {
        let path = temporary_name(&self.paths.control, self.revision, &self.approval.who().host);
        let mut file = match self.fs.create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Of an earlier process with our number.
                let _ = self.fs.remove(&path);
                self.fs.create(&path).map_err(|e| ("create the temporary file", e))?
            }
            other => other.map_err(|e| ("create the temporary file", e))?,
        };
        let filled = self.fill(&mut file, text);
        if filled.is_err() {
            let _ = self.fs.remove(&path);
        }
        filled.map(|()| path)
    }

    fn fill(&mut self, file: &mut File, text: &[u8]) -> std::result::Result<(), Failure> {
        self.fs.write(file, text).map_err(|e| ("write the temporary file", e))?;
        let group = std::fs::metadata(directory(&self.paths.control)).map(|m| m.gid());
        let ours = file.metadata().map(|m| m.gid());
        if let (Ok(group), Ok(ours)) = (group, ours)
            && group != ours
            && self.fs.set_group(file, group).is_err()
        {
            self.warnings.push(format!(
                "the control file could not be given the directory's group {group}: see that the \
                 trainer can read it"
            ));
        }
        if let Ok(old) = std::fs::metadata(&self.paths.control) {
            let mode = old.mode() & 0o777;
            self.fs.set_mode(file, mode).map_err(|e| ("set the mode of the file", e))?;
        }
        self.fs.sync(file).map_err(|e| ("sync the temporary file", e))
    }

    fn claim_and_publish(&mut self, temporary: &Path, text: &[u8]) -> Result<()> {
        let claim = self.paths.claims.join(format!("{}.json", self.revision));
        match self.claim(temporary, &claim, text) {
            Ok(true) => {}
            Ok(false) => {
                let theirs = Files::read(self.paths);
                let claimed = theirs.claims.iter().find(|c| c.revision == self.revision);
                let why = claimed.map_or_else(
                    || format!("revision {} was taken by somebody else", self.revision),
                    taken,
                );
                return Err(refused(self.fs, self.paths, self.approval, None, why));
            }
            // A failed O_EXCL write may have left its file: then the number is burned.
            Err(e) if claim.exists() => return Err(self.burned(e)),
            Err(e) => return Err(self.stopped(e)),
        }
        if let Err(e) = self.fs.sync_dir(&self.paths.claims) {
            self.warnings.push(format!("the claim could not be synced: {e}"));
        }
        if let Some(higher) = self.higher_claim() {
            let why = format!(
                "revision {higher} was claimed over ours: ours ({}) is burned; look at theirs",
                self.revision
            );
            let _ = self.audit(Event::Burned, Some(why.clone()));
            return Err(Error::Refused(why));
        }
        if let Err(e) = self.fs.rename(temporary, &self.paths.control)
            // A server that answered a repeated request calls a rename that was done a failure.
            && identity(&self.paths.control) != identity(&claim)
        {
            return Err(self.burned(("put the new file in place", e)));
        }
        if let Err(e) = self.fs.sync_dir(directory(&self.paths.control)) {
            self.warnings.push(format!(
                "the new file is in place, but its directory could not be synced ({e}): a crash \
                 of the server may bring the former one back"
            ));
        }
        self.read_back()
    }

    /// Makes the claim: true where it is ours, false where somebody else has it.
    fn claim(
        &self,
        temporary: &Path,
        claim: &Path,
        text: &[u8],
    ) -> std::result::Result<bool, Failure> {
        let Err(e) = self.fs.link(temporary, claim) else { return Ok(true) };
        // A repeated request may say "exists" of a link that we made ourselves.
        if identity(temporary).is_some() && identity(temporary) == identity(claim) {
            return Ok(true);
        }
        if e.kind() == io::ErrorKind::AlreadyExists {
            return Ok(false);
        }
        if !no_links(&e) {
            return Err(("claim the revision", e));
        }
        let mut file = match self.fs.create(claim) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            other => other.map_err(|e| ("claim the revision", e))?,
        };
        self.fs
            .write(&mut file, text)
            .and_then(|()| self.fs.sync(&file))
            .map_err(|e| ("write the claim", e))?;
        Ok(true)
    }

    fn higher_claim(&self) -> Option<u64> {
        let entries = std::fs::read_dir(&self.paths.claims).ok()?;
        let highest =
            entries.flatten().filter_map(|e| claim_number(&e.file_name().to_string_lossy())).max();
        highest.filter(|h| *h > self.revision)
    }

    /// What stands now: ours, or a higher claim; a lower revision that a slow writer put over it
    /// is replaced by the highest claim.
    fn read_back(&mut self) -> Result<()> {
        for _ in 0..3 {
            let found = match self.fs.read(&self.paths.control) {
                Ok(bytes) => ControlFile::parse(&bytes).map(|f| f.revision).unwrap_or(0),
                Err(e) => {
                    self.warnings.push(format!(
                        "the new file was put in place but could not be read back ({e}): look again"
                    ));
                    return Ok(());
                }
            };
            let claims = Files::read(self.paths).claims;
            let Some(top) = claims.iter().rev().find(|c| c.file.is_some()) else { return Ok(()) };
            if found >= top.revision {
                if found > self.revision {
                    return Err(Error::Refused(format!(
                        "revision {} was written, and revision {found} by {} at once after it: \
                         theirs stands",
                        self.revision,
                        top.author()
                    )));
                }
                return Ok(());
            }
            self.publish(top)?;
        }
        Ok(())
    }

    /// Puts the text of a claim in place of a lower revision.
    fn publish(&mut self, claim: &Claim) -> Result<()> {
        let text = self.fs.read(&claim.path).map_err(|e| Error::io(&claim.path, e))?;
        let path = self.temporary(&text).map_err(|e| self.burned(e))?;
        self.fs.rename(&path, &self.paths.control).map_err(|e| {
            let _ = self.fs.remove(&path);
            self.burned(("put the highest claim in place", e))
        })
    }
}

/// A step in words, and its error.
type Failure = (&'static str, io::Error);

/// Once a learning-rate scale was used in this run, every entry carries one.
fn scaled(draft: &Draft, files: &Files) -> Vec<Entry> {
    let used = |s: &[Entry]| s.iter().any(|e| e.lr_scale.is_some());
    let ever = used(&draft.schedule)
        || files.file().is_some_and(|f| used(&f.schedule))
        || files.claims.iter().filter_map(|c| c.file.as_ref()).any(|f| used(&f.schedule));
    let mut schedule = draft.schedule.clone();
    for e in schedule.iter_mut().filter(|_| ever) {
        e.lr_scale.get_or_insert(1.0);
    }
    schedule
}

/// Unlike any other: the revision, this process, a count, this machine.
fn temporary_name(control: &Path, revision: u64, host: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = control.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let pid = std::process::id();
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let host = host.replace('/', "_");
    control.with_file_name(format!(".{name}.{revision}.{pid}.{n}@{host}.tmp"))
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(d) if !d.as_os_str().is_empty() => d,
        _ => Path::new("."),
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
fn target(control: &Path, options: Options) -> Result<PathBuf> {
    if !options.trust_target {
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
        if open && other && !options.trust_target {
            return Err(Error::Refused(format!(
                "{} belongs to user {} and others may write it (mode {:o}): ask its owner, or say \
                 that you trust it",
                plain(&target.to_string_lossy()),
                m.uid(),
                m.mode() & 0o777
            )));
        }
    }
    Ok(target)
}
