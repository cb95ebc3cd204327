//! What a schedule brings: tokens, steps, hours, the loss on the way, with the spread of the law's
//! draws and both ends of a memory that was not measured.

use super::constraints::{Constraints, Throughput};
use super::forecast::{Course, Stair};
use super::own_past::OwnPast;
use super::{Entry, PlanOptions, Policy, PolicyOutcome, Situation};
use crate::curve::{Interval, Law, LawFit, Memory, MemorySource, Open, Stretch};
use crate::run::RunData;
use crate::units;

const PATH_POINTS: usize = 64;

/// How far a law may be off for a run, nats.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Doubt {
    /// Weight of what the run lies above the law now: the rest of that is taken for noise.
    anchor: f64,
    /// Standard deviation of what is anchored by.
    anchor_sd: f64,
    /// ... of the drift for each ln of tokens beyond the data.
    drift_sd: f64,
}

impl Doubt {
    /// A run lies off the law by the law's misfit, its error beyond the noise of the lines; where the
    /// anchor's own noise is larger the law is the better guess. Beyond the data the misfit grows:
    /// what the law of the first halves missed the second halves by, an rms m over a factor of two,
    /// ends at sqrt(3) m where it grows linearly in ln tokens. The draws of the law spread beside
    /// that, so some of it may be counted twice.
    fn of(fit: &LawFit, own: &OwnPast) -> Doubt {
        let noise2 = fit.noise_nats.powi(2);
        let grows = fit.excess_nats.unwrap_or(fit.rms_nats);
        let excess2 = (fit.rms_nats.powi(2) - noise2).max(grows.powi(2));
        // The anchor looks at two stretches over which a run's wander becomes another one.
        let se2 = own.offset_se.powi(2).max(0.5 * noise2);
        // A saved law is of other runs: it may lie off this one by anything.
        let anchor = if fit.saved { 1.0 } else { excess2 / (excess2 + se2) };
        let anchor = if anchor.is_finite() { anchor } else { 1.0 };
        Doubt {
            anchor,
            anchor_sd: (anchor * se2).sqrt(),
            drift_sd: 3f64.sqrt() * grows / std::f64::consts::LN_2,
        }
    }
}

