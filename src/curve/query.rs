//! What advice and the screen ask of a fit: the optimum and the waste at any loss, with intervals.
//! There is one estimate: at a level it is that level's own line of the fit table, between two
//! levels it is interpolated in ln B, and beyond the last one, or where a group has a law and no
//! levels (a saved law), the joint law alone answers, within the batch sizes that it saw. Where no
//! model speaks the points of a level may still bound the optimum.

use super::model::{AnyLaw, Curve};
use super::report::{GroupFit, Interval, LawFit, LevelFit, ModelKind, Open};
use super::saved::SAVED_GROUP;
use super::uncertainty::{LEVEL, interval, open};

/// More tokens than the optimum that still count as next to it.
const SLACK: f64 = 0.02;

/// What a group says of the best batch size at one loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Nats.
    pub loss: f64,
    pub b_opt: Interval,
    /// Below it the loss is never reached; `None` where the model that speaks knows none.
    pub b_min: Option<f64>,
    /// Batch sizes that need at most 2 % more tokens than the optimum.
    pub within_2_percent: Option<[f64; 2]>,
    /// The model that speaks at the nearest level; `None` where only the points bound the optimum.
    pub model: Option<ModelKind>,
    /// The lowest and the highest loss at which the fits speak, where this one lies outside.
    pub extrapolated_from: Option<[f64; 2]>,
    /// The law is one saved from another sweep.
    pub saved: bool,
    /// Tested sizes that clearly needed more tokens to this loss than a larger and than a smaller one
    /// (or trained longer and never arrived): the optimum lies between them.
    pub clearly_worse: [Option<f64>; 2],
    /// The tested size that needed the fewest tokens to the level at or below this loss, and how many.
    pub fewest: Option<[f64; 2]>,
    /// Smallest and largest size that got there.
    tested: [f64; 2],
    curve: Option<Curve>,
}

impl Estimate {
    /// `E(B)/E_min - 1`; where the optimum lies outside the tested sizes, against the one next to it:
    /// at least this. `None` where the loss is never reached at B or the curve does not tell.
    pub fn excess(&self, batch_size: f64) -> Option<f64> {
        excess(&self.curve?, batch_size, self.tested).filter(|x| x.is_finite())
    }

    /// The run would never get to this loss at this batch size.
    pub fn never_reached(&self, batch_size: f64) -> bool {
        self.curve.is_some_and(|c| c.tokens(batch_size).is_none())
    }
}

/// More tokens at a batch size than at the best one among those tested, as a share; `None` beyond
/// them on the side where the optimum lies.
fn excess(curve: &Curve, batch_size: f64, [smallest, largest]: [f64; 2]) -> Option<f64> {
    let b_opt = curve.b_opt().unwrap_or(0.0);
    let best = b_opt.max(smallest).min(largest);
    let (below, above) = (batch_size < 0.999 * best, batch_size > 1.001 * best);
    if (b_opt < best && below) || (b_opt > best && above) {
        return None;
    }
    let least = curve.tokens(best)?;
    Some(curve.tokens(batch_size).map_or(f64::INFINITY, |e| (e / least - 1.0).max(0.0)))
}

/// Who answers at a loss.
enum Speaker<'a> {
    /// Two neighbouring levels (twice the same at one) and where the loss lies between them: 0 at
    /// the upper one, 1 at the lower one.
    Levels(&'a LevelFit, &'a LevelFit, f64),
    /// The joint law, and the nearest level where there is one.
    Law(&'a LawFit, Option<&'a LevelFit>),
}

