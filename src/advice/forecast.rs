//! The loss along a schedule, by the law with memory, from a run's own past on.
//!
//! Summed by parts, the memory kernel of [`Law::loss_along`] is the noise of the present batch size
//! plus one term for each change: `n_now + sum over changes (n_before - n_after) F(age of the
//! change)`. A point on a staircase therefore costs one `F` a change.

use crate::curve::{Law, Memory, Stretch};

/// Pieces of constant learning rate that a decay is cut into.
const DECAY_PIECES: usize = 24;
/// Never: tokens beyond this multiple of those so far.
const HORIZON: f64 = 1e4;

/// A batch size from a cumulative token count on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stair {
    /// Cumulative tokens.
    pub from_tokens: f64,
    /// Tokens per step.
    pub batch_size: f64,
}

/// A run at its present moment, as one law and one memory see it.
#[derive(Debug, Clone)]
pub struct Course {
    law: Law,
    memory: Memory,
    /// Cumulative tokens and steps so far.
    tokens: f64,
    steps: f64,
    progress: f64,
    batch_size: f64,
    first_batch_size: f64,
    smallest: f64,
    /// Past changes: (age in steps, noise before - noise after).
    edges: Vec<(f64, f64)>,
    /// What the law may come to miss the run by: nats for each ln of tokens beyond a token count.
    drift: (f64, f64),
    /// No plan may feed on what the kernel gives to the first stretch.
    guarded: bool,
}

impl Course {
    /// `past` is the whole run from step 0, `tokens` its cumulative count now. `None` for an empty
    /// past or one that is not finite.
    pub fn new(law: Law, memory: Memory, past: &[Stretch], tokens: f64) -> Option<Course> {
        let last = past.last()?;
        let sound = |s: &Stretch| s.batch_size > 0.0 && s.batch_size.is_finite() && s.steps >= 0.0;
        let steps: f64 = past.iter().map(|s| s.steps).sum();
        if !(past.iter().all(sound) && steps.is_finite() && steps > 0.0 && tokens > 0.0) {
            return None;
        }
        let mut age = 0.0;
        let mut edges = Vec::new();
        for pair in past.windows(2).rev() {
            age += pair[1].steps;
            edges.push((age, law.noise(pair[0].batch_size) - law.noise(pair[1].batch_size)));
        }
        Some(Course {
            law,
            memory,
            tokens,
            steps,
            progress: past.iter().map(|s| s.batch_size.powf(law.q) * s.steps).sum(),
            batch_size: last.batch_size,
            first_batch_size: past[0].batch_size,
            smallest: past.iter().map(|s| s.batch_size).fold(f64::INFINITY, f64::min),
            edges,
            drift: (0.0, tokens),
            guarded: true,
        })
    }

    pub fn law(&self) -> &Law {
        &self.law
    }

    pub fn tokens(&self) -> f64 {
        self.tokens
    }

    pub fn steps(&self) -> f64 {
        self.steps
    }

