//! What a schedule may be: multiples of the trainer's unit, limits, direction, the size of a
//! change, how far ahead it lies and how long it is kept.

use super::own_past::catch_up_steps;
use super::{PlanOptions, Situation};
use crate::curve::{GroupFit, Memory};
use crate::run::{RunData, pace};
use crate::units::exact;

/// A change smaller than this is not worth making.
pub const MIN_BUMP: f64 = 1.25;
/// A new batch size lies at least this factor above B_min.
pub const B_MIN_MARGIN: f64 = 1.1;
const MOST_RUNGS: usize = 10;
/// Share of its catch-up that the first change of a plan of before is kept for.
const NEARLY: f64 = 0.75;
/// Share of the least time between two changes in which somebody can see what the first one brought.
const SEEN: f64 = 0.5;

/// Constraints on the future of one run, in tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraints {
    /// `None`: unknown; whole multiples of the present batch size are proposed.
    pub unit: Option<u64>,
    pub min: u64,
    pub max: Option<u64>,
    pub max_bump: f64,
    pub up_only: bool,
    /// Batch size in force at this moment.
    pub own: u64,
    /// Cumulative tokens so far.
    pub now: u64,
    /// First token count at which a change may lie.
    pub earliest: u64,
    /// Where the decay begins: no change lies there or later. `None`: no decay is planned.
    pub latest: Option<u64>,
    /// Tokens between two changes, at least.
    pub dwell: u64,
    /// What a change brought is looked at before the next.
    pub looks: Option<Looks>,
    /// Measured or logged throughput.
    pub tokens_per_second: Option<f64>,
}

/// How long it takes until a change has shown what it brought, and can be undone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Looks {
    pub memory: Memory,
    /// Steps so far.
    pub steps: f64,
    /// Tokens until a change that is written now is read.
    pub lead: f64,
}

impl Constraints {
    /// `None` where the log tells no tokens or no batch size.
    pub fn of(run: &RunData, situation: &Situation, options: &PlanOptions) -> Option<Constraints> {
        let tokens = run.tokens();
        if !(1.0..1e18).contains(&tokens) {
            return None;
        }
        let interval = situation.log_interval_tokens.or_else(|| log_interval(run)).unwrap_or(0.0);
        let own = own_batch(run, situation, tokens, interval)?;
        let limits = situation.limits.clone().unwrap_or_default();
        let now = tokens.round() as u64;
        let rate = situation
            .tokens_per_second
            .or_else(|| logged_rate(run))
            .filter(|r| r.is_finite() && *r > 0.0);
        // A run that does not write now cannot overtake a change before it is seen.
        let seconds = if situation.live { options.lead_seconds.max(0.0) } else { 0.0 };
        let lead = seconds * rate.unwrap_or(0.0);
        let lead = lead.max(interval).max(2.0 * own as f64);
        let dwell = (5.0 * interval).max(0.02 * tokens).max(10.0 * own as f64);
        let max = match (limits.max_batch_tokens, options.max_batch) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Some(Constraints {
            unit: limits.unit_tokens.or(options.unit).filter(|u| *u > 0),
            min: limits.min_batch_tokens.unwrap_or(1).max(1),
            max,
            max_bump: if options.max_bump.is_finite() { options.max_bump.max(1.0) } else { 2.0 },
            up_only: limits.up_only,
            own,
            now,
            earliest: now.saturating_add(whole(lead)),
            latest: options.decay_from().map(|t| t as u64),
            dwell: whole(dwell).max(1),
            looks: None,
            tokens_per_second: rate,
        })
    }

    /// The same with a lower ceiling.
    pub fn within(&self, most: f64) -> Constraints {
        let most = if most.is_finite() { most.max(1.0) as u64 } else { u64::MAX };
        Constraints { max: Some(self.max.unwrap_or(u64::MAX).min(most)), ..self.clone() }
    }

