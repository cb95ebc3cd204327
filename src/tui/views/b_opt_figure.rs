//! B_opt over all loss levels, and over tokens, with the runs and the marks that others use.

use super::curve_figure::falling_loss;
use super::run_figure::nearest;
use crate::snapshot::*;
use crate::tui::plot::{Axis, Chart, Dash, Figure, Lens, Mark, Panel, Scale, along};
use crate::tui::theme::Role;
use crate::tui::words;
use crate::units;

/// A mark that lies farther from all B_opt than this factor is named, not drawn: it would press the
/// estimate flat.
const FAR: f64 = 20.0;

/// Levels whose B_opt is a number: (loss, low, value, high).
fn known(group: &GroupFit) -> Vec<(&LevelFit, [f64; 3])> {
    let levels = group.levels.iter();
    levels
        .filter_map(|l| {
            let v = l.b_opt.value?;
            Some((l, [l.b_opt.low.unwrap_or(v), v, l.b_opt.high.unwrap_or(v)]))
        })
        .collect()
}

/// Whether a mark is near enough to the estimates to be drawn beside them.
fn is_near(known: &[(&LevelFit, [f64; 3])], mark: impl Iterator<Item = f64>) -> bool {
    let low = known.iter().map(|k| k.1[1]).fold(f64::INFINITY, f64::min);
    let high = known.iter().map(|k| k.1[1]).fold(0.0, f64::max);
    mark.into_iter().any(|m| m >= low / FAR && m <= high * FAR)
}

/// The words for MiniCPM's mark: its name, or where it lies if that is off the plot.
fn minicpm_words(near: bool, loss: f64, b_opt: f64) -> (String, Role) {
    match minicpm_mark(loss).filter(|_| !near) {
        Some(b) => {
            let side = if b > b_opt { "above" } else { "below" };
            (format!("  MiniCPM {}, far {side}", units::count(b)), Role::Dim)
        }
        None => ("  MiniCPM".into(), Role::Other),
    }
}

/// B_opt over the loss, the loss falling to the right; `None` where no level has one.
pub(crate) fn over_loss(
    snapshot: &Snapshot,
    group: &GroupFit,
    level: &LevelFit,
    lens: &Lens,
) -> Option<Figure> {
    let known = known(group);
    let runs = || snapshot.runs.iter().filter(|r| r.group.as_ref() == Some(&group.id));
    let mark: Vec<[f64; 2]> =
        known.iter().filter_map(|(l, _)| Some([-l.loss, minicpm_mark(l.loss)?])).collect();
    let near = is_near(&known, mark.iter().map(|m| m[1]));
    let b = known.iter().flat_map(|k| k.1).chain(runs().filter_map(|r| r.batch_size));
    let b = b.chain(mark.iter().map(|m| m[1]).filter(|_| near));
    let whole = [
        falling_loss(known.iter().map(|(l, _)| l.loss))?,
        Axis::around(b, lens.scale_y(Scale::Log), 0.1, units::count)?,
    ];
    let (x, y) = (lens.part_x(whole[0]), lens.part_y(whole[1]));
    let mut marks = vec![
        Mark::Band {
            points: known.iter().map(|(l, [low, _, high])| [-l.loss, *low, *high]).collect(),
            role: Role::BatchOpt,
        },
        Mark::Line {
            points: known.iter().map(|(l, b)| [-l.loss, b[1]]).collect(),
            role: Role::BatchOpt,
            dash: Dash::Solid,
            layer: 3,
        },
        Mark::Vertical { x: -level.loss, role: Role::Guide, dash: Dash::Sparse },
    ];
    if near {
        marks.extend(reference(mark, "MiniCPM"));
    }
    for r in runs() {
        if let (Some(loss), Some(b)) = (r.loss, r.batch_size) {
            marks.push(Mark::Symbol { at: [-loss, b], symbol: '●', role: Role::BatchNow });
            marks.push(Mark::Label { at: vec![[-loss, b]], text: r.id.clone(), role: Role::Dim });
        }
    }
    marks.extend(lens.cursor_mark());
    let title = match lens.cursor.and_then(|x| level_at(&known, -x)) {
        Some(words) => vec![(words, Role::Strong)],
        None => vec![
            ("B_opt, tokens, over the loss".into(), Role::BatchOpt),
            ("  runs now".into(), Role::BatchNow),
            minicpm_words(near, level.loss, level.b_opt.value.unwrap_or(0.0)),
        ],
    };
    Some(Figure {
        title: "B_opt over the loss (stable phase)".into(),
        x_name: "loss",
        panels: vec![Panel { title, chart: Chart { x, y, marks }, share: 4, rank: 0 }],
        focus: [-level.loss, level.b_opt.value.unwrap_or(f64::NAN)],
        whole,
    })
}

