//! Two counts of tokens: the metrics' and the trainer's own. Thresholds are written in the
//! trainer's; everything else is judged in that of the metrics.

use crate::advice::Entry;
use crate::control::Files;
use crate::run::{self, RunData};

/// So far apart (relative to the trainer's count) two counts may be and still be the same.
const TOLERANCE: f64 = 0.02;
/// Starts that go back to a step between the two ends, close together: more than a crash loop does.
const ZIGZAGS: usize = 4;

/// The trainer's count less that of the metrics at the same step; 0 where they agree or where no
/// step is known to both.
pub(super) fn offset(files: &Files, data: &RunData) -> i64 {
    let columns = &data.train;
    let slack = run::log_interval(data).map_or(0.0, |(_, tokens)| 3.0 * tokens);
    let at_step = |step: f64| {
        let i = columns.step.partition_point(|s| *s < step);
        let (after, tokens) = (columns.step.get(i)?, columns.tokens.get(i)?);
        if *after == step {
            return Some(*tokens);
        }
        let before = i.checked_sub(1)?;
        let (s, t) = (columns.step.get(before)?, columns.tokens.get(before)?);
        Some(t + (tokens - t) * (step - s) / (after - s))
    };
    let told = files.acks.lines.iter().rev().find_map(|a| {
        let (step, tokens) = (a.step.filter(|s| *s > 0)? as f64, a.tokens? as f64);
        at_step(step).filter(|t| t.is_finite()).map(|t| (tokens, tokens - t))
    });
    match told {
        Some((tokens, apart)) if apart.abs() > TOLERANCE * tokens + slack => apart.round() as i64,
        _ => 0,
    }
}

/// The schedule in a count that lies `by` tokens higher. What would begin below zero begins at
/// zero, the last such entry alone.
pub(super) fn shifted(schedule: &[Entry], by: i64) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::new();
    for e in schedule {
        // An entry at zero means "from the start" in either count.
        let from_tokens =
            if e.from_tokens == 0 { 0 } else { e.from_tokens.saturating_add_signed(by) };
        if out.last().is_some_and(|l| l.from_tokens >= from_tokens) {
            out.pop();
        }
        out.push(Entry { from_tokens, ..*e });
    }
    out
}

/// A plan that was made a while ago, its changes (from `first` on) moved together so that the first
/// lies no earlier than `soonest`.
pub(super) fn ahead(plan: &[Entry], first: Option<u64>, soonest: u64) -> Vec<Entry> {
    let Some(first) = first else { return plan.to_vec() };
    let by = soonest.saturating_sub(first);
    let moved = |e: &Entry| match e.from_tokens >= first {
        true => Entry { from_tokens: e.from_tokens.saturating_add(by), ..*e },
        false => *e,
    };
    plan.iter().map(moved).collect()
}

/// Two attempts write the same file by turns: the step goes back and forth, each time a little
/// further on, up to now.
pub(super) fn interleaved(data: &RunData) -> bool {
    let steps = &data.train.step;
    let Some(recent) = data.restarts.len().checked_sub(ZIGZAGS) else { return false };
    let Some([before, last]) = steps.last_chunk::<2>() else { return false };
    let restarts = &data.restarts[recent..];
    let reach = 3.0 * (last - before).abs().max(1.0);
    let onward = restarts.windows(2).all(|w| {
        let gap = w[1].resumed_at - w[0].resumed_at;
        gap > 0.0 && gap <= reach.max(w[0].discarded_to - w[0].resumed_at + reach)
    });
    let short = restarts.iter().all(|r| r.discarded <= 3);
    let now = restarts.last().is_some_and(|r| last - r.resumed_at <= reach);
    onward && short && now
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(from_tokens: u64, batch_size_tokens: u64) -> Entry {
        Entry { from_tokens, batch_size_tokens, lr_scale: None }
    }

    #[test]
    fn a_late_plan_moves_as_one() {
        let plan = [entry(0, 1), entry(100, 2), entry(300, 4)];
        assert_eq!(ahead(&plan, Some(100), 150), [entry(0, 1), entry(150, 2), entry(350, 4)]);
        assert_eq!(ahead(&plan, Some(100), 50), plan);
        assert_eq!(ahead(&plan, None, 150), plan);
    }

    proptest! {
        /// Thresholds above the offset come back as they were; the start stays the start.
        #[test]
        fn a_shift_keeps_order_and_comes_back(
            gaps in proptest::collection::vec(1u64..1000, 1..6), by in -500i64..500,
        ) {
            let mut from = 0;
            let later = gaps.iter().map(|gap| { from += gap; entry(from + 500, *gap) });
            let schedule: Vec<Entry> = std::iter::once(entry(0, 7)).chain(later).collect();
            let there = shifted(&schedule, by);
            prop_assert!(there.windows(2).all(|w| w[0].from_tokens < w[1].from_tokens));
            prop_assert_eq!(shifted(&there, -by), schedule);
        }
    }
}
