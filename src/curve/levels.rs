//! Loss levels worth looking at, and what each run observed there.

use super::{ConstantSeries, Group, Observation};
use crate::run::{Crossing, Falling, Point};

/// Steps between levels that a person reads easily, nats.
const STEPS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

fn falling(series: &ConstantSeries) -> Falling {
    let points: Vec<Point> =
        series.bins.iter().map(|b| Point { x: b.tokens.ln(), loss: b.loss, se: b.se }).collect();
    Falling::new(&points)
}

fn fitted(group: &Group) -> impl Iterator<Item = &ConstantSeries> {
    group.constant.iter().filter(|s| !s.drifts_upward && s.bins.len() >= 2)
}

/// Loss levels from the highest useful one down to the lowest that two batch sizes reached (one,
/// where there is but one), at round steps, at most `count`.
///
/// The highest is the one at which three of four runs can be watched crossing within their stable
/// phase.
pub fn levels(group: &Group, count: usize) -> Vec<f64> {
    // Per batch size: where its runs begin, and the lowest that one of them came to.
    let mut sizes: Vec<(f64, f64, f64)> = Vec::new();
    for s in fitted(group) {
        let Some((high, low)) = falling(s).range() else { continue };
        match sizes.iter_mut().find(|x| (x.0 / s.batch_size - 1.0).abs() < 1e-3) {
            Some(x) => (x.1, x.2) = (x.1.max(high), x.2.min(low)),
            None => sizes.push((s.batch_size, high, low)),
        }
    }
    if sizes.is_empty() || count == 0 {
        return Vec::new();
    }
    let mut highs: Vec<f64> = sizes.iter().map(|s| s.1).collect();
    let mut lows: Vec<f64> = sizes.iter().map(|s| s.2).collect();
    highs.sort_by(|a, b| b.total_cmp(a));
    lows.sort_by(f64::total_cmp);
    let most = (highs.len() * 3).div_ceil(4) - 1;
    let (Some(high), Some(low)) = (highs.get(most), lows.get(1).or(lows.first())) else {
        return Vec::new();
    };
    let Some(step) = STEPS.into_iter().find(|s| whole(*high, *low, *s).count() <= count) else {
        return Vec::new();
    };
    whole(*high, *low, step).collect()
}

/// Multiples of `step` from `high` down to `low`.
fn whole(high: f64, low: f64, step: f64) -> impl Iterator<Item = f64> + Clone {
    let (top, bottom) = ((high / step - 1e-9).floor() as i64, (low / step + 1e-9).ceil() as i64);
    (bottom..=top).rev().map(move |k| {
        // 231 x 0.01 is not 2.31 in binary; what a person types is.
        let per_nat = (1.0 / step).round();
        k as f64 / per_nat
    })
}

/// What every run at constant batch size observed at a level: the tokens at which its isotonic
/// loss came down to it, or how far it got without. Runs that drift upward are left out; so are
/// runs that were below the level when their stable phase began.
pub fn observe(group: &Group, loss: f64) -> Vec<Observation> {
    fitted(group).filter_map(|s| observation(s, loss)).collect()
}

fn observation(s: &ConstantSeries, loss: f64) -> Option<Observation> {
    let (x, se_ln, censored) = match falling(s).crossing(loss) {
        Crossing::At { x, se } => (x, se, false),
        Crossing::Never => (s.to_tokens.ln(), 0.0, true),
        Crossing::Before => return None,
    };
    let tokens = x.exp();
    Some(Observation {
        run: s.run.clone(),
        batch_size: s.batch_size,
        steps: tokens / s.batch_size,
        tokens,
        se_ln,
        censored,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{GroupOptions, group_runs};
    use super::*;
    use crate::run::fixture;

    #[test]
    fn explore() {
        let dir = std::env::var("SWEEP").unwrap_or("mlp_sweep".into());
        let runs = fixture::sweep(&dir);
        for r in &runs {
            println!(
                "{} {:?} {:?}\n  restarts {:?} notes {:?}",
                r.id, r.phases.schedule, r.phases.why, r.restarts, r.notes
            );
            for s in &r.segments {
                println!(
                    "   seg {} {}..{} tok {}..{}",
                    s.batch_size, s.from_step, s.to_step, s.from_tokens, s.to_tokens
                );
            }
            println!(
                "   loss {:?} tps {:?} log {:?}",
                crate::run::loss_now(r),
                crate::run::throughput(r),
                crate::run::log_interval(r)
            );
        }
        for g in group_runs(&runs, &GroupOptions::default()) {
            println!("== {} {:?} {:?}", g.id, g.lr, g.on);
            for m in &g.members {
                println!("  {} {} {:?}", m.run, m.used, m.why);
            }
            for c in &g.constant {
                println!(
                    "  {} B {} bins {} from {} to {} drift {} first {:?} last {:?}",
                    c.run,
                    c.batch_size,
                    c.bins.len(),
                    c.stable_from_tokens,
                    c.to_tokens,
                    c.drifts_upward,
                    c.bins.first(),
                    c.bins.last()
                );
            }
            for c in &g.switched {
                println!("  {} {:?} bins {}", c.run, c.stretches, c.bins.len());
            }
            let ls = levels(&g, 12);
            println!("{ls:?}");
            for l in [2.7, 2.5, 2.4, 2.3, 2.2, 2.1, 2.0, 1.95, 1.9, 1.88, 1.86] {
                println!(
                    "{l}: {}",
                    observe(&g, l)
                        .iter()
                        .map(|o| format!(
                            "{}:{}{:.3}±{:.3}",
                            o.batch_size,
                            if o.censored { ">" } else { "" },
                            o.tokens / 1e6,
                            o.se_ln
                        ))
                        .collect::<Vec<_>>()
                        .join("  ")
                );
            }
        }
    }
}
