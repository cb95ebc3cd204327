//! Problems drawn at random: a world, a run in it, a target, and the sweep beside it.

use super::world::World;
use boptop::curve::{Law, Memory, MemorySource};
use boptop::demo::{MeanDynamics, Problem as Table};
use boptop::metrics::Record;
use boptop::run::{Assumptions, Recorder, RunData};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

/// Noise of a log line, nats.
const NOISE: f64 = 0.005;
/// Lines of a sibling, and of the live run up to the tokens of the best single batch.
const LINES: f64 = 150.0;
const LIVE_LINES: f64 = 300.0;
/// Share of the tokens of the best single batch that each sibling trains.
const QUARTER: f64 = 0.25;
/// ... and that the live run has done when it is first asked about.
const STARTED: f64 = 0.1;
/// Below it SGD on the demo's problem is near its bound of stability, at the sweep's learning rates.
const STABLE: f64 = 1500.0;
/// Where a run counts as never arriving, in tokens of the best single batch.
pub const NEVER: f64 = 30.0;

/// Where the run starts or what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Class {
    /// Own batch size as a share of B_opt at the target.
    Start(f64, f64),
    /// ... as a multiple of B_min at the target.
    OverBMin(f64, f64),
    /// The target lies above the present loss.
    Passed,
}

/// What the sweep that the law comes from was of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// Siblings of the run.
    Siblings,
    /// The same, none of which ever switched.
    NoSwitch,
    /// A saved law whose noise is off by three, up or down.
    WrongNoise,
    /// A saved law of twice or half the learning rate.
    OtherRate,
    /// A saved law of the run's own learning rate.
    SameRate,
}

#[derive(Debug, Clone)]
pub struct Problem {
    /// The live run at the moment when it is first asked about.
    pub world: World,
    pub fresh: World,
    pub own: f64,
    pub target: f64,
    /// Tokens of the best single batch from the first step on.
    pub single: f64,
    pub siblings: Vec<RunData>,
    pub largest: f64,
    /// Tokens that the sweep cost.
    pub sweep: f64,
    pub recorder: Recorder,
    pub logger: Logger,
}

/// Writes the log of a run into a recorder.
#[derive(Debug, Clone)]
pub struct Logger {
    rng: Pcg64,
    pub every: f64,
}

impl Logger {
    /// Advances to `until` cumulative tokens, a line each `every`. A line that coincides with a
    /// change of the batch size belongs to the former.
    pub fn advance(&mut self, run: &mut World, into: &mut Recorder, batch: f64, until: f64) {
        while run.tokens() < until - 1e-6 * until {
            let next = ((run.tokens() / self.every + 1e-6).floor() + 1.0) * self.every;
            run.advance(batch, next.min(until) - run.tokens());
            let z: f64 = StandardNormal.sample(&mut self.rng);
            into.push(
                0,
                &Record {
                    step: Some(run.steps()),
                    tokens: Some(run.tokens()),
                    batch_tokens: Some(batch),
                    loss: Some(run.loss() + NOISE * z),
                    lr: Some(1e-3),
                    time: Some(1.7e9 + run.tokens() / 1e4),
                    ..Record::default()
                },
            );
        }
    }
}

/// Draws problems of one simulator.
pub struct Draw {
    pub rng: Pcg64,
    /// The demo's problem, where that is the simulator.
    mean: Option<MeanDynamics>,
}

impl Draw {
    pub fn law() -> Draw {
        Draw { rng: Pcg64::seed_from_u64(11), mean: None }
    }

    pub fn mean() -> Draw {
        let mean = Some(MeanDynamics::new(&Table::new(7)));
        Draw { rng: Pcg64::seed_from_u64(11), mean }
    }

    pub fn seeded(&self, seed: u64) -> Draw {
        Draw { rng: Pcg64::seed_from_u64(1100 + seed), mean: self.mean.clone() }
    }

    fn within(&mut self, low: f64, high: f64) -> f64 {
        self.rng.random_range(low..high)
    }

    /// A world, a target in it, and the best single batch (size, tokens).
    fn world(&mut self, tau_share: (f64, f64)) -> (World, f64, (f64, f64)) {
        if let Some(run) = &self.mean {
            let world = World::Mean { run: Box::new(run.clone()), lr_scale: 1.0 };
            let target = self.within(1.465, 1.58);
            let sizes: Vec<f64> = (0..36).map(|i| 2500.0 * 1.08f64.powi(i)).collect();
            let best = world.best_single(&sizes, target, 3e8);
            return (world, target, best);
        }
        let law = Law {
            l_inf: self.within(1.5, 2.2),
            a: self.within(80.0, 250.0),
            alpha: self.within(0.6, 0.85),
            c: self.within(1.5, 3.0),
            gamma: self.within(0.35, 0.55),
            q: self.within(0.0, 0.2),
        };
        let target = law.l_inf + self.within(0.12, 0.25);
        let b_opt = law.b_opt(target).unwrap_or(f64::NAN);
        let single = law.tokens_to(target, b_opt).unwrap_or(f64::NAN);
        let (low, high) = tau_share;
        let share = low * (high / low).powf(self.within(0.0, 1.0));
        let memory = Memory {
            tau_steps: share * single / b_opt,
            p: self.within(0.3, 1.0),
            source: MemorySource::Measured,
        };
        (World::law(law, memory), target, (b_opt, single))
    }

