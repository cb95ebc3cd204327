//! The models behind two small traits, and what they all answer: a [`Curve`] at one level.
//!
//! A newcomer adds a model as one file and one line in [`MODELS`] (fitted level by level) or
//! [`LAWS`] (fitted to all levels at once); the tests below then hold it to the identities.

use super::classical::{Classical, ClassicalModel};
use super::data::SeriesSet;
use super::joint::{JointModel, Q};
use super::law::Law;
use super::level::Points;
use super::no_floor::{NoFloor, NoFloorModel};
use super::report::ModelKind;
use super::smooth::{Smooth, SmoothModel};
use super::three_stage::{ThreeStage, ThreeStageModel};

/// E(S) at one loss level, by one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Curve {
    Classical(Classical),
    Smooth(Smooth),
    ThreeStage(ThreeStage),
    /// The joint law at a loss.
    Law(Law, f64),
    /// Its rival at a loss.
    NoFloor(NoFloor, f64),
}

impl Curve {
    /// Optimizer steps to the level at batch size `b`; `None` where it is never reached.
    pub fn steps(&self, b: f64) -> Option<f64> {
        let s = match self {
            Curve::Classical(c) => Some(c.steps(b)),
            Curve::Smooth(c) => c.steps(b),
            Curve::ThreeStage(c) => c.steps(b),
            Curve::Law(law, loss) => law.steps_to(*loss, b),
            Curve::NoFloor(law, loss) => law.steps_to(*loss, b),
        };
        s.filter(|s| s.is_finite() && *s > 0.0)
    }

    /// Tokens to the level at batch size `b`: E = B S.
    pub fn tokens(&self, b: f64) -> Option<f64> {
        self.steps(b).map(|s| s * b)
    }

    /// The batch size at and below which the level is never reached; 0 in the models that know
    /// none.
    pub fn b_min(&self) -> f64 {
        let b = match self {
            Curve::Classical(_) | Curve::NoFloor(..) => 0.0,
            Curve::Smooth(c) => c.b_m,
            Curve::ThreeStage(c) => c.b_min(),
            Curve::Law(law, loss) => law.b_min(*loss).unwrap_or(f64::INFINITY),
        };
        if b.is_nan() { f64::INFINITY } else { b }
    }

    /// The batch size of the fewest tokens; `None` where the model has no inner minimum.
    pub fn b_opt(&self) -> Option<f64> {
        let b = match self {
            Curve::Classical(_) | Curve::NoFloor(..) => None,
            Curve::Smooth(c) => Some(c.b_opt()),
            Curve::ThreeStage(c) => Some(c.b_opt()),
            Curve::Law(law, loss) => law.b_opt(*loss),
        };
        b.filter(|b| b.is_finite() && *b > 0.0)
    }

    /// The fewest tokens; in a model without an inner minimum the limit of small batch sizes.
    pub fn e_min(&self) -> Option<f64> {
        let e = match self {
            Curve::Classical(c) => Some(c.e_min),
            Curve::NoFloor(law, loss) => law.e_min(*loss),
            _ => self.b_opt().and_then(|b| self.tokens(b)),
        };
        e.filter(|e| e.is_finite() && *e > 0.0)
    }

    /// Steps at the optimum.
    pub fn s_opt(&self) -> Option<f64> {
        self.b_opt().and_then(|b| self.steps(b))
    }

    /// `E(B)/E_min - 1`: the share of tokens that batch size `b` wastes to this level. Infinite
    /// where it is never reached.
    pub fn excess(&self, b: f64) -> Option<f64> {
        let e_min = self.e_min()?;
        Some(self.tokens(b).map_or(f64::INFINITY, |e| (e / e_min - 1.0).max(0.0)))
    }

    /// Batch sizes that need at most `1 + slack` times the fewest tokens.
    pub fn within(&self, slack: f64) -> Option<[f64; 2]> {
        let (b_opt, e_min) = (self.b_opt()?, self.e_min()?);
        let over = |b: f64| self.tokens(b).is_none_or(|e| e > e_min * (1.0 + slack));
        let edge = |sign: f64| {
            let (mut near, mut far) = (0.0, 0.02);
            while !over(b_opt * (sign * far).exp()) {
                (near, far) = (far, far * 2.0);
                if far > 40.0 {
                    return b_opt * (sign * near).exp();
                }
            }
            for _ in 0..40 {
                let middle = 0.5 * (near + far);
                if over(b_opt * (sign * middle).exp()) { far = middle } else { near = middle }
            }
            b_opt * (sign * near).exp()
        };
        Some([edge(-1.0), edge(1.0)])
    }
}

/// Why a model gives no answer, in words that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub has: String,
    pub needs: String,
}

