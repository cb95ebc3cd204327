//! Following boptop in a closed loop, beside leaving the run and beside the best there is.
//!
//! `cargo bench --bench closed_loop`; `BOPTOP_BENCH_PROBLEMS=10` sets the problems of each row
//! (100), `BOPTOP_BENCH_FIRST=1000` takes others than usually, `BOPTOP_BENCH_ROWS=WORD` leaves the
//! rows without that word out, `BOPTOP_BENCH_SHOW=1` prints every verdict and what came of each
//! problem (one thread, else two), `BOPTOP_BENCH_FORECASTS=1` asks each problem for the forecasts of
//! its first look alone. Under `cargo test` each row has one problem, checked for soundness and for
//! no bar.
//!
//! Two simulators: the exact mean dynamics of the demo's problem, and the law with memory, tau drawn
//! from a share of the steps of the best single batch, p from 0.3 to 1. Beside the run that is
//! steered five siblings at other batch sizes, powers of two of its own around B_opt, each to a
//! quarter of the tokens of the best single batch, and one that goes from the run's size to four times that; 0.005 nats of
//! noise in each log line; their cost is counted apart.

mod follow;
mod problem;
mod real;
mod row;
mod world;

use boptop::advice::Goal;
use problem::{Class, Source};
use row::{Bar, Held, Measure, Row};

const FAST: (f64, f64) = (0.001, 0.01);
const SOME: (f64, f64) = (0.01, 0.03);
const LONG: (f64, f64) = (0.03, 0.1);
const AGES: (f64, f64) = (0.1, 1.0);
const ALL: (f64, f64) = (0.001, 1.0);

fn rows() -> Vec<Row> {
    use Measure::*;
    let at_most = |measure, bar| Bar { measure, bar, at_least: false };
    let at_least = |measure, bar| Bar { measure, bar, at_least: true };
    let law = Row {
        name: "",
        mean: false,
        class: Class::Start(0.3, 0.6),
        tau: ALL,
        source: Source::Siblings,
        goal: Goal::Stable,
        up_only: true,
        first_look: false,
        bars: Vec::new(),
    };
    let low = |name, tau, leave, single| Row {
        name,
        tau,
        bars: vec![
            at_most(LeaveMedian, leave),
            at_most(LeaveWorst, 1.0),
            at_most(SingleMedian, single),
            at_most(Single90, 1.0),
            at_most(StairsMedian, 1.15),
            at_most(StepsMedian, 1.3),
        ],
        ..law.clone()
    };
    let near = |name, tau, leave| Row {
        name,
        tau,
        class: Class::Start(0.7, 1.4),
        bars: vec![at_most(LeaveMedian, leave), at_most(LeaveWorst, 1.02)],
        ..law.clone()
    };
    let wrong = |name, source| Row {
        name,
        source,
        bars: vec![at_least(Noticed, 0.95), at_most(LeaveWorst, 1.05)],
        ..law.clone()
    };
    let right = |name| Row {
        name,
        source: Source::SameRate,
        bars: vec![at_least(Trusted, 0.95), at_most(LeaveWorst, 1.05)],
        ..law.clone()
    };
    let mut out = vec![
        low("law, start 0.3-0.6 B_opt, tau < 1 % of steps", FAST, 0.40, 0.45),
        low("law, start 0.3-0.6 B_opt, tau 1-3 %", SOME, 0.40, 0.70),
        low("law, start 0.3-0.6 B_opt, tau 3-10 %", LONG, 0.75, 0.90),
        low("law, start 0.3-0.6 B_opt, tau 10-100 %", AGES, 0.75, 1.00),
        Row {
            name: "law, start 0.3-0.6 B_opt, no sibling switched",
            source: Source::NoSwitch,
            bars: vec![at_most(LeaveWorst, 1.0), at_most(StairsMedian, 1.30)],
            ..law.clone()
        },
        near("law, start 0.7-1.4 B_opt, tau < 3 %", (0.001, 0.03), 0.75),
        near("law, start 0.7-1.4 B_opt, tau 3-100 %", (0.03, 1.0), 1.00),
        Row {
            name: "law, start 2-4 B_opt, up only",
            class: Class::Start(2.0, 4.0),
            bars: vec![at_most(LeaveWorst, 1.0), at_least(SaysLower, 1.0)],
            ..law.clone()
        },
        Row {
            name: "law, start 2-4 B_opt, both ways",
            class: Class::Start(2.0, 4.0),
            up_only: false,
            ..law.clone()
        },
        Row {
            name: "law, target just reachable (1.02-1.15 B_min)",
            class: Class::OverBMin(1.02, 1.15),
            bars: vec![at_most(LeaveWorst, 1.0)],
            ..law.clone()
        },
        Row {
            name: "law, below B_min (0.5-0.95)",
            class: Class::OverBMin(0.5, 0.95),
            bars: vec![at_most(Single90, 1.0)],
            ..law.clone()
        },
        Row {
            name: "law, target already passed",
            class: Class::Passed,
            bars: vec![at_least(SaysReached, 1.0)],
            ..law.clone()
        },
        wrong("law, noise of the saved law off by 3", Source::WrongNoise),
        wrong("law, saved law of another learning rate", Source::OtherRate),
        right("law, saved law of its own learning rate"),
        Row {
            name: "law, after a decay at equal tokens",
            goal: Goal::Decayed,
            bars: vec![at_most(SingleMedian, 1.0), at_most(LeaveWorst, 1.05)],
            ..law.clone()
        },
        Row {
            name: "law, never above leaving it on the way",
            goal: Goal::Interim,
            bars: vec![at_most(AboveWorst, 0.005), at_most(LeaveWorst, 1.0)],
            ..law.clone()
        },
    ];
    let mean = Row { mean: true, tau: FAST, ..law.clone() };
    out.extend([
        Row { mean: true, ..low("demo, start 0.3-0.6 B_opt", FAST, 0.40, 0.45) },
        Row { mean: true, ..near("demo, start 0.7-1.4 B_opt", FAST, 0.75) },
        Row {
            name: "demo, start 2-4 B_opt, up only",
            class: Class::Start(2.0, 4.0),
            bars: vec![at_most(LeaveWorst, 1.0), at_least(SaysLower, 1.0)],
            ..mean.clone()
        },
        Row {
            name: "demo, below B_min (0.5-0.95)",
            class: Class::OverBMin(0.5, 0.95),
            bars: vec![at_most(Single90, 1.0)],
            ..mean.clone()
        },
        Row { mean: true, ..wrong("demo, saved law of another learning rate", Source::OtherRate) },
        Row { mean: true, ..right("demo, saved law of its own learning rate") },
        Row {
            name: "demo, after a decay at equal tokens",
            goal: Goal::Decayed,
            bars: vec![at_most(SingleMedian, 1.0), at_most(LeaveWorst, 1.05)],
            ..mean
        },
    ]);
    out
}

