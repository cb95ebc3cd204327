//! The search over staircases: sizes on a ladder that the constraints allow, switch points by a
//! coarse family and a descent.
//!
//! The family: hold, then change each time the tokens still to go have shrunk by one ratio, which is
//! the form of the optimum under a power-law memory, `B ~ K(remaining)^(1/(1+gamma))`.

use super::constraints::{Constraints, Throughput};
use super::forecast::{Course, Stair, Way};

/// A more complicated staircase must save this share of the tokens still to go.
const SIMPLER: f64 = 0.003;
/// A switch point may be anywhere at which no more than this share of what is still to go is lost.
const FLAT: f64 = 0.02;
/// What is minimised.
#[derive(Debug, Clone)]
pub enum Objective<'a> {
    /// Tokens to a loss.
    Tokens { target: f64 },
    /// Seconds to a loss.
    Seconds { target: f64, rate: &'a Throughput },
    /// Loss after a decay between two token counts.
    Decayed { from: f64, budget: f64 },
    /// Tokens to a loss, never above a way on the way: (tokens, loss); likewise at the other end of a
    /// memory that was not measured.
    Bounded { target: f64, bound: Vec<[f64; 2]>, other: Option<(&'a Course, Vec<[f64; 2]>)> },
}

impl Objective<'_> {
    /// Lower is better; infinite where the goal is not reached.
    pub fn score(&self, way: &Way<'_>) -> f64 {
        match self {
            Objective::Tokens { target } => way.reach(*target).unwrap_or(f64::INFINITY),
            Objective::Seconds { target, rate } => {
                way.reach(*target).map_or(f64::INFINITY, |t| way.seconds(t, |b| rate.rate(b)))
            }
            Objective::Decayed { from, budget } => {
                let (signal, noise) = way.decayed(*from, *budget);
                signal + noise
            }
            Objective::Bounded { target, bound, other } => {
                let Some(t) = way.reach(*target) else { return f64::INFINITY };
                let holds = keeps(way, t, bound)
                    && other.as_ref().is_none_or(|(course, bound)| {
                        let stairs = way.stairs();
                        let there = course.along(&stairs);
                        keeps(&there, there.reach(*target).unwrap_or(f64::INFINITY), bound)
                    });
                if holds { t } else { f64::INFINITY }
            }
        }
    }
}

/// Whether a way that arrives at `end` is nowhere above a bound before.
fn keeps(way: &Way<'_>, end: f64, bound: &[[f64; 2]]) -> bool {
    bound.iter().all(|[at, l]| *at >= end || way.loss(*at) <= *l)
}

/// A staircase after the present moment, and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// (from tokens, batch size), ascending, without the present size.
    pub changes: Vec<(u64, u64)>,
    pub score: f64,
}

/// One search.
#[derive(Debug)]
pub struct Search<'a> {
    pub course: &'a Course,
    pub objective: &'a Objective<'a>,
    pub constraints: &'a Constraints,
    /// Nats: for B_min and the top of the ladder.
    pub target: f64,
    /// Cumulative tokens: where the goal lies if the run is left alone, or the budget.
    pub horizon: f64,
    /// Where the run may end: B_min with its margin, at the target and at the present loss.
    pub floor: f64,
    /// A change committed to earlier is never postponed.
    pub latest_first: Option<u64>,
}