    /// B_min at a target: the law's, or where a run that goes on for ever still arrives.
    fn b_min(world: &World, target: f64, b_opt: f64) -> f64 {
        if let World::Law { law, .. } = world {
            return law.b_min(target).unwrap_or(f64::NAN);
        }
        let (mut low, mut high) = (b_opt / 16.0, b_opt);
        for _ in 0..12 {
            let middle = (low * high).sqrt();
            if world.reach(middle, target, 5e9).is_finite() { high = middle } else { low = middle }
        }
        high
    }

    /// One problem.
    pub fn problem(&mut self, class: Class, source: Source, tau_share: (f64, f64)) -> Problem {
        let (fresh, target, (b_opt, single)) = self.world(tau_share);
        let own = match class {
            Class::Start(low, high) => b_opt * self.within(low, high),
            Class::OverBMin(low, high) => {
                Draw::b_min(&fresh, target, b_opt) * self.within(low, high)
            }
            Class::Passed => b_opt * self.within(0.3, 1.4),
        };
        let own = own.round().max(2.0);
        let mut logger = Logger {
            rng: Pcg64::seed_from_u64(self.rng.random()),
            every: (single / LIVE_LINES).max(own),
        };
        let (mut world, mut recorder) =
            (fresh.clone(), Recorder::new("live", Assumptions::default()));
        logger.advance(&mut world, &mut recorder, own, STARTED * single);
        let target = match class {
            Class::Passed => world.loss() + 0.3 * (world.loss() - world.l_inf()),
            _ => target,
        };
        let sweep_world = self.sweep_world(&fresh, source);
        let centre = (b_opt / own).log2().round() as i32;
        // The run's own size is covered by itself.
        let mut rungs: Vec<i32> = (centre - 4..=centre + 4).filter(|k| *k != 0).collect();
        let least = if matches!(fresh, World::Mean { .. }) { STABLE } else { 1.0 };
        rungs.retain(|k| own * 2f64.powi(*k) >= least);
        rungs.sort_by_key(|k| ((k - centre).abs(), *k));
        let sizes: Vec<f64> =
            rungs[..5].iter().map(|k| (own * 2f64.powi(*k)).round().max(1.0)).collect();
        let sibling = |parts: &[(f64, f64)], logger: &mut Logger| {
            let id = parts.iter().map(|p| p.0.to_string()).collect::<Vec<_>>().join("-");
            let mut recorder = Recorder::new(&format!("b{id}"), Assumptions::default());
            let (mut run, mut until) = (sweep_world.clone(), 0.0);
            for (batch, more) in parts {
                until += more;
                logger.advance(&mut run, &mut recorder, *batch, until);
            }
            recorder.data()
        };
        let tokens = QUARTER * single;
        let every = logger.every;
        let largest = sizes.iter().copied().fold(0.0, f64::max);
        logger.every = (tokens / LINES).max(largest);
        let mut siblings: Vec<RunData> =
            sizes.iter().map(|b| sibling(&[(*b, tokens)], &mut logger)).collect();
        if source != Source::NoSwitch {
            let switched = [(own, 0.3 * tokens), ((4.0 * own).round(), 0.7 * tokens)];
            siblings.push(sibling(&switched, &mut logger));
        }
        logger.every = every;
        Problem {
            world,
            fresh,
            own,
            target,
            single,
            sweep: tokens * siblings.len() as f64,
            siblings,
            largest,
            recorder,
            logger,
        }
    }

    fn sweep_world(&mut self, fresh: &World, source: Source) -> World {
        let mut other = fresh.clone();
        let up = self.rng.random_bool(0.5);
        match (&mut other, source) {
            (World::Law { law, .. }, Source::WrongNoise) => {
                law.c *= if up { 3.0 } else { 1.0 / 3.0 }
            }
            // Progress goes with the learning rate, and so does the noise.
            (World::Law { law, .. }, Source::OtherRate) => {
                let rate: f64 = if up { 2.0 } else { 0.5 };
                law.a *= rate.powf(-law.alpha);
                law.c *= rate;
            }
            (World::Mean { lr_scale, .. }, Source::OtherRate | Source::WrongNoise) => {
                *lr_scale = if up { 1.5 } else { 0.5 };
            }
            _ => {}
        }
        other
    }
}
