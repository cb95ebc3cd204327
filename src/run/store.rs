//! A bounded series of rows: the recent ones as they were logged, older ones in blocks.
//!
//! A block spans at most [`WIDTH`] of the tokens at its place, so that n lines make about
//! ln(n)/WIDTH blocks, whatever n is, and the smoothing windows (+-6 % of the tokens) hold a
//! hundred of them. Within a block the batch size is constant and the learning rate constant to
//! [`SAME_LR`]; a change starts a new block. The loss of a block is a mean without spikes; its
//! lowest and highest loss are kept with them. A series that was never longer than [`FULL`] is kept
//! as it was logged.

use super::row::Row;
use super::smoothing::not_spikes;

/// Width of a block over the tokens (steps where those are unknown) at its end.
pub(super) const WIDTH: f64 = 1e-3;
/// Relative difference of batch sizes within a block.
const SAME_BATCH: f64 = 2e-3;
/// Drift of the learning rate within a block, relative to itself or a tenth of the highest.
const SAME_LR: f64 = 1e-3;
/// Rows up to which nothing is put together.
pub(super) const FULL: usize = 8192;
/// Rows that stay as they were logged once blocks are made, and twice as many at most.
pub(super) const RECENT: usize = 1024;
/// Blocks from which what splits them most counts for less: a learning rate that flickers, a batch
/// size that wanders from row to row.
pub(super) const MOST: usize = 16_384;

/// Why two neighbours are not one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Width,
    Batch,
    Rate,
    /// The counters' pace differs, or they went back.
    Pace,
    /// The later one does not know a counter that the earlier one knows.
    Unknown,
}

/// How much the neighbours within a block may differ, by the reasons of [`Split`].
#[derive(Debug, Clone, Copy, PartialEq)]
struct Grain {
    /// Rows up to which nothing is put together.
    full: usize,
    limits: [f64; 5],
    splits: [u64; 5],
}

impl Default for Grain {
    fn default() -> Grain {
        let limits = [WIDTH, SAME_BATCH, SAME_LR, SAME_BATCH, 1e-3];
        Grain { full: FULL, limits, splits: [0; 5] }
    }
}

/// Rows ascending in `step`.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    rows: Vec<Row>,
    /// `rows[..blocks]` were put together where they could be.
    blocks: usize,
    grain: Grain,
    highest_lr: f64,
}

