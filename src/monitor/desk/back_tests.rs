//! Undos, and how long a revision is in time.

use super::tests::{Place, blocked, to_come};
use super::*;
use crate::advice::testing::{LAW, MEMORY, e, run_of};
use crate::advice::{GuardName, VerdictKind};
use crate::run::Phase;

fn in_phase(mut data: RunData, phase: Phase) -> RunData {
    data.phases.spans[0].phase = phase;
    data
}

/// 128 to 3M tokens, under a revision that raises at 3.5M.
fn raise_to_come(phase: Phase) -> Place {
    let data = in_phase(run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.0), phase);
    Place::of(data, &[e(0, 128), e(3_500_000, 256)], &Settings::default())
}

#[test]
fn a_raise_to_come_is_withdrawn_whatever_the_phase_and_a_hold_there_names_it() {
    for phase in [Phase::Warmup, Phase::Decay, Phase::Stable] {
        let mut place = raise_to_come(phase);
        let plan = place.plan();
        let undo = place.propose(&Change::Undo, &plan);
        assert_eq!(undo.schedule, [e(0, 128)]);
        assert!(undo.guards.is_empty(), "{phase:?} {:?}", undo.guards);
        assert!(undo.evidence[0].contains("which is still to come; 128 stays"), "{undo:?}");
        if phase != Phase::Stable {
            let text = &plan.verdict.text;
            assert!(text.starts_with("hold: ") && text.contains("256 at 3.5M"), "{text}");
            assert!(text.ends_with("an undo withdraws it"), "{text}");
        }
    }
}

#[test]
fn in_a_decay_what_acts_is_taken_back_with_a_warning_and_a_change_by_hand_is_blocked() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 2e6), (256.0, 1e6)], 0.0);
    let accepted = [e(0, 128), e(2_000_000, 256)];
    let mut place = Place::of(in_phase(run, Phase::Decay), &accepted, &Settings::default());
    let (plan, now) = (place.plan(), place.now());
    let undo = place.propose(&Change::Undo, &plan);
    assert_eq!(to_come(&undo, now), [256, 128]);
    assert_eq!(blocked(&undo), []);
    assert!(undo.guards.iter().any(|g| g.name == GuardName::Decay), "{:?}", undo.guards);
    let by_hand = Change::BatchSize { batch_size_tokens: 128, at_tokens: None };
    let by_hand = place.propose(&by_hand, &plan);
    assert!(blocked(&by_hand).contains(&GuardName::Decay), "{:?}", by_hand.guards);
}

/// The second raise would begin before an undo of both is seen.
#[test]
fn an_undo_orders_no_raise_and_one_that_may_begin_first_is_told_and_stops_nothing() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 2e6), (256.0, 1e6)], 0.0);
    let second = 3_010_000;
    let accepted = [e(0, 128), e(2_000_000, 256), e(second, 512)];
    let mut place = Place::of(run, &accepted, &Settings::default());
    let (plan, now) = (place.plan(), place.now());
    let undo = place.propose(&Change::Undo, &plan);
    assert_eq!(to_come(&undo, now), [256, 128], "{:?}", undo.schedule);
    assert!(undo.schedule.last().unwrap().from_tokens > second, "{:?}", undo.schedule);
    assert_eq!(blocked(&undo), [], "{:?}", undo.guards);
    let said = &undo.evidence[0];
    assert!(said.contains("512 from 3,010,000 tokens on, which is still to come"), "{said}");
    assert!(said.contains("512 may begin before the trainer sees this"), "{said}");
    // It may act by the time that the undo is seen: no size can be expected then, and the undo must
    // not be late for that.
    let draft = place.draft();
    assert_eq!((draft.expect, draft.undoes), (None, Some(1)));
    assert!(draft.not_after.unwrap() > undo.schedule.last().unwrap().from_tokens);
}

#[test]
fn a_revision_is_in_time_up_to_half_way_to_its_second_change_and_none_is_done_at_once_with_it() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.0);
    let mut place = Place::of(run, &[], &Settings::default());
    let plan = place.plan();
    let one = place.propose(&Change::BatchSize { batch_size_tokens: 256, at_tokens: None }, &plan);
    let first = one.schedule.last().unwrap().from_tokens;
    // 30 seconds at 1M tokens a second.
    assert_eq!(place.draft().not_after, Some(first + 30_000_000));
    let mut plan = place.plan();
    plan.schedule = vec![e(0, 128), e(3_200_000, 256), e(3_400_000, 512)];
    let two = place.propose(&Change::Plan, &plan);
    assert_eq!(two.schedule.len(), 3, "{two:?}");
    assert_eq!(place.draft().not_after, Some(3_300_000));
}

