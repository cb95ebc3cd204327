//! One loss level: every model fitted and scored, one of them speaking, its numbers with intervals.

use super::anchor;
use super::evidence::Evidence;
use super::future::PastLevel;
use super::gate;
use super::level::Points;
use super::level_laws::{Laws, score_law};
use super::model::{Curve, CurveModel, MODELS, Refusal};
use super::other_loss::Beside;
use super::report::{
    CurvePoint, Interval, LevelFit, LossKind, ModelFit, ModelKind, Observed, Open,
};
use super::select::{self, Candidate, Choice, Score};
use super::series::Observation;
use super::smooth;
use super::three_stage;
use super::uncertainty::{self, of, open, span};
use super::warm::{Spread, Spreads};
use super::window::Fitted;
use crate::units;

/// Batch sizes that must have reached a level for a law over all levels to speak there.
const LAW_SIZES: usize = 3;
/// More tokens than the optimum that still count as next to it.
pub(super) const SLACK: f64 = 0.02;

/// A model at the level.
#[derive(Debug, Clone)]
struct Entry {
    kind: ModelKind,
    curve: Result<Curve, Refusal>,
}

/// A level before any model speaks.
#[derive(Debug)]
pub(super) struct Level {
    loss: f64,
    observed: Vec<Observation>,
    points: Points,
    evidence: Option<Evidence>,
    entries: Vec<Entry>,
    pub scores: Vec<Score>,
    /// Which window's joint law speaks here, and which cannot be told from it.
    windows: Vec<usize>,
    /// The joint law is held to the points of the level.
    anchored: bool,
    /// The points contradict the joint law, wherever it is moved.
    pub contradicted: bool,
}

impl Level {
    pub fn fit(
        loss: f64,
        observed: Vec<Observation>,
        points: Points,
        windows: Vec<usize>,
        past: &PastLevel,
        laws: &Laws<'_>,
    ) -> Level {
        let joint = windows.first().and_then(|&w| laws.windows.get(w)).map(|w| w.fitted);
        let mut level = Level {
            loss,
            evidence: Evidence::of(&points),
            observed,
            points,
            entries: Vec::new(),
            scores: Vec::new(),
            windows,
            anchored: false,
            contradicted: false,
        };
        for model in MODELS {
            level.one_level(model, past, laws);
        }
        level.law(ModelKind::Joint, joint, past, laws);
        level.law(ModelKind::NoFloor, laws.rival, past, laws);
        level
    }

    pub fn loss(&self) -> f64 {
        self.loss
    }

    fn one_level(&mut self, model: &dyn CurveModel, past: &PastLevel, laws: &Laws<'_>) {
        let kind = model.kind();
        let curve = match self.gate(model.sizes_needed(), laws) {
            Some(refusal) => Err(refusal),
            None => model.fit(&self.points, None),
        };
        if let Ok(curve) = &curve
            && let Some(mut score) = select::score_one_level(model, &self.points, curve)
        {
            score.errors.extend(past.one_level(model, curve, &self.points));
            self.scores.push(score);
        }
        self.entries.push(Entry { kind, curve });
    }

    fn law(&mut self, kind: ModelKind, fitted: Option<&Fitted>, past: &PastLevel, laws: &Laws<'_>) {
        let refusal = laws.refusal.as_ref().filter(|_| kind == ModelKind::Joint);
        let reached = self.points.reached().count();
        let curve = match fitted {
            None => Err(refusal.cloned().unwrap_or_else(|| {
                Refusal::new("too few batch sizes", "4 batch sizes in the stable phase")
            })),
            Some(Fitted { refusal: Some(refusal), .. }) => Err(refusal.clone()),
            Some(_) if reached < LAW_SIZES => Err(Refusal::new(
                format!("{reached} batch sizes reached {}", units::loss(self.loss)),
                format!("{LAW_SIZES} that did"),
            )),
            Some(f) => f.law.curve(self.loss).filter(|c| c.e_min().is_some()).ok_or_else(|| {
                Refusal::new("the law never comes down to this loss", "a higher loss")
            }),
        };
        if curve.is_ok()
            && let Some(fitted) = fitted
            && !fitted.left_out.is_empty()
        {
            let mut score = score_law(kind, fitted, self.loss, &self.points);
            let window = self.windows.first().copied();
            score.errors.extend(past.law(kind, laws, window, self.loss, &self.points));
            self.scores.push(score);
        }
        let curve = curve.map(|curve| self.anchor(curve));
        self.entries.push(Entry { kind, curve });
    }

