//! The WSD curve of three stages (Zhou et al., arXiv 2601.05034) at one loss level:
//!
//! ```text
//! E(S) = B_-1/(S - S_min) + B_0      S_min < S < S_1    inverse-linear
//!      = C (S - S_opt)^2 + E_min     S_1  <= S < S_2    quadratic
//!      = A_1 S + A_0                 S >= S_2           linear
//! ```
//! C0 and C1 at the joints leave six parameters, S_min < S_1 < S_opt < S_2, E_min and 0 < k < 1:
//! `C = k E_min / (S_2^2 - S_opt^2)`, `B_-1 = 2 C (S_opt - S_1)(S_1 - S_min)^2`,
//! `A_1 = 2 C (S_2 - S_opt)`, `A_0 = (1 - k) E_min`. Then E is convex and E/S falls from infinity to
//! A_1 = B_min, so each ray `E = B S` above it meets the curve once. `B_opt = E_min / S_opt`.

use super::level::Points;
use super::model::{Curve, CurveModel, Minimum, Refusal};
use super::report::ModelKind;
use super::solve::{COLD, Residuals, Settings, WARM, multistart};
use super::uncertainty::LIKELY;

/// Steps, tokens, and k without unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThreeStage {
    pub s_min: f64,
    pub s_1: f64,
    pub s_opt: f64,
    pub s_2: f64,
    pub e_min: f64,
    pub k: f64,
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn logit(x: f64) -> f64 {
    (x / (1.0 - x)).ln()
}

impl ThreeStage {
    /// The ordering holds whatever the parameters are:
    /// `[ln S_opt, ln E_min, logit S_1/S_opt, logit S_min/S_1, ln(S_2/S_opt - 1), logit k]`.
    pub(super) fn from_free(u: &[f64; 6]) -> Self {
        let s_opt = u[0].exp();
        let s_1 = s_opt * logistic(u[2]);
        ThreeStage {
            s_min: s_1 * logistic(u[3]),
            s_1,
            s_opt,
            s_2: s_opt * (1.0 + u[4].exp()),
            e_min: u[1].exp(),
            k: logistic(u[5]),
        }
    }

    pub(super) fn to_free(self) -> [f64; 6] {
        [
            self.s_opt.ln(),
            self.e_min.ln(),
            logit(self.s_1 / self.s_opt),
            logit(self.s_min / self.s_1),
            (self.s_2 / self.s_opt - 1.0).ln(),
            logit(self.k),
        ]
    }

    /// Curvature of the quadratic stage.
    pub fn c(&self) -> f64 {
        self.k * self.e_min / (self.s_2 * self.s_2 - self.s_opt * self.s_opt)
    }

    /// Slope of the linear stage: below this batch size the level is never reached.
    pub fn b_min(&self) -> f64 {
        2.0 * self.c() * (self.s_2 - self.s_opt)
    }

    pub fn b_opt(&self) -> f64 {
        self.e_min / self.s_opt
    }

    /// Tokens at `s` steps, for s above S_min.
    pub fn tokens_at(&self, s: f64) -> Option<f64> {
        if s.is_nan() || s <= self.s_min {
            return None;
        }
        let all = Stages::of(self);
        Some(if s < self.s_1 {
            all.b_minus_1 / (s - self.s_min) + all.b_0
        } else if s < self.s_2 {
            all.c * (s - self.s_opt).powi(2) + self.e_min
        } else {
            all.b_min * s + (1.0 - self.k) * self.e_min
        })
    }

    /// dE/dS at `s`.
    #[cfg(test)]
    pub(super) fn slope(&self, s: f64) -> f64 {
        Stages::of(self).slope(s)
    }

    /// Steps along the ray of batch size `b`, closed form in each stage; `None` at or below B_min.
    pub fn steps(&self, b: f64) -> Option<f64> {
        Stages::of(self).steps(b)
    }
}

/// A curve with what all its rays share.
struct Stages {
    at: ThreeStage,
    c: f64,
    b_min: f64,
    b_minus_1: f64,
    b_0: f64,
    /// Rays through the joints.
    joints: [f64; 2],
    /// dC by S_opt, S_2, E_min, k.
    dc: [f64; 4],
}

impl Stages {
    fn of(at: &ThreeStage) -> Stages {
        let (c, width) = (at.c(), at.s_2 * at.s_2 - at.s_opt * at.s_opt);
        let quadratic = |s: f64| c * (s - at.s_opt).powi(2) + at.e_min;
        let b_minus_1 = 2.0 * c * (at.s_opt - at.s_1) * (at.s_1 - at.s_min).powi(2);
        Stages {
            at: *at,
            c,
            b_min: 2.0 * c * (at.s_2 - at.s_opt),
            b_minus_1,
            b_0: quadratic(at.s_1) - b_minus_1 / (at.s_1 - at.s_min),
            joints: [quadratic(at.s_1) / at.s_1, quadratic(at.s_2) / at.s_2],
            dc: [2.0 * c * at.s_opt / width, -2.0 * c * at.s_2 / width, c / at.e_min, c / at.k],
        }
    }

