//! Which runs are fitted together, and what of them enters a fit.
//!
//! One learning-rate plateau (1 %) makes a group; only the stable phase enters; a declining or an
//! unknown schedule is refused with its reason; the same training counts once; a run that drifts
//! upward has no floor to fit and is named.

use super::binning::{self, Window};
use super::copies::shared_until;
use super::{ConstantSeries, Group, LossKind, Member, Stretch, SwitchedSeries};
use crate::run::{Phase, RunData, Schedule, Segment};
use crate::units;

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

/// Relative difference of learning rates within one group.
const SAME_LR: f64 = 0.01;
/// Validation losses that a fit needs: in all, and of each batch size.
const DENSE: usize = 20;
const DENSE_EACH: usize = 8;
/// Train noise over validation noise above which the validation loss is preferred.
const NOISIER: f64 = 3.0;
/// Bins, and ratio of tokens, that the first stretch of a switched run needs to count by itself.
const FIRST_STRETCH: (usize, f64) = (12, 4.0);
/// Bins below which a series does not tell its own noise.
const SPARSE: usize = 24;
/// Fewest bins of a series.
const FEWEST: usize = 3;

/// A run with its stable part.
struct Candidate<'a> {
    run: &'a RunData,
    lr: Option<f64>,
    group: String,
    stable: Result<Stable, String>,
}

#[derive(Debug, Clone)]
struct Stable {
    from_steps: f64,
    from_tokens: f64,
    to_tokens: f64,
    /// Segments up to the end of the stable phase.
    segments: Vec<Segment>,
}

/// Groups runs by the learning rate of their plateau, in order of the learning rate; runs that
/// cannot be fitted are members that are not used, with the reason.
pub fn group_runs(runs: &[RunData], options: &GroupOptions) -> Vec<Group> {
    let mut candidates: Vec<Candidate<'_>> = runs
        .iter()
        .map(|run| {
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
            group(id, &members, options)
        })
        .collect()
}

/// Learning rate of the first plateau.
fn plateau(run: &RunData) -> Option<f64> {
    let first = run.phases.spans.iter().find(|s| s.phase == Phase::Stable)?;
    first.lr
}

