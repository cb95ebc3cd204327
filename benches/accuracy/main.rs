//! How right the estimate is, and how right about its own errors, on sweeps with a known answer.
//!
//! `cargo bench --bench accuracy`: 500 sweeps a cell (`BOPTOP_BENCH_INSTANCES`), of the cells whose
//! name holds `BOPTOP_BENCH_CELLS`; with `BOPTOP_BENCH_VERBOSE` every answer goes to stderr. Lines of
//! runs go through `run` and `curve` as those of a live run do. Deterministic; two threads. Under
//! `cargo test` one sweep a cell.

mod cells;
mod sweep;
mod table;
mod truth;

use boptop::curve::{FitOptions, fit, fit_group};
use boptop::demo::{MeanDynamics, Problem};
use cells::{Cell, Kind};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use sweep::Sweep;
use table::Outcome;

const THREADS: usize = 2;
/// Truths that are drawn until one has a sweep that can be asked.
const TRIES: usize = 100;

fn main() {
    let measuring = std::env::args().any(|a| a == "--bench");
    let asked = std::env::var("BOPTOP_BENCH_INSTANCES").ok().and_then(|n| n.parse().ok());
    let count: usize = asked.unwrap_or(if measuring { 500 } else { 1 });
    let wanted = std::env::var("BOPTOP_BENCH_CELLS").unwrap_or_default();
    let draws = if measuring { 100 } else { 10 };
    let begin = std::time::Instant::now();
    let means = Arc::new(MeanDynamics::new(&Problem::new(1)));
    let cells: Vec<Cell> =
        cells::all().into_iter().filter(|c| c.name().contains(&wanted)).collect();
    println!("{count} sweeps a cell, {draws} draws\n{}", table::HEAD);
    let mut rows = Vec::new();
    for cell in &cells {
        let outcomes = run(cell, count, draws, &means);
        println!("{}", table::row(cell, &outcomes));
        rows.push((*cell, outcomes));
    }
    println!("\n{}", table::bars(&rows));
    println!("{:.0} s", begin.elapsed().as_secs_f64());
}

/// The outcomes of a cell, in order, whichever thread made them.
fn run(cell: &Cell, count: usize, draws: usize, means: &Arc<MeanDynamics>) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    let outcome = instance(cell, i as u64, draws, means);
                    if let Ok(mut done) = done.lock() {
                        done.insert(i, outcome);
                    }
                }
            });
        }
    });
    done.into_inner().map(|d| d.into_values().flatten().collect()).unwrap_or_default()
}

/// One sweep and what was said of it; `None` where the truth has no such sweep.
fn instance(cell: &Cell, seed: u64, draws: usize, means: &Arc<MeanDynamics>) -> Option<Outcome> {
    let mut rng = Pcg64::seed_from_u64(1000 * seed + cell.seed());
    let mut draw = || {
        let (base, loss) = match cell.kind {
            Kind::Joint => truth::joint(&mut rng),
            Kind::Rival => truth::rival(&mut rng),
            Kind::Means => truth::means(&mut rng, means),
            Kind::Stages => truth::stages(&mut rng),
        };
        Sweep::new(base, loss, cell.sizes, cell.place, &mut rng)
    };
    let sweep = (0..TRIES).find_map(|_| draw())?;
    let loss = sweep.loss();
    let at_loss = match cell.kind {
        Kind::Stages => vec![loss],
        _ => sweep.losses.clone(),
    };
    let options = FitOptions { at_loss, draws, seed, ..FitOptions::default() };
    let fitted = if cell.kind == Kind::Stages {
        fit_group(&sweep.group(&mut rng), &options)
    } else {
        fit(&sweep.runs(cell.noise, &mut rng), &options).groups.into_iter().next()?
    };
    let level = fitted.levels.last();
    if std::env::var_os("BOPTOP_BENCH_VERBOSE").is_some() {
        eprintln!("{}", table::told(cell, seed, &sweep, level));
    }
    Some(Outcome::of(&sweep, level))
}
