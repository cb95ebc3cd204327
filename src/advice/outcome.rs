//! What a schedule brings: tokens, steps, hours, the loss on the way, with the spread of the law's
//! draws and both ends of a memory that was not measured.

use super::constraints::{Constraints, Throughput};
use super::forecast::{Course, Stair};
use super::own_past::OwnPast;
use super::{Entry, Policy, PolicyOutcome};
use crate::curve::{Interval, Law, LawFit, Memory, MemorySource, Open, Stretch};
use crate::units;

const MOST_DRAWS: usize = 48;
const PATH_POINTS: usize = 64;
/// Share of the law's own error that the anchor at the run's latest losses may carry on.
const ANCHOR: f64 = 0.7;
/// Spread of a measured memory; both by the coverage of forecasts in `benches/closed_loop`.
const SD_LN_TAU: f64 = 0.8;
const SD_LN_P: f64 = 0.3;

/// A run's future under every law that is to be asked.
#[derive(Debug)]
pub struct Futures {
    pub course: Course,
    /// The other end of a memory that was not measured, and its name.
    pub other: Option<(Course, &'static str)>,
    /// Nothing forgotten within the horizon: shown beside, where the memory was not measured.
    never: Option<Course>,
    draws: Vec<Course>,
    pub memory: Memory,
    pub throughput: Throughput,
    pub target: f64,
    pub budget: f64,
}

impl Futures {
    /// Every course is anchored: moved by what the run lies above it now.
    pub fn new(
        fit: &LawFit,
        memory: Memory,
        past: &[Stretch],
        tokens: f64,
        own: &OwnPast,
        throughput: Throughput,
    ) -> Option<Futures> {
        let moved = |law, memory: Memory, by: f64| {
            let offset = own.offset_of(&law, &memory) + by;
            let course = Course::new(law, memory, past, tokens)?.shifted(offset);
            offset.is_finite().then_some(course)
        };
        let anchored = |law, memory: Memory| moved(law, memory, 0.0);
        // What the anchor may be off by: noise of the losses, and some of what the law misses.
        let unsure = own.offset_se.hypot(ANCHOR * fit.rms_nats);
        let drawn = |(i, law): (usize, &Law)| {
            let [x, y, z] = spread3(i);
            moved(*law, around(memory, x, y), unsure * z)
        };
        let other = if memory.source != MemorySource::Assumed {
            None
        } else if memory.tau_steps > 0.0 {
            anchored(fit.law, Memory::INSTANT).map(|c| (c, "noise is forgotten at once"))
        } else {
            anchored(fit.law, Memory::SLOW).map(|c| (c, "noise is remembered long"))
        };
        let never = (memory.source == MemorySource::Assumed)
            .then(|| anchored(fit.law, Memory { tau_steps: 1e18, ..Memory::SLOW }))
            .flatten();
        let every = fit.draws.len().div_ceil(MOST_DRAWS).max(1);
        Some(Futures {
            course: anchored(fit.law, memory)?,
            other,
            never,
            draws: fit.draws.iter().step_by(every).enumerate().filter_map(drawn).collect(),
            memory,
            throughput,
            target: f64::NAN,
            budget: f64::NAN,
        })
    }

    pub fn outcome(
        &self,
        policy: Policy,
        schedule: Vec<Entry>,
        notes: Vec<String>,
    ) -> PolicyOutcome {
        let stairs = stairs_of(&schedule);
        let way = self.course.along(&stairs);
        let reached = way.reach(self.target);
        let tokens =
            self.spread(reached, |c| c.along(&stairs).reach(self.target).unwrap_or(f64::INFINITY));
        let loss_at_budget =
            self.spread(Some(way.loss(self.budget)), |c| c.along(&stairs).loss(self.budget));
        let hours = reached
            .filter(|_| self.throughput.known())
            .map(|t| way.seconds(t, |b| self.throughput.rate(b)) / 3600.0)
            .filter(|h| h.is_finite());
        let mut outcome = PolicyOutcome {
            policy,
            target_loss: Some(self.target),
            tokens,
            steps: reached.map(|t| way.steps(t)),
            hours,
            loss_at_budget,
            memory: self.memory.source,
            path: self.path(&stairs, reached),
            notes,
            schedule,
        };
        if let Some((other, words)) = &self.other {
            let t = other.along(&stairs).reach(self.target);
            outcome.notes.push(match t {
                Some(t) => format!("{} tokens if {words}", units::count(t)),
                None => format!("never if {words}"),
            });
        }
        if let Some(t) = self.never.as_ref().map(|c| c.along(&stairs).reach(self.target)) {
            let t = t.map_or("not reached".into(), |t| format!("{} tokens", units::count(t)));
            outcome.notes.push(format!("{t} if no noise is forgotten within the horizon"));
        }
        outcome
    }

