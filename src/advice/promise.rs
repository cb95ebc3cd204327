//! What an approved schedule promises: for each of its changes the loss once the catch-up window after
//! it is over, and what it would be had that change not been made; for the whole the tokens to its target.

use super::constraints::{Constraints, Throughput};
use super::outcome::{Futures, stairs_of};
use super::own_past::{OwnPast, catch_up_steps, stretches};
use super::plan::{known_to, memory_of};
use super::schedule::batch_at;
use super::{Entry, PlanOptions, Situation};
use crate::curve::{GroupFit, Interval, LossKind, Memory};
use crate::run::RunData;
use crate::units::{count, loss};
use serde::{Deserialize, Serialize};

/// Catch-up windows after the change at whose end it is judged: one to catch up, one to look.
pub(super) const WINDOWS: f64 = 2.0;
/// Points of a promised way.
const POINTS: usize = 16;
/// Another change may come so much of the window before its end.
const NEARLY: f64 = 1e-3;

/// A forecast of one change; counts are cumulative tokens of the metrics, losses nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// The change.
    pub from_tokens: f64,
    pub batch_size_tokens: f64,
    /// The loss is looked at over this stretch of tokens.
    pub judged_over_tokens: [f64; 2],
    /// Mean loss there under the change and those before it, with its interval.
    pub loss: Interval,
    /// ... and with those before it alone.
    pub loss_if_left: f64,
    pub on: LossKind,
    /// What the schedule aims at; told with its first change.
    pub target_loss: Option<f64>,
    /// Tokens to the target under the schedule.
    pub tokens: Option<Interval>,
    /// (tokens, loss under the change, loss if left) from the change to two catch-up windows after it.
    #[serde(default)]
    pub way: Vec<[f64; 3]>,
}

/// The forecast of every change of size in `schedule` that is still to come, in its order. Empty where
/// no law speaks, the run's past is not known, or nothing changes.
pub fn promises(
    schedule: &[Entry],
    run: &RunData,
    group: Option<&GroupFit>,
    situation: &Situation,
    options: &PlanOptions,
) -> Vec<Promise> {
    let Some(c) = Constraints::of(run, situation, options) else { return Vec::new() };
    let changes = changes(schedule, &c);
    if changes.is_empty() {
        return Vec::new();
    }
    let futures = group.and_then(|g| futures(run, g, options, &c));
    let Some((futures, memory, on)) = futures else { return Vec::new() };
    let ends = changes[1..].iter().map(|e| e.from_tokens as f64).chain([f64::INFINITY]);
    let mut promises: Vec<Promise> = changes
        .iter()
        .zip(ends)
        .map(|(change, end)| one(schedule, *change, end, (&futures, &memory), on))
        .collect();
    if let Some((first, target)) = promises.first_mut().zip(options.target_loss) {
        let stairs = stairs_of(schedule);
        let way = futures.course.along(&stairs);
        first.target_loss = Some(target);
        first.tokens = Some(futures.spread(way.reach(target), |c| {
            c.along(&stairs).reach(target).unwrap_or(f64::INFINITY)
        }));
    }
    promises
}

/// The changes of size from now on; one that acts at once lies at now.
fn changes(schedule: &[Entry], c: &Constraints) -> Vec<Entry> {
    let at = |t: u64| batch_at(schedule, t as f64).unwrap_or(c.own);
    let to_come = schedule.iter().filter(|e| e.from_tokens > c.now).copied();
    let now = Entry { from_tokens: c.now, batch_size_tokens: at(c.now), lr_scale: None };
    let mut size = c.own;
    let mut out: Vec<Entry> = std::iter::once(now).chain(to_come).collect();
    out.retain(|e| std::mem::replace(&mut size, e.batch_size_tokens) != e.batch_size_tokens);
    out
}

