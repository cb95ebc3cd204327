//! Following boptop in a closed loop, beside leaving the run and beside the best there is.
//!
//! `cargo bench --bench closed_loop`; `BOPTOP_BENCH_PROBLEMS=10` sets the problems of each row
//! (100), `BOPTOP_BENCH_ROWS=WORD` leaves the rows without that word out, `BOPTOP_BENCH_SHOW=1`
//! prints every verdict. One thread. Under `cargo test` each row has one problem, checked for
//! soundness and for no bar.
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
use row::{Bar, Measure, Row};

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
            at_least(Coverage, 0.85),
            at_most(Coverage, 0.95),
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
    let mut out = vec![
        low("law, start 0.3-0.6 B_opt, tau < 1 % of steps", FAST, 0.40, 0.45),
        low("law, start 0.3-0.6 B_opt, tau 1-3 %", SOME, 0.40, 0.70),
        low("law, start 0.3-0.6 B_opt, tau 3-10 %", LONG, 0.75, 0.90),
        low("law, start 0.3-0.6 B_opt, tau 10-100 %", AGES, 0.75, 1.00),
        Row {
            name: "law, start 0.3-0.6 B_opt, no sibling switched",
            source: Source::NoSwitch,
            bars: vec![
                at_most(LeaveWorst, 1.0),
                at_most(StairsMedian, 1.30),
                at_least(Coverage, 0.85),
                at_most(Coverage, 0.95),
            ],
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
    let asked = std::env::var("BOPTOP_BENCH_PROBLEMS").ok().and_then(|n| n.parse().ok());
    let problems = asked.unwrap_or(if measuring { 100 } else { 1 });
    let only = std::env::var("BOPTOP_BENCH_ROWS").unwrap_or_default();
    println!("{problems} problems a row; ratios of cumulative tokens, below 1 is better\n");
    row::header();
    let (mut met, mut missed) = (0, 0);
    for row in rows().iter().filter(|r| r.name.contains(&only)) {
        let (a, b) = row.run(problems);
        met += a;
        missed += b;
    }
    println!("\n{met} bars met, {missed} missed");
    real::score();
}
