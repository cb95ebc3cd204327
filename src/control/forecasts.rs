//! What each approved change promised, and what came of it: forecasts travel in the evidence of the
//! approval, outcomes in an audit line of their own.

use super::audit::{AuditLine, Author, Event, record};
use super::read::Files;
use crate::advice::{Outcome, Promise, judge, spoiled};
use crate::error::Result;
use crate::run::RunData;
use serde::Serialize;

/// So many are shown, the newest ones.
const SHOWN: usize = 3;
/// Keys of the evidence.
pub const FORECAST: &str = "forecast";
const OUTCOME: &str = "outcome";

/// A revision's forecast; counts as the metrics have them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    pub revision: u64,
    pub promise: Promise,
    /// `None` until the catch-up window after the change is over, and where it never acted.
    pub outcome: Option<Outcome>,
    /// Tokens at which a later change acted, before anything could be told.
    pub spoiled_at: Option<f64>,
}

impl Forecast {
    /// In words fit for a screen.
    pub fn words(&self) -> String {
        let mut text = self.outcome.as_ref().map_or_else(|| self.promise.text(), Outcome::text);
        if let Some(at) = self.spoiled_at {
            let at = crate::units::count(at);
            text += &format!("; another change acted at {at}, before that could be judged");
        }
        format!("revision {}: {text}", self.revision)
    }
}

fn of<T: serde::de::DeserializeOwned>(line: &AuditLine, key: &str) -> Option<T> {
    serde_json::from_value(line.evidence.as_ref()?.unknown.get(key)?.clone()).ok()
}

/// The newest forecasts, oldest first. What the audit holds is not judged again.
pub fn forecasts(files: &Files, data: &RunData) -> Vec<Forecast> {
    let mut out: Vec<Forecast> = Vec::new();
    for line in files.audit.iter().filter(|a| a.event == Event::Written) {
        let Some(revision) = line.revision else { continue };
        let Some(promise) = of::<Promise>(line, FORECAST) else { continue };
        let told = files.audit.iter().rev();
        let told = told.filter(|a| a.event == Event::Judged && a.revision == Some(revision));
        let told = told.filter_map(|a| of(a, OUTCOME)).next();
        let outcome = told.or_else(|| judge(&promise, data));
        out.retain(|f| f.revision != revision);
        let spoiled_at = if outcome.is_none() { spoiled(&promise, data) } else { None };
        out.push(Forecast { revision, promise, outcome, spoiled_at });
    }
    out.split_off(out.len().saturating_sub(SHOWN))
}

/// Adds outcomes to the audit that it does not hold yet, each once; how many.
///
/// # Errors
/// As [`record`].
pub fn record_judged(files: &Files, data: &RunData, who: &Author) -> Result<usize> {
    let is_new = |f: &Forecast, files: &Files| {
        let same = |a: &AuditLine| a.event == Event::Judged && a.revision == Some(f.revision);
        f.outcome.is_some() && !files.audit.iter().any(same)
    };
    if !forecasts(files, data).iter().any(|f| is_new(f, files)) {
        return Ok(0);
    }
    let lock = super::disk::lock(&files.paths.log);
    if matches!(lock, super::disk::Locked::Taken) {
        return Ok(0);
    }
    // Read again under the lock: another boptop may have been first.
    let files = Files::read(&files.paths);
    let mut lines = 0;
    for f in forecasts(&files, data).iter().filter(|f| is_new(f, &files)) {
        let Some(outcome) = &f.outcome else { continue };
        let run = files.run().unwrap_or_else(|| data.id.clone());
        let mut line = AuditLine::new(Event::Judged, &run, Some(f.revision), who);
        line.reason = Some(outcome.text());
        let mut evidence = super::protocol::Evidence::default();
        if let Ok(value) = serde_json::to_value(outcome) {
            evidence.unknown.insert(OUTCOME.into(), value);
        }
        line.evidence = Some(evidence);
        record(&files.paths, &line)?;
        lines += 1;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{Evidence, Paths};
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

    fn written(paths: &Paths, loss: f64) {
        let who = Author { user: "ann".into(), host: "login1".into() };
        let promise = Promise {
            from_tokens: 1000.0,
            batch_size_tokens: 200.0,
            judged_over_tokens: [2000.0, 4000.0],
            loss: Interval {
                value: Some(loss),
                low: Some(loss - 0.05),
                high: Some(loss + 0.05),
                level: 0.9,
                open: Open::None,
            },
            loss_if_left: 1.9,
            on: LossKind::Train,
            target_loss: None,
            tokens: None,
            way: Vec::new(),
        };
        let mut evidence = Evidence::default();
        evidence.unknown.insert(FORECAST.into(), serde_json::to_value(promise).unwrap());
        let mut line = AuditLine::new(Event::Written, "a", Some(1), &who);
        line.evidence = Some(evidence);
        record(paths, &line).unwrap();
    }

    #[test]
    fn an_outcome_enters_the_audit_once_and_stays_what_it_was() {
        let who = Author { user: "bob".into(), host: "login2".into() };
        for (loss, word) in [(1.52, "the forecast held"), (1.7, "did not hold")] {
            let dir = tempfile::tempdir().unwrap();
            let paths = Paths::beside(&dir.path().join("a.jsonl"));
            written(&paths, loss);
            let early = run(18);
            let files = Files::read(&paths);
            assert_eq!(forecasts(&files, &early)[0].outcome, None);
            assert_eq!(record_judged(&files, &early, &who).unwrap(), 0);
            assert!(forecasts(&files, &early)[0].words().contains("revision 1: forecast for 200"));
            let late = run(40);
            assert_eq!(record_judged(&files, &late, &who).unwrap(), 1);
            let files = Files::read(&paths);
            assert_eq!(record_judged(&files, &late, &who).unwrap(), 0);
            let told = files.audit.last().unwrap();
            assert_eq!((told.event, told.revision), (Event::Judged, Some(1)));
            assert!(told.reason.as_deref().unwrap().contains(word), "{told:?}");
            // From the audit, whatever the metrics still hold.
            let again = &forecasts(&files, &early)[0];
            assert!(again.words().contains(word), "{}", again.words());
        }
    }
}
