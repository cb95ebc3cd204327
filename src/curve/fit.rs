//! The whole estimate: runs to groups to laws and levels to a report. Pure and deterministic.

use super::data::usable;
use super::level_fit::{Laws, Level};
use super::memory::{self, Measured};
use super::model::{AnyLaw, LAWS, Refusal};
use super::report::{
    FitReport, GroupFit, LawFit, LeftOutSize, LevelFit, Refused, RunUse, WindowScore,
};
use super::series::{ConstantSeries, Group};
use super::uncertainty;
use super::window::{Window, Windows};
use super::{GroupOptions, Law, Memory, group_runs, levels, observe};
use crate::run::RunData;
use crate::units::{self, count};

/// What a person may ask of a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Loss levels to report instead of the usual ones; nats.
    pub at_loss: Vec<f64>,
    pub group: GroupOptions,
    /// How many levels are chosen where none is asked for.
    pub levels: usize,
    /// Resampled fits behind each interval.
    pub draws: usize,
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        FitOptions {
            at_loss: Vec::new(),
            group: GroupOptions::default(),
            levels: 12,
            draws: 200,
            seed: 1,
        }
    }
}

/// Fits all groups of runs. Never fails: what cannot be told is in `refused`, with what it needs.
pub fn fit(runs: &[RunData], options: &FitOptions) -> FitReport {
    let groups = group_runs(runs, &options.group);
    let groups = groups.iter().map(|group| {
        let mut fit = fit_group(group, options);
        for run in &mut fit.runs {
            if let Some(data) = runs.iter().find(|r| r.id == run.id) {
                describe(run, data, group);
            }
        }
        fit
    });
    FitReport { groups: groups.collect() }
}

fn describe(run: &mut RunUse, data: &RunData, group: &Group) {
    let known = |x: f64| Some(x).filter(|x| x.is_finite());
    run.paths.clone_from(&data.paths);
    run.batch_size_tokens = data.batch_size().or(run.batch_size_tokens);
    run.steps = known(data.step());
    run.tokens = known(data.tokens());
    run.phase = data.phase();
    if run.loss_last.is_none() {
        let last = group.switched.iter().find(|s| s.run == run.id).and_then(|s| s.bins.last());
        run.loss_last =
            last.map(|b| b.loss).or_else(|| data.train.loss.last().and_then(|l| known(*l)));
    }
}

/// Fits one group.
pub fn fit_group(group: &Group, options: &FitOptions) -> GroupFit {
    let series = usable(group);
    let windows = Windows::fit(&series);
    let mut refused = Vec::new();
    let best = windows.best();
    let mut laws = Laws { rival: best.and_then(Window::rival), ..Laws::default() };
    match joint(&windows, &series) {
        Ok(_) => laws.joint = best.and_then(Window::joint),
        Err(refusal) => {
            refused.push(Refused {
                what: "joint law".into(),
                why: refusal.has.clone(),
                needs: refusal.needs.clone(),
            });
            laws.refusal = Some(refusal);
        }
    }
    let mut law = None;
    if let (Some(window), Some(fitted)) = (best, laws.joint) {
        laws.draws = resample(&windows, options);
        laws.windows = comparable(&windows).map(|(_, f)| f.law).collect();
        law = law_fit(group, &windows, window, &laws, &mut refused);
        debug_assert!(matches!(fitted.law, AnyLaw::Floor(_)));
    }
    let levels = fit_levels(group, &laws, options);
    silent_levels(&levels, &mut refused);
    GroupFit { id: group.id.clone(), lr: group.lr, runs: runs(group), law, levels, refused }
}

fn runs(group: &Group) -> Vec<RunUse> {
    let of = |m: &super::Member| {
        let series = group.constant.iter().find(|s| s.run == m.run);
        let last = series.and_then(|s| s.bins.last());
        RunUse {
            id: m.run.clone(),
            paths: Vec::new(),
            batch_size_tokens: series.map(|s| s.batch_size),
            steps: last.map(|b| b.steps),
            tokens: series.map(|s| s.to_tokens),
            loss_last: last.map(|b| b.loss),
            phase: None,
            used: m.used,
            why: m.why.clone(),
        }
    };
    group.members.iter().map(of).collect()
}

