//! SGD on the table of means, by sampling.

use super::problem::{NLL_CONSTANT, Problem};
use crate::control::protocol::Entry;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use std::sync::Arc;

/// One model in training. What it does depends on its seed and on the batch sizes it is given,
/// on nothing else.
#[derive(Debug)]
pub struct Trainer {
    problem: Arc<Problem>,
    rng: Pcg64Mcg,
    weights: Vec<f32>,
    /// The batch: word and error `w_i - y` of each sample.
    batch: Vec<(u32, f32)>,
    step: u64,
    tokens: u64,
}

impl Trainer {
    /// All weights at zero. `seed` fixes the samples.
    pub fn new(problem: Arc<Problem>, seed: u64) -> Trainer {
        let weights = vec![0.0; problem.teacher().len()];
        let rng = Pcg64Mcg::seed_from_u64(seed);
        Trainer { problem, rng, weights, batch: Vec::new(), step: 0, tokens: 0 }
    }

    /// Optimizer steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Tokens consumed.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// One optimizer step of `batch_size` samples at `lr_scale` times the learning rate. Returns
    /// the mean loss of the batch before the update, nats per token.
    pub fn train_step(&mut self, batch_size: u64, lr_scale: f64) -> f64 {
        let teacher = self.problem.teacher();
        let mut squares = 0.0;
        self.batch.clear();
        for _ in 0..batch_size {
            let i = self.problem.draw(&mut self.rng);
            let noise: f32 = StandardNormal.sample(&mut self.rng);
            let error = self.weights[i] - (teacher[i] + noise);
            squares += f64::from(error * error);
            self.batch.push((i as u32, error));
        }
        // The whole batch was measured at the weights before the step; only now they move.
        let rate = (self.problem.learning_rate() * lr_scale / batch_size as f64) as f32;
        for &(i, error) in &self.batch {
            self.weights[i as usize] -= rate * error;
        }
        self.step += 1;
        self.tokens += batch_size;
        NLL_CONSTANT + 0.5 * squares / batch_size as f64
    }
}

/// The mean loss since the last line, and when the next line is due.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    sum: f64,
    since: u64,
    tokens: u64,
    logged: u64,
}

impl Meter {
    /// A step of `batch_size` tokens had this mean loss.
    pub fn add(&mut self, batch_size: u64, loss: f64) {
        self.sum += loss * batch_size as f64;
        self.since += batch_size;
        self.tokens += batch_size;
    }

    /// A line is due once the tokens have grown by 1 % since the last one.
    pub fn is_due(&self) -> bool {
        self.tokens - self.logged >= self.logged / 100 && self.since > 0
    }

    /// The mean loss since the last line, which this one ends; `None` if nothing happened since.
    pub fn take(&mut self) -> Option<f64> {
        let mean = (self.since > 0).then(|| self.sum / self.since as f64);
        (self.sum, self.since, self.logged) = (0.0, 0, self.tokens);
        mean
    }
}

