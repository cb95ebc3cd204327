//! What branches of one run tell of B_opt and of the memory, on runs with a known law.
//!
//! `cargo bench --bench branches`: 500 problems a row (`BOPTOP_BENCH_PROBLEMS`). A parent trains at
//! one batch size; branches of a checkpoint go on at others; bins with noise, and a misfit of each
//! branch as one, go to `curve::fit_group`. The last row branches what `advice::branches` asks for,
//! knowing nothing but the parent. Deterministic; two threads. Under `cargo test` three problems a row.

use boptop::advice::{Belief, Known, branches};
use boptop::curve::{
    Bin, ConstantSeries, FitOptions, Group, Law, LossKind, Member, Memory, MemorySource, Stretch,
    SwitchedSeries, fit_group,
};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const THREADS: usize = 2;
/// Independent error of a bin of the rows with the smaller noise, nats.
const NOISE: f64 = 0.003;

/// A parent at one batch size.
#[derive(Debug, Clone)]
struct Truth {
    law: Law,
    memory: Memory,
    batch_size: f64,
    steps: f64,
}

/// What is branched, and how noisy all of it is.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    /// Factors of the parent's batch size, and the tokens of each as a share of the parent's; `None`:
    /// what the planner asks for.
    set: Option<(&'static [f64], f64)>,
    noise: f64,
}

const AROUND: &[f64] = &[0.25, 0.5, 2.0, 4.0];
const UP: &[f64] = &[2.0, 4.0, 8.0];
const ROWS: [Row; 7] = [
    Row { name: "1/4 to 4 times, 3 % each", set: Some((AROUND, 0.03)), noise: NOISE },
    Row { name: "1/4 to 4 times, 10 % each", set: Some((AROUND, 0.1)), noise: NOISE },
    Row { name: "1/4 to 4 times, 30 % each", set: Some((AROUND, 0.3)), noise: NOISE },
    Row { name: "the same, 10 %, twice the noise", set: Some((AROUND, 0.1)), noise: 2.0 * NOISE },
    Row { name: "2, 4, 8 times, 10 % each", set: Some((UP, 0.1)), noise: NOISE },
    Row { name: "2, 4, 8 times, 30 % each", set: Some((UP, 0.3)), noise: NOISE },
    Row { name: "what the planner asks for", set: None, noise: NOISE },
];

/// What came of a problem.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// Tokens of all branches over those of the parent.
    cost: f64,
    /// ln(B_opt / true), and the ends of its interval: of the law's draws, whatever was tested.
    law: Option<[f64; 3]>,
    /// Error of what is remembered after as many steps as the branch at the parent's size would have.
    memory: f64,
}

fn main() {
    let measuring = std::env::args().any(|a| a == "--bench");
    let asked = std::env::var("BOPTOP_BENCH_PROBLEMS").ok().and_then(|n| n.parse().ok());
    let count: usize = asked.unwrap_or(if measuring { 500 } else { 3 });
    println!("{count} problems a row\n");
    println!(
        "                                   cost   no law   |ln(B_opt/true)|  within  half    90 % interval  |error| of what"
    );
    println!(
        "                                    p50            p50    p90         25 %  width   holds it       is remembered, p90"
    );
    for row in &ROWS {
        print(row, &run(row, count));
    }
}

fn run(row: &Row, count: usize) -> Vec<Told> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    let told = problem(row, i as u64);
                    if let (Some(told), Ok(mut done)) = (told, done.lock()) {
                        done.push((i, told));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|d| d.0);
    done.into_iter().map(|d| d.1).collect()
}

