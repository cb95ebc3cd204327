//! Whether a run kept what an approved change promised: each change by the loss once its catch-up
//! window is over, the whole schedule by the tokens at which its target was reached.

use super::own_past::BumpYield;
use super::promise::{Promise, WINDOWS, range};
use crate::curve::{Interval, LossKind};
use crate::run::{self, Columns, Phase, RunData, Segment};
use crate::units::{count, loss, percent};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// An observed loss may lie beyond the interval by so many of its standard errors.
pub(super) const SLACK: f64 = 2.0;
/// A logged batch size is the promised one up to this share.
const SAME: f64 = 0.02;
/// A change that brings less than this share of what was promised stops the plan.
pub(super) const HALF: f64 = 0.5;
/// ... where the promise is this multiple of the standard error.
const TOLD: f64 = 3.0;
/// Lines by which a loss before a change is told.
const FEWEST: usize = 8;
/// The noise of the lines is taken from so much before the stretch on.
pub(super) const AROUND: f64 = 0.75;
/// A target counts as reached, or missed, once the run is so far past the tokens in question: before
/// that a dip may be one of noise.
const PAST: f64 = 1.02;

/// What came of a promised change.
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
    /// How far above the forecast the run was when the change acted, nats: no part of the share. 0
    /// where the lines do not tell it from nothing.
    #[serde(default)]
    pub began_above: f64,
}

/// When a promised target was reached; counts are cumulative tokens of the metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    pub target_loss: f64,
    pub promised_tokens: Interval,
    /// `None`: not reached up to `judged_at_tokens`, which is past the interval.
    pub tokens: Option<f64>,
    pub judged_at_tokens: f64,
    pub kept: bool,
}

/// Holds a promise against the run; `None` before the stretch is over, where it has no losses, where
/// the run trained at another batch size, and where another change acted, or the learning rate left its
/// plateau, before anything could be told.
pub fn judge(promise: &Promise, run: &RunData) -> Option<Outcome> {
    let to = promise.judged_over_tokens[1];
    let cut = next_change(promise, run).unwrap_or(to).min(to);
    if !promise.shows_by(cut) {
        return None;
    }
    let promise = if cut < to { promise.until(cut)? } else { promise.clone() };
    let [from, to] = promise.judged_over_tokens;
    if !trains_at(promise.batch_size_tokens, run, from) {
        return None;
    }
    let (mean, loss_se) = seen(&promise, run, [from, to])?;
    let slack = SLACK * loss_se;
    let above = promise.loss.high.is_none_or(|h| mean <= h + slack);
    let below = promise.loss.low.is_none_or(|l| mean >= l - slack);
    let promised = promise.loss.value.map(|l| promise.loss_if_left - l);
    let began_above = began_above(&promise, run);
    let came = promise.loss_if_left + began_above - mean;
    let share = promised.filter(|d| d.abs() > slack).map(|d| came / d).filter(|s| s.is_finite());
    // The interval of a memory that is assumed may hold no gain at all.
    let little = promised.is_some_and(|d| d > TOLD * loss_se && came + slack < HALF * d);
    let kept = above && below && !little;
    Some(Outcome { promise, loss: mean, loss_se, kept, share, began_above })
}

/// What the change brought of its promise by now, from the end of its catch-up window on; `None`
/// before that, where the promise is within the noise, and where the run did not make the change.
pub fn brought(promise: &Promise, run: &RunData) -> Option<BumpYield> {
    let (at, window) = (promise.from_tokens, promise.window()?);
    let last = columns(promise, run).tokens.last().copied()?;
    let end = next_change(promise, run).unwrap_or(last).min(last).min(at + WINDOWS * window);
    if !promise.shows_by(end) {
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
        observed: left + began_above(promise, run) - mean,
        se,
        batch_size: promise.batch_size_tokens,
        from_tokens: at,
    })
}

/// Where another change acted, or is to act, or the learning rate left its plateau, before the promise
/// could be judged; `None` where it was, or can be yet.
pub fn spoiled(promise: &Promise, run: &RunData) -> Option<f64> {
    let to = promise.judged_over_tokens[1];
    let cut = next_change(promise, run).unwrap_or(to).min(to);
    let cannot = cut < to || !promise.shows_by(to);
    (cannot && run.tokens() >= cut && judge(promise, run).is_none()).then_some(cut)
}