/// Runs one job for `tokens` tokens without files or clock: batch size `own` before the first
/// entry of `schedule`, then as it says. Returns `(tokens, mean loss since the previous pair)`,
/// one pair where a line would be logged, the last one at the end.
pub fn simulate(
    problem: &Arc<Problem>,
    own: u64,
    schedule: &[Entry],
    tokens: u64,
    seed: u64,
) -> Vec<(u64, f64)> {
    let mut trainer = Trainer::new(Arc::clone(problem), seed);
    let mut meter = Meter::default();
    let mut lines = Vec::new();
    while trainer.tokens() < tokens {
        let entry = schedule.iter().rev().find(|e| e.from_tokens <= trainer.tokens());
        let batch_size = entry.map_or(own, |e| e.batch_size_tokens).max(1);
        let lr_scale = entry.and_then(|e| e.lr_scale).unwrap_or(1.0);
        let loss = trainer.train_step(batch_size, lr_scale);
        meter.add(batch_size, loss);
        if meter.is_due() || trainer.tokens() >= tokens {
            lines.extend(meter.take().map(|loss| (trainer.tokens(), loss)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::MeanDynamics;

    /// Mean loss over the tokens in `[from, to)`, by the lines that end in it.
    fn mean(lines: &[(u64, f64)], from: u64, to: u64) -> f64 {
        let mut sum = 0.0;
        let mut n = 0.0;
        for pair in lines.windows(2) {
            let ((before, _), (tokens, loss)) = (pair[0], pair[1]);
            if before >= from && tokens <= to {
                sum += loss * (tokens - before) as f64;
                n += (tokens - before) as f64;
            }
        }
        sum / n
    }

    #[test]
    fn the_sampled_loss_follows_the_mean_dynamics() {
        let problem = Arc::new(Problem::new(3));
        for (batch_size, windows) in
            [(4096_u64, [50..100, 200..400, 500..700]), (32_768, [6..12, 25..50, 60..90])]
        {
            let mut trainer = Trainer::new(Arc::clone(&problem), 11);
            let mut run = MeanDynamics::new(&problem);
            let mut pairs = Vec::new();
            for _ in 0..windows[2].end {
                pairs.push((trainer.train_step(batch_size, 1.0), run.loss()));
                run.advance(batch_size as f64, 1.0, 1.0);
            }
            for steps in windows {
                let n = steps.len() as f64;
                let (got, want) =
                    pairs[steps].iter().fold((0.0, 0.0), |s, p| (s.0 + p.0 / n, s.1 + p.1 / n));
                // Standard error of a mean of squared errors: at most about 1 / sqrt(samples).
                let error = 1.0 / (n * batch_size as f64).sqrt();
                assert!((got - want).abs() < 4.0 * error, "{batch_size}: {got} {want} +- {error}");
            }
        }
    }

    #[test]
    fn a_raised_batch_reaches_1_4689_as_the_mean_dynamics_say() {
        let problem = Arc::new(Problem::new(3));
        let raise = Entry { from_tokens: 8_000_000, batch_size_tokens: 16_384, lr_scale: None };
        let lines = simulate(&problem, 8192, &[raise], 11_000_000, 5);
        let before = mean(&lines, 7_500_000, 8_000_000);
        let after = mean(&lines, 10_200_000, 11_000_000);
        assert!((before - 1.4975).abs() < 0.005, "{before}");
        assert!((after - 1.4689).abs() < 0.004, "{after}");
    }

    #[test]
    fn a_seed_fixes_everything_and_a_schedule_changes_only_what_follows() {
        let problem = Arc::new(Problem::new(3));
        let raise = Entry { from_tokens: 500_000, batch_size_tokens: 16_384, lr_scale: Some(1.2) };
        let alone = simulate(&problem, 8192, &[], 800_000, 5);
        let again = simulate(&problem, 8192, &[], 800_000, 5);
        let other = simulate(&problem, 8192, &[], 800_000, 6);
        let raised = simulate(&problem, 8192, &[raise], 800_000, 5);
        assert_eq!(alone, again);
        assert_ne!(alone, other);
        let same = alone.iter().zip(&raised).take_while(|(a, b)| a == b).count();
        assert!(same < alone.len());
        assert!(raised[same - 1].0 <= 508_000 && raised[same].0 > 500_000, "{:?}", raised[same]);
    }

    #[test]
    fn a_line_is_due_for_each_percent_of_tokens() {
        let mut meter = Meter::default();
        let mut lines = Vec::new();
        for _ in 0..1000 {
            meter.add(1000, 2.0);
            if meter.is_due() {
                assert_eq!(meter.take(), Some(2.0));
                lines.push(meter.tokens);
            }
        }
        assert_eq!(meter.clone().take().is_some(), meter.since > 0);
        // Each step at first, then one line per 1 %: 100 + ln(10) / ln(1.01), a little less
        // because steps are whole.
        assert!((260..335).contains(&lines.len()), "{}", lines.len());
        assert!(lines.windows(2).all(|w| (w[1] - w[0]) * 100 >= w[0]));
    }
}
