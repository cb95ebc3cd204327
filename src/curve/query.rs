//! What advice asks of a fit: the optimum and the waste at any loss, with intervals.

use super::model::{AnyLaw, Curve};
use super::report::{GroupFit, Interval, LevelFit, ModelKind, Open};
use super::uncertainty::{LEVEL, interval, open};

impl GroupFit {
    /// B_opt at any loss. Between two levels their bounds are interpolated in ln B (and the value
    /// comes from the law where it speaks at both); beyond the last level the law alone answers,
    /// and `None` where it does not speak.
    pub fn b_opt_at(&self, loss: f64) -> Option<Interval> {
        let (upper, lower, share) = self.around(loss)?;
        let mut between = mix(&upper.b_opt, &lower.b_opt, share);
        if share != share.clamp(0.0, 1.0) {
            return self.beyond(loss, upper);
        }
        let by_law = |l: &LevelFit| l.model == Some(ModelKind::Joint) && l.b_opt.value.is_some();
        if by_law(upper)
            && by_law(lower)
            && let Some(law) = &self.law
        {
            let b = law.law.b_opt(loss)?;
            let b = between.low.map_or(b, |low| b.max(low));
            between.value = Some(between.high.map_or(b, |high| b.min(high)));
        }
        Some(between)
    }

    /// `E(B)/E_min - 1` at a loss and a batch size: the share of tokens that it wastes to get there.
    /// The value is infinite nowhere: `None`, open above, where the level is never reached.
    pub fn excess_at(&self, loss: f64, batch_size: f64) -> Option<Interval> {
        let (upper, lower, share) = self.around(loss)?;
        let near = if share < 0.5 { upper } else { lower };
        let curve = self.moved(near, near.curve.as_ref()?, loss)?;
        let draws = near.draws.iter().filter_map(|c| self.moved(near, c, loss));
        let spread: Vec<f64> = draws.filter_map(|c| c.excess(batch_size)).collect();
        let value = curve.excess(batch_size).filter(|x| x.is_finite());
        let mut out = interval(value, spread);
        // No waste is a closed end.
        out.low = out.low.or(value.map(|_| 0.0));
        out.open = open(out.low.is_none(), out.high.is_none());
        Some(out)
    }

    /// The curve that speaks nearest to a loss, at that loss.
    pub fn curve_at(&self, loss: f64) -> Option<Curve> {
        let (upper, lower, share) = self.around(loss)?;
        let near = if share < 0.5 { upper } else { lower };
        self.moved(near, near.curve.as_ref()?, loss)
    }

    /// A law's curve moves with the loss; that of a one-level model belongs to its level.
    fn moved(&self, near: &LevelFit, curve: &Curve, loss: f64) -> Option<Curve> {
        match curve {
            Curve::Law(law, _) => AnyLaw::Floor(*law).curve(loss),
            Curve::NoFloor(law, _) => AnyLaw::NoFloor(*law).curve(loss),
            other => {
                let beyond = self.levels.iter().all(|l| l.loss > loss)
                    || self.levels.iter().all(|l| l.loss < loss);
                let spacing = self.spacing();
                (!beyond || (near.loss - loss).abs() <= spacing).then_some(*other)
            }
        }
    }

    fn spacing(&self) -> f64 {
        self.levels.windows(2).map(|w| w[0].loss - w[1].loss).fold(0.0, f64::max)
    }

    /// The speaking levels around a loss and where it lies between them (0 at the upper one); at the
    /// ends the same level twice, with a share below 0 or above 1.
    fn around(&self, loss: f64) -> Option<(&LevelFit, &LevelFit, f64)> {
        if !loss.is_finite() {
            return None;
        }
        let speaking: Vec<&LevelFit> = self.levels.iter().filter(|l| l.model.is_some()).collect();
        let (first, last) = (*speaking.first()?, *speaking.last()?);
        if loss > first.loss {
            return Some((first, first, -1.0));
        }
        if loss < last.loss {
            return Some((last, last, 2.0));
        }
        let lower = speaking.iter().position(|l| l.loss <= loss)?;
        let upper = lower.saturating_sub(1);
        let (u, l) = (speaking[upper], speaking[lower]);
        let width = u.loss - l.loss;
        let share = if width > 0.0 { (u.loss - loss) / width } else { 0.0 };
        Some((u, l, share))
    }

    /// Outside the levels: the law where it speaks at the nearest one, within the sizes it saw.
    fn beyond(&self, loss: f64, nearest: &LevelFit) -> Option<Interval> {
        let law = self.law.as_ref()?;
        if nearest.model != Some(ModelKind::Joint) {
            return None;
        }
        let draws: Vec<f64> =
            law.draws.iter().map(|l| l.b_opt(loss).unwrap_or(f64::INFINITY)).collect();
        let mut out = interval(law.law.b_opt(loss), draws);
        let [smallest, largest] = law.batch_sizes;
        out.low = out.low.filter(|b| *b >= smallest);
        out.high = out.high.filter(|b| *b <= largest);
        out.value = out.value.filter(|b| *b >= smallest && *b <= largest);
        out.open = open(out.low.is_none(), out.high.is_none());
        Some(out)
    }
}

fn mix(upper: &Interval, lower: &Interval, share: f64) -> Interval {
    let between = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => Some((a.ln() * (1.0 - share) + b.ln() * share).exp()),
        (Some(a), None) if share == 0.0 => Some(a),
        (None, Some(b)) if share == 1.0 => Some(b),
        _ => None,
    };
    let low = between(upper.low, lower.low);
    let high = between(upper.high, lower.high);
    let side = |o: Open| match o {
        Open::None => (false, false),
        Open::Low => (true, false),
        Open::High => (false, true),
        Open::Both => (true, true),
    };
    let (a, b) = (side(upper.open), side(lower.open));
    let blend = |a: bool, b: bool, bound: Option<f64>| {
        (a && share < 1.0) || (b && share > 0.0) || bound.is_none()
    };
    Interval {
        value: between(upper.value, lower.value),
        low,
        high,
        level: LEVEL,
        open: open(blend(a.0, b.0, low), blend(a.1, b.1, high)),
    }
}
