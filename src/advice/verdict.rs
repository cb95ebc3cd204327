//! The answer in one line that begins with hold, raise, lower or cannot tell.

use super::aim::Aim;
use super::constraints::Constraints;
use super::decide::{Decision, staircase};
use super::{Entry, Goal, Verdict, VerdictKind};
use crate::curve::{Estimate, Interval, ModelKind, Open};
use crate::units::{count, exact, loss, percent};

/// A change closer than this share of the tokens so far is one for now.
const SOON: f64 = 0.05;
/// One that was for now stays so up to this multiple of the distance, and as long as it is shown.
const STILL: f64 = 2.0;

pub fn cannot_tell(because: impl Into<String>, reasons: Vec<String>) -> Verdict {
    Verdict {
        kind: VerdictKind::CannotTell,
        text: format!("cannot tell: {}", because.into()),
        reasons,
    }
}

pub fn hold(because: impl Into<String>, reasons: Vec<String>) -> Verdict {
    Verdict { kind: VerdictKind::Hold, text: format!("hold: {}", because.into()), reasons }
}

/// A change that a guard speaks against is no advice to make it, now or later: hold, and why.
pub fn unless(verdict: Verdict, against: &str) -> Verdict {
    let mut reasons = verdict.reasons;
    reasons.insert(0, format!("but for that: {}", verdict.text));
    Verdict { kind: VerdictKind::Hold, text: format!("hold: {against}"), reasons }
}

/// Nobody would obey a change of a run that has ended: hold, and what would be said if it went on.
pub fn ended(verdict: Verdict, tokens: f64) -> Verdict {
    let mut reasons = verdict.reasons;
    reasons.insert(0, format!("if it were started again: {}", verdict.text));
    let text = format!(
        "hold: the run has ended, at {} tokens, as its trainer or its log said",
        count(tokens)
    );
    Verdict { kind: VerdictKind::Hold, text, reasons }
}

/// `620 (510 to 760)`, `at least 4096`, `at most 16`.
pub fn interval_text(i: &Interval) -> String {
    match (i.value, i.low, i.high, i.open) {
        (None, Some(l), _, Open::High) => format!("at least {}", count(l)),
        (None, _, Some(h), Open::Low) => format!("at most {}", count(h)),
        (Some(v), Some(l), Some(h), _) => format!("{} ({} to {})", count(v), count(l), count(h)),
        (Some(v), Some(l), None, _) => format!("{} (at least {})", count(v), count(l)),
        (Some(v), None, Some(h), _) => format!("{} (at most {})", count(v), count(h)),
        (Some(v), ..) => count(v),
        (None, l, h, _) => match (l, h) {
            (Some(l), Some(h)) => format!("{} to {}", count(l), count(h)),
            (Some(l), None) => format!("at least {}", count(l)),
            (None, Some(h)) => format!("at most {}", count(h)),
            (None, None) => "unknown".into(),
        },
    }
}

/// B_opt, B, the flat range and the tokens lost, in one sentence.
pub fn estimate_text(e: &Estimate, own: u64) -> String {
    let mut text = format!(
        "B_opt (stable phase) at loss {} is {} tokens, by {}",
        loss(e.loss),
        interval_text(&e.b_opt),
        match e.model {
            Some(ModelKind::Joint) if e.saved => "the saved law",
            Some(ModelKind::Joint) => "the joint law",
            Some(ModelKind::Smooth) => "the smooth curve",
            Some(ModelKind::ThreeStage) => "the three-stage curve",
            Some(ModelKind::Classical) => "the classical curve",
            Some(ModelKind::NoFloor) => "the law without a floor",
            None => "the points alone, since no model speaks there",
        }
    );
    if let Some([low, high]) = e.extrapolated_from {
        text.push_str(&format!(" (extrapolated: it rests on {} to {})", loss(low), loss(high)));
    }
    if let Some([lo, hi]) = e.within_2_percent {
        text.push_str(&format!(
            "; {} to {} are within 2 % of the fewest tokens",
            count(lo),
            count(hi)
        ));
    }
    if let Some(x) = e.excess(own as f64) {
        // Against the best of the sizes that were tested, where the optimum lies outside them.
        let least = if e.b_opt.value.is_none() { "at least " } else { "" };
        text.push_str(&format!("; {} from the first step on needs {least}{}", exact(own), more(x)));
    } else if e.never_reached(own as f64)
        && let Some(b_min) = e.b_min
    {
        text.push_str(&format!(
            "; {} lies at or below B_min = {}: by the fit the loss falls no further there",
            exact(own),
            count(b_min)
        ));
    }
    text
}

/// `12 % more tokens`, `4.0 times as many tokens`.
pub fn more(excess: f64) -> String {
    if excess < 1.0 {
        format!("{} more tokens", percent(excess))
    } else if excess < 99.0 {
        format!("{:.1} times as many tokens", 1.0 + excess)
    } else {
        "more than 100 times as many tokens".into()
    }
}

/// More of the tokens of another size than this are more whatever the noise of the two.
const FAR_MORE: f64 = 1.5;