/// A run's future under every law that is to be asked.
#[derive(Debug)]
pub struct Futures {
    pub course: Course,
    /// The other end of a memory that was not measured, and its name.
    pub other: Option<(Course, &'static str)>,
    /// Nothing forgotten within the horizon: shown beside, where the memory was not measured.
    pub never: Option<Course>,
    draws: Vec<Course>,
    /// The draws as laws alone, without what the law may miss: what a choice is weighed by.
    pub laws: Vec<Course>,
    pub memory: Memory,
    pub throughput: Throughput,
    pub target: f64,
    pub budget: f64,
    /// Token counts between which the learning rate decays to zero, where that is the goal.
    pub decay: Option<[f64; 2]>,
}

impl Futures {
    /// Every course is anchored: moved by what the run lies above it now. `known_to` is the token
    /// count up to which the fit's runs have shown how right the law is.
    pub fn new(
        fit: &LawFit,
        memory: Memory,
        (past, tokens, known_to): (&[Stretch], f64, f64),
        own: &OwnPast,
        throughput: Throughput,
    ) -> Option<Futures> {
        let known_to = known_to.max(tokens);
        let doubt = Doubt::of(fit, own);
        let moved = |law, memory: Memory, by: f64| {
            let offset = doubt.anchor * own.offset_of(&law, &memory) + by;
            let course = Course::new(law, memory, past, tokens)?.shifted(offset);
            offset.is_finite().then_some(course)
        };
        let anchored = |law, memory: Memory| moved(law, memory, 0.0);
        // A memory that a person chose is taken as it is.
        let memory_of = |drawn: Memory| if memory == fit.memory { drawn } else { memory };
        let drawn = |(i, (law, drawn)): (usize, &(Law, Memory))| {
            let [x, y] = spread2(i);
            let course = moved(*law, memory_of(*drawn), doubt.anchor_sd * x)?;
            Some(course.drifting(doubt.drift_sd * y, known_to))
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
            .flatten()
            .map(Course::unguarded);
        Some(Futures {
            course: anchored(fit.law, memory)?,
            other,
            never,
            draws: fit.with_memory.iter().enumerate().filter_map(drawn).collect(),
            laws: fit.with_memory.iter().filter_map(|(l, m)| anchored(*l, memory_of(*m))).collect(),
            memory,
            throughput,
            target: f64::NAN,
            budget: f64::NAN,
            decay: None,
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
        let steps = through(&tokens, |t| whole(way.steps(t)));
        let hours = |t: f64| way.seconds(t, |b| self.throughput.rate(b)) / 3600.0;
        let known = self.throughput.known();
        let hours = if known { through(&tokens, hours) } else { Interval::UNKNOWN };
        let mut outcome = PolicyOutcome {
            policy,
            target_loss: Some(self.target),
            tokens,
            tokens_at_other_end: self
                .other
                .as_ref()
                .and_then(|(c, _)| c.along(&stairs).reach(self.target)),
            tokens_if_never: self.never.as_ref().and_then(|c| c.along(&stairs).reach(self.target)),
            steps: steps.value,
            steps_interval: steps,
            hours: hours.value,
            hours_interval: hours,
            risk: None,
            loss_at_budget,
            loss_after_decay: self.after_decay(&stairs),
            memory: self.memory.source,
            path: self.path(&stairs, reached),
            on_the_way: Vec::new(),
            most_above_leave: None,
            notes,
            schedule,
        };
        outcome.notes.extend(self.decay_note(&outcome));
        if let Some((_, words)) = &self.other {
            outcome.notes.push(match outcome.tokens_at_other_end {
                Some(t) => format!("{} tokens if {words}", units::count(t)),
                None => format!("never if {words}"),
            });
        }
        if self.never.is_some() {
            let t = outcome.tokens_if_never;
            let t = t.map_or("not reached".into(), |t| format!("{} tokens", units::count(t)));
            outcome.notes.push(format!("{t} if no noise is forgotten within the horizon"));
        }
        outcome
    }

    /// What a schedule costs by each draw of the law: tokens to the target, or the loss after the
    /// decay where that is the goal.
    pub fn costs(&self, schedule: &[Entry]) -> Vec<f64> {
        let stairs = stairs_of(schedule);
        let cost = |c: &Course| match self.decay {
            Some([from, to]) => c.along(&stairs).loss_after_decay(from, to),
            None => c.along(&stairs).reach(self.target).unwrap_or(f64::INFINITY),
        };
        self.draws.iter().map(cost).collect()
    }

    /// What the plan is for where the goal is the loss after the decay.
    fn after_decay(&self, stairs: &[Stair]) -> Interval {
        let Some([from, to]) = self.decay else { return Interval::UNKNOWN };
        let after = |c: &Course| c.along(stairs).loss_after_decay(from, to);
        self.spread(Some(after(&self.course)), after)
    }

    fn decay_note(&self, outcome: &PolicyOutcome) -> Option<String> {
        let ([from, to], i) = (self.decay?, outcome.loss_after_decay);
        let range = match (i.low, i.high) {
            (Some(low), Some(high)) => format!(" ({} to {})", units::loss(low), units::loss(high)),
            _ => String::new(),
        };
        Some(format!(
            "loss {}{range} after a linear decay from {} to {} tokens",
            units::loss(i.value?),
            units::count(from),
            units::count(to)
        ))
    }

    /// Value of the central course, the 90 % spread of the draws, stretched to the other end.
    pub fn spread(&self, value: Option<f64>, of: impl Fn(&Course) -> f64) -> Interval {
        let finite = |x: f64| x.is_finite().then_some(x);
        let spread = quantiles(self.draws.iter().map(&of), 0.9);
        let (mut low, mut high) = spread.unwrap_or((f64::NAN, f64::NAN));
        // Both ends, until it is measured.
        for end in self.other.iter().map(|(c, _)| c).chain(&self.never) {
            let x = of(end);
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

/// What a growing function makes of an interval: a draw that arrives later takes more of it.
fn through(i: &Interval, f: impl Fn(f64) -> f64) -> Interval {
    let of = |x: Option<f64>| x.map(&f).filter(|y| y.is_finite());
    Interval { value: of(i.value), low: of(i.low), high: of(i.high), ..*i }
}

/// Steps are whole; a part of one is one more, but for what arithmetic adds.
fn whole(steps: f64) -> f64 {
    (steps - 1e-6).ceil()
}

/// Share of the draws in which the first costs more; `None` without any, and where neither ever arrives.
pub fn risk(costs: &[f64], than: &[f64]) -> Option<f64> {
    let more = costs.iter().zip(than).filter(|(a, b)| **a > **b * (1.0 + 1e-9)).count();
    let arrives = costs.iter().chain(than).any(|c| c.is_finite());
    arrives.then(|| more as f64 / costs.len() as f64)
}

/// Two numbers of mean 0 and standard deviation 1, evenly spread over the draws (multiples of two
/// irrationals).
fn spread2(i: usize) -> [f64; 2] {
    [0.754_877_666, 0.569_840_291]
        .map(|step| (((i + 1) as f64 * step).fract() - 0.5) * 12f64.sqrt())
}

/// The central `level` of a sample, infinities included; `None` for fewer than five.
fn quantiles(sample: impl Iterator<Item = f64>, level: f64) -> Option<(f64, f64)> {
    let mut all: Vec<f64> = sample.filter(|x| !x.is_nan()).collect();
    if all.len() < 5 {
        return None;
    }
    all.sort_by(f64::total_cmp);
    // Of n draws the k-th has k / (n + 1) of what they are drawn from below it.
    let at = |q: f64| {
        let place = (q * (all.len() + 1) as f64 - 1.0).clamp(0.0, (all.len() - 1) as f64);
        let (below, above) = (all[place.floor() as usize], all[place.ceil() as usize]);
        if below == above { below } else { below + (above - below) * place.fract() }
    };
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

/// The entries that lie behind the run: what was accepted as far as the run followed it, else the
/// batch sizes that it had; the last one is its present size, so that the schedule says what is.
pub fn present(in_force: &[Entry], run: &RunData, constraints: &Constraints) -> Vec<Entry> {
    let (own, now) = (constraints.own, constraints.now);
    let mut out: Vec<Entry> = in_force.iter().filter(|e| e.from_tokens <= now).copied().collect();
    match out.last() {
        Some(last) if same_size(last.batch_size_tokens, own) => {}
        Some(_) => {
            // What was to act since the run is at its present size did not.
            let from_tokens = began(run).min(now);
            let scaled = out.iter().any(|e| e.lr_scale.is_some());
            out.retain(|e| e.from_tokens < from_tokens);
            let lr_scale = out.last().map_or(scaled.then_some(1.0), |e| e.lr_scale);
            out.push(Entry { from_tokens, batch_size_tokens: own, lr_scale });
        }
        None => out = so_far(run, own, now),
    }
    out
}

/// The batch sizes that a run had, up to its present one.
fn so_far(run: &RunData, own: u64, now: u64) -> Vec<Entry> {
    let entry = |from_tokens: u64, batch_size_tokens| Entry {
        from_tokens: from_tokens.min(now),
        batch_size_tokens,
        lr_scale: None,
    };
    let mut out: Vec<Entry> = Vec::new();
    // What the log does not hold is known by its mean alone.
    let known = run.segments.iter().enumerate().filter(|(_, s)| !s.range.is_empty());
    for (i, s) in known {
        let from = if i == 0 { 0 } else { s.from_tokens.max(0.0).round() as u64 };
        let size = s.batch_size.round() as u64;
        if out.last().is_none_or(|l| !same_size(l.batch_size_tokens, size)) {
            out.push(entry(from, size));
        }
    }
    match out.last_mut() {
        Some(last) if same_size(last.batch_size_tokens, own) => last.batch_size_tokens = own,
        _ => {
            let from = began(run);
            out.retain(|e| e.from_tokens < from);
            out.push(entry(from, own));
        }
    }
    out
}

/// A log may round a batch size.
fn same_size(a: u64, b: u64) -> bool {
    (a as f64 / b as f64 - 1.0).abs() <= 0.02
}

/// `schedule` as the run in fact followed it: what it says of this moment is the batch size of the
/// metrics, also where the run deviates from it, or where there is no schedule.
pub fn as_trained(schedule: &[Entry], run: &RunData, situation: &Situation) -> Vec<Entry> {
    let constraints = Constraints::of(run, situation, &PlanOptions::default());
    let Some(c) = constraints else { return schedule.to_vec() };
    let mut out = present(schedule, run, &c);
    out.extend(schedule.iter().filter(|e| e.from_tokens > c.now));
    out
}

/// Cumulative tokens since when the run trains at its present batch size.
fn began(run: &RunData) -> u64 {
    match run.segments.as_slice() {
        [.., _, last] => last.from_tokens.max(0.0).round() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, group_of, live, loss_of, on_disk, run_of};
    use crate::advice::{PlanOptions, Situation, plan};

    #[test]
    fn steps_and_hours_have_the_interval_of_the_tokens_at_the_measured_speeds() {
        let mut run = run_of(&LAW, &MEMORY, &[(256.0, 2e6), (384.0, 2e6)], 0.0);
        // 256 was trained at half the speed of 384.
        let clock = |t: f64| if t <= 2e6 { t / 1e4 } else { 200.0 + (t - 2e6) / 2e4 };
        run.train.time = run.train.tokens.iter().map(|t| clock(*t)).collect();
        let options = PlanOptions { target_loss: Some(2.19), ..on_disk() };
        let mut group = group_of(&LAW, MEMORY);
        // Sure enough of the later losses that every draw arrives.
        group.law.as_mut().unwrap().excess_nats = Some(0.002);
        let situation = Situation { limits: live(false).limits, ..Situation::default() };
        let plan = plan(&run, loss_of(&run), Some(&group), &situation, &options);
        let leave = &plan.policies[0];
        let ends = |i: &Interval| [i.low, i.value, i.high].map(Option::unwrap);
        let tokens = ends(&leave.tokens);
        assert!(tokens[0] < tokens[1] && tokens[1] < tokens[2], "{tokens:?}");
        for (t, [s, h]) in tokens.iter().zip(
            [0, 1, 2].map(|i| [ends(&leave.steps_interval)[i], ends(&leave.hours_interval)[i]]),
        ) {
            assert_eq!(s, (2e6 / 256.0 + (t - 2e6) / 384.0 - 1e-6).ceil(), "whole steps");
            assert!((h * 3600.0 * 2e4 / (t - 4e6) - 1.0).abs() < 0.02, "{t} {h}");
        }
        // A ramp takes fewer steps for the same tokens, and never more of them at a later arrival.
        let planned = &plan.policies[1];
        let [low, value, high] = ends(&planned.steps_interval);
        assert!(low < value && value < high && high < 2e6 / 256.0 + (tokens[2] - 2e6) / 384.0);
        assert_eq!((planned.steps, planned.hours), (Some(value), planned.hours_interval.value));
    }

    #[test]
    fn what_is_never_reached_or_not_clocked_has_no_number() {
        let mut run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.0);
        run.train.time.fill(f64::NAN);
        let group = group_of(&LAW, MEMORY);
        let options = PlanOptions { target_loss: Some(2.12), ..on_disk() };
        let plan = plan(&run, loss_of(&run), Some(&group), &live(false), &options);
        let leave = &plan.policies[0];
        assert_eq!((leave.tokens.value, leave.steps, leave.hours), (None, None, None));
        assert_eq!(leave.steps_interval.open, Open::High);
        assert_eq!(plan.policies[1].hours_interval, Interval::UNKNOWN);
        assert!(plan.policies[1].steps.is_some());
    }
}
