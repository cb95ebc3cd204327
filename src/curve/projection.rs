//! Variable projection for laws `L = l_0 + c_1 x_1(theta) + c_2 x_2(theta)`.
//!
//! Given the shape theta, the three linear parameters are the minimum of a convex problem (Huber
//! loss, c_1 and c_2 and l_0 not negative), solved by reweighting. What is left is a problem in
//! theta alone (Golub and Pereyra 1973), whose Jacobian is taken in Kaufman's form (1975): the
//! derivative of the columns projected off their span. Its gradient is exact.

use super::data::LawPoint;
use super::solve::{Residuals, cholesky_solve, hold, huber_weight};

/// The two columns of a law and their derivatives by the `N` shape parameters.
pub(super) trait Columns<const N: usize> {
    /// Of point number `i`; `exponents` are `e^theta_0` and `e^theta_1`, the same for every point.
    fn at(
        &self,
        i: usize,
        point: &LawPoint,
        theta: &[f64; N],
        exponents: [f64; 2],
    ) -> ([f64; 2], [[f64; N]; 2]);
}

/// A law on some points, reduced to its shape parameters.
#[derive(Debug)]
pub(super) struct Projected<'a, C, const N: usize> {
    points: &'a [LawPoint],
    columns: C,
    huber: f64,
    x: Vec<[f64; 3]>,
    dx: Vec<[[f64; N]; 2]>,
    /// l_0, c_1, c_2 of the latest evaluation.
    pub linear: [f64; 3],
}

impl<'a, C: Columns<N>, const N: usize> Projected<'a, C, N> {
    pub fn new(points: &'a [LawPoint], columns: C, huber: f64) -> Self {
        let n = points.len();
        Projected {
            points,
            columns,
            huber,
            x: vec![[1.0; 3]; n],
            dx: vec![[[0.0; N]; 2]; n],
            linear: [0.0; 3],
        }
    }

    /// The linear parameters at `theta`.
    pub fn linear_at(&mut self, theta: &[f64; N]) -> Option<[f64; 3]> {
        self.fill(theta);
        self.reweighted().map(|(linear, _)| linear)
    }

    fn fill(&mut self, theta: &[f64; N]) {
        let exponents = [theta[0].exp(), theta[1].exp()];
        for (i, point) in self.points.iter().enumerate() {
            let (x, d) = self.columns.at(i, point, theta, exponents);
            self.x[i] = [1.0, x[0], x[1]];
            self.dx[i] = d;
        }
    }

    fn residual(&self, i: usize, c: &[f64; 3]) -> f64 {
        let x = &self.x[i];
        c[0] * x[0] + c[1] * x[1] + c[2] * x[2] - self.points[i].loss
    }

    /// Huber minimum over the linear parameters, and which of them are free there.
    fn reweighted(&self) -> Option<([f64; 3], [bool; 3])> {
        let start = match self.linear.iter().any(|c| *c != 0.0) {
            true => self.linear,
            false => self.weighted(None)?.0,
        };
        if let Some(found) = self.newton(start) {
            return Some(found);
        }
        let (mut c, mut free) = self.weighted(Some(&start))?;
        for _ in 0..40 {
            let (next, next_free) = self.weighted(Some(&c))?;
            let still = moved(&c, &next) < NEAR;
            (c, free) = (next, next_free);
            if still {
                break;
            }
        }
        Some((c, free))
    }

    /// The same by Newton's method: the cost is quadratic between changes of which residuals count
    /// linearly, so a few steps end it. `None` where a step does not lower the cost.
    fn newton(&self, mut c: [f64; 3]) -> Option<([f64; 3], [bool; 3])> {
        let mut last = f64::INFINITY;
        for _ in 0..MOST_NEWTON {
            let (cost, sums) = self.quadratic(&c);
            if cost.is_nan() || cost > last * (1.0 + 1e-9) {
                return None;
            }
            let (next, free) = sums.minimum()?;
            if moved(&c, &next) < NEAR {
                return Some((next, free));
            }
            (c, last) = (next, cost);
        }
        None
    }