    /// The future along `stairs`, ascending in tokens; before the first one, the present batch
    /// size. Stairs already passed act at once.
    pub fn along(&self, stairs: &[Stair]) -> Way<'_> {
        let first = stairs.iter().rposition(|s| s.from_tokens <= self.tokens);
        let mut legs = Vec::with_capacity(stairs.len() + 1);
        legs.push(Leg {
            from_tokens: self.tokens,
            batch_size: self.batch_size,
            noise: self.law.noise(self.batch_size),
            rate: self.batch_size.powf(self.law.q),
            from_steps: 0.0,
            from_progress: self.progress,
        });
        let mut smallest = self.smallest;
        for stair in &stairs[first.unwrap_or(0)..] {
            let last = legs[legs.len() - 1];
            let from_tokens = stair.from_tokens.max(self.tokens);
            if stair.batch_size == last.batch_size {
                continue;
            }
            smallest = smallest.min(stair.batch_size);
            let steps = (from_tokens - last.from_tokens) / last.batch_size;
            legs.push(Leg {
                from_tokens,
                batch_size: stair.batch_size,
                noise: self.law.noise(stair.batch_size),
                rate: stair.batch_size.powf(self.law.q),
                from_steps: last.from_steps + steps,
                from_progress: last.from_progress + steps * last.rate,
            });
        }
        // The kernel gives all noise older than the run to its first stretch. A plan that begins
        // before the run has outlived its memory could feed on that: it then gets the noisiest one.
        let older = if self.guarded && self.steps < self.memory.tau_steps {
            self.law.noise(smallest) - self.law.noise(self.first_batch_size)
        } else {
            0.0
        };
        Way { course: self, legs, older }
    }

    /// The same course with the present moment left as it is and the losses moved by `nats`.
    pub fn shifted(mut self, nats: f64) -> Course {
        self.law.l_inf += nats;
        self
    }

    /// The kernel as it stands: for an end of what may be, on which no plan is made.
    pub fn unguarded(self) -> Course {
        Course { guarded: false, ..self }
    }

    /// The same course, drifting from the law by `nats` for each ln of tokens beyond `from`.
    pub fn drifting(self, nats: f64, from: f64) -> Course {
        Course { drift: (nats, from), ..self }
    }
}

#[derive(Debug, Clone, Copy)]
struct Leg {
    from_tokens: f64,
    batch_size: f64,
    noise: f64,
    /// B^q.
    rate: f64,
    /// Steps from now.
    from_steps: f64,
    from_progress: f64,
}

/// A future of a run.
#[derive(Debug, Clone)]
pub struct Way<'a> {
    course: &'a Course,
    legs: Vec<Leg>,
    older: f64,
}

