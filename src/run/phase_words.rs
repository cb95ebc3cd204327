//! What is said of a learning-rate schedule.

use super::phase::level;
use super::{Phase, PhaseSpan};
use crate::units;
use std::ops::Range;

/// Names the shape of a decline.
pub(super) fn declining(steps: &[f64], lr: &[f64], from: usize) -> String {
    let (s, y) = (&steps[from..], &lr[from..]);
    let peak = y.first().copied().unwrap_or(f64::NAN);
    let last = y.last().copied().unwrap_or(f64::NAN);
    let third = s.len() / 3;
    let slope = |a: usize, b: usize, f: fn(f64) -> f64| {
        (f(y[b]) - f(y[a])) / (f(s[b].max(1.0)) - f(s[a].max(1.0)))
    };
    let shape = if third < 2 || last <= 0.0 {
        "declines from its peak"
    } else {
        let (a, b, c) =
            (slope(third, 2 * third, f64::ln), slope(2 * third, s.len() - 1, f64::ln), -0.5);
        let id: fn(f64) -> f64 = |x| x;
        let (u, v) = (slope(0, third, id), slope(2 * third, s.len() - 1, id));
        if (a - c).abs() < 0.03 && (b - c).abs() < 0.03 {
            "falls like an inverse square root"
        } else if (u / v - 1.0).abs() < 0.1 {
            "falls along a line from its peak"
        } else {
            "falls from its peak without a corner, as a cosine does"
        }
    };
    format!(
        "no plateau: the learning rate {shape} ({} to {} so far)",
        units::learning_rate(peak),
        units::learning_rate(last)
    )
}

/// Words about a schedule with a plateau.
pub(super) fn words(
    steps: &[f64],
    lr: &[f64],
    plateaus: &[Range<usize>],
    longest: &Range<usize>,
    spans: &[PhaseSpan],
) -> String {
    let value = level(lr, longest);
    let at = |row: usize| units::count(steps.get(row).copied().unwrap_or(f64::NAN));
    let mut out = format!(
        "constant at {} from step {} to {}",
        units::learning_rate(value),
        at(longest.start),
        at(longest.end.saturating_sub(1))
    );
    if spans.first().is_some_and(|s| s.phase == Phase::Warmup) {
        out.push_str(", after a warmup");
    }
    if let Some(d) = spans.iter().find(|s| s.phase == Phase::Decay) {
        out.push_str(&format!(", decay from step {}", at(d.range.start)));
    }
    if plateaus.len() > 1 {
        out.push_str(&format!("; {} plateaus", plateaus.len()));
    }
    let (first, last) = (lr[longest.start], lr[longest.end.saturating_sub(1)]);
    let drift = (last / first - 1.0).abs();
    if drift > 1e-6 {
        out.push_str(&format!(
            "; it has drifted by {:.3} %: a slow decline cannot be excluded",
            drift * 100.0
        ));
    }
    out
}