impl Refusal {
    pub fn new(has: impl Into<String>, needs: impl Into<String>) -> Refusal {
        Refusal { has: has.into(), needs: needs.into() }
    }

    /// The data do not hold a parameter.
    pub fn at_bound(parameter: &str, needs: &str) -> Refusal {
        Refusal::new(format!("the data do not hold {parameter}: the fit ends at its bound"), needs)
    }

    pub fn not_finite() -> Refusal {
        Refusal::new("the fit found no finite minimum", "series without gaps, constant or NaN loss")
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; needs {}", self.has, self.needs)
    }
}

/// A model of E(S) at one level, fitted to the points of that level alone.
pub trait CurveModel: Sync + std::fmt::Debug {
    fn kind(&self) -> ModelKind;

    /// Batch sizes that must have reached the level.
    fn sizes_needed(&self) -> usize;

    /// Free parameters.
    fn parameters(&self) -> usize;

    /// The least Huber cost over the points, from the neighbourhood of `warm` where one is given,
    /// and why its parameters are not to be read where they are not held; `None` where there is no
    /// finite one.
    fn minimum(&self, points: &Points, warm: Option<&Curve>) -> Option<Minimum<Curve>>;

    /// The curve through `points`.
    fn fit(&self, points: &Points, warm: Option<&Curve>) -> Result<Curve, Refusal> {
        self.minimum(points, warm).map_or_else(|| Err(Refusal::not_finite()), Minimum::held)
    }
}

/// Where a fit ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum<T> {
    pub found: T,
    /// A parameter ended at its bound: the fit predicts, but the parameter means nothing.
    pub refusal: Option<Refusal>,
}

impl<T> Minimum<T> {
    fn held(self) -> Result<T, Refusal> {
        self.refusal.map_or(Ok(self.found), Err)
    }
}

/// A law of the loss of every constant run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyLaw {
    Floor(Law),
    NoFloor(NoFloor),
}

impl AnyLaw {
    /// Loss after `steps` at `batch_size`.
    pub fn loss(&self, steps: f64, batch_size: f64) -> f64 {
        match self {
            AnyLaw::Floor(law) => law.loss(steps, batch_size),
            AnyLaw::NoFloor(law) => law.loss(steps, batch_size),
        }
    }

    /// E(S) at a loss; `None` at or below L_inf.
    pub fn curve(&self, loss: f64) -> Option<Curve> {
        match self {
            AnyLaw::Floor(law) if loss > law.l_inf => Some(Curve::Law(*law, loss)),
            AnyLaw::NoFloor(law) if loss > law.l_inf => Some(Curve::NoFloor(*law, loss)),
            _ => None,
        }
    }
}

/// A resampled fit, as far as it is not in the losses.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Standard deviations by which what is believed beside the data is moved.
    pub belief: f64,
    /// What the law that is resampled misses the runs by, nats.
    pub misses: f64,
}

/// A model of the loss over all levels and runs at once.
pub trait LossModel: Sync + std::fmt::Debug {
    fn kind(&self) -> ModelKind;
    fn name(&self) -> &'static str;
    /// Free parameters: on a tie the fewer speak.
    fn parameters(&self) -> usize;
    /// Batch sizes that must be in the set.
    fn sizes_needed(&self) -> usize;

    /// Whether it is asked where so many batch sizes were trained.
    fn is_asked(&self, sizes: usize) -> bool {
        sizes >= self.sizes_needed()
    }

    /// The least Huber cost over the set, and why its parameters are not to be read where they are
    /// not held; `None` where there is no finite one.
    fn minimum(&self, set: &SeriesSet, warm: Option<&AnyLaw>) -> Option<Minimum<AnyLaw>>;

    /// The same for other losses, for a draw of `law`.
    fn again(&self, set: &SeriesSet, law: &AnyLaw, _: Draw) -> Option<Minimum<AnyLaw>> {
        self.minimum(set, Some(law))
    }

    fn fit(&self, set: &SeriesSet, warm: Option<&AnyLaw>) -> Result<AnyLaw, Refusal> {
        self.minimum(set, warm).map_or_else(|| Err(Refusal::not_finite()), Minimum::held)
    }
}

/// The one-level models, from few assumptions to many.
pub const MODELS: [&dyn CurveModel; 3] = [&ClassicalModel, &SmoothModel, &ThreeStageModel];

/// The laws over all levels: the joint law plain and with q, its rival, and the joint law where there
/// are too few batch sizes to score q.
pub const LAWS: [&dyn LossModel; 4] = [
    &JointModel { q: Q::Zero },
    &JointModel { q: Q::Fitted },
    &NoFloorModel,
    &JointModel { q: Q::Believed },
];
