//! The exact expectation of the loss over the data, without drawing any.

use super::problem::{L_INF, Problem};

/// Words of nearly the same probability, moved as one.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// Probability of one word of the group.
    p: f64,
    /// Probability of the whole group.
    mass: f64,
    /// Expected squared error `E (w - w*)^2` of one word.
    v: f64,
}

/// Expected loss of SGD on the table of means. With `n ~ Binomial(B, p)` samples of a word in a
/// batch, its expected squared error `v` moves in one step by
///
/// ```text
/// v <- rho v + lr^2 p / B        rho = (1 - lr p)^2 + lr^2 p (1 - p) / B
/// loss = L_inf + 0.5 sum_i p_i v_i
/// ```
///
/// which has a closed form over any number of steps at one batch size. The loss is the one that
/// the next step would measure before its update.
#[derive(Debug, Clone)]
pub struct MeanDynamics {
    groups: Vec<Group>,
    lr: f64,
    steps: f64,
    tokens: f64,
}

impl MeanDynamics {
    /// Words whose probabilities differ by less than 1 % share a group (a few hundred of them);
    /// the loss agrees with [`MeanDynamics::exact`] to 1e-5 nats.
    pub fn new(problem: &Problem) -> MeanDynamics {
        MeanDynamics::grouped(problem, 0.99)
    }

    /// One group per word.
    pub fn exact(problem: &Problem) -> MeanDynamics {
        MeanDynamics::grouped(problem, 1.0)
    }

