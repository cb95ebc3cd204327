//! A law against the run that it is to steer: does it explain the run's own past, and did the last
//! change bring what was predicted?

use super::judged::{AROUND, HALF, SLACK};
use crate::curve::{Law, LossKind, Memory, MemorySource, Stretch};
use crate::run::{Columns, Phase, RunData, WINDOW, clean};

/// A law that misses by more than this share of L - L_inf gives no advice: wrong by a factor of
/// three it cost up to 1.65 times what leaving the run costs, and then misses by 30 to 90 %.
pub const VETO: f64 = 0.15;
/// Up to here the signal part counts as confirmed.
pub const CONFIRMED: f64 = 0.075;
/// Changes that a plan distinguishes; older ones are merged.
const MOST_STRETCHES: usize = 24;
const BINS: usize = 4;

/// The whole run from step 0 as stretches of constant batch size. Empty where the log does not
/// tell batch sizes or steps.
pub fn stretches(run: &RunData) -> Vec<Stretch> {
    stretches_until(run, run.step())
}

/// The same up to a step in the past.
pub fn stretches_until(run: &RunData, until: f64) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::new();
    for (i, segment) in run.segments.iter().enumerate() {
        let from = if i == 0 { 0.0 } else { segment.from_step };
        let to = run.segments.get(i + 1).map_or(f64::INFINITY, |n| n.from_step).min(until);
        let steps = to - from;
        if !(steps.is_finite() && steps > 0.0 && segment.batch_size > 0.0) {
            continue;
        }
        match out.last_mut() {
            Some(last) if last.batch_size == segment.batch_size => last.steps += steps,
            _ => out.push(Stretch { batch_size: segment.batch_size, steps }),
        }
    }
    while out.len() > MOST_STRETCHES {
        merge_most_alike(&mut out);
    }
    out
}

/// Joins the two neighbours whose batch sizes differ least; tokens and steps are kept.
fn merge_most_alike(out: &mut Vec<Stretch>) {
    let ratio = |p: &[Stretch]| (p[0].batch_size / p[1].batch_size).ln().abs();
    let best = (0..out.len() - 1)
        .min_by(|&i, &j| ratio(&out[i..i + 2]).total_cmp(&ratio(&out[j..j + 2])))
        .unwrap_or(0);
    let (x, y) = (out[best], out[best + 1]);
    let steps = x.steps + y.steps;
    let batch_size = (x.batch_size * x.steps + y.batch_size * y.steps) / steps;
    out[best] = Stretch { batch_size, steps };
    out.remove(best + 1);
}

/// How well a law explains the latest stretch of a run (the last factor of two in steps).
#[derive(Debug, Clone, PartialEq)]
pub struct OwnPast {
    /// Mean of |observed - law| / (law - L_inf).
    pub miss: f64,
    /// Mean of observed - law over the second half, nats: what the forecast is anchored by.
    pub offset: f64,
    /// Standard error of that mean by the noise of the losses, nats.
    pub offset_se: f64,
    points: Vec<Seen>,
}

impl OwnPast {
    /// `Err` says why the run cannot be compared yet.
    pub fn of(
        run: &RunData,
        on: LossKind,
        burn_in_steps: f64,
        law: &Law,
        memory: &Memory,
    ) -> Result<OwnPast, String> {
        let points = observed(run, on, burn_in_steps)?;
        let (miss, offset) = compare(&points, law, memory);
        if !(miss.is_finite() && offset.is_finite()) {
            return Err("the law has no value along this run's past".into());
        }
        let late = &points[points.len() / 2..];
        let squares: f64 = late.iter().map(|(_, _, se)| se * se).sum();
        let offset_se = squares.sqrt() / late.len() as f64;
        Ok(OwnPast { miss, offset, offset_se, points })
    }

    /// The same points under another law.
    pub fn offset_of(&self, law: &Law, memory: &Memory) -> f64 {
        compare(&self.points, law, memory).1
    }

    /// The miss under `memory`, or under the better end where it was not measured: a wrong
    /// assumption is no fault of the law.
    pub fn least_miss(&self, law: &Law, memory: &Memory) -> f64 {
        let miss = |m: &Memory| compare(&self.points, law, m).0;
        if memory.source == MemorySource::Assumed {
            miss(&Memory::SLOW).min(miss(&Memory::INSTANT))
        } else {
            miss(memory)
        }
    }
}

/// The past up to a moment, the mean loss there, and its standard error.
type Seen = (Vec<Stretch>, f64, f64);