    /// The Huber cost at `c`, and its quadratic form there.
    fn quadratic(&self, c: &[f64; 3]) -> (f64, Sums) {
        let (mut cost, mut sums, delta) = (0.0, Sums::default(), self.huber);
        for (x, point) in self.x.iter().zip(self.points) {
            let r = c[0] + c[1] * x[1] + c[2] * x[2] - point.loss;
            if r.abs() <= delta {
                cost += point.weight * 0.5 * r * r;
                sums.add(point.weight, x, point.loss);
            } else {
                cost += point.weight * delta * (r.abs() - 0.5 * delta);
                sums.pull(point.weight * delta.copysign(-r), x);
            }
        }
        (cost, sums)
    }

    /// Least squares with the Huber weights of the residuals under `c`, none negative.
    fn weighted(&self, c: Option<&[f64; 3]>) -> Option<([f64; 3], [bool; 3])> {
        let mut sums = Sums::default();
        for (i, point) in self.points.iter().enumerate() {
            let h = c.map_or(1.0, |c| huber_weight(self.residual(i, c), self.huber));
            sums.add(point.weight * h, &self.x[i], point.loss);
        }
        sums.minimum()
    }
}

/// Linear parameters that move by less than this part are there: the cost is off by its square.
const NEAR: f64 = 1e-5;
const MOST_NEWTON: usize = 12;

fn moved(from: &[f64; 3], to: &[f64; 3]) -> f64 {
    (0..3).map(|k| (to[k] - from[k]).abs() / (1e-9 + from[k].abs())).fold(0.0, f64::max)
}

/// `x^T A x / 2 - b^T x`, the first column being 1.
#[derive(Debug, Default)]
struct Sums {
    a: [f64; 6],
    b: [f64; 3],
}

impl Sums {
    #[inline]
    fn add(&mut self, w: f64, x: &[f64; 3], y: f64) {
        let (u, v) = (w * x[1], w * x[2]);
        self.a[0] += w;
        self.a[1] += u;
        self.a[2] += u * x[1];
        self.a[3] += v;
        self.a[4] += v * x[1];
        self.a[5] += v * x[2];
        self.pull(w * y, x);
    }

    /// A force along `x`, whatever `c` is.
    #[inline]
    fn pull(&mut self, f: f64, x: &[f64; 3]) {
        self.b[0] += f;
        self.b[1] += f * x[1];
        self.b[2] += f * x[2];
    }

    fn minimum(&self) -> Option<([f64; 3], [bool; 3])> {
        let a = &self.a;
        non_negative(&[[a[0], 0.0, 0.0], [a[1], a[2], 0.0], [a[3], a[4], a[5]]], &self.b)
    }
}

/// Minimum of `x^T A x / 2 - b^T x` over x >= 0 (A by its lower triangle): of three parameters all
/// the sets that may be free are tried.
fn non_negative(a: &[[f64; 3]; 3], b: &[f64; 3]) -> Option<([f64; 3], [bool; 3])> {
    let mut best: Option<(f64, [f64; 3], [bool; 3])> = None;
    // All free first: nearly always the answer.
    for mask in (1..8u8).rev() {
        let free: [bool; 3] = std::array::from_fn(|k| mask & (1 << k) != 0);
        let Some(x) = solve_free(a, b, &free) else { continue };
        if x.iter().any(|v| *v < 0.0) {
            continue;
        }
        let value = -0.5 * (0..3).map(|k| b[k] * x[k]).sum::<f64>();
        if best.is_none_or(|(v, ..)| value < v) {
            best = Some((value, x, free));
        }
        if mask == 7 {
            break;
        }
    }
    best.map(|(_, x, free)| (x, free))
}

fn solve_free(a: &[[f64; 3]; 3], b: &[f64; 3], free: &[bool; 3]) -> Option<[f64; 3]> {
    let (mut a, mut b) = (*a, *b);
    for k in 0..3 {
        if free[k] {
            // Columns that are nearly parallel must not break the factorisation.
            a[k][k] *= 1.0 + 1e-13;
            continue;
        }
        hold(&mut a, k);
        b[k] = 0.0;
    }
    cholesky_solve(a, b)
}

