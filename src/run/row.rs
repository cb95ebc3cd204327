//! One row of a run: a step with everything that was said of it, or a block of many.

use crate::metrics::Record;

/// One step, or neighbouring steps put together. NaN: unknown.
///
/// Counters and the learning rate are those of its last step; the loss is the mean over its losses,
/// `lag` before the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Optimizer steps done at its end; tokens where no steps are logged.
    pub step: f64,
    pub tokens: f64,
    pub samples: f64,
    pub tokens_per_step: f64,
    pub batch_tokens: f64,
    /// Sequences per optimizer step as logged.
    pub batch_sequences: f64,
    /// micro-batch x accumulation x data-parallel, in sequences.
    pub batch_micro: f64,
    pub seq_len: f64,
    /// Mean of its finite losses (in the validation series: of the validation losses).
    pub loss: f64,
    /// Lowest and highest finite loss, spikes included.
    pub low: f64,
    pub high: f64,
    /// From the mean place of its losses to its end, in the unit of `step`; 0 for one step.
    pub lag: f64,
    /// At its first step.
    pub lr_from: f64,
    pub lr: f64,
    pub time: f64,
    /// Steps put together.
    pub rows: u32,
    /// Of its steps, those that the other series of the stream knows too (in the validation series).
    pub beside: u32,
    /// Losses in the mean; 0 for a spike, which is in `low` and `high` alone once it is put
    /// together with others.
    pub losses: u32,
    /// Losses that were NaN or infinite.
    pub bad: u32,
    /// The trainer wrote a loss, be it NaN.
    pub has_loss: bool,
}

impl Row {
    /// What a record says at a step, without its losses; `micro` and `seq_len` as known by now.
    pub fn of(step: f64, r: &Record, micro: f64, seq_len: f64) -> Row {
        let x = f64::NAN;
        Row {
            step,
            tokens: known(r.tokens),
            samples: known(r.samples),
            tokens_per_step: size(r.tokens_per_step),
            batch_tokens: size(r.batch_tokens),
            batch_sequences: size(r.batch_sequences),
            batch_micro: micro,
            seq_len,
            loss: x,
            low: x,
            high: x,
            lag: 0.0,
            lr_from: known(r.lr),
            lr: known(r.lr),
            time: known(r.time),
            rows: 1,
            beside: 0,
            losses: 0,
            bad: 0,
            has_loss: false,
        }
    }

    /// The same with a loss, where the trainer wrote one.
    pub fn with(self, loss: Option<f64>) -> Row {
        let value = known(loss);
        Row {
            loss: value,
            low: value,
            high: value,
            losses: u32::from(value.is_finite()),
            bad: u32::from(loss.is_some() && !value.is_finite()),
            has_loss: loss.is_some(),
            ..self
        }
    }

    /// Takes what `r` knows of the same step; with `over`, what `r` knows wins. A block keeps what
    /// it has.
    pub fn take(&mut self, r: &Row, over: bool) {
        let over = over && self.rows == 1;
        let set = |a: &mut f64, b: f64| {
            if !b.is_nan() && (over || a.is_nan()) {
                *a = b;
            }
        };
        set(&mut self.tokens, r.tokens);
        set(&mut self.samples, r.samples);
        set(&mut self.tokens_per_step, r.tokens_per_step);
        set(&mut self.batch_tokens, r.batch_tokens);
        set(&mut self.batch_sequences, r.batch_sequences);
        set(&mut self.batch_micro, r.batch_micro);
        set(&mut self.seq_len, r.seq_len);
        set(&mut self.lr_from, r.lr_from);
        set(&mut self.lr, r.lr);
        set(&mut self.time, r.time);
        if r.has_loss && (over || !self.has_loss) {
            (self.loss, self.low, self.high) = (r.loss, r.low, r.high);
            (self.losses, self.bad, self.has_loss) = (r.losses, r.bad, true);
            self.lag = r.lag;
        }
    }

