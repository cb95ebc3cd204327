//! Warmup, stable, decay from the learning rate.
//!
//! A plateau is a learning rate that stays where it is to print precision (0.1 %, or one printed
//! digit: some trainers print six decimals). A schedule that declines from its peak looks like a
//! plateau at first; the corner tells them apart: when a plateau ends in a decay, the first few
//! steps down take a small part of the plateau's own length, while a cosine, a line from the peak
//! and an inverse square root go on as smoothly as they were.

use super::phase_words::{declining, words};
use super::{Phase, PhaseSpan, Phases, Schedule};
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

/// Rows after which a learning rate that is what it was before had not left it.
const GLITCH: usize = 2;

/// Unknown values take the last known one, those at the start the first; so do one or two rows between
/// equal ones (a line with a learning rate of 0).
fn filled(lr: &[f64]) -> Vec<f64> {
    let mut last = lr.iter().copied().find(|x| x.is_finite()).unwrap_or(f64::NAN);
    let mut out = lr.to_vec();
    for x in &mut out {
        if x.is_finite() { last = *x } else { *x = last }
    }
    for i in 1..out.len() {
        let back = |j: &usize| out.get(*j) == Some(&out[i - 1]);
        if out[i] != out[i - 1]
            && let Some(j) = (i + 1..=i + GLITCH).find(back)
        {
            let before = out[i - 1];
            out[i..j].fill(before);
        }
    }
    out
}

