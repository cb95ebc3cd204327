//! What an answer is worth against the truth, the rows of the table and the bars.

use super::cells::{Cell, Kind};
use super::sweep::{Place, Sweep};
use boptop::curve::{Interval, LevelFit, ModelKind, Open};

/// What was said about where the optimum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Nothing,
    Inside,
    /// At or below a size.
    Low,
    High,
}

#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub said: Said,
    pub speaks: Option<ModelKind>,
    /// ln(value/truth).
    pub error: Option<f64>,
    /// The same of the three-stage model, whoever speaks.
    pub three_stage: Option<f64>,
    /// The interval holds the optimum.
    pub covered: bool,
    /// It meets the range within 2 % of E_min.
    pub near: bool,
    /// E/E_min - 1 at the batch size that the answer leads to, against the best one tested.
    pub lost: Option<f64>,
}

fn said(b: &Interval) -> Said {
    match (b.open, b.low, b.high) {
        (Open::None, Some(_), Some(_)) => Said::Inside,
        (Open::Low, _, Some(_)) => Said::Low,
        (Open::High, Some(_), _) => Said::High,
        _ => Said::Nothing,
    }
}

impl Outcome {
    pub fn of(sweep: &Sweep, level: Option<&LevelFit>) -> Outcome {
        let silent = Outcome {
            said: Said::Nothing,
            speaks: None,
            error: None,
            three_stage: None,
            covered: false,
            near: false,
            lost: None,
        };
        let Some(level) = level else { return silent };
        let (b, said) = (level.b_opt, said(&level.b_opt));
        let (low, high) = (b.low.unwrap_or(0.0), b.high.unwrap_or(f64::INFINITY));
        let known = sweep.best.batch_size;
        let reached = level.observed.iter().filter(|o| !o.censored);
        let measured = reached.min_by(|a, b| a.tokens.total_cmp(&b.tokens));
        // Who is told one side takes what was measured best ("at or below the smallest": that one).
        let taken = b.value.or(match said {
            Said::Low | Said::High => measured.map(|o| o.batch_size_tokens.clamp(low, high)),
            Said::Nothing | Said::Inside => None,
        });
        let tokens = |b: f64| sweep.truth.tokens(sweep.loss(), b).unwrap_or(f64::INFINITY);
        let three = level.models.iter().find(|m| m.model == ModelKind::ThreeStage);
        Outcome {
            said,
            speaks: level.model,
            error: b.value.map(|v| (v / known).ln()),
            three_stage: three.and_then(|m| m.b_opt.value).map(|v| (v / known).ln()),
            covered: low <= known && known <= high,
            near: low <= sweep.best.near[1] && sweep.best.near[0] <= high,
            lost: taken.map(|b| (tokens(b) / sweep.tested.tokens - 1.0).max(0.0)),
        }
    }
}

/// One answer beside the truth, for a person who looks into a cell.
pub fn told(cell: &Cell, seed: u64, sweep: &Sweep, level: Option<&LevelFit>) -> String {
    let best = sweep.best;
    let mut text = format!(
        "{} #{seed}: truth {:.4e}, within 2 % {:.3e} to {:.3e}, sizes over it",
        cell.name(),
        best.batch_size,
        best.near[0],
        best.near[1]
    );
    for b in &sweep.sizes {
        text.push_str(&format!(" {:.2}", b / best.batch_size));
    }
    let Some(level) = level else { return text };
    let over = |x: Option<f64>| x.map_or("?".into(), |x| format!("{:.2}", x / best.batch_size));
    let iv = |b: &Interval| format!("{} ({} to {})", over(b.value), over(b.low), over(b.high));
    let name = level.model.map_or("none", ModelKind::as_str);
    text.push_str(&format!("\n  {} {name}: {}", iv(&level.b_opt), level.why));
    for o in &level.observed {
        let e = sweep.truth.tokens(sweep.loss(), o.batch_size_tokens);
        let e = e.map_or("never".into(), |e| format!("{:.3}", e / best.tokens));
        let mark = if o.censored { ">" } else { "" };
        text.push_str(&format!(
            "\n    {mark}{:.3} se {:.3}, truth {e}",
            o.tokens / best.tokens,
            o.se_ln
        ));
    }
    for m in &level.models {
        let why = m.refused.as_deref().unwrap_or("");
        let held = m.held_out_ln_e.unwrap_or(f64::NAN);
        text.push_str(&format!(
            "\n    {} {} held out {held:.3} {why}",
            m.model.as_str(),
            iv(&m.b_opt)
        ));
    }
    text
}

