//! What the files and the metrics show of one revision.

use super::ack::Answer;
use super::audit::Event;
use super::changes::{before, changes};
use super::facts::{Facts, same, slack};
use super::protocol::entry_at;
use super::read::{Fate, Files};
use super::state::Signs;

/// What the files and the metrics say of one revision.
pub(super) fn signs(files: &Files, facts: &Facts, revision: u64) -> Signs {
    let acks = &files.acks;
    let answer = acks.answer(revision);
    let accepted = matches!(answer, Some((Answer::Accepted, _)));
    let schedule = files.schedule(revision);
    let before = before(files, revision);
    let expect = files.revision(revision).and_then(|f| f.expect?.batch_size_tokens);
    let own = expect.or(answer.and_then(|(_, i)| acks.lines[i].batch_size_tokens));
    let since = answer.filter(|_| accepted).and_then(|(_, i)| acks.lines[i].tokens);
    let changes = changes(&schedule, &before, own, since);
    let tokens = facts.tokens.unwrap_or(0.0);
    let slack = slack(facts);
    let due = changes.iter().rev().find(|e| e.from_tokens as f64 <= tokens);
    let late = due.is_some_and(|e| tokens > e.from_tokens as f64 + slack);
    let ordered = entry_at(&schedule, tokens.max(0.0) as u64);
    let mut seen = match (facts.batch_size, ordered) {
        (Some(b), Some(e)) => Some(same(b, e.batch_size_tokens)),
        _ => None,
    };
    // In the first log lines after a change the one before it still counts as seen.
    let former = due.and_then(|d| changes.iter().rev().find(|e| e.from_tokens < d.from_tokens));
    if let (Some(false), false, Some(former)) = (seen, late, former) {
        seen = facts.batch_size.map(|b| same(b, former.batch_size_tokens));
    }
    let was_seen = due.is_some_and(|d| {
        let after = |s: &&[f64; 2]| s[0] >= d.from_tokens as f64 - slack;
        facts.segments.iter().filter(after).any(|s| same(s[1], d.batch_size_tokens))
            || files.audit.iter().any(|a| {
                a.event == Event::Applied
                    && a.revision == Some(revision)
                    && a.from_tokens == Some(d.from_tokens)
            })
    });
    Signs {
        written: files.file().is_some_and(|f| f.revision >= revision)
            || files.claims.iter().any(|c| c.revision == revision && c.fate == Fate::Published),
        accepted,
        rejected: matches!(answer, Some((Answer::Rejected, _))),
        lost: lost(files, revision),
        // A revision that changes nothing has nothing to wait for.
        due: due.is_some() || changes.is_empty(),
        late,
        seen,
        was_seen,
        replaced: acks.in_force().is_some_and(|(r, _)| r > revision),
        undone: undoer(files, revision).is_some(),
    }
}

/// A start after the acceptance of a revision has another one in force, or none.
fn lost(files: &Files, revision: u64) -> bool {
    let acks = &files.acks;
    let Some((at, ready)) = acks.ready() else { return false };
    if ready.revision.is_some_and(|r| r >= revision) {
        return false;
    }
    match acks.answer(revision) {
        Some((Answer::Accepted, i)) => i < at,
        Some(_) => false,
        // The acknowledgements themselves were lost.
        None => files.audit.iter().any(|a| {
            matches!(a.event, Event::Accepted | Event::Applied) && a.revision == Some(revision)
        }),
    }
}

/// The accepted revision that took this one back.
pub(super) fn undoer(files: &Files, revision: u64) -> Option<u64> {
    let (in_force, _) = files.acks.in_force()?;
    (revision + 1..=in_force).find(|r| {
        let file = files.revision(*r);
        let undoes = file.and_then(|f| f.evidence.as_ref()?.unknown.get("undoes")?.as_u64());
        undoes == Some(revision) && matches!(files.acks.answer(*r), Some((Answer::Accepted, _)))
    })
}
