//! What each approved change promised, and what came of it: forecasts travel in the evidence of the
//! approval, outcomes in audit lines of their own.

use super::audit::{AuditLine, Author, Event, record};
use super::protocol::Evidence;
use super::read::Files;
use super::state::ControlState;
use super::status::Status;
use crate::advice::{Arrival, Outcome, Promise, arrived, judge, spoiled};
use crate::error::Result;
use crate::run::RunData;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Those of so many revisions are shown, the newest ones.
const SHOWN: usize = 3;
/// Keys of the evidence: the forecast of the first change, of every change, and the tokens that the run
/// had consumed when they were made.
const FORECAST: &str = "forecast";
const FORECASTS: &str = "forecasts";
const AT_TOKENS: &str = "at_tokens";
const OUTCOME: &str = "outcome";
const ARRIVAL: &str = "arrival";

/// The forecast of one change of a revision; counts as the metrics have them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    pub revision: u64,
    pub promise: Promise,
    /// `None` until the catch-up window after the change is over, and where it never acted.
    pub outcome: Option<Outcome>,
    /// Tokens at which another change acted, or the learning rate left its plateau, before anything could
    /// be told.
    pub spoiled_at: Option<f64>,
    /// When the target that the promise names was reached; `None` until then.
    pub arrival: Option<Arrival>,
    /// Tokens that the run had consumed when it was approved; `None` where that was not kept.
    pub made_at_tokens: Option<f64>,
    /// Another revision took its place.
    pub replaced: bool,
}

impl Forecast {
    /// What came, or what is to come, without the revision.
    fn text(&self) -> String {
        let text = self.outcome.as_ref().map_or_else(|| self.promise.text(), Outcome::text);
        match self.spoiled_at.map(crate::units::count) {
            Some(at) => {
                format!(
                    "{text}; the batch size or the learning rate changed at {at}, before that could be \
                     judged"
                )
            }
            None => text,
        }
    }

    fn is_open(&self) -> bool {
        self.outcome.is_none() && self.spoiled_at.is_none()
    }

    /// A change that was made before `tokens` and could not be judged by then.
    pub fn unsettled_at(&self, tokens: f64) -> bool {
        self.promise.from_tokens <= tokens && tokens < self.promise.judged_over_tokens[1]
    }
}

/// In words fit for a screen: a line for each change that was judged, one for all of a revision's that
/// are still to be, and one for its target.
pub fn forecast_words(all: &[Forecast]) -> Vec<String> {
    let mut lines = Vec::new();
    for (i, f) in all.iter().enumerate() {
        let revision = f.revision;
        let same = |g: &&Forecast| g.revision == revision;
        let earlier = all[..i].iter().filter(same);
        if f.is_open() && earlier.clone().any(Forecast::is_open) {
            continue;
        }
        let mut line = format!("revision {revision}: {}", f.text());
        if f.is_open() {
            for later in all[i + 1..].iter().filter(same) {
                line += &format!("; {}", later.promise.text());
            }
        }
        lines.push(line);
        let target = || f.promise.target_text().filter(|_| !f.replaced);
        lines.extend(match &f.arrival {
            Some(a) => Some(format!("revision {revision}: {}", a.text())),
            None => target().map(|t| format!("revision {revision}: forecast of all of it: {t}")),
        });
    }
    lines
}

/// Adds what a revision promises to the evidence of its approval.
pub fn promise_in(evidence: &mut Evidence, promises: &[Promise], at_tokens: f64) {
    let mut keep = |key: &str, value: serde_json::Result<serde_json::Value>| {
        if let Ok(value) = value {
            evidence.unknown.insert(key.into(), value);
        }
    };
    if let Some(first) = promises.first() {
        keep(FORECAST, serde_json::to_value(first));
        keep(FORECASTS, serde_json::to_value(promises));
    }
    if at_tokens.is_finite() {
        keep(AT_TOKENS, serde_json::to_value(at_tokens));
    }
}