    /// Puts the steps of `next`, which follow, to this one's.
    pub fn join(&mut self, next: &Row) {
        let later = |a: f64, b: f64| if b.is_nan() { a } else { b };
        let (m, n) = (f64::from(self.rows), f64::from(next.rows));
        let mean = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
            (_, true) => a,
            (true, _) => b,
            // Equal sizes stay exactly what they are.
            _ if a == b => a,
            _ => (a * m + b * n) / (m + n),
        };
        self.tokens_per_step = mean(self.tokens_per_step, next.tokens_per_step);
        self.batch_tokens = mean(self.batch_tokens, next.batch_tokens);
        self.batch_sequences = mean(self.batch_sequences, next.batch_sequences);
        self.batch_micro = mean(self.batch_micro, next.batch_micro);
        self.seq_len = mean(self.seq_len, next.seq_len);
        self.join_loss(next);
        self.step = next.step;
        self.tokens = later(self.tokens, next.tokens);
        self.samples = later(self.samples, next.samples);
        self.lr_from = later(next.lr_from, self.lr_from);
        self.lr = later(self.lr, next.lr);
        self.time = later(self.time, next.time);
        self.rows = self.rows.saturating_add(next.rows);
        self.beside = self.beside.saturating_add(next.beside);
    }

    fn join_loss(&mut self, next: &Row) {
        let back = self.lag + (next.step - self.step);
        let (mut a, mut b) = (f64::from(self.losses), f64::from(next.losses));
        if a + b == 0.0 {
            // Spikes alone, or no losses: what there is.
            (a, b) = (f64::from(self.loss.is_finite()), f64::from(next.loss.is_finite()));
        }
        if a + b > 0.0 {
            let part = |value: f64, weight: f64| if weight > 0.0 { value * weight } else { 0.0 };
            self.loss = (part(self.loss, a) + part(next.loss, b)) / (a + b);
            self.lag = (part(back, a) + part(next.lag, b)) / (a + b);
        } else {
            (a, b) = (f64::from(self.rows), f64::from(next.rows));
            self.lag = (back * a + next.lag * b) / (a + b);
        }
        self.low = self.low.min(next.low);
        self.high = self.high.max(next.high);
        self.losses = self.losses.saturating_add(next.losses);
        self.bad = self.bad.saturating_add(next.bad);
        self.has_loss |= next.has_loss;
    }

    /// About how far its first step lies before its end.
    pub fn span(&self) -> f64 {
        2.0 * self.lag
    }

    /// The part of a block that lies before `step`, its rows taken as evenly spaced; `before` is
    /// the row ahead of it. `None` where nothing of it does.
    pub fn part_before(&self, step: f64, before: Option<&Row>) -> Option<Row> {
        let before = before?;
        let spacing = (self.step - before.step) / f64::from(self.rows);
        let rows = ((step - before.step) / spacing).ceil() - 1.0;
        if !(rows >= 1.0 && rows < f64::from(self.rows)) {
            return None;
        }
        let share = rows / f64::from(self.rows);
        let along = |from: f64, to: f64| from + (to - from) * share;
        let scaled = |n: u32| (f64::from(n) * share).round() as u32;
        Some(Row {
            step: before.step + spacing * rows,
            tokens: along(before.tokens, self.tokens),
            samples: along(before.samples, self.samples),
            time: along(before.time, self.time),
            lag: self.lag * share,
            rows: rows as u32,
            losses: scaled(self.losses).max(u32::from(self.losses > 0)),
            bad: scaled(self.bad),
            beside: scaled(self.beside),
            ..*self
        })
    }
}

fn known(x: Option<f64>) -> f64 {
    x.filter(|v| v.is_finite()).unwrap_or(f64::NAN)
}

fn size(x: Option<f64>) -> f64 {
    positive(x).unwrap_or(f64::NAN)
}

/// Steps, sizes and counts of tokens: beyond it a number is damage, and others would drown in it.
pub(super) const MOST: f64 = 1e18;

pub(super) fn positive(x: Option<f64>) -> Option<f64> {
    x.filter(|v| *v > 0.0 && *v <= MOST)
}
