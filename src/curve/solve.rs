//! Robust nonlinear least squares: a Levenberg-Marquardt [`Solver`] for argmin.
//!
//! Minimises `sum_i w_i rho(r_i(p))` with the Huber loss `rho` over a box, by Levenberg (1944) and
//! Marquardt (1963) steps on iteratively reweighted residuals: the weight of residual i is
//! `w_i min(1, delta / |r_i|)` (Huber 1964), so that the gradient is that of the Huber cost and the
//! curvature is Gauss-Newton's. Jacobians are analytic. A parameter that sits on its bound and is
//! pushed outwards is held there. Every number that leaves this file is finite.

use argmin::core::{
    Error, Executor, IterState, KV, Problem, Solver, State, TerminationReason, TerminationStatus,
};

/// A least-squares problem with `N` parameters.
pub trait Residuals<const N: usize> {
    /// How many residuals there are.
    fn count(&self) -> usize;

    /// Writes the residuals at `p` and their derivatives by each parameter (one row a residual).
    /// `false`: not defined there.
    fn evaluate(&mut self, p: &[f64; N], r: &mut [f64], jacobian: &mut [[f64; N]]) -> bool;

    /// Weight of residual `i` in the cost.
    fn weight(&self, _i: usize) -> f64 {
        1.0
    }
}

/// Where the parameters may lie, and how residuals count.
#[derive(Debug, Clone, Copy)]
pub struct Settings<const N: usize> {
    pub lower: [f64; N],
    pub upper: [f64; N],
    /// Residuals beyond this count linearly.
    pub huber: f64,
    pub max_iterations: u64,
    /// Converged where a step gains less than this part of the cost.
    pub tolerance: f64,
}

/// Tolerance of a fit that starts near its end, as resampled and left-out ones do.
pub const WARM: f64 = 1e-6;
/// Tolerance of a fit that starts anywhere.
pub const COLD: f64 = 1e-9;

/// Why a fit stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Converged,
    /// The iteration cap was reached: usable, perhaps not the minimum.
    Iterations,
}

#[derive(Debug, Clone, Copy)]
pub struct Solution<const N: usize> {
    pub p: [f64; N],
    /// Huber cost `sum w rho(r)`.
    pub cost: f64,
    pub stop: Stop,
    /// Which parameters lie on a bound.
    pub at_bound: [bool; N],
}

impl<const N: usize> Solution<N> {
    /// Of two that cost the same the one that converged.
    fn better_than(&self, other: &Solution<N>) -> bool {
        let tie = (self.cost - other.cost).abs() <= 1e-9 * other.cost;
        if tie {
            self.stop == Stop::Converged && other.stop == Stop::Iterations
        } else {
            self.cost < other.cost
        }
    }
}

/// The Huber loss.
#[inline]
pub fn huber(r: f64, delta: f64) -> f64 {
    let a = r.abs();
    if a <= delta { 0.5 * r * r } else { delta * (a - 0.5 * delta) }
}

/// Its weight `psi(r)/r`.
#[inline]
pub fn huber_weight(r: f64, delta: f64) -> f64 {
    let a = r.abs();
    if a <= delta { 1.0 } else { delta / a }
}

/// The nearest minimum to `start`; `None` where the problem is not defined at `start`.
pub fn minimise<const N: usize, P: Residuals<N>>(
    problem: &mut P,
    start: [f64; N],
    settings: &Settings<N>,
) -> Option<Solution<N>> {
    if start.iter().any(|x| !x.is_finite()) || problem.count() == 0 {
        return None;
    }
    let solver = LevenbergMarquardt::new(problem.count(), *settings);
    let result = Executor::new(problem, solver)
        .configure(|s| s.param(start).max_iters(settings.max_iterations))
        .ctrlc(false)
        .timer(false)
        .run()
        .ok()?;
    let state = result.state;
    let stop = match state.get_termination_reason() {
        Some(TerminationReason::MaxItersReached) => Stop::Iterations,
        _ => Stop::Converged,
    };
    let p = *state.get_best_param()?;
    let cost = state.get_best_cost();
    if !cost.is_finite() || p.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let mut at_bound = [false; N];
    for k in 0..N {
        let width = settings.upper[k] - settings.lower[k];
        at_bound[k] =
            p[k] - settings.lower[k] <= 1e-6 * width || settings.upper[k] - p[k] <= 1e-6 * width;
    }
    Some(Solution { p, cost, stop, at_bound })
}