    /// Tokens that the change number `i` to come, to `size` at `at` tokens, is kept at least. The first
    /// one must have shown what it brought, and an undo been read, before the second acts.
    pub fn kept_for(&self, i: usize, at: f64, size: u64) -> f64 {
        let dwell = self.dwell as f64;
        let Some(looks) = self.looks.filter(|_| i == 0) else { return dwell };
        let before = looks.steps + (at - self.now as f64).max(0.0) / self.own.max(1) as f64;
        let shows = size as f64 * catch_up_steps(&looks.memory, before);
        dwell.max(shows + looks.lead.max(SEEN * dwell))
    }

    /// The largest allowed raise from `from` by at most `factor`.
    pub fn up(&self, from: u64, factor: f64) -> Option<u64> {
        let unit = self.unit.unwrap_or(self.own);
        let most = (from as f64 * factor.min(self.max_bump) * (1.0 + 1e-12)).floor() as u64;
        let ceiling = self.max.filter(|max| *max <= most);
        let to = ceiling.unwrap_or(most) / unit * unit;
        // Without a unit whole multiples are proposed, and the ceiling where they end below it.
        let none = self.unit.is_none() && (to as f64) < MIN_BUMP * from as f64;
        let to = ceiling.filter(|_| none).unwrap_or(to);
        (to as f64 >= MIN_BUMP * from as f64 && to >= self.min).then_some(to)
    }

    /// The largest allowed reduction.
    pub fn down(&self, from: u64) -> Option<u64> {
        if self.up_only {
            return None;
        }
        let unit = self.unit.unwrap_or(1);
        let least = (from as f64 / self.max_bump * (1.0 - 1e-12)).ceil() as u64;
        let to = least.max(self.min).div_ceil(unit) * unit;
        let to = if self.unit.is_none() && !from.is_multiple_of(to) { from / 2 } else { to };
        let legal = to as f64 * MIN_BUMP <= from as f64
            && to as f64 * self.max_bump >= from as f64 * (1.0 - 1e-9)
            && to >= self.min
            && to > 0
            && self.max.is_none_or(|m| to <= m);
        legal.then_some(to)
    }

    /// Why no change of the present size is allowed; `None` where one is.
    pub fn none_allowed(&self) -> Option<String> {
        if self.up(self.own, self.max_bump).is_some() || self.down(self.own).is_some() {
            return None;
        }
        let mut rules = vec![format!("by a factor of {MIN_BUMP} to {:.2} at once", self.max_bump)];
        rules.extend(self.unit.map(|u| format!("a multiple of {} tokens", exact(u))));
        rules.extend(self.max.map(|m| format!("at most {}", exact(m))));
        rules.extend((self.min > 1).then(|| format!("at least {}", exact(self.min))));
        rules.extend(self.up_only.then(|| "no reduction".to_string()));
        Some(format!("no size keeps every rule from {} ({})", exact(self.own), rules.join(", ")))
    }

    /// Rungs above `from` until one is at or above `top`: the first one `first` times larger at
    /// most, the others by the largest factor.
    pub fn ladder(&self, from: u64, first: f64, top: f64) -> Vec<u64> {
        let mut rungs = Vec::new();
        let (mut at, mut factor) = (from, first);
        while rungs.len() < MOST_RUNGS && (at as f64) < top {
            let Some(next) = self.up(at, factor) else { break };
            rungs.push(next);
            at = next;
            factor = self.max_bump;
        }
        rungs
    }