/// From B_opt alone, where no law speaks: on which side of the flat range the run is. `tokens` are
/// those of a run that was at this batch size from its first step on.
pub fn from_estimate(
    e: &Estimate,
    own: u64,
    tokens: Option<f64>,
    up_only: bool,
    reasons: Vec<String>,
) -> Verdict {
    let b = own as f64;
    let far =
        |f: &[f64; 2]| tokens.is_some_and(|t| t > FAR_MORE * f[1] && (b / f[0]).ln().abs() > 1e-3);
    let other = e.fewest.filter(far);
    let [far_small, far_large] = other.map_or([false; 2], |[size, _]| [b < size, b > size]);
    let [flat_low, flat_high] = e.within_2_percent.unwrap_or([f64::NAN, f64::NAN]);
    let [small, large] = e.clearly_worse;
    let small = far_small || small.is_some_and(|x| b < x * (1.0 + 1e-9));
    let large = far_large || large.is_some_and(|x| b > x * (1.0 - 1e-9));
    let below = small || e.b_opt.low.is_some_and(|l| b < l) && (flat_low.is_nan() || b < flat_low);
    let above =
        large || e.b_opt.high.is_some_and(|h| b > h) && (flat_high.is_nan() || b > flat_high);
    let opt = interval_text(&e.b_opt);
    let lost =
        e.excess(b).map_or(String::new(), |x| format!(", with {} than at the best", more(x)));
    let because = |side: &str, clearly: bool, word: &str| match (other, tokens) {
        (Some([size, least]), Some(t)) => format!(
            ": {} got to this loss with {} tokens, this run with {}",
            exact(size as u64),
            count(least),
            count(t)
        ),
        _ if clearly => format!(
            " from {}: a {word} size got to this loss with clearly fewer tokens (B_opt {opt}){lost}",
            exact(own)
        ),
        _ => format!(" towards B_opt = {opt}: {} lies {side} it{lost}", exact(own)),
    };
    const UNPLANNED: &str = "; when and how far is not planned without a law";
    match (below, above) {
        (true, _) => Verdict {
            kind: VerdictKind::Raise,
            text: format!("raise{}{UNPLANNED}", because("below", small, "larger")),
            reasons,
        },
        (_, true) if up_only => hold(
            format!(
                "{} lies above B_opt = {opt}{lost}; only lowering would help, and this trainer can \
                 only raise",
                exact(own)
            ),
            reasons,
        ),
        (_, true) => Verdict {
            kind: VerdictKind::Lower,
            text: format!("lower{}{UNPLANNED}", because("above", large, "smaller")),
            reasons,
        },
        _ => hold(format!("{} is not told apart from B_opt = {opt}{lost}", exact(own)), reasons),
    }
}

impl Decision {
    /// Whether the first change is one to be made now. Its token count then only says how soon a
    /// trainer can see it, recedes while nobody decides, and is no number to tell: up to twice as
    /// far ahead, so that a throughput that wavers makes no difference.
    pub fn due(&self, now: u64, lead: u64) -> bool {
        let first = self.recommended.as_ref().and_then(|c| c.first());
        first.is_some_and(|(at, _)| *at <= now.saturating_add(lead.saturating_mul(2)))
    }
}

/// Cumulative tokens up to which a change is advised, not only planned for later.
pub(super) fn soon_until(c: &Constraints) -> f64 {
    (c.earliest as f64).max(c.now as f64 * (1.0 + SOON))
}

/// From the decision; `due`: its first change is for now.
pub fn from_decision(
    d: &Decision,
    aim: &Aim,
    (c, due): (&Constraints, bool),
    estimate: Option<&Estimate>,
    coming: Option<&Entry>,
    said: Option<VerdictKind>,
    reasons: Vec<String>,
) -> Verdict {
    let Some(changes) = &d.recommended else {
        if let Some(why) = &d.stopped {
            return hold(why, reasons);
        }
        return hold(hold_text(d, aim, c, estimate, coming.is_some()), reasons);
    };
    let Some((at, to)) = changes.first().copied() else {
        let text = "withdraw the accepted changes that are still to come: the raise before them \
                    did not bring what was predicted";
        return hold(text, reasons);
    };
    let mut worth = worth(d, aim);
    let late = aim.ends && d.reached.1.is_some_and(|t| t > aim.budget * (1.0 + 1e-9));
    if late && aim.goal != Goal::Decayed {
        worth.push_str(&format!(", after the budget of {} tokens", count(aim.budget)));
    }
    if d.assumed {
        worth.push_str(&assumed(d, aim));
    }
    if let Some(next) = coming.filter(|next| {
        next.batch_size_tokens == to && next.from_tokens <= at.saturating_add(c.dwell)
    }) {
        let rest = match d.planned.get(1..).unwrap_or_default() {
            [] => String::new(),
            rest => format!(", then {} is planned", staircase(rest)),
        };
        let text = format!(
            "the change to {} at {} tokens is ordered already{rest}: {worth}",
            exact(to),
            count(next.from_tokens as f64)
        );
        return hold(text, reasons);
    }
    let now = c.now as f64;
    let near = soon_until(c) - now;
    let (kind, word) =
        if to > c.own { (VerdictKind::Raise, "raise") } else { (VerdictKind::Lower, "lower") };
    let was = said == Some(kind);
    let soon =
        due || at as f64 - now <= if was { STILL * near } else { near } || was && d.was_shown;
    // A raise to come, where the size needed grows past it, says nothing of what it costs until then.
    if let Some(e) = estimate.filter(|e| c.up_only && too_large(e, c.own)) {
        worth.push_str(&format!(
            "; at present {} is too large ({} than at the best): lowering would help, and this \
             trainer can only raise",
            exact(c.own),
            more_than_best(e, c.own)
        ));
    }
    let more = match d.planned.len() {
        0 | 1 => String::new(),
        n => format!(", with {} more to come", n - 1),
    };
    if soon {
        let when = if due { "now".into() } else { format!("at {} tokens", count(at as f64)) };
        Verdict { kind, text: format!("{word} to {} {when}{more}: {worth}", exact(to)), reasons }
    } else {
        Verdict {
            kind: VerdictKind::Hold,
            text: format!(
                "hold {} until {} tokens, then {word} to {}{more}: {worth}",
                exact(c.own),
                count(at as f64),
                exact(to)
            ),
            reasons,
        }
    }
}

