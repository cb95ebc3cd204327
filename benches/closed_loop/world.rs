//! The two simulators, and the best that could have been done in them.

use boptop::advice::Course;
use boptop::curve::{Law, Memory, Stretch};
use boptop::demo::{L_INF, MeanDynamics};

/// Steps that a decay is cut into.
const PIECES: usize = 40;
/// Tokens between two changes, as a share of those so far: what the planner keeps too.
const DWELL: f64 = 0.02;

/// A run whose expected loss is known exactly.
#[derive(Debug, Clone)]
pub enum World {
    /// The law with memory.
    Law { law: Law, memory: Memory, past: Vec<Stretch>, tokens: f64 },
    /// SGD on the demo's table of means, at a share of its learning rate.
    Mean { run: Box<MeanDynamics>, lr_scale: f64 },
}

impl World {
    pub fn law(law: Law, memory: Memory) -> World {
        World::Law { law, memory, past: Vec::new(), tokens: 0.0 }
    }

    pub fn l_inf(&self) -> f64 {
        match self {
            World::Law { law, .. } => law.l_inf,
            World::Mean { .. } => L_INF,
        }
    }

    pub fn tokens(&self) -> f64 {
        match self {
            World::Law { tokens, .. } => *tokens,
            World::Mean { run, .. } => run.tokens(),
        }
    }

    pub fn steps(&self) -> f64 {
        match self {
            World::Law { past, .. } => past.iter().map(|s| s.steps).sum(),
            World::Mean { run, .. } => run.steps(),
        }
    }

    pub fn loss(&self) -> f64 {
        match self {
            World::Law { law, memory, past, .. } => law.loss_along(past, memory),
            World::Mean { run, .. } => run.loss(),
        }
    }

    /// `more` tokens at a batch size.
    pub fn advance(&mut self, batch_size: f64, more: f64) {
        let steps = more / batch_size;
        match self {
            World::Law { past, tokens, .. } => {
                *tokens += more;
                match past.last_mut() {
                    Some(last) if last.batch_size == batch_size => last.steps += steps,
                    _ => past.push(Stretch { batch_size, steps }),
                }
            }
            World::Mean { run, lr_scale } => run.advance(batch_size, *lr_scale, steps),
        }
    }

    pub fn after(&self, batch_size: f64, more: f64) -> World {
        let mut later = self.clone();
        later.advance(batch_size, more);
        later
    }

    /// Cumulative tokens at which `target` is reached if the run goes on at `batch_size`; infinite
    /// beyond `most`.
    pub fn reach(&self, batch_size: f64, target: f64, most: f64) -> f64 {
        let now = self.tokens();
        if now > 0.0 && self.loss() <= target {
            return now;
        }
        let mut width = (0.01 * now).max(4.0 * batch_size);
        let mut low = 0.0;
        let at = |more: f64| self.after(batch_size, more).loss() > target;
        while at(low + width) {
            low += width;
            width *= 1.5;
            if now + low > most {
                return f64::INFINITY;
            }
        }
        let mut high = low + width;
        while high - low > 1e-5 * (now + high) {
            let middle = 0.5 * (low + high);
            if at(middle) { low = middle } else { high = middle }
        }
        now + high
    }

    /// Loss after a decay of the learning rate to zero over `more` tokens. The law has it as
    /// intrinsic time: steps and noise weighted by the learning rate.
    pub fn decayed(&self, batch_size: f64, more: f64) -> f64 {
        let scale = |i: usize| 1.0 - (i as f64 + 0.5) / PIECES as f64;
        let piece = more / PIECES as f64;
        match self {
            World::Mean { .. } => {
                let mut run = self.clone();
                for i in 0..PIECES {
                    if let World::Mean { run, lr_scale } = &mut run {
                        run.advance(batch_size, *lr_scale * scale(i), piece / batch_size);
                    }
                }
                run.loss()
            }
            World::Law { law, memory, past, .. } => {
                // (steps, progress, noise) of each stretch in intrinsic time.
                let rate = |b: f64| b.powf(law.q);
                let mut all: Vec<[f64; 3]> = past
                    .iter()
                    .map(|s| [s.steps, s.steps * rate(s.batch_size), law.noise(s.batch_size)])
                    .collect();
                all.extend((0..PIECES).map(|i| {
                    let steps = piece / batch_size * scale(i);
                    [steps, steps * rate(batch_size), law.noise(batch_size) * scale(i)]
                }));
                let (mut age, mut noise) = (0.0, 0.0);
                for (i, [steps, _, n]) in all.iter().enumerate().rev() {
                    let young = memory.remembered(age);
                    age += steps;
                    let old = if i == 0 { 0.0 } else { memory.remembered(age) };
                    noise += n * (young - old);
                }
                law.l_inf + law.signal(all.iter().map(|s| s[1]).sum()) + noise
            }
        }
    }

