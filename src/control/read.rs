//! All that lies on disk for the control of one run, as one plain value.

use super::ack::{Acks, Answer};
use super::audit::{AuditLine, Event};
use super::protocol::{ControlFile, Entry, Paths, Problem, plain};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A claim whose writer cannot be asked counts as burned after this many seconds.
const CLAIM_SECONDS: f64 = 60.0;

/// So many of the newest claims are read; what came before them is in the audit.
const CLAIMS: usize = 64;

/// The control file of a run, the claims, the acknowledgements and the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    pub paths: Paths,
    pub control: Control,
    /// The newest ones by revision, lowest first.
    pub claims: Vec<Claim>,
    pub acks: Acks,
    pub audit: Vec<AuditLine>,
    /// Lines of the audit that are none.
    pub bad_audit: u64,
    /// Problems, in words fit for a screen.
    pub notes: Vec<String>,
}

/// What was found under `NAME.control.json`.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    Absent,
    Present(Box<ControlFile>),
    /// There, but not to be understood, and so never overwritten.
    Foreign(Problem),
    /// There, but not to be read.
    Unreadable(String),
}

impl Control {
    /// Another run's instruction is not ours to replace, unless this trainer took it under an
    /// earlier name.
    fn for_trainer(self, acks: &Acks) -> Control {
        match (self, acks.run()) {
            (Control::Present(file), Some(trainer))
                if file.run != trainer
                    && !matches!(acks.answer(file.revision), Some((Answer::Accepted, _))) =>
            {
                Control::Foreign(Problem::Run { file: file.run, trainer })
            }
            (control, _) => control,
        }
    }
}

/// What became of a claimed revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Published,
    /// Its writer may be at it in this moment.
    InFlight,
    /// Its writer died: never published, never reused.
    Burned,
}

/// One file of `NAME.control.d/`.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    pub revision: u64,
    pub path: PathBuf,
    /// `None` where it cannot be read: torn by a crash.
    pub file: Option<ControlFile>,
    pub fate: Fate,
}

impl Claim {
    /// Who claimed it, fit for a screen.
    pub fn author(&self) -> String {
        let named = self.file.as_ref().map(|f| plain(&f.issued_by)).filter(|a| !a.is_empty());
        named.unwrap_or_else(|| "somebody unknown".into())
    }
}

/// A temporary file of a write: `.NAME.control.json.<revision>.<pid>.<n>@<host>.tmp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leftover {
    pub path: PathBuf,
    pub revision: u64,
    pub pid: i32,
    pub host: String,
}

impl Leftover {
    /// The writer was on this machine and is gone.
    pub fn dead(&self, host: &str) -> bool {
        self.host == host
            && rustix::process::Pid::from_raw(self.pid).is_some_and(|pid| {
                rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
            })
    }
}

impl Files {
    /// Reads everything. Never fails: what could not be read stands in the notes and in
    /// [`Files::control`].
    pub fn read(paths: &Paths) -> Files {
        let mut notes = Vec::new();
        let control = read_control(&paths.control, &mut notes);
        let acks = Acks::parse(&read_lines(&paths.ack, &mut notes));
        let (audit, bad_audit) = super::audit::parse(&read_lines(&paths.log, &mut notes));
        let mut files = Files {
            paths: paths.clone(),
            control: control.for_trainer(&acks),
            claims: read_claims(&paths.claims, &mut notes),
            acks,
            audit,
            bad_audit,
            notes,
        };
        files.judge_claims();
        files.remark();
        files
    }

    /// The control file, where there is one that can be understood.
    pub fn file(&self) -> Option<&ControlFile> {
        match &self.control {
            Control::Present(file) => Some(file),
            _ => None,
        }
    }

    /// The highest revision that anything names: the next one lies above it.
    pub fn highest(&self) -> u64 {
        let claimed = self.claims.last().map(|c| c.revision);
        let file = self.file().map(|f| f.revision);
        claimed.max(file).max(self.acks.highest()).unwrap_or(0)
    }