fn level_at(known: &[(&LevelFit, [f64; 3])], loss: f64) -> Option<String> {
    let (l, _) = nearest(known, loss, |k| k.0.loss)?;
    Some(format!(
        "loss {} · B_opt {} · E_min {}{}",
        units::loss(l.loss),
        words::interval(&l.b_opt),
        words::interval(&l.e_min_tokens),
        minicpm_mark(l.loss).map_or(String::new(), |b| format!(" · MiniCPM {}", units::count(b)))
    ))
}

/// A dotted line with its name.
fn reference(points: Vec<[f64; 2]>, name: &str) -> [Mark; 2] {
    let at = along(&points, 0.75);
    [
        Mark::Line { points, role: Role::Other, dash: Dash::Dotted, layer: 2 },
        Mark::Label { at, text: name.into(), role: Role::Other },
    ]
}

/// B_opt over the tokens at which the best batch size reaches each level, with the sizes that the
/// runs trained at, what the selected run should have done, and the marks that others use.
pub(crate) fn over_tokens(
    snapshot: &Snapshot,
    group: &GroupFit,
    selected: Option<&RunView>,
    lens: &Lens,
) -> Option<Figure> {
    let known = known(group);
    let at = |l: &LevelFit| l.e_min_tokens.value.filter(|e| *e > 0.0);
    let levels: Vec<[f64; 4]> =
        known.iter().filter_map(|(l, [low, v, high])| Some([at(l)?, *low, *v, *high])).collect();
    let mark: Vec<[f64; 2]> =
        known.iter().filter_map(|(l, _)| Some([at(l)?, minicpm_mark(l.loss)?])).collect();
    let near = is_near(&known, mark.iter().map(|m| m[1]));
    let runs: Vec<&RunView> = snapshot
        .runs
        .iter()
        .map(AsRef::as_ref)
        .filter(|r| r.group.as_ref() == Some(&group.id))
        .collect();
    let own = selected.filter(|r| r.group.as_ref() == Some(&group.id));
    let doubling = own.map(doubling).unwrap_or_default();
    let last = runs.iter().filter_map(|r| r.tokens).fold(0.0, f64::max);
    let first = levels.first().map_or(f64::NAN, |l| l[0]);
    let t = levels.iter().map(|l| l[0]).chain([first / 2.0, last]);
    let b = levels.iter().flat_map(|l| [l[1], l[2], l[3]]);
    let b = b.chain(runs.iter().flat_map(|r| r.plots.batch_size.iter().map(|s| s[1])));
    let b = b.chain(mark.iter().map(|m| m[1]).filter(|_| near));
    let whole = [
        Axis::around(t, lens.scale_x(Scale::Log), 0.03, units::count)?,
        Axis::around(b, lens.scale_y(Scale::Log), 0.1, units::count)?,
    ];
    let (x, y) = (lens.part_x(whole[0]), lens.part_y(whole[1]));
    let mut marks = vec![
        Mark::Band {
            points: levels.iter().map(|l| [l[0], l[1], l[3]]).collect(),
            role: Role::BatchOpt,
        },
        Mark::Line {
            points: levels.iter().map(|l| [l[0], l[2]]).collect(),
            role: Role::BatchOpt,
            dash: Dash::Solid,
            layer: 4,
        },
    ];
    marks.extend(trained(&runs, own, &x));
    if near {
        marks.extend(reference(mark, "MiniCPM"));
    }
    if let Some(last) = doubling.last().copied() {
        marks.push(Mark::Stairs {
            points: doubling,
            until: x.high,
            role: Role::Planned,
            dash: Dash::Dotted,
            layer: 3,
        });
        marks.push(Mark::Label { at: vec![last], text: "doubling".into(), role: Role::Planned });
    }
    marks.extend(lens.cursor_mark());
    Some(Figure {
        title: "B_opt over tokens (stable phase)".into(),
        x_name: "tokens",
        panels: vec![Panel {
            title: tokens_title(&known, own, near, lens),
            chart: Chart { x, y, marks },
            share: 4,
            rank: 0,
        }],
        focus: [own.and_then(|r| r.tokens).unwrap_or(last), f64::NAN],
        whole,
    })
}

