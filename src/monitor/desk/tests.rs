//! Proposals for runs that do not do what the schedule in force says.

use super::*;
use crate::advice::testing::{LAW, MEMORY, e, group_of, loss_of, on_disk, run_of};
use crate::advice::{GuardName, VerdictKind};
use crate::control::Draft;

/// A desk beside one run, with a trainer that said ready, and accepted `accepted` where it is one.
pub(super) struct Place {
    pub dir: tempfile::TempDir,
    pub desk: Desk,
    pub data: RunData,
    options: PlanOptions,
}

impl Place {
    pub fn of(data: RunData, accepted: &[Entry], settings: &Settings) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("live.jsonl");
        let files = RunFiles { name: "live".into(), main: main.clone(), parts: vec![main] };
        let line = |status: &str, revision: Option<u64>, tokens: u64, schedule: &[Entry]| {
            let mut line = serde_json::json!({"version": 1, "status": status, "run": "live",
                "attempt": "j.1", "revision": revision, "step": tokens / 128, "tokens": tokens,
                "batch_size_tokens": 128, "unit_tokens": 16, "direction": "both"});
            if !schedule.is_empty() {
                line["schedule"] = serde_json::to_value(schedule).unwrap();
            }
            format!("{line}\n")
        };
        let mut acks = line("ready", None, 0, &[]);
        if !accepted.is_empty() {
            acks += &line("accepted", Some(1), 1_280_000, accepted);
        }
        std::fs::write(dir.path().join("live.control.ack.jsonl"), acks).unwrap();
        let options = PlanOptions { budget_tokens: Some(9e6), ..on_disk() };
        let settings =
            Settings { lead_seconds: Some(0.02), decide_seconds: Some(0.02), ..settings.clone() };
        let mut desk = Desk::open(&files, &settings);
        desk.read(&data, Some(0.0), false);
        Place { dir, desk, data, options }
    }

    pub fn plan(&self) -> Plan {
        let situation = self.desk.situation(&self.data, None, true, true);
        let group = group_of(&LAW, MEMORY);
        advice::plan(&self.data, loss_of(&self.data), Some(&group), &situation, &self.options)
    }

    /// Does something at the desk, with all that is known of the run now.
    fn at_desk<T>(&mut self, plan: Option<&Plan>, act: impl FnOnce(&mut Desk, Case<'_>) -> T) -> T {
        let group = group_of(&LAW, MEMORY);
        let case = Case {
            data: &self.data,
            loss_now: loss_of(&self.data),
            group: Some(&group),
            plan,
            options: &self.options,
            live: true,
            ended: false,
        };
        act(&mut self.desk, case)
    }

    pub fn propose(&mut self, change: &Change, plan: &Plan) -> Proposal {
        self.at_desk(Some(plan), |desk, case| desk.propose(change, case));
        let view = self.desk.view();
        view.proposal.unwrap_or_else(|| panic!("{:?}", view.said))
    }

    /// What would be written of the proposal on the table.
    pub fn draft(&mut self) -> Draft {
        self.at_desk(None, |desk, case| desk.draft(desk.table.as_ref().unwrap(), case))
    }

    /// The answer to an approval of the proposal on the table with every guard overridden, and whether
    /// it was written.
    pub fn approve(&mut self, plan: &Plan) -> (String, bool) {
        let shown = self.desk.view().proposal.unwrap();
        let overrides: Vec<GuardName> = shown.guards.iter().map(|g| g.name).collect();
        self.at_desk(Some(plan), |desk, case| desk.approve(shown.number, &overrides, false, case));
        let view = self.desk.view();
        let answer = view.proposal.as_ref().and_then(|p| p.answer.clone()).or(view.said);
        (answer.unwrap(), view.proposal.is_none())
    }

    pub fn now(&self) -> u64 {
        self.data.tokens() as u64
    }
}

pub(super) fn blocked(p: &Proposal) -> Vec<GuardName> {
    p.guards.iter().filter(|g| g.blocks).map(|g| g.name).collect()
}

/// The batch sizes from now on, the present one first.
pub(super) fn to_come(p: &Proposal, now: u64) -> Vec<u64> {
    let mut sizes = vec![advice::batch_at(&p.schedule, now as f64).unwrap()];
    let later = p.schedule.iter().filter(|e| e.from_tokens > now);
    sizes.extend(later.map(|e| e.batch_size_tokens));
    sizes.dedup();
    sizes
}

fn to_512() -> Change {
    Change::BatchSize { batch_size_tokens: 512, at_tokens: None }
}