fn of<T: DeserializeOwned>(line: &AuditLine, key: &str) -> Option<T> {
    serde_json::from_value(line.evidence.as_ref()?.unknown.get(key)?.clone()).ok()
}

fn promised(line: &AuditLine) -> Vec<Promise> {
    of(line, FORECASTS).or_else(|| Some(vec![of(line, FORECAST)?])).unwrap_or_default()
}

fn made_at(line: &AuditLine) -> Option<f64> {
    of(line, AT_TOKENS).or_else(|| Some(promised(line).first()?.from_tokens))
}

/// The forecasts of the newest revisions that were not rejected, oldest first; those of changes that
/// another revision withdrew are gone. What the audit holds is not judged again.
pub fn forecasts(files: &Files, status: &Status, data: &RunData) -> Vec<Forecast> {
    let state = |r: u64| match status.history.iter().find(|p| p.revision == r) {
        Some(past) => Some(past.state),
        None => status.state.filter(|_| status.revision == Some(r)),
    };
    let mut written: Vec<(u64, &AuditLine)> = Vec::new();
    for line in files.audit.iter().filter(|a| a.event == Event::Written) {
        let Some(revision) = line.revision else { continue };
        written.retain(|(r, _)| *r != revision);
        written.push((revision, line));
    }
    written.retain(|(r, _)| state(*r) != Some(ControlState::Rejected));
    let skipped = written.len().saturating_sub(SHOWN);
    let mut out = Vec::new();
    for (i, (revision, line)) in written.iter().enumerate().skip(skipped) {
        let state = state(*revision);
        let replaced = matches!(state, Some(ControlState::Superseded | ControlState::Undone));
        let next = written.get(i + 1).filter(|_| replaced);
        let withdrawn_at = next.and_then(|(_, line)| made_at(line)).unwrap_or(f64::INFINITY);
        for promise in promised(line) {
            let f = one(files, *revision, promise, replaced, data);
            let made_at_tokens = made_at(line);
            if f.outcome.is_some() || f.promise.from_tokens <= withdrawn_at {
                out.push(Forecast { made_at_tokens, ..f });
            }
        }
    }
    out
}

fn one(files: &Files, revision: u64, promise: Promise, replaced: bool, data: &RunData) -> Forecast {
    let outcome = told(files, revision, &promise).or_else(|| judge(&promise, data));
    let spoiled_at = if outcome.is_none() { spoiled(&promise, data) } else { None };
    let arrival = promise.target_loss.and_then(|_| {
        let told = judged(files, revision).find_map(|a| of(a, ARRIVAL));
        told.or_else(|| arrived(&promise, data).filter(|_| !replaced))
    });
    Forecast { revision, promise, outcome, spoiled_at, arrival, made_at_tokens: None, replaced }
}

fn judged(files: &Files, revision: u64) -> impl Iterator<Item = &AuditLine> {
    let judged = move |a: &&AuditLine| a.event == Event::Judged && a.revision == Some(revision);
    files.audit.iter().rev().filter(judged)
}

/// The outcome that the audit holds.
fn told(files: &Files, revision: u64, promise: &Promise) -> Option<Outcome> {
    let same = |o: &Outcome| o.promise.from_tokens == promise.from_tokens;
    judged(files, revision).filter_map(|a| of(a, OUTCOME)).find(same)
}

