//! What a fit says: plain data, serialized as `boptop.fit/1`.

use super::joint::TOLD_FROM;
use super::{Curve, Law, Memory, MemorySource};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    Train,
    Val,
}

/// On which side an interval is not closed by the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    None,
    /// Nothing bounds it from below: the optimum may lie beyond the smallest size tested.
    Low,
    /// Nothing bounds it from above.
    High,
    Both,
}

/// A value with its interval. `open` names the side on which the truth may lie beyond the tested
/// sizes; the bound of that side is then `None`, and so may be the value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Nominal coverage.
    pub level: f64,
    pub open: Open,
}

impl Interval {
    pub const UNKNOWN: Interval =
        Interval { value: None, low: None, high: None, level: 0.9, open: Open::Both };
}

/// The models, from few assumptions to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// McCandlish et al.: 2 parameters at one level, monotone.
    Classical,
    /// Ours: 3 parameters at one level.
    Smooth,
    /// Zhou et al.: 6 parameters at one level.
    ThreeStage,
    /// Ours: the loss law over all levels.
    Joint,
    /// The joint law's rival without a noise floor: L_inf + a S^-alpha + b E^-beta.
    NoFloor,
}

impl ModelKind {
    /// As it is written in JSON and in the fit table.
    pub fn as_str(self) -> &'static str {
        match self {
            ModelKind::Classical => "classical",
            ModelKind::Smooth => "smooth",
            ModelKind::ThreeStage => "three_stage",
            ModelKind::Joint => "joint",
            ModelKind::NoFloor => "no_floor",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitReport {
    pub groups: Vec<GroupFit>,
}

/// A run of the group, used or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunUse {
    pub id: String,
    pub paths: Vec<String>,
    /// Of its last segment.
    pub batch_size_tokens: Option<f64>,
    pub steps: Option<f64>,
    pub tokens: Option<f64>,
    /// Smoothed, at its present end.
    pub loss_last: Option<f64>,
    pub phase: Option<crate::run::Phase>,
    /// Over the last rows at [`RunUse::batch_size_tokens`], by the log's own clock.
    pub tokens_per_second: Option<f64>,
    pub used: bool,
    pub why: Option<String>,
}

/// Something that the data cannot tell, and what would tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub what: String,
    pub why: String,
    pub needs: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupFit {
    pub id: String,
    pub lr: Option<f64>,
    pub runs: Vec<RunUse>,
    pub law: Option<LawFit>,
    /// Where there is no law yet, but a memory.
    pub provisional: Option<Provisional>,
    /// Every model that could be scored, from few assumptions to many.
    pub scores: Vec<ModelScore>,
    /// From the highest loss to the lowest.
    pub levels: Vec<LevelFit>,
    /// What all levels together say, in words: where the optimum goes as the loss falls.
    pub notes: Vec<String>,
    pub refused: Vec<Refused>,
}

/// The joint law of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LawFit {
    #[serde(flatten)]
    pub law: Law,
    #[serde(flatten)]
    pub memory: Memory,
    pub rms_nats: f64,
    /// Mean error of the loss on a batch size left out of the fit.
    pub held_out_nats: Option<f64>,
    /// Loss fitted.
    pub on: LossKind,
    /// Steps before which nothing was fitted, chosen by the held-out error.
    pub burn_in_steps: f64,
    /// Range of batch sizes and losses that the fit rests on.
    pub batch_sizes: [f64; 2],
    pub losses: [f64; 2],
    /// The error on each batch size left out.
    pub left_out: Vec<LeftOutSize>,
    /// The same mean error of the rival without a noise floor.
    pub rival_held_out_nats: Option<f64>,
    /// Rms error on the second half of every run's tokens, predicted from the first halves.
    pub future_nats: Option<f64>,
    /// The same of the rival.
    pub rival_future_nats: Option<f64>,
    /// Every burn-in that was tried.
    pub windows: Vec<WindowScore>,
    /// The law of the best one, otherwise made.
    pub variants: Vec<VariantScore>,
    /// How well each memory explains the runs that switched.
    pub memory_checks: Vec<MemoryCheck>,
    /// The memory without what the raises of a run showed, to judge them by.
    #[serde(skip)]
    pub memory_before: Vec<MemoryBefore>,
    /// Where runs of the group decayed, and the form describes them.
    pub decay: Option<DecayFit>,
    /// Fitted along the batch changes of runs (branches, ramps), since too few sizes were trained from
    /// the start; its memory with it.
    pub along_changes: bool,
    /// Too few batch sizes to score q: it rests on what is believed of it too.
    pub q_believed: bool,
    /// It is of other runs, saved and read.
    #[serde(skip)]
    pub saved: bool,
    /// Resampled laws: the spread of everything that is computed from the law.
    #[serde(skip)]
    pub draws: Vec<Law>,
    /// Some of them, each with the memory that the switched runs show under it; the memory above
    /// where none was measured.
    #[serde(skip)]
    pub with_memory: Vec<(Law, Memory)>,
    /// Rms error of the bins fitted by the noise of their lines, nats: what no law can explain.
    #[serde(skip)]
    pub noise_nats: f64,
    /// What the law misses what it was not fitted to by beyond that noise, nats: rms over a factor of
    /// two in tokens.
    #[serde(skip)]
    pub excess_nats: Option<f64>,
}

