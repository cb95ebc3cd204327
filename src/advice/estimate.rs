//! B_opt at any loss, as far as the fits allow: from the joint law and its draws where it speaks,
//! else between the levels, never beyond them.

use crate::curve::{GroupFit, Interval, Law, LevelFit, ModelFit, ModelKind, Open};

/// What the fits say of the best batch size at one loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Nats.
    pub loss: f64,
    pub b_opt: Interval,
    /// Below it the loss is never reached.
    pub b_min: Option<f64>,
    /// Batch sizes that need at most 2 % more tokens than the optimum.
    pub within_2_percent: Option<[f64; 2]>,
    pub model: ModelKind,
    law: Option<Law>,
    curve: Vec<[f64; 2]>,
}

impl Estimate {
    /// E(B)/E_min - 1; `None` where the loss is not reached at B or the curve does not tell.
    pub fn excess(&self, batch_size: f64) -> Option<f64> {
        if let Some(law) = &self.law {
            let best = law.tokens_to(self.loss, law.b_opt(self.loss)?)?;
            return Some((law.tokens_to(self.loss, batch_size)? / best - 1.0).max(0.0));
        }
        let best = self.curve.iter().map(|p| p[1]).fold(f64::INFINITY, f64::min);
        let at = interpolate(&self.curve, batch_size)?;
        (best.is_finite() && best > 0.0).then(|| (at / best - 1.0).max(0.0))
    }
}

/// The estimate at `loss`; `Err` says what is missing.
pub fn b_opt_at(group: &GroupFit, loss: f64) -> Result<Estimate, String> {
    if !loss.is_finite() {
        return Err("the run has no loss yet".into());
    }
    match group.law.as_ref() {
        Some(fit) => from_law(group, &fit.law, loss),
        None => from_levels(group, loss),
    }
}

fn from_law(group: &GroupFit, law: &Law, loss: f64) -> Result<Estimate, String> {
    let value = law.b_opt(loss).filter(|b| b.is_finite() && *b > 0.0);
    let Some(value) = value else {
        return Err(format!(
            "loss {loss:.4} lies at or below the law's floor L_inf = {:.4}",
            law.l_inf
        ));
    };
    let fit = group.law.as_ref();
    let draws = fit.map_or(&[][..], |f| &f.draws);
    let spread = quantiles(draws.iter().map(|d| d.b_opt(loss).unwrap_or(f64::INFINITY)), 0.9);
    let (mut low, mut high) = spread.unwrap_or((f64::NAN, f64::NAN));
    // The levels' intervals also span windows and models: the screen shows those, so do we.
    if let Some((_, [l, h])) = between_levels(&group.levels, loss) {
        low = low.min(l);
        high = high.max(h);
    }
    low = low.min(value);
    high = high.max(value);
    let known = !draws.is_empty() || high > low;
    let mut interval = Interval {
        value: Some(value),
        low: (known && low.is_finite()).then_some(low),
        high: (known && high.is_finite()).then_some(high),
        level: 0.9,
        open: if known && high.is_infinite() { Open::High } else { Open::None },
    };
    if let Some([smallest, largest]) = fit.map(|f| f.batch_sizes) {
        interval = within_tested(interval, smallest, largest);
    }
    Ok(Estimate {
        loss,
        b_opt: interval,
        b_min: law.b_min(loss),
        within_2_percent: two_percent(law, loss, value),
        model: ModelKind::Joint,
        law: Some(*law),
        curve: Vec::new(),
    })
}

/// An optimum beyond the tested sizes is a bound, not a number.
fn within_tested(mut interval: Interval, smallest: f64, largest: f64) -> Interval {
    match interval.value {
        Some(v) if v > largest => {
            let low = interval.low.map_or(largest, |l| l.min(largest));
            interval =
                Interval { value: None, low: Some(low), high: None, open: Open::High, ..interval };
        }
        Some(v) if v < smallest => {
            let high = interval.high.map_or(smallest, |h| h.max(smallest));
            interval =
                Interval { value: None, low: None, high: Some(high), open: Open::Low, ..interval };
        }
        _ => {}
    }
    interval
}

fn two_percent(law: &Law, loss: f64, b_opt: f64) -> Option<[f64; 2]> {
    let bound = 1.02 * law.tokens_to(loss, b_opt)?;
    let b_min = law.b_min(loss)?;
    let side = |mut inside: f64, mut outside: f64| {
        for _ in 0..50 {
            let mid = (inside * outside).sqrt();
            if law.tokens_to(loss, mid).is_some_and(|e| e <= bound) {
                inside = mid;
            } else {
                outside = mid;
            }
        }
        inside
    };
    Some([side(b_opt, b_min), side(b_opt, b_opt * 1e3)])
}

