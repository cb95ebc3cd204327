//! The fit windows of a law along batch changes, and their scores on batch sizes left out.

use super::model::{Found, Problem, rms};
use super::set::AlongSet;
use crate::curve::model::Refusal;
use crate::curve::series::{Bin, ConstantSeries, SwitchedSeries};
use crate::curve::threads;
use crate::curve::window::{keeps, longest_warmup, not_worse};
use crate::units::count;

/// Batch sizes that the law is held by.
const SIZES: usize = 4;
/// Sizes that must have been left out and predicted.
const SCORED: usize = 2;
/// A prediction of a size left out may miss by this share of what the change did.
const TOLD: f64 = 0.5;
/// A size may be left out where the others keep this share of the range of steps.
const SPAN: f64 = 0.5;
/// Windows tried, the last of powers of two.
const MOST_WINDOWS: usize = 5;

/// A batch size predicted from the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Predicted {
    /// Tokens a step.
    pub batch_size: f64,
    /// Rms error of the loss after changes to it, nats.
    pub rms_nats: f64,
    /// How much those changes did by the law, rms, nats.
    did: f64,
}

/// The fit after one burn-in.
#[derive(Debug)]
pub(super) struct Window {
    pub burn_in: f64,
    pub set: AlongSet,
    pub found: Found,
    pub left_out: Vec<Predicted>,
}

impl Window {
    pub fn errors(&self) -> Vec<f64> {
        self.left_out.iter().map(|l| l.rms_nats).collect()
    }

    /// Mean error of a size left out, nats.
    pub fn held_out(&self) -> Option<f64> {
        let n = self.left_out.len();
        (n > 0).then(|| self.left_out.iter().map(|l| l.rms_nats).sum::<f64>() / n as f64)
    }
}

/// The windows tried, and the one that predicts best.
#[derive(Debug)]
pub(super) struct Tried {
    pub all: Vec<Window>,
    pub best: usize,
}

impl Tried {
    pub fn best(&self) -> &Window {
        &self.all[self.best]
    }

    /// Of each window: whether it cannot be told from the best one.
    pub fn comparable(&self) -> Vec<bool> {
        let reference = self.best().errors();
        self.all.iter().map(|w| not_worse(&w.errors(), &reference)).collect()
    }

    /// All windows of runs at one batch size and of changed ones; what they lack where no law is
    /// to be read from them.
    pub fn all(
        constant: &[&ConstantSeries],
        changed: &[&SwitchedSeries],
    ) -> Result<Tried, Refusal> {
        let burn_ins = burn_ins(constant, changed);
        let scored_from = burn_ins.last().copied().unwrap_or(0.0);
        let mut all: Vec<Window> = Vec::new();
        let mut most = AlongSet::default();
        for burn_in in burn_ins {
            let set = AlongSet::new(constant, changed, burn_in);
            if set.sizes.len() >= SIZES {
                let near = all.last().map(|w| w.found.theta);
                let problem = Problem::new(&set).ok_or_else(Refusal::not_finite)?;
                let Some(found) = problem.fit(near.as_ref()) else { continue };
                let left_out = left_out(&set, &found, scored_from);
                all.push(Window { burn_in, set, found, left_out });
            } else if set.sizes.len() > most.sizes.len() {
                most = set;
            }
        }
        let scored = all.iter().enumerate().filter_map(|(i, w)| Some((i, w.held_out()?)));
        let Some((best, _)) = scored.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            let list: Vec<String> = most.sizes.iter().map(|b| count(*b)).collect();
            return Err(Refusal::new(
                format!(
                    "{} of {SIZES} batch sizes needed, those that runs changed to among them: {}",
                    list.len(),
                    list.join(", ")
                ),
                "branches of one checkpoint at other batch sizes, each twice the one before",
            ));
        };
        told(&all[best])?;
        Ok(Tried { all, best })
    }
}