/// One unit in the last decimal that the values are printed with; 0 where they are not rounded.
fn printed_unit(lr: &[f64]) -> f64 {
    let mut distinct: Vec<f64> = lr.to_vec();
    distinct.dedup();
    for decimals in 2..=9 {
        let scale = 10f64.powi(decimals);
        let whole = |x: &f64| {
            ((x * scale) - (x * scale).round()).abs() < 1e-6 * (x * scale).abs().max(1e-3)
        };
        if distinct.iter().all(whole) {
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
pub(super) fn level(lr: &[f64], rows: &Range<usize>) -> f64 {
    lr[rows.clone()].iter().copied().fold(0.0, f64::max)
}

fn extent(steps: &[f64], rows: &Range<usize>) -> f64 {
    match (steps.get(rows.start), steps.get(rows.end.saturating_sub(1))) {
        (Some(a), Some(b)) if b > a => b - a,
        _ => 0.0,
    }
}

/// Whether the learning rate steps at a row, rather than going on as it went over the rows before.
fn steps_at(lr: &[f64], row: usize) -> bool {
    let moved = |i: usize| (lr[i] - lr[i - 1]).abs();
    let before = (row.saturating_sub(3).max(1)..row).map(moved).fold(0.0, f64::max);
    row > 0 && moved(row) > (STABLE * lr[row - 1]).max(3.0 * before)
}

/// Pieces that are plateaus: long enough, above 0, and not come to from above, unless the learning
/// rate stepped there together with the batch size.
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
    for (k, p) in pieces.iter().enumerate() {
        let value = level(lr, p);
        let with_batch =
            steps_at(lr, p.start) && batch_changes.iter().any(|c| c.abs_diff(p.start) <= 1);
        let from_above = value < ceiling - tolerance(ceiling, unit).max(STABLE * ceiling);
        let long = p.len() >= 3 && extent(steps, p) >= 0.02 * whole;
        // A step together with the batch size is one to a new plateau as soon as it is seen.
        let long = long || (with_batch && (p.len() >= 3 || k + 1 == pieces.len()));
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

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    const TOTAL: usize = 2000;

    fn seen(f: impl Fn(f64) -> f64, fraction: f64) -> Phases {
        let n = (TOTAL as f64 * fraction) as usize;
        let steps: Vec<f64> = (1..=n).map(|s| s as f64 * 10.0).collect();
        let lr: Vec<f64> = steps.iter().map(|s| f(s / (TOTAL as f64 * 10.0))).collect();
        phases(&steps, &lr, &[])
    }

    fn warm(u: f64) -> f64 {
        (u / 0.01).min(1.0)
    }

    fn cosine(u: f64) -> f64 {
        let x = ((u - 0.01) / 0.99).max(0.0);
        3e-4 * warm(u) * (0.1 + 0.45 * (1.0 + (std::f64::consts::PI * x).cos()))
    }

    fn wsd(u: f64) -> f64 {
        3e-4 * warm(u) * ((1.0 - u) / 0.2).min(1.0)
    }

    fn six_decimals(f: fn(f64) -> f64) -> impl Fn(f64) -> f64 {
        move |u| (f(u) * 1e6).round() / 1e6
    }

    fn shape(p: &Phases) -> Vec<Phase> {
        p.spans.iter().map(|s| s.phase).collect()
    }

    /// The square-root rule steps the learning rate where the batch size changes.
    #[test]
    fn a_step_with_the_batch_size_is_a_new_plateau_at_once() {
        for factor in [1.414, 0.7] {
            for after in [1, 2, 5, 40] {
                let n = 1000 + after;
                let steps: Vec<f64> = (1..=n).map(|s| s as f64).collect();
                let lr: Vec<f64> =
                    (0..n).map(|i| if i < 1000 { 3e-4 } else { factor * 3e-4 }).collect();
                let p = phases(&steps, &lr, &[1000]);
                assert_eq!(shape(&p), [Phase::Stable, Phase::Stable], "{factor} {after}");
                assert_eq!(p.spans[1].lr, Some(factor * 3e-4));
                // Without a change of the batch it is none until it has lasted.
                let alone = shape(&phases(&steps, &lr, &[]));
                assert_eq!(alone == [Phase::Stable, Phase::Stable], after == 40 && factor > 1.0);
            }
        }
    }

    /// Of a slow decay or warmup three rows lie within the tolerance of a plateau.
    #[test]
    fn a_batch_change_amid_a_decay_or_a_warmup_begins_no_plateau() {
        let slow = |u: f64| 1e-3 * (u / 0.4).min(1.0) * ((1.0 - u) / 0.4).min(1.0);
        for (change, shape_then) in [
            (600, vec![Phase::Warmup]),
            (1300, vec![Phase::Warmup, Phase::Stable, Phase::Decay]),
            (1990, vec![Phase::Warmup, Phase::Stable, Phase::Decay]),
        ] {
            for after in [1, 2, 3, 5, 9, 10] {
                let n = change + after;
                let steps: Vec<f64> = (1..=n).map(|s| s as f64 * 10.0).collect();
                let lr: Vec<f64> = (1..=n).map(|s| slow(s as f64 / 2000.0)).collect();
                let p = phases(&steps, &lr, &[change]);
                assert_eq!(shape(&p), shape_then, "{change} {after}: {}", p.why);
            }
        }
    }

    #[test]
    fn a_plateau_with_warmup_and_decay_is_seen_at_any_time() {
        for f in [&wsd as &dyn Fn(f64) -> f64, &six_decimals(wsd)] {
            for fraction in [0.05, 0.2, 0.5, 0.79] {
                let p = seen(f, fraction);
                assert_eq!(p.schedule, Schedule::Wsd, "{}", p.why);
                assert_eq!(shape(&p), [Phase::Warmup, Phase::Stable]);
                assert!((p.plateau_lr.unwrap() - 3e-4).abs() < 1e-9);
            }
            for fraction in [0.82, 0.9, 1.0] {
                let p = seen(f, fraction);
                assert_eq!(shape(&p), [Phase::Warmup, Phase::Stable, Phase::Decay], "{}", p.why);
                let from = p.spans[2].range.start;
                assert!((1599..=1606).contains(&from), "{from}");
            }
        }
    }

    #[test]
    fn a_cosine_passes_as_a_plateau_only_at_its_very_top() {
        for f in [&cosine as &dyn Fn(f64) -> f64, &six_decimals(cosine)] {
            for fraction in [0.08, 0.1, 0.15, 0.3, 0.6, 1.0] {
                let p = seen(f, fraction);
                assert_eq!(p.schedule, Schedule::Declining, "{fraction}: {}", p.why);
                assert!(p.spans.is_empty());
            }
        }
        assert!(seen(cosine, 0.6).why.contains("cosine"));
    }

    #[test]
    fn lines_and_inverse_square_roots_decline() {
        let line = |u: f64| 1e-3 * warm(u) * (1.01 - u).min(1.0);
        let root = |u: f64| 1e-3 * warm(u) * (0.01 / u.max(0.01)).sqrt();
        for fraction in [0.05, 0.2, 0.5, 1.0] {
            assert_eq!(seen(line, fraction).schedule, Schedule::Declining, "line {fraction}");
            assert_eq!(seen(root, fraction).schedule, Schedule::Declining, "root {fraction}");
        }
        assert!(seen(line, 1.0).why.contains("line"), "{}", seen(line, 1.0).why);
        assert!(seen(root, 1.0).why.contains("square root"), "{}", seen(root, 1.0).why);
        // A tail at the lowest rate is no plateau.
        let tail = |u: f64| cosine((2.0 * u).min(1.0));
        assert_eq!(seen(tail, 1.0).schedule, Schedule::Declining);
    }

    #[test]
    fn the_last_digit_may_flicker_and_a_horizon_far_away_is_a_plateau_so_far() {
        let flicker = |u: f64| if (u * 1000.0) as i64 % 2 == 0 { 3e-4 } else { 2.99e-4 };
        assert_eq!(seen(flicker, 1.0).schedule, Schedule::Wsd);
        // MLPerf's 8e-4 falls to 7.99859e-4 over the whole run.
        let far = |u: f64| 8e-4 * (1.0 - 1.75e-4 * u * u) * warm(u);
        let p = seen(far, 1.0);
        assert_eq!(shape(&p), [Phase::Warmup, Phase::Stable]);
        assert!(p.why.contains("drifted"), "{}", p.why);
    }

    #[test]
    fn a_step_with_the_batch_size_is_a_plateau_without_it_a_decay() {
        let steps: Vec<f64> = (1..=300).map(f64::from).collect();
        let lr: Vec<f64> = steps.iter().map(|s| if *s <= 150.0 { 1e-3 } else { 5e-4 }).collect();
        let with = phases(&steps, &lr, &[150]);
        assert_eq!(shape(&with), [Phase::Stable, Phase::Stable]);
        assert_eq!(with.spans[1].lr, Some(5e-4));
        assert_eq!(shape(&phases(&steps, &lr, &[])), [Phase::Stable, Phase::Decay]);
    }

    #[test]
    fn a_line_with_another_learning_rate_ends_no_plateau() {
        let once = |u: f64| if u == 0.4 || u == 0.6 { 0.0 } else { wsd(u) };
        let p = seen(once, 0.7);
        assert_eq!(shape(&p), [Phase::Warmup, Phase::Stable], "{}", p.why);
        assert_eq!(shape(&seen(once, 1.0)), [Phase::Warmup, Phase::Stable, Phase::Decay]);
    }

    #[test]
    fn warmups_gaps_and_nothing() {
        assert_eq!(shape(&seen(|u| u, 0.5)), [Phase::Warmup]);
        let again = |u: f64| {
            if (0.5..0.51).contains(&u) { 1e-3 * (u - 0.499) / 0.011 } else { 1e-3 * warm(u) }
        };
        let p = seen(again, 1.0);
        assert_eq!(p.schedule, Schedule::Wsd, "{}", p.why);
        assert!(shape(&p).iter().filter(|s| **s == Phase::Stable).count() == 2, "{:?}", p.spans);
        let none = phases(&[1.0, 2.0], &[f64::NAN; 2], &[]);
        assert_eq!((none.schedule, shape(&none)), (Schedule::Absent, vec![Phase::Stable]));
        assert!(phases(&[], &[], &[]).spans.is_empty());
        let zero = phases(&[1.0, 2.0], &[0.0; 2], &[]);
        assert_eq!(zero.schedule, Schedule::Absent);
        let gaps: Vec<f64> = (0..100).map(|i| if i % 10 == 0 { 1e-3 } else { f64::NAN }).collect();
        let steps: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(shape(&phases(&steps, &gaps, &[])), [Phase::Stable]);
    }

    #[test]
    fn the_real_runs() {
        for r in fixture::sweep("mlp_sweep") {
            assert_eq!(r.phases.schedule, Schedule::Wsd, "{}", r.id);
            assert_eq!(r.phases.plateau_lr, Some(0.002), "{}", r.id);
            for fraction in [0.01, 0.03, 0.1, 0.3, 0.7] {
                let n = ((r.train.len() as f64 * fraction) as usize).max(10);
                let early = phases(&r.train.step[..n], &r.train.lr[..n], &[]);
                assert_eq!(early.schedule, Schedule::Wsd, "{} {fraction} {}", r.id, early.why);
                assert!(early.spans.iter().all(|s| s.phase != Phase::Decay), "{} {fraction}", r.id);
            }
            let decay = r.phases.spans.iter().find(|s| s.phase == Phase::Decay);
            assert_eq!(decay.is_some(), r.id.contains("wsd"), "{}", r.id);
            if let Some(d) = decay {
                // Both decay over the last fifth.
                let at = r.train.step[d.range.start] / r.step();
                assert!((at - 0.8).abs() < 0.005, "{} {at}", r.id);
            }
        }
    }
}
