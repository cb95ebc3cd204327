//! The joint law held to the points of one level.
//!
//! One law of six parameters over all levels can miss the points of a single one by more than their
//! errors, and then puts the optimum where the runs show that it is not. There the law keeps its
//! shape (alpha, gamma, q, L_inf) and is moved to the points along both axes: c -> c e^(gamma u)
//! moves the curve by u in ln B, a -> a e^(alpha v) by v in ln E. Where the points do not ask for
//! it, the law stays what all levels made it.

use super::law::Law;
use super::level::Points;
use super::solve::{Residuals, Settings, WARM, huber, minimise};

/// Batch sizes that must have reached the level.
const SIZES: usize = 3;
/// What a crossing may be off by beside its own error, in ln E.
const BESIDE: f64 = 0.03;
/// Standard deviation of u before the points are seen.
const PRIOR: f64 = 0.7;
/// Fall of the cost (half of chi square) beyond which the points ask for a move: what two more
/// parameters must gain (Akaike 1974).
const ASKED: f64 = 2.0;
/// Cost a size beyond which the points contradict the law: two standard errors at each of them.
const MISSED: f64 = 2.0;

struct Fit<'a> {
    law: &'a Law,
    loss: f64,
    points: &'a Points,
}

impl Residuals<2> for Fit<'_> {
    fn count(&self) -> usize {
        self.points.len() + 1
    }

    fn evaluate(&mut self, p: &[f64; 2], r: &mut [f64], j: &mut [[f64; 2]]) -> bool {
        let moved = moved(self.law, *p);
        let d = self.loss - moved.l_inf;
        let along = |b: f64| {
            let noise = moved.noise(b);
            let steps = moved.steps_to(self.loss, b)?;
            let by_u = moved.gamma * noise / (moved.alpha * (d - noise));
            (steps.is_finite() && steps > 0.0).then(|| (steps.ln(), [by_u, 1.0]))
        };
        let n = self.points.len();
        (r[n], j[n]) = (p[0] / PRIOR, [1.0 / PRIOR, 0.0]);
        self.points.residuals(along, r, j)
    }
}

fn moved(law: &Law, [u, v]: [f64; 2]) -> Law {
    Law { c: law.c * (law.gamma * u).exp(), a: law.a * (law.alpha * v).exp(), ..*law }
}

/// Points with the error that the level alone does not show.
pub(super) fn widened(points: &Points) -> Points {
    let mut points = points.clone();
    points.iter_mut().for_each(|p| p.se = p.se.hypot(BESIDE));
    points
}

/// The law moved to (widened) points; `None` where it has no loss there.
pub(super) fn move_to(law: &Law, loss: f64, points: &Points) -> Option<Law> {
    // From where every size that arrived does.
    let (smallest, b_min) = (points.smallest_reached()?, law.b_min(loss)?);
    let u = (0.9 * smallest / b_min).ln().min(0.0);
    let settings = Settings {
        lower: [u - 3.0, -5.0],
        upper: [3.0, 5.0],
        huber: points.huber(),
        max_iterations: 60,
        tolerance: WARM,
    };
    let found = minimise(&mut Fit { law, loss, points }, [u, 0.0], &settings)?;
    Some(moved(law, found.p))
}

/// A law at the points of a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    pub law: Law,
    /// The points asked for a move.
    pub moved: bool,
    /// Even so it misses them: its shape is not theirs.
    pub contradicted: bool,
}

/// The law moved to the points where they ask for it.
pub(super) fn anchored(law: &Law, loss: f64, points: &Points) -> Held {
    let still = Held { law: *law, moved: false, contradicted: false };
    let reached = points.reached().count();
    if reached < SIZES {
        return still;
    }
    let points = widened(points);
    let Some(there) = move_to(law, loss, &points) else { return still };
    let (before, after) = (cost(law, law, loss, &points), cost(law, &there, loss, &points));
    let Some(after) = after else { return still };
    let moved = before.is_none_or(|before| before - after > ASKED);
    let left = if moved { after } else { before.unwrap_or(after) };
    let contradicted = left > MISSED * reached as f64;
    Held { law: if moved { there } else { *law }, moved, contradicted }
}