    fn steps(&self, b: f64) -> Option<f64> {
        if b.is_nan() || b <= self.b_min {
            return None;
        }
        let (at, c) = (&self.at, self.c);
        let s = if b < self.joints[1] {
            (1.0 - at.k) * at.e_min / (b - self.b_min)
        } else if b <= self.joints[0] {
            // Smaller root of C S^2 - (2 C S_opt + B) S + C S_opt^2 + E_min, without cancellation.
            let h = 2.0 * c * at.s_opt + b;
            let rest = c * at.s_opt * at.s_opt + at.e_min;
            2.0 * rest / (h + (h * h - 4.0 * c * rest).max(0.0).sqrt())
        } else {
            // x = S - S_min: B x^2 + (B S_min - B_0) x - B_-1 = 0, its positive root.
            let h = self.b_0 - b * at.s_min;
            let root = (h * h + 4.0 * b * self.b_minus_1).sqrt();
            let x =
                if h >= 0.0 { (h + root) / (2.0 * b) } else { 2.0 * self.b_minus_1 / (root - h) };
            at.s_min + x
        };
        (s.is_finite() && s > 0.0).then_some(s)
    }

    /// dE/dS at `s`.
    fn slope(&self, s: f64) -> f64 {
        if s < self.at.s_1 {
            -self.b_minus_1 / (s - self.at.s_min).powi(2)
        } else if s < self.at.s_2 {
            2.0 * self.c * (s - self.at.s_opt)
        } else {
            self.b_min
        }
    }

    /// dE at fixed `s` by (S_min, S_1, S_opt, S_2, E_min, k).
    fn partials(&self, s: f64) -> [f64; 6] {
        let (at, c, dc) = (&self.at, self.c, &self.dc);
        if s >= at.s_2 {
            let by_c = 2.0 * (at.s_2 - at.s_opt) * s;
            return [
                0.0,
                0.0,
                dc[0] * by_c - 2.0 * c * s,
                dc[1] * by_c + 2.0 * c * s,
                dc[2] * by_c + 1.0 - at.k,
                dc[3] * by_c - at.e_min,
            ];
        }
        if s >= at.s_1 {
            let by_c = (s - at.s_opt).powi(2);
            return [
                0.0,
                0.0,
                dc[0] * by_c - 2.0 * c * (s - at.s_opt),
                dc[1] * by_c,
                dc[2] * by_c + 1.0,
                dc[3] * by_c,
            ];
        }
        // E = D h + C (S_1 - S_opt)^2 + E_min with D = B_-1, h = 1/(S - S_min) - 1/(S_1 - S_min).
        let (d, u, v) = (self.b_minus_1, s - at.s_min, at.s_1 - at.s_min);
        let gap = at.s_opt - at.s_1;
        let h = 1.0 / u - 1.0 / v;
        let by_c = d / c * h + gap * gap;
        [
            -4.0 * c * gap * v * h + d * (1.0 / (u * u) - 1.0 / (v * v)),
            2.0 * c * (2.0 * gap * v - v * v) * h + d / (v * v) - 2.0 * c * gap,
            dc[0] * by_c + 2.0 * c * v * v * h + 2.0 * c * gap,
            dc[1] * by_c,
            dc[2] * by_c + 1.0,
            dc[3] * by_c,
        ]
    }

    /// d ln S by the free parameters, at `s` on the ray of `b`: E(S) - B S = 0 differentiated.
    fn d_ln_steps(&self, s: f64, b: f64) -> [f64; 6] {
        let (at, e) = (&self.at, self.partials(s));
        let (f1, f2) = (at.s_1 / at.s_opt, at.s_min / at.s_1);
        let by_s_1 = e[1] * at.s_1 + e[0] * at.s_min;
        let free = [
            e[2] * at.s_opt + e[3] * at.s_2 + by_s_1,
            e[4] * at.e_min,
            by_s_1 * (1.0 - f1),
            e[0] * at.s_min * (1.0 - f2),
            e[3] * (at.s_2 - at.s_opt),
            e[5] * at.k * (1.0 - at.k),
        ];
        let by = -1.0 / ((self.slope(s) - b) * s);
        free.map(|x| x * by)
    }
}

pub(super) struct Fit<'a>(pub &'a Points);

impl Residuals<6> for Fit<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn evaluate(&mut self, p: &[f64; 6], r: &mut [f64], j: &mut [[f64; 6]]) -> bool {
        let curve = Stages::of(&ThreeStage::from_free(p));
        let along = |b: f64| {
            let s = curve.steps(b)?;
            Some((s.ln(), curve.d_ln_steps(s, b)))
        };
        self.0.residuals(along, r, j)
    }
}

/// The same with its optimum on a given ray: `ln S_opt = ln E_min - ln B_opt`.
struct Held<'a> {
    points: &'a Points,
    ln_b_opt: f64,
}