fn futures(
    run: &RunData,
    group: &GroupFit,
    options: &PlanOptions,
    c: &Constraints,
) -> Option<(Futures, Memory, LossKind)> {
    let fit = group.law.as_ref()?;
    let memory = memory_of(fit, options.memory);
    let own = OwnPast::of(run, fit.on, fit.burn_in_steps, &fit.law, &memory).ok()?;
    let throughput = Throughput::of(run, c, Some(group));
    let past = stretches(run);
    let now = (past.as_slice(), run.tokens(), known_to(group));
    let mut futures = Futures::new(fit, memory, now, &own, throughput)?;
    futures.target = options.target_loss.unwrap_or(f64::NAN);
    Some((futures, memory, fit.on))
}

/// The forecast of `change`, after which the next one comes at `next` tokens.
fn one(
    schedule: &[Entry],
    change: Entry,
    next: f64,
    (futures, memory): (&Futures, &Memory),
    on: LossKind,
) -> Promise {
    let (at, size) = (change.from_tokens as f64, change.batch_size_tokens as f64);
    let before: Vec<Entry> =
        schedule.iter().filter(|e| e.from_tokens < change.from_tokens).copied().collect();
    // With the change and without it; neither with what comes after.
    let left = stairs_of(&before);
    let stairs = stairs_of(&[before, vec![change]].concat());
    let (way, leave) = (futures.course.along(&stairs), futures.course.along(&left));
    let window = size * catch_up_steps(memory, way.steps(at));
    let end = next.min(at + WINDOWS * window);
    let from = (at + window).min(0.5 * (at + end));
    let middle = 0.5 * (from + end);
    let point = |i: usize| at + WINDOWS * window / POINTS as f64 * i as f64;
    Promise {
        from_tokens: at,
        batch_size_tokens: size,
        judged_over_tokens: [from, end],
        loss: futures.spread(Some(way.loss(middle)), |c| c.along(&stairs).loss(middle)),
        loss_if_left: leave.loss(middle),
        on,
        target_loss: None,
        tokens: None,
        way: (0..=POINTS).map(point).map(|t| [t, way.loss(t), leave.loss(t)]).collect(),
    }
}

impl Promise {
    /// Tokens of the catch-up window; `None` of a promise that tells no way.
    pub(super) fn window(&self) -> Option<f64> {
        let last = self.way.last()?;
        Some((last[0] - self.from_tokens) / WINDOWS).filter(|w| *w > 0.0)
    }

    /// Whether what it brings shows where another change acts at `tokens`.
    pub(super) fn shows_by(&self, tokens: f64) -> bool {
        self.window().is_none_or(|w| tokens >= self.from_tokens + (1.0 - NEARLY) * w)
    }

    /// (tokens, loss, loss if left) on the way.
    pub(super) fn at(&self, tokens: f64) -> Option<[f64; 3]> {
        let i = self.way.partition_point(|p| p[0] < tokens).clamp(1, self.way.len().max(1));
        let (a, b) = (self.way.get(i - 1)?, self.way.get(i)?);
        let w = (tokens - a[0]) / (b[0] - a[0]);
        Some([tokens, a[1] + w * (b[1] - a[1]), a[2] + w * (b[2] - a[2])])
    }

    /// The same held against the run up to `cut`, where another change acts.
    pub(super) fn until(&self, cut: f64) -> Option<Promise> {
        let from = self.judged_over_tokens[0].min(0.5 * (self.from_tokens + cut));
        let [before, after] = [self.judged_over_tokens, [from, cut]];
        let middle = |s: [f64; 2]| self.at(0.5 * (s[0] + s[1]));
        let ([_, was, _], [_, is, left]) = (middle(before)?, middle(after)?);
        let moved = |l: Option<f64>| l.map(|l| l + is - was);
        let loss = Interval {
            value: moved(self.loss.value),
            low: moved(self.loss.low),
            high: moved(self.loss.high),
            ..self.loss
        };
        Some(Promise { judged_over_tokens: after, loss, loss_if_left: left, ..self.clone() })
    }

    /// In words, for the audit and the screen.
    pub fn text(&self) -> String {
        format!(
            "forecast for {} from {} tokens: loss {}{} at {} tokens, {} if it is left",
            count(self.batch_size_tokens),
            count(self.from_tokens),
            self.loss.value.map_or("?".into(), loss),
            range(&self.loss, loss),
            count(0.5 * (self.judged_over_tokens[0] + self.judged_over_tokens[1])),
            loss(self.loss_if_left)
        )
    }

