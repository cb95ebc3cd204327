//! The part of a run that may enter a fit: its stable phase at one learning rate, and which of its
//! losses is fitted.

use super::LossKind;
use super::binning::Window;
use super::kept::Kept;
use crate::run::{Columns, Phase, RunData, Schedule, Segment};

/// Relative difference of learning rates within one group.
pub(super) const SAME_LR: f64 = 0.01;
/// Losses that a fit needs where there is another to choose: in all, and of each batch size.
const DENSE: usize = 20;
const DENSE_EACH: usize = 8;
/// Train noise over validation noise above which the validation loss is preferred.
const NOISIER: f64 = 3.0;

/// The stable phase of a run, from its first plateau to whatever ends it.
#[derive(Debug, Clone)]
pub(super) struct Stable {
    pub from_steps: f64,
    pub from_tokens: f64,
    pub to_tokens: f64,
    /// Segments up to the end of the stable phase.
    pub segments: Vec<Segment>,
}

/// Learning rate of the first plateau.
pub(super) fn plateau(run: &RunData) -> Option<f64> {
    let first = run.phases.spans.iter().find(|s| s.phase == Phase::Stable)?;
    first.lr
}

/// The stable phase of a run: from its first plateau to whatever ends it.
pub(super) fn stable(run: &RunData) -> Result<Stable, String> {
    match run.phases.schedule {
        Schedule::Declining | Schedule::Unknown => return Err(run.phases.why.clone()),
        Schedule::Wsd | Schedule::Absent => {}
    }
    if run.train.is_empty() {
        return Err("nothing read yet".into());
    }
    let mut spans = run.phases.spans.iter().skip_while(|s| s.phase != Phase::Stable);
    let Some(first) = spans.next() else { return Err("still in its warmup".into()) };
    let same = |lr: Option<f64>| match (lr, first.lr) {
        (Some(a), Some(b)) => (a / b - 1.0).abs() <= SAME_LR,
        (a, b) => a.is_none() && b.is_none(),
    };
    let mut end = first.range.end;
    for s in spans.take_while(|s| s.phase == Phase::Stable && same(s.lr)) {
        end = s.range.end;
    }
    let at = |column: &[f64], i: usize| column.get(i).copied().unwrap_or(f64::NAN);
    let (from, last) = (first.range.start, end.saturating_sub(1));
    let out = Stable {
        from_steps: at(&run.train.step, from),
        from_tokens: at(&run.train.tokens, from),
        to_tokens: at(&run.train.tokens, last),
        segments: run.segments.iter().filter(|s| s.range.start < end).cloned().collect(),
    };
    if out.segments.is_empty() {
        return Err("no batch size is known: give one (--assume-batch), or --seq-len where it is logged in sequences".into());
    }
    if !(out.from_tokens.is_finite() && out.to_tokens > out.from_tokens && out.to_tokens > 0.0) {
        return Err("its stable phase has only just begun".into());
    }
    Ok(out)
}

/// The columns of the loss that is fitted.
pub(super) fn columns(run: &RunData, on: LossKind) -> &Columns {
    match on {
        LossKind::Train => &run.train,
        LossKind::Val => &run.validation,
    }
}

fn window(s: &Stable) -> Window {
    Window { from: s.from_tokens, to: s.to_tokens, closed: true }
}

/// Whether a loss is logged often enough to be fitted at every batch size.
pub(super) fn dense(usable: &[(&RunData, &Stable)], on: LossKind) -> bool {
    let mut sizes: Vec<(f64, usize)> = Vec::new();
    for (r, s) in usable {
        let Some(b) = s.segments.first().map(|g| g.batch_size) else { continue };
        let n = window(s).points(columns(r, on));
        match sizes.iter_mut().find(|(x, _)| (x / b - 1.0).abs() < 1e-3) {
            Some((_, m)) => *m += n,
            None => sizes.push((b, n)),
        }
    }
    let all: usize = sizes.iter().map(|(_, n)| n).sum();
    all >= DENSE && sizes.iter().all(|(_, n)| *n >= DENSE_EACH)
}

/// Validation where there is no train loss, or where it is dense at every batch size and the train
/// loss is several times noisier; else train.
pub(super) fn choose_loss(usable: &[(&RunData, &Stable)], bins: &Kept) -> LossKind {
    let train: usize = usable.iter().map(|(r, s)| window(s).points(&r.train)).sum();
    let val: usize = usable.iter().map(|(r, s)| window(s).points(&r.validation)).sum();
    if train == 0 && val > 0 {
        return LossKind::Val;
    }
    let noise = |on: LossKind| {
        let mut se: Vec<f64> = usable
            .iter()
            .flat_map(|(r, s)| bins.constant(r, on, window(s)))
            .map(|b| b.se)
            .collect();
        se.sort_by(f64::total_cmp);
        se.get(se.len() / 2).copied().unwrap_or(f64::NAN)
    };
    if dense(usable, LossKind::Val) && noise(LossKind::Train) > NOISIER * noise(LossKind::Val) {
        LossKind::Val
    } else {
        LossKind::Train
    }
}

#[cfg(test)]
mod tests {
    use crate::curve::{GroupOptions, group_runs, levels, observe};
    use crate::metrics::Record;
    use crate::run::{Assumptions, Recorder};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn garbage_is_refused_and_never_panics(
            loss in prop::collection::vec(prop_oneof![
                4 => 0.0f64..5.0, 1 => Just(f64::NAN), 1 => Just(0.0), 1 => Just(f64::INFINITY),
            ], 0..40),
            shape in 0..4,
            batch in prop_oneof![Just(None), (1.0f64..100.0).prop_map(Some)],
        ) {
            let mut r = Recorder::new("r", Assumptions::default());
            for (i, l) in loss.iter().enumerate() {
                let l = match shape { 0 => *l, 1 => 2.5, 2 => i as f64, _ => 0.0 };
                r.push(0, &Record {
                    step: Some(i as f64), loss: Some(l), batch_tokens: batch, ..Record::default()
                });
            }
            for g in group_runs(&[r.data(), r.data()], &GroupOptions::default()) {
                for l in levels(&g, 10).into_iter().chain([0.0, 2.5, f64::NAN]) {
                    for o in observe(&g, l) {
                        prop_assert!(o.tokens > 0.0 && o.steps > 0.0 && o.se_ln >= 0.0);
                    }
                }
                prop_assert!(g.members.iter().all(|m| m.used || m.why.is_some()));
            }
        }
    }
}
