//! The truths that sweeps are drawn from, and what they say of the optimum.

use boptop::curve::{Law, NoFloor, ThreeStage};
use boptop::demo::{L_INF, MeanDynamics};
use rand::RngExt;
use rand_pcg::Pcg64;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub enum Base {
    /// The joint law.
    Floor(Law),
    /// Its rival: no inner optimum at any loss.
    Rival(NoFloor),
    /// The exact mean dynamics of the demo's problem.
    Means(Arc<MeanDynamics>),
    /// Three stages, with the same shape at every loss: ln E moves by 1 for each `.1` nats.
    Stages(ThreeStage, f64),
}

#[derive(Debug, Clone)]
pub struct Truth {
    pub base: Base,
    /// Steps over which the learning rate rises: half of them are lost.
    pub warmup: f64,
}

/// Where the fewest tokens are needed.
#[derive(Debug, Clone, Copy)]
pub struct Optimum {
    pub batch_size: f64,
    pub tokens: f64,
    /// Batch sizes that need at most 2 % more.
    pub near: [f64; 2],
}

impl Truth {
    /// Nats after `steps` at a constant batch size.
    pub fn loss(&self, steps: f64, batch_size: f64) -> f64 {
        let steps = if steps < self.warmup {
            steps * steps / (2.0 * self.warmup)
        } else {
            steps - 0.5 * self.warmup
        };
        match &self.base {
            Base::Floor(law) => law.loss(steps, batch_size),
            Base::Rival(law) => law.loss(steps, batch_size),
            Base::Means(start) => {
                let mut run = MeanDynamics::clone(start);
                run.advance(batch_size, 1.0, steps);
                run.loss()
            }
            Base::Stages(curve, nats) => match curve.steps(batch_size) {
                Some(s) => 3.0 - nats * (steps / s).ln(),
                None => f64::INFINITY,
            },
        }
    }

    /// Tokens to a loss; `None` where it is never reached.
    pub fn tokens(&self, loss: f64, batch_size: f64) -> Option<f64> {
        let steps = match &self.base {
            Base::Floor(law) => law.steps_to(loss, batch_size)?,
            Base::Rival(law) => law.steps_to(loss, batch_size)?,
            Base::Stages(curve, nats) => curve.steps(batch_size)? * ((3.0 - loss) / nats).exp(),
            Base::Means(_) => {
                return falls_to_zero(|x| self.loss(x.exp(), batch_size) - loss, [0.0, 25.0])
                    .map(|x| x.exp() * batch_size);
            }
        };
        Some((steps + 0.5 * self.warmup) * batch_size)
    }

    /// The fewest tokens within some batch sizes: E(B) has one minimum, so a golden section.
    pub fn optimum(&self, loss: f64, within: [f64; 2]) -> Option<Optimum> {
        let cost = |x: f64| self.tokens(loss, x.exp()).unwrap_or(f64::INFINITY);
        let (mut a, mut b) = (within[0].ln(), within[1].ln());
        // Below B_min all is infinite: such a tie goes up.
        const G: f64 = 0.618_033_988_75;
        for _ in 0..50 {
            let (c, d) = (b - G * (b - a), a + G * (b - a));
            if cost(c) < cost(d) { b = d } else { a = c }
        }
        let x = [0.5 * (a + b), within[0].ln(), within[1].ln()]
            .into_iter()
            .min_by(|x, y| cost(*x).total_cmp(&cost(*y)))?;
        let e = cost(x);
        let edge = |far: f64| {
            let over = |y: f64| cost(y) > 1.02 * e;
            if !over(far) {
                return far.exp();
            }
            let (mut near, mut far) = (x, far);
            for _ in 0..40 {
                let middle = 0.5 * (near + far);
                if over(middle) { far = middle } else { near = middle }
            }
            near.exp()
        };
        e.is_finite().then(|| Optimum {
            batch_size: x.exp(),
            tokens: e,
            near: [edge(within[0].ln()), edge(within[1].ln())],
        })
    }
}

/// Where a falling function is 0: halved a few times, then false position that never stalls
/// (Illinois).
fn falls_to_zero(f: impl Fn(f64) -> f64, [mut a, mut b]: [f64; 2]) -> Option<f64> {
    let (mut above, mut below) = (f(a), f(b));
    if below > 0.0 || above < 0.0 {
        return (below <= 0.0).then_some(a);
    }
    let mut side = 0;
    for k in 0..100 {
        let x = if k < 5 { 0.5 * (a + b) } else { b - below * (b - a) / (below - above) };
        let y = f(x);
        if y.abs() < 1e-13 || b - a < 1e-11 {
            return Some(x);
        }
        let here = if y > 0.0 { 1 } else { -1 };
        if here > 0 {
            (a, above) = (x, y);
            below *= if k > 5 && side == here { 0.5 } else { 1.0 };
        } else {
            (b, below) = (x, y);
            above *= if k > 5 && side == here { 0.5 } else { 1.0 };
        }
        side = here;
    }
    Some(0.5 * (a + b))
}

/// A joint law with B_opt = 2^19 at 1.7 + d nats after ten thousand steps or so; the loss.
pub fn joint(rng: &mut Pcg64) -> (Base, f64) {
    let (alpha, gamma) = (rng.random_range(0.2..0.8), rng.random_range(0.3..1.0));
    let q = if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.25) };
    let (d, b) = (rng.random_range(0.3..0.6), 2f64.powi(19));
    let steps = 1e4 * 4f64.powf(rng.random_range(-0.5..0.5));
    let signal: f64 = alpha * (1.0 - q);
    let c = d * b.powf(gamma) * signal / (signal + gamma);
    let a = (d - c * b.powf(-gamma)) * (steps * b.powf(q)).powf(alpha);
    (Base::Floor(Law { l_inf: 1.7, a, alpha, c, gamma, q }), 1.7 + d)
}

/// A law without a floor whose two terms are about equal at 2^19 tokens.
pub fn rival(rng: &mut Pcg64) -> (Base, f64) {
    let (alpha, beta) = (rng.random_range(0.4..0.8), rng.random_range(0.2..0.5));
    let (d, b) = (rng.random_range(0.3..0.6), 2f64.powi(19));
    let steps = 1e4 * 4f64.powf(rng.random_range(-0.5..0.5));
    let share = rng.random_range(0.3..0.7);
    let a = share * d * steps.powf(alpha);
    let b = (1.0 - share) * d * (steps * b).powf(beta);
    (Base::Rival(NoFloor { l_inf: 1.7, a, alpha, b, beta }), 1.7 + d)
}

/// The demo's problem at a loss within its range.
pub fn means(rng: &mut Pcg64, start: &Arc<MeanDynamics>) -> (Base, f64) {
    (Base::Means(Arc::clone(start)), L_INF + rng.random_range(0.08..0.2))
}

/// Three stages with B_opt = 2^19.
pub fn stages(rng: &mut Pcg64) -> (Base, f64) {
    let s_opt = 1e4 * 4f64.powf(rng.random_range(-0.5..0.5));
    let s_1 = s_opt * rng.random_range(0.5..0.9);
    let curve = ThreeStage {
        s_min: s_1 * rng.random_range(0.3..0.8),
        s_1,
        s_opt,
        s_2: s_opt * rng.random_range(1.3..3.0),
        e_min: s_opt * 2f64.powi(19),
        k: rng.random_range(0.3..0.9),
    };
    (Base::Stages(curve, 0.1), 3.0)
}