    /// Value of the central course, the 90 % spread of the draws, stretched to the other end.
    pub fn spread(&self, value: Option<f64>, of: impl Fn(&Course) -> f64) -> Interval {
        let finite = |x: f64| x.is_finite().then_some(x);
        let spread = quantiles(self.draws.iter().map(&of), 0.9);
        let (mut low, mut high) = spread.unwrap_or((f64::NAN, f64::NAN));
        if let Some((other, _)) = &self.other {
            let x = of(other);
            low = low.min(x);
            high = high.max(x);
        }
        if !low.is_nan() {
            low = low.min(value.unwrap_or(f64::INFINITY));
            high = high.max(value.unwrap_or(f64::INFINITY));
        }
        let open = match (value, low.is_nan()) {
            (None, _) => Open::High,
            (Some(_), true) => Open::Both,
            (Some(_), false) if high.is_infinite() => Open::High,
            _ => Open::None,
        };
        Interval { value, low: finite(low), high: finite(high), level: 0.9, open }
    }

    fn path(&self, stairs: &[Stair], reached: Option<f64>) -> Vec<[f64; 2]> {
        let way = self.course.along(stairs);
        let from = self.course.tokens();
        let to = reached.unwrap_or(self.budget).max(self.budget).min(10.0 * self.budget);
        (0..PATH_POINTS)
            .map(|i| {
                let t = from + (to - from) * i as f64 / (PATH_POINTS - 1) as f64;
                [t, way.loss(t)]
            })
            .filter(|p| p[0].is_finite() && p[1].is_finite())
            .collect()
    }
}

/// Three numbers of mean 0 and standard deviation 1, evenly spread over the draws (multiples of
/// three irrationals).
fn spread3(i: usize) -> [f64; 3] {
    [0.819_172_5, 0.671_043_6, 0.549_700_5]
        .map(|step| (((i + 1) as f64 * step).fract() - 0.5) * 12f64.sqrt())
}

/// A measured memory as it may also be: a short look at few switches leaves it this unsure.
fn around(memory: Memory, x: f64, y: f64) -> Memory {
    if memory.source == MemorySource::Assumed {
        return memory;
    }
    Memory {
        tau_steps: memory.tau_steps * (SD_LN_TAU * x).exp(),
        p: memory.p * (SD_LN_P * y).exp(),
        ..memory
    }
}

/// The central `level` of a sample, infinities included; `None` for fewer than five.
fn quantiles(sample: impl Iterator<Item = f64>, level: f64) -> Option<(f64, f64)> {
    let mut all: Vec<f64> = sample.filter(|x| !x.is_nan()).collect();
    if all.len() < 5 {
        return None;
    }
    all.sort_by(f64::total_cmp);
    let at = |q: f64| all[(q * (all.len() - 1) as f64).round() as usize];
    Some((at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)))
}

/// Entries as stairs.
pub fn stairs_of(schedule: &[Entry]) -> Vec<Stair> {
    schedule
        .iter()
        .map(|e| Stair {
            from_tokens: e.from_tokens as f64,
            batch_size: e.batch_size_tokens.max(1) as f64,
        })
        .collect()
}

/// The entries that lie behind the run: what was accepted, or its present batch size since it
/// began, so that the schedule says what is.
pub fn present(in_force: &[Entry], began: f64, constraints: &Constraints) -> Vec<Entry> {
    let mut out: Vec<Entry> =
        in_force.iter().filter(|e| e.from_tokens <= constraints.now).copied().collect();
    let own = constraints.own;
    let scale = out.last().and_then(|e| e.lr_scale);
    let from = if began.is_finite() { began.max(0.0) as u64 } else { 0 };
    match out.last() {
        Some(last) if last.batch_size_tokens == own => {}
        Some(last) => {
            let from_tokens = from.max(last.from_tokens + 1).min(constraints.now.max(1));
            out.retain(|e| e.from_tokens < from_tokens);
            out.push(Entry { from_tokens, batch_size_tokens: own, lr_scale: scale });
        }
        None => out.push(Entry {
            from_tokens: from.min(constraints.now),
            batch_size_tokens: own,
            lr_scale: None,
        }),
    }
    out
}
