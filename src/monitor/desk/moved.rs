//! A proposal that is moved along the tokens, and one whose run has become another. Pure; all in one
//! count of tokens.

use crate::advice::{self, Entry};
use crate::monitor::counts::tokens_at;
use crate::run::RunData;
use crate::units;

/// Two counts at one step differ by more than this share of them where the runs are two.
const OTHER: f64 = 0.005;

/// `schedule` with its first change from `in_force` moved by `by_tokens`, what follows by as much; no
/// earlier than `soonest`, and behind what is kept before it. `None` where it changes nothing.
pub(super) fn moved(
    schedule: &[Entry],
    in_force: &[Entry],
    own: u64,
    (now, soonest): (u64, u64),
    by_tokens: i64,
) -> Option<Vec<Entry>> {
    let departs = advice::first_change(in_force, schedule, own, now)?;
    let later = schedule.iter().position(|e| e.from_tokens >= departs);
    let acting = schedule.iter().rposition(|e| e.from_tokens <= departs);
    // The run has passed the first change since it was drawn up: it is still the one to be moved.
    let first = if departs == now { acting.or(later)? } else { later? };
    let (kept, moves) = schedule.split_at(first);
    let mut kept = kept.to_vec();
    if kept.is_empty() {
        kept.push(Entry { from_tokens: 0, batch_size_tokens: own, lr_scale: moves[0].lr_scale });
    }
    let from = moves[0].from_tokens;
    let behind = kept.last().map_or(0, |e| e.from_tokens + 1);
    let to = from.saturating_add_signed(by_tokens).max(soonest).max(behind);
    let at = |e: &Entry| to.saturating_add(e.from_tokens - from);
    kept.extend(moves.iter().map(|e| Entry { from_tokens: at(e), ..*e }));
    Some(kept)
}

/// Where a run was when a proposal was drawn up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    step: f64,
    tokens: f64,
}

impl Mark {
    pub(super) fn of(data: &RunData) -> Mark {
        Mark { step: data.step(), tokens: data.tokens() }
    }

    /// Why the run is no more the one that it was, or one set back; `None` where it only went on.
    pub(super) fn gone(&self, data: &RunData) -> Option<String> {
        let back = data.tokens() < self.tokens;
        let then = tokens_at(data, self.step).filter(|_| self.step.is_finite());
        let other = then.is_some_and(|t| (t - self.tokens).abs() > OTHER * self.tokens);
        (back || other || data.step() < self.step).then(|| {
            format!(
                "the metrics are not those that it was drawn up on, of a run at {} tokens after {} \
                 steps: another run writes them, or it was set back; look at it, then propose again",
                units::count(self.tokens),
                units::count(self.step)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, e, run_of};

    #[test]
    fn a_move_takes_what_follows_along_and_nothing_of_what_is_ordered_before() {
        let plan = [e(0, 1), e(100, 2), e(150, 4)];
        let by = |schedule: &[Entry], in_force: &[Entry], now, by| {
            moved(schedule, in_force, 1, (now, now + 10), by)
        };
        assert_eq!(by(&plan, &[], 50, 20).unwrap(), [e(0, 1), e(120, 2), e(170, 4)]);
        assert_eq!(by(&plan, &[], 50, -20).unwrap(), [e(0, 1), e(80, 2), e(130, 4)]);
        // Never before it can be seen.
        assert_eq!(by(&plan, &[], 95, -20).unwrap(), [e(0, 1), e(105, 2), e(155, 4)]);
        // The run has passed the first change.
        assert_eq!(by(&plan, &[], 110, 20).unwrap(), [e(0, 1), e(120, 2), e(170, 4)]);
        // The first is accepted, the second is proposed.
        let accepted = [e(0, 1), e(100, 2)];
        assert_eq!(by(&plan, &accepted, 50, 20).unwrap(), [e(0, 1), e(100, 2), e(170, 4)]);
        assert_eq!(by(&plan, &accepted, 50, -90).unwrap(), [e(0, 1), e(100, 2), e(101, 4)]);
        // At once, from the run's own size.
        assert_eq!(by(&[e(0, 2)], &[], 50, 5).unwrap(), [e(0, 1), e(60, 2)]);
        assert_eq!(by(&accepted, &accepted, 50, 20), None);
    }

    #[test]
    fn a_run_that_went_on_is_the_same_and_another_or_one_set_back_is_not() {
        let run = |parts: &[(f64, f64)]| run_of(&LAW, &MEMORY, parts, 0.0);
        let mark = Mark::of(&run(&[(128.0, 3e6)]));
        for same in
            [run(&[(128.0, 3e6)]), run(&[(128.0, 3.5e6)]), run(&[(128.0, 3e6), (256.0, 1e6)])]
        {
            assert_eq!(mark.gone(&same), None);
        }
        for other in [run(&[(128.0, 2.9e6)]), run(&[(256.0, 4e6)]), run(&[(256.0, 9e6)])] {
            assert!(mark.gone(&other).unwrap().contains("at 3M tokens"), "{}", other.tokens());
        }
    }
}
