//! What a person may want to jump to: changes of a batch size, and of what boptop said.

use super::recording::Recording;
use crate::snapshot::{RunView, Snapshot, VerdictKind};

/// What boptop says of a run: hold, raise or lower, and to which batch size next.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    run: String,
    kind: VerdictKind,
    next: Option<u64>,
}

/// Keys on the axis of the replay, ascending.
#[derive(Debug)]
pub(super) struct Changes {
    /// Of the whole record; what lies ahead is jumped to, and not shown.
    bumps: Vec<f64>,
    /// As far as it was played: nobody knows what would be said later.
    decisions: Vec<f64>,
    before: Vec<Said>,
}

impl Changes {
    pub fn new(recording: &Recording) -> Changes {
        Changes { bumps: recording.bumps(), decisions: Vec::new(), before: Vec::new() }
    }

    /// Takes down what a fit of the time `key` says. True: of some run something else than before.
    pub fn note(&mut self, key: f64, snapshot: &Snapshot) -> bool {
        let now: Vec<Said> = snapshot.runs.iter().map(|r| said(r)).collect();
        // A run that was not there before is no change of mind.
        let differs = |s: &Said| self.before.iter().any(|b| b.run == s.run && b != s);
        let changed = now.iter().any(differs);
        self.before = now;
        if changed {
            let at = self.decisions.partition_point(|k| *k < key);
            if self.decisions.get(at) != Some(&key) {
                self.decisions.insert(at, key);
            }
        }
        changed
    }

    /// After a jump the next fit is compared with nothing.
    pub fn forget(&mut self) {
        self.before.clear();
    }

    pub fn next_bump(&self, key: f64) -> Option<f64> {
        self.bumps.get(self.bumps.partition_point(|k| *k <= key)).copied()
    }

    /// The last one before `key`.
    pub fn previous(&self, key: f64) -> Option<f64> {
        let last = |keys: &[f64]| keys[..keys.partition_point(|k| *k < key)].last().copied();
        [last(&self.bumps), last(&self.decisions)].into_iter().flatten().reduce(f64::max)
    }

    /// Those that lie behind, in order.
    pub fn passed(&self, key: f64) -> Vec<f64> {
        let all = self.bumps.iter().chain(&self.decisions).copied();
        let mut passed: Vec<f64> = all.filter(|k| *k <= key).collect();
        passed.sort_by(f64::total_cmp);
        passed.dedup();
        passed
    }
}

fn said(run: &RunView) -> Said {
    let now = run.tokens.unwrap_or(f64::NAN);
    let coming = run.plan.iter().flat_map(|p| &p.schedule).find(|e| e.from_tokens as f64 > now);
    Said { run: run.id.clone(), kind: run.verdict.kind, next: coming.map(|e| e.batch_size_tokens) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Settings;

    fn line(step: u64, batch: u64, time: f64) -> String {
        let tokens = if batch == 64 { step * 64 } else { 100 * 64 + (step - 100) * 128 };
        format!(
            "{{\"step\":{step},\"tokens\":{tokens},\"loss\":{},\"lr\":1e-3,\
             \"batch_size_tokens\":{batch},\"time\":{time}}}\n",
            3.0 - 1e-3 * step as f64
        )
    }

    #[test]
    fn a_bump_lies_where_the_first_line_shows_it() {
        let dir = tempfile::tempdir().unwrap();
        let before: String = (1..=100).map(|s| line(s, 64, 1e9 + s as f64)).collect();
        let after: String = (101..=200).map(|s| line(s, 128, 1e9 + s as f64)).collect();
        std::fs::write(dir.path().join("a.jsonl"), before + &after).unwrap();
        let paths = [dir.path().display().to_string()];
        let recording = Recording::load(&paths, Settings::default()).unwrap();
        assert_eq!(recording.bumps(), [1e9 + 101.0]);
        let changes = Changes::new(&recording);
        assert_eq!(changes.next_bump(1e9), Some(1e9 + 101.0));
        assert_eq!(changes.next_bump(1e9 + 101.0), None);
        assert_eq!(changes.previous(1e9 + 150.0), Some(1e9 + 101.0));
        assert!(changes.passed(1e9 + 100.0).is_empty());
    }

    #[test]
    fn a_change_of_mind_is_noted_where_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.jsonl"), line(1, 64, 1e9)).unwrap();
        let paths = [dir.path().display().to_string()];
        let mut recording = Recording::load(&paths, Settings::default()).unwrap();
        let mut changes = Changes::new(&recording);
        recording.advance(2e9);
        let mut snapshot = recording.monitor.snapshot(2e9);
        assert!(!changes.note(10.0, &snapshot), "there was nothing before");
        assert!(!changes.note(20.0, &snapshot));
        std::sync::Arc::make_mut(&mut snapshot.runs[0]).verdict.kind = VerdictKind::Raise;
        assert!(changes.note(30.0, &snapshot));
        assert_eq!((changes.previous(31.0), changes.previous(30.0)), (Some(30.0), None));
        changes.forget();
        std::sync::Arc::make_mut(&mut snapshot.runs[0]).verdict.kind = VerdictKind::Hold;
        assert!(!changes.note(5.0, &snapshot), "a jump is no change of mind");
    }
}
