//! What a change rests on: for the state of the files, for the trainer, for the audit, in words.

use super::counts::interleaved;
use crate::advice::{self, Entry, Goal, Plan, PlanOptions, Situation};
use crate::command::Change;
use crate::control::protocol::{Evidence, Paths, entry_at};
use crate::control::{self, Author, ControlState, Facts, Files, Status, Written};
use crate::curve::GroupFit;
use crate::error::Result;
use crate::run::{self, RunData};
use crate::units;

/// Lines that an interval is taken over.
const RECENT: usize = 8;
/// Where the batch size is no number of the log, a change must last so much longer to be believed.
const DERIVED: f64 = 2.0;
/// A revision that is seen later than this many lead times after its change is too late.
const LATE_LEADS: f64 = 10.0;
/// ... or than these seconds: a trainer looks every few.
const LATE_SECONDS: f64 = 30.0;
/// ... or than this share of the tokens at the change, whichever is more.
const LATE_SHARE: f64 = 0.05;

/// What a proposal is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub data: &'a RunData,
    pub loss_now: Option<f64>,
    pub group: Option<&'a GroupFit>,
    pub plan: Option<&'a Plan>,
    pub options: &'a PlanOptions,
    pub live: bool,
    /// The training is over, by the trainer's or the log's own word.
    pub ended: bool,
}

/// What the metrics show, in the trainer's count (`offset` above that of the metrics).
pub(super) fn facts(
    data: &RunData,
    quiet_seconds: Option<f64>,
    lead_seconds: f64,
    offset: i64,
) -> Facts {
    let interval = run::log_interval(data);
    let by = offset as f64;
    Facts {
        tokens: Some(data.tokens() + by).filter(|t| t.is_finite()),
        batch_size: data.batch_size(),
        log_interval_tokens: line_tokens(data),
        seconds_since_write: quiet_seconds,
        interval_seconds: interval.map(|(seconds, _)| seconds),
        segments: data.segments.iter().map(|s| [s.from_tokens + by, s.batch_size]).collect(),
        lead_tokens: run::throughput(data).map(|rate| rate * lead_seconds),
        interleaved: interleaved(data),
    }
}

/// The most tokens between two recent lines, one step at least: so late a change may show.
fn line_tokens(data: &RunData) -> Option<f64> {
    let tokens = &data.train.tokens;
    let recent = &tokens[tokens.len().saturating_sub(RECENT + 1)..];
    let gaps = recent.windows(2).map(|w| w[1] - w[0]).filter(|t| t.is_finite());
    let most = gaps.chain(data.batch_size()).fold(f64::NAN, f64::max);
    let factor = if states_batch(data) { 1.0 } else { DERIVED };
    Some(most * factor).filter(|t| t.is_finite())
}

fn states_batch(data: &RunData) -> bool {
    !matches!(data.batch_source, run::BatchSource::Derived | run::BatchSource::Unknown)
}

/// The last count at which a revision is in time whose `schedule` departs from what is in force at `at`:
/// a while behind the first change that it orders, but at most half way to the second, or a trainer that
/// looks late would do both at once.
pub(super) fn not_after(
    schedule: &[Entry],
    at: u64,
    data: &RunData,
    now: u64,
    lead_seconds: f64,
) -> u64 {
    let size = |t: u64| entry_at(schedule, t).map(|e| e.batch_size_tokens);
    let own = data.batch_size().map(|b| b.round() as u64);
    let before = if at > now { size(at - 1) } else { own };
    let changes = |e: &&Entry| e.from_tokens > at && size(e.from_tokens - 1) != size(e.from_tokens);
    let later = schedule.iter().filter(changes).map(|e| e.from_tokens);
    // What is only withdrawn at `at` is no change that it orders.
    let mut steps = Some(at).filter(|_| size(at) != before).into_iter().chain(later);
    let first = steps.next().unwrap_or(at);
    let until = first + slack(data, lead_seconds, first);
    steps.next().map_or(until, |second| until.min(first + (second - first) / 2))
}

/// Tokens after its change `at` up to which a revision is still in time.
fn slack(data: &RunData, lead_seconds: f64, at: u64) -> u64 {
    let seconds = (LATE_LEADS * lead_seconds).max(LATE_SECONDS);
    let by_time = run::throughput(data).unwrap_or(0.0) * seconds;
    by_time.max(at as f64 * LATE_SHARE) as u64
}

/// First count at which a change that is drawn up now, and decided on in a while, may act.
pub(super) fn soonest(
    case: Case<'_>,
    situation: &Situation,
    lead_seconds: f64,
    decided_in: f64,
) -> u64 {
    let rate = situation.tokens_per_second.filter(|_| situation.live).unwrap_or(0.0);
    let by_time = (case.data.tokens().max(0.0) + rate * decided_in).ceil() as u64;
    let options = PlanOptions { lead_seconds, ..case.options.clone() };
    let allowed = advice::Constraints::of(case.data, situation, &options);
    by_time.max(allowed.map_or(0, |c| c.earliest))
}

/// The batch size that the trainer's next step should have (`now` and `not_after` in its count);
/// `None` where the log does not state it exactly, or where one of the schedules that the trainer
/// follows, or will once it looks, changes it before the revision may be seen: then any one size could
/// be the wrong one.
pub(super) fn expected(
    data: &RunData,
    followed: [&[Entry]; 2],
    now: u64,
    not_after: Option<u64>,
) -> Option<u64> {
    let logged = data.batch_size().filter(|_| states_batch(data))?.round() as u64;
    let until = not_after.unwrap_or(now);
    let unsure = |s: &[Entry]| {
        // A change that the next log line will show acts already.
        s.iter().any(|e| e.from_tokens > now && e.from_tokens <= until)
            || entry_at(s, now).is_some_and(|e| e.batch_size_tokens != logged)
    };
    (!followed.into_iter().any(unsure)).then_some(logged)
}

