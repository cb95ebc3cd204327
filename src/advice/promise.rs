//! What an approved change promises, and whether the run kept it: a forecast made before the change,
//! held against the loss once the catch-up window after it is over.

use super::constraints::{Constraints, Throughput};
use super::outcome::{Futures, stairs_of};
use super::own_past::{BumpYield, OwnPast, catch_up_steps, stretches};
use super::plan::{known_to, memory_of};
use super::schedule::first_change;
use super::{Entry, PlanOptions, Situation};
use crate::curve::{GroupFit, Interval, LossKind};
use crate::run::{Columns, RunData};
use crate::units::{count, loss};
use serde::{Deserialize, Serialize};

/// Catch-up windows after the change at whose end it is judged: one to catch up, one to look.
const WINDOWS: f64 = 2.0;
/// An observed loss may lie beyond the interval by so many of its standard errors.
const SLACK: f64 = 2.0;
/// A logged batch size is the promised one up to this share.
const SAME: f64 = 0.02;
/// Points of a promised way.
const POINTS: usize = 16;
/// A change that brings less than this share of what was promised stops the plan.
pub(super) const HALF: f64 = 0.5;
/// ... where the promise is this multiple of the standard error.
const TOLD: f64 = 3.0;

/// A forecast of one change; counts are cumulative tokens of the metrics, losses nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// The change.
    pub from_tokens: f64,
    pub batch_size_tokens: f64,
    /// The loss is looked at over this stretch of tokens.
    pub judged_over_tokens: [f64; 2],
    /// Mean loss there under the change, with its interval.
    pub loss: Interval,
    /// ... and if the run were left.
    pub loss_if_left: f64,
    pub on: LossKind,
    pub target_loss: Option<f64>,
    /// Tokens to the target under the schedule.
    pub tokens: Option<Interval>,
    /// (tokens, loss under the change, loss if left) from the change to two catch-up windows after it.
    #[serde(default)]
    pub way: Vec<[f64; 3]>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub promise: Promise,
    /// Mean loss over the stretch, and its standard error.
    pub loss: f64,
    pub loss_se: f64,
    /// Within the interval that was forecast, or beyond it by no more than the noise of the lines.
    pub kept: bool,
    /// Share of the promised difference from leaving the run that came; above 1: more.
    pub share: Option<f64>,
}

/// The forecast of the first change of `schedule` against what is in force. `None` where no law
/// speaks, the run's past is not known, or nothing changes.
pub fn promise(
    schedule: &[Entry],
    run: &RunData,
    group: Option<&GroupFit>,
    situation: &Situation,
    options: &PlanOptions,
) -> Option<Promise> {
    let group = group?;
    let fit = group.law.as_ref()?;
    let c = Constraints::of(run, situation, options)?;
    let at = first_change(&situation.in_force, schedule, c.own, c.now)?.max(c.now);
    let size = super::schedule::batch_at(schedule, at as f64)? as f64;
    let memory = memory_of(fit, options.memory);
    let own = OwnPast::of(run, fit.on, fit.burn_in_steps, &fit.law, &memory).ok()?;
    let throughput = Throughput::of(run, &c, Some(group));
    let past = stretches(run);
    let now = (past.as_slice(), run.tokens(), known_to(group));
    let mut futures = Futures::new(fit, memory, now, &own, throughput)?;
    futures.target = options.target_loss.unwrap_or(f64::NAN);
    let stairs = stairs_of(schedule);
    let way = futures.course.along(&stairs);
    let left = stairs_of(&situation.in_force);
    let window = size * catch_up_steps(&memory, way.steps(at as f64));
    let next = schedule.iter().map(|e| e.from_tokens as f64).find(|t| *t > at as f64);
    let end = next.map_or(f64::INFINITY, |t| t).min(at as f64 + WINDOWS * window);
    let from = (at as f64 + window).min(0.5 * (at as f64 + end));
    let middle = 0.5 * (from + end);
    let leave = futures.course.along(&left);
    let step = WINDOWS * window / POINTS as f64;
    let point = |i: usize| at as f64 + step * i as f64;
    let way_there = (0..=POINTS).map(point).map(|t| [t, way.loss(t), leave.loss(t)]).collect();
    Some(Promise {
        from_tokens: at as f64,
        batch_size_tokens: size,
        judged_over_tokens: [from, end],
        loss: futures.spread(Some(way.loss(middle)), |c| c.along(&stairs).loss(middle)),
        loss_if_left: futures.course.along(&left).loss(middle),
        on: fit.on,
        target_loss: options.target_loss,
        tokens: options.target_loss.map(|t| {
            futures.spread(way.reach(t), |c| c.along(&stairs).reach(t).unwrap_or(f64::INFINITY))
        }),
        way: way_there,
    })
}

