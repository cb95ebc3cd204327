//! `NAME.control.log.jsonl`: append-only, one fsynced line for each event, so that every change
//! of a run can be traced to a person, an hour and what it rested on.

use super::disk::{Disk, FileSystem};
use super::protocol::{Entry, Evidence, Paths, VERSION, plain};
use crate::advice::GuardName;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One line of the audit, or of the acknowledgements.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogLine {
    /// RFC 3339, UTC.
    pub at: String,
    pub event: String,
    pub revision: Option<u64>,
    pub by: String,
    pub text: String,
}

/// Who sits at this terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub user: String,
    pub host: String,
}

impl Author {
    /// The user of this process and the name of this machine.
    pub fn current() -> Author {
        let uid = rustix::process::getuid().as_raw();
        let named = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| {
            text.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)? == uid.to_string()).then(|| name.to_string())
            })
        });
        let user = named
            .or_else(|| std::env::var("USER").ok().filter(|u| !u.is_empty()))
            .unwrap_or_else(|| format!("uid{uid}"));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Author { user: plain(&user), host: plain(&host) }
    }

    /// `user@host`, as a control file names its author.
    pub fn at_host(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Proposed,
    Approved,
    Refused,
    Written,
    Burned,
    Accepted,
    Applied,
    Rejected,
    Overdue,
    Reverted,
    Undone,
    /// A forecast was held against what came.
    Judged,
}

impl Event {
    /// The word in the file and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Event::Proposed => "proposed",
            Event::Approved => "approved",
            Event::Refused => "refused",
            Event::Written => "written",
            Event::Burned => "burned",
            Event::Accepted => "accepted",
            Event::Applied => "applied",
            Event::Rejected => "rejected",
            Event::Overdue => "overdue",
            Event::Reverted => "reverted",
            Event::Undone => "undone",
            Event::Judged => "judged",
        }
    }
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditLine {
    pub version: u64,
    /// RFC 3339, UTC.
    pub at: String,
    pub event: Event,
    pub run: String,
    #[serde(default)]
    pub revision: Option<u64>,
    pub user: String,
    pub host: String,
    #[serde(default)]
    pub schedule: Vec<Entry>,
    #[serde(default)]
    pub guards_overridden: Vec<GuardName>,
    #[serde(default)]
    pub evidence: Option<Evidence>,
    #[serde(default)]
    pub reason: Option<String>,
    /// `applied` only: which entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_tokens: Option<u64>,
    /// The trainer's attempt that the event belongs to, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
}

impl AuditLine {
    /// A line of now.
    pub fn new(event: Event, run: &str, revision: Option<u64>, who: &Author) -> AuditLine {
        AuditLine {
            version: VERSION,
            at: now(),
            event,
            run: plain(run),
            revision,
            user: plain(&who.user),
            host: plain(&who.host),
            schedule: Vec::new(),
            guards_overridden: Vec::new(),
            evidence: None,
            reason: None,
            from_tokens: None,
            attempt: None,
        }
    }

    /// What makes two lines the same event.
    pub(super) fn key(&self) -> (Event, Option<u64>, Option<u64>, Option<&str>) {
        let attempt = if self.event == Event::Reverted { self.attempt.as_deref() } else { None };
        (self.event, self.revision, self.from_tokens, attempt)
    }
}

/// This moment as RFC 3339 in UTC, to the second.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{:.0}", jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Reads the audit; the second number counts lines that are none.
pub fn parse(bytes: &[u8]) -> (Vec<AuditLine>, u64) {
    let mut lines = Vec::new();
    let mut bad = 0;
    for line in bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(line) => lines.push(line),
            Err(_) => bad += 1,
        }
    }
    (lines, bad)
}

/// Appends one line and syncs it.
///
/// # Errors
/// [`Error::Io`] naming the log, with what to do; [`Error::Refused`] where the log is a symlink
/// out of the run's directory.
pub fn record(paths: &Paths, line: &AuditLine) -> Result<()> {
    append(&Disk, &paths.log, line)
}

pub(super) fn append(fs: &dyn FileSystem, log: &Path, line: &AuditLine) -> Result<()> {
    super::target::inside(log)?;
    let text = serde_json::to_string(line).map_err(|e| Error::io(log, e.into()))?;
    fs.append(log, text.as_bytes()).map_err(|e| {
        let why = format!("could not add to the audit: {}; {}", e, super::disk::remedy(&e));
        Error::io(log, std::io::Error::new(e.kind(), why))
    })
}

/// A trainer's reason code as it may enter the audit: codes only, never the trainer's prose.
pub(super) fn code(reason: Option<&str>) -> String {
    let is_code = |r: &&str| {
        r.len() <= 24 && !r.is_empty() && r.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    reason.filter(is_code).unwrap_or("other").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_line_left_by_a_crash_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::beside(&dir.path().join("a.jsonl"));
        std::fs::write(&paths.log, "{\"version\":1,\"at\":\"20").unwrap();
        let who = Author { user: "ann".into(), host: "login1".into() };
        record(&paths, &AuditLine::new(Event::Proposed, "a", None, &who)).unwrap();
        record(&paths, &AuditLine::new(Event::Approved, "a", Some(1), &who)).unwrap();
        let (lines, bad) = parse(&std::fs::read(&paths.log).unwrap());
        assert_eq!(bad, 1);
        assert_eq!(
            lines.iter().map(|l| l.event).collect::<Vec<_>>(),
            [Event::Proposed, Event::Approved]
        );
    }

    #[test]
    fn the_prose_of_a_trainer_stays_out() {
        assert_eq!(code(Some("not_divisible")), "not_divisible");
        assert_eq!(code(Some("token=hf_abcdef")), "other");
        assert_eq!(code(None), "other");
    }

    #[test]
    fn times_are_utc_to_the_second() {
        let t = now();
        assert!(t.ends_with('Z') && t.len() == 20, "{t}");
    }

    #[test]
    fn the_author_is_known() {
        let who = Author::current();
        assert!(!who.user.is_empty() && !who.host.is_empty());
        assert_eq!(who.at_host(), format!("{}@{}", who.user, who.host));
    }
}