fn quantile(values: impl Iterator<Item = f64>, q: f64) -> f64 {
    let mut v: Vec<f64> = values.collect();
    v.sort_by(f64::total_cmp);
    let at = (v.len() as f64 - 1.0).max(0.0) * q;
    v.get(at.round() as usize).copied().unwrap_or(f64::NAN)
}

/// Of some outcomes: how many there are, and how many of them hold the truth.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    hits: usize,
    of: usize,
}

impl Share {
    fn of(outcomes: impl Iterator<Item = bool>) -> Share {
        outcomes.fold(Share::default(), |s, hit| Share {
            hits: s.hits + usize::from(hit),
            of: s.of + 1,
        })
    }

    fn add(&mut self, other: Share) {
        self.hits += other.hits;
        self.of += other.of;
    }

    fn value(self) -> f64 {
        if self.of == 0 { f64::NAN } else { self.hits as f64 / self.of as f64 }
    }

    fn percent(self) -> String {
        if self.of == 0 { "-".into() } else { format!("{:.0}", 100.0 * self.value()) }
    }
}

/// What coverage is asked of: the optimum itself where the model can have the truth's form.
fn holds(cell: &Cell, o: &Outcome) -> bool {
    if cell.own() { o.covered } else { o.near }
}

fn coverage(cell: &Cell, outcomes: &[Outcome], which: impl Fn(Said) -> bool) -> Share {
    Share::of(outcomes.iter().filter(|o| which(o.said)).map(|o| holds(cell, o)))
}

/// Of answers with two sides: how many hold the optimum itself, whatever is asked of the cell.
fn itself(outcomes: &[Outcome]) -> Share {
    Share::of(outcomes.iter().filter(|o| o.said == Said::Inside).map(|o| o.covered))
}

fn right_side(cell: &Cell, o: &Outcome) -> bool {
    match cell.place {
        Place::Inside => o.said == Said::Inside,
        Place::Below => o.said == Said::Low,
        Place::Above => o.said == Said::High,
    }
}

fn number(x: f64, digits: usize) -> String {
    if x.is_finite() { format!("{x:.digits$}") } else { "-".into() }
}

pub const HEAD: &str = "\
                                      |     said, %     | ln(B/true)  | 90 % holds,       % |   lost, %     | speaks, %
truth, batch sizes, noise             |   ?  in  <=  >= |   med   p95 | all  in 1-side B_opt|    med    p95 |";

pub fn row(cell: &Cell, outcomes: &[Outcome]) -> String {
    let share = |s: Said| Share::of(outcomes.iter().map(|o| o.said == s)).percent();
    let errors = || outcomes.iter().filter_map(|o| o.error).map(f64::abs);
    let lost = |q| 100.0 * quantile(outcomes.iter().filter_map(|o| o.lost), q);
    let one_sided = |s| matches!(s, Said::Low | Said::High);
    let mut who = String::new();
    let kinds = [
        (Some(ModelKind::Joint), "joint"),
        (Some(ModelKind::NoFloor), "no floor"),
        (Some(ModelKind::Smooth), "smooth"),
        (Some(ModelKind::ThreeStage), "three"),
        (Some(ModelKind::Classical), "classical"),
        (None, "none"),
    ];
    for (kind, name) in kinds {
        let s = Share::of(outcomes.iter().map(|o| o.speaks == kind));
        if s.hits > 0 {
            who.push_str(&format!(" {name} {}", s.percent()));
        }
    }
    format!(
        "{:<38}| {:>3} {:>3} {:>3} {:>3} | {:>5} {:>5} | {:>3} {:>3} {:>6} {:>5}| {:>6} {:>6} |{who}",
        cell.name(),
        share(Said::Nothing),
        share(Said::Inside),
        share(Said::Low),
        share(Said::High),
        number(quantile(errors(), 0.5), 3),
        number(quantile(errors(), 0.95), 2),
        coverage(cell, outcomes, |s| s != Said::Nothing).percent(),
        coverage(cell, outcomes, |s| s == Said::Inside).percent(),
        coverage(cell, outcomes, one_sided).percent(),
        itself(outcomes).percent(),
        number(lost(0.5), 2),
        number(lost(0.95), 2),
    )
}

type Rows = [(Cell, Vec<Outcome>)];

fn bar(text: &mut String, what: &str, got: f64, met: bool) {
    let met = if got.is_nan() {
        "-"
    } else if met {
        "met"
    } else {
        "MISSED"
    };
    text.push_str(&format!("{what:<86} {got:>8.4}  {met}\n"));
}

