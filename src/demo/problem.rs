//! The table of means: probabilities, teacher, and alias sampling.

use super::limits::Stability;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Number of words, D. A power of two, so that a column of the alias table is 17 random bits.
pub const WORDS: usize = 1 << WORD_BITS;
const WORD_BITS: u32 = 17;
/// Rank offset that flattens the head of the two power laws.
const OFFSET: f64 = 2000.0;
/// Exponent of `p_i`.
const P_EXPONENT: f64 = 1.8;
/// Exponent of `p_i w*_i^2`.
const SIGNAL_EXPONENT: f64 = 1.7;
/// Sum of `p_i w*_i^2`; half of it is what there is to learn, in nats.
const SIGNAL: f64 = 4.0;
/// `lr p_1`: how much of its error the most frequent word loses in one step.
const HEAD_RATE: f64 = 0.5;
/// Loss with perfect weights, `0.5 ln(2 pi) + 0.5` nats.
pub const L_INF: f64 = NLL_CONSTANT + 0.5;
/// `0.5 ln(2 pi)`.
pub(super) const NLL_CONSTANT: f64 = 0.918_938_533_204_672_8;

/// One column of the alias table: keep the column's own word if a 32-bit coin is below `keep`.
#[derive(Debug, Clone, Copy)]
struct Column {
    keep: u32,
    alias: u32,
}

/// The data: shared by all jobs of a demo, never changed.
#[derive(Debug)]
pub struct Problem {
    p: Vec<f64>,
    teacher: Vec<f32>,
    columns: Vec<Column>,
    lr: f64,
}

impl Problem {
    /// `seed` draws the signs of the teacher; everything else is fixed.
    pub fn new(seed: u64) -> Problem {
        let power = |exponent: f64, sum: f64| -> Vec<f64> {
            let x: Vec<f64> = (1..=WORDS).map(|i| (i as f64 + OFFSET).powf(-exponent)).collect();
            let total: f64 = x.iter().sum();
            x.into_iter().map(|x| x * sum / total).collect()
        };
        let p = power(P_EXPONENT, 1.0);
        let signal = power(SIGNAL_EXPONENT, SIGNAL);
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let teacher = p
            .iter()
            .zip(&signal)
            .map(|(p, s)| {
                let size = (s / p).sqrt() as f32;
                if rng.next_u32() & 1 == 0 { size } else { -size }
            })
            .collect();
        let columns = alias_table(&p);
        let lr = HEAD_RATE / p[0];
        Problem { p, teacher, columns, lr }
    }

    /// Probabilities by rank, the most frequent word first; they sum to one.
    pub fn probabilities(&self) -> &[f64] {
        &self.p
    }

    /// The means `w*_i` that the data are drawn around.
    pub fn teacher(&self) -> &[f32] {
        &self.teacher
    }

    /// The constant learning rate `0.5 / p_1`.
    pub fn learning_rate(&self) -> f64 {
        self.lr
    }

    /// Where the expected loss stays bounded: the variance of the most frequent word contracts,
    /// `lr (p_1 + (1 - p_1) / B) < 2`.
    pub fn stability(&self) -> Stability {
        let p1 = self.p[0];
        Stability { flat: 0.5 * self.lr * p1, per_sample: 0.5 * self.lr * (1.0 - p1) }
    }

    /// Draws a word, as an index from 0. One 64-bit draw: the upper 17 bits choose the column, the
    /// lower 32 are the coin.
    #[inline]
    pub(super) fn draw(&self, rng: &mut Pcg64Mcg) -> usize {
        let x = rng.next_u64();
        let column = (x >> (64 - WORD_BITS)) as usize;
        let Column { keep, alias } = self.columns[column];
        if (x as u32) < keep { column } else { alias as usize }
    }
}

/// Vose's construction of Walker's alias table: O(D), every column holds at most two words.
fn alias_table(p: &[f64]) -> Vec<Column> {
    let mut weight: Vec<f64> = p.iter().map(|x| x * p.len() as f64).collect();
    let mut columns: Vec<Column> =
        (0..p.len()).map(|i| Column { keep: u32::MAX, alias: i as u32 }).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..p.len()).partition(|&i| weight[i] < 1.0);
    while let (Some(s), Some(&l)) = (small.pop(), large.last()) {
        columns[s] = Column { keep: (weight[s] * 4_294_967_296.0) as u32, alias: l as u32 };
        weight[l] -= 1.0 - weight[s];
        if weight[l] < 1.0 {
            large.pop();
            small.push(l);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alias_table_holds_the_probabilities() {
        let problem = Problem::new(1);
        let mut mass = vec![0.0; WORDS];
        for (i, c) in problem.columns.iter().enumerate() {
            let keep = f64::from(c.keep) / 4_294_967_296.0;
            mass[i] += keep / WORDS as f64;
            mass[c.alias as usize] += (1.0 - keep) / WORDS as f64;
        }
        for i in [0, 1, 10, 1000, 65_000, WORDS - 1] {
            let p = problem.p[i];
            assert!((mass[i] / p - 1.0).abs() < 1e-6, "word {i}: {} against {p}", mass[i]);
        }
    }

    #[test]
    fn signal_and_probabilities_are_scaled_as_documented() {
        let problem = Problem::new(1);
        let sum: f64 = problem.p.iter().sum();
        let signal: f64 =
            problem.p.iter().zip(&problem.teacher).map(|(p, w)| p * f64::from(*w).powi(2)).sum();
        assert!((sum - 1.0).abs() < 1e-9 && (signal - 4.0).abs() < 1e-5);
        assert!((L_INF - (0.5 * (2.0 * std::f64::consts::PI).ln() + 0.5)).abs() < 1e-15);
        let positive = problem.teacher.iter().filter(|w| **w > 0.0).count();
        assert!((60_000..71_000).contains(&positive), "{positive} of {WORDS} positive");
    }

    #[test]
    fn stability_ends_near_800_tokens_per_step() {
        let stability = Problem::new(1).stability();
        assert!(stability.holds(1024, 1.0) && !stability.holds(512, 1.0));
        assert!(stability.holds(16_384, 1.5) && !stability.holds(1_000_000, 4.1));
    }
}