/// Why nothing can be proposed for a run at all. An undo is for whoever starts it again.
pub(super) fn over(case: Case<'_>, change: &Change) -> Option<&'static str> {
    (case.ended && !matches!(change, Change::Undo)).then_some(
        "the run has ended, as its trainer or its log said: nobody would obey a change; start it again \
         first",
    )
}

/// What a trainer accepted and does not do, in words.
pub(super) fn disobeyed(status: &Status, data: &RunData) -> Option<String> {
    let revision = status.revision.filter(|_| status.state == Some(ControlState::Overdue))?;
    Some(format!(
        "revision {revision} is overdue: the run is past its change and trains at {} tokens a step; \
         find out why the trainer does not follow before another change is ordered",
        data.batch_size().map_or("?".into(), |b| units::exact(b.round() as u64))
    ))
}

pub(super) fn evidence(case: Case<'_>) -> Evidence {
    let b_opt = case.plan.map(|p| p.b_opt);
    let runs = case.group.map(|g| g.runs.iter().filter(|r| r.used).map(|r| r.id.clone()).collect());
    Evidence {
        b_opt: b_opt.and_then(|iv| iv.value),
        b_opt_low: b_opt.and_then(|iv| iv.low),
        b_opt_high: b_opt.and_then(|iv| iv.high),
        loss: case.loss_now,
        model: case.group.and_then(|g| g.law.as_ref()).map(|_| "joint".to_string()),
        runs: runs.unwrap_or_default(),
        ..Evidence::default()
    }
}

/// What is in force; the run's own batch size where nothing is.
pub(super) fn or_own(in_force: Vec<Entry>, own: f64) -> Vec<Entry> {
    if in_force.is_empty() && own.is_finite() {
        vec![Entry { from_tokens: 0, batch_size_tokens: own as u64, lr_scale: None }]
    } else {
        in_force
    }
}

/// The answer to an approval that was written.
pub(super) fn written_words(written: &Written, paths: &Paths) -> String {
    let mut answer = format!(
        "revision {} written to {}; waiting for the trainer",
        written.revision,
        paths.control.display()
    );
    for warning in &written.warnings {
        answer += &format!("; {warning}");
    }
    answer
}

/// The evidence with what the changes are to bring.
pub(super) fn promised(
    mut evidence: Evidence,
    schedule: &[Entry],
    case: Case<'_>,
    situation: &Situation,
    undoes: bool,
) -> Evidence {
    // The loss that the plan aims at is part of what is approved; an undo aims at none.
    let aim = case.plan.filter(|p| p.goal != Goal::Decayed && !undoes);
    let aim = aim.and_then(|p| p.policies.first()?.target_loss);
    let target_loss = case.options.target_loss.or(aim);
    let options = PlanOptions { target_loss, ..case.options.clone() };
    let promises = advice::promises(schedule, case.data, case.group, situation, &options);
    control::promise_in(&mut evidence, &promises, case.data.tokens());
    evidence
}

/// Adds to the audit what was observed since; how many lines.
pub(super) fn added(files: &Files, status: &Status, data: &RunData) -> Result<usize> {
    let who = Author::current();
    let observed = control::record_observed(files, status, &who)?.len();
    Ok(observed + control::record_judged(files, status, data, &who)?)
}

/// What a proposal does, in words, where that is not what the plan says.
#[derive(Debug, Default)]
pub(super) struct Does {
    /// What an undo takes back. The plan's words are then none of it.
    pub undoes: Option<String>,
    pub brings: Option<String>,
}

fn evidence_words(
    case: Case<'_>,
    Does { undoes, brings }: Does,
    estimated_at: Option<f64>,
) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(undoes) = undoes {
        out.push(undoes);
        out.extend(brings);
    } else if let Some(plan) = case.plan {
        // The verdict quotes the saving of the plan's own schedule.
        match brings {
            Some(words) => out.extend([words, "what the plan says, of its own schedule:".into()]),
            None => out.push(plan.verdict.text.clone()),
        }
        out.extend(plan.verdict.reasons.iter().cloned());
    }
    if let Some(group) = case.group {
        let used = group.runs.iter().filter(|r| r.used).count();
        out.push(format!("{used} runs of group {} are in the fit", group.id));
    }
    if let Some(at) = estimated_at {
        let age = units::count((case.data.tokens() - at).max(0.0));
        out.push(format!("the estimate is {age} tokens of this run old"));
    }
    out
}

/// What a proposal rests on, and what a person should know of it.
pub(super) fn rests_on(
    case: Case<'_>,
    does: Does,
    estimated_at: Option<f64>,
    status: &Status,
    offset: i64,
) -> Vec<String> {
    let mut words = evidence_words(case, does, estimated_at);
    if let (Some(revision), Some(ControlState::Written)) = (status.revision, status.state) {
        words.push(format!("revision {revision} is written and not accepted yet: it is replaced"));
    }
    if offset != 0 {
        words.push(format!(
            "thresholds are in the trainer's count, {} tokens {} that of the metrics",
            units::count(offset.unsigned_abs() as f64),
            if offset > 0 { "above" } else { "below" }
        ));
    }
    words
}
