//! What the levels say together: whether the tested sizes bracket the optimum, and where it goes as
//! the loss falls.

use super::level::{Point, Points};
use super::report::{LevelFit, Observed, Open};
use super::series::Observation;
use crate::units::{self, count, loss};

/// Notes for a group, from the highest loss to the lowest.
pub(super) fn notes(levels: &[LevelFit]) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(edge(levels, Open::Low));
    notes.extend(edge(levels, Open::High));
    notes.extend(moves(levels));
    notes.extend(seeds(levels));
    notes
}

/// How far runs of one batch size lie apart in the tokens that they need, over all levels, beside
/// the error that their crossings claim.
fn seeds(levels: &[LevelFit]) -> Option<String> {
    let (mut spread, mut own, mut freedom, mut n) = (0.0, 0.0, 0.0, 0.0);
    let mut sizes: Vec<f64> = Vec::new();
    for level in levels {
        let mut reached: Vec<&Observed> = level.observed.iter().filter(|o| !o.censored).collect();
        reached.sort_by(|a, b| a.batch_size_tokens.total_cmp(&b.batch_size_tokens));
        let same = |a: &&Observed, b: &&Observed| {
            (a.batch_size_tokens / b.batch_size_tokens).ln().abs() < 1e-3
        };
        for runs in reached.chunk_by(same).filter(|r| r.len() > 1) {
            let count = runs.len() as f64;
            let mean = runs.iter().map(|o| o.tokens.ln()).sum::<f64>() / count;
            spread += runs.iter().map(|o| (o.tokens.ln() - mean).powi(2)).sum::<f64>();
            own += runs.iter().map(|o| o.se_ln.powi(2)).sum::<f64>();
            (freedom, n) = (freedom + count - 1.0, n + count);
            sizes.push(runs[0].batch_size_tokens);
        }
    }
    sizes.sort_by(f64::total_cmp);
    sizes.dedup_by(|a, b| (*a / *b).ln().abs() < 1e-3);
    (freedom > 0.0).then(|| {
        format!(
            "runs of one batch size differ by {} in the tokens to a loss (standard deviation, at {}); \
             their crossings claim an error of {}",
            units::percent((spread / freedom).sqrt()),
            sizes.iter().map(|b| count(*b)).collect::<Vec<_>>().join(", "),
            units::percent((own / n).sqrt())
        )
    })
}

/// Tokens of the size at the edge over those of the next one from which on the optimum is said to be
/// near. Far above the optimum half the batch size needs half the tokens, or little more (the law's q),
/// and E(B) is flat around it.
const NEAR: f64 = 0.85;

/// The best size is at the edge of the tested ones: at which levels, and how its lead over the next
/// size changes.
fn edge(levels: &[LevelFit], side: Open) -> Option<String> {
    let leads: Vec<(f64, f64, f64, f64)> = levels
        .iter()
        .filter(|l| l.b_opt.open == side)
        .filter_map(|l| lead(l, side).map(|(edge, next, ratio)| (l.loss, edge, next, ratio)))
        .collect();
    let (first, last) = (leads.first()?, leads.last()?);
    // One story only while the same two sizes are compared.
    let from = leads.iter().find(|x| x.1 == last.1 && x.2 == last.2).unwrap_or(first);
    let (which, beyond) = match side {
        Open::Low => ("smallest", "below"),
        _ => ("largest", "above"),
    };
    let inward = |l: &&LevelFit| match side {
        Open::Low => l.b_opt.high.is_none_or(|b| b > last.1 * 1.001),
        _ => l.b_opt.low.is_none_or(|b| b < last.1 * 0.999),
    };
    let at_lowest = levels.iter().find(|l| l.loss == last.0);
    let or_inward = if at_lowest.as_ref().is_some_and(inward) {
        ", or as far inside as the interval says"
    } else {
        ""
    };
    let levels_said = if leads.len() == levels.len() {
        "at every level".to_string()
    } else {
        format!("at {} of {} levels", leads.len(), levels.len())
    };
    let mut text = format!(
        "{levels_said} the {which} batch size that got there, {} at {}, needed the fewest tokens: \
         the optimum is at it or {beyond}{or_inward}",
        count(last.1),
        loss(last.0)
    );
    if from.0 != last.0 {
        text.push_str(&format!(
            "; it needed {:.2} of the tokens of {} at {} and {:.2} at {}",
            from.3,
            count(last.2),
            loss(from.0),
            last.3,
            loss(last.0)
        ));
        if side == Open::Low && last.3 > from.3 + 0.02 && last.3 > NEAR {
            text.push_str(
                ": its lead closes, the optimum is near it and growing as the loss falls",
            );
        }
    }
    Some(text)
}

/// The size at the edge, its neighbour, and E(edge)/E(neighbour).
fn lead(level: &LevelFit, side: Open) -> Option<(f64, f64, f64)> {
    let back = |o: &Observed| Observation {
        run: String::new(),
        batch_size: o.batch_size_tokens,
        steps: o.steps,
        tokens: o.tokens,
        se_ln: o.se_ln,
        censored: o.censored,
    };
    let observed: Vec<Observation> = level.observed.iter().map(back).collect();
    let points = Points::pool(&observed);
    let reached: Vec<&Point> = points.reached().collect();
    let (edge, next) = match side {
        Open::Low => (reached.first()?, reached.get(1)?),
        _ => (reached.last()?, reached.get(reached.len().checked_sub(2)?)?),
    };
    let is_best = points.best().is_some_and(|b| b.batch_size == edge.batch_size);
    is_best.then(|| (edge.batch_size, next.batch_size, (edge.ln_tokens() - next.ln_tokens()).exp()))
}

/// B_opt at the highest and the lowest level that have a value.
fn moves(levels: &[LevelFit]) -> Option<String> {
    let valued: Vec<(f64, f64)> =
        levels.iter().filter_map(|l| Some((l.loss, l.b_opt.value?))).collect();
    let (&(high, from), &(low, to)) = (valued.first()?, valued.last()?);
    (high > low).then(|| {
        format!(
            "B_opt goes from {} at loss {} to {} at {}",
            count(from),
            loss(high),
            count(to),
            loss(low)
        )
    })
}