/// Whether there is a joint law, and what it lacks where there is none.
fn joint(windows: &Windows, series: &[&ConstantSeries]) -> Result<(), Refusal> {
    let needed = LAWS[0].sizes_needed();
    let mut sizes: Vec<f64> = series.iter().map(|s| s.batch_size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup_by(|a, b| (*a / *b).ln().abs() < 1e-3);
    let Some(window) = windows.best().filter(|w| w.set.sizes.len() >= needed) else {
        let list: Vec<String> = sizes.iter().map(|b| count(*b)).collect();
        let has = match list.len() {
            0 => "no run at a constant batch size in its stable phase".to_string(),
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

/// Which batch sizes would help: a factor of two apart, around those there are.
fn more_sizes(sizes: &[f64], needed: usize) -> String {
    let missing = needed.saturating_sub(sizes.len()).max(1);
    let (Some(&low), Some(&high)) = (sizes.first(), sizes.last()) else {
        return format!("runs at {needed} batch sizes, each twice the one before, at one learning rate");
    };
    let ideas: Vec<String> = [low / 2.0, high * 2.0, low / 4.0, high * 4.0]
        .iter()
        .take(missing.max(2))
        .map(|b| count(*b))
        .collect();
    format!("{missing} more at the same learning rate, such as {}", ideas.join(" or "))
}

fn comparable(windows: &Windows) -> impl Iterator<Item = (&Window, &super::window::Fitted)> {
    windows.comparable.iter().filter_map(|&i| {
        let window = windows.all.get(i)?;
        Some((window, window.joint()?))
    })
}

/// Resampled laws: half of the draws on the best window, the other half shared by those that cannot
/// be told from it.
fn resample(windows: &Windows, options: &FitOptions) -> Vec<AnyLaw> {
    let mut draws = Vec::new();
    let mut take = |window: &Window, count: usize, seed: u64| {
        if let Some(f) = window.joint() {
            let laws = uncertainty::law_draws(f.model, &f.law, &window.set, count, seed);
            draws.extend(laws.into_iter().map(AnyLaw::Floor));
        }
    };
    let others: Vec<usize> =
        windows.comparable.iter().copied().filter(|&i| i != windows.best).collect();
    let on_best = if others.is_empty() { options.draws } else { options.draws / 2 };
    if let Some(best) = windows.best() {
        take(best, on_best, options.seed);
    }
    for (k, &i) in others.iter().enumerate() {
        let share = (options.draws - on_best) * (k + 1) / others.len()
            - (options.draws - on_best) * k / others.len();
        take(&windows.all[i], share, options.seed.wrapping_add(i as u64 + 1));
    }
    draws
}

fn law_fit(
    group: &Group,
    windows: &Windows,
    window: &Window,
    laws: &Laws<'_>,
    refused: &mut Vec<Refused>,
) -> Option<LawFit> {
    let fitted = laws.joint?;
    let AnyLaw::Floor(law) = fitted.law else { return None };
    let measured = memory::measure(&law, &group.switched);
    let (memory, memory_checks) = match measured {
        Ok(Measured { memory, checks }) => (memory, checks),
        Err(refusal) => {
            refused.push(Refused {
                what: "memory (tau, p)".into(),
                why: refusal.has,
                needs: refusal.needs,
            });
            (Memory::SLOW, Vec::new())
        }
    };
    let scores = windows.all.iter().enumerate().map(|(i, w)| WindowScore {
        burn_in_steps: w.burn_in,
        held_out_nats: w.joint().and_then(|j| j.held_out_nats()),
        comparable: windows.comparable.contains(&i),
    });
    let as_law = |l: &AnyLaw| match l {
        AnyLaw::Floor(law) => Some(*law),
        AnyLaw::NoFloor(_) => None,
    };
    let draws: Vec<Law> = laws.draws.iter().filter_map(as_law).collect();
    let left_out = fitted.left_out.iter();
    Some(LawFit {
        law,
        memory,
        rms_nats: fitted.rms_nats,
        held_out_nats: fitted.held_out_nats(),
        on: group.on,
        burn_in_steps: window.burn_in,
        batch_sizes: [*window.set.sizes.first()?, *window.set.sizes.last()?],
        losses: window.set.losses(),
        left_out: left_out
            .map(|l| LeftOutSize { batch_size_tokens: l.batch_size, rms_nats: l.rms_nats })
            .collect(),
        rival_held_out_nats: laws.rival.and_then(|r| r.held_out_nats()),
        windows: scores.collect(),
        memory_checks,
        draws,
    })
}

fn fit_levels(group: &Group, laws: &Laws<'_>, options: &FitOptions) -> Vec<LevelFit> {
    let mut at: Vec<f64> = options.at_loss.iter().copied().filter(|l| l.is_finite()).collect();
    if at.is_empty() {
        at = levels(group, options.levels);
    }
    at.sort_by(|a, b| b.total_cmp(a));
    at.dedup();
    let fitted: Vec<Level> = at.iter().map(|&l| Level::fit(l, observe(group, l), laws)).collect();
    let scores: Vec<_> = fitted.iter().map(|l| l.scores.clone()).collect();
    fitted
        .into_iter()
        .enumerate()
        .map(|(i, l)| l.finish(i, &scores, laws, group.on, options.draws, options.seed))
        .collect()
}

/// Levels at which nothing speaks, said once for each reason.
fn silent_levels(levels: &[LevelFit], refused: &mut Vec<Refused>) {
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