impl<'a> Speaker<'a> {
    fn nearest(&self) -> Option<&'a LevelFit> {
        match self {
            Speaker::Levels(upper, lower, share) => Some(if *share < 0.5 { upper } else { lower }),
            Speaker::Law(_, nearest) => *nearest,
        }
    }

    /// Smallest and largest size that got there.
    fn tested(&self) -> [f64; 2] {
        match self {
            Speaker::Law(law, _) => law.batch_sizes,
            Speaker::Levels(..) => {
                let reached = self.nearest().into_iter().flat_map(|l| &l.observed);
                let sizes = reached.filter(|o| !o.censored).map(|o| o.batch_size_tokens);
                let ends = |[low, high]: [f64; 2], b: f64| [low.min(b), high.max(b)];
                sizes.fold([f64::INFINITY, 0.0], ends)
            }
        }
    }

    /// The size that needed the fewest tokens to the level at or below the loss, and how many.
    fn fewest(&self) -> Option<[f64; 2]> {
        let Speaker::Levels(_, lower, _) = self else { return None };
        let reached = lower.observed.iter().filter(|o| !o.censored);
        let best = reached.min_by(|a, b| a.tokens.total_cmp(&b.tokens))?;
        Some([best.batch_size_tokens, best.tokens])
    }

    /// What both levels say.
    fn clearly_worse(&self) -> [Option<f64>; 2] {
        let Speaker::Levels(upper, lower, _) = self else { return [None; 2] };
        let ([a, b], [c, d]) = (upper.clearly_worse, lower.clearly_worse);
        [a.zip(c).map(|(a, c)| a.min(c)), b.zip(d).map(|(b, d)| b.max(d))]
    }
}

impl GroupFit {
    /// Everything said at a loss; `None` where nothing speaks, or the loss lies at or below the
    /// law's floor.
    pub fn estimate_at(&self, loss: f64) -> Option<Estimate> {
        let speaker = self.speaker(loss)?;
        let curve = self.curve_at(loss);
        let (b_min, within, model) = match &speaker {
            Speaker::Levels(upper, lower, share) => (
                between(upper.b_min.value, lower.b_min.value, *share),
                match (upper.within_2_percent, lower.within_2_percent) {
                    (Some(u), Some(l)) => between(Some(u[0]), Some(l[0]), *share)
                        .zip(between(Some(u[1]), Some(l[1]), *share))
                        .map(<[f64; 2]>::from),
                    (u, l) => {
                        if *share < 0.5 {
                            u
                        } else {
                            l
                        }
                    }
                },
                speaker.nearest().and_then(|l| l.model),
            ),
            Speaker::Law(law, _) => {
                let [smallest, largest] = law.batch_sizes;
                let range = curve.and_then(|c| c.within(SLACK));
                let range = range.map(|[low, high]| [low.max(smallest), high.min(largest)]);
                let b_min = curve.map(|c| c.b_min()).filter(|b| b.is_finite());
                (b_min, range.filter(|[low, high]| low < high), Some(ModelKind::Joint))
            }
        };
        Some(Estimate {
            loss,
            b_opt: self.answer(loss, &speaker)?,
            b_min: b_min.filter(|b| *b > 0.0),
            within_2_percent: within,
            model,
            extrapolated_from: match &speaker {
                Speaker::Law(law, None) => outside(loss, law.losses),
                Speaker::Law(..) => self.spoken(),
                Speaker::Levels(..) => None,
            },
            saved: self.id == SAVED_GROUP,
            clearly_worse: speaker.clearly_worse(),
            fewest: speaker.fewest(),
            tested: speaker.tested(),
            curve,
        })
    }

    /// B_opt at any loss; `None` where nothing speaks.
    pub fn b_opt_at(&self, loss: f64) -> Option<Interval> {
        self.answer(loss, &self.speaker(loss)?)
    }

    /// [`Estimate::excess`] with its interval: the share of tokens that a batch size wastes.
    /// The value is infinite nowhere: `None`, open above, where the level is never reached.
    pub fn excess_at(&self, loss: f64, batch_size: f64) -> Option<Interval> {
        let speaker = self.speaker(loss)?;
        let curve = self.curve_at(loss)?;
        let tested = speaker.tested();
        let wasted = |c: &Curve| excess(c, batch_size, tested);
        let spread: Vec<f64> = match speaker.nearest().filter(|l| l.curve.is_some()) {
            Some(level) => level.draws.iter().filter_map(|c| wasted(&moved(c, loss)?)).collect(),
            None => {
                let draws = self.law.iter().flat_map(|l| &l.draws);
                draws.filter_map(|l| wasted(&AnyLaw::Floor(*l).curve(loss)?)).collect()
            }
        };
        let value = wasted(&curve).filter(|x| x.is_finite());
        let mut out = interval(value, spread);
        // No waste is a closed end.
        out.low = out.low.or(value.map(|_| 0.0));
        out.open = open(out.low.is_none(), out.high.is_none());
        Some(out)
    }