/// When the promised target was reached. `None` without one, and until the run is a little past where
/// it was, or past the interval.
pub fn arrived(promise: &Promise, run: &RunData) -> Option<Arrival> {
    let (target_loss, promised) = (promise.target_loss?, promise.tokens?);
    let now = columns(promise, run).tokens.last().copied()?;
    let at = run::arrival(columns(promise, run), target_loss);
    let at = at.filter(|(t, _)| now >= PAST * t && *t >= promise.from_tokens);
    let missed = at.is_none() && promised.high.is_some_and(|h| now > PAST * h);
    if at.is_none() && !missed {
        return None;
    }
    let kept = at.is_some_and(|(t, se)| {
        let by = (SLACK * se).exp();
        promised.low.is_none_or(|l| t * by >= l) && promised.high.is_none_or(|h| t <= h * by)
    });
    Some(Arrival {
        target_loss,
        promised_tokens: promised,
        tokens: at.map(|a| a.0),
        judged_at_tokens: now,
        kept,
    })
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

/// Where the run, once it had made the change, left the promised batch size or its plateau of the
/// learning rate again.
fn next_change(promise: &Promise, run: &RunData) -> Option<f64> {
    let size = promise.batch_size_tokens;
    let to = promise.judged_over_tokens[1];
    let mut later = run.segments.iter().skip_while(|s| {
        s.to_tokens <= promise.from_tokens || s.from_tokens < to && !same(s.batch_size, size)
    });
    let resized = later.find(|s| !same(s.batch_size, size)).map(|s| s.from_tokens);
    let ends = |rows: &Range<usize>| run.train.tokens.get(rows.end.saturating_sub(1)).copied();
    let off = run.phases.spans.iter().filter(|s| s.phase != Phase::Stable).find_map(|s| {
        ends(&s.range).filter(|end| *end > promise.from_tokens)?;
        // The last line on the plateau.
        let last = s.range.start.checked_sub(1).and_then(|i| run.train.tokens.get(i));
        Some(last.copied().unwrap_or(0.0).max(promise.from_tokens))
    });
    resized.into_iter().chain(off).min_by(f64::total_cmp)
}

/// How far above the forecast the run was when the promised change acted, as far as its lines tell: what
/// a change before it did not bring is not this one's.
fn began_above(promise: &Promise, run: &RunData) -> f64 {
    let (at, columns) = (promise.from_tokens, columns(promise, run));
    let other = |s: &&Segment| s.from_tokens < at && !same(s.batch_size, promise.batch_size_tokens);
    let Some(before) = run.segments.iter().rev().find(other) else { return 0.0 };
    let row = |t: f64| columns.tokens.partition_point(|x| *x <= t);
    let clean =
        run::clean(columns, row(before.from_tokens.max(AROUND * at))..row(before.to_tokens));
    if clean.x.len() < FEWEST {
        return 0.0;
    }
    let lines = clean.lines(run::WINDOW);
    let (noise, (value, variance)) = (clean.noise(&lines), lines.at(at.ln()));
    let se = noise.sd * (noise.inflation * variance).min(1.0).sqrt();
    let above = promise.way.first().map(|[_, _, left]| value - left);
    above.filter(|x| x.abs() > SLACK * se).unwrap_or(0.0)
}

/// Mean loss over a stretch that is over, spikes left out, and its standard error: that of its own
/// lines, or by the noise of the lines of a longer stretch where that says more.
fn seen(promise: &Promise, run: &RunData, [from, to]: [f64; 2]) -> Option<(f64, f64)> {
    let columns = columns(promise, run);
    columns.tokens.last().filter(|t| **t >= to)?;
    let row = |t: f64| columns.tokens.partition_point(|x| *x <= t);
    let clean = run::clean(columns, row(AROUND * from)..row(to));
    let noise = clean.noise(&clean.lines(run::WINDOW));
    let first = clean.x.partition_point(|x| *x <= from.ln());
    let (loss, count) = (&clean.loss[first..], &clean.count[first..]);
    let n: f64 = count.iter().sum();
    if loss.is_empty() {
        return None;
    }
    let sum = |f: &dyn Fn(f64) -> f64| -> f64 {
        loss.iter().zip(count).map(|(l, w)| w * f(*l)).sum::<f64>()
    };
    let mean = sum(&|l| l) / n;
    // Of one record, by rows that are the means of several.
    let variance = sum(&|l| (l - mean).powi(2)) / (loss.len() as f64 - 1.0);
    let known = [variance, noise.sd.powi(2)].into_iter().filter(|v| v.is_finite());
    let variance = known.reduce(f64::max)?;
    Some((mean, (variance * noise.inflation / n).sqrt()))
}

impl Outcome {
    /// In words, for the audit and the screen.
    pub fn text(&self) -> String {
        let brought = self
            .share
            .map_or(String::new(), |s| format!(", {} of the promised difference", percent(s)));
        let began = match self.began_above {
            0.0 => String::new(),
            x => format!(
                " (it was {} nats {} the forecast when the change acted)",
                loss(x.abs()),
                if x > 0.0 { "above" } else { "below" }
            ),
        };
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
            "{}; then came {}{brought}{began}: the forecast {held}",
            self.promise.text(),
            loss(self.loss)
        )
    }
}

