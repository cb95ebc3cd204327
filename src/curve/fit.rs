//! The whole estimate: runs to groups to laws and levels to a report. Pure and deterministic.

use super::along::{self, Along, Shown};
use super::data::usable;
use super::decay;
use super::future::{self, PAST, PastLaw, PastLevel};
use super::joint::TOLD_FROM;
use super::lacking;
use super::level::Points;
use super::level_choice::{choose, scores};
use super::level_fit::Level;
use super::level_laws::{Laws, WindowLaw, windows_at};
use super::levels::Curves;
use super::memory::{self, Measured};
use super::model::{AnyLaw, Refusal};
use super::other_loss::{self, Beside};
use super::provisional;
use super::report::{
    FitReport, GroupFit, LawFit, LeftOutSize, LevelFit, ModelScore, Refused, RunUse, VariantScore,
    WindowScore,
};
use super::series::{ConstantSeries, Group, Observation};
use super::threads;
use super::trend;
use super::uncertainty;
use super::warm::{Draws, Spread, Spreads};
use super::window::{Fitted, Window, Windows};
use super::{GroupOptions, Law, Memory, MemorySource, group_runs};
use crate::run::RunData;
use std::borrow::Borrow;

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
pub fn fit<R: Borrow<RunData>>(runs: &[R], options: &FitOptions) -> FitReport {
    let groups = group_runs(runs, &options.group);
    let groups = groups.iter().map(|group| {
        let mut fit = fit_group(group, options);
        for run in &mut fit.runs {
            if let Some(data) = runs.iter().map(Borrow::borrow).find(|r| r.id == run.id) {
                describe(run, data);
            }
        }
        fit
    });
    FitReport { groups: groups.collect() }
}

pub(super) fn describe(run: &mut RunUse, data: &RunData) {
    let known = |x: f64| Some(x).filter(|x| x.is_finite());
    run.paths.clone_from(&data.paths);
    run.batch_size_tokens = data.batch_size().or(run.batch_size_tokens);
    run.steps = known(data.step());
    run.tokens = known(data.tokens());
    run.phase = data.phase();
    run.loss_last = crate::run::loss_now(data);
    // The first rows after a change are paced by those before it.
    let told = data.segments.len() == 1 || data.segments.last().is_some_and(|s| s.range.len() > 10);
    run.tokens_per_second = crate::run::throughput(data).filter(|r| told && *r > 0.0);
}

/// A group and what all its models share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub group: &'a Group,
    pub series: Vec<&'a ConstantSeries>,
    /// The group at half-time.
    half: Group,
}

impl<'a> Shared<'a> {
    pub fn new(group: &'a Group) -> Shared<'a> {
        Shared { group, series: usable(group), half: future::past(group, PAST) }
    }
}

/// Fits one group.
pub fn fit_group(group: &Group, options: &FitOptions) -> GroupFit {
    let shared = Shared::new(group);
    let windows = Windows::fit(&shared.series);
    fit_with(&shared, &windows, options, Spread::Fresh).fit
}

/// A fit, the draws behind its intervals, and whether there were all of them.
#[derive(Debug)]
pub(super) struct Made {
    pub fit: GroupFit,
    pub draws: Draws,
    pub whole: bool,
}

/// The fit of a group from its windows.
pub(super) fn fit_with(
    shared: &Shared<'_>,
    windows: &Windows,
    options: &FitOptions,
    from: Spread<'_>,
) -> Made {
    let (group, series) = (shared.group, &shared.series);
    let half_series = usable(&shared.half);
    let mut refused = Vec::new();
    let best = windows.best();
    let past = |w: &Window, f: &Fitted| future::law(f, w, series, &half_series);
    let mut laws = Laws {
        rival: best.and_then(Window::rival),
        wander: best.map_or(0.0, Window::wander),
        ..Laws::default()
    };
    laws.rival_past = best.zip(laws.rival).and_then(|(w, f)| past(w, f));
    let mut tentative = None;
    let constant = lacking::joint(windows, series);
    let carries = along::carries(group, series);
    // A law of first stretches that are a small part of what was trained is asked second.
    let changes = match &constant {
        Ok(()) if !carries => None,
        _ => along::fit(group, series, (options.draws, options.seed)),
    };
    match (constant, &changes) {
        (Err(refusal), Some(Ok(_))) => laws.refusal = Some(refusal),
        (Ok(()), Some(Ok(_))) => laws.refusal = Some(lacking::first_stretches()),
        (Ok(()), _) => laws.windows = window_laws(windows, past, options, from),
        (Err(refusal), _) => {
            tentative = provisional::fit(windows, series, &group.switched);
            refused.push(refused_because("joint law", refusal.clone()));
            laws.refusal = Some(refusal);
        }
    }
    if let Some(Err(refusal)) = &changes {
        refused.push(refused_because("law from batch changes", refusal.clone()));
    }
    let law = best.and_then(|w| {
        law_fit(shared, &half_series, (windows, w), &laws, options.seed, &mut refused)
    });
    let Leveled { mut levels, scores, draws, beside, whole } =
        fit_levels(shared, &laws, options, from);
    let mut runs = runs(group);
    let law = match changes {
        Some(Ok(Along { law, runs: changed })) => {
            let count = if options.at_loss.is_empty() { options.levels } else { 0 };
            along::fill(&mut levels, &law, Shown { count, overrules: carries });
            along::used(&mut runs, &changed);
            Some(law)
        }
        _ => law,
    };
    lacking::silent_levels(&levels, &mut refused);
    let mut notes = trend::notes(&levels);
    notes.extend(tentative.as_ref().map(provisional::words));
    let kept = |w: &WindowLaw<'_>| ((w.burn_in, w.variation), w.draws.clone());
    let draws = Draws { windows: laws.windows.iter().map(kept).collect(), levels: draws, beside };
    let fit = GroupFit {
        id: group.id.clone(),
        lr: group.lr,
        runs,
        law,
        provisional: tentative,
        scores,
        levels,
        notes,
        refused,
    };
    Made { fit, draws, whole }
}

fn refused_because(what: &str, refusal: Refusal) -> Refused {
    Refused { what: what.into(), why: refusal.has, needs: refusal.needs }
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
            loss_last: None,
            phase: None,
            tokens_per_second: None,
            used: m.used,
            why: m.why.clone(),
        }
    };
    group.members.iter().map(of).collect()
}

