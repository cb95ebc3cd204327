//! Verdicts that have changed since they were last told.

use crate::snapshot::{Snapshot, VerdictKind};
use std::collections::HashMap;

/// A verdict on a run that is another one than it was.
#[derive(Debug, Clone, PartialEq)]
pub struct VerdictChange {
    pub run: String,
    pub before: VerdictKind,
    pub now: VerdictKind,
    /// The verdict in words.
    pub text: String,
}

impl VerdictChange {
    /// `boptop: b128 raise`.
    pub fn title(&self) -> String {
        format!("boptop: {} {}", self.run, verdict_word(self.now).replace('_', " "))
    }
}

/// As in the JSON.
pub fn verdict_word(kind: VerdictKind) -> &'static str {
    match kind {
        VerdictKind::Hold => "hold",
        VerdictKind::Raise => "raise",
        VerdictKind::Lower => "lower",
        VerdictKind::CannotTell => "cannot_tell",
    }
}

/// What was told of each run.
#[derive(Debug, Default)]
pub struct Verdicts {
    told: HashMap<String, VerdictKind>,
}

impl Verdicts {
    /// What has changed since the last call. The first verdict on a run is no change, and before
    /// the first fit there is none.
    pub fn changes(&mut self, snapshot: &Snapshot) -> Vec<VerdictChange> {
        if snapshot.fit.made_at.is_none() {
            return Vec::new();
        }
        let mut out = Vec::new();
        for run in snapshot.runs.iter().filter(|r| !r.excluded) {
            let now = run.verdict.kind;
            // Without a plan nothing was judged yet.
            if run.plan.is_none() {
                continue;
            }
            let before = self.told.insert(run.id.clone(), now);
            if let Some(before) = before.filter(|b| *b != now) {
                let text = run.verdict.text.clone();
                out.push(VerdictChange { run: run.id.clone(), before, now, text });
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_change_is_told_once_and_a_first_verdict_is_none() {
        let mut verdicts = Verdicts::default();
        let mut s = fixture::sweep();
        let made = s.fit.made_at;
        Arc::make_mut(&mut s.fit).made_at = None;
        assert!(verdicts.changes(&s).is_empty());
        Arc::make_mut(&mut s.fit).made_at = made;
        assert!(verdicts.changes(&s).is_empty());
        let run = s.runs.iter_mut().find(|r| r.plan.is_some()).unwrap();
        let before = run.verdict.kind;
        let now = if before == VerdictKind::Hold { VerdictKind::Raise } else { VerdictKind::Hold };
        Arc::make_mut(run).verdict.kind = now;
        let id = run.id.clone();
        let told = verdicts.changes(&s);
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0].run, told[0].before, told[0].now), (&id, before, now));
        assert!(verdicts.changes(&s).is_empty());
    }
}
