//! What the data do not tell, and what would.

use super::model::{LAWS, Refusal};
use super::report::{LevelFit, Refused};
use super::series::ConstantSeries;
use super::window::Windows;
use crate::units::{self, count};

/// Whether there is a joint law, and what it lacks where there is none.
pub(super) fn joint(windows: &Windows, series: &[&ConstantSeries]) -> Result<(), Refusal> {
    let needed = LAWS[0].sizes_needed();
    let mut sizes: Vec<f64> = series.iter().map(|s| s.batch_size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup_by(|a, b| (*a / *b).ln().abs() < 1e-3);
    let Some(window) = windows.best().filter(|w| w.set.sizes.len() >= needed) else {
        let list: Vec<String> = sizes.iter().map(|b| count(*b)).collect();
        let has = match list.len() {
            0 => "no run at a constant batch size in its stable phase".to_string(),
            n if n >= needed => return Err(too_short(windows, &list, needed)),
            n => format!("{n} of {needed} batch sizes needed: {}", list.join(", ")),
        };
        return Err(Refusal::new(has, more_sizes(&sizes, needed)));
    };
    if window.joint().is_some() {
        return Ok(());
    }
    let refusal = window.laws.iter().find_map(|f| f.refusal.clone());
    Err(refusal.unwrap_or_else(Refusal::not_finite))
}

/// Why the runs at constant batch size are not asked although they are enough.
pub(super) fn first_stretches() -> Refusal {
    Refusal::new(
        "most of what was trained came after changes of the batch size, and the law along these \
         speaks",
        "nothing",
    )
}

/// There are enough sizes, and too few of them go on after the burn-in.
fn too_short(windows: &Windows, sizes: &[String], needed: usize) -> Refusal {
    let long = windows.all.iter().map(|w| w.set.sizes.len()).max().unwrap_or(0);
    Refusal::new(
        format!(
            "{long} of {needed} batch sizes needed were trained far enough past the burn-in, of {} \
             there are ({})",
            sizes.len(),
            sizes.join(", ")
        ),
        format!("longer runs at {} more of these sizes", needed.saturating_sub(long).max(1)),
    )
}

/// Which batch sizes would help: a factor of two apart, around those there are.
fn more_sizes(sizes: &[f64], needed: usize) -> String {
    let missing = needed.saturating_sub(sizes.len()).max(1);
    let (Some(&low), Some(&high)) = (sizes.first(), sizes.last()) else {
        return format!(
            "runs at {needed} batch sizes, each twice the one before, at one learning rate"
        );
    };
    let ideas: Vec<String> = [low / 2.0, high * 2.0, low / 4.0, high * 4.0]
        .iter()
        .take(missing.max(2))
        .map(|b| count(*b))
        .collect();
    format!("{missing} more at the same learning rate, such as {}", ideas.join(" or "))
}

/// Levels at which nothing speaks, said once for each reason.
pub(super) fn silent_levels(levels: &[LevelFit], refused: &mut Vec<Refused>) {
    for level in levels.iter().filter(|l| l.model.is_none()) {
        let (why, needs) = level.why.split_once("; needs ").unwrap_or((&level.why, "more runs"));
        refused.push(Refused {
            what: format!("B_opt at loss {}", units::loss(level.loss)),
            why: why.to_string(),
            needs: needs.to_string(),
        });
    }
    if levels.is_empty() {
        refused.push(Refused {
            what: "B_opt".into(),
            why: "no loss was reached by two runs within their stable phase".into(),
            needs: "runs at several batch sizes and one constant learning rate, past their warmup"
                .into(),
        });
    }
}