fn compare(points: &[Seen], law: &Law, memory: &Memory) -> (f64, f64) {
    let (mut miss, mut offset) = (0.0, 0.0);
    let late = points.len() / 2;
    for (i, (past, observed, _)) in points.iter().enumerate() {
        let predicted = law.loss_along(past, memory);
        miss += (observed - predicted).abs() / (predicted - law.l_inf);
        if i >= late {
            offset += observed - predicted;
        }
    }
    (miss / points.len() as f64, offset / (points.len() - late) as f64)
}

/// Mean stable-phase losses in bins equal in log steps.
fn observed(run: &RunData, on: LossKind, burn_in_steps: f64) -> Result<Vec<Seen>, String> {
    let columns = match on {
        LossKind::Train => &run.train,
        LossKind::Val => &run.validation,
    };
    let now = columns.step.last().copied().unwrap_or(f64::NAN);
    let stable = stable_from(run);
    let from = burn_in_steps.max(stable).max(now / 2.0);
    if !(now.is_finite() && now > from * 1.1) {
        return Err(format!(
            "the run has not gone far enough past step {:.0}, where the law begins to hold",
            burn_in_steps.max(stable)
        ));
    }
    let mut points = Vec::new();
    for bin in 0..BINS {
        let edge = |k: usize| from * (now / from).powf(k as f64 / BINS as f64);
        if let Some((step, loss, se)) = window(columns, edge(bin), edge(bin + 1)) {
            let past = stretches_until(run, step);
            if !past.is_empty() {
                points.push((past, loss, se));
            }
        }
    }
    if points.len() < 2 {
        return Err("too few losses are logged in the stable phase".into());
    }
    Ok(points)
}

/// First step of the stable phase that the run is in, or was in last.
pub(super) fn stable_from(run: &RunData) -> f64 {
    let span = run.phases.spans.iter().find(|s| s.phase == Phase::Stable);
    span.and_then(|s| run.train.step.get(s.range.start)).copied().unwrap_or(0.0)
}

/// (mean step, mean loss, its standard error) of the finite losses in (from, to].
pub(super) fn window(columns: &Columns, from: f64, to: f64) -> Option<(f64, f64, f64)> {
    let lo = columns.step.partition_point(|s| *s <= from);
    let hi = columns.step.partition_point(|s| *s <= to);
    let (mut n, mut steps, mut sum, mut squares, mut counts) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for i in lo..hi {
        let (loss, w) = (columns.loss[i], columns.weight(i));
        if loss.is_finite() {
            n += w;
            steps += w * columns.step[i];
            sum += w * loss;
            squares += w * loss * loss;
            counts += w * w;
        }
    }
    if n < 1.0 {
        return None;
    }
    let mean: f64 = sum / n;
    let variance = (squares / n - mean * mean).max(0.0);
    // The mean of rows that are means themselves.
    Some((steps / n, mean, (variance * counts).sqrt() / n))
}

/// Steps after a change before it can be judged: a tenth of those before it, less where a shorter
/// memory was measured.
pub fn catch_up_steps(memory: &Memory, steps_before: f64) -> f64 {
    let tenth = 0.1 * steps_before;
    if memory.source == MemorySource::Assumed {
        tenth
    } else {
        tenth.min(memory.tau_steps.max(0.01 * steps_before))
    }
}

/// What the last raise brought against what the law had promised, nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BumpYield {
    pub predicted: f64,
    pub observed: f64,
    /// Standard error of the observed loss, nats.
    pub se: f64,
    pub batch_size: f64,
    /// Cumulative tokens at which it began to act.
    pub from_tokens: f64,
}

impl BumpYield {
    /// Less than half of the promise, by more than the noise: no further bump before a person has
    /// looked.
    pub fn disappoints(&self) -> bool {
        self.observed + SLACK * self.se < HALF * self.predicted
    }
}