/// Huber cost of a law at the points, and of its distance from the first one.
fn cost(from: &Law, law: &Law, loss: f64, points: &Points) -> Option<f64> {
    let n = points.len();
    let (mut r, mut j) = (vec![0.0; n + 1], vec![[0.0; 2]; n + 1]);
    let u = (law.c / from.c).ln() / from.gamma;
    let sound = Fit { law, loss, points }.evaluate(&[0.0, 0.0], &mut r, &mut j);
    r[n] = u / PRIOR;
    sound.then(|| r.iter().map(|r| huber(*r, points.huber())).sum())
}

#[cfg(test)]
mod tests {
    use super::super::level::Point;
    use super::*;

    const LAW: Law = Law { l_inf: 1.9, a: 200.0, alpha: 0.8, c: 2.2, gamma: 0.42, q: 0.1 };

    /// Points of the law, with the batch sizes moved by `u` and the tokens by `v` in the logarithm.
    fn points(u: f64, v: f64) -> Points {
        let there = moved(&LAW, [u, v]);
        let b_opt = there.b_opt(2.3).unwrap();
        let point = |k: i32| {
            let batch_size = b_opt * 2f64.powi(k);
            let ln_steps = there.steps_to(2.3, batch_size).unwrap().ln();
            Point { batch_size, ln_steps, se: 0.02, censored: false }
        };
        Points::from_points((-1..4).map(point).collect())
    }

    #[test]
    fn the_law_stays_where_its_points_are() {
        // A common factor in the tokens within the errors is no reason to move either.
        for v in [0.0, 0.02] {
            let held = anchored(&LAW, 2.3, &points(0.0, v));
            assert_eq!(held, Held { law: LAW, moved: false, contradicted: false });
        }
    }

    #[test]
    fn points_that_contradict_it_move_the_optimum() {
        for u in [-0.8f64, 0.5] {
            let held = anchored(&LAW, 2.3, &points(u, 0.1));
            let there = held.law;
            let off = (there.b_opt(2.3).unwrap() / LAW.b_opt(2.3).unwrap()).ln() - u;
            assert!(held.moved && !held.contradicted && off.abs() < 0.02, "{u} {off}");
            assert_eq!((there.alpha, there.gamma, there.l_inf), (LAW.alpha, LAW.gamma, LAW.l_inf));
        }
        // Even where by the law a size that arrived never does.
        let far = points(-1.5, 0.0);
        assert!(LAW.b_min(2.3).unwrap() > far[0].batch_size);
        let there = anchored(&LAW, 2.3, &far).law;
        assert!((there.b_opt(2.3).unwrap() / LAW.b_opt(2.3).unwrap()).ln() < -1.3);
    }

    #[test]
    fn points_of_another_shape_contradict_it_wherever_it_is_moved() {
        let mut sharp = points(0.0, 0.0);
        for (p, bend) in sharp.iter_mut().zip([0.8, 0.0, 0.8, 0.0, 0.8]) {
            p.ln_steps += bend;
        }
        assert!(anchored(&LAW, 2.3, &sharp).contradicted);
    }

    /// What a move costs beside the points: half the square of u in standard deviations.
    #[test]
    fn a_move_has_its_price() {
        let u = 0.5;
        let there = points(u, 0.0);
        let price = cost(&LAW, &moved(&LAW, [u, 0.0]), 2.3, &there).unwrap();
        assert!((price - 0.5 * (u / PRIOR).powi(2)).abs() < 1e-6, "{price}");
        assert!(cost(&LAW, &LAW, 2.3, &points(0.0, 0.0)).unwrap() < 1e-9);
    }

    #[test]
    fn too_few_sizes_move_nothing() {
        let few = points(0.8, 0.0);
        let few = Points::from_points(few[..2].to_vec());
        assert!(!anchored(&LAW, 2.3, &few).moved);
    }
}