/// What the audit does not hold yet: key, value and words.
type New = (&'static str, serde_json::Value, String);

fn new_of(f: &Forecast, files: &Files) -> Vec<New> {
    let mut out = Vec::new();
    if let Some(o) = f.outcome.as_ref().filter(|_| told(files, f.revision, &f.promise).is_none()) {
        out.extend(serde_json::to_value(o).ok().map(|v| (OUTCOME, v, o.text())));
    }
    let has_arrival = || judged(files, f.revision).any(|a| of::<Arrival>(a, ARRIVAL).is_some());
    if let Some(a) = f.arrival.as_ref().filter(|_| !has_arrival()) {
        out.extend(serde_json::to_value(a).ok().map(|v| (ARRIVAL, v, a.text())));
    }
    out
}

/// Adds outcomes to the audit that it does not hold yet, each once; how many.
///
/// # Errors
/// As [`record`].
pub fn record_judged(
    files: &Files,
    status: &Status,
    data: &RunData,
    who: &Author,
) -> Result<usize> {
    if !forecasts(files, status, data).iter().any(|f| !new_of(f, files).is_empty()) {
        return Ok(0);
    }
    let lock = super::disk::lock(&files.paths.log);
    if matches!(lock, super::disk::Locked::Taken) {
        return Ok(0);
    }
    // Read again under the lock: another boptop may have been first.
    let files = Files::read(&files.paths);
    let mut lines = 0;
    for f in &forecasts(&files, status, data) {
        for (key, value, words) in new_of(f, &files) {
            let run = files.run().unwrap_or_else(|| data.id.clone());
            let mut line = AuditLine::new(Event::Judged, &run, Some(f.revision), who);
            line.reason = Some(words);
            let mut evidence = Evidence::default();
            evidence.unknown.insert(key.into(), value);
            line.evidence = Some(evidence);
            record(&files.paths, &line)?;
            lines += 1;
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Paths;
    use crate::control::status::Past;
    use crate::curve::{Interval, LossKind, Open};
    use crate::metrics::Record;
    use crate::run::{Assumptions, Recorder};

    /// 100 tokens a step to 1,000 tokens, 200 after; the loss is 2 and then 1.5.
    fn run(until: u32) -> RunData {
        let mut r = Recorder::new("a", Assumptions::default());
        for i in 1..=until {
            let late = i > 10;
            let tokens = 100.0 * f64::from(i) + if late { 100.0 * f64::from(i - 10) } else { 0.0 };
            let record = Record {
                step: Some(f64::from(i)),
                tokens: Some(tokens),
                batch_tokens: Some(if late { 200.0 } else { 100.0 }),
                loss: Some(if late { 1.5 } else { 2.0 }),
                ..Record::default()
            };
            r.push(0, &record);
        }
        r.data()
    }

    fn iv(value: f64, by: f64) -> Interval {
        let (low, high) = (Some(value - by), Some(value + by));
        Interval { value: Some(value), low, high, level: 0.9, open: Open::None }
    }

    fn promise(from_tokens: f64, batch_size_tokens: f64, loss: f64) -> Promise {
        Promise {
            from_tokens,
            batch_size_tokens,
            judged_over_tokens: [2.0 * from_tokens, 4.0 * from_tokens],
            loss: iv(loss, 0.05),
            loss_if_left: 1.9,
            on: LossKind::Train,
            target_loss: None,
            tokens: None,
            way: Vec::new(),
        }
    }

    fn who() -> Author {
        Author { user: "ann".into(), host: "login1".into() }
    }

    fn written(paths: &Paths, revision: u64, promises: &[Promise], at_tokens: f64) {
        let mut line = AuditLine::new(Event::Written, "a", Some(revision), &who());
        let mut evidence = Evidence::default();
        promise_in(&mut evidence, promises, at_tokens);
        line.evidence = Some(evidence);
        record(paths, &line).unwrap();
    }

    fn place() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::beside(&dir.path().join("a.jsonl"));
        (dir, paths)
    }

    fn of(paths: &Paths, status: &Status, data: &RunData) -> Vec<Forecast> {
        forecasts(&Files::read(paths), status, data)
    }

    #[test]
    fn an_outcome_enters_the_audit_once_and_stays_what_it_was() {
        let (who, none) = (who(), Status::default());
        for (loss, word) in [(1.52, "the forecast held"), (1.7, "did not hold")] {
            let (_dir, paths) = place();
            written(&paths, 1, &[promise(1000.0, 200.0, loss)], 900.0);
            let early = run(18);
            let files = Files::read(&paths);
            assert_eq!(of(&paths, &none, &early)[0].outcome, None);
            assert_eq!(record_judged(&files, &none, &early, &who).unwrap(), 0);
            let words = forecast_words(&of(&paths, &none, &early));
            assert!(words[0].contains("revision 1: forecast for 200"), "{words:?}");
            let late = run(40);
            assert_eq!(record_judged(&files, &none, &late, &who).unwrap(), 1);
            let files = Files::read(&paths);
            assert_eq!(record_judged(&files, &none, &late, &who).unwrap(), 0);
            let told = files.audit.last().unwrap();
            assert_eq!((told.event, told.revision), (Event::Judged, Some(1)));
            assert!(told.reason.as_deref().unwrap().contains(word), "{told:?}");
            // From the audit, whatever the metrics still hold.
            let words = forecast_words(&of(&paths, &none, &early));
            assert!(words[0].contains(word), "{words:?}");
        }
    }

    #[test]
    fn each_change_of_a_revision_and_its_target_are_judged_each_once() {
        let (_dir, paths) = place();
        let none = Status::default();
        let first = Promise {
            target_loss: Some(1.7),
            tokens: Some(iv(1100.0, 200.0)),
            ..promise(1000.0, 200.0, 1.52)
        };
        // The run does not make the second.
        written(&paths, 1, &[first, promise(6000.0, 400.0, 1.4)], 900.0);
        let open = forecast_words(&of(&paths, &none, &run(10)));
        assert_eq!(open.len(), 2, "one line for both changes, one for the target: {open:?}");
        assert!(open[0].contains("for 200 from 1K") && open[0].contains("for 400 from 6K"));
        assert!(open[1].ends_with("loss 1.7000 after 1.1K tokens (900 to 1.3K)"), "{open:?}");
        let late = run(40);
        let files = Files::read(&paths);
        assert_eq!(record_judged(&files, &none, &late, &who()).unwrap(), 2);
        assert_eq!(record_judged(&Files::read(&paths), &none, &late, &who()).unwrap(), 0);
        let all = of(&paths, &none, &late);
        assert!(all[0].outcome.is_some() && all[0].arrival.as_ref().unwrap().kept, "{all:?}");
        assert!(all[1].outcome.is_none() && all[1].arrival.is_none(), "{all:?}");
        let words = forecast_words(&all);
        assert!(words[1].contains("loss 1.7000, forecast after 1.1K tokens"), "{words:?}");
        assert!(words[2].starts_with("revision 1: forecast for 400"), "{words:?}");
    }

    #[test]
    fn what_was_rejected_or_withdrawn_is_not_waited_for() {
        let (_dir, paths) = place();
        let first = Promise {
            target_loss: Some(1.3),
            tokens: Some(iv(9000.0, 200.0)),
            ..promise(1000.0, 200.0, 1.52)
        };
        written(&paths, 1, &[first, promise(6000.0, 400.0, 1.4)], 900.0);
        written(&paths, 2, &[promise(8000.0, 400.0, 1.4)], 2500.0);
        let status = |revision, state, first: ControlState| Status {
            revision: Some(revision),
            state: Some(state),
            history: vec![Past {
                revision: 1,
                state: first,
                schedule: Vec::new(),
                by: String::new(),
                at: String::new(),
            }],
            ..Status::default()
        };
        let data = run(18);
        let seen = |s: &Status| {
            let all = of(&paths, s, &data);
            all.iter().map(|f| (f.revision, f.promise.from_tokens)).collect::<Vec<_>>()
        };
        let accepted = status(2, ControlState::Accepted, ControlState::Superseded);
        assert_eq!(seen(&accepted), [(1, 1000.0), (2, 8000.0)]);
        let words = forecast_words(&of(&paths, &accepted, &data));
        assert!(!words.iter().any(|w| w.contains("of all of it")), "{words:?}");
        let rejected = status(2, ControlState::Rejected, ControlState::Applied);
        assert_eq!(seen(&rejected), [(1, 1000.0), (1, 6000.0)]);
    }
}
