//! What one schedule changes against another, and the schedule that takes a change back. Pure.

use super::ack::Answer;
use super::facts::{Facts, same, slack};
use super::protocol::{AckStatus, Entry, entry_at, ordered_at};
use super::read::{Fate, Files};

/// The changes that `new` brings, ascending: where it first departs from `old` (from the trainer's
/// `own` batch size where there was no schedule), and its own steps from there on. What lies below
/// `since` (the count at which it was accepted) is past and no change.
pub fn changes(new: &[Entry], old: &[Entry], own: Option<u64>, since: Option<u64>) -> Vec<Entry> {
    // Without a schedule before, the batch size was the one that was expected; the first entry's
    // where that is unknown.
    let own = own.or(new.first().map(|e| e.batch_size_tokens)).map(|b| (b, 1.0));
    let since = since.unwrap_or(0);
    let mut marks: Vec<u64> = new.iter().chain(old).map(|e| e.from_tokens.max(since)).collect();
    marks.sort_unstable();
    marks.dedup();
    let mut out: Vec<Entry> = Vec::new();
    let mut former = None;
    for t in marks {
        let was = if old.is_empty() { own } else { ordered_at(old, t).or(own) };
        let Some(is) = ordered_at(new, t) else { continue };
        let departs = out.is_empty() && was != Some(is);
        let steps = !out.is_empty() && former != Some(is);
        if departs || steps {
            out.push(Entry { from_tokens: t, batch_size_tokens: is.0, lr_scale: Some(is.1) });
        }
        former = Some(is);
    }
    out
}

/// What was in force when a revision came: the highest accepted one below it, else the newest
/// published one that the trainer did not reject.
pub(super) fn before(files: &Files, revision: u64) -> Vec<Entry> {
    let below = |r: &u64| *r < revision;
    let accepted = files
        .acks
        .lines
        .iter()
        .filter(|a| a.status == AckStatus::Accepted)
        .filter_map(|a| a.revision)
        .filter(below)
        .max();
    let published = || {
        let claims = files.claims.iter().filter(|c| c.fate == Fate::Published);
        let rejected = |r: &u64| matches!(files.acks.answer(*r), Some((Answer::Rejected, _)));
        claims.map(|c| c.revision).filter(below).filter(|r| !rejected(r)).max()
    };
    let silent = files.acks.lines.is_empty();
    let former = if silent { published() } else { accepted };
    former.map(|r| files.schedule(r)).unwrap_or_default()
}

/// The revision that an undo takes back: the newest one; the one in force where the trainer rejected
/// that.
pub fn to_undo(files: &Files) -> Option<u64> {
    let newest = files.newest()?;
    let rejected = matches!(files.acks.answer(newest), Some((Answer::Rejected, _)));
    if rejected { files.acks.in_force().map(|(revision, _)| revision) } else { Some(newest) }
}

/// The revision that an accepted `revision` took back, and what that had ordered.
pub fn taken_back(files: &Files, revision: u64) -> Option<(u64, Vec<Entry>)> {
    let evidence = files.revision(revision)?.evidence.as_ref()?;
    let undone = evidence.unknown.get("undoes")?.as_u64()?;
    Some((undone, files.schedule(undone)))
}

/// The schedule that takes [`to_undo`] back: without what it orders that does not act yet, and back to
/// the former batch size from a later count where something already acts. What may begin before the
/// undo is seen is left out too: a trainer that looks in time never does it, and one that looks later
/// did it by the former revision and leaves it as soon as it looks. `None` where there is nothing to
/// take back.
pub fn undo_schedule(files: &Files, facts: &Facts) -> Option<Vec<Entry>> {
    let revision = to_undo(files)?;
    let newest = files.schedule(revision);
    let file = files.revision(revision);
    let expect = file.and_then(|f| f.expect?.batch_size_tokens);
    let answer = files.acks.answer(revision);
    let own = expect.or(answer.and_then(|(_, i)| files.acks.lines[i].batch_size_tokens));
    let former = before(files, revision);
    let since = answer.and_then(|(_, i)| files.acks.lines[i].tokens);
    let first = changes(&newest, &former, own, since).first().copied()?;
    let former = match (former.is_empty(), own.or(newest.first().map(|e| e.batch_size_tokens))) {
        (false, _) => former,
        (true, Some(size)) => {
            let from = newest.first().map_or(0, |e| e.from_tokens);
            vec![Entry { from_tokens: from, batch_size_tokens: size, lr_scale: None }]
        }
        (true, None) => return None,
    };
    let trainer = files.acks.lines.iter().rev().find_map(|a| a.tokens).map(|t| t as f64);
    let tokens = facts.tokens.into_iter().chain(trainer).fold(0.0, f64::max);
    let lead = facts.lead_tokens.unwrap_or(2.0 * facts.log_interval_tokens.unwrap_or(0.0));
    // What the trainer never followed has nothing to go back from.
    let late = tokens > first.from_tokens as f64 + slack(facts);
    let runs_at = |s: &[Entry]| {
        let ordered = entry_at(s, tokens as u64);
        facts.batch_size.zip(ordered).is_some_and(|(b, e)| same(b, e.batch_size_tokens))
    };
    let acts =
        first.from_tokens as f64 <= tokens && !(late && runs_at(&former) && !runs_at(&newest));
    Some(back_to(&former, &newest, acts, tokens as u64, (tokens + lead).ceil() as u64))
}

