//! The worker that fits: one fit running, the newest request waiting, older ones dropped. Of each it
//! sends the point estimate first, then the whole fit with its intervals and the plans.

use crate::advice::{self, Plan, PlanOptions, Situation, VerdictKind};
use crate::curve::{self, FitOptions, FitReport, Fitter, GroupFit, SavedLaw};
use crate::run::RunData;
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One run, and what is known of it beside its data.
#[derive(Debug, Clone)]
pub struct Subject {
    pub data: Arc<RunData>,
    /// Smoothed, nats per token.
    pub loss_now: Option<f64>,
    pub situation: Situation,
    pub excluded: bool,
    /// Seconds that a change of this run must lie ahead.
    pub lead_seconds: f64,
}

/// Everything a fit and its plans depend on.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub subjects: Vec<Subject>,
    pub fit: FitOptions,
    pub plan: PlanOptions,
    pub law: Option<SavedLaw>,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub report: FitReport,
    /// One for each subject, in their order. `None`: the point estimate alone, with intervals of the
    /// last whole fit; the whole fit and the plans follow.
    pub plans: Option<Vec<Arc<Plan>>>,
}

/// Fits, then plans every run. Pure: the same request gives the same outcome.
pub fn compute(request: &Request) -> Outcome {
    let (runs, options) = of(request);
    whole(curve::fit(&runs, &options), request)
}

/// The runs of a request, and the options with those left out.
fn of(request: &Request) -> (Vec<Arc<RunData>>, FitOptions) {
    let runs = request.subjects.iter().map(|s| Arc::clone(&s.data)).collect();
    let mut options = request.fit.clone();
    let excluded = request.subjects.iter().filter(|s| s.excluded).map(|s| s.data.id.clone());
    options.group.excluded.extend(excluded);
    (runs, options)
}

fn whole(report: FitReport, request: &Request) -> Outcome {
    let plans = request.subjects.iter().map(|s| Arc::new(plan_one(s, &report, request))).collect();
    Outcome { report, plans: Some(plans) }
}

/// The plan of one run under a given fit.
pub fn plan_one(subject: &Subject, report: &FitReport, request: &Request) -> Plan {
    let options = PlanOptions { lead_seconds: subject.lead_seconds, ..request.plan.clone() };
    let own = group_of(report, &subject.data.id);
    let fitted = |s: &&Subject| own.is_some_and(|g| g.runs.iter().any(|r| r.id == s.data.id));
    let decayed = request.subjects.iter().filter(fitted).filter_map(|s| advice::decayed(&s.data));
    let situation = Situation { decayed: decayed.collect(), ..subject.situation.clone() };
    let plan = |group: Option<&GroupFit>| {
        advice::plan(&subject.data, subject.loss_now, group, &situation, &options)
    };
    // A saved law speaks only where the runs themselves hold none.
    let saved = match own.filter(|g| g.law.is_some()) {
        None => request.law.as_ref().map(SavedLaw::group),
        Some(_) => None,
    };
    let Some(saved) = saved else { return plan(own) };
    let mut by_saved = plan(Some(&saved));
    if by_saved.verdict.kind != VerdictKind::CannotTell || own.is_none() {
        let (loss, batch) = (subject.loss_now, by_saved.now.batch_size_tokens);
        if let Some(e) = own.zip(loss).and_then(|(g, l)| g.estimate_at(l)) {
            let said = advice::estimate_text(&e, batch.map_or(0, |b| b.round() as u64));
            by_saved.verdict.reasons.push(format!("the runs here, without a law: {said}"));
        }
        return by_saved;
    }
    // Refused: what the siblings say without a law, and why the saved one says nothing.
    let mut by_own = plan(own);
    let refusal = by_saved.verdict.text.trim_start_matches("cannot tell: ");
    by_own.verdict.reasons.insert(0, format!("the saved law is not used: {refusal}"));
    by_own
}

