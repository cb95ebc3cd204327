//! What a schedule brings as it is to be written: the lead time may have moved a plan's changes, and
//! then the plan's own saving is of another schedule.

use super::grounds::Case;
use crate::advice::{self, Entry, Goal, Plan, PlanOptions, Policy, PolicyOutcome, Situation};
use crate::curve::MemorySource;
use crate::units::{count, exact, loss, percent};

/// Less than this share of what is still to go is no saving.
const NOTHING: f64 = 0.005;
/// A target that is reached within this share of what is then left of the budget says little of what a
/// change costs.
const NEAR: f64 = 0.1;

#[derive(Debug, Default)]
pub(super) struct Worth {
    /// Those of a plan of this moment, the schedule that is to be written last among them.
    pub policies: Vec<PolicyOutcome>,
    /// What it brings; `None` where that is what the plan says.
    pub words: Option<String>,
    /// Why it is not worth writing.
    pub nothing: Option<String>,
}

/// Of `schedule`, whose first change from what is in force lies at `at` cumulative tokens;
/// `lead_seconds` are those of the desk. `kept` says what else would be: "if it is left".
pub(super) fn worth(
    schedule: &[Entry],
    (at, kept): (Option<u64>, &str),
    lead_seconds: f64,
    case: Case<'_>,
    situation: &Situation,
) -> Worth {
    let what_if = Some(schedule.to_vec());
    let options = PlanOptions { what_if, lead_seconds, ..case.options.clone() };
    let plan = advice::plan(case.data, case.loss_now, case.group, situation, &options);
    let of = |p: Policy| plan.policies.iter().find(|o| o.policy == p);
    let change = at.and_then(|at| {
        let size = advice::batch_at(schedule, at as f64)?;
        Some((at as f64, format!("{} from {} tokens on", exact(size), exact(at))))
    });
    let (Some((at, change)), Some(left), Some(then)) =
        (change, of(Policy::Leave), of(Policy::WhatIf))
    else {
        let words = format!("what it brings is not known: {}", plan.verdict.text);
        let nothing = Some(format!("the schedule as it would be written: {words}"));
        return Worth { policies: plan.policies, words: Some(words), nothing };
    };
    let now = case.data.tokens();
    let gains = gains(plan.goal, left, then, now, case.loss_now.unwrap_or(f64::NAN));
    let ends = at_the_end(at, (left, kept), then, case.options.budget_tokens.unwrap_or(2.0 * now));
    let brings = brings(plan.goal, (left, kept), then, gains) + &ends.unwrap_or_default();
    let late = too_late(at, plan.goal, left, case.options.budget_tokens);
    let nothing = late
        // No saving is claimed that only one end of an assumed memory has.
        .or_else(|| {
            let at_end = match gains.map(|g| g < NOTHING) {
                [false, false] => return None,
                [true, true] => "",
                _ => " at one end of the memory that is assumed",
            };
            Some(format!("it would save nothing{at_end}: {brings}"))
        })
        .map(|why| {
            format!(
                "nothing to gain: {change} is the earliest that it can be now, and {why}; look again \
                 at the next plan, or name a change with --batch-size (+ or - on the screen)"
            )
        });
    let words = format!("{change}, as it is to be written: {brings}");
    Worth { policies: plan.policies, words: Some(words), nothing }
}

impl Worth {
    pub(super) fn of_plan(plan: Option<&Plan>) -> Worth {
        let policies = plan.map(|p| p.policies.clone()).unwrap_or_default();
        Worth { policies, ..Worth::default() }
    }
}

/// Why a change at `at` cannot matter any more.
fn too_late(at: f64, goal: Goal, left: &PolicyOutcome, budget: Option<f64>) -> Option<String> {
    if let Some(b) = budget.filter(|b| at >= *b) {
        return Some(format!("the budget ends at {} tokens", count(b)));
    }
    // With an assumed memory the other end may get there later.
    let assumed = left.memory == MemorySource::Assumed;
    let [target, reached] =
        [left.target_loss?, if assumed { left.tokens.high } else { left.tokens.value }?];
    (goal != Goal::Decayed && at >= reached).then(|| {
        format!("loss {} is reached after {} tokens without it", loss(target), count(reached))
    })
}