/// `former` from the count `from` on, or sooner where `taken`, which is taken back, says the same; up
/// to `now` what was in force: `taken` where it acts.
fn back_to(former: &[Entry], taken: &[Entry], acts: bool, now: u64, from: u64) -> Vec<Entry> {
    let (begun, other) = if acts { (taken, former) } else { (former, taken) };
    let stays = |e: &&Entry| {
        let t = e.from_tokens;
        t <= now || t < from && ordered_at(other, t) == ordered_at(begun, t)
    };
    let mut out: Vec<Entry> = begun.iter().filter(stays).copied().collect();
    if let Some(back) = entry_at(former, from)
        && ordered_at(&out, from) != ordered_at(former, from)
    {
        out.push(Entry { from_tokens: from, ..back });
    }
    out.extend(former.iter().filter(|e| e.from_tokens > from));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(entries: &[(u64, u64)]) -> Vec<Entry> {
        let entry = |(from_tokens, batch_size_tokens): &(u64, u64)| Entry {
            from_tokens: *from_tokens,
            batch_size_tokens: *batch_size_tokens,
            lr_scale: None,
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn changes_are_what_departs_from_before_and_what_follows() {
        let found = |new: &[(u64, u64)], old: &[(u64, u64)], own, since| {
            let changes = changes(&s(new), &s(old), own, since);
            changes.iter().map(|e| (e.from_tokens, e.batch_size_tokens)).collect::<Vec<_>>()
        };
        // The first schedule, its first entry already in force.
        assert_eq!(found(&[(0, 2), (250, 4)], &[], Some(2), None), [(250, 4)]);
        assert_eq!(found(&[(0, 2), (250, 4)], &[], None, None), [(250, 4)]);
        // At once.
        assert_eq!(found(&[(0, 4)], &[], Some(2), Some(100)), [(100, 4)]);
        // Nothing new.
        assert!(found(&[(0, 2), (250, 4)], &[(0, 2), (250, 4)], None, None).is_empty());
        // Later than before: the old bump that it lacks, then its own.
        assert_eq!(
            found(&[(0, 2), (300, 4)], &[(0, 2), (250, 4)], None, None),
            [(250, 2), (300, 4)]
        );
        // What was past when it was accepted is no change.
        assert_eq!(found(&[(0, 1), (100, 2), (250, 4)], &[], Some(2), Some(200)), [(250, 4)]);
        // Undo, before and after it acted.
        assert_eq!(found(&[(0, 2)], &[(0, 2), (250, 4)], None, None), [(250, 2)]);
        assert_eq!(
            found(&[(0, 2), (250, 4), (270, 2)], &[(0, 2), (250, 4)], None, None),
            [(270, 2)]
        );
    }

    #[test]
    fn what_is_taken_back_never_begins_and_what_acts_ends_a_lead_time_on() {
        let back = |former: &[(u64, u64)], taken: &[(u64, u64)], acts, now, from| {
            let back = back_to(&s(former), &s(taken), acts, now, from);
            back.iter().map(|e| (e.from_tokens, e.batch_size_tokens)).collect::<Vec<_>>()
        };
        // The first change acts, the second would before the undo is seen.
        let raised = [(0, 1), (50, 2), (100, 4), (200, 8)];
        assert_eq!(back(&[(0, 1)], &raised, true, 95, 105), [(0, 1), (50, 2), (105, 1)]);
        // Nothing acts yet.
        assert_eq!(back(&[(0, 1)], &raised, false, 45, 55), [(0, 1)]);
        // The revision withdrew a raise that would come too soon now: it comes a lead time on.
        assert_eq!(back(&[(0, 1), (100, 2)], &[(0, 1)], false, 95, 105), [(0, 1), (105, 2)]);
        // Both say the same up to 100.
        let longer = [(0, 1), (100, 2), (102, 4)];
        assert_eq!(back(&[(0, 1), (100, 2)], &longer, false, 95, 105), [(0, 1), (100, 2)]);
        // What goes back by itself before the undo would.
        let for_a_while = [(0, 1), (50, 2), (100, 1)];
        assert_eq!(back(&[(0, 1)], &for_a_while, true, 95, 105), for_a_while);
        // Of the former one only what is still to come.
        let former = [(0, 1), (100, 2), (300, 4)];
        assert_eq!(
            back(&former, &raised, true, 110, 120),
            [(0, 1), (50, 2), (100, 4), (120, 2), (300, 4)]
        );
    }
}