    fn grouped(problem: &Problem, ratio: f64) -> MeanDynamics {
        let mut groups: Vec<Group> = Vec::new();
        let mut first = f64::INFINITY;
        for (&p, &w) in problem.probabilities().iter().zip(problem.teacher()) {
            let v = f64::from(w).powi(2);
            match groups.last_mut() {
                // Weighted by probability: the group then has the signal of its words.
                Some(g) if p > first * ratio => {
                    let mass = g.mass + p;
                    g.v += (v - g.v) * p / mass;
                    g.p += (p - g.p) * p / mass;
                    g.mass = mass;
                }
                _ => {
                    groups.push(Group { p, mass: p, v });
                    first = p;
                }
            }
        }
        MeanDynamics { groups, lr: problem.learning_rate(), steps: 0.0, tokens: 0.0 }
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> f64 {
        self.steps
    }

    /// Tokens consumed.
    pub fn tokens(&self) -> f64 {
        self.tokens
    }

    /// Expected loss now, nats per token.
    pub fn loss(&self) -> f64 {
        L_INF + 0.5 * self.groups.iter().map(|g| g.mass * g.v).sum::<f64>()
    }

    /// `steps` steps (not necessarily whole) at `batch_size` tokens and `lr_scale` times the
    /// learning rate.
    pub fn advance(&mut self, batch_size: f64, lr_scale: f64, steps: f64) {
        let lr = self.lr * lr_scale;
        for g in &mut self.groups {
            let gain = lr * lr * g.p / batch_size;
            let rho = (1.0 - lr * g.p).powi(2) + gain * (1.0 - g.p);
            let floor = gain / (1.0 - rho);
            g.v = floor + (g.v - floor) * rho.powf(steps);
        }
        self.steps += steps;
        self.tokens += steps * batch_size;
    }

    /// Cumulative tokens at which the loss first reaches `target` if the run goes on at
    /// `batch_size`; `None` if it does not within `max_tokens` more. Searched on a grid of 0.5 %
    /// and then by bisection, since right after a batch change the loss need not fall steadily.
    pub fn tokens_to(&self, batch_size: f64, target: f64, max_tokens: f64) -> Option<f64> {
        let loss_after = |tokens: f64| {
            let mut later = self.clone();
            later.advance(batch_size, 1.0, tokens / batch_size);
            later.loss()
        };
        if self.loss() <= target {
            return Some(self.tokens);
        }
        let (mut low, mut high) = (0.0, batch_size / 4.0);
        while loss_after(high) > target {
            if high > max_tokens {
                return None;
            }
            low = high;
            high *= 1.005;
        }
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if loss_after(middle) > target { low = middle } else { high = middle }
        }
        Some(self.tokens + high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem::new(7)
    }

    fn tokens_to(problem: &Problem, batch_size: f64, target: f64) -> f64 {
        MeanDynamics::new(problem).tokens_to(batch_size, target, 2e8).unwrap_or(f64::INFINITY)
    }

    #[test]
    fn grouping_words_does_not_change_the_loss() {
        let p = problem();
        let (mut a, mut b) = (MeanDynamics::new(&p), MeanDynamics::exact(&p));
        assert!(a.groups.len() < 1000, "{} groups", a.groups.len());
        for (batch_size, steps) in
            [(8192.0, 1.0), (8192.0, 900.0), (16_384.0, 3.0), (16_384.0, 2e4)]
        {
            a.advance(batch_size, 1.0, steps);
            b.advance(batch_size, 1.0, steps);
            assert!((a.loss() - b.loss()).abs() < 1e-5, "{} {}", a.loss(), b.loss());
        }
    }

    #[test]
    fn a_segment_is_the_sum_of_its_steps() {
        let p = problem();
        let mut whole = MeanDynamics::new(&p);
        assert!((whole.loss() - (L_INF + 2.0)).abs() < 1e-6);
        let mut parts = whole.clone();
        whole.advance(8192.0, 1.0, 50.0);
        for _ in 0..50 {
            parts.advance(8192.0, 1.0, 1.0);
        }
        assert!((whole.loss() - parts.loss()).abs() < 1e-10);
        assert_eq!(whole.tokens(), parts.tokens());
    }

    #[test]
    fn the_curves_of_neighbours_cross_from_1_72_down() {
        let p = problem();
        let cheaper = |small: f64, large: f64, loss: f64| {
            tokens_to(&p, small, loss) < tokens_to(&p, large, loss)
        };
        assert!(cheaper(4096.0, 6144.0, 1.82) && cheaper(4096.0, 6144.0, 1.72));
        assert!(!cheaper(4096.0, 6144.0, 1.60) && cheaper(6144.0, 8192.0, 1.60));
        assert!(!cheaper(6144.0, 8192.0, 1.52) && cheaper(8192.0, 12_288.0, 1.52));
        assert!(!cheaper(8192.0, 12_288.0, 1.4689) && cheaper(12_288.0, 16_384.0, 1.4689));
        assert!(!cheaper(12_288.0, 16_384.0, 1.45) && cheaper(16_384.0, 24_576.0, 1.45));
        assert_eq!(tokens_to(&p, 4096.0, 1.5), f64::INFINITY);
    }

    #[test]
    fn the_optimum_grows_from_3600_to_18200() {
        let p = problem();
        let b_opt = |loss: f64| {
            let grid = (0..60).map(|k| 2500.0 * (k as f64 * 0.04).exp());
            grid.map(|b| (tokens_to(&p, b, loss), b))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map(|x| x.1)
                .unwrap()
        };
        assert!((3400.0..3900.0).contains(&b_opt(1.82)), "{}", b_opt(1.82));
        assert!((17_000.0..19_500.0).contains(&b_opt(1.45)), "{}", b_opt(1.45));
    }

    #[test]
    fn raising_the_batch_at_8_million_tokens_halves_the_way_to_1_4689() {
        let p = problem();
        let alone = tokens_to(&p, 8192.0, 1.4689);
        let mut run = MeanDynamics::new(&p);
        run.advance(8192.0, 1.0, (8e6_f64 / 8192.0).ceil());
        let raised = run.tokens_to(16_384.0, 1.4689, 1e8).unwrap();
        assert!((22.8e6..23.4e6).contains(&alone), "{alone}");
        assert!((10.4e6..10.8e6).contains(&raised), "{raised}");
    }
}