impl Way<'_> {
    /// Signal and noise parts after `x` more steps, within leg `j`.
    fn parts(&self, j: usize, x: f64) -> (f64, f64) {
        let c = self.course;
        let leg = &self.legs[j];
        let progress = leg.from_progress + leg.rate * (x - leg.from_steps);
        let mut noise = leg.noise;
        for (age, drop) in &c.edges {
            noise += drop * c.memory.remembered(x + age);
        }
        for pair in self.legs[..=j].windows(2) {
            noise += (pair[0].noise - pair[1].noise) * c.memory.remembered(x - pair[1].from_steps);
        }
        if self.older != 0.0 {
            noise += self.older * c.memory.remembered(x + c.steps);
        }
        (c.law.signal(progress), noise)
    }

    fn loss_in(&self, j: usize, x: f64) -> f64 {
        let (signal, noise) = self.parts(j, x);
        self.course.law.l_inf + signal + noise + self.drifted(j, x)
    }

    fn drifted(&self, j: usize, x: f64) -> f64 {
        let (by, from) = self.course.drift;
        if by == 0.0 {
            return 0.0;
        }
        let leg = &self.legs[j];
        let tokens = leg.from_tokens + (x - leg.from_steps) * leg.batch_size;
        by * (tokens / from).ln().max(0.0)
    }

    /// Loss after a decay, nats: the parts of [`Way::decayed`] on the floor, and the drift.
    pub fn loss_after_decay(&self, from: f64, to: f64) -> f64 {
        let (signal, noise) = self.decayed(from, to);
        let (by, since) = self.course.drift;
        let drift = if by == 0.0 { 0.0 } else { by * (to / since).ln().max(0.0) };
        self.course.law.l_inf + signal + noise + drift
    }

    /// The leg that acts at `tokens`, and the steps from now until then.
    fn locate(&self, tokens: f64) -> (usize, f64) {
        let tokens = tokens.max(self.course.tokens);
        let j = self.legs.iter().rposition(|l| l.from_tokens <= tokens).unwrap_or(0);
        let leg = &self.legs[j];
        (j, leg.from_steps + (tokens - leg.from_tokens) / leg.batch_size)
    }

    /// Stable-phase loss at a cumulative token count, nats.
    pub fn loss(&self, tokens: f64) -> f64 {
        let (j, x) = self.locate(tokens);
        self.loss_in(j, x)
    }

    /// Signal and noise parts of the loss after a linear decay of the learning rate to zero between
    /// two cumulative token counts, at the batch size of its beginning. In intrinsic time (steps
    /// weighted by the learning rate, and the noise too) the law and its memory keep their form.
    pub fn decayed(&self, from: f64, to: f64) -> (f64, f64) {
        let c = self.course;
        let from = from.max(c.tokens);
        let (j, x) = self.locate(from);
        let leg = &self.legs[j];
        let steps = 0.5 * (to - from).max(0.0) / leg.batch_size;
        let progress = leg.from_progress + leg.rate * (x + steps - leg.from_steps);
        // By parts, as ever: what the pieces before a piece were noisier, by its age.
        let mut noise = 0.0;
        let mut level = leg.noise;
        for i in 0..DECAY_PIECES {
            let share = i as f64 / DECAY_PIECES as f64;
            let now = leg.noise * (1.0 - share - 0.5 / DECAY_PIECES as f64);
            noise += (level - now) * c.memory.remembered(steps * (1.0 - share).powi(2));
            level = now;
        }
        noise += level;
        for (age, drop) in &c.edges {
            noise += drop * c.memory.remembered(x + age + steps);
        }
        for pair in self.legs[..=j].windows(2) {
            let age = x - pair[1].from_steps + steps;
            noise += (pair[0].noise - pair[1].noise) * c.memory.remembered(age);
        }
        if self.older != 0.0 {
            noise += self.older * c.memory.remembered(x + c.steps + steps);
        }
        (c.law.signal(progress), noise)
    }

    /// Cumulative optimizer steps at a cumulative token count.
    pub fn steps(&self, tokens: f64) -> f64 {
        self.course.steps + self.locate(tokens).1
    }

    /// What it follows.
    pub fn stairs(&self) -> Vec<Stair> {
        let stair = |l: &Leg| Stair { from_tokens: l.from_tokens, batch_size: l.batch_size };
        self.legs.iter().map(stair).collect()
    }

    /// Batch size at a cumulative token count.
    pub fn batch_size(&self, tokens: f64) -> f64 {
        self.legs[self.locate(tokens).0].batch_size
    }

    /// Seconds from now until `tokens`, with `rate(batch size)` tokens a second.
    pub fn seconds(&self, tokens: f64, rate: impl Fn(f64) -> f64) -> f64 {
        let mut seconds = 0.0;
        for (j, leg) in self.legs.iter().enumerate() {
            let end = self.legs.get(j + 1).map_or(tokens, |n| n.from_tokens.min(tokens));
            if end > leg.from_tokens {
                seconds += (end - leg.from_tokens) / rate(leg.batch_size);
            }
        }
        seconds
    }

    /// Cumulative tokens at which the loss first is at or below `target`; `None` where it never is
    /// within 10,000 times the tokens so far.
    pub fn reach(&self, target: f64) -> Option<f64> {
        if !target.is_finite() {
            return None;
        }
        for (j, leg) in self.legs.iter().enumerate() {
            if self.loss_in(j, leg.from_steps) <= target {
                return Some(leg.from_tokens);
            }
            let x = match self.legs.get(j + 1) {
                Some(next) => self.crossing(j, leg.from_steps, next.from_steps, target),
                None => self.last_crossing(j, target),
            };
            if let Some(x) = x {
                return Some(leg.from_tokens + (x - leg.from_steps) * leg.batch_size);
            }
        }
        None
    }

    /// The first crossing within a leg. After a rise of the noise the loss may dip first, so a few
    /// points between are looked at.
    fn crossing(&self, j: usize, from: f64, to: f64, target: f64) -> Option<f64> {
        let rises = j > 0 && self.legs[j].noise > self.legs[j - 1].noise;
        let pieces = if rises { 8 } else { 1 };
        let mut lo = from;
        for k in 1..=pieces {
            let hi = from + (to - from) * f64::from(k) / f64::from(pieces);
            if self.loss_in(j, hi) <= target {
                return Some(self.root(j, lo, hi, target));
            }
            lo = hi;
        }
        None
    }

    fn last_crossing(&self, j: usize, target: f64) -> Option<f64> {
        let c = self.course;
        let leg = &self.legs[j];
        if c.law.l_inf + leg.noise >= target && c.drift.0 >= 0.0 {
            // The floor can lie above the target and the loss still dip below it on the way up.
            let rises = j > 0 && leg.noise > self.legs[j - 1].noise;
            return rises
                .then(|| self.crossing(j, leg.from_steps, leg.from_steps + c.steps, target))?;
        }
        let limit = HORIZON * c.tokens / leg.batch_size;
        let mut lo = leg.from_steps;
        let mut width = 0.1 * c.steps;
        while lo - leg.from_steps < limit {
            let hi = lo + width;
            if self.loss_in(j, hi) <= target {
                return Some(self.root(j, lo, hi, target));
            }
            lo = hi;
            width *= 2.0;
        }
        None
    }

    /// Bracketed root: false position with the Illinois weights, every third step a bisection.
    fn root(&self, j: usize, mut lo: f64, mut hi: f64, target: f64) -> f64 {
        let mut f_lo = self.loss_in(j, lo) - target;
        let mut f_hi = self.loss_in(j, hi) - target;
        let tolerance = 1e-9 * (self.course.steps + hi);
        for i in 0..80 {
            if hi - lo <= tolerance {
                break;
            }
            let mid = if i % 3 == 2 || f_lo <= f_hi {
                0.5 * (lo + hi)
            } else {
                (lo + (hi - lo) * f_lo / (f_lo - f_hi)).clamp(lo, hi)
            };
            let f = self.loss_in(j, mid) - target;
            if f > 0.0 {
                lo = mid;
                f_lo = f;
                f_hi *= 0.5;
            } else {
                hi = mid;
                f_hi = f;
                f_lo *= 0.5;
            }
        }
        hi
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY};
    use proptest::prelude::*;

    fn replayed(course: &[Stretch], tokens: f64, stairs: &[Stair], until: f64) -> f64 {
        let mut all = course.to_vec();
        let mut at = tokens;
        let mut batch = course[course.len() - 1].batch_size;
        for s in stairs.iter().chain([&Stair { from_tokens: until, batch_size: 0.0 }]) {
            let end = s.from_tokens.min(until);
            if end > at {
                all.push(Stretch { batch_size: batch, steps: (end - at) / batch });
                at = end;
            }
            batch = s.batch_size;
        }
        LAW.loss_along(&all, &MEMORY)
    }

    /// Where nothing is forgotten a smaller batch keeps the floor of the larger one.
    #[test]
    fn nothing_is_forgotten_in_either_direction() {
        let never = Memory { tau_steps: 1e18, ..MEMORY };
        let past = [Stretch { batch_size: 4096.0, steps: 5000.0 }];
        let tokens = 4096.0 * 5000.0;
        let lowered = [Stair { from_tokens: tokens, batch_size: 256.0 }];
        let course = Course::new(LAW, never, &past, tokens).unwrap();
        let floor = |c: &Course| {
            let way = c.along(&lowered);
            let (j, x) = way.locate(2.0 * tokens);
            way.parts(j, x).1
        };
        // A plan is not made on that: it is charged with its own noise.
        assert!((floor(&course) / LAW.noise(256.0) - 1.0).abs() < 1e-9);
        assert!((floor(&course.unguarded()) / LAW.noise(4096.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn summing_by_parts_is_the_kernel() {
        let past = [
            Stretch { batch_size: 128.0, steps: 9000.0 },
            Stretch { batch_size: 256.0, steps: 3000.0 },
        ];
        let tokens = 128.0 * 9000.0 + 256.0 * 3000.0;
        let stairs = [
            Stair { from_tokens: 3.0e6, batch_size: 512.0 },
            Stair { from_tokens: 5.0e6, batch_size: 384.0 },
            Stair { from_tokens: 6.0e6, batch_size: 1024.0 },
        ];
        let course = Course::new(LAW, MEMORY, &past, tokens).unwrap();
        let way = course.along(&stairs);
        for until in [2.0e6, 3.0e6, 4.0e6, 5.5e6, 9.0e6, 40.0e6] {
            let want = replayed(&past, tokens, &stairs, until);
            assert!((way.loss(until) - want).abs() < 1e-12, "{until}");
        }
    }

    #[test]
    fn a_decay_anneals_what_the_memory_forgets() {
        let past = [Stretch { batch_size: 128.0, steps: 20_000.0 }];
        let at = |memory: Memory| {
            let course = Course::new(LAW, memory, &past, 2.56e6).unwrap();
            course.along(&[]).decayed(4e6, 5e6)
        };
        let (signal, fast) = at(Memory::INSTANT);
        let (_, slow) = at(Memory { tau_steps: 1e12, ..MEMORY });
        let (_, usual) = at(MEMORY);
        assert!(fast < 0.05 * LAW.noise(128.0) && fast >= 0.0, "{fast}");
        assert!((slow / LAW.noise(128.0) - 1.0).abs() < 1e-3);
        // As in decayed twins of this model: about half of it goes.
        assert!((0.3..0.8).contains(&(usual / slow)), "{}", usual / slow);
        // Half of the decay's steps count.
        let steps: f64 = 4e6 / 128.0 + 0.5 * 1e6 / 128.0;
        assert!((signal - LAW.signal(steps * 128f64.powf(LAW.q))).abs() < 1e-12);
        let course = Course::new(LAW, MEMORY, &past, 2.56e6).unwrap();
        let way = course.along(&[]);
        let (s, n) = way.decayed(5e6, 5e6);
        assert!((s + n - (way.loss(5e6) - LAW.l_inf)).abs() < 1e-12, "no decay changes nothing");
        let drifts = course.clone().drifting(0.01, 4e6);
        let gone = drifts.along(&[]).loss_after_decay(5e6, 5e6) - way.loss(5e6);
        assert!((gone - 0.01 * 1.25f64.ln()).abs() < 1e-12, "{gone}");
    }

    #[test]
    fn a_young_run_does_not_lend_its_first_batch_size_to_the_past() {
        let past = [Stretch { batch_size: 4096.0, steps: 100.0 }];
        let course = Course::new(LAW, MEMORY, &past, 409_600.0).unwrap();
        let stairs = [Stair { from_tokens: 500_000.0, batch_size: 128.0 }];
        let kernel = replayed(&past, 409_600.0, &stairs, 4e6);
        assert!(course.along(&stairs).loss(4e6) > kernel + 0.01);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_reached_has_the_target_loss(
            b0 in 64.0..2000f64, steps in 2000.0..50_000f64,
            gaps in proptest::collection::vec((1e4..1e7f64, 0.5..2.0f64), 0..5),
            share in 0.05..0.95f64, instant in any::<bool>(),
        ) {
            let memory = if instant { Memory::INSTANT } else { MEMORY };
            let past = [Stretch { batch_size: b0, steps }];
            let course = Course::new(LAW, memory, &past, b0 * steps).unwrap();
            let (mut at, mut b) = (b0 * steps, b0);
            let stairs: Vec<Stair> = gaps.iter().map(|(gap, factor)| {
                at += gap;
                b *= factor;
                Stair { from_tokens: at, batch_size: b }
            }).collect();
            let way = course.along(&stairs);
            let now = way.loss(course.tokens());
            let target = LAW.l_inf + share * (now - LAW.l_inf);
            if let Some(t) = way.reach(target) {
                prop_assert!(t >= course.tokens());
                prop_assert!(way.loss(t * (1.0 + 1e-8) + 1.0) <= target + 1e-6);
                if !instant && t > course.tokens() * 1.001 {
                    prop_assert!((way.loss(t) - target).abs() < 1e-6);
                }
            }
        }
    }
}