#[test]
fn a_change_by_hand_begins_with_the_ramp_as_it_was() {
    let parts = [(128.0, 2e6), (256.0, 1e6)];
    let mut place = Place::of(run_of(&LAW, &MEMORY, &parts, 0.0), &[], &Settings::default());
    let plan = place.plan();
    let manual = place.propose(&to_512(), &plan);
    assert_eq!(manual.schedule[..2], [e(0, 128), e(2_000_000, 256)]);
}

/// The trainer raised to 256 earlier than the schedule says that it was given with.
fn early() -> Place {
    let declared = PlanOptions {
        schedule: Some(vec![e(0, 64), e(1_500_000, 128), e(3_500_000, 256)]),
        ..PlanOptions::default()
    };
    let settings = Settings { plan: declared, ..Settings::default() };
    Place::of(run_of(&LAW, &MEMORY, &[(128.0, 2e6), (256.0, 1e6)], 0.0), &[], &settings)
}

#[test]
fn what_is_written_for_a_run_ahead_of_its_schedule_begins_at_the_size_that_it_trains_at() {
    let mut place = early();
    let plan = place.plan();
    assert!(plan.guards.iter().all(|g| g.name != GuardName::LeadTime), "{:?}", plan.guards);
    let now = place.now();
    let manual = place.propose(&to_512(), &plan);
    assert_eq!(to_come(&manual, now), [256, 512], "{:?}", manual.schedule);
    assert!(blocked(&manual).iter().all(|g| *g != GuardName::BumpSize), "{:?}", manual.guards);
    assert_eq!(manual.from.iter().rfind(|f| f.from_tokens <= now).unwrap().batch_size_tokens, 256);
    assert_eq!(plan.verdict.kind, VerdictKind::Raise, "{}", plan.verdict.text);
    let planned = place.propose(&Change::Plan, &plan);
    let ahead = |s: &[Entry]| s.iter().copied().filter(|e| e.from_tokens > now).collect::<Vec<_>>();
    assert_eq!(ahead(&planned.schedule), ahead(&plan.schedule), "no later than planned");
    assert_eq!(to_come(&planned, now)[0], 256, "{:?}", planned.schedule);
}

#[test]
fn a_plan_made_before_the_trainer_went_its_own_way_is_not_written_over_what_it_does() {
    let mut place =
        Place::of(run_of(&LAW, &MEMORY, &[(128.0, 2e6)], 0.0), &[], &Settings::default());
    let plan = place.plan();
    assert!(plan.schedule.len() > 1, "{:?}", plan.verdict);
    place.data = run_of(&LAW, &MEMORY, &[(128.0, 2e6), (64.0, 2e5)], 0.0);
    let data = place.data.clone();
    place.desk.read(&data, Some(0.0), false);
    let (now, proposal) = (place.now(), place.propose(&Change::Plan, &plan));
    assert_eq!(to_come(&proposal, now)[0], 64, "{:?}", proposal.schedule);
}

#[test]
fn a_trainer_that_accepted_and_does_not_obey_is_named_and_nothing_is_built_on_its_word() {
    let accepted = [e(0, 128), e(2_000_000, 256)];
    let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.0);
    let mut place = Place::of(run, &accepted, &Settings::default());
    assert_eq!(place.desk.view().state, Some(ControlState::Overdue));
    let plan = place.plan();
    assert_eq!(plan.verdict.kind, VerdictKind::Hold);
    assert!(plan.verdict.text.contains("revision 1 is overdue"), "{}", plan.verdict.text);
    assert!(plan.schedule.iter().all(|x| x.from_tokens == 0 || x.from_tokens > place.now()));
    assert!(plan.guards.iter().all(|g| g.name != GuardName::LeadTime), "{:?}", plan.guards);
    let now = place.now();
    let proposal = place.propose(&Change::Plan, &plan);
    assert_eq!(to_come(&proposal, now)[..2], [128, 256], "{:?}", proposal.schedule);
    assert!(proposal.schedule.iter().all(|x| x.from_tokens == 0 || x.from_tokens > now));
    assert!(blocked(&proposal).contains(&GuardName::NoTrainer), "{:?}", proposal.guards);
    let undo = place.propose(&Change::Undo, &plan);
    assert_eq!(to_come(&undo, now), [128], "{:?}", undo.schedule);
    assert_eq!(blocked(&undo), []);
}

