//! One self-contained page about one run, to be attached to a ticket: no script, nothing loaded from
//! elsewhere, every word of a log escaped, light and dark, fit for paper.

mod forecast;
mod page;
mod parts;

use crate::snapshot::{GroupFit, LevelFit, RunView, Snapshot};
use page::{Html, head};

/// The page about a run of the snapshot; `None` where it has no such run. `version` is boptop's;
/// `pictures` are plots with their titles, as SVG elements of our own making.
pub fn report(
    snapshot: &Snapshot,
    run: &str,
    version: &str,
    pictures: &[(&str, String)],
) -> Option<String> {
    let view = snapshot.runs.iter().find(|r| r.id == run)?;
    let group = group_of(snapshot, view);
    let mut html = Html::default();
    parts::summary(&mut html, view);
    parts::estimate(&mut html, view, group);
    for (title, svg) in pictures {
        html.picture(title, svg);
    }
    if let Some(level) = group.and_then(|g| level_of(view, g)) {
        parts::curve(&mut html, level);
    }
    if let Some(group) = group {
        parts::levels(&mut html, group);
        parts::runs(&mut html, group);
    }
    if let Some(plan) = &view.plan {
        parts::schedule(&mut html, plan);
    }
    parts::control(&mut html, &view.control);
    forecast::against_outcome(&mut html, &view.control);
    parts::decisions(&mut html, &view.control);
    parts::refused(&mut html, group);
    parts::files(&mut html, snapshot, view);
    Some(head(run, snapshot.at, version, &html.finish()))
}

fn group_of<'a>(snapshot: &'a Snapshot, view: &RunView) -> Option<&'a GroupFit> {
    let groups = &snapshot.fit.report.groups;
    let named = groups.iter().find(|g| Some(&g.id) == view.group.as_ref());
    named.or_else(|| groups.iter().find(|g| g.runs.iter().any(|r| r.id == view.id)))
}

/// The level nearest to the run's loss at which a model speaks, else the lowest one that does.
fn level_of<'a>(view: &RunView, group: &'a GroupFit) -> Option<&'a LevelFit> {
    let spoken = || group.levels.iter().filter(|l| l.model.is_some());
    let far = |l: &LevelFit, loss: f64| (l.loss - loss).abs();
    match view.loss.filter(|l| l.is_finite()) {
        Some(loss) => spoken().min_by(|a, b| far(a, loss).total_cmp(&far(b, loss))),
        None => spoken().min_by(|a, b| a.loss.total_cmp(&b.loss)),
    }
    .or(group.levels.last())
}

#[cfg(test)]
mod tests;