    /// The newest revision that counts: published, or known to the trainer.
    pub fn newest(&self) -> Option<u64> {
        let published = self.claims.iter().rev().find(|c| c.fate == Fate::Published);
        let file = self.file().map(|f| f.revision);
        file.max(published.map(|c| c.revision)).max(self.acks.highest())
    }

    /// The content of a revision, from the control file or its claim.
    pub fn revision(&self, revision: u64) -> Option<&ControlFile> {
        self.file().filter(|f| f.revision == revision).or_else(|| {
            self.claims.iter().find(|c| c.revision == revision).and_then(|c| c.file.as_ref())
        })
    }

    /// The schedule of a revision, from the control file, its claim, the trainer's own words or
    /// the audit; empty where nobody knows.
    pub fn schedule(&self, revision: u64) -> Vec<Entry> {
        let audited = || {
            let line = self.audit.iter().rev();
            line.filter(|a| a.revision == Some(revision) && !a.schedule.is_empty())
                .map(|a| a.schedule.clone())
                .next()
        };
        self.revision(revision)
            .map(|f| f.schedule.clone())
            .or_else(|| self.acks.schedule(revision).map(<[Entry]>::to_vec))
            .or_else(audited)
            .unwrap_or_default()
    }

    /// The id of the run: the trainer's, else the one in the control file.
    pub fn run(&self) -> Option<String> {
        self.acks.run().or_else(|| self.file().map(|f| f.run.clone()))
    }

    fn logged(&self, event: Event, revision: u64) -> bool {
        self.audit.iter().any(|a| a.event == event && a.revision == Some(revision))
    }

    /// Published, being written, or burned: by what the file, the trainer, the audit and the
    /// writer's temporary file say.
    fn judge_claims(&mut self) {
        let current = self.file().map(|f| f.revision);
        let open = |r: u64| current.is_none_or(|c| r > c);
        let host = super::audit::Author::current().host;
        let leftovers = match self.claims.iter().any(|c| open(c.revision)) {
            true => leftovers(&self.paths.control),
            false => Vec::new(),
        };
        let fates: Vec<Fate> = self
            .claims
            .iter()
            .map(|c| {
                let known = current == Some(c.revision)
                    || self.acks.lines.iter().any(|a| a.revision == Some(c.revision))
                    || self.logged(Event::Written, c.revision);
                if known {
                    Fate::Published
                } else if !open(c.revision) {
                    // Long past: burned only where its approval has no end in the log.
                    let lost = self.logged(Event::Approved, c.revision)
                        || self.logged(Event::Burned, c.revision);
                    if lost { Fate::Burned } else { Fate::Published }
                } else if self.logged(Event::Burned, c.revision)
                    || leftovers.iter().any(|l| l.revision == c.revision && l.dead(&host))
                    || age(&c.path).is_none_or(|a| a > CLAIM_SECONDS)
                {
                    Fate::Burned
                } else {
                    Fate::InFlight
                }
            })
            .collect();
        for (claim, fate) in self.claims.iter_mut().zip(fates) {
            claim.fate = fate;
        }
    }

    fn remark(&mut self) {
        for c in self.claims.iter().filter(|c| c.fate == Fate::Burned) {
            self.notes.push(format!(
                "revision {} was claimed by {} and never published: its number is burned",
                c.revision,
                c.author()
            ));
        }
        if let Control::Foreign(why) = &self.control {
            self.notes.push(format!(
                "the control file is not understood ({}) and will not be overwritten: move it \
                 away to start a new one",
                plain(&why.to_string())
            ));
        }
        if let Control::Unreadable(why) = &self.control {
            self.notes.push(format!("the control file cannot be read: {why}"));
        }
        if let Some(bad) = &self.acks.first_bad {
            self.notes.push(format!("{} bad; first: {bad}", self.acks.bad));
        }
        if self.bad_audit > 0 {
            self.notes.push(format!("{} lines of the audit cannot be read", self.bad_audit));
        }
        if let Some(warning) = hidden_from_owner(&self.paths) {
            self.notes.push(warning);
        }
    }
}

/// Size, time and inode of the four places: equal stamps need no second reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp([Option<(u64, u64, i64, i64)>; 4]);