/// The stable phase of a run: from its first plateau to whatever ends it.
fn stable(run: &RunData) -> Result<Stable, String> {
    match run.phases.schedule {
        Schedule::Declining | Schedule::Unknown => return Err(run.phases.why.clone()),
        Schedule::Wsd | Schedule::Absent => {}
    }
    if run.train.is_empty() {
        return Err("nothing read yet".into());
    }
    let mut spans = run.phases.spans.iter().skip_while(|s| s.phase != Phase::Stable);
    let Some(first) = spans.next() else { return Err("still in its warmup".into()) };
    let same = |lr: Option<f64>| match (lr, first.lr) {
        (Some(a), Some(b)) => (a / b - 1.0).abs() <= SAME_LR,
        (a, b) => a.is_none() && b.is_none(),
    };
    let mut end = first.range.end;
    for s in spans.take_while(|s| s.phase == Phase::Stable && same(s.lr)) {
        end = s.range.end;
    }
    let at = |column: &[f64], i: usize| column.get(i).copied().unwrap_or(f64::NAN);
    let (from, last) = (first.range.start, end.saturating_sub(1));
    let out = Stable {
        from_steps: at(&run.train.step, from),
        from_tokens: at(&run.train.tokens, from),
        to_tokens: at(&run.train.tokens, last),
        segments: run.segments.iter().filter(|s| s.range.start < end).cloned().collect(),
    };
    if out.segments.is_empty() {
        return Err("no batch size is known: give one (--batch-size), or --seq-len where it is logged in sequences".into());
    }
    if !(out.from_tokens.is_finite() && out.to_tokens > out.from_tokens && out.to_tokens > 0.0) {
        return Err("its stable phase has only just begun".into());
    }
    Ok(out)
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

fn group(id: String, candidates: &[&Candidate<'_>], options: &GroupOptions) -> Group {
    let excluded = |c: &&&Candidate<'_>| options.excluded.iter().any(|p| matches(p, &c.run.id));
    let usable: Vec<(&RunData, &Stable)> = candidates
        .iter()
        .filter(|c| !excluded(c))
        .filter_map(|c| c.stable.as_ref().ok().map(|s| (c.run, s)))
        .collect();
    let on = options.on.unwrap_or_else(|| choose_loss(&usable));
    let mut out = Group {
        id,
        lr: candidates.iter().find_map(|c| c.lr),
        on,
        members: Vec::new(),
        constant: Vec::new(),
        switched: Vec::new(),
    };
    for c in candidates {
        let (used, why) = if excluded(&c) {
            (false, Some("left out by hand".into()))
        } else {
            match &c.stable {
                Err(why) => (false, Some(why.clone())),
                Ok(s) => enter(&mut out, c, s, &usable),
            }
        };
        out.members.push(Member { run: c.run.id.clone(), used, why });
    }
    share_noise(&mut out.constant);
    out
}

/// A handful of evaluations does not tell its own noise: such series take the median of all such.
fn share_noise(series: &mut [ConstantSeries]) {
    let sparse = |s: &&mut ConstantSeries| s.bins.len() < SPARSE;
    let mut all: Vec<f64> =
        series.iter_mut().filter(sparse).flat_map(|s| s.bins.iter().map(|b| b.se)).collect();
    all.sort_by(f64::total_cmp);
    let Some(&se) = all.get(all.len() / 2) else { return };
    for b in series.iter_mut().filter(sparse).flat_map(|s| s.bins.iter_mut()) {
        b.se = se;
    }
}

/// Puts a run's series into the group; whether it serves the constant-batch models, and why not.
fn enter(
    group: &mut Group,
    c: &Candidate<'_>,
    s: &Stable,
    usable: &[(&RunData, &Stable)],
) -> (bool, Option<String>) {
    let run = c.run;
    let Some(first) = s.segments.first() else { return (false, None) };
    let switched = s.segments.len() > 1;
    if switched {
        group.switched.push(switched_series(run, s, group.on));
    }
    let to = if switched { first.to_tokens.min(s.to_tokens) } else { s.to_tokens };
    let original = original(run, s, usable);
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
    let bins = binning::constant(columns(run, group.on), window);
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

fn columns(run: &RunData, on: LossKind) -> &crate::run::Columns {
    match on {
        LossKind::Train => &run.train,
        LossKind::Val => &run.validation,
    }
}

fn switched_series(run: &RunData, s: &Stable, on: LossKind) -> SwitchedSeries {
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
                binning::constant(columns(run, on), window)
            } else {
                binning::after_switch(columns(run, on), window, g.from_step)
            });
        }
    }
    SwitchedSeries { run: run.id.clone(), stretches, bins }
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

/// Validation where there is no train loss, or where it is dense at every batch size and the train
/// loss is several times noisier; else train.
fn choose_loss(usable: &[(&RunData, &Stable)]) -> LossKind {
    let window = |s: &Stable| Window { from: s.from_tokens, to: s.to_tokens, closed: true };
    let train: usize = usable.iter().map(|(r, s)| window(s).points(&r.train)).sum();
    let val: usize = usable.iter().map(|(r, s)| window(s).points(&r.validation)).sum();
    if train == 0 && val > 0 {
        return LossKind::Val;
    }
    let mut sizes: Vec<(f64, usize)> = Vec::new();
    for (r, s) in usable {
        let Some(b) = s.segments.first().map(|g| g.batch_size) else { continue };
        let n = window(s).points(&r.validation);
        match sizes.iter_mut().find(|(x, _)| (x / b - 1.0).abs() < 1e-3) {
            Some((_, m)) => *m += n,
            None => sizes.push((b, n)),
        }
    }
    let dense = val >= DENSE && !sizes.is_empty() && sizes.iter().all(|(_, n)| *n >= DENSE_EACH);
    let noise = |f: fn(&RunData) -> &crate::run::Columns| {
        let mut se: Vec<f64> = usable
            .iter()
            .flat_map(|(r, s)| binning::constant(f(r), window(s)))
            .map(|b| b.se)
            .collect();
        se.sort_by(f64::total_cmp);
        se.get(se.len() / 2).copied().unwrap_or(f64::NAN)
    };
    if dense && noise(|r| &r.train) > NOISIER * noise(|r| &r.validation) {
        LossKind::Val
    } else {
        LossKind::Train
    }
}
