//! Which runs are fitted together, and what of them enters a fit.
//!
//! One learning-rate plateau (1 %) makes a group; only the stable phase enters; a declining or an
//! unknown schedule is refused with its reason; the same training counts once; a run that drifts
//! upward has no floor to fit and is named.

use super::binning::{self, Window};
use super::copies::shared_until;
use super::kept::Kept;
use super::stable::{SAME_LR, Stable, choose_loss, columns, dense, plateau, stable};
use super::{
    ConstantSeries, DecayPiece, DecayedSeries, Group, LossKind, Member, Stretch, SwitchedSeries,
};
use crate::run::{Phase, RunData, Schedule};
use crate::units;
use std::borrow::Borrow;

/// What a person says about the groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupOptions {
    /// The loss to fit; `None`: chosen by density and noise.
    pub on: Option<LossKind>,
    /// Runs left out, by id or glob.
    pub excluded: Vec<String>,
    /// (id or glob, group): puts runs in a group by hand; the first match counts.
    pub groups: Vec<(String, String)>,
}

/// Bins, and ratio of tokens, that the first stretch of a switched run needs to count by itself.
const FIRST_STRETCH: (usize, f64) = (12, 4.0);
/// Fewest bins of a series.
const FEWEST: usize = 3;

/// A run with its stable part.
struct Candidate<'a> {
    run: &'a RunData,
    lr: Option<f64>,
    group: String,
    stable: Result<Stable, String>,
}

/// Groups runs by the learning rate of their plateau, in order of the learning rate; runs that
/// cannot be fitted are members that are not used, with the reason.
pub fn group_runs<R: Borrow<RunData>>(runs: &[R], options: &GroupOptions) -> Vec<Group> {
    let runs: Vec<&RunData> = runs.iter().map(Borrow::borrow).collect();
    grouped(&runs, options, &Kept::default())
}

/// [`group_runs`], with the bins that there are already.
pub(super) fn grouped(runs: &[&RunData], options: &GroupOptions, bins: &Kept) -> Vec<Group> {
    let mut candidates: Vec<Candidate<'_>> = runs
        .iter()
        .map(|&run| {
            let stable = stable(run);
            let lr = plateau(run);
            Candidate { run, lr, group: String::new(), stable }
        })
        .collect();
    name_groups(&mut candidates, &options.groups);
    // The order of the runs must not matter.
    candidates.sort_by(|a, b| a.run.id.cmp(&b.run.id));
    let mut names: Vec<(f64, String)> =
        candidates.iter().map(|c| (c.lr.unwrap_or(f64::INFINITY), c.group.clone())).collect();
    names.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    let mut seen: Vec<String> = Vec::new();
    for (_, name) in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen.into_iter()
        .map(|id| {
            let members: Vec<&Candidate<'_>> =
                candidates.iter().filter(|c| c.group == id).collect();
            group(id, &members, options, bins)
        })
        .collect()
}

