//! What is said of a law along batch changes: its memory, its scores, its spread.

use super::model::{Found, Problem, rms};
use super::set::AlongSet;
use super::spread;
use super::windows::{Tried, Window};
use crate::curve::joint::TOLD_FROM;
use crate::curve::law::{Law, Memory};
use crate::curve::model::Refusal;
use crate::curve::report::{LawFit, LeftOutSize, MemoryCheck, WindowScore};
use crate::curve::series::{ConstantSeries, Group, SwitchedSeries};
use crate::curve::{decay, memory, threads, uncertainty};

/// Rms of a fit under instant forgetting, or under none at all, that excludes this end: a factor.
const APART: f64 = 1.3;

/// The law of the window that predicts best, its spread that of all that predict as well.
pub(super) fn of(
    group: &Group,
    (constant, changed): (&[&ConstantSeries], &[&SwitchedSeries]),
    tried: &Tried,
    (count, seed): (usize, u64),
) -> Result<LawFit, Refusal> {
    let Window { burn_in, set, found, left_out } = tried.best();
    if found.law.a <= 0.0 {
        return Err(Refusal::at_bound("a", "a longer stretch of the stable phase"));
    }
    if found.law.c <= 0.0 {
        return Err(Refusal::at_bound("c", "smaller batch sizes, trained until they flatten"));
    }
    let problem = Problem::new(set).ok_or_else(Refusal::not_finite)?;
    let instant = ends(&problem, found)?;
    let comparable = tried.comparable();
    let drawn = drawn(tried, &comparable, (count, seed));
    let held_out_nats = tried.best().held_out();
    let missed = held_out_nats.unwrap_or(found.rms_nats);
    // What a size left out is missed by lies at the end of a factor of two (see `excess` of a fit).
    let excess = ((missed.powi(2) - set.noise).max(0.0) / 3.0).sqrt();
    let share = uncertainty::share_of_factor(set.sizes.len(), set.noise.sqrt(), excess);
    let sizes = set.sizes.iter().copied();
    let score = |(w, comparable): (&Window, &bool)| WindowScore {
        burn_in_steps: w.burn_in,
        held_out_nats: w.held_out(),
        comparable: *comparable,
    };
    Ok(LawFit {
        law: found.law,
        memory: found.memory,
        rms_nats: found.rms_nats,
        held_out_nats,
        on: group.on,
        burn_in_steps: *burn_in,
        batch_sizes: [sizes.clone().fold(f64::INFINITY, f64::min), sizes.fold(0.0, f64::max)],
        losses: set.losses(),
        left_out: left_out
            .iter()
            .map(|l| LeftOutSize { batch_size_tokens: l.batch_size, rms_nats: l.rms_nats })
            .collect(),
        rival_held_out_nats: None,
        future_nats: None,
        rival_future_nats: None,
        windows: tried.all.iter().zip(&comparable).map(score).collect(),
        variants: Vec::new(),
        memory_checks: checks(changed, set, found, &instant),
        memory_before: memory::before_raises(&found.law, constant, changed, &found.memory),
        decay: decay::measure(&found.law, &found.memory, constant, &group.decayed).ok(),
        along_changes: true,
        q_believed: set.sizes.len() < TOLD_FROM,
        saved: false,
        draws: drawn.iter().map(|(l, _)| l.law).collect(),
        with_memory: drawn.iter().map(|(l, centre)| nearer(l, centre, share)).collect(),
        noise_nats: set.noise.sqrt(),
        excess_nats: Some(excess),
    })
}

/// Laws that might as well have been found, each with the one that it was redrawn from.
fn drawn(tried: &Tried, comparable: &[bool], (count, seed): (usize, u64)) -> Vec<(Found, Found)> {
    let share = count / comparable.iter().filter(|c| **c).count().max(1);
    let mut out: Vec<(Found, Found)> = Vec::new();
    for (i, w) in tried.all.iter().enumerate().filter(|(i, _)| comparable[*i]) {
        let seed = seed.wrapping_add(104_729 * i as u64);
        let Some(problem) = Problem::new(&w.set) else { continue };
        let laws = spread::draws(&problem, &w.set, &w.found, share, seed);
        out.extend(laws.into_iter().map(|l| (l, w.found)));
    }
    out.retain(|(l, _)| l.law.a > 0.0 && l.law.c > 0.0);
    out
}

/// A draw with its memory, at a share of its distance from what it was redrawn from.
fn nearer(draw: &Found, centre: &Found, share: f64) -> (Law, Memory) {
    let ratio = |x: f64, c: f64| c * (x / c).powf(share);
    let memory = Memory {
        tau_steps: ratio(draw.memory.tau_steps, centre.memory.tau_steps),
        p: ratio(draw.memory.p, centre.memory.p),
        ..draw.memory
    };
    (uncertainty::nearer(&draw.law, &centre.law, share), memory)
}

/// The law under instant forgetting, where the data exclude that end or the other one.
fn ends(problem: &Problem<'_>, found: &Found) -> Result<Found, Refusal> {
    let slowest = Memory { tau_steps: 1e18, ..Memory::SLOW };
    let both = [Memory::INSTANT, slowest].map(|m| problem.under(m, found));
    let [Some(instant), Some(never)] = both else { return Err(Refusal::not_finite()) };
    // The end that explains the changes as well is what they may be.
    if instant.rms_nats.max(never.rms_nats) >= APART * found.rms_nats {
        return Ok(instant);
    }
    Err(Refusal::new(
        format!(
            "the batch changes do not tell slow from fast forgetting (rms {:.4} nats; at once {:.4}, \
             never {:.4})",
            found.rms_nats, instant.rms_nats, never.rms_nats
        ),
        "longer branches, or sizes further apart",
    ))
}

/// How each run fares, and what the others predict of it.
fn checks(
    changed: &[&SwitchedSeries],
    set: &AlongSet,
    found: &Found,
    instant: &Found,
) -> Vec<MemoryCheck> {
    let one = |_: usize, s: &&SwitchedSeries| {
        let parts = set.parts.iter().filter(|p| p.run == s.run && p.changed);
        let own: Vec<usize> = parts.flat_map(|p| p.range.clone()).collect();
        let (rest, _) = set.without(|p| p.run == s.run && p.changed);
        let from_others = || {
            rest.parts.iter().any(|p| p.changed).then_some(())?;
            Problem::new(&rest)?.fit(Some(&found.theta))
        };
        (!own.is_empty()).then(|| MemoryCheck {
            run: s.run.clone(),
            rms_nats: rms(found, set, own.clone()),
            rms_instant_nats: rms(instant, set, own.clone()),
            predicted_nats: from_others().map(|law| rms(&law, set, own.clone())),
        })
    };
    threads::map(changed, one).into_iter().flatten().collect()
}
