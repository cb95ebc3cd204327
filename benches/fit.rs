//! The estimate, part by part, and one three-stage fit beside scipy's.
//!
//! `cargo bench --bench fit`; where `BOPTOP_BENCH_PYTHON` names an interpreter with numpy and scipy,
//! `benches/scipy_three_stage.py` fits the same points with the same starts in the same run. A fit
//! uses two threads, the three-stage fits one. Under `cargo test` every part runs once, on less.

use boptop::curve::{
    self, CurveModel, FitOptions, Fitter, Law, MODELS, ModelKind, Point, Points, fit, group_runs,
    levels, observe,
};
use boptop::metrics::Record;
use boptop::monitor::{Monitor, Settings};
use boptop::refit::{self, Request};
use boptop::run::{Assumptions, Recorder, RunData};
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Batch sizes and seeds of the synthetic sweep: 64 runs.
const SIZES: usize = 16;
const SEEDS: usize = 4;
const ROWS: usize = 1500;

fn main() -> Outcome<()> {
    let measuring = std::env::args().any(|a| a == "--bench");
    let times = if measuring { 5 } else { 1 };
    let sweep = sweep()?;
    let runs: Vec<RunData> = sweep.subjects.iter().map(|s| (*s.data).clone()).collect();
    println!("{:<58} {:>10} {:>10}", "", "median ms", "worst ms");
    real(&sweep, &runs, times);
    synthetic(times.min(3), if measuring { 1 } else { 8 });
    three_stage(&runs, if measuring { 200 } else { 1 })
}

/// Everything in `fixtures/mlp_sweep`, as a headless command reads it.
fn sweep() -> Outcome<Request> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mlp_sweep");
    let mut monitor = Monitor::new(&[folder.display().to_string()], Settings::default())?;
    monitor.read_all();
    // The clock of the records: their runs are over.
    Ok(monitor.request(1.8e9))
}

fn real(request: &Request, runs: &[RunData], times: usize) {
    let options = &request.fit;
    let what = |part: &str| format!("mlp_sweep, {} runs: {part}", runs.len());
    let group = || group_runs(runs, &options.group);
    row(&what("group"), times, group);
    let groups = group();
    row(&what("levels and observations"), times, || {
        let at = |g| levels(g, options.levels).iter().map(|l| observe(g, *l)).collect::<Vec<_>>();
        groups.iter().map(at).collect::<Vec<_>>()
    });
    let still = FitOptions { draws: 0, ..options.clone() };
    row(&what("estimate and scores, no draws"), times, || fit(runs, &still));
    row(&what("12 levels, all models, 200 draws"), times, || fit(runs, options));
    let report = fit(runs, options);
    row(&what("a plan for every run"), times, || {
        request.subjects.iter().map(|s| refit::plan_one(s, &report, request)).collect::<Vec<_>>()
    });
    row(&what("all of it (refit::compute)"), times, || refit::compute(request));
}

fn synthetic(times: usize, part: usize) {
    let (sizes, seeds) = (SIZES / part.min(2), SEEDS / part.min(SEEDS));
    let runs: Vec<Arc<RunData>> = made(sizes, seeds, 0).into_iter().map(Arc::new).collect();
    let options = FitOptions { levels: 32 / part, draws: 200 / part, ..FitOptions::default() };
    let what = |part: &str| format!("{} runs x {} levels: {part}", runs.len(), options.levels);
    row(&what("group"), times, || group_runs(&runs, &options.group));
    let still = FitOptions { draws: 0, ..options.clone() };
    row(&what("estimate and scores, no draws"), times, || fit(&runs, &still));
    row(&what(&format!("all models, {} draws", options.draws)), times, || fit(&runs, &options));
    // One run grew by one per cent; the others are the same ones.
    let mut grown = runs.clone();
    if let (Some(last), Some(new)) = (grown.last_mut(), made(sizes, seeds, ROWS / 100).pop()) {
        *last = Arc::new(new);
    }
    let mut fitted = Fitter::default();
    fitted.fit(&runs, &options);
    let from = || fitted.clone();
    from_state(&what("one grew by 1 %: estimate"), times, from, |fitter| {
        fitter.estimate(&grown, &options)
    });
    let estimated = || {
        let mut fitter = fitted.clone();
        fitter.estimate(&grown, &options);
        fitter
    };
    from_state(&what("and then the intervals"), times, estimated, |fitter| {
        fitter.fit(&grown, &options)
    });
}

/// Runs of the joint law, noise autocorrelated within a run, each size with the same tokens; the
/// last one with `more` rows.
fn made(sizes: usize, seeds: usize, more: usize) -> Vec<RunData> {
    let law = Law { l_inf: 2.0, a: 9.0, alpha: 0.35, c: 40.0, gamma: 0.55, q: 0.15 };
    let mut rng = Pcg64::seed_from_u64(1);
    let mut runs = Vec::new();
    for i in 0..sizes {
        for seed in 0..seeds {
            let batch = 4096.0 * 2f64.powf(i as f64 * 0.5);
            let last = i + 1 == sizes && seed + 1 == seeds;
            let rows = ROWS + if last { more } else { 0 };
            runs.push(one(&law, &format!("b{batch:.0}_s{seed}"), batch, rows, &mut rng));
        }
    }
    runs
}