fn from_levels(group: &GroupFit, loss: f64) -> Result<Estimate, String> {
    let Some((level, [low, high])) = between_levels(&group.levels, loss) else {
        let spoken: Vec<f64> =
            group.levels.iter().filter(|l| l.model.is_some()).map(|l| l.loss).collect();
        return Err(if spoken.is_empty() {
            group.refused.first().map_or_else(
                || "no model speaks at any loss level".into(),
                |r| format!("{}: {}; needs {}", r.what, r.why, r.needs),
            )
        } else {
            format!(
                "loss {loss:.4} lies outside the levels that the fits rest on ({:.4} to {:.4}), and \
                 no joint law speaks",
                spoken.iter().copied().fold(f64::INFINITY, f64::min),
                spoken.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            )
        });
    };
    let model = level.model.unwrap_or(ModelKind::Smooth);
    let curve = level.models.iter().find(|m| m.model == model).map(rays).unwrap_or_default();
    let finite = |x: f64| x.is_finite().then_some(x);
    let value = level.b_opt.value.map(|v| v.clamp(low, high));
    Ok(Estimate {
        loss,
        b_opt: Interval {
            value,
            low: finite(low).filter(|l| *l > 0.0),
            high: finite(high),
            level: level.b_opt.level,
            open: level.b_opt.open,
        },
        b_min: level.b_min.value,
        within_2_percent: level.within_2_percent,
        model,
        law: None,
        curve,
    })
}

/// The nearest level and the interval of B_opt at `loss`, interpolated in ln B between the two
/// neighbouring levels; open bounds are 0 and infinity. `None` outside the levels.
fn between_levels(levels: &[LevelFit], loss: f64) -> Option<(&LevelFit, [f64; 2])> {
    let speaking: Vec<&LevelFit> = levels.iter().filter(|l| l.model.is_some()).collect();
    let above = speaking.iter().filter(|l| l.loss >= loss).min_by(|x, y| x.loss.total_cmp(&y.loss));
    let below = speaking.iter().filter(|l| l.loss <= loss).max_by(|x, y| x.loss.total_cmp(&y.loss));
    let (above, below) = (above?, below?);
    let bounds = |l: &LevelFit| [l.b_opt.low.unwrap_or(0.0), l.b_opt.high.unwrap_or(f64::INFINITY)];
    let gap = above.loss - below.loss;
    let w = if gap > 0.0 { (above.loss - loss) / gap } else { 0.0 };
    let (a, b) = (bounds(above), bounds(below));
    let mix = |x: f64, y: f64| {
        if x > 0.0 && y > 0.0 && x.is_finite() && y.is_finite() {
            (x.ln() * (1.0 - w) + y.ln() * w).exp()
        } else if w < 0.5 {
            x
        } else {
            y
        }
    };
    let nearest = if w < 0.5 { above } else { below };
    Some((nearest, [mix(a[0], b[0]), mix(a[1], b[1])]))
}

/// (batch size, tokens) along a model's curve, ascending in batch size.
fn rays(model: &ModelFit) -> Vec<[f64; 2]> {
    let mut rays: Vec<[f64; 2]> = model
        .curve
        .iter()
        .filter(|p| p.steps > 0.0 && p.tokens > 0.0)
        .map(|p| [p.tokens / p.steps, p.tokens])
        .collect();
    rays.sort_by(|x, y| x[0].total_cmp(&y[0]));
    rays
}

fn interpolate(curve: &[[f64; 2]], batch_size: f64) -> Option<f64> {
    let i = curve.partition_point(|p| p[0] < batch_size);
    let (a, b) = (curve.get(i.checked_sub(1)?)?, curve.get(i)?);
    let w = (batch_size / a[0]).ln() / (b[0] / a[0]).ln();
    let y = (a[1].ln() * (1.0 - w) + b[1].ln() * w).exp();
    y.is_finite().then_some(y)
}

/// The central `level` of a sample, infinities included; `None` for fewer than five.
pub(super) fn quantiles(sample: impl Iterator<Item = f64>, level: f64) -> Option<(f64, f64)> {
    let mut all: Vec<f64> = sample.filter(|x| !x.is_nan()).collect();
    if all.len() < 5 {
        return None;
    }
    all.sort_by(f64::total_cmp);
    let at = |q: f64| all[(q * (all.len() - 1) as f64).round() as usize];
    Some((at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, group_of};

    #[test]
    fn the_law_gives_the_value_its_draws_the_interval() {
        let group = group_of(&LAW, MEMORY);
        let e = b_opt_at(&group, 2.2).unwrap();
        let (value, low, high) =
            (e.b_opt.value.unwrap(), e.b_opt.low.unwrap(), e.b_opt.high.unwrap());
        assert!((value - LAW.b_opt(2.2).unwrap()).abs() < 1e-9);
        assert!(low < value && value < high && high < 2.0 * value);
        let [a, b] = e.within_2_percent.unwrap();
        assert!((e.excess(a).unwrap() - 0.02).abs() < 1e-6);
        assert!((e.excess(b).unwrap() - 0.02).abs() < 1e-6);
        assert!(e.excess(value).unwrap() < 1e-12);
        assert!(e.excess(e.b_min.unwrap() * 0.99).is_none());
    }

    #[test]
    fn an_optimum_beyond_the_tested_sizes_is_a_bound() {
        let mut group = group_of(&LAW, MEMORY);
        if let Some(fit) = &mut group.law {
            fit.batch_sizes = [16.0, 256.0];
        }
        let e = b_opt_at(&group, 2.2).unwrap();
        assert_eq!((e.b_opt.value, e.b_opt.high, e.b_opt.open), (None, None, Open::High));
        assert_eq!(e.b_opt.low, Some(256.0));
    }

    #[test]
    fn below_the_floor_there_is_no_best_batch() {
        assert!(b_opt_at(&group_of(&LAW, MEMORY), 1.9).unwrap_err().contains("floor"));
    }
}