fn print(row: &Row, all: &[Told]) {
    let quantile = |mut v: Vec<f64>, q: f64| {
        v.sort_by(f64::total_cmp);
        v.get(((v.len().max(1) - 1) as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
    };
    let laws: Vec<[f64; 3]> = all.iter().filter_map(|t| t.law).collect();
    let share = |n: usize| n as f64 / laws.len().max(1) as f64;
    let errors: Vec<f64> = laws.iter().map(|l| l[0].abs()).collect();
    let near = errors.iter().filter(|e| **e <= 1.25f64.ln()).count();
    let held = laws.iter().filter(|l| l[1] <= 0.0 && l[2] >= 0.0).count();
    let widths = laws.iter().map(|l| 0.5 * (l[2] - l[1])).collect();
    let memory = all.iter().filter(|t| t.law.is_some()).map(|t| t.memory.abs()).collect();
    println!(
        "{:34} {:5.2}  {:6.3}   {:5.3}  {:5.3}       {:5.3}  {:5.2}   {:5.3}          {:5.3}",
        row.name,
        quantile(all.iter().map(|t| t.cost).collect(), 0.5),
        1.0 - laws.len() as f64 / all.len().max(1) as f64,
        quantile(errors.clone(), 0.5),
        quantile(errors, 0.9),
        share(near),
        quantile(widths, 0.5),
        share(held),
        quantile(memory, 0.9),
    );
}

/// `None` where the planner asks for nothing.
fn problem(row: &Row, number: u64) -> Option<Told> {
    let mut rng = Pcg64::seed_from_u64(number);
    let truth = Truth::random(&mut rng);
    let tokens = truth.steps * truth.batch_size;
    let (from, sizes, each) = match row.set {
        Some((factors, share)) => {
            let sizes = factors.iter().map(|f| f * truth.batch_size).collect();
            (truth.steps, sizes, share * tokens)
        }
        None => {
            let asked = truth.asked()?;
            let sizes: Vec<f64> = asked.batch_sizes.iter().map(|b| *b as f64).collect();
            (asked.from_tokens / truth.batch_size, sizes, asked.tokens_each)
        }
    };
    let group = truth.branched(from, &sizes, each, row.noise, &mut rng);
    let options = FitOptions { draws: 100, at_loss: vec![truth.loss()], ..FitOptions::default() };
    let fit = fit_group(&group, &options);
    let best = truth.law.b_opt(truth.loss())?;
    let ln = |law: &Law| (law.b_opt(truth.loss()).unwrap_or(f64::INFINITY) / best).ln();
    let age = each / truth.batch_size;
    let told = fit.law.as_ref().map(|f| {
        let mut all: Vec<f64> = f.draws.iter().map(ln).collect();
        all.sort_by(f64::total_cmp);
        let at = |q: f64| all[((all.len() - 1) as f64 * q).round() as usize];
        let value = ln(&f.law);
        let ends = [value, at(0.05).min(value), at(0.95).max(value)];
        (ends, f.memory.remembered(age) - truth.memory.remembered(age))
    });
    Some(Told {
        cost: each * sizes.len() as f64 / tokens,
        law: told.map(|t| t.0),
        memory: told.map_or(f64::NAN, |t| t.1),
    })
}

impl Truth {
    /// A memory of a thousandth of the steps to one as long as the run, a batch size of a third to
    /// three times the optimum.
    fn random(rng: &mut Pcg64) -> Truth {
        loop {
            let q = if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.2) };
            let (alpha, gamma): (f64, f64) =
                (rng.random_range(0.3..0.8), rng.random_range(0.3..0.8));
            let d: f64 = rng.random_range(0.3..1.2);
            let steps = 10f64.powf(rng.random_range(4.0..5.3));
            let (batch_size, off) = (1e6f64, rng.random_range(-1.1..1.1f64).exp());
            let slope = alpha * (1.0 - q);
            let share = slope / (slope + gamma) * off.powf(-gamma);
            let tau_steps = steps * 10f64.powf(rng.random_range(-3.0..0.0));
            let p = rng.random_range(-1.2..0.0f64).exp();
            if share > 0.85 {
                continue;
            }
            let progress = steps * batch_size.powf(q);
            let law = Law {
                l_inf: 1.7,
                a: d * (1.0 - share) * progress.powf(alpha),
                alpha,
                c: share * d * batch_size.powf(gamma),
                gamma,
                q,
            };
            let memory = Memory { tau_steps, p, source: MemorySource::Measured };
            return Truth { law, memory, batch_size, steps };
        }
    }

    fn loss(&self) -> f64 {
        self.law.loss(self.steps, self.batch_size)
    }

    /// The set that is asked for by one who knows the parent alone.
    fn asked(&self) -> Option<boptop::advice::Branches> {
        let own = self.batch_size;
        branches(&Known {
            own: own as u64,
            tokens: self.steps * own,
            loss: self.loss(),
            unit: Some(1000),
            min: 1,
            max: None,
            tested: &[],
            beliefs: vec![Belief::guessed(self.loss(), own, own, self.steps)],
            because: String::new(),
        })
    }

    /// The parent, and its branches after `from` steps, `tokens` each.
    fn branched(
        &self,
        from: f64,
        sizes: &[f64],
        tokens: f64,
        noise: f64,
        rng: &mut Pcg64,
    ) -> Group {
        let constant = vec![self.parent(noise, rng)];
        let branch = |b: &f64| self.branch([from, *b, tokens], noise, rng);
        let switched: Vec<SwitchedSeries> = sizes.iter().map(branch).collect();
        let member = |run: &str, used| Member { run: run.into(), used, why: None };
        let mut members = vec![member("parent", true)];
        members.extend(switched.iter().map(|s| member(&s.run, false)));
        Group {
            id: "lr 1e-3".into(),
            lr: Some(1e-3),
            on: LossKind::Train,
            members,
            constant,
            switched,
            decayed: Vec::new(),
            other: None,
        }
    }

    fn parent(&self, noise: f64, rng: &mut Pcg64) -> ConstantSeries {
        let batch_size = self.batch_size;
        let bins = (0..60).map(|i| {
            let steps = self.steps * 0.02f64.powf(1.0 - (f64::from(i) + 0.5) / 60.0);
            let loss = self.law.loss(steps, batch_size) + noise * normal(rng);
            Bin { steps, tokens: steps * batch_size, loss, se: noise }
        });
        ConstantSeries {
            run: "parent".into(),
            batch_size,
            bins: bins.collect(),
            stable_from_steps: 0.02 * self.steps,
            stable_from_tokens: 0.02 * self.steps * batch_size,
            to_tokens: self.steps * batch_size,
            drifts_upward: false,
        }
    }

    fn branch(
        &self,
        [from, batch_size, tokens]: [f64; 3],
        noise: f64,
        rng: &mut Pcg64,
    ) -> SwitchedSeries {
        let before = Stretch { batch_size: self.batch_size, steps: from };
        let whole = Stretch { batch_size, steps: tokens / batch_size };
        let own = 0.5 * noise * normal(rng);
        let bins = (1..=20).map(|i| {
            let steps = whole.steps * 0.02f64.powf(1.0 - f64::from(i) / 20.0);
            let after = Stretch { batch_size, steps };
            let loss = self.law.loss_along(&[before, after], &self.memory);
            Bin {
                steps: from + steps,
                tokens: from * self.batch_size + steps * batch_size,
                loss: loss + own + noise * normal(rng),
                se: noise,
            }
        });
        SwitchedSeries {
            run: format!("to {batch_size}"),
            shared: true,
            bins: bins.collect(),
            stretches: vec![before, whole],
        }
    }
}

fn normal(rng: &mut Pcg64) -> f64 {
    StandardNormal.sample(rng)
}
