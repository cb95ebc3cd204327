//! From a truth to what a user has: log lines of runs at several batch sizes.

use super::truth::{Base, Optimum, Truth};
use boptop::curve::{Bin, ConstantSeries, Group, LossKind, Member};
use boptop::metrics::Record;
use boptop::run::{Assumptions, Recorder, RunData};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

/// Log lines of a run.
const LINES: usize = 600;
/// ln tokens over which the slow part of the noise forgets itself.
const SLOW: f64 = 0.2;
/// A learning rate that its trainer prints with six decimals.
const LR: f64 = 3e-4;

/// Where the optimum lies among the batch sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Inside,
    Below,
    Above,
}

/// A sweep to be run.
#[derive(Debug)]
pub struct Sweep {
    pub truth: Truth,
    /// The level that is asked for, and three that lie above it.
    pub losses: Vec<f64>,
    pub sizes: Vec<f64>,
    /// Of every run.
    pub tokens: f64,
    /// Anywhere.
    pub best: Optimum,
    /// Within the tested sizes.
    pub tested: Optimum,
}

impl Sweep {
    pub fn loss(&self) -> f64 {
        self.losses.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Batch sizes a factor of two apart (twelve: 1.6) around the optimum, all with two to four
    /// times the tokens that the best one needs.
    pub fn new(base: Base, loss: f64, count: usize, place: Place, rng: &mut Pcg64) -> Option<Self> {
        let step: f64 = if count > 8 { 1.6 } else { 2.0 };
        let wide = [2f64.powi(6), 2f64.powi(32)];
        let mut truth = Truth { base, warmup: 0.0 };
        let ideal = truth.optimum(loss, wide)?;
        // The rival has no optimum: what it has lies around 2^19.
        let middle = match truth.base {
            Base::Rival(_) => 2f64.powi(19),
            _ => ideal.batch_size,
        };
        let last = count as f64 - 1.0;
        let at = match place {
            Place::Inside => rng.random_range(1.0..last - 1.0),
            Place::Below => -(rng.random_range(1.5f64..4.0).ln() / step.ln()),
            Place::Above => last + rng.random_range(1.3f64..2.5).ln() / step.ln(),
        };
        // SGD on the demo's problem is unstable below 604 tokens.
        let at = match truth.base {
            Base::Means(_) => at.min((middle / 800.0).ln() / step.ln()),
            _ => at,
        };
        let sizes: Vec<f64> =
            (0..count).map(|i| (middle * step.powf(i as f64 - at)).round()).collect();
        let largest = *sizes.last()?;
        let tested = |t: &Truth| t.optimum(loss, [sizes[0], largest]);
        if !matches!(truth.base, Base::Stages(..)) {
            let steps = tested(&truth)?.tokens / largest;
            truth.warmup = (rng.random_range(0.02..0.06) * steps).ceil();
        }
        let best = truth.optimum(loss, wide)?;
        let tested = tested(&truth)?;
        let steps = tested.tokens / tested.batch_size;
        let mut losses: Vec<f64> =
            [0.35, 0.5, 0.7].map(|f| truth.loss(f * steps, tested.batch_size)).to_vec();
        losses.push(loss);
        let mut tokens = rng.random_range(2.0..4.0) * tested.tokens;
        if matches!(truth.base, Base::Stages(..)) {
            // One level, to which every size goes that ever gets there.
            let each = sizes.iter().filter_map(|b| truth.tokens(loss, *b));
            tokens = 1.5 * each.fold(0.0, f64::max);
        }
        // `levels` asks for no loss that fewer than two sizes came down to.
        let gets = |b: &&f64| truth.tokens(loss, **b).is_some_and(|e| e < 0.8 * tokens);
        let asked = sizes.iter().filter(gets).count() >= 2;
        asked.then_some(Sweep { truth, losses, sizes, tokens, best, tested })
    }

    /// What the trainers log.
    pub fn runs(&self, noise: f64, rng: &mut Pcg64) -> Vec<RunData> {
        self.sizes.iter().map(|b| self.run(*b, noise, rng)).collect()
    }

    fn run(&self, batch_size: f64, noise: f64, rng: &mut Pcg64) -> RunData {
        let mut recorder = Recorder::new(&format!("b{batch_size:.0}"), Assumptions::default());
        let total = self.tokens / batch_size;
        let every = (total / LINES as f64).round().max(1.0);
        let lines = (total / every) as usize;
        let mut noise = Noise::new(noise, rng);
        let mut restart = rng.random_bool(0.2).then(|| rng.random_range(lines / 3..lines));
        let mut k = 1;
        while k <= lines {
            let steps = k as f64 * every;
            let lr = LR * (steps / self.truth.warmup.max(1.0)).min(1.0);
            let loss = self.truth.loss(steps, batch_size) + noise.next((k as f64).ln(), rng);
            recorder.push(
                0,
                &Record {
                    step: Some(steps),
                    tokens: Some(steps * batch_size),
                    batch_tokens: Some(batch_size),
                    loss: Some((loss * 1e5).round() / 1e5),
                    lr: Some((lr * 1e6).round() / 1e6),
                    ..Record::default()
                },
            );
            k += 1;
            if restart == Some(k) {
                // From a checkpoint up to 5 % back, with other batches.
                k -= (k as f64 * rng.random_range(0.0..0.05)) as usize;
                restart = None;
            }
        }
        recorder.data()
    }

    /// Three stages are a truth about one level: series that cross it with 1 % in S.
    pub fn group(&self, rng: &mut Pcg64) -> Group {
        let series = |b: &f64| {
            let error: f64 = StandardNormal.sample(rng);
            let shift = (0.01 * error).exp();
            let from = self.tokens / 100.0;
            let bin = |i: i32| {
                let tokens = from * 100f64.powf((f64::from(i) + 0.5) / 60.0);
                let loss = self.truth.loss(tokens / b / shift, *b);
                // Where the truth is never there, a run flattens above.
                let loss = if loss.is_finite() { loss } else { 3.02 + (from / tokens).sqrt() };
                Bin { steps: tokens / b, tokens, loss, se: 0.001 }
            };
            ConstantSeries {
                run: format!("b{b:.0}"),
                batch_size: *b,
                bins: (0..60).map(bin).collect(),
                stable_from_steps: from / b,
                stable_from_tokens: from,
                to_tokens: self.tokens,
                drifts_upward: false,
            }
        };
        let constant: Vec<ConstantSeries> = self.sizes.iter().map(series).collect();
        let member = |s: &ConstantSeries| Member { run: s.run.clone(), used: true, why: None };
        let members = constant.iter().map(member).collect();
        let (id, on) = ("three stages".into(), LossKind::Train);
        let (switched, decayed) = (Vec::new(), Vec::new());
        Group { id, lr: Some(LR), on, members, constant, switched, decayed, other: None }
    }
}

/// What is added to the loss of a line: a slow part and one of its own, each of standard deviation
/// `sd`, and now and then a spike.
struct Noise {
    sd: f64,
    slow: f64,
    spike: f64,
    at: Option<f64>,
}

impl Noise {
    fn new(sd: f64, rng: &mut Pcg64) -> Noise {
        Noise { sd, slow: StandardNormal.sample(rng), spike: 0.0, at: None }
    }

    /// The next line, at ln tokens `x`.
    fn next(&mut self, x: f64, rng: &mut Pcg64) -> f64 {
        let keep = self.at.map_or(0.0, |at| (-(x - at).abs() / SLOW).exp());
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        let (fresh, own) = (normal(), normal());
        self.slow = keep * self.slow + (1.0 - keep * keep).sqrt() * fresh;
        self.at = Some(x);
        self.spike *= 0.5;
        if rng.random_bool(0.003) {
            self.spike += rng.random_range(0.1..2.0);
        }
        self.sd * (self.slow + own) + self.spike
    }
}