/// The best of the minima found from several starts; only that one is followed to its end.
pub fn multistart<const N: usize, P: Residuals<N>>(
    problem: &mut P,
    starts: impl IntoIterator<Item = [f64; N]>,
    settings: &Settings<N>,
) -> Option<Solution<N>> {
    let near = Settings { tolerance: settings.tolerance.max(WARM), ..*settings };
    let mut best: Option<Solution<N>> = None;
    for start in starts {
        if let Some(found) = minimise(problem, start, &near)
            && best.as_ref().is_none_or(|b| found.better_than(b))
        {
            best = Some(found);
        }
    }
    let best = best?;
    if settings.tolerance >= near.tolerance {
        return Some(best);
    }
    minimise(problem, best.p, settings).or(Some(best))
}

/// The residuals, derivatives and normal equations at one point.
#[derive(Debug, Clone)]
struct Point<const N: usize> {
    r: Vec<f64>,
    j: Vec<[f64; N]>,
    /// `J^T W J`.
    normal: [[f64; N]; N],
    /// `J^T W r`.
    gradient: [f64; N],
    cost: f64,
}

impl<const N: usize> Point<N> {
    fn new(count: usize) -> Self {
        Point {
            r: vec![0.0; count],
            j: vec![[0.0; N]; count],
            normal: [[0.0; N]; N],
            gradient: [0.0; N],
            cost: f64::INFINITY,
        }
    }

    fn evaluate<P: Residuals<N>>(&mut self, problem: &mut P, p: &[f64; N], delta: f64) {
        self.cost = f64::INFINITY;
        if !problem.evaluate(p, &mut self.r, &mut self.j) {
            return;
        }
        let (mut normal, mut gradient, mut cost) = ([[0.0; N]; N], [0.0; N], 0.0);
        for (i, (&r, row)) in self.r.iter().zip(&self.j).enumerate() {
            let w = problem.weight(i);
            cost += w * huber(r, delta);
            let w = w * huber_weight(r, delta);
            for a in 0..N {
                let wa = w * row[a];
                gradient[a] += wa * r;
                for b in 0..=a {
                    normal[a][b] += wa * row[b];
                }
            }
        }
        let sound = cost.is_finite()
            && gradient.iter().chain(normal.iter().flatten()).all(|x| x.is_finite());
        if sound {
            (self.normal, self.gradient, self.cost) = (normal, gradient, cost);
        }
    }
}

struct LevenbergMarquardt<const N: usize> {
    settings: Settings<N>,
    at: Point<N>,
    trial: Point<N>,
    damping: f64,
}

impl<const N: usize> LevenbergMarquardt<N> {
    fn new(count: usize, settings: Settings<N>) -> Self {
        LevenbergMarquardt {
            settings,
            at: Point::new(count),
            trial: Point::new(count),
            damping: 1e-3,
        }
    }

    fn clamp(&self, p: [f64; N]) -> [f64; N] {
        std::array::from_fn(|k| p[k].clamp(self.settings.lower[k], self.settings.upper[k]))
    }

    /// The damped step from `p`, with parameters held that push outwards from their bound.
    fn step(&self, p: &[f64; N]) -> Option<[f64; N]> {
        let held: [bool; N] = std::array::from_fn(|k| {
            (p[k] <= self.settings.lower[k] && self.at.gradient[k] > 0.0)
                || (p[k] >= self.settings.upper[k] && self.at.gradient[k] < 0.0)
        });
        let largest = (0..N).map(|k| self.at.normal[k][k]).fold(0.0, f64::max);
        let mut a = self.at.normal;
        let mut b = [0.0; N];
        for k in 0..N {
            if held[k] {
                hold(&mut a, k);
            } else {
                // A column without influence must not make the system singular.
                a[k][k] += self.damping * a[k][k].max(1e-9 * largest) + f64::MIN_POSITIVE;
                b[k] = -self.at.gradient[k];
            }
        }
        cholesky_solve(a, b)
    }
}

