//! One row of the table: problems of one class, followed, and held against the bars.

use super::follow::{Asked, Followed, Forecast, best_decayed, follow, forecast, left_decayed};
use super::problem::{Class, Draw, NEVER, Problem, Source};
use super::world;
use boptop::advice::{Goal, Policy};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A figure of a row that a bar is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    LeaveMedian,
    LeaveWorst,
    SingleMedian,
    Single90,
    StairsMedian,
    StepsMedian,
    AboveWorst,
    Noticed,
    Trusted,
    SaysLower,
    SaysReached,
}

#[derive(Debug, Clone, Copy)]
pub struct Bar {
    pub measure: Measure,
    pub bar: f64,
    pub at_least: bool,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub name: &'static str,
    pub mean: bool,
    pub class: Class,
    /// Tau as a share of the steps of the best single batch.
    pub tau: (f64, f64),
    pub source: Source,
    pub goal: Goal,
    pub up_only: bool,
    /// Only the forecasts of the first look are asked for.
    pub first_look: bool,
    pub bars: Vec<Bar>,
}

/// Of one problem.
#[derive(Debug, Clone, Default)]
struct Result {
    leave: f64,
    single: f64,
    here: f64,
    stairs: f64,
    steps: f64,
    above: f64,
    /// Of leaving the run and of the plan.
    forecasts: [Option<Forecast>; 2],
    sweep: f64,
    followed: Followed,
}

pub fn header() {
    println!(
        "{:<46} {:>17} {:>11} {:>11} {:>11} {:>5} {:>5} {:>5} {:>5}",
        "", "leaving it", "from step 0", "one size", "staircase", "steps", "chng", "turns", "block"
    );
    println!(
        "{:<46} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5}",
        "followed / ...",
        "p50",
        "p90",
        "worst",
        "p50",
        "p90",
        "p50",
        "p90",
        "p50",
        "p90",
        "p50",
        "each",
        "each",
        "each"
    );
}

/// a / b, where neither may ever arrive.
fn ratio(a: f64, b: f64) -> f64 {
    match (a.is_finite(), b.is_finite()) {
        (false, false) => 1.0,
        (true, false) => 0.0,
        _ => a / b,
    }
}

