//! Warmup, stable, decay from the learning rate.
//!
//! A plateau is a learning rate that stays where it is to print precision (0.1 %, or one printed
//! digit: some trainers print six decimals). A schedule that declines from its peak looks like a
//! plateau at first; the corner tells them apart: when a plateau ends in a decay, the first few
//! steps down take a small part of the plateau's own length, while a cosine, a line from the peak
//! and an inverse square root go on as smoothly as they were.

use super::{Phase, PhaseSpan, Phases, Schedule};
use crate::units;
use std::ops::Range;

/// Relative drift within which a learning rate counts as constant.
const FLAT: f64 = 1e-3;
/// How near to its plateau the learning rate of the stable phase is.
const STABLE: f64 = 0.01;
/// Steps of one flat tolerance after a plateau, over the plateau's length: above it there is no
/// corner. A cosine has 0.4, a line 1, a decay of a quarter of the run 0.001.
const NO_CORNER: f64 = 0.1;

/// The phases of a run: `lr` per row of the train columns (NaN where unknown), `batch_changes`
/// the rows at which another batch size begins.
pub(super) fn phases(steps: &[f64], lr: &[f64], batch_changes: &[usize]) -> Phases {
    let n = lr.len();
    let lr: Vec<f64> = filled(lr);
    if n == 0 || lr.iter().all(|x| x.is_nan()) {
        return absent(n);
    }
    if lr.iter().all(|x| *x == 0.0) {
        return Phases {
            why: "the logged learning rate is always 0: all of the run counts as stable".into(),
            ..absent(n)
        };
    }
    let unit = printed_unit(&lr);
    let pieces = pieces(&lr, unit);
    let plateaus = plateaus(steps, &lr, unit, &pieces, batch_changes);
    let Some(longest) = longest(steps, &plateaus) else {
        return without_plateau(steps, &lr, unit);
    };
    if let Some(why) = no_corner(steps, &lr, unit, &plateaus) {
        return Phases { schedule: Schedule::Declining, plateau_lr: None, spans: Vec::new(), why };
    }
    let spans = spans(&lr, unit, &plateaus);
    let decays = spans.iter().filter(|s| s.phase == Phase::Decay).count();
    if decays > 20 {
        let why = format!("the learning rate leaves its plateau {decays} times");
        return Phases { schedule: Schedule::Unknown, plateau_lr: None, spans: Vec::new(), why };
    }
    let why = words(steps, &lr, &plateaus, &longest, &spans);
    Phases { schedule: Schedule::Wsd, plateau_lr: Some(level(&lr, &longest)), spans, why }
}

fn absent(n: usize) -> Phases {
    let all = PhaseSpan { phase: Phase::Stable, range: 0..n, lr: None };
    Phases {
        schedule: Schedule::Absent,
        plateau_lr: None,
        spans: if n > 0 { vec![all] } else { Vec::new() },
        why: "no learning rate is logged: all of the run counts as stable".into(),
    }
}

/// Unknown values take the last known one, those at the start the first.
fn filled(lr: &[f64]) -> Vec<f64> {
    let mut last = lr.iter().copied().find(|x| x.is_finite()).unwrap_or(f64::NAN);
    lr.iter()
        .map(|x| {
            if x.is_finite() {
                last = *x;
            }
            last
        })
        .collect()
}

/// One unit in the last decimal that the values are printed with; 0 where they are not rounded.
fn printed_unit(lr: &[f64]) -> f64 {
    let every = lr.len().div_ceil(512).max(1);
    let sample: Vec<f64> = lr.iter().step_by(every).copied().collect();
    for decimals in 2..=9 {
        let scale = 10f64.powi(decimals);
        let whole = |x: &f64| {
            ((x * scale) - (x * scale).round()).abs() < 1e-6 * (x * scale).abs().max(1e-3)
        };
        if sample.iter().all(whole) {
            return 1.0 / scale;
        }
    }
    0.0
}

fn tolerance(lr: f64, unit: f64) -> f64 {
    // A digit of more than a tenth of the value is no printing of it.
    let digit = if unit < 0.1 * lr { unit * 1.001 } else { 0.0 };
    (FLAT * lr).max(digit)
}

/// Cuts the rows where the learning rate has moved away from where the piece began.
fn pieces(lr: &[f64], unit: f64) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut from = 0;
    for i in 1..=lr.len() {
        if i == lr.len() || (lr[i] - lr[from]).abs() > tolerance(lr[from], unit) {
            out.push(from..i);
            from = i;
        }
    }
    out
}

/// The highest value of a plateau: where one drifts, what it drifts from.
fn level(lr: &[f64], rows: &Range<usize>) -> f64 {
    lr[rows.clone()].iter().copied().fold(0.0, f64::max)
}

fn extent(steps: &[f64], rows: &Range<usize>) -> f64 {
    match (steps.get(rows.start), steps.get(rows.end.saturating_sub(1))) {
        (Some(a), Some(b)) if b > a => b - a,
        _ => 0.0,
    }
}

