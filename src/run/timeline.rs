//! The rows of a run beside what was resolved for them.

use super::Columns;
use super::merge::Row;
use super::segments::Cut;

/// All rows of a run with their resolved steps, tokens and batch sizes.
pub(super) struct Timeline<'a> {
    pub rows: &'a [Row],
    pub steps: Vec<f64>,
    pub tokens: Vec<f64>,
    pub batch: Vec<f64>,
}

impl Timeline<'_> {
    /// The rows that `take` picks, and their indices.
    pub fn columns(
        &self,
        take: impl Fn(&Row) -> bool,
        loss: impl Fn(&Row) -> f64,
    ) -> (Vec<usize>, Columns) {
        let mut of_row = Vec::new();
        let mut c = Columns::default();
        let mut lr = f64::NAN;
        for (i, r) in self.rows.iter().enumerate() {
            // Trainers log the learning rate on other lines than the loss.
            if !r.lr.is_nan() {
                lr = r.lr;
            }
            if take(r) {
                of_row.push(i);
                c.step.push(self.steps[i]);
                c.tokens.push(self.tokens[i]);
                c.loss.push(loss(r));
                c.lr.push(lr);
                c.batch_size.push(self.batch[i]);
                c.time.push(r.time);
            }
        }
        (of_row, c)
    }

    /// Tokens done at a step between two rows.
    pub fn tokens_at(&self, step: f64, cuts: &[Cut]) -> f64 {
        let i = self.steps.partition_point(|s| *s < step);
        let b = |at: f64| {
            let k = cuts.partition_point(|c| c.from_step < at);
            cuts.get(k.saturating_sub(1)).map_or(f64::NAN, |c| c.batch_size)
        };
        match (i.checked_sub(1), self.steps.get(i)) {
            (_, Some(s)) if *s == step => self.tokens[i],
            (Some(j), _) => self.tokens[j] + b(step) * (step - self.steps[j]),
            (None, _) => b(step) * step,
        }
    }
}

/// Steps done at every row; from tokens and batch sizes where no steps are logged.
pub(super) fn steps(rows: &[Row], tokens: &[f64], cuts: &[Cut], by_tokens: bool) -> Vec<f64> {
    if !by_tokens {
        return rows.iter().map(|r| r.step).collect();
    }
    let mut out = Vec::with_capacity(rows.len());
    let (mut step, mut last, mut k) = (0.0, 0.0, 0);
    for (i, t) in tokens.iter().enumerate() {
        while cuts.get(k + 1).is_some_and(|c| c.row <= i) {
            k += 1;
        }
        step += cuts.get(k).map_or(f64::NAN, |c| (t - last) / c.batch_size);
        last = *t;
        out.push(step);
    }
    out
}

/// The batch size in force at every row; NaN where none is known.
pub(super) fn staircase(rows: usize, cuts: &[Cut]) -> Vec<f64> {
    let mut out = vec![f64::NAN; rows];
    for (k, c) in cuts.iter().enumerate() {
        let to = cuts.get(k + 1).map_or(rows, |n| n.row);
        if let Some(span) = out.get_mut(c.row..to) {
            span.fill(c.batch_size);
        }
    }
    out
}