/// Holds a promise against the run; `None` before the stretch is over, where it has no losses, where
/// the run trained at another batch size, and where a later change acted before anything could be told.
pub fn judge(promise: &Promise, run: &RunData) -> Option<Outcome> {
    let [from, to] = promise.judged_over_tokens;
    let cut = next_change(promise, run).filter(|t| *t < to);
    let promise = match cut {
        None => promise.clone(),
        Some(cut) => promise.until(cut)?,
    };
    let [from, to] = cut.map_or([from, to], |_| promise.judged_over_tokens);
    if !trains_at(promise.batch_size_tokens, run, from) {
        return None;
    }
    let (mean, loss_se) = seen(&promise, run, [from, to])?;
    let slack = SLACK * loss_se;
    let above = promise.loss.high.is_none_or(|h| mean <= h + slack);
    let below = promise.loss.low.is_none_or(|l| mean >= l - slack);
    let promised = promise.loss.value.map(|l| promise.loss_if_left - l);
    let share = promised.filter(|d| d.abs() > slack).map(|d| (promise.loss_if_left - mean) / d);
    let share = share.filter(|s| s.is_finite());
    // The interval of a memory that is assumed may hold no gain at all.
    let little = promised.is_some_and(|d| d > TOLD * loss_se) && share.is_some_and(|s| s < HALF);
    Some(Outcome { promise, loss: mean, loss_se, kept: above && below && !little, share })
}

/// What the change brought of its promise by now, from the end of its catch-up window on; `None`
/// before that, where the promise is within the noise, and where the run did not make the change.
pub fn brought(promise: &Promise, run: &RunData) -> Option<BumpYield> {
    let (at, window) = (promise.from_tokens, promise.window()?);
    let last = columns(promise, run).tokens.last().copied()?;
    let end = next_change(promise, run).unwrap_or(last).min(last).min(at + WINDOWS * window);
    if end < at + window {
        return None;
    }
    let from = 0.5 * (at + end);
    if !trains_at(promise.batch_size_tokens, run, from) {
        return None;
    }
    let (mean, se) = seen(promise, run, [from, end])?;
    let [_, then, left] = promise.at(0.5 * (from + end))?;
    let predicted = left - then;
    (predicted > TOLD * se && predicted > 0.0).then_some(BumpYield {
        predicted,
        observed: left - mean,
        batch_size: promise.batch_size_tokens,
    })
}

/// Where another change acted before the promise could be judged; `None` where it was, or can be yet.
pub fn spoiled(promise: &Promise, run: &RunData) -> Option<f64> {
    let cut = next_change(promise, run).filter(|t| *t < promise.judged_over_tokens[1])?;
    judge(promise, run).is_none().then_some(cut)
}

fn columns<'a>(promise: &Promise, run: &'a RunData) -> &'a Columns {
    match promise.on {
        LossKind::Train => &run.train,
        LossKind::Val => &run.validation,
    }
}

fn same(a: f64, b: f64) -> bool {
    (a / b).ln().abs() <= SAME
}

fn trains_at(size: f64, run: &RunData, tokens: f64) -> bool {
    let trained = run.segments.iter().rev().find(|s| s.from_tokens <= tokens);
    trained.is_some_and(|s| same(s.batch_size, size))
}

/// Where the run, once it had made the change, left the promised batch size again.
fn next_change(promise: &Promise, run: &RunData) -> Option<f64> {
    let size = promise.batch_size_tokens;
    let to = promise.judged_over_tokens[1];
    let mut later = run.segments.iter().skip_while(|s| {
        s.to_tokens <= promise.from_tokens || s.from_tokens < to && !same(s.batch_size, size)
    });
    later.find(|s| !same(s.batch_size, size)).map(|s| s.from_tokens)
}

/// Mean loss over a stretch that is over, and its standard error.
fn seen(promise: &Promise, run: &RunData, [from, to]: [f64; 2]) -> Option<(f64, f64)> {
    let columns = columns(promise, run);
    columns.tokens.last().filter(|t| **t >= to)?;
    let rows = columns.tokens.partition_point(|t| *t <= from)
        ..columns.tokens.partition_point(|t| *t <= to);
    let seen: Vec<f64> =
        columns.loss.get(rows)?.iter().copied().filter(|l| l.is_finite()).collect();
    if seen.is_empty() {
        return None;
    }
    let n = seen.len() as f64;
    let mean = seen.iter().sum::<f64>() / n;
    let variance = seen.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Some((mean, (variance / n).sqrt()))
}

impl Promise {
    /// Tokens of the catch-up window; `None` of a promise that tells no way.
    fn window(&self) -> Option<f64> {
        let last = self.way.last()?;
        Some((last[0] - self.from_tokens) / WINDOWS).filter(|w| *w > 0.0)
    }