/// The memory that is known without the bins of one run after a raise.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryBefore {
    pub run: String,
    /// Optimizer steps of the run at the raise.
    pub steps: f64,
    /// Slow, as assumed, where nothing else tells it.
    pub memory: Memory,
}

impl LawFit {
    /// What is to be said of q; `None` where the batch sizes tell it.
    pub fn q_text(&self) -> Option<String> {
        self.q_believed.then(|| {
            format!(
                "q {:.2} is fitted together with what is usual for it, since fewer than {TOLD_FROM} \
                 batch sizes do not tell it alone; the intervals of tokens and losses hold what it \
                 may be",
                self.law.q
            )
        })
    }

    /// The memory to judge a raise by that `run` made at `steps`: what other changes tell of it, else
    /// that of the fit: an assumed one is no promise that a raise could be held to.
    pub fn memory_before(&self, run: &str, steps: f64) -> Memory {
        let same = |m: &&MemoryBefore| m.run == run && (m.steps / steps - 1.0).abs() < 1e-3;
        let told = self.memory_before.iter().find(same).map(|m| m.memory);
        told.filter(|m| m.source == MemorySource::Measured).unwrap_or(self.memory)
    }
}

/// The learning-rate decay in intrinsic time: the noise of a step weighs `(lr/lr_plateau)^delta`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecayFit {
    pub delta: f64,
    pub rms_nats: f64,
    /// Rms error of a decay from the others; `None` where there is but one.
    pub predicted_nats: Option<f64>,
    pub checks: Vec<DecayCheck>,
}

/// A run that decayed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecayCheck {
    pub run: String,
    /// Rms error of the loss during the decay, nats.
    pub rms_nats: f64,
    /// The same with no noise annealed.
    pub rms_unannealed_nats: f64,
    /// The same with delta from the other runs.
    pub predicted_nats: Option<f64>,
}

/// A batch size left out of the fit of the law, and the rms error of its predicted loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LeftOutSize {
    pub batch_size_tokens: f64,
    pub rms_nats: f64,
}

/// A burn-in that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowScore {
    pub burn_in_steps: f64,
    /// Mean error on a batch size left out, nats, on the bins that all windows share.
    pub held_out_nats: Option<f64>,
    /// Cannot be told from the best one: it widens the intervals.
    pub comparable: bool,
}

/// What else a law of one window may be fitted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Variation {
    /// The other form: plain where the law with q speaks, with q where the plain one does.
    Form,
    /// Every bin weighs the same, where by default every batch size does.
    Weights,
}

/// The law of the best window, otherwise made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct VariantScore {
    pub variation: Variation,
    /// Mean error on a batch size left out, nats.
    pub held_out_nats: Option<f64>,
    /// Cannot be told from the one that speaks: it widens the intervals.
    pub comparable: bool,
}

/// A run that switched, under the measured memory and under instant forgetting (of a law along batch
/// changes: the law fitted anew under it).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryCheck {
    pub run: String,
    /// Rms error of the loss after the switches, nats.
    pub rms_nats: f64,
    pub rms_instant_nats: f64,
    /// The same of a memory fitted without this run, or, where it is the only one, of its last
    /// switch predicted from those before it.
    pub predicted_nats: Option<f64>,
}

