//! One write from its approval on: temporary file, claim, rename, read back.

use super::approval::{Approval, Draft};
use super::audit::{AuditLine, Event, append, now};
use super::disk::{FileSystem, identity, no_links, remedy};
use super::protocol::{ControlFile, Entry, Expect, NotAfter, Paths, VERSION};
use super::read::{Claim, Control, Files, claim_number, hidden_from_owner};
use super::rewrite::rewritten;
use super::target::directory;
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A revision that stands in the control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub revision: u64,
    /// What a person should know all the same.
    pub warnings: Vec<String>,
}

/// One write from the approval on.
pub(super) struct Writer<'a> {
    pub fs: &'a dyn FileSystem,
    pub paths: &'a Paths,
    pub approval: &'a Approval,
    pub revision: u64,
    pub warnings: Vec<String>,
}

impl Writer<'_> {
    pub fn run(mut self, files: &Files) -> Result<Written> {
        let text = self.text(files)?;
        // An approval that cannot be recorded is not acted on.
        self.audit(Event::Approved, None).map_err(|e| match e {
            Error::Io { path, source } => {
                let why = format!("{source}; nothing changed: what is not recorded is not written");
                Error::io(path, io::Error::new(source.kind(), why))
            }
            other => other,
        })?;
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

pub(super) fn taken(claim: &Claim) -> String {
    format!(
        "revision {} is being written by {}: look at it, then decide again",
        claim.revision,
        claim.author()
    )
}

/// Puts a refusal into the audit as far as that goes, and makes the error.
pub(super) fn refused(
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

pub(super) fn line(approval: &Approval, event: Event, revision: Option<u64>) -> AuditLine {
    let mut line = approval.draft().line(event, revision, approval.who());
    line.guards_overridden = approval.overridden().to_vec();
    line
}
