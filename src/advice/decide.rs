//! From the policies to the one schedule that is recommended: commitment, confirmation, the stop
//! rule, and no saving that only one end of an unmeasured memory has.

use super::aim::Aim;
use super::commitment::{continued, to_come};
use super::constraints::{B_MIN_MARGIN, Constraints};
use super::forecast::{Course, Stair};
use super::outcome::{Futures, stairs_of};
use super::own_past::{BumpYield, CONFIRMED};
use super::planner::{Found, Objective, Search, stairs};
use super::policy::{best_single, by_interval, tracking};
use super::schedule::first_change;
use super::stakes::{Stakes, score_on};
use super::verdict::soon_until;
use super::{Entry, Goal, VerdictKind};
use crate::curve::MemorySource;
use crate::units::{count, exact, percent};

/// Less is not worth a change, as a share of what is still to go.
const WORTH: f64 = 0.01;
/// The committed schedule stays while it is this close to the best.
const STAYS: f64 = 0.01;
/// ... or, where the best one begins in the other direction, while it saves this share of it.
const HALF: f64 = 0.5;

/// The schedules of the policies, and the choice.
#[derive(Debug)]
pub struct Decision {
    pub planned: Vec<(u64, u64)>,
    /// Tokens between which the first change of the plan loses next to nothing.
    pub first_between: Option<[f64; 2]>,
    pub tracking: Vec<(u64, u64)>,
    pub interval: Vec<(u64, u64)>,
    pub single: Vec<(u64, u64)>,
    /// `None`: leave the run. Empty: withdraw what is accepted for later.
    pub recommended: Option<Vec<(u64, u64)>>,
    /// Share of what is still to go that the recommendation saves against leaving, at the worse end.
    pub saves: f64,
    /// ... and at the better end of a memory that was not measured.
    pub saves_most: f64,
    /// Cumulative tokens to the target: (if left alone, under the whole plan).
    pub reached: (Option<f64>, Option<f64>),
    /// The memory was not measured.
    pub assumed: bool,
    /// Then: the same two where nothing is forgotten within the horizon.
    pub reached_if_never: Option<(Option<f64>, Option<f64>)>,
    /// The best change saves at one end of a memory that was not measured and not at the other.
    pub one_end: bool,
    /// Why no further change is made, whatever one would save.
    pub stopped: Option<String>,
    /// The first change of the plan has the direction of one that was recommended before.
    pub was_shown: bool,
    /// Tokens by which the plan is put off, since nobody approved its first change when it was due.
    pub late: u64,
    /// Why no other batch size is allowed.
    pub none_allowed: Option<String>,
    pub words: Vec<String>,
}

/// Everything that a choice looks at.
#[derive(Debug)]
pub struct Choice<'a> {
    pub futures: &'a Futures,
    pub constraints: &'a Constraints,
    pub aim: &'a Aim,
    /// Schedule if nothing is changed, with what was accepted for later.
    pub leave: &'a [Entry],
    pub in_force: &'a [Entry],
    pub committed: Option<&'a [Entry]>,
    /// At the present loss.
    pub b_min: Option<f64>,
    pub miss: f64,
    pub bump: Option<BumpYield>,
    /// The run has raised its batch size before.
    pub has_raised: bool,
    /// The verdict before this one.
    pub said: Option<VerdictKind>,
}