    /// Whether changes, ascending in tokens, keep every rule.
    pub fn allows(&self, changes: &[(u64, u64)]) -> bool {
        let (mut least, mut from) = (self.earliest, self.own);
        changes.iter().enumerate().all(|(i, &(at, to))| {
            let factor = to as f64 / from.max(1) as f64;
            let bump = factor.max(1.0 / factor);
            let unit = self.unit.is_none_or(|u| to.is_multiple_of(u));
            let limit = to >= self.min && self.max.is_none_or(|m| to <= m);
            let fits = self.in_time(at as f64)
                && at >= least
                && (MIN_BUMP * (1.0 - 1e-9)..=self.max_bump * (1.0 + 1e-9)).contains(&bump)
                && (to > from || !self.up_only);
            // A memory that is fitted again moves the end of the catch-up a little.
            let kept = (NEARLY * self.kept_for(i, at as f64, to)).max(self.dwell as f64);
            least = at.saturating_add(whole(kept));
            from = to;
            unit && limit && fits
        })
    }

    /// Before the decay.
    pub fn in_time(&self, at: f64) -> bool {
        self.latest.is_none_or(|latest| at < latest as f64)
    }

    /// Moves times so that the first lies no earlier than `earliest` and no later than
    /// `latest_first` (where the lead time allows that), and each of the `sizes` is kept long enough.
    pub fn legal_times(&self, times: &mut [f64], sizes: &[u64], latest_first: Option<u64>) {
        let mut least = self.earliest as f64;
        for (i, t) in times.iter_mut().enumerate() {
            if i == 0
                && let Some(latest) = latest_first
            {
                *t = t.min(latest as f64);
            }
            // NaN too becomes the earliest.
            *t = t.max(least);
            let size = sizes.get(i).copied().unwrap_or(self.own);
            least = *t + self.kept_for(i, *t, size);
        }
    }
}

/// Counts round up: a change never lies closer than asked.
fn whole(x: f64) -> u64 {
    if x.is_finite() { x.ceil().clamp(0.0, 1e18) as u64 } else { 0 }
}

/// What the next step trains at: the accepted entry that began within the last few log lines, else
/// what the metrics show.
fn own_batch(run: &RunData, situation: &Situation, tokens: f64, interval: f64) -> Option<u64> {
    let began = situation.in_force.iter().rev().find(|e| e.from_tokens as f64 <= tokens);
    if let Some(e) = began
        && e.batch_size_tokens > 0
        && (e.from_tokens as f64) > tokens - 3.0 * interval
    {
        return Some(e.batch_size_tokens);
    }
    run.batch_size().filter(|b| b.is_finite() && *b >= 1.0 && *b < 1e15).map(|b| b.round() as u64)
}

/// Mean tokens between the last lines of the log.
fn log_interval(run: &RunData) -> Option<f64> {
    let t = &run.train.tokens;
    let n = t.len().min(9);
    if n < 2 {
        return None;
    }
    let d = (t[t.len() - 1] - t[t.len() - n]) / (n - 1) as f64;
    (d.is_finite() && d > 0.0).then_some(d)
}

fn logged_rate(run: &RunData) -> Option<f64> {
    run.segments.last().and_then(|s| rate_of(run, s))
}

/// Tokens a second over the latter half of a segment, by the log's own clock.
fn rate_of(run: &RunData, segment: &crate::run::Segment) -> Option<f64> {
    let r = &segment.range;
    let from = r.start + (r.end.saturating_sub(r.start)) / 2;
    pace(&run.train, from..r.end.min(run.train.len()))
        .filter(|rate| rate.is_finite() && *rate > 0.0)
}

/// Tokens a second at each batch size that the run, or a sibling of its group, has trained at.
#[derive(Debug, Clone, Default)]
pub struct Throughput {
    /// (batch size, tokens a second), ascending.
    points: Vec<(f64, f64)>,
    /// Batch sizes that were measured in the run itself, in siblings alone, and in siblings that are
    /// not believed to have run on the same hardware.
    measured: [Vec<f64>; 3],
}

/// On the same hardware a step of a larger batch takes no less time, up to this factor.
const SAME_HARDWARE: f64 = 0.9;
/// Batch sizes this close are the same.
const SAME_SIZE: f64 = 0.02;