impl Store {
    /// Never puts anything together.
    pub fn whole() -> Store {
        let grain = Grain { full: usize::MAX, ..Grain::default() };
        Store { grain, ..Store::default() }
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        let full = self.grain.full;
        *self = Store { grain: Grain { full, ..Grain::default() }, ..Store::default() };
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn last(&self) -> Option<&Row> {
        self.rows.last()
    }

    pub fn last_mut(&mut self) -> Option<&mut Row> {
        self.rows.last_mut()
    }

    /// Whether a row ends at this very step.
    pub fn at(&self, step: f64) -> Option<&Row> {
        self.rows.get(self.from(step)).filter(|r| r.step == step)
    }

    /// First row that ends at `step` or later.
    fn from(&self, step: f64) -> usize {
        self.rows.partition_point(|r| r.step < step)
    }

    /// Takes a row: as the newest, or where it belongs. What a row says of a step that is there is
    /// added to it. O(1) amortised for the newest.
    pub fn insert(&mut self, row: Row) {
        self.highest_lr = self.highest_lr.max(row.lr);
        match self.rows.last_mut() {
            Some(last) if last.step == row.step => last.take(&row, false),
            Some(last) if last.step > row.step => self.insert_late(row),
            _ => {
                self.rows.push(row);
                let recent = self.rows.len() - self.blocks;
                if recent > if self.blocks == 0 { self.grain.full } else { 2 * RECENT } {
                    self.age();
                }
            }
        }
    }

    fn insert_late(&mut self, row: Row) {
        let i = self.from(row.step);
        match self.rows.get_mut(i) {
            Some(r) if r.step == row.step => r.take(&row, false),
            // Within what was put together only its loss is news.
            Some(r) if i < self.blocks => {
                let end = Row { step: r.step, lag: r.step - row.step, rows: 0, ..row };
                let lr_from = r.lr_from;
                let x = f64::NAN;
                r.join(&Row { tokens: x, samples: x, lr: x, time: x, ..end });
                r.lr_from = lr_from;
            }
            _ => self.rows.insert(i, row),
        }
    }

    /// Drops everything from `step` on. Returns how many rows that were logged are gone.
    pub fn cut(&mut self, step: f64) -> usize {
        let gone = cut(&mut self.rows, step);
        self.blocks = self.blocks.min(self.rows.len());
        gone
    }

    /// Drops everything after the row that ends at `step`.
    pub fn cut_after(&mut self, step: f64) -> usize {
        let keep = self.rows.partition_point(|r| r.step <= step);
        let gone = self.rows[keep..].iter().map(|r| r.rows as usize).sum();
        self.rows.truncate(keep);
        self.blocks = self.blocks.min(keep);
        gone
    }

    /// Puts the older of the recent rows together.
    fn age(&mut self) {
        let from = self.blocks;
        let to = self.rows.len().saturating_sub(RECENT).max(from);
        mark_spikes(&mut self.rows[from..to]);
        self.blocks = self.fold(from, to);
        while self.blocks > MOST {
            self.coarsen();
        }
        // The room stays: vectors that grow and shrink in turn leave holes in the heap.
    }

    /// Folds `rows[from..to]` onto what is before them; returns where the blocks end.
    fn fold(&mut self, from: usize, to: usize) -> usize {
        let mut end = from;
        for i in from..to {
            self.rows[end] = self.rows[i];
            end += 1;
            // What was open (a counter not known yet) may now fit to what is before it.
            while end >= 3 {
                let [before, block, next] = [end - 3, end - 2, end - 1].map(|k| &self.rows[k]);
                if let Some(why) = split(before, block, next, &self.grain, self.highest_lr) {
                    self.grain.splits[why as usize] += 1;
                    break;
                }
                let next = *next;
                self.rows[end - 2].join(&next);
                end -= 1;
            }
        }
        self.rows.drain(end..to);
        end
    }

    /// Doubles the tolerance for what splits most, and folds all blocks again.
    fn coarsen(&mut self) {
        let splits = self.grain.splits;
        let most = (0..splits.len()).max_by_key(|i| splits[*i]).unwrap_or(0);
        self.grain.limits[most] *= 2.0;
        self.grain.splits = [0; 5];
        self.blocks = self.fold(0, self.blocks);
    }
}

/// Drops everything from `step` on from ascending rows. Returns how many rows that were logged are
/// gone, without those that a row beside them counts.
pub(super) fn cut(rows: &mut Vec<Row>, step: f64) -> usize {
    let alone = |r: &Row| r.rows.saturating_sub(r.beside) as usize;
    let keep = rows.partition_point(|r| r.step < step);
    let mut gone: usize = rows[keep..].iter().map(alone).sum();
    let part = rows.get(keep).filter(|r| r.rows > 1);
    let part = part.and_then(|r| r.part_before(step, rows[..keep].last()));
    rows.truncate(keep);
    if let Some(part) = part {
        gone = gone.saturating_sub(alone(&part));
        rows.push(part);
    }
    gone
}

/// A loss far from those around it stays out of the mean of its block.
fn mark_spikes(rows: &mut [Row]) {
    let places: Vec<usize> =
        (0..rows.len()).filter(|i| rows[*i].losses == 1 && axis(&rows[*i]) > 0.0).collect();
    let x: Vec<f64> = places.iter().map(|i| axis(&rows[*i]).ln()).collect();
    if !x.is_sorted() {
        return;
    }
    let loss: Vec<f64> = places.iter().map(|i| rows[*i].loss).collect();
    for (i, keep) in places.iter().zip(not_spikes(&x, &loss, &[])) {
        rows[*i].losses = u32::from(keep);
    }
}

fn axis(r: &Row) -> f64 {
    if r.tokens > 0.0 { r.tokens } else { r.step }
}

/// Why `block`, which follows `before`, does not go on with `next`.
fn split(before: &Row, block: &Row, next: &Row, grain: &Grain, highest_lr: f64) -> Option<Split> {
    let limit = |why: Split| grain.limits[why as usize];
    let lost = |a: f64, b: f64| !a.is_nan() && b.is_nan();
    if (lost(block.tokens, next.tokens) || lost(block.samples, next.samples))
        && limit(Split::Unknown) < 1.0
    {
        return Some(Split::Unknown);
    }
    let (from, to) = match before.tokens >= 0.0 && next.tokens >= 0.0 {
        true => (before.tokens, next.tokens),
        false => (before.step, next.step),
    };
    if to - from > limit(Split::Width) * to.abs() {
        return Some(Split::Width);
    }
    let pace = |f: fn(&Row) -> f64| {
        let a = (f(block) - f(before)) / (block.step - before.step);
        let b = (f(next) - f(block)) / (next.step - block.step);
        differ(a, b, limit(Split::Pace)) || (b < 0.0 && limit(Split::Pace) < 1.0)
    };
    if pace(|r| r.tokens) || pace(|r| r.samples) {
        return Some(Split::Pace);
    }
    let sizes: [fn(&Row) -> f64; 5] = [
        |r| r.batch_tokens,
        |r| r.tokens_per_step,
        |r| r.batch_sequences,
        |r| r.batch_micro,
        |r| r.seq_len,
    ];
    if sizes.iter().any(|f| differ(f(block), f(next), limit(Split::Batch))) {
        return Some(Split::Batch);
    }
    let scale = block.lr_from.abs().max(0.1 * highest_lr);
    let drift = (next.lr - block.lr_from).abs();
    (drift > limit(Split::Rate) * scale).then_some(Split::Rate)
}

/// Whether two known sizes differ by more than a share of them.
fn differ(a: f64, b: f64, most: f64) -> bool {
    (a - b).abs() > most * a.abs().max(b.abs())
}
