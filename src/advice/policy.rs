//! The rules that the plan is set beside: the best single batch size from here on, and tracking
//! B_opt(L).

use super::Entry;
use super::constraints::Constraints;
use super::forecast::Course;
use super::planner::{Found, Search, stairs};
use crate::units::{count, exact};

/// Stages of the fixed-interval staircase: the seed paper's run had four of equal tokens.
const STAGES: u32 = 4;

/// To one batch size by the shortest way that the constraints allow, and then no further change;
/// the empty staircase is the present size.
pub fn best_single(search: &Search<'_>) -> Found {
    let c = search.constraints;
    let law = search.course.law();
    let top = law.b_opt(search.target).map_or(0.0, |b| 8.0 * b);
    let floor = search.floor;
    let mut best = Found { changes: Vec::new(), score: search.score(&[]) };
    let mut ladders =
        vec![c.ladder(c.own, c.max_bump, top), c.ladder(c.own, c.max_bump.sqrt(), top)];
    let mut down = Vec::new();
    let mut at = c.own;
    while down.len() < 8
        && let Some(next) = c.down(at)
        && next as f64 >= floor
    {
        down.push(next);
        at = next;
    }
    ladders.push(down);
    for rungs in ladders {
        for k in 1..=rungs.len() {
            let mut times = vec![c.earliest as f64; k];
            c.legal_times(&mut times, &rungs[..k], search.latest_first);
            let changes: Vec<(u64, u64)> =
                times.iter().zip(&rungs[..k]).map(|(t, b)| (t.ceil() as u64, *b)).collect();
            let score = search.score(&changes);
            if (rungs[k - 1] as f64) >= floor && score < best.score {
                best = Found { changes, score };
            }
        }
    }
    best
}

/// The lowest loss at a token count that a single raise, made step by step, brings.
pub fn single_loss_at(course: &Course, c: &Constraints, budget: f64) -> f64 {
    let top = course.law().b_opt(course.along(&[]).loss(budget)).map_or(0.0, |b| 8.0 * b);
    let rungs = c.ladder(c.own, c.max_bump, top);
    let mut times = vec![c.earliest as f64; rungs.len()];
    c.legal_times(&mut times, &rungs, None);
    let changes: Vec<(u64, u64)> =
        times.iter().zip(&rungs).map(|(t, b)| (t.ceil() as u64, *b)).collect();
    (0..=changes.len())
        .map(|k| course.along(&stairs(c, &changes[..k])).loss(budget))
        .fold(f64::INFINITY, f64::min)
}

/// The rule of the seed paper (arXiv 2601.05034): the batch size follows B_opt of the present
/// loss, one rung at a time, each taken when B_opt passes the geometric mean of two rungs.
pub fn tracking(search: &Search<'_>, until: f64) -> Found {
    let c = search.constraints;
    let law = search.course.law();
    let mut changes: Vec<(u64, u64)> = Vec::new();
    let mut at = c.own;
    let mut t = c.earliest as f64;
    for _ in 0..2000 {
        let steps = stairs(c, &changes);
        let loss = search.course.along(&steps).loss(t);
        if t > until || loss <= search.target || !c.in_time(t) {
            break;
        }
        let Some(b) = law.b_opt(loss) else { break };
        let up = c.up(at, c.max_bump).filter(|n| b * b >= *n as f64 * at as f64);
        let down = c.down(at).filter(|n| {
            let n = *n as f64;
            changes.len() < 8 && n >= search.floor && b * b <= n * at as f64
        });
        if let Some(next) = up.or(down) {
            changes.push((t.ceil() as u64, next));
            at = next;
            t += c.dwell as f64;
        } else {
            t += (0.01 * t).max(1.0);
        }
    }
    Found { score: search.score(&changes), changes }
}

/// The staircase of the seed paper as it was run (2M, 4M, 5M, 6M tokens, a bump each 125B): stages of
/// equal tokens from step 0 to the budget, each at the batch size allowed that lies nearest below
/// B_opt of the loss in its middle.
pub fn by_interval(search: &Search<'_>, budget: f64) -> Found {
    let c = search.constraints;
    let law = search.course.law();
    let mut changes: Vec<(u64, u64)> = Vec::new();
    let (mut at, mut least) = (c.own, c.earliest);
    for stage in 1..STAGES {
        let length = budget / f64::from(STAGES);
        let from = f64::from(stage) * length;
        if from <= c.now as f64 || from < least as f64 || !c.in_time(from) {
            continue;
        }
        let way = search.course.along(&stairs(c, &changes)).loss(from + 0.5 * length);
        let Some(b) = law.b_opt(way) else { break };
        let next = if b > at as f64 {
            c.up(at, b / at as f64)
        } else {
            c.down(at).filter(|n| *n as f64 >= b.max(search.floor))
        };
        if let Some(next) = next {
            changes.push((from.ceil() as u64, next));
            at = next;
            least = (from.ceil() as u64).saturating_add(c.dwell);
        }
    }
    Found { score: search.score(&changes), changes }
}

/// A person's own schedule may go where no run was.
pub fn untested(entries: &[Entry], [smallest, largest]: [f64; 2]) -> Vec<String> {
    let beyond = |e: &&Entry| !(smallest..=largest).contains(&(e.batch_size_tokens as f64));
    let odd = entries.iter().find(beyond);
    odd.map(|e| {
        format!(
            "{} lies outside the tested sizes ({} to {}); the law is extrapolated there",
            exact(e.batch_size_tokens),
            count(smallest),
            count(largest)
        )
    })
    .into_iter()
    .collect()
}
