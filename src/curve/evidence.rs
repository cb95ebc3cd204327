//! What the points of a level say of B_opt without any model, and the interval that respects it.
//!
//! E(B) has one minimum, so a size that needed clearly more tokens than the best one bounds B_opt
//! on its side; so does a run that was trained longer than the best needed and never arrived
//! (censored). Where the best size is the smallest or the largest that was tested, no model may
//! claim to know the other side.

use super::level::{Point, Points};
use super::report::{Interval, Open};
use super::uncertainty::{LEVEL, open};

/// Standard errors that make a difference in ln E clear.
const CLEAR: f64 = 2.0;

/// Noise of a run that never arrived, in ln E, at most.
const MOST_NOISE: f64 = 0.1;

/// Bounds of B_opt from the points alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Evidence {
    /// Smallest and largest size that reached the level.
    pub smallest: f64,
    pub largest: f64,
    /// The size that needed the fewest tokens.
    pub best: f64,
    /// B_opt is above this size, which clearly needed more tokens than the best.
    pub above: Option<f64>,
    /// The bound from below is a run that never arrived.
    pub above_is_censored: bool,
    /// B_opt is below this size.
    pub below: Option<f64>,
}

impl Evidence {
    pub fn of(points: &Points) -> Option<Evidence> {
        let best = points.best()?;
        // A run that never arrived might have, but for its noise: that of the surest crossing.
        let clearly_worse = |p: &&Point| {
            let se = if p.censored { points.least_se().min(MOST_NOISE) } else { p.se };
            let se = se.hypot(best.se);
            p.ln_tokens() - best.ln_tokens() > CLEAR * se
        };
        let above = points.iter().filter(|p| p.batch_size < best.batch_size).rfind(clearly_worse);
        let below = points.iter().filter(|p| p.batch_size > best.batch_size).find(clearly_worse);
        Some(Evidence {
            smallest: points.smallest_reached()?,
            largest: points.reached().last()?.batch_size,
            best: best.batch_size,
            above: above.map(|p| p.batch_size),
            above_is_censored: above.is_some_and(|p| p.censored),
            below: below.map(|p| p.batch_size),
        })
    }

    /// The best size is the smallest tested, with nothing below it.
    pub fn at_smallest(&self) -> bool {
        self.best <= self.smallest && self.above.is_none()
    }

    pub fn at_largest(&self) -> bool {
        self.best >= self.largest && self.below.is_none()
    }

    /// B_opt from a model's value and the span of its uncertainty (0 and infinity: no bound),
    /// one-sided where the data are.
    pub fn b_opt(&self, value: Option<f64>, span: [f64; 2]) -> Interval {
        let floor = self.above.unwrap_or(self.smallest);
        let ceiling = self.below.unwrap_or(self.largest);
        let hold = |b: f64| b.clamp(self.above.unwrap_or(0.0), self.below.unwrap_or(f64::INFINITY));
        let (value, low, high) = (value.map(hold), hold(span[0]), hold(span[1]));
        let below_tested = |b: f64| b < floor * (1.0 - 1e-9);
        let above_tested = |b: f64| b > ceiling * (1.0 + 1e-9);
        let mut open_low = self.at_smallest() || below_tested(low);
        let mut open_high = self.at_largest() || above_tested(high);
        let value = match value {
            Some(v) if below_tested(v) => {
                open_low = true;
                None
            }
            Some(v) if above_tested(v) => {
                open_high = true;
                None
            }
            other => other,
        };
        // The best size measured is always a candidate.
        let low = low.min(self.best);
        let high = high.max(self.best);
        Interval {
            value,
            low: (!open_low).then_some(low),
            high: (!open_high && high.is_finite()).then_some(high),
            level: LEVEL,
            open: open(open_low, open_high),
        }
    }