impl Choice<'_> {
    fn objective(&self) -> Objective<'_> {
        let target = self.aim.target;
        match self.aim.goal {
            Goal::Stable => Objective::Tokens { target },
            Goal::Time if self.futures.throughput.known() => {
                Objective::Seconds { target, rate: &self.futures.throughput }
            }
            Goal::Time => Objective::Tokens { target },
            Goal::Decayed => {
                Objective::Decayed { from: self.aim.decay_from, budget: self.aim.budget }
            }
            Goal::Interim => Objective::Bounded {
                target,
                bound: self.bound(&self.futures.course),
                // A bound holds whatever the memory may be.
                other: self.futures.other.as_ref().map(|(c, _)| (c, self.bound(c))),
            },
        }
    }

    /// The loss that leaving the run has on the way, a trifle added.
    fn bound(&self, course: &Course) -> Vec<[f64; 2]> {
        let way_stairs = stairs_of(self.leave);
        let way = course.along(&way_stairs);
        let from = course.tokens();
        let to = way.reach(self.aim.target).unwrap_or(self.aim.budget).max(self.aim.budget);
        (1..=24)
            .map(|i| {
                let t = from + (to - from) * f64::from(i) / 24.0;
                let l = way.loss(t);
                [t, l + 1e-3 * (l - course.law().l_inf)]
            })
            .collect()
    }

    /// Share of what is still to go that `a` saves against `b`.
    fn gain(&self, a: f64, b: f64) -> f64 {
        let from = match self.aim.goal {
            Goal::Stable | Goal::Interim => self.constraints.now as f64,
            Goal::Time if !self.futures.throughput.known() => self.constraints.now as f64,
            Goal::Time | Goal::Decayed => 0.0,
        };
        match (a.is_finite(), b.is_finite()) {
            (true, true) => ((b - a) / (b - from).max(1e-9)).clamp(-1e9, 1.0),
            (true, false) => 1.0,
            (false, true) => -1.0,
            (false, false) => 0.0,
        }
    }

    fn of_all(&self) -> &'static str {
        match self.aim.goal {
            Goal::Decayed => "L - L_inf after the decay",
            Goal::Time if self.futures.throughput.known() => "the time to the target",
            _ => "all tokens",
        }
    }

    /// Whether a change at `at` that was shown stays shown for less than it takes to show it: not at
    /// the look at which it is first advised, since what was only planned so far binds nobody.
    fn kept(&self, at: u64) -> bool {
        let advised = matches!(self.said, Some(VerdictKind::Raise | VerdictKind::Lower));
        advised || at as f64 > soon_until(self.constraints)
    }

    fn of_what(&self) -> &'static str {
        match self.aim.goal {
            Goal::Decayed => "L - L_inf after the decay",
            _ => "what is still to go",
        }
    }

    pub fn decide(&self) -> Decision {
        let objective = self.objective();
        let way_stairs = stairs_of(self.leave);
        let leave_way = self.futures.course.along(&way_stairs);
        let left_alone = objective.score(&leave_way);
        let horizon = match self.aim.goal {
            Goal::Decayed => self.aim.decay_from,
            _ => leave_way.reach(self.aim.target).unwrap_or(2.0 * self.aim.budget),
        };
        let never = leave_way.reach(self.aim.target).is_none();
        let at_target = self.futures.course.law().b_min(self.aim.target).unwrap_or(0.0);
        let mut search = Search {
            course: &self.futures.course,
            objective: &objective,
            constraints: self.constraints,
            target: self.aim.target,
            horizon,
            floor: B_MIN_MARGIN * at_target.max(self.b_min.unwrap_or(0.0)),
            latest_first: None,
        };
        let single = best_single(&search);
        if never && self.aim.goal != Goal::Decayed {
            // Left alone it never gets there: another size may, long after any budget.
            let there = self.futures.course.along(&stairs(self.constraints, &single.changes));
            let at = there.reach(self.aim.target).filter(|t| t.is_finite());
            search.horizon = search.horizon.max(at.unwrap_or(0.0));
        }
        let horizon = search.horizon;
        let track = tracking(&search, horizon.max(self.aim.budget));
        search.latest_first = self.committed_at();
        let mut words = Vec::new();
        let planned = self.planned(&search, &single, left_alone, &mut words);
        let planned = self.within_the_end(planned, &search, left_alone);
        let (recommended, saves) =
            self.recommend(&search, &planned, &single, left_alone, &mut words);
        let one_end = recommended.is_none() && self.one_end(&planned.changes, &search, left_alone);
        let ends = self.ends(&planned.changes, &search, left_alone);
        let saves_most = ends[0].max(ends[1]);
        // What is promised is the whole plan, of which the first part may be due alone.
        let whole = stairs(self.constraints, &planned.changes);
        let then = self.futures.course.along(&whole).reach(self.aim.target);
        words.extend(self.past_the_end(
            then.or(leave_way.reach(self.aim.target)),
            &way_stairs,
            &whole,
        ));
        let never = |c: &Course| {
            let reach = |s: &[Stair]| c.along(s).reach(self.aim.target);
            (reach(&way_stairs), reach(&whole))
        };
        Decision {
            reached_if_never: self.futures.never.as_ref().map(never),
            reached: (leave_way.reach(self.aim.target), then),
            first_between: search.first_between(&planned.changes),
            was_shown: planned.changes.first().is_some_and(|c| self.was_shown(c.1)),
            late: self.late(&planned.changes),
            planned: planned.changes,
            tracking: track.changes,
            interval: by_interval(&search, self.aim.budget).changes,
            single: single.changes,
            recommended,
            saves,
            saves_most,
            assumed: self.futures.memory.source == MemorySource::Assumed,
            one_end,
            stopped: self.stopped(),
            none_allowed: self.constraints.none_allowed(),
            words,
        }
    }

    /// The committed staircase while it is about as good as the best one found, else that one; the
    /// empty one where leaving the run is better than any.
    fn planned(
        &self,
        search: &Search<'_>,
        single: &Found,
        left_alone: f64,
        words: &mut Vec<String>,
    ) -> Found {
        let c = self.constraints;
        let mut best = search.best().unwrap_or(Found { changes: Vec::new(), score: f64::INFINITY });
        let allowed = |f: &Found| {
            !f.changes.is_empty()
                && search.latest_first.is_none_or(|t| f.changes[0].0 <= t.max(c.earliest))
        };
        if single.score < best.score && allowed(single) {
            best = single.clone();
        }
        let shown = self.shown();
        let longer = continued(&shown, &best.changes, c.dwell);
        for changes in [longer, shown, to_come(self.in_force, c.now)] {
            let found = Found { score: search.score(&changes), changes };
            if allowed(&found)
                && c.allows(&found.changes)
                && !self.takes_over(&best, &found, search, left_alone)
            {
                best = found;
            }
        }
        // A trifle worse than leaving is no reason to break a commitment.
        if !(best.score.is_finite() && self.gain(best.score, left_alone) > -0.5 * WORTH) {
            if search.latest_first.is_some() {
                words.push(
                    "the change that was planned before is dropped: by the present fit it would \
                     cost more than leaving the run"
                        .into(),
                );
            }
            best = Found { changes: Vec::new(), score: left_alone };
        }
        best
    }

    /// Whether the best schedule is so much better than one that was shown that it takes its place.
    /// Laws that predict about as well speak in turn, and where one lowers first and another raises,
    /// either may be a little better than the other: what was shown goes if it brings less than half.
    fn takes_over(
        &self,
        best: &Found,
        shown: &Found,
        search: &Search<'_>,
        left_alone: f64,
    ) -> bool {
        let up = |f: &Found| f.changes.first().is_some_and(|c| c.1 > self.constraints.own);
        if up(best) == up(shown) || best.changes.is_empty() {
            return self.gain(best.score, shown.score) >= STAYS;
        }
        let [best, shown] = [best, shown].map(|f| self.saves(&f.changes, search, left_alone));
        shown < WORTH || shown < HALF * best
    }

    fn recommend(
        &self,
        search: &Search<'_>,
        planned: &Found,
        single: &Found,
        left_alone: f64,
        words: &mut Vec<String>,
    ) -> (Option<Vec<(u64, u64)>>, f64) {
        let accepted = self.leave.iter().any(|e| e.from_tokens > self.constraints.now);
        if let Some(why) = self.stopped() {
            words.push(why);
            return (accepted.then(Vec::new), 0.0);
        }
        if planned.changes.is_empty() {
            return (None, 0.0);
        }
        let saves = self.saves(&planned.changes, search, left_alone);
        let shown = !accepted && self.was_shown(planned.changes[0].1);
        if saves < WORTH && !(shown && saves > -0.5 * WORTH) {
            let gain = self.gain(search.score(&planned.changes), left_alone);
            words.push(match &self.futures.other {
                Some((_, end)) if gain >= WORTH => format!(
                    "not recommended: the plan would save {} of {}, but {} if {end}",
                    percent(gain),
                    self.of_what(),
                    if saves < 0.0 {
                        format!("cost {} more", percent(-saves))
                    } else {
                        format!("only {}", percent(saves))
                    }
                ),
                _ => format!(
                    "the best change would save {} of {}, which is not worth it",
                    percent(saves.max(0.0)),
                    self.of_what()
                ),
            });
            return (None, 0.0);
        }
        let stakes = self.stakes(&planned.changes, search);
        if !stakes.worth(shown && self.kept(planned.changes[0].0)) {
            words.push(stakes.text(self.futures.other.is_some(), self.of_all()));
            return (None, 0.0);
        }
        let changes = self.due(search, planned, single, left_alone, words);
        // What is accepted already needs no recommendation.
        let c = self.constraints;
        let mut schedule: Vec<Entry> =
            self.leave.iter().filter(|e| e.from_tokens <= c.now).copied().collect();
        schedule.extend(entries(&changes));
        if first_change(self.leave, &schedule, c.own, c.now).is_none() {
            return (None, saves);
        }
        (Some(changes), saves)
    }

    /// Why no further change is made: the last raise disappointed.
    fn stopped(&self) -> Option<String> {
        let bump = self.bump.filter(BumpYield::disappoints)?;
        Some(format!(
            "the raise to {} brought {:.4} nats where {:.4} were predicted, less than half: no further \
             change before somebody has looked why",
            count(bump.batch_size),
            bump.observed,
            bump.predicted
        ))
    }

    /// Where nothing is forgotten the first change shows it, and no other is made.
    fn stakes(&self, changes: &[(u64, u64)], search: &Search<'_>) -> Stakes {
        let plan = stairs(self.constraints, changes);
        let first = stairs(self.constraints, &changes[..changes.len().min(1)]);
        Stakes::of(self.futures, search.objective, &stairs_of(self.leave), (&plan, &first))
    }

    fn one_end(&self, changes: &[(u64, u64)], search: &Search<'_>, left_alone: f64) -> bool {
        !changes.is_empty()
            && self.gain(search.score(changes), left_alone) >= WORTH
            && (self.saves(changes, search, left_alone) < WORTH
                || (self.futures.other.is_some() && !self.stakes(changes, search).worth(false)))
    }

    /// Against leaving the run, at the worse end of the memory.
    fn saves(&self, changes: &[(u64, u64)], search: &Search<'_>, left_alone: f64) -> f64 {
        let [gain, there] = self.ends(changes, search, left_alone);
        gain.min(there)
    }

    /// ... with the memory that is taken, and at the other end of one that was not measured.
    fn ends(&self, changes: &[(u64, u64)], search: &Search<'_>, left_alone: f64) -> [f64; 2] {
        let gain = self.gain(search.score(changes), left_alone);
        let Some((other, _)) = &self.futures.other else { return [gain; 2] };
        let score = |s: &[Stair]| score_on(search.objective, other, s);
        let there =
            self.gain(score(&stairs(self.constraints, changes)), score(&stairs_of(self.leave)));
        [gain, there]
    }

    /// The part of the plan that is to be approved now. Where the memory was not measured, the first
    /// change, which measures it, and what else it takes to be no worse than leaving. Else all but the last of several raises while the signal
    /// part is not confirmed, where that is still no worse than the other policies.
    fn due(
        &self,
        search: &Search<'_>,
        planned: &Found,
        single: &Found,
        left_alone: f64,
        words: &mut Vec<String>,
    ) -> Vec<(u64, u64)> {
        let all = &planned.changes;
        let n = all.len();
        if n >= 2 && self.futures.memory.source == MemorySource::Assumed {
            // What is written must not be worse than nothing where nobody comes back to it: a size
            // that is lowered for a while is raised again.
            let sound = |k: &usize| self.saves(&all[..*k], search, left_alone) >= 0.0;
            let k = (1..n).find(sound).unwrap_or(n);
            let which = match k {
                1 => "only the first change is in the schedule: it".to_string(),
                k => format!(
                    "{} in the schedule, since fewer would be worse than leaving the run if nobody \
                     came back to it: the first",
                    if k == n { "all changes are".into() } else { format!("{k} changes are") }
                ),
            };
            words.push(format!(
                "{which} measures how fast noise is forgotten, and the later ones are planned anew \
                 with that"
            ));
            return all[..k].to_vec();
        }
        let waits = n >= 2 || (self.has_raised && self.miss > CONFIRMED);
        let Some(last) = all.last().filter(|l| waits && l.1 > self.constraints.own) else {
            return all.clone();
        };
        let kept = all[..n - 1].to_vec();
        let score = search.score(&kept);
        if kept.is_empty() || score > left_alone.min(single.score) {
            return all.clone();
        }
        words.push(format!(
            "the last change, to {} at {}, is not in the schedule yet: it waits until the run has \
             confirmed what the earlier one brings",
            count(last.1 as f64),
            count(last.0 as f64)
        ));
        kept
    }
}