    /// A joint law that the points contradict is moved to them.
    fn anchor(&mut self, curve: Curve) -> Curve {
        let Curve::Law(law, loss) = curve else { return curve };
        let held = anchor::anchored(&law, loss, &self.points);
        (self.anchored, self.contradicted) = (held.moved, held.contradicted);
        Curve::Law(held.law, loss)
    }

    /// Why a model that needs `needed` sizes may not be fitted.
    fn gate(&self, needed: usize, laws: &Laws<'_>) -> Option<Refusal> {
        let law = laws.joint().and_then(|j| j.law.curve(self.loss));
        gate::refusal(&self.points, self.loss, needed, |b| law.map(|c| c.tokens(b)))
    }

    pub fn candidates(&self) -> Vec<Candidate> {
        // A smaller size clearly needed more tokens (or never arrived): there is an inner optimum.
        let inner = self.evidence.is_some_and(|e| e.above.is_some());
        self.entries
            .iter()
            .filter(|e| e.curve.is_ok())
            .map(|e| {
                let monotone = matches!(e.kind, ModelKind::Classical | ModelKind::NoFloor);
                let missed = e.kind == ModelKind::Joint && self.contradicted;
                Candidate { kind: e.kind, contradicted: (inner && monotone) || missed }
            })
            .collect()
    }

    pub fn curve_of(&self, kind: ModelKind) -> Option<Curve> {
        self.entries.iter().find(|e| e.kind == kind)?.curve.as_ref().ok().copied()
    }

    /// The spread of every model, in the order of the entries, of level number `index`; and whether
    /// all that should be there is.
    pub fn spreads(
        &self,
        index: usize,
        laws: &Laws<'_>,
        from: Spread<'_>,
        draws: usize,
        seed: u64,
    ) -> (Vec<Vec<Curve>>, bool) {
        let mut whole = true;
        let one = |(k, entry): (usize, &Entry)| match (&entry.curve, entry.kind) {
            (Err(_), _) | (Ok(_), ModelKind::NoFloor) => Vec::new(),
            (Ok(_), ModelKind::Joint) => {
                let kept = match from {
                    Spread::Kept(kept) if self.anchored => kept.level(self.loss, entry.kind),
                    _ => None,
                };
                kept.unwrap_or_else(|| self.law_draws(laws, seed.wrapping_add(index as u64)))
            }
            (Ok(curve), kind) => match (from, MODELS.iter().find(|m| m.kind() == kind)) {
                (Spread::Fresh, Some(model)) => {
                    let seed = seed.wrapping_add(7919 * (index as u64 + 1) + k as u64);
                    uncertainty::curve_draws(*model, curve, &self.points, draws, seed)
                }
                (Spread::Fresh, None) => Vec::new(),
                (Spread::Kept(kept), _) => kept.level(self.loss, kind).unwrap_or_else(|| {
                    whole = false;
                    Vec::new()
                }),
            },
        };
        let spreads = self.entries.iter().enumerate().map(one).collect();
        (spreads, whole)
    }

    /// The spreads that belong to this level, to be kept.
    pub fn keep(&self, spreads: &[Vec<Curve>]) -> (f64, Spreads) {
        let of_all = |kind: ModelKind| match kind {
            ModelKind::Joint => !self.anchored,
            kind => kind == ModelKind::NoFloor,
        };
        let own =
            self.entries.iter().zip(spreads).filter(|(e, _)| e.curve.is_ok() && !of_all(e.kind));
        (self.loss, own.map(|(e, s)| (e.kind, s.clone())).collect())
    }

    /// The finished level where `choice` speaks.
    pub fn finish(
        &self,
        choice: Option<&Choice>,
        (spreads, beside): (&[Vec<Curve>], Option<&Beside>),
        laws: &Laws<'_>,
        on: LossKind,
    ) -> LevelFit {
        let of = self.entries.iter().zip(spreads);
        let models = of.clone().map(|(entry, spread)| self.model_fit(entry, spread)).collect();
        let mut speaking = of.filter(|(e, _)| choice.is_some_and(|c| c.best == e.kind));
        let draws = speaking.next().map(|(_, spread)| spread.clone()).unwrap_or_default();
        self.assemble(choice, (draws, beside), models, laws, on)
    }

