//! What a trainer can do, as its `ready` line says it.

/// Which way the batch size may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Both,
}

/// What this trainer can do; said in `ready`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Batch sizes are multiples of this, in tokens.
    pub unit_tokens: u64,
    pub min_batch_tokens: u64,
    /// `None`: no limit.
    pub max_batch_tokens: Option<u64>,
    pub direction: Direction,
    pub can_scale_lr: bool,
    /// Where the learning rate can be scaled, how far.
    pub stability: Stability,
}

/// Training stays stable while `lr_scale (flat + per_sample / batch_size) < 1`, batch size in
/// tokens. All zero: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stability {
    pub flat: f64,
    pub per_sample: f64,
}

impl Stability {
    pub fn holds(&self, batch_size: u64, lr_scale: f64) -> bool {
        lr_scale * (self.flat + self.per_sample / batch_size as f64) < 1.0
    }
}
