//! What a loss law is fitted to: the binned series of all constant runs after the burn-in.

use super::series::{ConstantSeries, Group};

/// One bin of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LawPoint {
    pub ln_steps: f64,
    pub ln_batch: f64,
    /// Nats.
    pub loss: f64,
    /// 1 on average; by default such that every batch size weighs the same in total.
    pub weight: f64,
    /// Index into [`SeriesSet::sizes`].
    pub size: usize,
}

/// What the points of a set weigh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Weights {
    /// Every batch size the same in total.
    #[default]
    Sizes,
    /// Every bin the same: a size of several runs, or of many bins after the burn-in, weighs more.
    Bins,
}

/// A run of the set: its points are `range`.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpan {
    pub run: String,
    pub size: usize,
    pub range: std::ops::Range<usize>,
}

/// Binned series with the weights of the fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesSet {
    pub points: Vec<LawPoint>,
    pub runs: Vec<RunSpan>,
    /// Distinct batch sizes, ascending.
    pub sizes: Vec<f64>,
    /// Mean squared error of each run's points by the noise of its lines, nats squared.
    pub(super) noise: Vec<f64>,
    pub(super) weights: Weights,
}

/// Runs of at most this many bins: more say nothing new about a six-parameter law.
const MOST_BINS: usize = 40;

/// The runs of a group that the constant-batch models are fitted to.
pub fn usable(group: &Group) -> Vec<&ConstantSeries> {
    let left_out = |run: &str| group.members.iter().any(|m| m.run == run && !m.used);
    let fit = |s: &&ConstantSeries| {
        s.batch_size.is_finite() && s.batch_size > 0.0 && !s.drifts_upward && !left_out(&s.run)
    };
    group.constant.iter().filter(fit).collect()
}

impl SeriesSet {
    /// Bins from `burn_in` steps on. Runs with fewer than four bins there are left out.
    pub fn new(series: &[&ConstantSeries], burn_in: f64) -> SeriesSet {
        let mut set = SeriesSet::default();
        let mut order: Vec<&&ConstantSeries> = series.iter().collect();
        order.sort_by(|a, b| a.batch_size.total_cmp(&b.batch_size).then_with(|| a.run.cmp(&b.run)));
        for s in order {
            let bins: Vec<_> = s
                .bins
                .iter()
                .filter(|b| b.steps >= burn_in && b.steps > 0.0 && b.steps.is_finite())
                .filter(|b| b.loss.is_finite())
                .collect();
            if bins.len() < 4 {
                continue;
            }
            if set.sizes.last().is_none_or(|&b| (s.batch_size / b).ln().abs() > 1e-3) {
                set.sizes.push(s.batch_size);
            }
            let (from, size, take) =
                (set.points.len(), set.sizes.len() - 1, bins.len().min(MOST_BINS));
            for k in 0..take {
                // Neighbours are averaged where there are more bins than wanted.
                let part = &bins[k * bins.len() / take..(k + 1) * bins.len() / take];
                let mean = |f: &dyn Fn(&super::Bin) -> f64| {
                    part.iter().map(|b| f(b)).sum::<f64>() / part.len() as f64
                };
                set.points.push(LawPoint {
                    ln_steps: mean(&|b| b.steps.ln()),
                    ln_batch: s.batch_size.ln(),
                    loss: mean(&|b| b.loss),
                    weight: 1.0,
                    size,
                });
            }
            set.runs.push(RunSpan { run: s.run.clone(), size, range: from..set.points.len() });
            let squares: f64 = bins.iter().map(|b| b.se * b.se).sum();
            set.noise.push(squares * take as f64 / (bins.len() * bins.len()) as f64);
        }
        set.reweigh();
        set
    }

    /// The same points with other weights.
    pub(super) fn weighed(mut self, weights: Weights) -> SeriesSet {
        self.weights = weights;
        self.reweigh();
        self
    }

    fn reweigh(&mut self) {
        if self.weights == Weights::Bins {
            self.points.iter_mut().for_each(|p| p.weight = 1.0);
            return;
        }
        let mut count = vec![0.0; self.sizes.len()];
        self.points.iter().for_each(|p| count[p.size] += 1.0);
        let share = self.points.len() as f64 / self.sizes.len().max(1) as f64;
        self.points.iter_mut().for_each(|p| p.weight = share / count[p.size]);
    }