    /// Resampled laws of the windows that hold here.
    fn law_draws(&self, laws: &Laws<'_>, seed: u64) -> Vec<Curve> {
        let windows = self.windows.iter().filter_map(|&w| laws.windows.get(w));
        let drawn = windows.flat_map(|w| &w.draws);
        if self.anchored {
            uncertainty::anchored_draws(drawn, self.loss, &self.points, seed)
        } else {
            drawn.filter_map(|law| law.curve(self.loss)).collect()
        }
    }

    fn model_fit(&self, entry: &Entry, spread: &[Curve]) -> ModelFit {
        let score = self.scores.iter().find(|s| s.kind == entry.kind);
        let curve = match &entry.curve {
            Ok(curve) => curve,
            Err(refusal) => {
                return ModelFit {
                    model: entry.kind,
                    b_min: Interval::UNKNOWN,
                    b_opt: Interval::UNKNOWN,
                    e_min_tokens: Interval::UNKNOWN,
                    held_out_ln_e: None,
                    future_ln_e: None,
                    refused: Some(refusal.to_string()),
                    curve: Vec::new(),
                };
            }
        };
        let span = span(curve, spread, &[]);
        let b_opt =
            self.evidence.map_or(Interval::UNKNOWN, |e| e.b_opt(curve.b_opt().or(Some(0.0)), span));
        ModelFit {
            model: entry.kind,
            b_min: b_min(curve, spread),
            b_opt,
            e_min_tokens: self.e_min(curve, spread, &b_opt),
            held_out_ln_e: score.and_then(Score::rms),
            future_ln_e: score.and_then(Score::future_rms),
            refused: None,
            curve: self.evidence.map_or_else(Vec::new, |e| drawn(curve, [e.smallest, e.largest])),
        }
    }

    /// The fewest tokens. Where the optimum lies outside the tested sizes nobody measured how few
    /// they are: fewer than at the best one tested.
    fn e_min(&self, curve: &Curve, draws: &[Curve], b_opt: &Interval) -> Interval {
        match (b_opt.value, &self.evidence) {
            (Some(_), _) => of(curve, draws, Curve::e_min),
            (None, Some(evidence)) => {
                let most = of(curve, draws, |c| c.tokens(evidence.best)).high;
                Interval { high: most, open: open(true, most.is_none()), ..Interval::UNKNOWN }
            }
            (None, None) => Interval::UNKNOWN,
        }
    }

    fn assemble(
        &self,
        choice: Option<&Choice>,
        (mut draws, beside): (Vec<Curve>, Option<&Beside>),
        models: Vec<ModelFit>,
        laws: &Laws<'_>,
        on: LossKind,
    ) -> LevelFit {
        let mut level = LevelFit {
            observed: self.observed.iter().map(Observed::from).collect(),
            clearly_worse: self.evidence.map_or([None; 2], |e| [e.above, e.below]),
            models,
            ..LevelFit::silent(self.loss, on)
        };
        let spoken = choice.and_then(|c| self.curve_of(c.best).map(|curve| (c, curve)));
        let (Some((choice, curve)), Some(evidence)) = (spoken, self.evidence) else {
            level.why = self.silence(laws);
            if let Some(evidence) = self.evidence {
                level.b_opt = evidence.b_opt(None, [0.0, f64::INFINITY]);
                level.why.insert_str(0, "only the points bound the optimum: ");
            }
            return level;
        };
        let mut others: Vec<Curve> =
            choice.comparable.iter().filter_map(|k| self.curve_of(*k)).collect();
        if choice.comparable.contains(&ModelKind::Joint) {
            let windows = self.windows.iter().filter_map(|&w| laws.windows.get(w));
            // The law as all levels made it too, where this level moved it.
            others.extend(windows.filter_map(|w| w.fitted.law.curve(self.loss)));
        }
        others.extend(self.other_shapes(choice.best));
        others.extend(beside.map(|b| b.curve));
        let spread = span(&curve, &draws, &others);
        level.b_opt = evidence.b_opt(curve.b_opt().or(Some(0.0)), spread);
        level.why.clone_from(&choice.why);
        if choice.comparable.len() > 1 {
            let names: Vec<&str> = choice
                .comparable
                .iter()
                .filter(|k| **k != choice.best)
                .map(|k| select::name(*k))
                .collect();
            if !names.is_empty() {
                level.why.push_str(&format!("; cannot be told from: {}", names.join(", ")));
            }
        }
        if self.anchored && choice.best == ModelKind::Joint {
            level
                .why
                .push_str("; held to the points of this level, which the law of all levels misses");
        }
        if let Some(beside) = beside {
            level.why.push_str(&beside.words());
        }
        if self.contradicted {
            level.why.push_str("; the points of this level contradict the joint law");
        }
        if let Some(words) = evidence.words(&level.b_opt) {
            level.why.push_str("; ");
            level.why.push_str(&words);
        }
        // Windows and models that cannot be told from the best one belong to the spread.
        draws.extend(others);
        level.model = Some(choice.best);
        level.b_min = b_min(&curve, &draws);
        level.e_min_tokens = self.e_min(&curve, &draws, &level.b_opt);
        level.s_opt_steps = steps_at(&level, &curve, &draws);
        level.within_2_percent = curve.within(SLACK).and_then(|[low, high]| {
            let tested = self.points.iter().map(|p| p.batch_size);
            let low = low.max(evidence.above.unwrap_or(evidence.smallest));
            let high = high.min(tested.fold(evidence.largest, f64::max));
            (low < high).then_some([low, high])
        });
        level.curve = Some(curve);
        level.draws = draws;
        level
    }