/// Takes unknown `k` out of a system given by its lower triangle.
pub fn hold<const N: usize>(a: &mut [[f64; N]; N], k: usize) {
    a[k][..k].fill(0.0);
    for row in a.iter_mut().skip(k + 1) {
        row[k] = 0.0;
    }
    a[k][k] = 1.0;
}

/// Solves `a x = b` for a symmetric positive definite `a` given by its lower triangle.
pub fn cholesky_solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for i in 0..N {
        for j in 0..=i {
            let mut sum = a[i][j];
            let rows = (a[i], a[j]);
            for (x, y) in rows.0[..j].iter().zip(&rows.1[..j]) {
                sum -= x * y;
            }
            if i == j {
                if sum.is_nan() || sum <= 0.0 {
                    return None;
                }
                a[i][i] = sum.sqrt();
            } else {
                a[i][j] = sum / a[j][j];
            }
        }
    }
    for i in 0..N {
        for k in 0..i {
            b[i] -= a[i][k] * b[k];
        }
        b[i] /= a[i][i];
    }
    for i in (0..N).rev() {
        for k in i + 1..N {
            b[i] -= a[k][i] * b[k];
        }
        b[i] /= a[i][i];
    }
    b.iter().all(|x| x.is_finite()).then_some(b)
}

type LmState<const N: usize> = IterState<[f64; N], (), (), (), (), f64>;

impl<const N: usize, P: Residuals<N>> Solver<&mut P, LmState<N>> for LevenbergMarquardt<N> {
    fn name(&self) -> &str {
        "Levenberg-Marquardt, Huber"
    }

    fn init(
        &mut self,
        problem: &mut Problem<&mut P>,
        mut state: LmState<N>,
    ) -> Result<(LmState<N>, Option<KV>), Error> {
        let start = state.take_param().ok_or_else(|| Error::msg("no start"))?;
        let start = self.clamp(start);
        let problem = problem.problem.as_mut().ok_or_else(|| Error::msg("no problem"))?;
        self.at.evaluate(*problem, &start, self.settings.huber);
        if !self.at.cost.is_finite() {
            return Err(Error::msg("the residuals are not finite at the start"));
        }
        let cost = self.at.cost;
        Ok((state.param(start).cost(cost), None))
    }

    fn next_iter(
        &mut self,
        problem: &mut Problem<&mut P>,
        mut state: LmState<N>,
    ) -> Result<(LmState<N>, Option<KV>), Error> {
        let p = state.take_param().ok_or_else(|| Error::msg("no parameters"))?;
        let problem = problem.problem.as_mut().ok_or_else(|| Error::msg("no problem"))?;
        while self.damping < 1e10 {
            if let Some(step) = self.step(&p) {
                let trial = self.clamp(std::array::from_fn(|k| p[k] + step[k]));
                self.trial.evaluate(*problem, &trial, self.settings.huber);
                if self.trial.cost < self.at.cost {
                    let gain = self.at.cost - self.trial.cost;
                    std::mem::swap(&mut self.at, &mut self.trial);
                    self.damping = (self.damping * 0.2).max(1e-12);
                    let cost = self.at.cost;
                    let state = state.param(trial).cost(cost);
                    let done = gain <= self.settings.tolerance * cost;
                    let state = if done {
                        state.terminate_with(TerminationReason::SolverConverged)
                    } else {
                        state
                    };
                    return Ok((state, None));
                }
            }
            self.damping = (self.damping * 5.0).max(1e-8);
        }
        let cost = self.at.cost;
        let state = state.param(p).cost(cost);
        Ok((state.terminate_with(TerminationReason::SolverConverged), None))
    }

    fn terminate(&mut self, _state: &LmState<N>) -> TerminationStatus {
        // Zero residuals cannot be improved on.
        if self.at.cost <= 1e-28 {
            TerminationStatus::Terminated(TerminationReason::TargetCostReached)
        } else {
            TerminationStatus::NotTerminated
        }
    }
}