    /// The curve that speaks nearest to a loss, at that loss.
    pub fn curve_at(&self, loss: f64) -> Option<Curve> {
        let speaker = self.speaker(loss)?;
        match (speaker.nearest().and_then(|l| l.curve), &speaker) {
            (Some(curve), _) => moved(&curve, loss),
            (None, Speaker::Law(law, _)) => AnyLaw::Floor(law.law).curve(loss),
            (None, _) => None,
        }
    }

    fn answer(&self, loss: f64, speaker: &Speaker<'_>) -> Option<Interval> {
        match speaker {
            Speaker::Levels(upper, lower, share) => {
                let mut out = mix(&upper.b_opt, &lower.b_opt, *share);
                if *share > 0.0
                    && let Some(value) = self.along_law(loss, upper, lower, *share)
                {
                    let value = out.low.map_or(value, |low| value.max(low));
                    out.value = Some(out.high.map_or(value, |high| value.min(high)));
                }
                Some(out)
            }
            Speaker::Law(law, nearest) => {
                let off = nearest.and_then(|l| Off::of(law, l, loss));
                let mut out = by_law(law, loss, off)?;
                // A side that the nearest level leaves open no law closes further out.
                let (low, high) = nearest.map_or((false, false), |l| sides(l.b_opt.open));
                out.low = out.low.filter(|_| !low);
                out.high = out.high.filter(|_| !high);
                out.open = open(out.low.is_none(), out.high.is_none());
                Some(out)
            }
        }
    }

    /// Where the joint law speaks at both levels its form leads from one to the other.
    fn along_law(&self, loss: f64, upper: &LevelFit, lower: &LevelFit, share: f64) -> Option<f64> {
        let law = self.law.as_ref()?.law;
        let off = |l: &LevelFit| {
            let joint = l.model == Some(ModelKind::Joint);
            joint.then(|| Some(l.b_opt.value? / law.b_opt(l.loss)?)).flatten()
        };
        Some(law.b_opt(loss)? * between(off(upper), off(lower), share)?)
    }

    /// The lowest and the highest loss at which a model speaks.
    pub fn spoken(&self) -> Option<[f64; 2]> {
        let mut losses = self.levels.iter().filter(|l| l.model.is_some()).map(|l| l.loss);
        let highest = losses.next()?;
        Some([losses.next_back().unwrap_or(highest), highest])
    }

    fn speaker(&self, loss: f64) -> Option<Speaker<'_>> {
        if !loss.is_finite() {
            return None;
        }
        if self.levels.is_empty() {
            return self.law.as_ref().map(|law| Speaker::Law(law, None));
        }
        let speaking: Vec<&LevelFit> = self.levels.iter().filter(|l| l.model.is_some()).collect();
        around(&speaking, loss).or_else(|| self.beyond(loss, &speaking)).or_else(|| {
            around(&self.levels.iter().filter(|l| l.bounded()).collect::<Vec<_>>(), loss)
        })
    }

    /// The law where it speaks at the nearest level: a model of one level knows nothing of another.
    fn beyond<'a>(&'a self, loss: f64, speaking: &[&'a LevelFit]) -> Option<Speaker<'a>> {
        let (first, last) = (*speaking.first()?, *speaking.last()?);
        let nearest = if loss > first.loss { first } else { last };
        let law = self.law.as_ref().filter(|_| nearest.model == Some(ModelKind::Joint))?;
        Some(Speaker::Law(law, Some(nearest)))
    }
}

/// The neighbours of a loss among levels that descend; `None` outside them.
fn around<'a>(levels: &[&'a LevelFit], loss: f64) -> Option<Speaker<'a>> {
    let lower = levels.iter().position(|l| l.loss <= loss)?;
    let l = levels[lower];
    if l.loss == loss {
        return Some(Speaker::Levels(l, l, 0.0));
    }
    let u = levels[lower.checked_sub(1)?];
    Some(Speaker::Levels(u, l, (u.loss - loss) / (u.loss - l.loss)))
}

