//! What was shown or accepted before, and binds the next plan: a committed switch is never put off, and
//! what a person has seen stays while it is about as good.

use super::Entry;
use super::decide::Choice;
use super::schedule::batch_at;

impl Choice<'_> {
    /// The next raise that was shown or accepted before. One whose time came while nobody approved it
    /// is due at once.
    pub fn committed_at(&self) -> Option<u64> {
        let c = self.constraints;
        let raise = |changes: Vec<(u64, u64)>| {
            let first = changes.into_iter().find(|e| e.1 != c.own).filter(|e| e.1 > c.own)?;
            Some(if first.0 > c.now { first.0 } else { c.earliest })
        };
        let accepted = to_come(self.in_force, c.now);
        [raise(self.shown_then()), raise(accepted)].into_iter().flatten().min()
    }

    /// A change of this direction was recommended before, and is still to come.
    pub fn was_shown(&self, to: u64) -> bool {
        let own = self.constraints.own;
        self.shown_then().first().is_some_and(|c| (c.1 > own) == (to > own))
    }

    /// By how much a plan begins later than the change of its direction that was shown: it is due.
    pub fn late(&self, changes: &[(u64, u64)]) -> u64 {
        let Some(&(at, to)) = changes.first() else { return 0 };
        let due = at <= self.constraints.earliest && self.was_shown(to);
        let since = self.shown_then().first().map_or(at, |c| c.0);
        // Not before what the run trains at began.
        let began = |e: &&Entry| e.from_tokens <= self.constraints.now;
        let free = self.leave.iter().rfind(began).is_none_or(|e| since > e.from_tokens);
        if due && free { at.saturating_sub(since) } else { 0 }
    }

    /// What was shown before and is still to come. Where nobody approved it in time it keeps its sizes
    /// and is put off as a whole: time alone is no reason for another plan.
    pub fn shown(&self) -> Vec<(u64, u64)> {
        let mut changes = self.shown_then();
        let late = changes.first().map_or(0, |c| self.constraints.earliest.saturating_sub(c.0));
        changes.iter_mut().for_each(|c| c.0 += late);
        changes
    }

    /// The same at the tokens at which it was shown.
    pub fn shown_then(&self) -> Vec<(u64, u64)> {
        let c = self.constraints;
        let Some(shown) = self.committed else { return Vec::new() };
        let runs = |e: &Entry| e.from_tokens <= c.now && e.batch_size_tokens == c.own;
        let ordered = batch_at(self.in_force, c.now as f64).is_some_and(|b| b != c.own);
        match shown.iter().rposition(runs) {
            // What is ordered is no longer to be decided, though it does not show yet.
            Some(i) if !ordered => pairs(&shown[i + 1..]),
            _ => to_come(shown, c.now),
        }
    }
}

pub fn to_come(schedule: &[Entry], now: u64) -> Vec<(u64, u64)> {
    pairs(&schedule[schedule.partition_point(|e| e.from_tokens <= now)..])
}

/// What was shown of a plan may be its first part alone: with the larger sizes that another one goes
/// on to.
pub fn continued(shown: &[(u64, u64)], other: &[(u64, u64)], dwell: u64) -> Vec<(u64, u64)> {
    let mut out = shown.to_vec();
    let Some(&(_, top)) = shown.last() else { return out };
    for &(at, to) in other.iter().filter(|c| c.1 > top) {
        let least = out.last().map_or(0, |c| c.0.saturating_add(dwell));
        out.push((at.max(least), to));
    }
    out
}

fn pairs(schedule: &[Entry]) -> Vec<(u64, u64)> {
    schedule.iter().map(|e| (e.from_tokens, e.batch_size_tokens)).collect()
}