impl<C: Columns<N>, const N: usize> Residuals<N> for Projected<'_, C, N> {
    fn count(&self) -> usize {
        self.points.len()
    }

    fn weight(&self, i: usize) -> f64 {
        self.points[i].weight
    }

    fn evaluate(&mut self, theta: &[f64; N], r: &mut [f64], j: &mut [[f64; N]]) -> bool {
        self.fill(theta);
        let Some((c, free)) = self.reweighted() else { return false };
        self.linear = c;
        let (mut a, mut along) = ([[0.0; 3]; 3], [[0.0; 3]; N]);
        for i in 0..r.len() {
            r[i] = self.residual(i, &c);
            let w = self.weight(i) * huber_weight(r[i], self.huber);
            let (x, d) = (&self.x[i], &self.dx[i]);
            j[i] = std::array::from_fn(|n| c[1] * d[0][n] + c[2] * d[1][n]);
            for k in 0..3 {
                for l in 0..=k {
                    a[k][l] += w * x[k] * x[l];
                }
                for n in 0..N {
                    along[n][k] += w * x[k] * j[i][n];
                }
            }
        }
        for n in 0..N {
            let Some(off) = solve_free(&a, &along[n], &free) else { return false };
            for (row, x) in j.iter_mut().zip(&self.x) {
                row[n] -= off[0] * x[0] + off[1] * x[1] + off[2] * x[2];
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::data::SeriesSet;

    /// `L = l_0 + c_1 exp(-theta_0 s) + c_2 exp(-theta_1 b)`.
    struct Exponentials;

    impl Columns<2> for Exponentials {
        fn at(
            &self,
            _: usize,
            p: &LawPoint,
            t: &[f64; 2],
            _: [f64; 2],
        ) -> ([f64; 2], [[f64; 2]; 2]) {
            let (x, y) = ((-t[0] * p.ln_steps).exp(), (-t[1] * p.ln_batch).exp());
            ([x, y], [[-p.ln_steps * x, 0.0], [0.0, -p.ln_batch * y]])
        }
    }

    /// Kaufman's Jacobian leaves out a term, but the gradient of the cost is exact: the one that
    /// decides where a fit ends.
    #[test]
    fn the_gradient_of_the_reduced_problem_is_the_numeric_one() {
        let mut set = SeriesSet::default();
        for i in 0..60 {
            let (s, b) = (f64::from(i % 12) * 0.25, f64::from(i / 12) * 0.4);
            let noise = 0.02 * f64::from(i * 37).sin();
            let loss = 2.0 + 0.8 * (-0.7 * s).exp() + 0.5 * (-0.4 * b).exp() + noise;
            set.points.push(LawPoint { ln_steps: s, ln_batch: b, loss, weight: 1.0, size: 0 });
        }
        let huber = 0.015;
        let mut problem = Projected::new(&set.points, Exponentials, huber);
        let n = set.points.len();
        let mut at = |t: [f64; 2]| {
            let (mut r, mut j) = (vec![0.0; n], vec![[0.0; 2]; n]);
            // Reweighted to the end: twice, from where the first ended.
            assert!(problem.evaluate(&t, &mut r, &mut j) && problem.evaluate(&t, &mut r, &mut j));
            let cost: f64 = r.iter().map(|r| super::super::solve::huber(*r, huber)).sum();
            let gradient: [f64; 2] = std::array::from_fn(|k| {
                r.iter().zip(&j).map(|(r, j)| huber_weight(*r, huber) * r * j[k]).sum()
            });
            (cost, gradient)
        };
        let (theta, h) = ([0.6, 0.5], 1e-4);
        let (_, gradient) = at(theta);
        for k in 0..2 {
            let shifted = |d: f64| {
                let mut t = theta;
                t[k] += d;
                t
            };
            let numeric = (at(shifted(h)).0 - at(shifted(-h)).0) / (2.0 * h);
            assert!(
                (gradient[k] - numeric).abs() < 1e-4 * (1e-2 + numeric.abs()),
                "{k}: {gradient:?} {numeric}"
            );
        }
    }

    #[test]
    fn non_negative_least_squares_finds_the_corner() {
        // Free minimum at (1, -2, 3) with A = I: the nearest non-negative point is (1, 0, 3).
        let a = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let (x, free) = non_negative(&a, &[1.0, -2.0, 3.0]).unwrap();
        assert!((x[0] - 1.0).abs() < 1e-9 && x[1] == 0.0 && (x[2] - 3.0).abs() < 1e-9);
        assert_eq!(free, [true, false, true]);
        let (x, _) = non_negative(&a, &[1.0, 2.0, 3.0]).unwrap();
        assert!((x[1] - 2.0).abs() < 1e-9);
    }
}