fn one(law: &Law, id: &str, batch: f64, rows: usize, rng: &mut impl Rng) -> RunData {
    let tokens = 4e9 * (0.9 + 0.2 * rng.random::<f64>());
    let every = (tokens / batch / ROWS as f64).floor().max(1.0);
    let mut recorder = Recorder::new(id, Assumptions::default());
    let mut noise = 0.0;
    for k in 1..=rows {
        let step = k as f64 * every;
        let z: f64 = StandardNormal.sample(rng);
        noise = 0.8 * noise + 0.6 * 0.01 * z;
        recorder.push(
            0,
            &Record {
                step: Some(step),
                tokens: Some(step * batch),
                batch_tokens: Some(batch),
                loss: Some(law.loss(step, batch) + noise),
                lr: Some(3e-4 * (k as f64 / 10.0).min(1.0)),
                ..Record::default()
            },
        );
    }
    recorder.data()
}

/// Prints the median and the worst of `times` runs.
fn row<T>(what: &str, times: usize, mut act: impl FnMut() -> T) {
    from_state(what, times, || (), |()| act());
}

/// The same of something that changes a state, made anew each time.
fn from_state<S, T>(
    what: &str,
    times: usize,
    state: impl Fn() -> S,
    mut act: impl FnMut(&mut S) -> T,
) {
    let mut ms: Vec<f64> = (0..times)
        .map(|_| {
            let mut state = state();
            let begin = Instant::now();
            black_box(act(&mut state));
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    ms.sort_by(f64::total_cmp);
    println!("{what:<58} {:>10.2} {:>10.2}", ms[ms.len() / 2], ms[ms.len() - 1]);
}

/// One cold three-stage fit, ten starts: ours and scipy's on the same points.
fn three_stage(runs: &[RunData], repeat: usize) -> Outcome<()> {
    let model = MODELS.iter().find(|m| m.kind() == ModelKind::ThreeStage);
    let model: &dyn CurveModel = *model.ok_or("no three-stage model")?;
    let groups = group_runs(runs, &curve::GroupOptions::default());
    let at_level = |g, l: f64| Points::pool(&observe(g, l));
    let points: Vec<Points> = groups
        .iter()
        .flat_map(|g| levels(g, 12).into_iter().map(move |l| at_level(g, l)))
        .filter(|p| p.reached().count() >= model.sizes_needed())
        .collect();
    if points.is_empty() {
        return Err("no level of mlp_sweep was reached by enough batch sizes".into());
    }
    let begin = Instant::now();
    for _ in 0..repeat {
        for p in &points {
            black_box(model.minimum(p, None));
        }
    }
    let ours = begin.elapsed().as_secs_f64() / (repeat * points.len()) as f64;
    println!("\nthree-stage fit, {} levels of mlp_sweep, ten starts each:", points.len());
    println!("  boptop, analytic Jacobian     {:>10.3} ms a fit", ours * 1e3);
    let Ok(python) = std::env::var("BOPTOP_BENCH_PYTHON") else { return Ok(()) };
    let scipy = scipy(&python, &points)?;
    println!(
        "  scipy least_squares, 2-point  {:>10.3} ms a fit: boptop is {:.0} x as fast",
        scipy.seconds * 1e3,
        scipy.seconds / ours
    );
    println!("  level   cost ours   scipy's   B_opt ours   scipy's");
    for (i, (p, (cost, b_opt))) in points.iter().zip(&scipy.levels).enumerate() {
        let Some(found) = model.minimum(p, None) else { continue };
        let own: f64 = p.iter().map(|p| huber(p, &found.found)).sum();
        let b = found.found.b_opt().unwrap_or(f64::NAN);
        println!("  {i:>5} {own:>11.4} {cost:>9.4} {b:>12.1} {b_opt:>9.1}");
    }
    Ok(())
}

/// The cost of a point, as `src/curve/level.rs` counts it.
fn huber(p: &Point, curve: &curve::Curve) -> f64 {
    let Some(steps) = curve.steps(p.batch_size) else { return 0.0 };
    let r = (steps.ln() - p.ln_steps) / p.se;
    match (p.censored && r >= 0.0, r.abs() <= 1.5) {
        (true, _) => 0.0,
        (_, true) => 0.5 * r * r,
        _ => 1.5 * (r.abs() - 0.75),
    }
}

struct Scipy {
    /// Of one fit.
    seconds: f64,
    /// Cost and B_opt of each level.
    levels: Vec<(f64, f64)>,
}

fn scipy(python: &str, points: &[Points]) -> Outcome<Scipy> {
    let row = |p: &Point| serde_json::json!([p.batch_size, p.ln_steps, p.se, p.censored]);
    let table: Vec<Vec<_>> = points.iter().map(|p| p.iter().map(row).collect()).collect();
    let told = serde_json::json!({"repeat": 1, "levels": table});
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/scipy_three_stage.py");
    // One thread in numpy's linear algebra too.
    let mut child = Command::new(python)
        .arg(script)
        .env("OMP_NUM_THREADS", "1")
        .env("OPENBLAS_NUM_THREADS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no stdin")?.write_all(told.to_string().as_bytes())?;
    let said: serde_json::Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
    let number = |v: &serde_json::Value| v.as_f64().unwrap_or(f64::NAN);
    let levels = said["levels"].as_array().ok_or("scipy gave no levels")?;
    let levels = levels.iter().map(|l| (number(&l["cost"]), number(&l["b_opt"]))).collect();
    Ok(Scipy { seconds: number(&said["seconds_per_fit"]), levels })
}