/// The sizes that the runs trained at, the selected one's before the others.
fn trained(runs: &[&RunView], own: Option<&RunView>, x: &Axis) -> Vec<Mark> {
    let mut marks = Vec::new();
    for run in runs {
        let is_own = own.is_some_and(|o| o.id == run.id);
        marks.push(Mark::Stairs {
            // A logarithmic axis has no zero.
            points: run.plots.batch_size.iter().map(|s| [s[0].max(x.low), s[1]]).collect(),
            until: run.tokens.unwrap_or(f64::NAN),
            role: if is_own { Role::BatchNow } else { Role::Guide },
            dash: if is_own { Dash::Solid } else { Dash::Sparse },
            layer: if is_own { 3 } else { 1 },
        });
        if let (Some(t), Some(b)) = (run.tokens, run.batch_size) {
            let (symbol, role) = ('●', if is_own { Role::BatchNow } else { Role::Dim });
            marks.push(Mark::Symbol { at: [t, b], symbol, role });
        }
    }
    marks
}

/// The rule of arXiv 2505.23971 with B_opt in the place of its critical batch size: from the run's
/// first batch size on, twice as much each time B_opt has come to that. (tokens, batch size)
fn doubling(run: &RunView) -> Vec<[f64; 2]> {
    let Some([from, mut b]) = run.plots.batch_size.first().copied() else { return Vec::new() };
    let mut out = vec![[from.max(1.0), b]];
    for [tokens, _, value, _] in &run.plots.b_opt {
        while b > 0.0 && *value >= 2.0 * b && value.is_finite() {
            b *= 2.0;
            out.push([*tokens, b]);
        }
    }
    out
}

fn tokens_title(
    known: &[(&LevelFit, [f64; 3])],
    own: Option<&RunView>,
    near: bool,
    lens: &Lens,
) -> Vec<(String, Role)> {
    let at = lens.cursor.and_then(|t| {
        let (l, _) = nearest(known, t.ln(), |k| k.0.e_min_tokens.value.unwrap_or(f64::NAN).ln())?;
        let e = l.e_min_tokens.value?;
        Some(format!("{} tokens · {}", units::exact(e as u64), level_at(known, l.loss)?))
    });
    if let Some(words) = at {
        return vec![(words, Role::Strong)];
    }
    let mut title = vec![("B_opt at E_min".into(), Role::BatchOpt)];
    if let Some(run) = own {
        title.push((format!("  B of {}", run.id), Role::BatchNow));
        title.push(("  doubling at 2B".into(), Role::Planned));
    }
    if let Some((level, [_, b_opt, _])) = known.last() {
        title.push(minicpm_words(near, level.loss, *b_opt));
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;
    use std::sync::Arc;

    #[test]
    fn the_doubling_rule_waits_until_b_opt_is_twice_the_batch() {
        let mut run = (*fixture::sweep().runs[1]).clone();
        let plots = Arc::make_mut(&mut run.plots);
        plots.batch_size = vec![[0.0, 16.0]];
        plots.b_opt = [(1e6, 20.0), (2e6, 31.0), (3e6, 32.5), (4e6, 140.0), (5e6, f64::NAN)]
            .map(|(t, b)| [t, b, b, b])
            .to_vec();
        assert_eq!(doubling(&run), [[1.0, 16.0], [3e6, 32.0], [4e6, 64.0], [4e6, 128.0]]);
    }
}