    /// Words for what the interval rests on.
    pub fn words(&self, interval: &Interval) -> Option<String> {
        use crate::units::count;
        let near = |a: Option<f64>, b: f64| a.is_some_and(|a| (a / b - 1.0).abs() < 1e-9);
        match interval.open {
            Open::Low if near(interval.high, self.smallest) => Some(format!(
                "the optimum is at or below {}, the smallest batch size that reached this loss",
                count(self.smallest)
            )),
            Open::Low => Some(format!(
                "nothing bounds the optimum from below: {} is the smallest batch size that reached \
                 this loss",
                count(self.smallest)
            )),
            Open::High if near(interval.low, self.largest) => Some(format!(
                "the optimum is at or above {}, the largest batch size that reached this loss",
                count(self.largest)
            )),
            Open::High => Some(format!(
                "nothing bounds the optimum from above: {} is the largest batch size that reached \
                 this loss",
                count(self.largest)
            )),
            Open::Both => Some("the batch sizes tested do not bracket the optimum".into()),
            Open::None if self.above_is_censored => self.above.map(|b| {
                format!(
                    "bounded from below by {}, which was trained longer than {} needed and never \
                     reached this loss",
                    count(b),
                    count(self.best)
                )
            }),
            Open::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(tokens: &[(f64, f64, bool)]) -> Points {
        let point = |&(batch_size, e, censored): &(f64, f64, bool)| Point {
            batch_size,
            ln_steps: (e / batch_size).ln(),
            se: 0.02,
            censored,
        };
        Points::from_points(tokens.iter().map(point).collect())
    }

    #[test]
    fn the_smallest_size_being_best_leaves_the_interval_open_below() {
        let e =
            Evidence::of(&points(&[(16.0, 1.0, false), (32.0, 1.2, false), (64.0, 1.9, false)]))
                .unwrap();
        assert!(e.at_smallest() && !e.at_largest());
        let i = e.b_opt(Some(9.0), [5.0, 20.0]);
        assert_eq!((i.value, i.low, i.high, i.open), (None, None, Some(20.0), Open::Low));
        // 32 clearly needed more: the optimum is below it whatever the model says.
        let i = e.b_opt(Some(24.0), [10.0, 60.0]);
        assert_eq!((i.value, i.low, i.high, i.open), (Some(24.0), None, Some(32.0), Open::Low));
    }

    #[test]
    fn a_smaller_run_that_trained_longer_and_never_arrived_bounds_from_below() {
        let e = Evidence::of(&points(&[(16.0, 3.0, true), (32.0, 1.0, false), (64.0, 1.4, false)]))
            .unwrap();
        assert!(!e.at_smallest());
        let i = e.b_opt(Some(9.0), [2.0, 50.0]);
        assert_eq!(
            (i.value, i.low, i.high, i.open),
            (Some(16.0), Some(16.0), Some(50.0), Open::None)
        );
        assert!(e.words(&i).unwrap().contains("never"));
        // One that stopped early bounds nothing.
        let e = Evidence::of(&points(&[(16.0, 0.9, true), (32.0, 1.0, false), (64.0, 1.4, false)]))
            .unwrap();
        assert_eq!(e.b_opt(Some(30.0), [2.0, 50.0]).open, Open::Low);
    }

    #[test]
    fn the_largest_size_being_best_leaves_the_interval_open_above() {
        let e =
            Evidence::of(&points(&[(16.0, 3.0, false), (32.0, 2.0, false), (64.0, 1.4, false)]))
                .unwrap();
        let i = e.b_opt(Some(90.0), [40.0, f64::INFINITY]);
        assert_eq!((i.value, i.low, i.high, i.open), (None, Some(40.0), None, Open::High));
        // The interval begins below 64: the words may not claim more.
        assert!(e.words(&i).unwrap().starts_with("nothing bounds the optimum from above"));
        let i = e.b_opt(Some(90.0), [64.0, f64::INFINITY]);
        assert!(e.words(&i).unwrap().starts_with("the optimum is at or above 64"));
    }

    #[test]
    fn an_inner_best_with_clear_neighbours_closes_both_sides() {
        let e =
            Evidence::of(&points(&[(16.0, 1.4, false), (32.0, 1.0, false), (64.0, 1.4, false)]))
                .unwrap();
        let i = e.b_opt(Some(33.0), [0.0, f64::INFINITY]);
        assert_eq!(
            (i.value, i.low, i.high, i.open),
            (Some(33.0), Some(16.0), Some(64.0), Open::None)
        );
    }
}