fn name_groups(candidates: &mut [Candidate<'_>], by_hand: &[(String, String)]) {
    let mut rates: Vec<f64> = candidates.iter().filter_map(|c| c.lr).collect();
    rates.sort_by(f64::total_cmp);
    // Clusters of rates whose neighbours are within 1 % of the cluster's first.
    let mut firsts: Vec<f64> = Vec::new();
    for r in rates {
        if firsts.last().is_none_or(|f| r > f * (1.0 + SAME_LR)) {
            firsts.push(r);
        }
    }
    for c in candidates {
        let named = by_hand.iter().find(|(pattern, _)| matches(pattern, &c.run.id));
        c.group = match (named, c.lr, c.run.phases.schedule) {
            (Some((_, group)), _, _) => group.clone(),
            (_, _, Schedule::Declining | Schedule::Unknown) => "no plateau".into(),
            (_, Some(lr), _) => {
                let i = firsts.partition_point(|f| *f <= lr).saturating_sub(1);
                format!("lr {}", units::learning_rate(firsts.get(i).copied().unwrap_or(lr)))
            }
            (_, None, Schedule::Absent) => "lr unknown".into(),
            (_, None, _) => "warmup".into(),
        };
    }
}

/// Whether an id is meant by an id or a glob.
fn matches(pattern: &str, id: &str) -> bool {
    pattern == id || globset::Glob::new(pattern).is_ok_and(|g| g.compile_matcher().is_match(id))
}

fn excluded(run: &RunData, options: &GroupOptions) -> bool {
    options.excluded.iter().any(|p| matches(p, &run.id))
}

fn group(id: String, candidates: &[&Candidate<'_>], options: &GroupOptions, bins: &Kept) -> Group {
    let usable: Vec<(&RunData, &Stable)> = candidates
        .iter()
        .filter(|c| !excluded(c.run, options))
        .filter_map(|c| c.stable.as_ref().ok().map(|s| (c.run, s)))
        .collect();
    let on = options.on.unwrap_or_else(|| choose_loss(&usable, bins));
    let beside = match on {
        LossKind::Train => LossKind::Val,
        LossKind::Val => LossKind::Train,
    };
    let of = |on| on_loss(&id, candidates, (&usable, options), on, bins);
    let other = dense(&usable, beside).then(|| Group {
        switched: Vec::new(),
        decayed: Vec::new(),
        ..of(beside)
    });
    Group { other: other.map(Box::new), ..of(on) }
}

/// The group by one loss.
fn on_loss(
    id: &str,
    candidates: &[&Candidate<'_>],
    (usable, options): (&[(&RunData, &Stable)], &GroupOptions),
    on: LossKind,
    bins: &Kept,
) -> Group {
    let mut out = Group {
        id: id.to_string(),
        lr: candidates.iter().find_map(|c| c.lr),
        on,
        members: Vec::new(),
        constant: Vec::new(),
        switched: Vec::new(),
        decayed: Vec::new(),
        other: None,
    };
    for c in candidates {
        let (used, why) = if excluded(c.run, options) {
            (false, Some("left out by hand".into()))
        } else {
            match &c.stable {
                Err(why) => (false, Some(why.clone())),
                Ok(s) => {
                    out.decayed.extend(decayed(c.run, s, out.on));
                    enter(&mut out, c, s, usable, bins)
                }
            }
        };
        out.members.push(Member { run: c.run.id.clone(), used, why });
    }
    binning::share_noise(&mut out.constant);
    out
}

/// Puts a run's series into the group; whether it serves the constant-batch models, and why not.
fn enter(
    group: &mut Group,
    c: &Candidate<'_>,
    s: &Stable,
    usable: &[(&RunData, &Stable)],
    kept: &Kept,
) -> (bool, Option<String>) {
    let run = c.run;
    let Some(first) = s.segments.first() else { return (false, None) };
    let switched = s.segments.len() > 1;
    let original = original(run, s, usable);
    if switched {
        let shared = original.is_some();
        group.switched.push(switched_series(run, s, (group.on, shared), kept));
    }
    let to = if switched { first.to_tokens.min(s.to_tokens) } else { s.to_tokens };
    let from = original.as_ref().map_or(s.from_tokens, |(_, shared)| shared.max(s.from_tokens));
    if let Some((name, shared)) = &original
        && (to / from.max(1.0)).ln() < 0.1 * (to / s.from_tokens.max(1.0)).ln().max(1e-9) + 0.1
    {
        let tail = if switched { "; what follows its batch changes tests the memory" } else { "" };
        return (
            false,
            Some(format!(
                "the same training as {name} up to {} tokens: counts once{tail}",
                units::count(*shared)
            )),
        );
    }
    let window = Window { from, to, closed: original.is_none() };
    let bins = kept.constant(run, group.on, window);
    if switched && (bins.len() < FIRST_STRETCH.0 || to < FIRST_STRETCH.1 * from) {
        return (false, Some("changes its batch size: tests the memory; its first stretch is too short to count by itself".into()));
    }
    if bins.len() < FEWEST {
        let what = if group.on == LossKind::Val { "validation losses" } else { "losses" };
        return (
            false,
            Some(format!(
                "only {} {what} in its stable phase",
                window.points(columns(run, group.on))
            )),
        );
    }
    let drifts_upward = binning::drifts_upward(&bins);
    group.constant.push(ConstantSeries {
        run: run.id.clone(),
        batch_size: first.batch_size,
        bins,
        stable_from_steps: s.from_steps,
        stable_from_tokens: s.from_tokens,
        to_tokens: to,
        drifts_upward,
    });
    if drifts_upward {
        return (
            false,
            Some(
                "its smoothed loss rises through the late stable phase: it has no floor to fit"
                    .into(),
            ),
        );
    }
    (true, remark(run, original, switched))
}

/// What to know of a run that is used.
fn remark(run: &RunData, original: Option<(String, f64)>, switched: bool) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    if let Some((name, shared)) = original {
        words.push(format!(
            "the same training as {name} up to {} tokens: used from there",
            units::count(shared)
        ));
    }
    if switched {
        words.push(
            "changes its batch size: its first stretch is used, the rest tests the memory".into(),
        );
    }
    if run.phases.schedule == Schedule::Absent {
        words.push("no learning rate is logged: assumed constant".into());
    }
    if run.phases.spans.iter().any(|s| s.phase == Phase::Decay) {
        words.push("used up to its decay".into());
    }
    (!words.is_empty()).then(|| words.join("; "))
}

fn switched_series(
    run: &RunData,
    s: &Stable,
    (on, shared): (LossKind, bool),
    kept: &Kept,
) -> SwitchedSeries {
    let mut stretches = Vec::new();
    let mut bins = Vec::new();
    for (k, g) in s.segments.iter().enumerate() {
        let last = k + 1 == s.segments.len();
        stretches
            .push(Stretch { batch_size: g.batch_size, steps: g.to_step - g.from_step.max(0.0) });
        let from = g.from_tokens.max(s.from_tokens);
        let to = if last { s.to_tokens } else { g.to_tokens };
        if to > from {
            let window = Window { from, to, closed: from >= s.from_tokens && k == 0 };
            bins.extend(if k == 0 {
                kept.constant(run, on, window)
            } else {
                kept.after_switch(run, on, window, g.from_step)
            });
        }
    }
    SwitchedSeries { run: run.id.clone(), shared, stretches, bins }
}

/// The decay of a run that stayed at one batch size, in pieces of equal steps.
fn decayed(run: &RunData, s: &Stable, on: LossKind) -> Option<DecayedSeries> {
    const PIECES: usize = 20;
    let [only] = run.segments.as_slice() else { return None };
    let end = run.phases.spans.iter().rposition(|x| x.phase == Phase::Stable)?;
    let decay = run.phases.spans.get(end + 1).filter(|x| x.phase == Phase::Decay)?;
    let plateau = run.phases.spans[end].lr.filter(|lr| *lr > 0.0)?;
    let c = columns(run, on);
    let begun = *run.train.step.get(decay.range.start.checked_sub(1)?)?;
    let done = *run.train.step.get(decay.range.end.checked_sub(1)?)?;
    let rows = c.step.partition_point(|x| *x <= begun)..c.step.partition_point(|x| *x <= done);
    let width = (done - begun) / PIECES as f64;
    let mut sums = [(0.0, 0.0, 0.0); PIECES];
    for i in rows.filter(|&i| c.loss[i].is_finite() && c.lr[i].is_finite()) {
        let k = (((c.step[i] - begun) / width) as usize).min(PIECES - 1);
        let x = &mut sums[k];
        let w = c.weight(i);
        *x = (x.0 + w * c.lr[i] / plateau, x.1 + w * c.loss[i], x.2 + w);
    }
    let whole = begun > s.from_steps && sums.iter().all(|x| x.2 > 0.0);
    let piece = |x: &(f64, f64, f64)| DecayPiece {
        steps: width,
        rate: (x.0 / x.2).max(0.0),
        loss: x.1 / x.2,
    };
    whole.then(|| DecayedSeries {
        run: run.id.clone(),
        batch_size: only.batch_size,
        plateau_steps: begun,
        pieces: sums.iter().map(piece).collect(),
    })
}

/// The run of which this one is the same training for a while, and up to how many tokens: the one
/// that stays longest at the batch size both begin with, on a tie the first by name.
fn original(run: &RunData, s: &Stable, usable: &[(&RunData, &Stable)]) -> Option<(String, f64)> {
    let reach = |s: &Stable| match s.segments.as_slice() {
        [first, _, ..] => first.to_tokens.min(s.to_tokens),
        _ => s.to_tokens,
    };
    let size = s.segments.first()?.batch_size;
    let mine = reach(s);
    usable
        .iter()
        .filter(|(other, o)| {
            let same_size =
                o.segments.first().is_some_and(|g| (g.batch_size / size - 1.0).abs() < 1e-3);
            let theirs = reach(o);
            let senior = theirs > mine || (theirs == mine && other.id < run.id);
            other.id != run.id && same_size && senior
        })
        .filter_map(|(other, _)| {
            shared_until(run, other, mine).map(|shared| (other.id.clone(), shared))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Record;
    use crate::run::{Assumptions, Recorder, fixture};

    fn member<'a>(groups: &'a [Group], run: &str) -> &'a Member {
        groups.iter().flat_map(|g| &g.members).find(|m| m.run == run).unwrap()
    }

    fn why(groups: &[Group], run: &str) -> String {
        member(groups, run).why.clone().unwrap_or_default()
    }

    /// A run at one batch size whose loss falls as a power of the steps.
    fn made(id: &str, batch: f64, lr: impl Fn(f64) -> Option<f64>, seed: f64) -> RunData {
        let mut r = Recorder::new(id, Assumptions::default());
        for i in 1..=400 {
            let step = f64::from(i) * 10.0;
            // Noise that a second seed does not repeat.
            let noise = 0.01 * (step * 12.9898 + seed).sin();
            r.push(
                0,
                &Record {
                    step: Some(step),
                    tokens: Some(step * batch),
                    loss: Some(2.0 + 9.0 * step.powf(-0.5) + 3.0 * batch.powf(-0.5) + noise),
                    lr: lr(step),
                    ..Record::default()
                },
            );
        }
        r.data()
    }

    #[test]
    fn of_the_real_sweep_each_training_counts_once() {
        let groups = group_runs(&fixture::sweep("mlp_sweep"), &GroupOptions::default());
        assert_eq!(groups.len(), 1);
        assert_eq!((groups[0].id.as_str(), groups[0].lr), ("lr 2e-3", Some(0.002)));
        assert_eq!(groups[0].on, LossKind::Train);
        for (copy, of) in [
            ("b0128_lr2e-3_s1_sched128-256-512", "b0128_lr2e-3_s1"),
            ("b0256_lr2e-3_s1_wsdlinear", "b0256_lr2e-3_s1"),
            ("b0512_lr2e-3_s1_restart", "b0512_lr2e-3_s1"),
            ("b1024_lr2e-3_s1_wsdsqrt", "b1024_lr2e-3_s1"),
        ] {
            assert!(!member(&groups, copy).used);
            assert!(why(&groups, copy).contains(&format!("same training as {of} up to")), "{copy}");
        }
        let sizes: Vec<f64> = groups[0].constant.iter().map(|c| c.batch_size).collect();
        assert_eq!(sizes, [16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0]);
        assert!(groups[0].constant.iter().all(|c| !c.drifts_upward));
        let [switched] = groups[0].switched.as_slice() else { panic!("one run switched") };
        let past: Vec<(f64, f64)> =
            switched.stretches.iter().map(|s| (s.batch_size, s.steps)).collect();
        assert_eq!(past, [(128.0, 78_125.0), (256.0, 39_063.0), (512.0, 39_063.0)]);
        // No bin spans a switch: its steps are within one stretch, and those after it begin at once.
        let after: Vec<f64> = switched
            .bins
            .iter()
            .map(|b| b.steps)
            .filter(|s| *s > 78_125.0 && *s < 117_188.0)
            .collect();
        assert!(after.len() >= 15 && after[0] < 79_500.0, "{after:?}");
        assert!(switched.bins.windows(2).all(|w| w[0].steps < w[1].steps));
    }

    #[test]
    fn of_the_second_sweep_those_that_drift_are_named() {
        let groups = group_runs(&fixture::sweep("mlp2_sweep"), &GroupOptions::default());
        for c in &groups[0].constant {
            assert_eq!(c.drifts_upward, c.batch_size < 500.0, "{}", c.run);
            let m = member(&groups, &c.run);
            assert_eq!(m.used, !c.drifts_upward);
            assert_eq!(m.why.as_deref().unwrap_or("").contains("rises"), c.drifts_upward);
        }
        assert_eq!(groups[0].switched.len(), 2);
    }

    #[test]
    fn learning_rates_schedules_and_hands_make_groups() {
        let line = |s: f64| Some(1e-3 * (1.0 - s / 5000.0));
        let runs = [
            made("a/1", 64.0, |_| Some(1e-3), 0.0),
            made("a/2", 128.0, |_| Some(1.004e-3), 1.0),
            made("b/1", 64.0, |_| Some(2e-3), 2.0),
            made("falls", 64.0, line, 3.0),
            made("silent", 64.0, |_| None, 4.0),
            made("copy", 64.0, |_| Some(1e-3), 0.0),
        ];
        let options = GroupOptions { excluded: vec!["a/2".into()], ..GroupOptions::default() };
        let groups = group_runs(&runs, &options);
        let ids: Vec<&str> = groups.iter().map(|g| g.id.as_str()).collect();
        assert_eq!(ids, ["lr 1e-3", "lr 2e-3", "lr unknown", "no plateau"]);
        assert!(why(&groups, "a/2").contains("by hand"));
        assert!(why(&groups, "falls").contains("no plateau") && !member(&groups, "falls").used);
        assert!(
            why(&groups, "silent").contains("no learning rate") && member(&groups, "silent").used
        );
        assert!(why(&groups, "copy").contains("same training as a/1"));
        let by_hand = GroupOptions {
            groups: vec![("b/*".into(), "mine".into()), ("a/1".into(), "mine".into())],
            ..GroupOptions::default()
        };
        let mine = group_runs(&runs, &by_hand).into_iter().find(|g| g.id == "mine").unwrap();
        assert_eq!(mine.members.iter().map(|m| m.run.as_str()).collect::<Vec<_>>(), ["a/1", "b/1"]);
        let mut other = runs.to_vec();
        other.reverse();
        assert_eq!(group_runs(&other, &options), groups);
    }

    #[test]
    fn the_validation_loss_speaks_where_it_must() {
        let with_val = |id: &str, batch: f64, noise: f64| {
            let mut r = made(id, batch, |_| Some(1e-3), batch);
            r.validation = r.train.clone();
            for (i, l) in r.train.loss.iter_mut().enumerate() {
                *l += noise * ((i * 7919 % 101) as f64 / 50.0 - 1.0);
            }
            r
        };
        let pick = |noise: f64| {
            let runs = [with_val("a", 64.0, noise), with_val("b", 128.0, noise)];
            group_runs(&runs, &GroupOptions::default())[0].on
        };
        assert_eq!((pick(0.0), pick(0.5)), (LossKind::Train, LossKind::Val));
        // The other one stands beside it, where it is dense.
        let both = |runs: &[RunData]| {
            let group = group_runs(runs, &GroupOptions::default()).remove(0);
            (group.on, group.other.map(|o| (o.on, o.constant.len())))
        };
        let mut runs = [with_val("a", 64.0, 0.0), with_val("b", 128.0, 0.0)];
        assert_eq!(both(&runs), (LossKind::Train, Some((LossKind::Val, 2))));
        let chosen = GroupOptions { on: Some(LossKind::Val), ..GroupOptions::default() };
        assert_eq!(group_runs(&runs, &chosen)[0].other.as_ref().unwrap().on, LossKind::Train);
        runs[0].validation.loss[5..].fill(f64::NAN);
        assert_eq!(both(&runs), (LossKind::Train, None));
        let mut silent = with_val("a", 64.0, 0.0);
        silent.train.loss.fill(f64::NAN);
        assert_eq!(group_runs(&[silent], &GroupOptions::default())[0].on, LossKind::Val);
    }
}