/// That a memory was not measured, and what becomes of the saving where nothing is forgotten.
fn assumed(d: &Decision, aim: &Aim) -> String {
    let ends = d.reached_if_never.filter(|_| aim.goal != Goal::Decayed);
    let tokens = |t: Option<f64>| t.map_or("never".into(), count);
    let never = ends.map_or(String::new(), |ends| match ends {
        (None, None) => " (if no noise is forgotten neither gets there)".into(),
        (left, then) => {
            format!(" (if no noise is forgotten: {}, {} if it is left)", tokens(then), tokens(left))
        }
    });
    format!("{never}; the memory is assumed, and this change measures it")
}

/// What is saved, from the worse to the better end of a memory that was not measured.
fn shares(d: &Decision) -> String {
    let [least, most] = [d.saves, d.saves_most].map(|x| match x {
        // What is left to go is never nothing.
        x if x > 0.995 => "more than 99 %".to_string(),
        x => percent(x),
    });
    if d.assumed && least != most { format!("{least} to {most}") } else { least }
}

fn worth(d: &Decision, aim: &Aim) -> String {
    if aim.goal == Goal::Decayed {
        return format!(
            "{} closer to L_inf at {} tokens than if it is left",
            percent(d.saves),
            count(aim.budget)
        );
    }
    let target = loss(aim.target);
    match d.reached {
        (Some(left), Some(then)) => {
            let what = if aim.goal == Goal::Time { "the hours" } else { "the tokens" };
            format!(
                "loss {target} after {} tokens, {} if it is left; saves {} of {what} still to go",
                count(then),
                count(left),
                shares(d)
            )
        }
        (None, Some(then)) => {
            format!("loss {target} after {} tokens, which leaving it never reaches", count(then))
        }
        (_, None) => format!("saves {} of what is still to go", percent(d.saves)),
    }
}

/// Within 2 % of the fewest tokens.
fn near_best(e: &Estimate, own: u64) -> bool {
    e.within_2_percent.is_some_and(|[lo, hi]| (lo..=hi).contains(&(own as f64)))
}

fn too_large(e: &Estimate, own: u64) -> bool {
    e.b_opt.high.is_some_and(|h| own as f64 > h) && !near_best(e, own)
}

fn more_than_best(e: &Estimate, own: u64) -> String {
    e.excess(own as f64).map_or("more tokens".into(), more)
}

fn hold_text(
    d: &Decision,
    aim: &Aim,
    c: &Constraints,
    estimate: Option<&Estimate>,
    leave_has_changes: bool,
) -> String {
    if leave_has_changes {
        return "the accepted schedule stands".into();
    }
    if let Some(e) = estimate.filter(|e| c.up_only && too_large(e, c.own)) {
        return format!(
            "{} is too large ({} than at the best); only lowering would help, and this trainer can \
             only raise",
            exact(c.own),
            more_than_best(e, c.own)
        );
    }
    if let Some(why) = &d.none_allowed {
        return format!("no change is allowed: {why}");
    }
    if d.one_end {
        return format!(
            "whether a change from {} saves tokens depends on how fast noise is forgotten, which \
             was not measured",
            exact(c.own)
        );
    }
    let Some(e) = estimate else { return "no change is worth making".into() };
    if near_best(e, c.own) {
        format!("{} is within 2 % of the fewest tokens at loss {}", exact(c.own), loss(e.loss))
    } else if d.planned.is_empty() {
        let own = exact(c.own);
        match aim.goal {
            Goal::Decayed => {
                format!("no change that is allowed comes lower after the decay than {own}")
            }
            _ if d.reached.0.is_none() => {
                format!("neither {own} nor a change that is allowed gets to {}", loss(aim.target))
            }
            Goal::Time => format!("no change that is allowed gets there sooner than {own}"),
            _ => format!("no change that is allowed gets there with fewer tokens than {own}"),
        }
    } else {
        format!("no change is worth making now at {}", exact(c.own))
    }
}