/// What is refused where no memory was measured, as [`Refused::what`].
pub const MEMORY: &str = "memory (tau, p)";

/// Draws of the law that get a memory of their own: each costs a fit.
const WITH_MEMORY: usize = 48;

/// The joint law of every window and the comparable variants of the best one, each with its share of
/// the draws.
fn window_laws<'a>(
    windows: &'a Windows,
    past: impl Fn(&Window, &Fitted) -> Option<PastLaw> + Sync,
    options: &FitOptions,
    from: Spread<'_>,
) -> Vec<WindowLaw<'a>> {
    let own = windows.all.iter().enumerate().filter_map(|(i, w)| {
        let comparable = windows.comparable.contains(&i);
        Some((w, w.joint()?, None, i == windows.best, comparable))
    });
    let alike: Vec<_> = windows.variants.iter().filter(|v| v.comparable).collect();
    // Every window has the same share, the best one whatever its laws are.
    let own: Vec<_> = own.collect();
    let share = options.draws / if own.len() > 1 { 2 } else { 1 };
    let split = share / (1 + alike.len());
    let varied = alike.iter().map(|v| (&v.window, &v.fitted, Some(v.variation), false, true));
    let fitted: Vec<_> = own.into_iter().chain(varied).collect();
    threads::map(&fitted, |i, &(window, fitted, variation, best, comparable)| {
        let seed = options.seed.wrapping_add(i as u64);
        let draws = match from {
            Spread::Kept(kept) => kept.window((window.burn_in, variation)),
            Spread::Fresh => {
                let count = if best || variation.is_some() { split } else { share };
                let laws =
                    uncertainty::law_draws(fitted.model, &fitted.law, &window.set, count, seed);
                laws.into_iter().map(AnyLaw::Floor).collect()
            }
        };
        WindowLaw {
            fitted,
            burn_in: window.burn_in,
            variation,
            best,
            comparable,
            past: past(window, fitted),
            draws,
        }
    })
}

fn law_fit(
    shared: &Shared<'_>,
    half: &[&ConstantSeries],
    (windows, window): (&Windows, &Window),
    laws: &Laws<'_>,
    seed: u64,
    refused: &mut Vec<Refused>,
) -> Option<LawFit> {
    let (group, series) = (shared.group, &shared.series);
    let fitted = laws.joint()?;
    let AnyLaw::Floor(law) = fitted.law else { return None };
    let measured = memory::measure(&law, series, &group.switched);
    let (memory, memory_checks) = match measured {
        Ok(Measured { memory, checks, .. }) => (memory, checks),
        Err(refusal) => {
            refused.push(refused_because(MEMORY, refusal));
            (Memory::SLOW, Vec::new())
        }
    };
    let decay = match decay::measure(&law, &memory, series, &group.decayed) {
        Ok(decay) => Some(decay),
        Err(refusal) => {
            refused.push(refused_because("the loss after a decay (delta)", refusal));
            None
        }
    };
    let scores = windows.all.iter().enumerate().map(|(i, w)| WindowScore {
        burn_in_steps: w.burn_in,
        held_out_nats: w.joint().and_then(|j| j.held_out_nats()),
        comparable: windows.comparable.contains(&i),
    });
    let variants = windows.variants.iter().map(|v| VariantScore {
        variation: v.variation,
        held_out_nats: v.fitted.held_out_nats(),
        comparable: v.comparable,
    });
    let as_law = |l: &AnyLaw| match l {
        AnyLaw::Floor(law) => Some(*law),
        AnyLaw::NoFloor(_) => None,
    };
    let told_apart = |w: &&WindowLaw<'_>| w.best || w.comparable;
    let told_apart = || laws.windows.iter().filter(told_apart);
    let draws: Vec<Law> = told_apart().flat_map(|w| &w.draws).filter_map(as_law).collect();
    let excess_nats = excess(fitted, window, series, half);
    let share = uncertainty::share_of_factor(
        window.set.sizes.len(),
        window.set.noise(),
        excess_nats.unwrap_or(fitted.rms_nats),
    );
    let narrowed: Vec<Law> = told_apart()
        .filter_map(|w| Some((as_law(&w.fitted.law)?, &w.draws)))
        .flat_map(|(centre, draws)| {
            draws.iter().filter_map(as_law).map(move |l| uncertainty::nearer(&l, &centre, share))
        })
        .collect();
    let some = narrowed.iter().step_by(narrowed.len().div_ceil(WITH_MEMORY).max(1));
    let with_memory = if memory.source == MemorySource::Measured {
        memory::redrawn((&law, &memory), some, series, &group.switched, seed)
    } else {
        some.map(|l| (*l, memory)).collect()
    };
    let left_out = fitted.left_out.iter();
    let all_switched: Vec<_> = group.switched.iter().collect();
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
        future_nats: laws.past().map(|p| p.rms_nats),
        rival_future_nats: laws.rival_past.as_ref().map(|p| p.rms_nats),
        windows: scores.collect(),
        variants: variants.collect(),
        memory_checks,
        memory_before: memory::before_raises(&law, series, &all_switched, &memory),
        decay,
        along_changes: false,
        q_believed: window.set.sizes.len() < TOLD_FROM,
        saved: false,
        draws,
        with_memory,
        noise_nats: window.set.noise(),
        excess_nats,
    })
}