/// A law of too few batch sizes to be scored, good for one thing: the memory measured under it.
/// Nothing else is computed from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provisional {
    #[serde(flatten)]
    pub law: Law,
    #[serde(flatten)]
    pub memory: Memory,
    pub rms_nats: f64,
    /// Of those tried, the one under which switched runs predict one another best.
    pub burn_in_steps: f64,
    pub batch_sizes: Vec<f64>,
    pub memory_checks: Vec<MemoryCheck>,
}

/// How well a model predicts what it was not fitted to, over all levels: those near the lowest
/// loss reached count most (half as much for each level above it).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ModelScore {
    pub model: ModelKind,
    /// The lowest loss at which it could be scored: only scores of like levels compare.
    pub lowest_loss: f64,
    /// Rms error of ln E at a batch size left out of the fit.
    pub held_out_ln_e: Option<f64>,
    /// Rms error of ln E where a run crossed a level in the second half of its tokens, by a fit to
    /// the first halves.
    pub future_ln_e: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observed {
    pub run: String,
    pub batch_size_tokens: f64,
    pub steps: f64,
    pub tokens: f64,
    pub se_ln: f64,
    pub censored: bool,
}

impl From<&super::Observation> for Observed {
    fn from(o: &super::Observation) -> Observed {
        Observed {
            run: o.run.clone(),
            batch_size_tokens: o.batch_size,
            steps: o.steps,
            tokens: o.tokens,
            se_ln: if o.se_ln.is_finite() { o.se_ln } else { 0.0 },
            censored: o.censored,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    pub steps: f64,
    pub tokens: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelFit {
    pub model: ModelKind,
    pub b_min: Interval,
    pub b_opt: Interval,
    pub e_min_tokens: Interval,
    /// Rms error of ln E at a batch size left out of the fit.
    pub held_out_ln_e: Option<f64>,
    /// The same where a run crossed this level in the second half of its tokens, by a fit to the
    /// first halves.
    pub future_ln_e: Option<f64>,
    pub refused: Option<String>,
    /// The curve, ascending in steps, for drawing; empty where refused.
    pub curve: Vec<CurvePoint>,
}

/// One loss level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelFit {
    /// Nats per token.
    pub loss: f64,
    pub on: LossKind,
    pub observed: Vec<Observed>,
    /// Which model speaks; `None` where all refuse.
    pub model: Option<ModelKind>,
    /// Why this one.
    pub why: String,
    pub b_min: Interval,
    pub b_opt: Interval,
    pub e_min_tokens: Interval,
    pub s_opt_steps: Interval,
    /// Batch sizes that need at most 2 % more tokens than the optimum.
    pub within_2_percent: Option<[f64; 2]>,
    /// Tested sizes that clearly needed more tokens than the best one, or trained longer and never
    /// arrived: the next below it and the next above it.
    pub clearly_worse: [Option<f64>; 2],
    pub models: Vec<ModelFit>,
    /// The curve that speaks.
    #[serde(skip)]
    pub curve: Option<Curve>,
    /// Resampled curves, and those of the models and windows that cannot be told from it: the
    /// spread of everything that is read off the curve.
    #[serde(skip)]
    pub draws: Vec<Curve>,
}

impl LevelFit {
    /// Something bounds the optimum.
    pub(super) fn bounded(&self) -> bool {
        self.b_opt.low.is_some() || self.b_opt.high.is_some()
    }

    /// A level at which nothing is known.
    pub(super) fn silent(loss: f64, on: LossKind) -> LevelFit {
        LevelFit {
            loss,
            on,
            observed: Vec::new(),
            model: None,
            why: String::new(),
            b_min: Interval::UNKNOWN,
            b_opt: Interval::UNKNOWN,
            e_min_tokens: Interval::UNKNOWN,
            s_opt_steps: Interval::UNKNOWN,
            within_2_percent: None,
            clearly_worse: [None; 2],
            models: Vec::new(),
            curve: None,
            draws: Vec::new(),
        }
    }
}