/// The group that a run belongs to.
pub fn group_of<'a>(report: &'a FitReport, run: &str) -> Option<&'a GroupFit> {
    report.groups.iter().find(|g| g.runs.iter().any(|r| r.id == run))
}

/// A thread that computes requests and sends what came of them.
#[derive(Debug)]
pub struct Worker {
    waiting: Arc<Slot>,
    outcomes: UnboundedReceiver<Outcome>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    request: Option<Box<Request>>,
    stop: bool,
}

/// What is added to the nice value of those who give way.
const NICE: i32 = 10;

/// Gives way to other processes: the calling thread on Linux, elsewhere the process.
pub fn give_way() {
    // Where it is refused nothing is lost.
    let _ = rustix::process::nice(NICE);
}

impl Worker {
    pub fn start(gives_way: bool) -> Worker {
        let waiting = Arc::new(Slot::default());
        let (send, outcomes) = unbounded_channel();
        let slot = Arc::clone(&waiting);
        std::thread::Builder::new()
            .name("refit".into())
            .spawn(move || {
                if gives_way {
                    give_way();
                }
                serve(&slot, &send);
            })
            .map_or_else(|e| eprintln!("boptop: no thread for fits: {e}"), drop);
        Worker { waiting, outcomes }
    }

    /// Takes the place of a request that still waits.
    pub fn request(&self, request: Request) {
        if let Ok(mut state) = self.waiting.state.lock() {
            state.request = Some(Box::new(request));
            self.waiting.wake.notify_one();
        }
    }

    /// The next outcome; pending for ever once the thread is gone.
    pub async fn next(&mut self) -> Outcome {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Ok(mut state) = self.waiting.state.lock() {
            state.stop = true;
            self.waiting.wake.notify_one();
        }
    }
}

fn serve(slot: &Slot, send: &UnboundedSender<Outcome>) {
    let mut fitter = Fitter::default();
    while let Some(request) = next_request(slot) {
        let (runs, options) = of(&request);
        if let Some(report) = fitter.estimate(&runs, &options)
            && send.send(Outcome { report, plans: None }).is_err()
        {
            return;
        }
        if send.send(whole(fitter.fit(&runs, &options), &request)).is_err() {
            return;
        }
    }
}

fn next_request(slot: &Slot) -> Option<Box<Request>> {
    let mut state = slot.state.lock().ok()?;
    loop {
        if state.stop {
            return None;
        }
        if let Some(request) = state.request.take() {
            return Some(request);
        }
        state = slot.wake.wait(state).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::fixture;

    fn request(runs: &[RunData]) -> Request {
        let subject = |run: &RunData| Subject {
            data: Arc::new(run.clone()),
            loss_now: Some(2.3),
            situation: Situation::default(),
            excluded: false,
            lead_seconds: 20.0,
        };
        Request {
            subjects: runs.iter().map(subject).collect(),
            fit: FitOptions { draws: 20, levels: 4, ..FitOptions::default() },
            ..Request::default()
        }
    }

    #[tokio::test]
    async fn the_point_estimate_comes_first_once_there_are_intervals() {
        let runs = fixture::sweep("mlp2_sweep");
        let mut worker = Worker::start(false);
        worker.request(request(&runs[1..]));
        let first = worker.next().await;
        assert!(first.plans.is_some(), "no intervals yet: nothing to show before the whole fit");
        let grown = request(&runs);
        worker.request(grown.clone());
        let mut outcomes = vec![worker.next().await];
        while outcomes.last().is_some_and(|o| o.plans.is_none()) {
            outcomes.push(worker.next().await);
        }
        let last = outcomes.last().unwrap();
        assert_eq!(last.plans.as_ref().unwrap().len(), runs.len());
        let scratch = compute(&grown).report;
        for outcome in &outcomes {
            for (a, b) in outcome.report.groups.iter().zip(&scratch.groups) {
                let answers = |g: &GroupFit| -> Vec<_> {
                    g.levels.iter().map(|l| (l.loss, l.model, l.b_opt.value)).collect()
                };
                assert_eq!(answers(a), answers(b));
            }
        }
    }
}