fn quantile(results: &[Result], q: f64, of: impl Fn(&Result) -> f64) -> f64 {
    let mut all: Vec<f64> = results.iter().map(of).filter(|x| !x.is_nan()).collect();
    all.sort_by(f64::total_cmp);
    all.get((q * all.len().saturating_sub(1) as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

fn share(results: &[Result], of: impl Fn(&Followed) -> bool) -> f64 {
    results.iter().filter(|r| of(&r.followed)).count() as f64 / results.len().max(1) as f64
}

/// How the forecasts of a row, or of several, fared: (asked, held) of leaving the run and of the
/// plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held(pub [(usize, usize); 2]);

impl Held {
    pub fn add(&mut self, other: &Held) {
        for (to, from) in self.0.iter_mut().zip(other.0) {
            *to = (to.0 + from.0, to.1 + from.1);
        }
    }

    pub fn share(&self, which: usize) -> f64 {
        self.0[which].1 as f64 / self.0[which].0 as f64
    }

    /// Further from `bars` than three standard errors.
    pub fn beyond(&self, which: usize, [low, high]: [f64; 2]) -> bool {
        let (share, n) = (self.share(which), self.0[which].0 as f64);
        let off = |bar: f64| 3.0 * (bar * (1.0 - bar) / n).sqrt();
        n > 0.0 && (share < low - off(low) || share > high + off(high))
    }
}

impl Row {
    /// Each problem has its own seed, so that no thread and no other problem matters.
    fn results(&self, problems: Range<u64>, threads: usize) -> Vec<Result> {
        let draw = if self.mean { Draw::mean() } else { Draw::law() };
        let next = AtomicU64::new(problems.start);
        let work = || {
            let mut done = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= problems.end {
                    return done;
                }
                let problem = draw.seeded(i).problem(self.class, self.source, self.tau);
                let result = self.one(&problem);
                if std::env::var_os("BOPTOP_BENCH_SHOW").is_some() {
                    let Result { leave, here, stairs, .. } = result;
                    println!(
                        "problem {i}: / leaving it {leave:.3}, one size {here:.3}, staircase {stairs:.3}"
                    );
                }
                done.push((i, result));
            }
        };
        let mut all: Vec<(u64, Result)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|t| t.join().expect("a problem panicked")).collect()
        });
        all.sort_by_key(|(i, _)| *i);
        all.into_iter().map(|(_, r)| r).collect()
    }

    /// Forecasts of the first look alone, which is quick.
    pub fn forecasts(&self, problems: Range<u64>, threads: usize) -> Held {
        let asked = Row { first_look: true, ..self.clone() };
        let results = asked.results(problems, threads);
        println!("{:<46} {}", self.name, spread(&results));
        held(&results)
    }

    /// Prints the row and its bars; how many were met and missed, and how the forecasts fared.
    pub fn run(&self, problems: Range<u64>, threads: usize) -> (usize, usize, Held) {
        let started = std::time::Instant::now();
        let mut results = self.results(problems, threads);
        let asked = results.len();
        // Without a law to be saved there is no wrong one to be noticed.
        results.retain(|r| !r.followed.no_law);
        self.print(&results);
        if results.len() < asked {
            println!(
                "    {} of {asked} sweeps held no law to save: left out",
                asked - results.len()
            );
        }
        println!("    {}; {:.0} s", spread(&results), started.elapsed().as_secs_f64());
        let mut counts = (0, 0);
        for b in &self.bars {
            let found = self.measured(&results, b.measure);
            // A tie is one up to the accuracy of the reckoning.
            let met = if b.at_least { found >= b.bar - 5e-4 } else { found <= b.bar + 5e-4 };
            if met {
                counts.0 += 1;
            } else {
                counts.1 += 1;
            }
            println!(
                "    {} {:?} {found:.3}, bar {} {}",
                if met { "met   " } else { "MISSED" },
                b.measure,
                if b.at_least { ">=" } else { "<=" },
                b.bar
            );
        }
        (counts.0, counts.1, held(&results))
    }

    fn one(&self, problem: &Problem) -> Result {
        if let world::World::Law { law, memory, .. } = &problem.fresh {
            assert!(world::same_as_course(*law, *memory), "the simulator is not the law");
        }
        let asked = Asked {
            goal: self.goal,
            source: self.source,
            up_only: self.up_only,
            first_look: self.first_look,
        };
        let followed = follow(problem, asked);
        if followed.no_law {
            return Result { followed, ..Result::default() };
        }
        assert!(problem.sweep > 0.0 && !followed.way.is_empty());
        if self.goal == Goal::Decayed {
            let l_inf = problem.world.l_inf();
            let got = followed.decayed - l_inf;
            return Result {
                leave: got / (left_decayed(problem) - l_inf),
                single: f64::NAN,
                here: got / (best_decayed(problem) - l_inf),
                stairs: f64::NAN,
                steps: f64::NAN,
                above: f64::NAN,
                forecasts: [None; 2],
                sweep: problem.sweep / problem.single,
                followed,
            };
        }
        let policies = [Policy::Leave, Policy::Planned];
        let first = followed.first.as_ref();
        let forecasts = policies.map(|p| forecast(problem, first?, p));
        if self.first_look {
            return Result { forecasts, followed, ..Result::default() };
        }
        let most = NEVER * problem.single;
        let run = &problem.world;
        let leave = run.reach(problem.own, problem.target, most);
        // One size from the moment on at which boptop is first asked, whatever the bump.
        let later = run.after(problem.own, 0.01 * run.tokens());
        let one = |b: f64| (later.reach(b, problem.target, most), b);
        let (here, size) = (0..60)
            .map(|k| one(problem.own * 1.08f64.powi(k)))
            .fold((leave, problem.own), |best, x| if x.0 < best.0 { x } else { best });
        let here_steps = later.steps() + (here - later.tokens()) / size;
        // What the planner may do: twice the largest tested size, at most.
        let stairs =
            run.best_stairs(problem.own, 2.0 * problem.largest, problem.target, here.min(most));
        Result {
            leave: ratio(followed.tokens, leave),
            single: ratio(followed.tokens, problem.single),
            here: ratio(followed.tokens, here),
            stairs: ratio(followed.tokens, stairs),
            steps: ratio(followed.steps, here_steps),
            above: above(problem, &followed),
            forecasts,
            sweep: problem.sweep / problem.single,
            followed,
        }
    }

    fn measured(&self, results: &[Result], what: Measure) -> f64 {
        match what {
            Measure::LeaveMedian => quantile(results, 0.5, |r| r.leave),
            Measure::LeaveWorst => quantile(results, 1.0, |r| r.leave),
            Measure::SingleMedian => quantile(results, 0.5, |r| r.here),
            Measure::Single90 => quantile(results, 0.9, |r| r.here),
            Measure::StairsMedian => quantile(results, 0.5, |r| r.stairs),
            Measure::StepsMedian => quantile(results, 0.5, |r| r.steps),
            Measure::AboveWorst => quantile(results, 1.0, |r| r.above),
            Measure::Noticed => share(results, |f| f.vetoed),
            Measure::Trusted => share(results, |f| !f.vetoed),
            Measure::SaysLower => share(results, |f| f.says_lower),
            Measure::SaysReached => share(results, |f| f.says_reached),
        }
    }

    fn print(&self, results: &[Result]) {
        let at = |q: f64, of: fn(&Result) -> f64| quantile(results, q, of);
        let mean = |of: fn(&Followed) -> usize| {
            results.iter().map(|r| of(&r.followed)).sum::<usize>() as f64 / results.len() as f64
        };
        println!(
            "{:<46} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.1} {:>5.1} {:>5.1}",
            self.name,
            at(0.5, |r| r.leave),
            at(0.9, |r| r.leave),
            at(1.0, |r| r.leave),
            at(0.5, |r| r.single),
            at(0.9, |r| r.single),
            at(0.5, |r| r.here),
            at(0.9, |r| r.here),
            at(0.5, |r| r.stairs),
            at(0.9, |r| r.stairs),
            at(0.5, |r| r.steps),
            mean(|f| f.changes),
            mean(|f| f.flickers),
            mean(|f| f.blocked),
        );
        println!(
            "    best staircase / one size from here {:.2}, / leaving it {:.2}; memory measured {:.2}; no advice at first {:.2}; sweep {:.2} of one size's",
            at(0.5, |r| r.here / r.stairs),
            at(0.5, |r| r.leave / r.stairs),
            share(results, |f| f.measured),
            share(results, |f| f.vetoed_first),
            at(0.5, |r| r.sweep),
        );
    }
}