/// What a law misses what it was not fitted to by, nats beyond the noise: the second halves of the
/// runs, or the batch sizes left out, whichever it misses by more. An rms m over a factor of two
/// beyond the data ends at sqrt(3) m where it grows linearly; a size left out lies at that end.
fn excess(
    fitted: &Fitted,
    window: &Window,
    series: &[&ConstantSeries],
    half: &[&ConstantSeries],
) -> Option<f64> {
    let set = &window.set;
    let beyond = |h: f64| h * h - set.noise().powi(2) - set.noise_error();
    let left_out = fitted.held_out_nats().map(|h| (beyond(h).max(0.0) / 3.0).sqrt());
    let later = future::excess(fitted, window, series, half);
    left_out.into_iter().chain(later).reduce(f64::max)
}

/// All levels of a group.
struct Leveled {
    levels: Vec<LevelFit>,
    scores: Vec<ModelScore>,
    /// The spreads of the one-level models, and whether all were there.
    draws: Vec<(f64, Spreads)>,
    beside: Vec<(f64, Option<Beside>)>,
    whole: bool,
}

fn fit_levels(
    shared: &Shared<'_>,
    laws: &Laws<'_>,
    options: &FitOptions,
    from: Spread<'_>,
) -> Leveled {
    let (curves, then) = (Curves::of(shared.group), Curves::of(&shared.half));
    let mut at: Vec<f64> = options.at_loss.iter().copied().filter(|l| l.is_finite()).collect();
    if at.is_empty() {
        at = curves.levels(options.levels);
    }
    at.sort_by(|a, b| b.total_cmp(a));
    at.dedup();
    let observed: Vec<Vec<Observation>> = threads::map(&at, |_, &l| curves.observe(l, laws.wander));
    let points: Vec<Points> = observed.iter().map(|o| Points::pool(o)).collect();
    let windows = windows_at(&at, &points, &laws.windows);
    let fitted: Vec<Level> = threads::map(&at, |i, &loss| {
        let past = PastLevel::new(&then, loss, &points[i]);
        let (observed, points) = (observed[i].clone(), points[i].clone());
        Level::fit(loss, observed, points, windows[i].clone(), &past, laws)
    });
    let spreads =
        threads::map(&fitted, |i, level| level.spreads(i, laws, from, options.draws, options.seed));
    let (choices, scores) = (choose(&fitted), scores(&fitted));
    let mut whole = spreads.iter().all(|(_, whole)| *whole);
    let beside: Vec<Option<Beside>> = match (&shared.group.other, from) {
        (None, _) => vec![None; at.len()],
        (Some(other), Spread::Fresh) => {
            other_loss::says(&curves, other, &fitted, &choices, options.seed)
        }
        (Some(_), Spread::Kept(kept)) => {
            let known: Vec<_> = at.iter().map(|l| kept.beside(*l)).collect();
            whole &= known.iter().all(Option::is_some);
            known.into_iter().map(Option::flatten).collect()
        }
    };
    let draws = fitted.iter().zip(&spreads).map(|(l, (s, _))| l.keep(s)).collect();
    let levels = threads::map(&fitted, |i, level| {
        let spread = (&*spreads[i].0, beside[i].as_ref());
        level.finish(choices[i].as_ref(), spread, laws, shared.group.on)
    });
    let beside = at.into_iter().zip(beside).collect();
    Leveled { levels, scores, draws, beside, whole }
}