#[test]
fn a_proposal_that_is_moved_keeps_all_its_changes_and_the_guards_look_again() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.0);
    let mut place = Place::of(run, &[], &Settings::default());
    let mut plan = place.plan();
    plan.schedule = vec![e(0, 128), e(3_200_000, 256), e(3_400_000, 512)];
    place.propose(&Change::Plan, &plan);
    let later = place.propose(&Change::Move { by_tokens: 150_000 }, &plan);
    assert_eq!(later.schedule, [e(0, 128), e(3_350_000, 256), e(3_550_000, 512)]);
    assert_eq!(later.number, 2);
    let said = &later.evidence[0];
    assert!(said.contains("256 from 3,350,000 tokens on"), "{said}");
    let phase = &mut place.data.phases.spans[0].phase;
    *phase = Phase::Decay;
    let earlier = place.propose(&Change::Move { by_tokens: -150_000 }, &plan);
    assert_eq!(earlier.schedule, plan.schedule);
    assert!(blocked(&earlier).contains(&GuardName::Decay), "{:?}", earlier.guards);
    // What cannot be moved stays on the table.
    let by_hand = Change::BatchSize { batch_size_tokens: 256, at_tokens: None };
    place.data.phases.spans[0].phase = Phase::Stable;
    let moved = place.propose(&by_hand, &plan).schedule;
    let moved = [moved, place.propose(&Change::Move { by_tokens: -1 }, &plan).schedule];
    assert_eq!(moved[0], moved[1], "no earlier than it can be seen");
}

#[test]
fn what_was_proposed_for_another_run_or_is_done_already_is_not_written() {
    let run = |parts: &[(f64, f64)]| run_of(&LAW, &MEMORY, parts, 0.0);
    let to_256 = Change::BatchSize { batch_size_tokens: 256, at_tokens: None };
    let same = run(&[(128.0, 3e6)]);
    let raised = run(&[(128.0, 3e6), (256.0, 2e5)]);
    let another = run(&[(512.0, 9e6)]);
    for (then, why) in [
        (same.clone(), None),
        (raised, Some("already")),
        (another, Some("another run writes them")),
    ] {
        let mut place = Place::of(same.clone(), &[], &Settings::default());
        let plan = place.plan();
        place.propose(&to_256, &plan);
        place.data = then;
        let (answer, written) = place.approve(&plan);
        assert_eq!(written, why.is_none(), "{answer}");
        assert!(answer.contains(why.unwrap_or("revision 1 written")), "{answer}");
    }
}

#[test]
fn a_raise_that_was_taken_back_is_not_advised_again_without_a_word_of_that() {
    let mut place = raise_to_come(Phase::Stable);
    let plan = place.plan();
    place.propose(&Change::Undo, &plan);
    assert!(place.approve(&plan).1);
    let acks = place.dir.path().join("live.control.ack.jsonl");
    let mut lines = std::fs::read_to_string(&acks).unwrap();
    lines +=
        &serde_json::json!({"version": 1, "status": "accepted", "run": "live", "attempt": "j.1",
        "revision": 2, "step": 23_440, "tokens": 3_000_320, "batch_size_tokens": 128,
        "schedule": [{"from_tokens": 0, "batch_size_tokens": 128}]})
        .to_string();
    std::fs::write(&acks, lines + "\n").unwrap();
    place.desk.stamp = None;
    let data = place.data.clone();
    place.desk.read(&data, Some(0.0), false);
    let verdict = place.plan().verdict;
    assert_eq!(verdict.kind, VerdictKind::Raise, "{}", verdict.text);
    let said = "; revision 2 took exactly that back: revision 1 had ordered 256; see why before";
    assert!(verdict.text.contains(said), "{}", verdict.text);
}

#[test]
fn a_raise_now_names_the_revision_that_it_would_replace() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.0);
    let place = Place::of(run, &[e(0, 128), e(8_000_000, 256)], &Settings::default());
    let text = place.plan().verdict.text;
    assert!(text.starts_with("raise to 256"), "{text}");
    assert!(text.ends_with("; it would replace revision 1 (256 at 8M)"), "{text}");
}

#[test]
fn a_replay_says_that_it_knows_no_control_files_where_there_are_any() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6)], 0.0);
    let settings = Settings { recorded_clock: true, ..Settings::default() };
    let place = Place::of(run, &[], &settings);
    assert!(place.desk.view().notes.is_empty());
    std::fs::write(place.dir.path().join("live.control.log.jsonl"), "").unwrap();
    let main = place.dir.path().join("live.jsonl");
    let files = RunFiles { name: "live".into(), main: main.clone(), parts: vec![main] };
    let notes = Desk::open(&files, &settings).view().notes;
    assert!(
        notes.len() == 1 && notes[0].starts_with("a replay reads no control files"),
        "{notes:?}"
    );
}