fn main() {
    let measuring = std::env::args().any(|a| a == "--bench");
    let number = |key: &str| std::env::var(key).ok().and_then(|n| n.parse::<u64>().ok());
    let asked = number("BOPTOP_BENCH_PROBLEMS").unwrap_or(if measuring { 100 } else { 1 });
    let first = number("BOPTOP_BENCH_FIRST").unwrap_or(0);
    let problems = first..first + asked;
    let only = std::env::var("BOPTOP_BENCH_ROWS").unwrap_or_default();
    let shown = std::env::var_os("BOPTOP_BENCH_SHOW").is_some();
    let threads = if shown { 1 } else { 2 };
    let rows: Vec<Row> = rows().into_iter().filter(|r| r.name.contains(&only)).collect();
    println!(
        "{asked} problems a row, from number {first} on; ratios of cumulative tokens, below 1 is better\n"
    );
    let quick = std::env::var_os("BOPTOP_BENCH_FORECASTS").is_some();
    let (mut met, mut missed) = (0, 0);
    let mut held = Vec::new();
    if quick {
        let asked = rows.iter().filter(|r| r.goal != Goal::Decayed);
        held.extend(asked.map(|r| (r.clone(), r.forecasts(problems.clone(), threads))));
    } else {
        row::header();
        for row in &rows {
            let (a, b, forecasts) = row.run(problems.clone(), threads);
            met += a;
            missed += b;
            held.push((row.clone(), forecasts));
        }
    }
    let (a, b) = coverage(&held);
    println!("\n{} bars met, {} missed", met + a, missed + b);
    real::score();
}

/// Forecasts of tokens to a loss whose nominal 90 % should hold.
const COVERS: [f64; 2] = [0.85, 0.95];

/// The coverage of all rows whose law comes from their own siblings, by simulator and policy; met and
/// missed.
fn coverage(rows: &[(Row, Held)]) -> (usize, usize) {
    println!("\nnominal 90 % intervals of tokens to the target, rows with a law of their own:");
    let (mut met, mut missed) = (0, 0);
    let mut say = |name: String, found: f64, meets: bool| {
        let counter = if meets { &mut met } else { &mut missed };
        *counter += 1;
        println!("    {} {name} {found:.3}", if meets { "met   " } else { "MISSED" });
    };
    let own = |r: &&(Row, Held)| matches!(r.0.source, Source::Siblings | Source::NoSwitch);
    let rows: Vec<&(Row, Held)> = rows.iter().filter(own).collect();
    let mut beyond = 0;
    for (which, policy) in ["leaving it", "planned"].into_iter().enumerate() {
        for (mean, simulator) in [(false, "the law's"), (true, "the demo's")] {
            let mut pooled = Held::default();
            for (_, held) in rows.iter().filter(|(r, _)| r.mean == mean) {
                pooled.add(held);
                beyond += usize::from(held.beyond(which, COVERS));
            }
            if pooled.0[which].0 > 0 {
                let share = pooled.share(which);
                let meets = (COVERS[0]..=COVERS[1]).contains(&share);
                say(format!("{simulator} problems, {policy}: 0.85 to 0.95,"), share, meets);
            }
        }
    }
    say("rows beyond three standard errors of that, bar 0:".into(), beyond as f64, beyond == 0);
    (met, missed)
}
