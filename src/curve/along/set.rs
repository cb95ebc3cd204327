//! What the law with memory is fitted to: bins of runs at one batch size and of runs that changed it,
//! each with the run's whole past.

use crate::curve::data::LawPoint;
use crate::curve::{Bin, ConstantSeries, Stretch, SwitchedSeries};

/// Bins that a part must have.
const FEWEST: usize = 4;
/// A size with fewer bins than this weighs less than the others.
const FULL: f64 = 20.0;
/// What a law misses a run by anyway, nats: bins that are noisier than this count less.
pub(super) const LAW_NATS: f64 = 0.003;

/// Bins of one run at one batch size: all of them have the same misfit of the law.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub run: String,
    /// Index into [`AlongSet::sizes`].
    pub size: usize,
    pub range: std::ops::Range<usize>,
    /// It begins with a change of the batch size.
    pub changed: bool,
}

/// A part before it has its place: its bins, each with its past.
struct Raw {
    run: String,
    batch_size: f64,
    changed: bool,
    bins: Vec<(Bin, Vec<Stretch>)>,
}

/// Bins with the past of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AlongSet {
    pub points: Vec<LawPoint>,
    /// Of each point: the stretches from step 0 on, the last one cut at the point.
    pub pasts: Vec<Vec<Stretch>>,
    pub parts: Vec<Part>,
    /// Distinct batch sizes, ascending.
    pub sizes: Vec<f64>,
    /// Mean squared error of the points by the noise of their lines, nats squared.
    pub noise: f64,
}

impl AlongSet {
    /// Bins from `burn_in` steps on. What a changed run shares with another counts there.
    pub fn new(
        constant: &[&ConstantSeries],
        changed: &[&SwitchedSeries],
        burn_in: f64,
    ) -> AlongSet {
        let mut raw: Vec<Raw> = Vec::new();
        let counts = |b: &Bin| b.steps >= burn_in && b.steps.is_finite() && b.loss.is_finite();
        for s in constant {
            let batch_size = s.batch_size;
            let past = |b: &Bin| vec![Stretch { batch_size, steps: b.steps }];
            let bins = s.bins.iter().filter(|b| counts(b)).map(|b| (*b, past(b))).collect();
            raw.push(Raw { run: s.run.clone(), batch_size, changed: false, bins });
        }
        for s in changed {
            let counted = s.shared || constant.iter().any(|c| c.run == s.run);
            let mut from = 0.0;
            for (k, stretch) in s.stretches.iter().enumerate() {
                let to = from + stretch.steps;
                let last = k + 1 == s.stretches.len();
                let here = |b: &&Bin| b.steps > from && (last || b.steps <= to) && counts(b);
                if k > 0 || !counted {
                    let bins = s.bins.iter().filter(here).map(|b| (*b, past(s, b.steps)));
                    raw.push(Raw {
                        run: s.run.clone(),
                        batch_size: stretch.batch_size,
                        changed: k > 0,
                        bins: bins.collect(),
                    });
                }
                from = to;
            }
        }
        AlongSet::of(raw)
    }

    fn of(mut raw: Vec<Raw>) -> AlongSet {
        raw.retain(|r| r.bins.len() >= FEWEST && r.batch_size.is_finite() && r.batch_size > 0.0);
        raw.sort_by(|a, b| a.batch_size.total_cmp(&b.batch_size).then_with(|| a.run.cmp(&b.run)));
        let mut set = AlongSet::default();
        let (mut squares, mut n) = (0.0, 0.0);
        for Raw { run, batch_size, changed, bins } in raw {
            if set.sizes.last().is_none_or(|&b| (batch_size / b).ln().abs() > 1e-3) {
                set.sizes.push(batch_size);
            }
            let (from, size) = (set.points.len(), set.sizes.len() - 1);
            for (bin, past) in bins {
                (squares, n) = (squares + bin.se * bin.se, n + 1.0);
                set.points.push(LawPoint {
                    ln_steps: bin.steps.ln(),
                    ln_batch: batch_size.ln(),
                    loss: bin.loss,
                    weight: 1.0 / (1.0 + (bin.se.max(0.0) / LAW_NATS).powi(2)),
                    size,
                });
                set.pasts.push(past);
            }
            set.parts.push(Part { run, size, range: from..set.points.len(), changed });
        }
        set.noise = squares / f64::max(n, 1.0);
        set.reweigh();
        set
    }

    /// Every size the same in total, those of few bins less, 1 on average.
    fn reweigh(&mut self) {
        let (mut count, mut sum) = (vec![0.0; self.sizes.len()], vec![0.0; self.sizes.len()]);
        for p in &self.points {
            count[p.size] += 1.0;
            sum[p.size] += p.weight;
        }
        for p in &mut self.points {
            p.weight *= (count[p.size] / FULL).min(1.0) / sum[p.size];
        }
        let mean: f64 =
            self.points.iter().map(|p| p.weight).sum::<f64>() / self.points.len().max(1) as f64;
        self.points.iter_mut().for_each(|p| p.weight /= mean);
    }

    /// The set without some parts, and the indices of what is left out.
    pub fn without(&self, out: impl Fn(&Part) -> bool) -> (AlongSet, Vec<usize>) {
        let mut set = AlongSet { noise: self.noise, ..AlongSet::default() };
        for part in self.parts.iter().filter(|p| !out(p)) {
            let b = self.sizes[part.size];
            if set.sizes.last() != Some(&b) {
                set.sizes.push(b);
            }
            let (from, size) = (set.points.len(), set.sizes.len() - 1);
            let kept = self.points[part.range.clone()].iter();
            set.points.extend(kept.map(|p| LawPoint { size, ..*p }));
            set.pasts.extend_from_slice(&self.pasts[part.range.clone()]);
            set.parts.push(Part { size, range: from..set.points.len(), ..part.clone() });
        }
        set.reweigh();
        let left_out = self.parts.iter().filter(|p| out(p)).flat_map(|p| p.range.clone());
        (set, left_out.collect())
    }

    /// Factor of steps that the points lie within, as a logarithm.
    pub fn span(&self) -> f64 {
        let ends =
            |[low, high]: [f64; 2], p: &LawPoint| [low.min(p.ln_steps), high.max(p.ln_steps)];
        let [low, high] = self.points.iter().fold([f64::INFINITY, f64::NEG_INFINITY], ends);
        (high - low).max(0.0)
    }

    /// Lowest and highest loss.
    pub fn losses(&self) -> [f64; 2] {
        let all = self.points.iter().map(|p| p.loss);
        [all.clone().fold(f64::INFINITY, f64::min), all.fold(f64::NEG_INFINITY, f64::max)]
    }
}

/// The stretches of a run up to some steps.
fn past(s: &SwitchedSeries, steps: f64) -> Vec<Stretch> {
    let mut left = steps;
    let mut out = Vec::new();
    for (k, stretch) in s.stretches.iter().enumerate() {
        let last = k + 1 == s.stretches.len();
        let here = if last { left } else { stretch.steps.min(left) };
        if here > 0.0 {
            out.push(Stretch { steps: here, ..*stretch });
        }
        left -= here;
    }
    out
}