impl Stamp {
    /// Four calls of stat.
    pub fn of(paths: &Paths) -> Stamp {
        let stat = |p: &Path| {
            let m = std::fs::metadata(p).ok()?;
            Some((m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
        };
        Stamp([stat(&paths.control), stat(&paths.ack), stat(&paths.log), stat(&paths.claims)])
    }
}

/// The bytes of a regular file: a pipe under that name would wait for ever.
fn regular(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    std::fs::read(path)
}

fn read_control(path: &Path, notes: &mut Vec<String>) -> Control {
    if let Some(target) = super::target::leads_out(path) {
        notes.push(format!(
            "the control file is a symlink out of the run's directory, to {}",
            plain(&target.to_string_lossy())
        ));
    }
    match regular(path) {
        Ok(bytes) => match ControlFile::parse(&bytes) {
            Ok(file) => Control::Present(Box::new(file)),
            Err(problem) => Control::Foreign(problem),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Control::Absent,
        Err(e) => Control::Unreadable(e.to_string()),
    }
}

fn read_lines(path: &Path, notes: &mut Vec<String>) -> Vec<u8> {
    match regular(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => {
            notes.push(format!("{}: {e}", plain(&path.to_string_lossy())));
            Vec::new()
        }
    }
}

fn read_claims(dir: &Path, notes: &mut Vec<String>) -> Vec<Claim> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            if e.kind() != std::io::ErrorKind::NotFound {
                notes.push(format!("{}: {e}", plain(&dir.to_string_lossy())));
            }
            return Vec::new();
        }
    };
    let mut revisions: Vec<u64> =
        entries.flatten().filter_map(|e| claim_number(&e.file_name().to_string_lossy())).collect();
    revisions.sort_unstable();
    let recent = revisions.split_off(revisions.len().saturating_sub(CLAIMS));
    let claims = recent.into_iter().map(|revision| {
        let path = dir.join(format!("{revision}.json"));
        let file = regular(&path).ok().and_then(|b| ControlFile::parse(&b).ok());
        Claim { revision, path, file, fate: Fate::InFlight }
    });
    claims.collect()
}

/// `7.json` is the claim of revision 7.
pub(super) fn claim_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    let revision: u64 = digits.parse().ok()?;
    (revision > 0 && revision.to_string() == digits).then_some(revision)
}

/// Temporary files of writes to this control file.
pub(super) fn leftovers(control: &Path) -> Vec<Leftover> {
    let name = control.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = format!(".{name}.");
    let dir = match control.parent() {
        Some(d) if !d.as_os_str().is_empty() => d,
        _ => Path::new("."),
    };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&prefix)?.strip_suffix(".tmp")?;
            let (numbers, host) = rest.split_once('@')?;
            let mut numbers = numbers.split('.');
            Some(Leftover {
                path: e.path(),
                revision: numbers.next()?.parse().ok()?,
                pid: numbers.next()?.parse().ok()?,
                host: host.to_string(),
            })
        })
        .collect()
}

/// Seconds since a file was written.
#[allow(clippy::disallowed_methods, reason = "the age of a claim is wall clock")]
fn age(path: &Path) -> Option<f64> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - written.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// A warning where the run belongs to another user whose trainer could not read the control file.
pub(super) fn hidden_from_owner(paths: &Paths) -> Option<String> {
    let control = std::fs::metadata(&paths.control).ok()?;
    let dir =
        std::fs::metadata(paths.claims.parent().filter(|d| !d.as_os_str().is_empty())?).ok()?;
    let owner = std::fs::metadata(&paths.ack).map_or(dir.uid(), |m| m.uid());
    let open =
        control.mode() & 0o004 != 0 || (control.mode() & 0o040 != 0 && control.gid() == dir.gid());
    (owner != control.uid() && owner != 0 && !open).then(|| {
        format!(
            "the run belongs to user {owner}, who may not be able to read the control file \
             (mode {:o}, user {}): chmod it, or write as the run's user",
            control.mode() & 0o777,
            control.uid()
        )
    })
}