impl Held<'_> {
    fn whole(&self, p: &[f64; 5]) -> [f64; 6] {
        [p[0] - self.ln_b_opt, p[0], p[1], p[2], p[3], p[4]]
    }
}

impl Residuals<5> for Held<'_> {
    fn count(&self) -> usize {
        self.points.len()
    }

    fn evaluate(&mut self, p: &[f64; 5], r: &mut [f64], j: &mut [[f64; 5]]) -> bool {
        let curve = Stages::of(&ThreeStage::from_free(&self.whole(p)));
        let along = |b: f64| {
            let s = curve.steps(b)?;
            let d = curve.d_ln_steps(s, b);
            Some((s.ln(), [d[0] + d[1], d[2], d[3], d[4], d[5]]))
        };
        self.points.residuals(along, r, j)
    }
}

/// Step along the profile, in ln B_opt, and how far it goes.
const STRIDE: f64 = 0.05;
const FARTHEST: usize = 40;

/// The curves of three stages with the smallest and the largest B_opt that lie as near to the points
/// as a curve of this form can be told to (profile likelihood, 90 %), however few the points are.
pub(super) fn extremes(points: &Points) -> Vec<Curve> {
    let Some(Minimum { found: Curve::ThreeStage(best), .. }) =
        ThreeStageModel.minimum(points, None)
    else {
        return Vec::new();
    };
    let free = best.to_free();
    let start = [free[1], free[2], free[3], free[4], free[5]];
    let settings = Settings {
        lower: [free[1] - 1.5, -9.0, -9.0, -7.0, -9.0],
        upper: [free[1] + 0.5, 9.0, 9.0, 5.0, 9.0],
        huber: points.huber(),
        max_iterations: 60,
        tolerance: WARM,
    };
    // The shape beside may be none here: B_min must stay below the sizes that arrived.
    let far_below = [[free[1], 0.5, 1.0, 2.0, -2.0], [free[1], 0.8, 0.0, 1.0, -1.0]];
    let cost = |b: f64, beside: [f64; 5]| {
        let starts = std::iter::once(beside).chain(far_below);
        let found = multistart(&mut Held { points, ln_b_opt: b }, starts, &settings);
        found.map(|m| (m.cost, m.p))
    };
    let ln_b = best.b_opt().ln();
    let Some((least, at)) = cost(ln_b, start) else { return Vec::new() };
    let along = |sign: f64| {
        let (mut p, mut last) = (at, best);
        for k in 1..=FARTHEST {
            let b = ln_b + sign * STRIDE * k as f64;
            let Some((cost, there)) = cost(b, p) else { break };
            if cost - least > LIKELY {
                break;
            }
            p = there;
            last = ThreeStage::from_free(&Held { points, ln_b_opt: b }.whole(&p));
        }
        Curve::ThreeStage(last)
    };
    vec![along(-1.0), along(1.0)]
}

#[derive(Debug)]
pub struct ThreeStageModel;

impl CurveModel for ThreeStageModel {
    fn kind(&self) -> ModelKind {
        ModelKind::ThreeStage
    }

    fn sizes_needed(&self) -> usize {
        7
    }

    fn parameters(&self) -> usize {
        6
    }

    fn minimum(&self, points: &Points, warm: Option<&Curve>) -> Option<Minimum<Curve>> {
        let best = points.best()?;
        let (ln_s, ln_e) = (best.ln_steps, best.ln_steps + best.batch_size.ln());
        let settings = Settings {
            lower: [ln_s - 3.0, ln_e - 1.5, -9.0, -9.0, -7.0, -9.0],
            upper: [ln_s + 3.0, ln_e + 0.5, 9.0, 9.0, 5.0, 9.0],
            huber: points.huber(),
            max_iterations: 120,
            tolerance: if warm.is_some() { WARM } else { COLD },
        };
        let found = match warm {
            Some(Curve::ThreeStage(c)) => multistart(&mut Fit(points), [c.to_free()], &settings),
            _ => {
                let shapes = [
                    (-1.0, 1.0, 0.0, 0.0),
                    (0.8, 0.0, 1.0, -1.0),
                    (0.0, 2.0, -1.0, 1.0),
                    (1.5, 1.5, 0.5, 1.5),
                    // B_min far below the sizes tested.
                    (0.5, 1.0, 2.0, -2.0),
                ];
                let starts = shapes.iter().flat_map(|&(s_1, s_min, s_2, k)| {
                    [-0.3, 0.3].map(|shift| [ln_s + shift, ln_e, s_1, s_min, s_2, k])
                });
                multistart(&mut Fit(points), starts, &settings)
            }
        };
        let found = found?;
        let refusal = (found.at_bound[0] || found.at_bound[1])
            .then(|| Refusal::at_bound("S_opt", "the level on both sides of the best batch size"));
        Some(Minimum { found: Curve::ThreeStage(ThreeStage::from_free(&found.p)), refusal })
    }
}