impl Arrival {
    /// In words, for the audit and the screen.
    pub fn text(&self) -> String {
        let p = &self.promised_tokens;
        let promised = p.value.map_or("never".into(), |t| count(t) + " tokens");
        let came = match self.tokens {
            Some(t) => format!("came after {} tokens", count(t)),
            None => format!("did not come up to {} tokens", count(self.judged_at_tokens)),
        };
        format!(
            "loss {}, forecast after {promised}{}, {came}: the forecast {}",
            loss(self.target_loss),
            range(p, count),
            if self.kept { "held" } else { "did not hold" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, e, group_of, run_of};
    use crate::advice::{PlanOptions, Situation, promises};
    use crate::run::PhaseSpan;
    use rand::{RngExt, SeedableRng};

    fn promised() -> Promise {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
        let options = PlanOptions { target_loss: Some(2.2), ..PlanOptions::default() };
        let schedule = [e(0, 128), e(3_200_000, 256)];
        let group = group_of(&LAW, MEMORY);
        promises(&schedule, &run, Some(&group), &Situation::default(), &options).remove(0)
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

    /// What a decay brings is not what the raise brought.
    #[test]
    fn a_stretch_ends_where_the_learning_rate_leaves_its_plateau() {
        let p = promised();
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3.2e6), (256.0, 5e6)], 0.0003);
        let decay_at = |tokens: f64| {
            let mut run = run.clone();
            let rows = run.train.tokens.partition_point(|t| *t < tokens)..run.train.len();
            for i in rows.clone() {
                run.train.loss[i] -= 0.3;
            }
            run.phases.spans[0].range.end = rows.start;
            run.phases.spans.push(PhaseSpan { phase: Phase::Decay, range: rows, lr: None });
            run
        };
        let [from, to] = p.judged_over_tokens;
        let late = decay_at(0.1 * from + 0.9 * to);
        let (seen, whole) = (judge(&p, &late).unwrap(), judge(&p, &run).unwrap());
        assert!((seen.share.unwrap() / whole.share.unwrap() - 1.0).abs() < 0.3, "{seen:?}");
        let early = decay_at(0.5 * (p.from_tokens + from));
        assert_eq!(judge(&p, &early), None);
        assert!(spoiled(&p, &early).is_some());
        assert_eq!(brought(&p, &early), None);
    }