/// Pieces that are plateaus: long enough, above 0, and not come to from above, unless the batch
/// size changed there too.
fn plateaus(
    steps: &[f64],
    lr: &[f64],
    unit: f64,
    pieces: &[Range<usize>],
    batch_changes: &[usize],
) -> Vec<Range<usize>> {
    let whole = extent(steps, &(0..lr.len()));
    let single = pieces.len() == 1;
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut ceiling = f64::NAN;
    for p in pieces {
        let value = level(lr, p);
        let with_batch = batch_changes.iter().any(|c| c.abs_diff(p.start) <= 1);
        let from_above = value < ceiling - tolerance(ceiling, unit).max(STABLE * ceiling);
        let long = p.len() >= 3 && extent(steps, p) >= 0.02 * whole;
        if value > 0.0 && (single || long) && (!from_above || with_batch) {
            out.push(p.clone());
            ceiling = value;
        } else if ceiling.is_nan() || value >= ceiling {
            ceiling = value;
        }
    }
    out
}

fn longest(steps: &[f64], plateaus: &[Range<usize>]) -> Option<Range<usize>> {
    plateaus.iter().max_by(|a, b| extent(steps, a).total_cmp(&extent(steps, b))).cloned()
}

/// Whether the first plateau goes over into its decline without a corner.
fn no_corner(steps: &[f64], lr: &[f64], unit: f64, plateaus: &[Range<usize>]) -> Option<String> {
    let p = plateaus.first()?;
    let tol = tolerance(level(lr, p), unit);
    let end = p.end.checked_sub(1)?;
    let below = lr.get(p.end).is_some_and(|x| *x < lr[end]);
    if !below {
        return None;
    }
    let stop = (p.end..lr.len()).find(|i| lr[*i] <= lr[end] - 3.0 * tol).unwrap_or(lr.len() - 1);
    let (drop, took) = (lr[end] - lr[stop], steps[stop] - steps[end]);
    if drop.is_nan() || drop <= 0.0 {
        return None;
    }
    let ratio = tol * took / (drop * extent(steps, p).max(f64::MIN_POSITIVE));
    (ratio > NO_CORNER).then(|| declining(steps, lr, p.start))
}

fn without_plateau(steps: &[f64], lr: &[f64], unit: f64) -> Phases {
    let n = lr.len();
    let peak = (0..n).fold(0, |m, i| if lr[i] > lr[m] { i } else { m });
    let rising = (1..=peak).all(|i| lr[i] >= lr[i - 1] - tolerance(lr[i], unit));
    let falling = (peak + 1..n).all(|i| lr[i] <= lr[i - 1] + tolerance(lr[i], unit));
    if rising && peak + 2 >= n {
        return Phases {
            schedule: Schedule::Wsd,
            plateau_lr: None,
            spans: vec![PhaseSpan { phase: Phase::Warmup, range: 0..n, lr: None }],
            why: "the learning rate is still rising: whether a plateau follows cannot be told yet"
                .into(),
        };
    }
    let (schedule, why) = if rising && falling {
        (Schedule::Declining, declining(steps, lr, peak))
    } else {
        (Schedule::Unknown, "the learning rate rises and falls without a plateau".into())
    };
    Phases { schedule, plateau_lr: None, spans: Vec::new(), why }
}

/// Names the shape of a decline.
fn declining(steps: &[f64], lr: &[f64], from: usize) -> String {
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

/// Every row's phase, joined to spans.
fn spans(lr: &[f64], unit: f64, plateaus: &[Range<usize>]) -> Vec<PhaseSpan> {
    let mut out: Vec<PhaseSpan> = Vec::new();
    let mut current: Option<f64> = None;
    let mut at = 0;
    let mut k = 0;
    while at < lr.len() {
        let (phase, to, value) = match plateaus.get(k) {
            Some(p) if p.start <= at => {
                let v = level(lr, p);
                current = Some(v);
                k += 1;
                (Phase::Stable, p.end, Some(v))
            }
            next => {
                let stop = next.map_or(lr.len(), |p| p.start);
                let to = (at + 1..stop).find(|i| {
                    kind(lr, *i, current, unit, next.is_some())
                        != kind(lr, at, current, unit, next.is_some())
                });
                let phase = kind(lr, at, current, unit, next.is_some());
                let value = if phase == Phase::Stable { current } else { None };
                (phase, to.unwrap_or(stop), value)
            }
        };
        match out.last_mut() {
            Some(last) if last.phase == phase && last.lr == value => last.range.end = to,
            _ => out.push(PhaseSpan { phase, range: at..to, lr: value }),
        }
        at = to;
    }
    out
}

/// The phase of a row outside all plateaus: `plateau` is the last one before it.
fn kind(lr: &[f64], i: usize, plateau: Option<f64>, unit: f64, more: bool) -> Phase {
    let Some(p) = plateau else { return Phase::Warmup };
    let before = lr[i.saturating_sub(1)];
    if (lr[i] - p).abs() <= (STABLE * p).max(tolerance(p, unit)) {
        Phase::Stable
    } else if lr[i] > p || (more && lr[i] > before) {
        Phase::Warmup
    } else {
        Phase::Decay
    }
}

fn words(
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
