//! The words of the screen: states, intervals, times.

use super::theme::{Role, Theme};
use crate::snapshot::*;
use crate::units;

pub(crate) fn state(s: RunState) -> (&'static str, &'static str, Role) {
    match s {
        RunState::Waiting => ("○", "waiting", Role::Dim),
        RunState::Live => ("●", "live", Role::Good),
        RunState::Quiet => ("◐", "quiet", Role::Warn),
        RunState::Ended => ("■", "ended", Role::Dim),
        RunState::Restarted => ("↻", "restarted", Role::Warn),
    }
}

pub(crate) fn phase(p: Option<Phase>) -> &'static str {
    match p {
        Some(Phase::Warmup) => "warmup",
        Some(Phase::Stable) => "stable",
        Some(Phase::Decay) => "decay",
        None => "-",
    }
}

pub(crate) fn verdict(kind: VerdictKind) -> (&'static str, Role) {
    match kind {
        VerdictKind::Hold => ("=", Role::Hold),
        VerdictKind::Raise => ("▲", Role::Raise),
        VerdictKind::Lower => ("▼", Role::Lower),
        VerdictKind::CannotTell => ("?", Role::Unknown),
    }
}

/// The verdict in a cell: all of it where it fits, else its first word and the size it leads to.
/// Its whole text and reasons stand below the table.
pub(crate) fn verdict_within(run: &RunView, width: u16) -> String {
    let (glyph, _) = verdict(run.verdict.kind);
    let whole = format!("{glyph} {}", run.verdict.text);
    if whole.chars().count() <= usize::from(width) {
        return whole;
    }
    let to = || {
        // The run may have passed it since it was planned.
        let plan = run.plan.as_ref()?;
        let made = plan.now.tokens?;
        let coming = plan.schedule.iter().find(|e| e.from_tokens as f64 > made)?;
        Some(format!(" to {}", units::count(coming.batch_size_tokens as f64)))
    };
    match run.verdict.kind {
        VerdictKind::Hold => format!("{glyph} hold"),
        VerdictKind::Raise => format!("{glyph} raise{}", to().unwrap_or_default()),
        VerdictKind::Lower => format!("{glyph} lower{}", to().unwrap_or_default()),
        VerdictKind::CannotTell => format!("{glyph} cannot tell"),
    }
}

pub(crate) fn model(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Classical => "classical",
        ModelKind::Smooth => "smooth",
        ModelKind::ThreeStage => "three-stage",
        ModelKind::Joint => "joint law",
        ModelKind::NoFloor => "no floor",
    }
}

pub(crate) fn policy(p: Policy) -> &'static str {
    match p {
        Policy::Leave => "leave it",
        Policy::Planned => "planned ramp",
        Policy::Tracking => "track B_opt",
        Policy::Interval => "by interval",
        Policy::Single => "best single",
        Policy::WhatIf => "what if",
    }
}

pub(crate) fn goal(g: Goal) -> &'static str {
    match g {
        Goal::Stable => "fewest tokens to a stable-phase loss",
        Goal::Decayed => "lowest loss after the decay at the token budget",
        Goal::Interim => "never above a loss on the way",
        Goal::Time => "fewest hours to a stable-phase loss",
    }
}

pub(crate) fn memory(m: MemorySource) -> &'static str {
    match m {
        MemorySource::Measured => "measured",
        MemorySource::Assumed => "assumed",
        MemorySource::Saved => "saved",
    }
}

pub(crate) fn loss_kind(k: LossKind) -> &'static str {
    match k {
        LossKind::Train => "training loss",
        LossKind::Val => "validation loss",
    }
}

pub(crate) fn control(s: ControlState) -> (&'static str, Role) {
    match s {
        ControlState::Proposed => ("proposed", Role::Planned),
        ControlState::Approved => ("approved", Role::Planned),
        ControlState::Written => ("written", Role::Warn),
        ControlState::Accepted => ("accepted", Role::Good),
        ControlState::Applied => ("applied", Role::Good),
        ControlState::Rejected => ("rejected", Role::Bad),
        ControlState::Overdue => ("overdue", Role::Bad),
        ControlState::Reverted => ("reverted", Role::Bad),
        ControlState::Superseded => ("superseded", Role::Dim),
        ControlState::Undone => ("undone", Role::Dim),
    }
}

pub(crate) fn batch_source(s: BatchSource) -> &'static str {
    match s {
        BatchSource::LoggedTokens => "logged",
        BatchSource::Sequences => "sequences × seq_len",
        BatchSource::MicroBatches => "micro × accum × dp × seq_len",
        BatchSource::Derived => "tokens / steps",
        BatchSource::Given => "given",
        BatchSource::Unknown => "unknown",
    }
}