fn held(results: &[Result]) -> Held {
    let one = |which: usize| {
        let all = results.iter().filter_map(|r| r.forecasts[which]);
        all.fold((0, 0), |(n, held), f| (n + 1, held + usize::from(f.held)))
    };
    Held([one(0), one(1)])
}

/// Coverage, error and width of the forecasts of leaving the run and of the plan.
fn spread(results: &[Result]) -> String {
    let held = held(results);
    let one = |which: usize, name: &str| {
        let figures = |of: fn(&Forecast) -> f64| {
            let mut all: Vec<f64> =
                results.iter().filter_map(|r| r.forecasts[which].as_ref()).map(of).collect();
            all.sort_by(f64::total_cmp);
            move |q: f64| {
                all.get((q * (all.len().max(1) - 1) as f64).round() as usize)
                    .copied()
                    .unwrap_or(f64::NAN)
            }
        };
        let (error, width) = (figures(|f| f.error), figures(|f| f.width));
        format!(
            "{name} {:.2} of {} held, ln error {:+.3} ({:+.3} to {:+.3}), ln width {:.2}",
            held.share(which),
            held.0[which].0,
            error(0.5),
            error(0.05),
            error(0.95),
            width(0.5)
        )
    };
    format!("forecasts: {}; {}", one(0, "leaving it"), one(1, "planned"))
}

/// The most that the loss lay above that of leaving the run at equal tokens, nats.
fn above(problem: &Problem, followed: &Followed) -> f64 {
    let left = |tokens: f64| {
        problem.world.after(problem.own, (tokens - problem.world.tokens()).max(0.0)).loss()
    };
    followed.way.iter().map(|(t, l)| l - left(*t)).fold(0.0, f64::max)
}
