//! What enters the audit without a write: proposals, refusals, and what the files and the metrics
//! show.

use super::approval::Draft;
use super::audit::{AuditLine, Author, Event, record};
use super::protocol::{Paths, plain};
use super::read::Files;
use super::status::Status;
use crate::error::Result;

/// The events that the files and the metrics show and the log does not hold yet.
pub fn observed(files: &Files, status: &Status, who: &Author) -> Vec<AuditLine> {
    let run = status.run_id.clone().or_else(|| files.run()).unwrap_or_default();
    let mut lines: Vec<AuditLine> = Vec::new();
    for seen in &status.events {
        let mut line = AuditLine::new(seen.event, &run, Some(seen.revision), who);
        line.from_tokens = seen.from_tokens;
        line.attempt = seen.attempt.as_deref().map(plain);
        line.reason = seen.reason.clone();
        line.schedule = files.schedule(seen.revision);
        lines.push(line);
    }
    lines.retain(|l| !files.audit.iter().any(|a| a.key() == l.key()));
    lines
}

/// Adds to the log what was observed since, each event once: also after a restart of boptop, and
/// where another boptop looks at the same run. `files` are those that `status` was made from.
///
/// # Errors
/// As [`record`].
pub fn record_observed(files: &Files, status: &Status, who: &Author) -> Result<Vec<AuditLine>> {
    if observed(files, status, who).is_empty() {
        return Ok(Vec::new());
    }
    let lock = super::disk::lock(&files.paths.log);
    if matches!(lock, super::disk::Locked::Taken) {
        // Another boptop is adding them; what it leaves out is found at the next look.
        return Ok(Vec::new());
    }
    // Read again under the lock: another boptop may have been first.
    let lines = observed(&Files::read(&files.paths), status, who);
    for line in &lines {
        record(&files.paths, line)?;
    }
    Ok(lines)
}

/// Records a proposal.
///
/// # Errors
/// As [`record`].
pub fn record_proposed(paths: &Paths, draft: &Draft, who: &Author) -> Result<()> {
    record(paths, &draft.line(Event::Proposed, None, who))
}

/// Records that an approval was refused, and why.
///
/// # Errors
/// As [`record`].
pub fn record_refused(paths: &Paths, draft: &Draft, why: &str, who: &Author) -> Result<()> {
    let mut line = draft.line(Event::Refused, None, who);
    line.reason = Some(plain(why));
    record(paths, &line)
}