    /// What the whole schedule is to bring, in words.
    pub fn target_text(&self) -> Option<String> {
        let (target, tokens) = (self.target_loss?, self.tokens.as_ref()?);
        Some(match tokens.value {
            Some(t) => {
                format!("loss {} after {} tokens{}", loss(target), count(t), range(tokens, count))
            }
            None => format!("loss {} not by this alone", loss(target)),
        })
    }
}

/// ` (low to high)`; empty where either end is not known.
pub(super) fn range(i: &Interval, of: fn(f64) -> String) -> String {
    match (i.low, i.high) {
        (Some(low), Some(high)) => format!(" ({} to {})", of(low), of(high)),
        (Some(low), None) => format!(" ({} or more)", of(low)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::judge;
    use crate::advice::testing::{LAW, MEMORY, e, group_of, run_of};

    fn of(schedule: &[Entry]) -> Vec<Promise> {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
        let options = PlanOptions { target_loss: Some(2.2), ..PlanOptions::default() };
        let group = group_of(&LAW, MEMORY);
        promises(schedule, &run, Some(&group), &Situation::default(), &options)
    }

    #[test]
    fn every_change_is_promised_given_those_before_it() {
        let schedule = [e(0, 128), e(3_200_000, 256), e(6_000_000, 256), e(8_000_000, 512)];
        let all = of(&schedule);
        let [first, second] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(
            of(&schedule[..2]),
            [first.clone()].map(|p| Promise { tokens: of(&schedule[..2])[0].tokens, ..p }),
            "what follows is no part of it but for the target"
        );
        assert_eq!((second.from_tokens, second.batch_size_tokens), (8e6, 512.0));
        assert!(second.loss.value.unwrap() < second.loss_if_left, "{second:?}");
        assert!((second.way[0][1] - second.way[0][2]).abs() < 1e-12, "alike where it acts");
        assert!(first.tokens.is_some() && second.tokens.is_none() && second.target_loss.is_none());
        // Without the second change the run is one that made the first alone.
        let alone = run_of(&LAW, &MEMORY, &[(128.0, 3.2e6), (256.0, 1.2e7)], 0.0);
        let i = alone.train.tokens.partition_point(|t| *t < second.way[8][0]);
        let seen = alone.train.loss[i];
        assert!((seen - second.way[8][2]).abs() < 2e-3, "{seen} {:?}", second.way[8]);
    }

    #[test]
    fn each_change_is_judged_up_to_the_next() {
        let all = of(&[e(0, 128), e(3_200_000, 256), e(6_000_000, 512), e(6_100_000, 1024)]);
        let parts = [(128.0, 3.2e6), (256.0, 2.8e6), (512.0, 1e5), (1024.0, 1.5e7)];
        let run = run_of(&LAW, &MEMORY, &parts, 0.0005);
        let seen: Vec<_> = all.iter().map(|p| judge(p, &run)).collect();
        let first = seen[0].as_ref().unwrap();
        assert!(first.promise.judged_over_tokens[1] <= 6e6);
        assert!((0.8..1.2).contains(&first.share.unwrap()), "{first:?}");
        assert_eq!(seen[1], None, "the third came before it could show");
        let spoiled = crate::advice::spoiled(&all[1], &run).unwrap();
        assert!((spoiled / 6.1e6 - 1.0).abs() < 1e-9, "{spoiled}");
        let third = seen[2].as_ref().unwrap();
        assert!((0.8..1.2).contains(&third.share.unwrap()), "{third:?}");
    }

    #[test]
    fn nothing_is_promised_where_nothing_changes_or_no_law_speaks() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
        let (s, o) = (Situation::default(), PlanOptions::default());
        assert_eq!(of(&[e(0, 128)]), []);
        assert_eq!(promises(&[e(0, 128), e(4_000_000, 256)], &run, None, &s, &o), []);
    }
}