/// Changes as entries.
pub fn entries(changes: &[(u64, u64)]) -> impl Iterator<Item = Entry> + '_ {
    changes.iter().map(|&(from_tokens, batch_size_tokens)| Entry {
        from_tokens,
        batch_size_tokens,
        lr_scale: None,
    })
}

/// A staircase in words: `256 at 3.2M, 512 at 8M`.
pub fn staircase(changes: &[(u64, u64)]) -> String {
    let parts: Vec<String> =
        changes.iter().map(|(t, b)| format!("{} at {}", exact(*b), count(*t as f64))).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{LAW, group_of, live, loss_of, on_disk, run_of, tokens};
    use super::super::{PlanOptions, Policy, plan};
    use crate::curve::Memory;

    /// With a memory that is assumed a plan may lower the size for a while and raise it again. What is
    /// written of it is no worse than nothing, were nobody to come back to it.
    #[test]
    fn what_is_written_of_a_plan_does_not_need_another_approval_to_be_worth_it() {
        let (mut seen, mut lowered) = (0, 0);
        for (batch, so_far, more) in [
            (512.0, 1e6, 4.0),
            (1024.0, 1e6, 10.0),
            (1024.0, 2e6, 30.0),
            (2048.0, 2e6, 8.0),
            (4096.0, 4e6, 4.0),
            (4096.0, 10e6, 8.0),
            (8192.0, 8e6, 8.0),
            (128.0, 4e6, 2.0),
        ] {
            let run = run_of(&LAW, &Memory::SLOW, &[(batch, so_far)], 0.0);
            let group = group_of(&LAW, Memory::SLOW);
            let ask = |options: PlanOptions| {
                let options = PlanOptions { budget_tokens: Some(more * so_far), ..options };
                plan(&run, loss_of(&run), Some(&group), &live(false), &options)
            };
            let advised = ask(on_disk());
            if advised.schedule.len() < 2 {
                continue;
            }
            seen += 1;
            lowered += usize::from(advised.schedule[1].batch_size_tokens < batch as u64);
            let written = PlanOptions { what_if: Some(advised.schedule.clone()), ..on_disk() };
            let alone = ask(written);
            let [left, alone] = [Policy::Leave, Policy::WhatIf].map(|p| tokens(&alone, p));
            assert!(alone <= left, "{batch} {more}: {alone} {left} {:?}", advised.schedule);
        }
        assert!(seen >= 4 && lowered >= 2, "{seen} {lowered}");
    }
}
