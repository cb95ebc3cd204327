//! The rows of a run beside what was resolved for them.

use super::row::Row;
use super::segments::Cut;
use super::{Columns, Known};

/// All rows of a run with their resolved steps, tokens and batch sizes.
pub(super) struct Timeline<'a> {
    pub rows: &'a [Row],
    pub steps: Vec<f64>,
    pub tokens: Vec<f64>,
    pub batch: Vec<f64>,
}

impl Timeline<'_> {
    /// The rows that `take` picks with their train losses, and their indices.
    pub fn train(&self, take: impl Fn(&Row) -> bool) -> (Vec<usize>, Columns) {
        let of_row: Vec<usize> = (0..self.rows.len()).filter(|i| take(&self.rows[*i])).collect();
        let picked = of_row.iter().map(|i| (*i, self.rows[*i]));
        let columns = self.columns(picked, of_row.len());
        (of_row, columns)
    }

    /// The validation losses, each at the row that ends at its step.
    pub fn validation(&self, losses: &[Row]) -> Columns {
        let mut at = 0;
        let placed = losses.iter().filter_map(|v| {
            at += self.rows[at..].partition_point(|r| r.step < v.step);
            let row = self.rows.get(at).filter(|r| r.step == v.step)?;
            Some((at, Row { time: row.time, ..*v }))
        });
        self.columns(placed, losses.len())
    }

    fn columns(&self, picked: impl Iterator<Item = (usize, Row)>, n: usize) -> Columns {
        let mut c = Columns::with_capacity(n);
        let mut blocks = false;
        let (mut lr, mut seen) = (f64::NAN, 0);
        for (i, r) in picked {
            // Trainers log the learning rate on other lines than the loss.
            let known = self.rows[seen..=i].iter().rev().map(|r| r.lr).find(|lr| !lr.is_nan());
            (lr, seen) = (known.unwrap_or(lr), i + 1);
            let back = self.back(i, r.lag);
            c.step.push(back(&self.steps));
            c.tokens.push(back(&self.tokens));
            c.time.push(r.time);
            c.loss.push(r.loss);
            c.lr.push(lr);
            c.batch_size.push(self.batch[i]);
            c.count.push(f64::from(r.losses.max(1)));
            c.low.push(r.low);
            c.high.push(r.high);
            blocks |= r.rows > 1;
        }
        if !blocks {
            (c.count, c.low, c.high) = Default::default();
        }
        c
    }

    /// The value of each field that is known first, the rows being looked at in the order `at`.
    pub fn known(&self, at: impl Fn(usize) -> usize) -> Known {
        let find = |value: &dyn Fn(usize) -> f64| {
            (0..self.rows.len()).map(|i| value(at(i))).find(|x| x.is_finite())
        };
        Known {
            step: find(&|i| self.steps[i]),
            tokens: find(&|i| self.tokens[i]),
            lr: find(&|i| self.rows[i].lr),
            batch_size: find(&|i| self.batch[i]),
            time: find(&|i| self.rows[i].time),
        }
    }

    /// Reads a column `lag` (in the unit of the rows' steps) before the end of row `i`.
    fn back(&self, i: usize, lag: f64) -> impl Fn(&[f64]) -> f64 {
        let span = i.checked_sub(1).map_or(f64::NAN, |j| self.rows[i].step - self.rows[j].step);
        let share = if lag > 0.0 && span > 0.0 { lag / span } else { 0.0 };
        move |column| match share > 0.0 {
            true => column[i] - share * (column[i] - column[i - 1]),
            false => column[i],
        }
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