/// Each bar with its figure.
pub fn bars(rows: &Rows) -> String {
    let mut text = String::new();
    let of = |f: &dyn Fn(&Cell) -> bool| -> Vec<&Outcome> {
        rows.iter().filter(|r| f(&r.0)).flat_map(|r| &r.1).collect()
    };
    let cell = |kind, sizes, noise: f64| {
        move |c: &Cell| {
            (c.kind, c.place, c.sizes) == (kind, Place::Inside, sizes)
                && (c.noise - noise).abs() < 1e-9
        }
    };
    let errors = |v: &[&Outcome]| quantile(v.iter().filter_map(|o| o.error).map(f64::abs), 0.5);
    let x = errors(&of(&cell(Kind::Joint, 8, 0.005)));
    bar(&mut text, "joint on its own truth, 8 sizes, 0.005: median |ln| <= 0.02", x, x <= 0.02);
    let x = errors(&of(&cell(Kind::Joint, 5, 0.015)));
    bar(&mut text, "joint on its own truth, 5 sizes, 0.015: median |ln| <= 0.06", x, x <= 0.06);
    let three = of(&cell(Kind::Stages, 12, 0.01));
    let x = quantile(three.iter().filter_map(|o| o.three_stage).map(f64::abs), 0.5);
    bar(
        &mut text,
        "three-stage model on its own truth, 12 sizes: median |ln| <= 0.10",
        x,
        x <= 0.1,
    );
    let inside = |c: &Cell| c.place == Place::Inside;
    for (what, own, most) in
        [("a model's own truth", true, [0.002, 0.02]), ("a foreign truth", false, [0.01, 0.03])]
    {
        let v = of(&|c: &Cell| inside(c) && c.own() == own);
        for (q, name, most) in [(0.5, "median", most[0]), (0.95, "95th percentile", most[1])] {
            let x = quantile(v.iter().filter_map(|o| o.lost), q);
            let what = format!("tokens lost on {what}, {name} <= {most}");
            bar(&mut text, &what, x, x <= most);
        }
    }
    honesty(&mut text, rows);
    text
}

fn honesty(text: &mut String, rows: &Rows) {
    let answered = |s| s != Said::Nothing;
    let (mut all, mut inner, mut sides) = (Share::default(), Share::default(), Share::default());
    let mut outside = Vec::new();
    for (cell, outcomes) in rows {
        let s = coverage(cell, outcomes, answered);
        all.add(s);
        inner.add(coverage(cell, outcomes, |s| s == Said::Inside));
        sides.add(coverage(cell, outcomes, |s| matches!(s, Said::Low | Said::High)));
        let slack = |p: f64| 3.0 * (p * (1.0 - p) / s.of.max(1) as f64).sqrt();
        if s.of > 0 && !(0.85 - slack(0.85)..=0.95 + slack(0.95)).contains(&s.value()) {
            outside.push(format!("{} ({} %)", cell.name(), s.percent()));
        }
    }
    let x = all.value();
    bar(text, "coverage of nominal 90 %, pooled, 0.85 to 0.95", x, (0.85..=0.95).contains(&x));
    let x = inner.value();
    bar(text, "the same of answers with two sides", x, (0.85..=0.95).contains(&x));
    let mut own = Share::default();
    rows.iter().for_each(|r| own.add(itself(&r.1)));
    let x = own.value();
    bar(
        text,
        "the same, asked of the optimum itself on foreign truths too",
        x,
        (0.85..=0.95).contains(&x),
    );
    let x = sides.value();
    bar(text, "the same of answers with one side, which may be right more often", x, x >= 0.85);
    let x = outside.len() as f64;
    bar(text, "cells beyond three standard errors of 85 to 95 %, 0", x, outside.is_empty());
    for o in outside {
        text.push_str(&format!("    {o}\n"));
    }
    let rival: Vec<&Outcome> =
        rows.iter().filter(|r| r.0.kind == Kind::Rival).flat_map(|r| &r.1).collect();
    let x = Share::of(rival.iter().map(|o| o.said != Said::Inside)).value();
    bar(text, "no inner optimum claimed on the rival's truth >= 0.90", x, x >= 0.9);
    for (place, name) in [(Place::Below, "below"), (Place::Above, "above")] {
        let rows = rows.iter().filter(|r| r.0.place == place);
        let x = Share::of(rows.flat_map(|r| r.1.iter().map(|o| right_side(&r.0, o)))).value();
        bar(
            text,
            &format!("optimum {name} the sizes: one-sided on that side >= 0.90"),
            x,
            x >= 0.9,
        );
    }
}