/// The latest raise that is old enough to be judged. `None` without one, or while its promise is
/// within the noise of the losses. Compared at equal tokens with the run as it would be without
/// that raise and what followed, by the memory `known` before a raise at so many steps.
pub fn last_bump(
    run: &RunData,
    on: LossKind,
    law: &Law,
    known: impl Fn(f64) -> Memory,
) -> Option<BumpYield> {
    let columns = match on {
        LossKind::Train => &run.train,
        LossKind::Val => &run.validation,
    };
    let now = columns.step.last().copied()?;
    let old_enough = |at: f64| now - at >= catch_up_steps(&known(at), at);
    let (before, after) = run
        .segments
        .windows(2)
        .rev()
        .map(|w| (&w[0], &w[1]))
        .find(|(b, a)| a.batch_size >= b.batch_size * 1.05 && old_enough(a.from_step))?;
    let memory = &known(after.from_step);
    let at = after.from_step;
    let from = (at - 0.1 * at).max(before.from_step);
    let (step_before, loss_before, se_before) = window(columns, from, at)?;
    let (step_now, loss_now, se_now) = window(columns, at + 0.5 * (now - at), now)?;
    let past_now = stretches_until(run, step_now);
    let mut unchanged = stretches_until(run, at);
    let tokens = |all: &[Stretch]| all.iter().map(|s| s.batch_size * s.steps).sum::<f64>();
    let steps = (tokens(&past_now) - tokens(&unchanged)) / before.batch_size;
    unchanged.push(Stretch { batch_size: before.batch_size, steps: steps.max(0.0) });
    let anchor = loss_before - law.loss_along(&stretches_until(run, step_before), memory);
    let without = law.loss_along(&unchanged, memory);
    let predicted = without - law.loss_along(&past_now, memory);
    let clean =
        clean(columns, columns.step.partition_point(|s| *s <= AROUND * from)..columns.len());
    let noise = clean.noise(&clean.lines(WINDOW));
    let se = se_before.hypot(se_now) * noise.inflation.sqrt();
    (predicted > 3.0 * se && predicted > 0.0).then_some(BumpYield {
        predicted,
        observed: without + anchor - loss_now,
        se,
        batch_size: after.batch_size,
        from_tokens: after.from_tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, run_of};

    fn past(run: &RunData, law: &Law) -> OwnPast {
        OwnPast::of(run, LossKind::Train, 1500.0, law, &MEMORY).unwrap()
    }

    #[test]
    fn stretches_begin_at_step_zero_and_keep_all_steps() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 1e6), (256.0, 1e6)], 0.0);
        let s = stretches(&run);
        assert_eq!(s.len(), 2);
        assert!((s[0].steps - 1e6 / 128.0).abs() < 1e-6);
        assert!((s.iter().map(|s| s.steps).sum::<f64>() - run.step()).abs() < 1e-6);
    }

    #[test]
    fn a_long_ramp_is_merged_without_losing_tokens() {
        let parts: Vec<(f64, f64)> = (0..40).map(|i| (64.0 + 8.0 * f64::from(i), 1e5)).collect();
        let run = run_of(&LAW, &MEMORY, &parts, 0.0);
        let s = stretches(&run);
        assert_eq!(s.len(), MOST_STRETCHES);
        let tokens: f64 = s.iter().map(|s| s.steps * s.batch_size).sum();
        assert!((tokens / 4e6 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_right_law_passes_and_one_wrong_by_three_does_not() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 2e6)], 0.005);
        assert!(past(&run, &LAW).miss < 0.01);
        for factor in [3.0, 1.0 / 3.0] {
            assert!(past(&run, &Law { c: LAW.c * factor, ..LAW }).miss > VETO);
        }
    }

    #[test]
    fn the_offset_is_what_the_run_lies_above_the_law() {
        let high = Law { l_inf: LAW.l_inf + 0.02, ..LAW };
        let run = run_of(&high, &MEMORY, &[(256.0, 2e6)], 0.0);
        assert!((past(&run, &LAW).offset - 0.02).abs() < 5e-4);
    }

    #[test]
    fn a_young_run_cannot_be_compared() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 1e5)], 0.0);
        let why = OwnPast::of(&run, LossKind::Train, 1500.0, &LAW, &MEMORY).unwrap_err();
        assert!(why.contains("1500"), "{why}");
    }

    #[test]
    fn a_bump_that_does_nothing_disappoints_and_a_true_one_does_not() {
        let parts = [(128.0, 2e6), (256.0, 1.5e6)];
        let good = run_of(&LAW, &MEMORY, &parts, 0.001);
        let seen = last_bump(&good, LossKind::Train, &LAW, |_| MEMORY).unwrap();
        assert!(!seen.disappoints(), "{seen:?}");
        // The trainer says 256 but trains on as before.
        let mut lied = run_of(&LAW, &MEMORY, &[(128.0, 3.5e6)], 0.001);
        for (i, tokens) in lied.train.tokens.iter().enumerate() {
            if *tokens > 2e6 {
                lied.train.step[i] = 2e6 / 128.0 + (tokens - 2e6) / 256.0;
            }
        }
        lied.segments = good.segments.clone();
        let seen = last_bump(&lied, LossKind::Train, &LAW, |_| MEMORY).unwrap();
        assert!(seen.disappoints(), "{seen:?}");
    }
}
