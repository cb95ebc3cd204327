//! What the fits see of the runs: groups, binned series, observations at a level.

use super::LossKind;

/// One bin of a smoothed series, equal in log tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Optimizer steps, at the bin's centre.
    pub steps: f64,
    /// Cumulative tokens.
    pub tokens: f64,
    /// Mean loss, nats per token.
    pub loss: f64,
    /// Standard error of that mean, nats.
    pub se: f64,
}

/// The stable phase of a run at one batch size from its first step on.
#[derive(Debug, Clone, PartialEq)]
pub struct ConstantSeries {
    pub run: String,
    /// Tokens per optimizer step.
    pub batch_size: f64,
    pub bins: Vec<Bin>,
    /// Steps and tokens at which the stable phase began (end of the warmup).
    pub stable_from_steps: f64,
    pub stable_from_tokens: f64,
    pub to_tokens: f64,
    /// The smoothed loss rises through the late stable phase: there is no floor to fit.
    pub drifts_upward: bool,
}

/// A run that changed its batch size within the stable phase.
#[derive(Debug, Clone, PartialEq)]
pub struct SwitchedSeries {
    pub run: String,
    /// Its first stretch is, from some step on or up to one, the training of another run.
    pub shared: bool,
    /// All stretches from step 0 on, in order.
    pub stretches: Vec<super::Stretch>,
    /// Bins over the whole stable phase; none spans a switch.
    pub bins: Vec<Bin>,
}

/// A piece of a decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecayPiece {
    pub steps: f64,
    /// Mean learning rate over that of the plateau.
    pub rate: f64,
    /// Mean loss, nats per token.
    pub loss: f64,
}

/// A run at one batch size whose learning rate decayed after its stable phase.
#[derive(Debug, Clone, PartialEq)]
pub struct DecayedSeries {
    pub run: String,
    /// Tokens per optimizer step.
    pub batch_size: f64,
    /// Steps at which the decay began.
    pub plateau_steps: f64,
    /// The decay from its beginning on.
    pub pieces: Vec<DecayPiece>,
}

/// A run of a group, and what becomes of it in the fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub run: String,
    /// Used in the fit of the constant-batch models.
    pub used: bool,
    /// Why not, in words.
    pub why: Option<String>,
}

/// Runs that are fitted together: one learning-rate plateau, the same model where logs say which.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub id: String,
    /// Learning rate of the plateau; `None` where none is logged.
    pub lr: Option<f64>,
    pub on: LossKind,
    pub members: Vec<Member>,
    pub constant: Vec<ConstantSeries>,
    pub switched: Vec<SwitchedSeries>,
    pub decayed: Vec<DecayedSeries>,
    /// The same runs by the other loss, where that is dense enough too.
    pub other: Option<Box<Group>>,
}

/// One run at one level: the step at which it reached the level, or how far it got without.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    pub run: String,
    pub batch_size: f64,
    /// Of the crossing; of the end of the run where `censored`.
    pub steps: f64,
    pub tokens: f64,
    /// Standard error of ln E at the crossing; 0 where `censored`.
    pub se_ln: f64,
    /// The level was not reached: E is more than `tokens`.
    pub censored: bool,
}