    /// (tokens, loss, loss if left) on the way.
    fn at(&self, tokens: f64) -> Option<[f64; 3]> {
        let i = self.way.partition_point(|p| p[0] < tokens).clamp(1, self.way.len().max(1));
        let (a, b) = (self.way.get(i - 1)?, self.way.get(i)?);
        let w = (tokens - a[0]) / (b[0] - a[0]);
        Some([tokens, a[1] + w * (b[1] - a[1]), a[2] + w * (b[2] - a[2])])
    }

    /// The same held against the run up to `cut`, where another change acts; `None` before the
    /// catch-up window is over.
    fn until(&self, cut: f64) -> Option<Promise> {
        let (at, window) = (self.from_tokens, self.window()?);
        if cut < at + window {
            return None;
        }
        let from = self.judged_over_tokens[0].min(0.5 * (at + cut));
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
            range(&self.loss),
            count(0.5 * (self.judged_over_tokens[0] + self.judged_over_tokens[1])),
            loss(self.loss_if_left)
        )
    }
}

impl Outcome {
    /// In words, for the audit and the screen.
    pub fn text(&self) -> String {
        let brought = self.share.map_or(String::new(), |s| {
            format!(", {} of the promised difference", crate::units::percent(s))
        });
        let p = &self.promise.loss;
        let within = p.low.is_none_or(|l| self.loss >= l) && p.high.is_none_or(|h| self.loss <= h);
        let held = match (self.kept, within) {
            (true, true) => "held".to_string(),
            (true, false) => format!(
                "was missed by no more than the noise of these lines ({} nats, two standard errors)",
                loss(SLACK * self.loss_se)
            ),
            _ => "did not hold".to_string(),
        };
        format!(
            "{}; then came {}{brought}: the forecast {held}",
            self.promise.text(),
            loss(self.loss)
        )
    }
}

fn range(i: &Interval) -> String {
    match (i.low, i.high) {
        (Some(low), Some(high)) => format!(" ({} to {})", loss(low), loss(high)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, e, group_of, run_of};

    fn promised() -> Promise {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
        let options = PlanOptions { target_loss: Some(2.2), ..PlanOptions::default() };
        let schedule = [e(0, 128), e(3_200_000, 256)];
        let group = group_of(&LAW, MEMORY);
        promise(&schedule, &run, Some(&group), &Situation::default(), &options).unwrap()
    }

    #[test]
    fn a_run_that_does_what_was_forecast_keeps_the_promise() {
        let p = promised();
        assert_eq!((p.from_tokens, p.batch_size_tokens), (3.2e6, 256.0));
        assert!(p.loss.value.unwrap() < p.loss_if_left && p.loss.low < p.loss.high);
        assert!(p.tokens.is_some_and(|t| t.value.is_some()));
        let young = run_of(&LAW, &MEMORY, &[(128.0, 3.2e6), (256.0, 1e5)], 0.001);
        assert_eq!(judge(&p, &young), None, "not before the catch-up window is over");
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3.2e6), (256.0, 5e6)], 0.001);
        let seen = judge(&p, &run).unwrap();
        assert!(seen.kept && (0.7..1.3).contains(&seen.share.unwrap()), "{seen:?}");
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap().kept, seen.kept);
    }

    #[test]
    fn a_loss_beside_the_interval_is_not_said_to_be_in_it() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3.2e6), (256.0, 5e6)], 0.001);
        let mut seen = judge(&promised(), &run).unwrap();
        assert!(seen.text().ends_with("the forecast held"), "{}", seen.text());
        seen.loss = seen.promise.loss.low.unwrap() - 0.001;
        seen.loss_se = 0.002;
        assert!(seen.text().contains("missed by no more than the noise"), "{}", seen.text());
    }

    #[test]
    fn a_run_that_gained_nothing_did_not_and_one_that_did_not_change_is_not_judged() {
        let still = run_of(&LAW, &MEMORY, &[(128.0, 8.2e6)], 0.001);
        assert_eq!(judge(&promised(), &still), None);
        let mut run = run_of(&LAW, &MEMORY, &[(128.0, 3.2e6), (256.0, 5e6)], 0.001);
        let lines = run.train.len();
        run.train.loss = still.train.loss[..].to_vec();
        run.train.loss.resize(lines, *still.train.loss.last().unwrap());
        let seen = judge(&promised(), &run).unwrap();
        assert!(!seen.kept && seen.share.unwrap().abs() < 0.3, "{seen:?}");
        assert!(seen.text().contains("did not hold"), "{}", seen.text());
    }

    #[test]
    fn nothing_is_promised_where_nothing_changes_or_no_law_speaks() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
        let group = group_of(&LAW, MEMORY);
        let (s, o) = (Situation::default(), PlanOptions::default());
        assert_eq!(promise(&[e(0, 128)], &run, Some(&group), &s, &o), None);
        assert_eq!(promise(&[e(0, 128), e(4_000_000, 256)], &run, None, &s, &o), None);
    }
}