/// Share of what is still to go that is saved: with the memory that was taken, and at the other end of
/// one that is assumed.
fn gains(
    goal: Goal,
    left: &PolicyOutcome,
    then: &PolicyOutcome,
    now: f64,
    loss_now: f64,
) -> [f64; 2] {
    let share = |a: Option<f64>, b: Option<f64>, from: f64| match (a, b) {
        (Some(a), Some(b)) => Some((a - b) / (a - from)),
        (None, Some(_)) => Some(1.0),
        (Some(_), None) => Some(-1.0),
        (None, None) => None,
    };
    let at_budget = || {
        let (a, b) = (left.loss_at_budget.value?, then.loss_at_budget.value?);
        Some((a - b) / (loss_now - a).max(f64::EPSILON))
    };
    let known = match goal {
        Goal::Decayed => at_budget(),
        Goal::Time if left.hours.or(then.hours).is_some() => share(left.hours, then.hours, 0.0),
        _ => share(left.tokens.value, then.tokens.value, now).or_else(at_budget),
    };
    let assumed = then.memory == MemorySource::Assumed && goal != Goal::Decayed;
    let ends = [left.tokens_at_other_end, then.tokens_at_other_end];
    let other = assumed.then(|| share(ends[0], ends[1], now)).flatten();
    // Nothing is held against what cannot be told.
    let taken = known.unwrap_or(f64::INFINITY);
    [taken, other.unwrap_or(taken)]
}

/// What a change brings in the end, where the target is reached before it acts, or soon after.
fn at_the_end(
    at: f64,
    (left, kept): (&PolicyOutcome, &str),
    then: &PolicyOutcome,
    budget: f64,
) -> Option<String> {
    let reached = left.tokens.value?.min(then.tokens.value?);
    let [a, b] = [left.loss_at_budget.value?, then.loss_at_budget.value?];
    let before = if reached <= at { "; the target is reached before it acts" } else { "" };
    (reached < at + NEAR * (budget - at).max(0.0))
        .then(|| format!("{before}; loss {} at the end of the budget, {} {kept}", loss(b), loss(a)))
}

