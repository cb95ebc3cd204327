//! The fit's answer at the loss of a run, or what is missing for one.

use super::own_past::VETO;
use crate::curve::{Estimate, GroupFit, SAVED_GROUP};
use crate::run::{Phase, RunData, lost_since};
use crate::units::{count, learning_rate, loss as nats, percent};

/// Learning rates count as the same up to this share.
const SAME_RATE: f64 = 0.011;

/// The estimate at `loss`, as the fit gives it; `Err` says why there is none.
pub fn b_opt_at(group: &GroupFit, loss: f64) -> Result<Estimate, String> {
    if !loss.is_finite() {
        return Err("the run has no loss yet".into());
    }
    group.estimate_at(loss).ok_or_else(|| missing(group, loss))
}

/// Why a run has no loss at present.
pub(super) fn no_loss(run: &RunData) -> String {
    let Some(since) = lost_since(run) else { return "the run has no loss yet".into() };
    let said = format!("its losses are NaN or infinite since {} tokens", count(since));
    match run.segments.as_slice() {
        [.., before, last] if (last.from_tokens..1.05 * last.from_tokens).contains(&since) => {
            format!(
                "{said}, after the change from {} to {} at {}",
                count(before.batch_size),
                count(last.batch_size),
                count(last.from_tokens)
            )
        }
        _ => said,
    }
}

/// The same for a run: a saved law is asked only where it may be.
pub fn estimate_of(run: &RunData, group: &GroupFit, loss: f64) -> Result<Estimate, String> {
    not_for(run, group, Some(loss)).map_or_else(|| b_opt_at(group, loss), Err)
}

/// Why a saved law is not for a run at `loss`, nats; `None` where it may be asked.
pub fn not_for(run: &RunData, group: &GroupFit, loss: Option<f64>) -> Option<String> {
    other_rate(run, group).or_else(|| vague(group, loss?))
}

/// A law that missed the batch sizes left out of its own sweep by more of L - L_inf than a run's own past
/// may be missed by: it says less of another run yet.
fn vague(group: &GroupFit, loss: f64) -> Option<String> {
    let fit = group.law.as_ref().filter(|f| f.saved)?;
    let off = fit.held_out_nats?;
    let share = off / (loss - fit.law.l_inf);
    (share > VETO).then(|| {
        format!(
            "the saved law missed the batch sizes left out of its own sweep by {off:.3} nats, {} of \
             L - L_inf at this run's loss ({} is the most for advice): save a law of more batch \
             sizes, or of longer runs",
            percent(share),
            percent(VETO)
        )
    })
}

/// Learning rate of the stable phase that the run is in, or was in last.
fn plateau(run: &RunData) -> Option<f64> {
    let spans = run.phases.spans.iter().rev();
    let last = spans.filter(|s| s.phase == Phase::Stable).find_map(|s| s.lr);
    last.or(run.phases.plateau_lr).filter(|lr| lr.is_finite() && *lr > 0.0)
}

/// `None` where the learning rates agree or one is unknown.
fn other_rate(run: &RunData, group: &GroupFit) -> Option<String> {
    let (own, law) = (plateau(run)?, group.lr.filter(|_| group.id == SAVED_GROUP)?);
    ((own / law).ln().abs() > SAME_RATE).then(|| {
        format!(
            "the saved law holds at learning rate {} and this run trains at {}: B_opt moves with \
             the learning rate; save a law of a sweep at {}",
            learning_rate(law),
            learning_rate(own),
            learning_rate(own)
        )
    })
}

/// A run whose learning rate moved off the one that its siblings were fitted at.
pub(super) fn moved_rate(run: &RunData, group: &GroupFit) -> Option<String> {
    let (own, law) = (plateau(run)?, group.lr.filter(|_| group.id != SAVED_GROUP)?);
    ((own / law).ln().abs() > SAME_RATE).then(|| {
        format!(
            "the law and B_opt are of learning rate {} and this run trains at {} now: what that moves \
             is in no number here",
            learning_rate(law),
            learning_rate(own)
        )
    })
}

/// What an answer of a saved law rests on, in words; empty for a fit of the run's own siblings.
pub fn provenance(run: &RunData, group: &GroupFit) -> Vec<String> {
    if group.id != SAVED_GROUP {
        return Vec::new();
    }
    let mut out = group.notes.clone();
    if plateau(run).is_none() || group.lr.is_none() {
        let law = group.lr.map_or("not known".into(), learning_rate);
        out.push(format!(
            "that this run trains at the learning rate of the saved law ({law}) is assumed"
        ));
    }
    out
}

fn missing(group: &GroupFit, loss: f64) -> String {
    let floor = group.law.as_ref().map(|f| f.law.l_inf).filter(|l| loss <= *l);
    if let Some(l_inf) = floor {
        return format!(
            "loss {} lies at or below the law's floor L_inf = {}",
            nats(loss),
            nats(l_inf)
        );
    }
    let spoken: Vec<f64> =
        group.levels.iter().filter(|l| l.model.is_some()).map(|l| l.loss).collect();
    let (Some(highest), Some(lowest)) = (spoken.first(), spoken.last()) else {
        return group.refused.first().map_or_else(
            || "no model speaks at any loss level".into(),
            |r| format!("{}: {}; needs {}", r.what, r.why, r.needs),
        );
    };
    format!(
        "loss {} lies outside the levels at which a model speaks ({} to {}), and no joint law \
         speaks there",
        nats(loss),
        nats(*lowest),
        nats(*highest),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, group_of};
    use crate::curve::Open;

    #[test]
    fn the_law_gives_the_value_its_draws_the_interval() {
        let group = group_of(&LAW, MEMORY);
        let e = b_opt_at(&group, 2.2).unwrap();
        let (value, low, high) =
            (e.b_opt.value.unwrap(), e.b_opt.low.unwrap(), e.b_opt.high.unwrap());
        assert!((value - LAW.b_opt(2.2).unwrap()).abs() < 1e-9);
        assert!(low < value && value < high && high < 2.0 * value);
        let [a, b] = e.within_2_percent.unwrap();
        assert!((e.excess(a).unwrap() - 0.02).abs() < 1e-6);
        assert!((e.excess(b).unwrap() - 0.02).abs() < 1e-6);
        assert!(e.excess(value).unwrap() < 1e-12);
        let below = e.b_min.unwrap() * 0.99;
        assert!(e.excess(below).is_none() && e.never_reached(below));
        assert_eq!(e.b_opt, group.b_opt_at(2.2).unwrap());
    }

    #[test]
    fn an_optimum_beyond_the_tested_sizes_is_a_bound() {
        let mut group = group_of(&LAW, MEMORY);
        if let Some(fit) = &mut group.law {
            fit.batch_sizes = [16.0, 256.0];
        }
        let e = b_opt_at(&group, 2.2).unwrap();
        assert_eq!((e.b_opt.value, e.b_opt.high, e.b_opt.open), (None, None, Open::High));
        assert_eq!(e.b_opt.low, Some(256.0));
    }

    #[test]
    fn losses_that_the_law_does_not_rest_on_are_named() {
        let group = group_of(&LAW, MEMORY);
        let [low, high] = group.law.as_ref().unwrap().losses;
        assert_eq!(b_opt_at(&group, 2.2).unwrap().extrapolated_from, None);
        assert_eq!(b_opt_at(&group, low - 0.05).unwrap().extrapolated_from, Some([low, high]));
    }

    #[test]
    fn below_the_floor_there_is_no_best_batch() {
        assert!(b_opt_at(&group_of(&LAW, MEMORY), 1.9).unwrap_err().contains("floor"));
    }
}