pub(crate) fn tokens_source(s: TokensSource) -> &'static str {
    match s {
        TokensSource::Logged => "logged",
        TokensSource::Samples => "samples × seq_len",
        TokensSource::Summed => "summed",
        TokensSource::BatchTimesStep => "batch × step",
        TokensSource::Unknown => "unknown",
    }
}

pub(crate) fn count(x: Option<f64>) -> String {
    x.map_or_else(|| "-".into(), units::count)
}

pub(crate) fn loss(x: Option<f64>) -> String {
    x.map_or_else(|| "-".into(), units::loss)
}

/// A fraction as a percentage; far beyond what is measured only that it is large.
pub(crate) fn percent(x: Option<f64>) -> String {
    match x {
        Some(x) if x.is_finite() && x >= 9.995 => ">999 %".into(),
        x => x.map_or_else(|| "-".into(), units::percent),
    }
}

/// The tokens lost: at least so many where they are counted against the best of the sizes that were
/// tested, since the optimum lies outside them.
pub(crate) fn lost(run: &RunView) -> String {
    let outside = run.b_opt.as_ref().is_some_and(|iv| iv.value.is_none());
    let lost = percent(run.excess_tokens);
    if outside && run.excess_tokens.is_some() { format!("≥{lost}") } else { lost }
}

/// A change as a percentage with its sign: `-7.8 %`.
pub(crate) fn change(fraction: f64) -> String {
    let p = units::percent(fraction);
    if fraction > 0.0 && fraction.is_finite() { format!("+{p}") } else { p }
}

/// The value of an interval, or the bound where its side is open: `4.1M`, `≤ 16`, `≥ 4.1K`.
pub(crate) fn value(iv: &Interval) -> String {
    match (iv.open, iv.low, iv.value, iv.high) {
        (Open::Low, _, _, Some(h)) => format!("≤ {}", units::count(h)),
        (Open::High, Some(l), _, _) => format!("≥ {}", units::count(l)),
        (Open::Low, _, Some(v), None) => format!("≤ {}", units::count(v)),
        (Open::High, None, Some(v), _) => format!("≥ {}", units::count(v)),
        (_, _, v, _) => count(v),
    }
}

/// `3.6M–4.7M`, or nothing where a side is open.
pub(crate) fn bounds(iv: &Interval) -> String {
    match (iv.open, iv.low, iv.high) {
        (Open::None, Some(l), Some(h)) => format!("{}–{}", units::count(l), units::count(h)),
        _ => String::new(),
    }
}

/// The bounds of a forecast: `3.6M–4.7M`, or the one that there is: `≥ 3.6M`.
pub(crate) fn spread(iv: &Interval, write: impl Fn(f64) -> String) -> String {
    match (iv.low, iv.high) {
        (Some(l), Some(h)) => format!("{}–{}", write(l), write(h)),
        (Some(l), None) => format!("≥ {}", write(l)),
        (None, Some(h)) => format!("≤ {}", write(h)),
        (None, None) => String::new(),
    }
}

/// Value and bounds: `4.1M (3.6M–4.7M)`.
pub(crate) fn interval(iv: &Interval) -> String {
    let b = bounds(iv);
    if b.is_empty() { value(iv) } else { format!("{} ({b})", value(iv)) }
}

/// What an open side means.
pub(crate) fn open_side(iv: &Interval) -> Option<&'static str> {
    match (iv.open, iv.value) {
        (Open::None, _) => None,
        (Open::Low, _) => Some("no size tested bounds it below"),
        (Open::High, _) => Some("no size tested bounds it above"),
        (Open::Both, Some(_)) => Some("open on both sides"),
        (Open::Both, None) => Some("cannot tell yet"),
    }
}

/// Coarse, so that a quiet screen stays still: `now`, `4m`, `2h`, `3d`.
pub(crate) fn age(at: f64, then: Option<f64>) -> String {
    let Some(then) = then else { return "-".into() };
    let s = (at - then).max(0.0);
    match s {
        s if !s.is_finite() => "-".into(),
        s if s < 60.0 => "now".into(),
        s if s < 3600.0 => format!("{:.0}m", (s / 60.0).floor()),
        s if s < 86_400.0 => format!("{:.0}h", (s / 3600.0).floor()),
        s => format!("{:.0}d", (s / 86_400.0).floor()),
    }
}

/// Local clock time of Unix seconds: `14:03`.
pub(crate) fn clock(theme: &Theme, unix: f64) -> String {
    written(theme, unix, "%H:%M")
}