impl Search<'_> {
    pub fn score(&self, changes: &[(u64, u64)]) -> f64 {
        if changes.last().is_some_and(|(t, _)| !self.constraints.in_time(*t as f64)) {
            return f64::INFINITY;
        }
        let stairs = stairs(self.constraints, changes);
        self.objective.score(&self.course.along(&stairs))
    }

    fn score_at(&self, sizes: &[u64], times: &[f64], stairs: &mut Vec<Stair>) -> f64 {
        let c = self.constraints;
        if times.last().is_some_and(|t| !c.in_time(*t)) {
            return f64::INFINITY;
        }
        stairs.clear();
        stairs.push(Stair { from_tokens: c.now as f64, batch_size: c.own as f64 });
        stairs.extend(
            sizes.iter().zip(times).map(|(b, t)| Stair { from_tokens: *t, batch_size: *b as f64 }),
        );
        self.objective.score(&self.course.along(stairs))
    }

    /// Size sequences to try: raises, and reductions first where the batch is too large.
    fn sequences(&self) -> Vec<(usize, Vec<u64>)> {
        let c = self.constraints;
        let law = self.course.law();
        let top = law.b_opt(self.target).map_or(0.0, |b| 8.0 * b);
        let floor = self.floor;
        let mut out = Vec::new();
        for first in [c.max_bump, c.max_bump.sqrt()] {
            let rungs = c.ladder(c.own, first, top);
            if !rungs.is_empty() && !out.contains(&(0, rungs.clone())) {
                out.push((0, rungs));
            }
        }
        let mut lower = Vec::new();
        let mut at = c.own;
        while lower.len() < 4
            && let Some(next) = c.down(at)
            && next as f64 >= floor
        {
            lower.push(next);
            at = next;
            let mut sizes = lower.clone();
            sizes.extend(c.ladder(next, c.max_bump, top));
            out.push((lower.len(), sizes));
        }
        out.retain(|(_, s)| !s.is_empty());
        out
    }

    /// The staircase with the lowest score that changes at least once; `None` where none is allowed.
    pub fn best(&self) -> Option<Found> {
        let floor = self.floor;
        let latest = self.constraints.latest.map_or(f64::INFINITY, |t| t as f64);
        let mut horizon = self.horizon.min(latest).max(self.constraints.earliest as f64 + 1.0);
        let mut found: Vec<Found> = Vec::new();
        for (lowers, sizes) in self.sequences() {
            for k in lowers.max(1)..=sizes.len() {
                let sizes = &sizes[..k];
                if (sizes[k - 1] as f64) < floor {
                    continue;
                }
                let (times, score) = self.coarse(sizes, lowers, horizon);
                let is_tokens = !matches!(self.objective, Objective::Decayed { .. });
                if is_tokens && score.is_finite() {
                    horizon = horizon.min(self.end(sizes, &times));
                }
                found.push(Found { changes: pair(sizes, &times), score });
            }
        }
        let mut best: Vec<Found> = Vec::new();
        found.sort_by(|a, b| a.score.total_cmp(&b.score));
        for f in found.into_iter().take(3) {
            best.push(self.refine(f, horizon));
        }
        self.simplest(best)
    }

    /// Cumulative tokens between which the first of `changes` may lie, the others staying where they
    /// are, at a cost of at most [`FLAT`] of what is still to go.
    pub fn first_between(&self, changes: &[(u64, u64)]) -> Option<[f64; 2]> {
        let (c, first) = (self.constraints, changes.first()?.0 as f64);
        let latest = |n: &(u64, u64)| self.latest(0, first, n.0 as f64, changes[0].1);
        let next = changes.get(1).map_or(f64::INFINITY, latest);
        let best = self.score(changes);
        let bound = best + FLAT * (best - self.origin()).abs();
        let holds = |t: f64| {
            let mut moved = changes.to_vec();
            moved[0].0 = t.round().max(0.0) as u64;
            self.score(&moved) <= bound
        };
        let far = (4.0 * self.horizon).min(next).max(first);
        let edge = |end: f64| {
            let (mut inside, mut outside) = (first, end);
            if holds(end) {
                return end;
            }
            for _ in 0..14 {
                let middle = 0.5 * (inside + outside);
                if holds(middle) { inside = middle } else { outside = middle }
            }
            inside
        };
        best.is_finite().then(|| [edge((c.earliest as f64).min(first)), edge(far)])
    }

    /// The latest that the change number `i`, now at `at`, may lie before the next one at `next`.
    fn latest(&self, i: usize, at: f64, next: f64, size: u64) -> f64 {
        let c = self.constraints;
        let about = next - c.kept_for(i, at, size);
        // The later it lies the longer it is kept.
        next - c.kept_for(i, about.max(at), size)
    }

    /// What a score is counted from.
    fn origin(&self) -> f64 {
        match self.objective {
            Objective::Decayed { .. } | Objective::Seconds { .. } => 0.0,
            _ => self.constraints.now as f64,
        }
    }

    /// Fewest changes among those within a trifle of the best.
    fn simplest(&self, found: Vec<Found>) -> Option<Found> {
        let mut all = Vec::new();
        for f in found {
            for k in 1..f.changes.len() {
                // Cutting the tail keeps every rule.
                let cut = f.changes[..k].to_vec();
                let score = self.score(&cut);
                all.push(Found { changes: cut, score });
            }
            all.push(f);
        }
        let best = all.iter().map(|f| f.score).fold(f64::INFINITY, f64::min);
        let bound = best + SIMPLER * (best - self.origin()).abs();
        all.retain(|f| f.score <= bound || !bound.is_finite());
        all.into_iter()
            .min_by(|a, b| a.changes.len().cmp(&b.changes.len()).then(a.score.total_cmp(&b.score)))
    }

    /// Where the goal lies under a staircase.
    fn end(&self, sizes: &[u64], times: &[f64]) -> f64 {
        let stairs = stairs(self.constraints, &pair(sizes, times));
        let way = self.course.along(&stairs);
        way.reach(self.target).unwrap_or(self.horizon).max(self.constraints.earliest as f64 + 1.0)
    }

    /// Best of the family: the first change after a share of the span, then one ratio.
    fn coarse(&self, sizes: &[u64], lowers: usize, horizon: f64) -> (Vec<f64>, f64) {
        let c = self.constraints;
        let (start, mut buffer) = (c.earliest as f64, Vec::new());
        let span = horizon - start;
        let mut best = (vec![start; sizes.len()], f64::INFINITY);
        c.legal_times(&mut best.0, sizes, self.latest_first);
        best.1 = self.score_at(sizes, &best.0, &mut buffer);
        let ratios: &[f64] =
            if sizes.len() - lowers > 1 { &[0.25, 0.45, 0.65, 0.85] } else { &[1.0] };
        for share in [0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9] {
            for ratio in ratios {
                let mut left = span * (1.0 - share);
                let mut times: Vec<f64> = vec![start; lowers];
                for _ in lowers..sizes.len() {
                    times.push(horizon - left);
                    left *= ratio;
                }
                c.legal_times(&mut times, sizes, self.latest_first);
                let score = self.score_at(sizes, &times, &mut buffer);
                if score < best.1 {
                    best = (times, score);
                }
            }
        }
        best
    }

    /// Coordinate descent on the switch points, then onto a grid that a person can read.
    fn refine(&self, found: Found, horizon: f64) -> Found {
        let sizes: Vec<u64> = found.changes.iter().map(|c| c.1).collect();
        let mut times: Vec<f64> = found.changes.iter().map(|c| c.0 as f64).collect();
        let mut score = found.score;
        let mut buffer = Vec::new();
        let c = self.constraints;
        let span = horizon - c.earliest as f64;
        for width in [0.3, 0.12, 0.05] {
            for i in (0..times.len()).rev() {
                let before = |j: usize| times[j] + c.kept_for(j, times[j], sizes[j]);
                let mut lo = i.checked_sub(1).map_or(c.earliest as f64, before);
                let after = |t: &f64| self.latest(i, times[i], *t, sizes[i]);
                let mut hi = times.get(i + 1).map_or(horizon, after);
                if i == 0
                    && let Some(latest) = self.latest_first
                {
                    hi = hi.min(latest as f64);
                }
                lo = lo.max(times[i] - width * span);
                hi = hi.min(times[i] + width * span);
                if hi > lo {
                    self.golden(&sizes, &mut times, i, [lo, hi], &mut score, &mut buffer);
                }
            }
        }
        let fine = Found { changes: pair(&sizes, &times), score };
        let readable = self.on_grid(&sizes, times, horizon);
        // The grid is as coarse as the result is flat, or it is not used.
        let flat = fine.score + 0.1 * SIMPLER * (fine.score - c.now as f64).abs();
        let decayed = matches!(self.objective, Objective::Decayed { .. });
        if readable.score <= if decayed { fine.score * 1.0001 } else { flat } {
            readable
        } else {
            fine
        }
    }

    fn on_grid(&self, sizes: &[u64], mut times: Vec<f64>, horizon: f64) -> Found {
        let c = self.constraints;
        let grid = 10f64.powf(((horizon - c.now as f64) / 200.0).max(1.0).log10().floor());
        for t in &mut times {
            *t = (*t / grid).round() * grid;
        }
        c.legal_times(&mut times, sizes, self.latest_first);
        let changes = pair(sizes, &times);
        Found { score: self.score(&changes), changes }
    }

    /// Golden section on one switch point; what is no better is not taken.
    fn golden(
        &self,
        sizes: &[u64],
        times: &mut [f64],
        i: usize,
        [mut lo, mut hi]: [f64; 2],
        score: &mut f64,
        buffer: &mut Vec<Stair>,
    ) {
        const R: f64 = 0.618_033_988_749_894_9;
        let kept = times[i];
        let mut best = (kept, *score);
        let mut at = |t: f64, times: &mut [f64]| {
            times[i] = t;
            self.score_at(sizes, times, buffer)
        };
        let (mut a, mut b) = (hi - R * (hi - lo), lo + R * (hi - lo));
        let (mut fa, mut fb) = (at(a, times), at(b, times));
        for _ in 0..8 {
            if fa <= fb {
                if fa < best.1 {
                    best = (a, fa);
                }
                (hi, b, fb) = (b, a, fa);
                a = hi - R * (hi - lo);
                fa = at(a, times);
            } else {
                if fb < best.1 {
                    best = (b, fb);
                }
                (lo, a, fa) = (a, b, fb);
                b = lo + R * (hi - lo);
                fb = at(b, times);
            }
        }
        (times[i], *score) = best;
    }
}

fn pair(sizes: &[u64], times: &[f64]) -> Vec<(u64, u64)> {
    times.iter().zip(sizes).map(|(t, b)| (t.ceil().clamp(0.0, 1e18) as u64, *b)).collect()
}

/// The present size and then the changes.
pub fn stairs(constraints: &Constraints, changes: &[(u64, u64)]) -> Vec<Stair> {
    let present = Stair { from_tokens: constraints.now as f64, batch_size: constraints.own as f64 };
    let later = |c: &(u64, u64)| Stair { from_tokens: c.0 as f64, batch_size: c.1 as f64 };
    std::iter::once(present).chain(changes.iter().map(later)).collect()
}