fn brings(
    goal: Goal,
    (left, kept): (&PolicyOutcome, &str),
    then: &PolicyOutcome,
    [taken, other]: [f64; 2],
) -> String {
    let tokens = |o: &PolicyOutcome| match o.tokens.value {
        Some(t) => format!("after {} tokens", count(t)),
        None => "never".into(),
    };
    let target = then.target_loss.filter(|l| l.is_finite() && goal != Goal::Decayed);
    let mut text = match (target, left.loss_at_budget.value, then.loss_at_budget.value) {
        (Some(l), ..) if left.tokens.value.or(then.tokens.value).is_some() => {
            format!("loss {} {}, {} {kept}", loss(l), tokens(then), tokens(left))
        }
        (_, Some(a), Some(b)) => {
            format!("loss {} at the end of the budget, {} {kept}", loss(b), loss(a))
        }
        _ => "not known".into(),
    };
    let both = left.tokens.value.is_some() && then.tokens.value.is_some();
    if both && target.is_some() && goal != Goal::Time && taken.is_finite() {
        let share = percent(taken.abs());
        text.push_str(&match taken {
            t if t <= -NOTHING => format!("; costs {share} more of the tokens still to go"),
            t if t < NOTHING => "; saves nothing".to_string(),
            _ => format!("; saves {share} of the tokens still to go"),
        });
        if (other - taken).abs() > NOTHING {
            let what = match other {
                o if o <= -NOTHING => format!("costs {} more", percent(-o)),
                o if o < NOTHING => "saves nothing".into(),
                o => format!("saves {}", percent(o)),
            };
            text.push_str(&format!(", {what} at the other end of the memory that is assumed"));
        }
        let ends = [then.tokens_if_never, left.tokens_if_never];
        if then.memory == MemorySource::Assumed {
            let [then, left] = ends.map(|t| t.map_or("never".into(), count));
            text.push_str(&format!(" (if no noise is forgotten: {then}, {left} {kept})"));
        }
    }
    if goal == Goal::Time
        && let Some((a, b)) = left.hours.zip(then.hours)
    {
        text.push_str(&format!("; {b:.2} hours from now, {a:.2} {kept}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, e, group_of, loss_of, on_disk, run_of, tokens};
    use crate::command::Change;
    use crate::curve::{GroupFit, Memory};
    use crate::metrics::RunFiles;
    use crate::monitor::core::Settings;
    use crate::monitor::desk::Desk;
    use crate::run::RunData;

    const NOW: f64 = 3e6;

    fn run() -> RunData {
        run_of(&LAW, &MEMORY, &[(128.0, NOW)], 0.0)
    }

    fn options() -> PlanOptions {
        PlanOptions { budget_tokens: Some(9e6), ..on_disk() }
    }

    fn case<'a>(data: &'a RunData, group: &'a GroupFit, options: &'a PlanOptions) -> Case<'a> {
        Case {
            data,
            loss_now: loss_of(data),
            group: Some(group),
            plan: None,
            options,
            live: false,
            ended: false,
        }
    }

    /// What a change to 256 at `at` is worth.
    fn to_256(at: u64) -> Worth {
        under(MEMORY, at)
    }

    fn under(memory: Memory, at: u64) -> Worth {
        let (data, options) = (run(), options());
        let group = group_of(&LAW, memory);
        let case = case(&data, &group, &options);
        let change = (Some(at), "if it is left");
        worth(&[e(0, 128), e(at, 256)], change, 0.02, case, &Situation::default())
    }

    #[test]
    fn a_schedule_is_worth_what_its_own_forecast_says() {
        let early = to_256(3_100_000);
        let words = early.words.unwrap();
        assert!(words.contains("256 from 3,100,000 tokens on"), "{words}");
        assert!(words.contains("of the tokens still to go"), "{words}");
        assert_eq!(early.nothing, None);
        let what_if = early.policies.iter().find(|p| p.policy == Policy::WhatIf).unwrap();
        assert!(words.contains(&count(what_if.tokens.value.unwrap())), "{words}");
        let share = |w: &str| {
            let (_, after) = w.split_once("saves ").unwrap();
            after.split_whitespace().next().unwrap().parse::<f64>().unwrap()
        };
        let later = to_256(6_000_000).words.unwrap();
        assert!(share(&later) < share(&words), "{later} beside {words}");
    }

    #[test]
    fn what_is_never_reached_is_not_counted() {
        let known = to_256(3_100_000).policies;
        let of = |p: Policy| known.iter().find(|o| o.policy == p).unwrap().clone();
        let (left, mut then) = (of(Policy::Leave), of(Policy::WhatIf));
        then.tokens.value = None;
        let words = brings(Goal::Stable, (&left, "if it is left"), &then, [-1.0, -1.0]);
        assert!(
            words.contains(" never, after ") && words.ends_with("tokens if it is left"),
            "{words}"
        );
    }

    /// The target is all but reached: what a change costs or brings shows later.
    #[test]
    fn what_a_change_brings_after_a_near_target_is_said_with_the_end_of_the_budget() {
        let under = |target: f64| {
            let (data, group) = (run(), group_of(&LAW, MEMORY));
            let options = PlanOptions { target_loss: Some(target), ..options() };
            let case = case(&data, &group, &options);
            let change = (Some(3_100_000), "if the change stays");
            let schedule = [e(0, 128), e(3_100_000, 64)];
            worth(&schedule, change, 0.02, case, &Situation::default()).words.unwrap()
        };
        let now = loss_of(&run()).unwrap();
        let near = under(now - 0.0005);
        assert!(near.contains("; the target is reached before it acts; loss "), "{near}");
        assert!(
            near.ends_with(" if the change stays") && near.contains("end of the budget"),
            "{near}"
        );
        assert!(!under(now - 0.02).contains("end of the budget"));
    }

    /// The share that is said is that of the two token counts beside it, whatever the memory may be.
    #[test]
    fn with_an_assumed_memory_the_better_end_is_told_apart() {
        let assumed = under(Memory::SLOW, 3_100_000);
        let words = assumed.words.unwrap();
        let of = |p: Policy| {
            let o = assumed.policies.iter().find(|o| o.policy == p).unwrap();
            o.tokens.value.unwrap()
        };
        let (left, then) = (of(Policy::Leave), of(Policy::WhatIf));
        let share = percent((left - then) / (left - NOW));
        assert!(words.contains(&format!("saves {share} of the tokens still to go, ")), "{words}");
        assert!(words.contains("at the other end of the memory that is assumed"), "{words}");
        assert!(words.contains(" (if no noise is forgotten: "), "{words}");
    }

    /// A change may help only where noise is forgotten at once, or only where it is remembered long.
    #[test]
    fn what_only_one_end_of_an_assumed_memory_saves_is_no_saving() {
        let group = group_of(&LAW, Memory::SLOW);
        let mut seen = 0;
        for (own, to) in [(256, 512), (384, 768), (512, 1024), (768, 384), (1024, 512)] {
            let data = run_of(&LAW, &MEMORY, &[(own as f64, NOW)], 0.0);
            let options = options();
            let case = case(&data, &group, &options);
            for at in [3_100_000, 4_000_000, 5_000_000, 6_500_000, 8_000_000] {
                let change = (Some(at), "if it is left");
                let w = worth(&[e(0, own), e(at, to)], change, 0.02, case, &Situation::default());
                let of = |p: Policy| w.policies.iter().find(|o| o.policy == p).unwrap();
                let [left, then] = [of(Policy::Leave), of(Policy::WhatIf)];
                let share = |a: Option<f64>, b: Option<f64>| match (a, b) {
                    (Some(a), Some(b)) => (a - b) / (a - NOW),
                    (a, b) => f64::from(i8::from(b.is_some()) - i8::from(a.is_some())),
                };
                let slow = share(left.tokens.value, then.tokens.value);
                let fast = share(left.tokens_at_other_end, then.tokens_at_other_end);
                assert_eq!(w.nothing.is_none(), slow.min(fast) >= NOTHING, "{slow} {fast} {w:?}");
                seen += usize::from((slow < NOTHING) != (fast < NOTHING));
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn what_comes_after_the_target_or_the_budget_is_worth_nothing() {
        let nothing = to_256(8_999_900).nothing.unwrap();
        assert!(nothing.contains("it would save nothing: loss "), "{nothing}");
        let nothing = to_256(9_000_000).nothing.unwrap();
        assert!(nothing.contains("the budget ends at 9M tokens"), "{nothing}");
    }

    #[test]
    fn a_plan_that_the_lead_time_moved_is_quoted_as_it_would_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("live.jsonl");
        let files = RunFiles { name: "live".into(), main: main.clone(), parts: vec![main] };
        let (data, group) = (run(), group_of(&LAW, MEMORY));
        let mut options = options();
        let made = |options: &PlanOptions| {
            let s = Situation { can_write: true, ..Situation::default() };
            advice::plan(&data, loss_of(&data), Some(&group), &s, options)
        };
        let plan = made(&options);
        assert!(plan.verdict.text.starts_with("raise"), "{}", plan.verdict.text);
        let then = tokens(&plan, Policy::Planned);
        // The lead time is the desk's, not the one that plans have by default.
        options.lead_seconds = 180.0;
        // So many seconds at 1e6 tokens a second until the trainer sees it.
        let propose = |decide: f64, options: &PlanOptions| {
            let settings = Settings {
                lead_seconds: Some(0.02),
                decide_seconds: Some(decide),
                ..Settings::default()
            };
            let mut desk = Desk::open(&files, &settings);
            desk.read(&data, Some(0.0), false);
            let case = Case {
                data: &data,
                loss_now: loss_of(&data),
                group: Some(&group),
                plan: Some(&plan),
                options,
                live: true,
                ended: false,
            };
            desk.propose(&Change::Plan, case);
            desk.view()
        };
        let moved = propose(2.0, &options);
        let proposal = moved.proposal.unwrap_or_else(|| panic!("{:?}", moved.said));
        let first = &proposal.evidence[0];
        assert!(proposal.schedule.last().unwrap().from_tokens > 5_000_000, "{proposal:?}");
        assert!(first.contains("as it is to be written"), "{first}");
        assert!(!proposal.evidence.contains(&plan.verdict.text), "{first}");
        let written = proposal.policies.iter().find(|p| p.policy == Policy::WhatIf).unwrap();
        assert_eq!(written.schedule, proposal.schedule);
        assert!(written.tokens.value.unwrap() > then);
        options.budget_tokens = Some(8e6);
        let late = propose(5.5, &options);
        assert_eq!(late.proposal, None);
        assert!(late.said.unwrap().contains("nothing to gain"));
    }
}