impl Throughput {
    pub fn of(run: &RunData, constraints: &Constraints, group: Option<&GroupFit>) -> Throughput {
        let mut points: Vec<(f64, f64)> =
            run.segments.iter().filter_map(|s| Some((s.batch_size, rate_of(run, s)?))).collect();
        if let Some(rate) = constraints.tokens_per_second {
            points.retain(|p| p.0 != constraints.own as f64);
            points.push((constraints.own as f64, rate));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| a.0 == b.0);
        let own = points.clone();
        let mut measured = [own.iter().map(|p| p.0).collect(), Vec::new(), Vec::new()];
        for (size, rate) in siblings(run, group) {
            if own.iter().any(|p| same(p.0, size)) {
                continue;
            }
            if own.iter().all(|p| same_hardware(*p, (size, rate))) {
                points.push((size, rate));
                measured[1].push(size);
            } else {
                measured[2].push(size);
            }
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Throughput { points, measured }
    }

    /// Where the tokens a second come from; `None` where only the run itself tells them.
    pub fn words(&self) -> Option<String> {
        let [own, siblings, others] = self.measured.each_ref().map(|sizes| {
            let all: Vec<String> = sizes.iter().map(|b| exact(b.round() as u64)).collect();
            (!all.is_empty()).then(|| all.join(", "))
        });
        let siblings = siblings.map(|s| format!("in its siblings at {s}"));
        let others = others
            .map(|o| format!("; siblings ran on other hardware or under other load, by the time of their steps: {o}"));
        if siblings.is_none() && others.is_none() {
            return None;
        }
        let own = own.map(|o| format!("in this run at {o}"));
        let from: Vec<String> = own.into_iter().chain(siblings).collect();
        Some(format!(
            "hours go by the tokens a second that were measured {}; between these sizes by those \
             around, beyond them by the nearest{}",
            from.join(", "),
            others.unwrap_or_default()
        ))
    }

    pub fn known(&self) -> bool {
        !self.points.is_empty()
    }

    /// Interpolated in ln B; beyond the measured sizes the nearest one's.
    pub fn rate(&self, batch_size: f64) -> f64 {
        let i = self.points.partition_point(|p| p.0 < batch_size);
        match (i.checked_sub(1).and_then(|i| self.points.get(i)), self.points.get(i)) {
            (Some(a), Some(b)) => {
                let w = (batch_size / a.0).ln() / (b.0 / a.0).ln();
                a.1 * (1.0 - w) + b.1 * w
            }
            (Some(p), None) | (None, Some(p)) => p.1,
            (None, None) => f64::NAN,
        }
    }
}

fn same(a: f64, b: f64) -> bool {
    (a / b).ln().abs() < SAME_SIZE
}

fn same_hardware(a: (f64, f64), b: (f64, f64)) -> bool {
    let ((small, slow), (large, fast)) = if a.0 < b.0 { (a, b) } else { (b, a) };
    large / fast >= SAME_HARDWARE * small / slow
}

/// The median tokens a second of the other runs of the group at each of their sizes, ascending.
fn siblings(run: &RunData, group: Option<&GroupFit>) -> Vec<(f64, f64)> {
    let runs = group.map(|g| g.runs.as_slice()).unwrap_or_default();
    let mut all: Vec<(f64, f64)> = runs
        .iter()
        .filter(|r| r.id != run.id)
        .filter_map(|r| r.batch_size_tokens.zip(r.tokens_per_second))
        .filter(|(size, rate)| *size >= 1.0 && *rate > 0.0)
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.chunk_by(|a, b| same(a.0, b.0))
        .map(|of_size| {
            let mut rates: Vec<f64> = of_size.iter().map(|p| p.1).collect();
            rates.sort_by(f64::total_cmp);
            (of_size[0].0, rates[rates.len() / 2])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::TrainerLimits;
    use crate::advice::testing::{LAW, MEMORY, run_of};
    use proptest::prelude::*;

    fn constraints(own: f64, limits: Option<TrainerLimits>, options: &PlanOptions) -> Constraints {
        let run = run_of(&LAW, &MEMORY, &[(own, 2e6)], 0.0);
        let situation = Situation { live: true, limits, ..Situation::default() };
        Constraints::of(&run, &situation, options).unwrap()
    }

    #[test]
    fn the_lead_time_is_measured_in_tokens() {
        let c = constraints(128.0, None, &PlanOptions::default());
        // The log's clock runs at 1e6 tokens a second.
        assert_eq!(c.tokens_per_second.map(f64::round), Some(1e6));
        assert!(c.earliest >= c.now + 180_000_000 - 200);
        let c = constraints(128.0, None, &PlanOptions { lead_seconds: 0.0, ..Default::default() });
        assert!(c.earliest < c.now + 20_000 && c.earliest > c.now);
    }

    #[test]
    fn a_wait_between_jobs_is_no_slowness_of_the_size_before() {
        let mut run = run_of(&LAW, &MEMORY, &[(128.0, 2e6), (256.0, 2e6)], 0.0);
        for (time, tokens) in run.train.time.iter_mut().zip(&run.train.tokens) {
            *time += if *tokens > 1.5e6 { 86400.0 } else { 0.0 };
        }
        let c = Constraints::of(&run, &Situation::default(), &PlanOptions::default()).unwrap();
        let rate = Throughput::of(&run, &c, None).rate(128.0);
        assert!((rate / 1e6 - 1.0).abs() < 0.05, "{rate}");
    }

    #[test]
    fn without_a_unit_only_multiples_of_the_present_size_are_proposed() {
        let c = constraints(100.0, None, &PlanOptions::default());
        assert_eq!(c.ladder(100, 1.5, 1000.0), Vec::<u64>::new());
        assert_eq!(c.ladder(100, 2.0, 700.0), [200, 400, 800]);
        assert_eq!(c.down(100), Some(50));
        // A ceiling that somebody named is a size that the trainer can run.
        let options = PlanOptions { max_batch: Some(143), ..PlanOptions::default() };
        let c = constraints(100.0, None, &options);
        assert_eq!(c.ladder(100, 2.0, 700.0), [143]);
        let options = PlanOptions { max_batch: Some(120), ..PlanOptions::default() };
        assert!(constraints(100.0, None, &options).ladder(100, 2.0, 700.0).is_empty());
    }

    #[test]
    fn a_ceiling_ends_the_ladder_and_a_trifle_above_is_not_made() {
        let options = PlanOptions { unit: Some(10), max_batch: Some(450), ..Default::default() };
        assert_eq!(constraints(100.0, None, &options).ladder(100, 2.0, 1e9), [200, 400]);
        let options = PlanOptions { max_batch: Some(519), ..options };
        assert_eq!(constraints(100.0, None, &options).ladder(100, 2.0, 1e9), [200, 400, 510]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rungs_keep_every_rule(
            own in 1u64..100_000, unit in 1u64..500, max in 1u64..1_000_000,
            bump in 1.0..4.0f64, up_only in any::<bool>(), min in 1u64..1000,
        ) {
            let limits = TrainerLimits {
                unit_tokens: Some(unit), max_batch_tokens: Some(max), up_only,
                min_batch_tokens: Some(min), ..Default::default()
            };
            let options = PlanOptions { max_bump: bump, ..Default::default() };
            let c = constraints(own as f64, Some(limits), &options);
            let mut before = own;
            for b in c.ladder(own, 2.0, 1e7) {
                prop_assert!(b.is_multiple_of(unit) && b <= max && b >= min);
                let f = b as f64 / before as f64;
                prop_assert!((1.25..=bump * 1.000001).contains(&f));
                before = b;
            }
            if let Some(b) = c.down(own) {
                prop_assert!(!up_only && b.is_multiple_of(unit) && b <= max && b >= min);
                prop_assert!((1.25..=bump * 1.000001).contains(&(own as f64 / b as f64)));
            }
        }
    }
}