#[test]
fn an_undo_goes_back_at_once_over_all_steps_that_it_came_by() {
    let accepted = [e(0, 128), e(1_500_000, 256), e(2_500_000, 512)];
    let parts = [(128.0, 1.5e6), (256.0, 1e6), (512.0, 1e5)];
    let mut place = Place::of(run_of(&LAW, &MEMORY, &parts, 0.0), &accepted, &Settings::default());
    assert_eq!(place.desk.view().state, Some(ControlState::Applied));
    let (plan, now) = (place.plan(), place.now());
    let undo = place.propose(&Change::Undo, &plan);
    assert_eq!(to_come(&undo, now), [512, 128], "{:?}", undo.schedule);
    assert_eq!(blocked(&undo), [], "{:?}", undo.guards);
    let warned = |name| undo.guards.iter().any(|g| g.name == name);
    assert!(warned(GuardName::BumpSize) && warned(GuardName::CatchUp), "{:?}", undo.guards);
    // Also in a phase in which nothing else is changed.
    for phase in [run::Phase::Warmup, run::Phase::Decay] {
        place.data.phases.spans.last_mut().unwrap().phase = phase;
        let undo = place.propose(&Change::Undo, &plan);
        assert_eq!(blocked(&undo), [], "{:?}", undo.guards);
        let name = match phase {
            run::Phase::Warmup => GuardName::Warmup,
            _ => GuardName::Decay,
        };
        assert!(undo.guards.iter().any(|g| g.name == name), "{:?}", undo.guards);
    }
    place.data.phases.spans.last_mut().unwrap().phase = run::Phase::Stable;
    // The same change by hand is held to the rules.
    let by_hand = Change::BatchSize { batch_size_tokens: 128, at_tokens: None };
    let by_hand = place.propose(&by_hand, &plan);
    assert!(blocked(&by_hand).contains(&GuardName::BumpSize), "{:?}", by_hand.guards);
}

/// A revision that was approved before the change before it could be judged does not settle that.
#[test]
fn a_change_that_nobody_could_judge_yet_is_held_to_its_promise_under_the_next_revision() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 2e6)], 0.0);
    let mut place = Place::of(run, &[], &Settings::default());
    let write = |place: &mut Place, size: u64, at: u64| {
        let plan = place.plan();
        let change = Change::BatchSize { batch_size_tokens: size, at_tokens: Some(at) };
        let number = place.propose(&change, &plan).number;
        let (data, options) = (place.data.clone(), place.options.clone());
        let group = group_of(&LAW, MEMORY);
        let case = Case {
            data: &data,
            loss_now: loss_of(&data),
            group: Some(&group),
            plan: Some(&plan),
            options: &options,
            live: true,
            ended: false,
        };
        let all: Vec<GuardName> = advice::GUARDS.iter().map(|g| g.name()).collect();
        place.desk.approve(number, &all, false, case);
        place.desk.read(&data, Some(0.0), false);
    };
    write(&mut place, 256, 2_200_000);
    let ordered = |place: &Place| {
        let s = place.desk.situation(&place.data, None, true, true);
        s.promised.iter().map(|p| (p.from_tokens, p.target_loss.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(ordered(&place), [(2.2e6, true)]);
    let accept = |place: &Place, revision: u64, schedule: &[Entry]| {
        use std::io::Write;
        let line = serde_json::json!({"version": 1, "status": "accepted", "run": "live",
            "attempt": "j.1", "revision": revision, "step": 20_000, "tokens": 2_100_000,
            "batch_size_tokens": 128, "schedule": schedule});
        let acks = place.dir.path().join("live.control.ack.jsonl");
        let mut file = std::fs::File::options().append(true).open(acks).unwrap();
        writeln!(file, "{line}").unwrap();
    };
    accept(&place, 1, &[e(0, 128), e(2_200_000, 256)]);
    let copy = std::fs::read(place.dir.path().join("live.control.log.jsonl")).unwrap();
    for (after, kept) in [(1e5, true), (3e6, false)] {
        std::fs::write(place.dir.path().join("live.control.log.jsonl"), &copy).unwrap();
        place.data = run_of(&LAW, &MEMORY, &[(128.0, 2.2e6), (256.0, after)], 0.0);
        let data = place.data.clone();
        place.desk.read(&data, Some(0.0), false);
        let at = place.now() + 400_000;
        write(&mut place, 512, at);
        let first = kept.then_some((2.2e6, false));
        let all: Vec<_> = first.into_iter().chain([(at as f64, true)]).collect();
        assert_eq!(ordered(&place), all, "{:?}", place.desk.view());
    }
}