/// Whether what is left out is predicted from the rest.
fn told(window: &Window) -> Result<(), Refusal> {
    let scored = window.left_out.len();
    if scored < SCORED {
        return Err(Refusal::new(
            format!("{scored} of {SCORED} batch sizes that could be left out and predicted"),
            "branches of one checkpoint at more batch sizes",
        ));
    }
    let square = |f: fn(&Predicted) -> f64| {
        (window.left_out.iter().map(|l| f(l).powi(2)).sum::<f64>() / scored as f64).sqrt()
    };
    let (missed, did) = (square(|l| l.rms_nats), square(|l| l.did));
    // The noise of the lines is not the law's.
    let missed = (missed.powi(2) - window.set.noise).max(0.0).sqrt();
    if missed <= TOLD * did {
        return Ok(());
    }
    let worst = window.left_out.iter().max_by(|a, b| a.rms_nats.total_cmp(&b.rms_nats));
    Err(Refusal::new(
        format!(
            "along the batch changes a size left out is missed by {missed:.4} nats where its change \
             did {did:.4}{}",
            worst.map_or(String::new(), |w| format!(", most of all {}", count(w.batch_size)))
        ),
        "longer branches, or sizes further apart",
    ))
}

/// Each size predicted from the others, where those reach as far back.
fn left_out(set: &AlongSet, found: &Found, from: f64) -> Vec<Predicted> {
    let one = |size: usize, batch_size: &f64| {
        let (rest, out) = set.without(|p| p.size == size);
        if rest.sizes.len() + 1 < SIZES || rest.span() < SPAN * set.span() {
            return None;
        }
        let changed = |i: &usize| set.parts.iter().any(|p| p.changed && p.range.contains(i));
        let out: Vec<usize> = out
            .into_iter()
            .filter(|i| changed(i) && set.points[*i].ln_steps >= from.ln())
            .collect();
        let law = Problem::new(&rest)?.fit(Some(&found.theta))?;
        let did = out.iter().map(|&i| (unchanged(found, set, i), set.points[i].weight));
        let (sum, weight) = did.fold((0.0, 0.0), |(s, n), (x, w)| (s + w * x * x, n + w));
        (!out.is_empty()).then(|| Predicted {
            batch_size: *batch_size,
            rms_nats: rms(&law, set, out),
            did: (sum / weight).sqrt(),
        })
    };
    threads::map(&set.sizes, one).into_iter().flatten().collect()
}

/// How much the last change did to a point by the law, nats.
fn unchanged(found: &Found, set: &AlongSet, i: usize) -> f64 {
    let mut past = set.pasts[i].clone();
    if let [.., before, last] = past.as_mut_slice() {
        // As many tokens at the size before.
        last.steps *= last.batch_size / before.batch_size;
        last.batch_size = before.batch_size;
    }
    found.loss(&past) - found.loss(&set.pasts[i])
}

/// Powers of two from the end of the longest warmup on, as far as every run that was trained from the
/// start keeps enough.
fn burn_ins(constant: &[&ConstantSeries], changed: &[&SwitchedSeries]) -> Vec<f64> {
    let own = || changed.iter().filter(|s| !s.shared).map(|s| s.bins.as_slice());
    let whole: Vec<&[Bin]> = constant.iter().map(|s| s.bins.as_slice()).chain(own()).collect();
    let firsts = own().filter_map(|bins| bins.first().map(|b| (b.steps, b.tokens)));
    let stable = constant.iter().map(|s| (s.stable_from_steps, s.stable_from_tokens));
    let kept = |burn_in: f64| whole.iter().filter(|bins| keeps(bins, burn_in)).count();
    let start = longest_warmup(stable.chain(firsts), |s| kept(s.max(1.0)), SIZES);
    let mut grid = vec![start.map_or(1.0, |s| s.max(1.0))];
    let held = kept(grid[0]);
    while grid.len() < 40 && kept(grid[grid.len() - 1] * 2.0) == held {
        grid.push(grid[grid.len() - 1] * 2.0);
    }
    grid.drain(..grid.len().saturating_sub(MOST_WINDOWS));
    grid
}