pub(crate) fn day_and_clock(theme: &Theme, unix: f64) -> String {
    written(theme, unix, "%b %d %H:%M")
}

fn written(theme: &Theme, unix: f64, format: &str) -> String {
    if !unix.is_finite() {
        return "-".into();
    }
    jiff::Timestamp::from_second(unix as i64)
        .map(|t| t.to_zoned_datetime(theme.zone.clone()).strftime(format).to_string())
        .unwrap_or_else(|_| "-".into())
}

/// An RFC 3339 time in local time; the text itself where it is none.
pub(crate) fn local_time(theme: &Theme, text: &str) -> String {
    text.parse::<jiff::Timestamp>()
        .map(|t| t.to_zoned_datetime(theme.zone.clone()).strftime("%b %d %H:%M:%S").to_string())
        .unwrap_or_else(|_| text.into())
}

/// A schedule in one line: `2.1M, 4.19M @250B`.
pub(crate) fn schedule(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "the trainer's own".into();
    }
    let parts: Vec<String> = entries
        .iter()
        .map(|e| match e.from_tokens {
            0 => units::count(e.batch_size_tokens as f64),
            t => {
                format!("{} @{}", units::count(e.batch_size_tokens as f64), units::count(t as f64))
            }
        })
        .collect();
    parts.join(", ")
}

/// A schedule whose first change after `now` is due: what follows is told from there on, since it
/// moves with it. `384, 768 now, 1.54K 6M later`.
pub(crate) fn due_schedule(entries: &[Entry], now: f64) -> String {
    let (behind, rest) = entries.split_at(entries.partition_point(|e| e.from_tokens as f64 <= now));
    let Some(first) = rest.first() else { return schedule(entries) };
    let size = |e: &Entry| units::count(e.batch_size_tokens as f64);
    let mut out = format!("{}, {} now", schedule(behind), size(first));
    for e in &rest[1..] {
        let later = (e.from_tokens - first.from_tokens) as f64;
        out.push_str(&format!(", {} {} later", size(e), units::count(later)));
    }
    out
}

/// A schedule as `--what-if` takes it: `0:2097152 250000000000:4194304`.
pub(crate) fn what_if(entries: &[Entry]) -> String {
    let one = |e: &Entry| format!("{}:{}", e.from_tokens, e.batch_size_tokens);
    entries.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// One entry, exactly: `4,194,304 from 250,000,000,000 tokens`.
pub(crate) fn entry(e: &Entry) -> String {
    let scale = e.lr_scale.map(|s| format!(", lr ×{s:.3}")).unwrap_or_default();
    format!(
        "{} from {}{scale}",
        units::exact(e.batch_size_tokens),
        if e.from_tokens == 0 { "the start".into() } else { units::exact(e.from_tokens) }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_side_is_said_and_never_a_number_from_thin_air() {
        let closed = Interval {
            value: Some(4.1e6),
            low: Some(3.6e6),
            high: Some(4.7e6),
            level: 0.9,
            open: Open::None,
        };
        assert_eq!(interval(&closed), "4.1M (3.6M–4.7M)");
        let low = Interval { value: None, low: None, high: Some(16.0), open: Open::Low, ..closed };
        assert_eq!(interval(&low), "≤ 16");
        let high = Interval { low: Some(4096.0), high: None, open: Open::High, ..closed };
        assert_eq!(interval(&high), "≥ 4.1K");
        assert_eq!(interval(&Interval::UNKNOWN), "-");
        assert_eq!(open_side(&Interval::UNKNOWN), Some("cannot tell yet"));
        // The bound may lie between the sizes: nothing is said of the smallest one.
        assert_eq!(open_side(&low), Some("no size tested bounds it below"));
    }

    #[test]
    fn a_forecast_without_an_end_has_its_beginning() {
        let closed =
            Interval { value: Some(2.0), low: Some(1.0), high: Some(3.0), ..Interval::UNKNOWN };
        assert_eq!(spread(&closed, units::count), "1–3");
        assert_eq!(spread(&Interval { high: None, ..closed }, units::count), "≥ 1");
        assert_eq!(spread(&Interval::UNKNOWN, units::count), "");
    }

    #[test]
    fn ages_are_coarse() {
        assert_eq!(age(100.0, Some(70.0)), "now");
        assert_eq!(age(100.0, Some(99.0)), age(120.0, Some(99.0)));
        assert_eq!(age(7300.0, Some(0.0)), "2h");
        assert_eq!(age(100.0, None), "-");
        assert_eq!(age(0.0, Some(50.0)), "now");
    }
}
