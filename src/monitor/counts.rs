//! Two counts of tokens: the metrics' and the trainer's own. Thresholds are written in the
//! trainer's; everything else is judged in that of the metrics.

use crate::advice::{self, Entry, LrRule, Plan, Situation};
use crate::control::Files;
use crate::run::{self, RunData};

/// So far apart (relative to the trainer's count) two counts may be and still be the same.
const TOLERANCE: f64 = 0.02;
/// Starts that go back to a step between the two ends, close together: more than a crash loop does.
const ZIGZAGS: usize = 4;

/// The trainer's count less that of the metrics at the same step; 0 where they agree or where no
/// step is known to both.
pub(super) fn offset(files: &Files, data: &RunData) -> i64 {
    let slack = run::log_interval(data).map_or(0.0, |(_, tokens)| 3.0 * tokens);
    let told = files.acks.lines.iter().rev().find_map(|a| {
        let (step, tokens) = (a.step.filter(|s| *s > 0)? as f64, a.tokens? as f64);
        tokens_at(data, step).filter(|t| t.is_finite()).map(|t| (tokens, tokens - t))
    });
    match told {
        Some((tokens, apart)) if apart.abs() > TOLERANCE * tokens + slack => apart.round() as i64,
        _ => 0,
    }
}

/// Cumulative tokens of the metrics after a step, `None` outside of the log.
pub(super) fn tokens_at(data: &RunData, step: f64) -> Option<f64> {
    let columns = &data.train;
    let i = columns.step.partition_point(|s| *s < step);
    let (after, tokens) = (columns.step.get(i)?, columns.tokens.get(i)?);
    if *after == step {
        return Some(*tokens);
    }
    let before = i.checked_sub(1)?;
    let (s, t) = (columns.step.get(before)?, columns.tokens.get(before)?);
    Some(t + (tokens - t) * (step - s) / (after - s))
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

/// A plan that was made a while ago as it is to be written now: behind the run what it in fact did,
/// then the changes of the plan, moved together so that the first lies no earlier than `soonest`.
pub(super) fn ahead(
    plan: &Plan,
    data: &RunData,
    situation: &Situation,
    soonest: u64,
) -> Vec<Entry> {
    // What it says of the time before it was made is no change of it, one that the run has passed
    // since is still to come.
    let made = plan.now.tokens.map_or(0, |t| t.max(0.0) as u64);
    let in_force = advice::as_trained(&situation.in_force, data, situation);
    let own = data.batch_size().unwrap_or(0.0) as u64;
    let Some(first) = advice::first_change(&in_force, &plan.schedule, own, made) else {
        return in_force;
    };
    let first = plan.schedule.iter().map(|e| e.from_tokens).find(|t| *t >= first && *t > made);
    let now = data.tokens().max(0.0) as u64;
    let from = first.unwrap_or(u64::MAX);
    let by = soonest.saturating_sub(from);
    let mut out: Vec<Entry> = in_force.into_iter().filter(|e| e.from_tokens <= now).collect();
    for e in plan.schedule.iter().filter(|e| e.from_tokens > made) {
        if e.from_tokens >= from {
            out.push(Entry { from_tokens: e.from_tokens.saturating_add(by), ..*e });
        } else if e.from_tokens > now {
            out.push(*e);
        }
    }
    advice::with_lr_rule(out, LrRule::Unchanged)
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