    #[test]
    fn what_the_first_change_did_not_bring_is_not_the_seconds_fault() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.001);
        let schedule = [e(0, 128), e(3_200_000, 256), e(8_000_000, 512)];
        let (s, o) = (Situation::default(), PlanOptions::default());
        let all = promises(&schedule, &run, Some(&group_of(&LAW, MEMORY)), &s, &o);
        let parts = [(128.0, 3.2e6), (256.0, 4.8e6), (512.0, 1.5e7)];
        let mut run = run_of(&LAW, &MEMORY, &parts, 0.0005);
        let kept = judge(&all[1], &run).unwrap();
        assert_eq!(kept.began_above, 0.0, "{kept:?}");
        for i in 0..run.train.len() {
            run.train.loss[i] += if run.train.tokens[i] > 3.3e6 { 0.05 } else { 0.0 };
        }
        let seen = judge(&all[1], &run).unwrap();
        assert!((0.8..1.2).contains(&seen.share.unwrap()), "{seen:?}");
        assert!((seen.began_above - 0.05).abs() < 2e-3, "{seen:?}");
        assert!(seen.text().contains("nats above the forecast when"), "{}", seen.text());
        assert!(brought(&all[1], &run).is_some_and(|b| !b.disappoints()));
    }

    /// Of 40 runs that obey the law exactly no raise is told to have disappointed, one in vain is.
    #[test]
    fn noise_stops_no_plan() {
        let p = promised();
        let parts = [(128.0, 3.2e6), (256.0, p.judged_over_tokens[1] - 3.2e6)];
        let [obeyed, vain] = [&parts[..], &[(128.0, p.judged_over_tokens[1])]]
            .map(|parts| run_of(&LAW, &MEMORY, parts, 0.0));
        let promised = p.loss_if_left - p.loss.value.unwrap();
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(3);
        // Two lines in the stretch, and ten.
        for (every, sd) in [(10, 0.12 * promised), (1, 0.25 * promised)] {
            let mut alarms = [0, 0];
            for _ in 0..40 {
                for (of, alarms) in [&obeyed, &vain].into_iter().zip(&mut alarms) {
                    let mut run = obeyed.clone();
                    let mut at = 0;
                    for i in 0..run.train.len() {
                        at = of.train.tokens.partition_point(|t| *t < run.train.tokens[i]);
                        let z = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
                        let loss = of.train.loss[at.min(of.train.len() - 1)];
                        run.train.loss[i] = if i % every == 0 { loss + sd * z } else { f64::NAN };
                    }
                    assert!(at > 0);
                    *alarms += usize::from(brought(&p, &run).is_some_and(|b| b.disappoints()));
                }
            }
            assert!(alarms[0] <= 1 && alarms[1] >= 20, "{every}: {alarms:?}");
        }
    }

    #[test]
    fn a_target_is_judged_once_it_is_reached_or_the_interval_is_over() {
        let told = promised();
        let due = told.tokens.unwrap().value.unwrap();
        let [low, high] = [0.9 * due, 1.2 * due];
        let tokens = Interval { low: Some(low), high: Some(high), ..told.tokens.unwrap() };
        let p = Promise { tokens: Some(tokens), ..told };
        let run = |to: f64| run_of(&LAW, &MEMORY, &[(128.0, 3.2e6), (256.0, to - 3.2e6)], 0.0005);
        assert_eq!(arrived(&p, &run(0.9 * due)), None);
        let seen = arrived(&p, &run(1.2 * due)).unwrap();
        assert!(seen.kept && (seen.tokens.unwrap() / due - 1.0).abs() < 0.05, "{seen:?} {due}");
        assert!(seen.text().ends_with("tokens: the forecast held"), "{}", seen.text());
        // One that stays where it was never gets there: told when the interval is over, not before.
        let mut still = run(1.1 * high);
        let floor = still.train.loss[100];
        still.train.loss.iter_mut().for_each(|l| *l = l.max(floor));
        let seen = arrived(&p, &still).unwrap();
        assert!(!seen.kept && seen.tokens.is_none(), "{seen:?}");
        assert!(seen.text().contains("did not come up to"), "{}", seen.text());
        let before = still.train.tokens.partition_point(|t| *t < high);
        let train = &mut still.train;
        for column in [&mut train.step, &mut train.tokens, &mut train.loss] {
            column.truncate(before);
        }
        assert_eq!(arrived(&p, &still), None);
        // Far earlier than promised is no kept promise either.
        let late = Interval { low: Some(3.0 * low), high: Some(3.0 * high), ..tokens };
        let seen = arrived(&Promise { tokens: Some(late), ..p }, &run(1.2 * due)).unwrap();
        assert!(!seen.kept && seen.text().ends_with("did not hold"), "{}", seen.text());
    }
}