    /// The set without one batch size.
    pub fn without(&self, size: usize) -> SeriesSet {
        let mut set = SeriesSet { weights: self.weights, ..SeriesSet::default() };
        for (i, run) in self.runs.iter().enumerate().filter(|(_, r)| r.size != size) {
            set.noise.extend(self.noise.get(i));
            let b = self.sizes[run.size];
            if set.sizes.last() != Some(&b) {
                set.sizes.push(b);
            }
            let from = set.points.len();
            let index = set.sizes.len() - 1;
            let kept = self.points[run.range.clone()].iter();
            set.points.extend(kept.map(|p| LawPoint { size: index, ..*p }));
            let range = from..set.points.len();
            set.runs.push(RunSpan { run: run.run.clone(), size: index, range });
        }
        set.reweigh();
        set
    }

    /// Rms error of the points by the noise of the lines, nats, every run with the same weight.
    pub fn noise(&self) -> f64 {
        (self.noise.iter().sum::<f64>() / self.noise.len().max(1) as f64).sqrt()
    }

    /// Standard error of the square of that by how few the points are, nats squared.
    pub(super) fn noise_error(&self) -> f64 {
        let each = self.noise.iter().zip(&self.runs);
        let sum: f64 = each.map(|(v, r)| 2.0 * v * v / r.range.len().max(1) as f64).sum();
        sum.sqrt() / self.noise.len().max(1) as f64
    }

    /// Ranges of batch size and loss that the set covers.
    pub fn losses(&self) -> [f64; 2] {
        let all = self.points.iter().map(|p| p.loss);
        [all.clone().fold(f64::INFINITY, f64::min), all.fold(f64::NEG_INFINITY, f64::max)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{Bin, LossKind};

    fn series(run: &str, batch_size: f64, bins: usize) -> ConstantSeries {
        let bins = (1..=bins)
            .map(|i| Bin {
                steps: i as f64 * 10.0,
                tokens: i as f64 * 10.0 * batch_size,
                loss: 3.0 - i as f64 * 0.01,
                se: 0.01,
            })
            .collect();
        ConstantSeries {
            run: run.into(),
            batch_size,
            bins,
            stable_from_steps: 5.0,
            stable_from_tokens: 5.0 * batch_size,
            to_tokens: 1e6,
            drifts_upward: false,
        }
    }

    #[test]
    fn every_batch_size_weighs_the_same_whatever_its_runs() {
        let runs = [series("b", 8.0, 20), series("a", 4.0, 50), series("c", 8.0, 10)];
        let set = SeriesSet::new(&runs.iter().collect::<Vec<_>>(), 0.0);
        assert_eq!(set.sizes, [4.0, 8.0]);
        assert_eq!(set.runs.len(), 3);
        let total =
            |size| set.points.iter().filter(|p| p.size == size).map(|p| p.weight).sum::<f64>();
        assert!((total(0) - total(1)).abs() < 1e-9);
        let less = set.without(0);
        assert_eq!(less.sizes, [8.0]);
        assert!((less.points.iter().map(|p| p.weight).sum::<f64>() - 30.0).abs() < 1e-9);
        let alike = set.weighed(Weights::Bins);
        assert!(alike.points.iter().chain(&alike.without(1).points).all(|p| p.weight == 1.0));
    }

    #[test]
    fn long_series_are_averaged_and_short_ones_left_out() {
        let runs = [series("a", 4.0, 600), series("b", 8.0, 5)];
        let set = SeriesSet::new(&runs.iter().collect::<Vec<_>>(), 25.0);
        assert_eq!(set.points.len(), MOST_BINS);
        assert_eq!(set.sizes, [4.0]);
    }

    #[test]
    fn a_drifting_run_and_one_left_out_are_not_used() {
        let mut a = series("a", 4.0, 10);
        a.drifts_upward = true;
        let group = Group {
            id: "g".into(),
            lr: None,
            on: LossKind::Train,
            members: vec![crate::curve::Member { run: "b".into(), used: false, why: None }],
            constant: vec![a, series("b", 8.0, 10), series("c", 8.0, 10)],
            switched: vec![],
            decayed: vec![],
            other: None,
        };
        assert_eq!(usable(&group).iter().map(|s| s.run.as_str()).collect::<Vec<_>>(), ["c"]);
    }
}
