//! Why a model with a number of parameters may not be fitted at a level yet.

use super::level::Points;
use super::model::Refusal;
use crate::units::{self, count};

/// Which sizes reached the level (a loss, nats) and how far the others are from it; `None` where
/// `needed` reached it. `tokens` are those that the joint law asks of a batch size: nothing without a
/// law, and nothing inside where it never gets there.
pub(super) fn refusal(
    points: &Points,
    loss: f64,
    needed: usize,
    tokens: impl Fn(f64) -> Option<Option<f64>>,
) -> Option<Refusal> {
    let reached: Vec<String> = points.reached().map(|p| count(p.batch_size)).collect();
    if reached.len() >= needed {
        return None;
    }
    let mut has =
        format!("{} of {needed} batch sizes needed reached {}", reached.len(), units::loss(loss));
    if !reached.is_empty() {
        has = format!("{has}: {}", reached.join(", "));
    }
    let mut near: Vec<String> = Vec::new();
    let mut never: Vec<f64> = Vec::new();
    for p in points.iter().filter(|p| p.censored) {
        let so_far = p.ln_tokens().exp();
        match tokens(p.batch_size) {
            Some(Some(e)) if e > so_far => near.push(format!(
                "{} about {} more tokens",
                count(p.batch_size),
                count(e - so_far)
            )),
            Some(None) => never.push(p.batch_size),
            _ => {
                near.push(format!("{} more than its {} tokens", count(p.batch_size), count(so_far)))
            }
        }
    }
    never.dedup();
    // The points ascend in batch size, and what never arrives are the smallest ones.
    match never[..] {
        [] => {}
        [only] => near.insert(0, format!("{} never gets there by the law", count(only))),
        [first, .., last] => {
            let (first, last) = (count(first), count(last));
            near.insert(0, format!("{first} to {last} never get there by the law"));
        }
    }
    let missing = needed - reached.len();
    let needs = if near.is_empty() {
        format!("{missing} more batch sizes trained to this loss")
    } else {
        format!("{missing} more that reach it ({})", near.join(", "))
    };
    Some(Refusal::new(has, needs))
}