    /// A one-level curve of few parameters is a shape taken on trust. Where the general form of it
    /// has too few points to be scored, nothing shows it worse: what it makes of them belongs to the
    /// spread.
    fn other_shapes(&self, speaks: ModelKind) -> Vec<Curve> {
        let scored = |k| self.scores.iter().any(|s| s.kind == k && s.rms().is_some());
        match speaks {
            ModelKind::Smooth if !scored(ModelKind::ThreeStage) => {
                three_stage::extremes(&self.points)
            }
            ModelKind::Classical if !scored(ModelKind::Smooth) => smooth::extremes(&self.points),
            _ => Vec::new(),
        }
    }

    fn silence(&self, laws: &Laws<'_>) -> String {
        self.gate(3, laws).map_or_else(
            || "no model is held by the data at this loss".into(),
            |refusal| refusal.to_string(),
        )
    }
}

/// A curve over the tested sizes and a little beyond, ascending in steps.
pub(super) fn drawn(curve: &Curve, [smallest, largest]: [f64; 2]) -> Vec<CurvePoint> {
    let (from, to) = (smallest / 3.0, largest * 3.0);
    let from = from.max(curve.b_min() * 1.01);
    if !(from > 0.0 && from < to && to.is_finite()) {
        return Vec::new();
    }
    (0..=60)
        .rev()
        .map(|i| from * (to / from).powf(f64::from(i) / 60.0))
        .filter_map(|b| curve.steps(b).map(|steps| CurvePoint { steps, tokens: steps * b }))
        .collect()
}

/// The monotone models know none: that is no B_min of 0.
fn b_min(curve: &Curve, draws: &[Curve]) -> Interval {
    match curve {
        Curve::Classical(_) | Curve::NoFloor(..) => Interval::UNKNOWN,
        _ => of(curve, draws, |c| Some(c.b_min())),
    }
}

/// S_opt is read at the optimum: unknown where that is not inside the tested sizes.
fn steps_at(level: &LevelFit, curve: &Curve, draws: &[Curve]) -> Interval {
    flipped(of(curve, draws, Curve::s_opt), &level.b_opt)
}

/// Steps at an optimum, as open as that is.
pub(super) fn flipped(mut steps: Interval, b_opt: &Interval) -> Interval {
    if b_opt.open != Open::None {
        // A smaller batch takes more steps: what is open below for B is open above for S.
        let flip = match b_opt.open {
            Open::Low => Open::High,
            Open::High => Open::Low,
            other => other,
        };
        steps.open = flip;
        if matches!(flip, Open::High | Open::Both) {
            steps.high = None;
        }
        if matches!(flip, Open::Low | Open::Both) {
            steps.low = None;
        }
        if b_opt.value.is_none() {
            steps.value = None;
        }
    }
    steps
}