    /// Tokens to `target` under a staircase of (from tokens, batch size) after now.
    pub fn along(&self, own: f64, stairs: &[(f64, f64)], target: f64, most: f64) -> f64 {
        let (mut run, mut batch) = (self.clone(), own);
        for &(from, next) in stairs {
            let until = from.max(run.tokens());
            let reached = run.reach(batch, target, until);
            if reached <= until {
                return reached;
            }
            run.advance(batch, until - run.tokens());
            batch = next;
        }
        run.reach(batch, target, most)
    }

    /// The best single batch size from the first step on: (batch size, tokens).
    pub fn best_single(&self, sizes: &[f64], target: f64, most: f64) -> (f64, f64) {
        let one = |b: &f64| (*b, self.reach(*b, target, most));
        sizes.iter().map(one).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((f64::NAN, f64::NAN))
    }

    /// The best staircase from now on, raises by a factor of two up to `ceiling`: exhaustive on a
    /// grid of switch points, then each point moved while that helps. Tokens to `target`.
    pub fn best_stairs(&self, own: f64, ceiling: f64, target: f64, bound: f64) -> f64 {
        let now = self.tokens();
        let points = if matches!(self, World::Law { .. }) { 12 } else { 9 };
        let end = bound.min(100.0 * now).max(1.2 * now);
        let grid: Vec<f64> =
            (0..points).map(|i| now * 1.005 * (end / now).powf(i as f64 / points as f64)).collect();
        let mut best =
            Stairs { tokens: self.reach(own, target, bound * 1.001), stairs: Vec::new() };
        for first in [2.0, 2f64.sqrt()] {
            let mut sizes = Vec::new();
            let mut b = own * first;
            while b <= ceiling * 1.0001 && sizes.len() < 5 {
                sizes.push(b);
                b *= 2.0;
            }
            let search = Search { grid: &grid, sizes: &sizes, target, most: bound * 1.001 };
            search.deeper(self, own, (0, 0), &mut Vec::new(), &mut best);
        }
        self.refine(own, target, bound * 1.001, best)
    }

    fn refine(&self, own: f64, target: f64, most: f64, mut best: Stairs) -> f64 {
        let now = self.tokens();
        for width in [0.1, 0.04, 0.015, 0.005] {
            for _ in 0..3 {
                let before = best.tokens;
                for i in 0..best.stairs.len() {
                    for factor in [1.0 - width, 1.0 + width] {
                        let mut stairs = best.stairs.clone();
                        stairs[i].0 = (stairs[i].0 * factor).max(1.005 * now);
                        let apart = |w: &[(f64, f64)]| w[1].0 >= w[0].0 * (1.0 + DWELL);
                        if !stairs.windows(2).all(apart) {
                            continue;
                        }
                        let tokens = self.along(own, &stairs, target, most);
                        if tokens < best.tokens {
                            best = Stairs { tokens, stairs };
                        }
                    }
                }
                if best.tokens >= before {
                    break;
                }
            }
        }
        best.tokens
    }
}

struct Stairs {
    tokens: f64,
    stairs: Vec<(f64, f64)>,
}

struct Search<'a> {
    grid: &'a [f64],
    sizes: &'a [f64],
    target: f64,
    most: f64,
}

impl Search<'_> {
    fn deeper(
        &self,
        run: &World,
        own: f64,
        (rung, from): (usize, usize),
        stairs: &mut Vec<(f64, f64)>,
        best: &mut Stairs,
    ) {
        let reached = run.reach(own, self.target, self.most.min(best.tokens));
        if reached < best.tokens {
            *best = Stairs { tokens: reached, stairs: stairs.clone() };
        }
        let Some(next) = self.sizes.get(rung) else { return };
        for (i, at) in self.grid.iter().enumerate().skip(from) {
            let at = at.max(run.tokens() * if stairs.is_empty() { 1.0 } else { 1.0 + DWELL });
            if at >= reached.min(best.tokens) {
                break;
            }
            let later = run.after(own, at - run.tokens());
            stairs.push((at, *next));
            self.deeper(&later, *next, (rung + 1, i), stairs, best);
            stairs.pop();
        }
    }
}

/// The law's own course agrees with this simulator where nothing is lowered.
pub fn same_as_course(law: Law, memory: Memory) -> bool {
    let mut run = World::law(law, memory);
    run.advance(100.0, 1e6);
    run.advance(200.0, 1e6);
    let World::Law { past, .. } = &run else { return false };
    let by_course = Course::new(law, memory, past, 2e6).map(|c| c.along(&[]).loss(3e6));
    by_course.is_some_and(|l| (l - run.after(200.0, 1e6).loss()).abs() < 1e-9)
}