/// A law's curve moves with the loss; that of a one-level model belongs to its level, and stands
/// for those that lie nearer to it than to another.
fn moved(curve: &Curve, loss: f64) -> Option<Curve> {
    match curve {
        Curve::Law(law, _) => AnyLaw::Floor(*law).curve(loss),
        Curve::NoFloor(law, _) => AnyLaw::NoFloor(*law).curve(loss),
        other => Some(*other),
    }
}

/// How far the points of the last level moved its answer from the law's, as factors of the law's
/// B_opt: of the value at this loss, by that level's own curve, and of the ends at that level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Off {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
}

impl Off {
    fn of(law: &LawFit, level: &LevelFit, loss: f64) -> Option<Off> {
        let (here, there) = (law.law.b_opt(loss)?, law.law.b_opt(level.loss)?);
        let sound = |x: f64| Some(x).filter(|x| x.is_finite() && *x > 0.0);
        let end = |b: Option<f64>| b.and_then(|b| sound(b / there));
        let value = sound(moved(&level.curve?, loss)?.b_opt()? / here)?;
        Some(Off { value, low: end(level.b_opt.low), high: end(level.b_opt.high) })
    }
}

/// The law, as far off as at the last level; one-sided where the optimum lies beyond the sizes it
/// saw. The interval spans that of the law and that of the level.
pub(super) fn by_law(fit: &LawFit, loss: f64, off: Option<Off>) -> Option<Interval> {
    let law = fit.law.b_opt(loss).filter(|b| b.is_finite() && *b > 0.0)?;
    let value = law * off.map_or(1.0, |o| o.value);
    let draws = fit.draws.iter().map(|l| l.b_opt(loss).unwrap_or(f64::INFINITY)).collect();
    let mut out = interval(Some(law), draws);
    if let Some(off) = off {
        out.value = Some(value);
        out.low = out.low.map(|b| b.min(off.low.map_or(b, |x| x * law)).min(value));
        out.high = out.high.map(|b| b.max(off.high.map_or(b, |x| x * law)).max(value));
    }
    let [smallest, largest] = fit.batch_sizes;
    if value > largest || value < smallest {
        out.value = None;
        // What is known is that it lies beyond the last size, and the spread may reach back.
        if value > largest {
            out.low = Some(out.low.map_or(largest, |b| b.min(largest)));
        } else {
            out.high = Some(out.high.map_or(smallest, |b| b.max(smallest)));
        }
    }
    out.low = out.low.filter(|b| *b >= smallest);
    out.high = out.high.filter(|b| *b <= largest);
    out.open = open(out.low.is_none(), out.high.is_none());
    Some(out)
}

fn outside(loss: f64, range: [f64; 2]) -> Option<[f64; 2]> {
    let [low, high] = [range[0].min(range[1]), range[0].max(range[1])];
    let known = low.is_finite() && high.is_finite();
    (known && !(low - 1e-9..=high + 1e-9).contains(&loss)).then_some([low, high])
}

/// In the logarithm; `None` where one of the two is not known, unless it has no share.
fn between(upper: Option<f64>, lower: Option<f64>, share: f64) -> Option<f64> {
    match (upper, lower) {
        (a, _) if share == 0.0 => a,
        (Some(a), Some(b)) if a > 0.0 && b > 0.0 => {
            Some((a.ln() * (1.0 - share) + b.ln() * share).exp())
        }
        _ => None,
    }
}

/// Open below, open above.
fn sides(open: Open) -> (bool, bool) {
    (matches!(open, Open::Low | Open::Both), matches!(open, Open::High | Open::Both))
}

fn mix(upper: &Interval, lower: &Interval, share: f64) -> Interval {
    if share == 0.0 {
        return *upper;
    }
    let low = between(upper.low, lower.low, share);
    let high = between(upper.high, lower.high, share);
    let (a, b) = (sides(upper.open), sides(lower.open));
    Interval {
        value: between(upper.value, lower.value, share),
        low,
        high,
        level: LEVEL,
        open: open(a.0 || b.0 || low.is_none(), a.1 || b.1 || high.is_none()),
    }
}
