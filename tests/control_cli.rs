//! `boptop control` from the shell: the built binary beside a trainer in a process of its own that
//! knows the protocol alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

#[path = "support/live.rs"]
mod live;
mod support;
#[path = "support/trainer.rs"]
#[allow(dead_code, reason = "this binary uses its own part")]
mod trainer;

use live::Job;
use serde_json::Value;
use std::fs;
use support::fixtures;

/// The process of the trainer: this very test, told by its environment to be one.
#[test]
fn trainer_process() {
    live::be_a_trainer();
}

const SIZES: [&str; 6] = ["0064", "0128", "0256", "0512", "1024", "2048"];

/// The sweep of the fixture beside a live run called `live`.
fn sweep_and_job() -> Job {
    let job = Job::new("live");
    for size in SIZES {
        let name = format!("b{size}_lr2e-3_s1.jsonl");
        fs::copy(fixtures().join("mlp_sweep").join(&name), job.dir().join(&name)).unwrap();
    }
    job
}

#[track_caller]
fn is_control(answer: &Value) {
    assert_eq!(answer["schema"], "boptop.control/1", "{answer}");
    for key in ["run", "revision", "state", "schedule", "proposal", "wrote"] {
        assert!(answer.get(key).is_some(), "no {key} in {answer}");
    }
    assert!(answer["wrote"].is_boolean() && answer["schedule"].is_array());
    if let Some(proposal) = answer["proposal"].as_object() {
        for key in ["schedule", "guards", "policies"] {
            assert!(proposal[key].is_array(), "no {key} in {answer}");
        }
        for guard in proposal["guards"].as_array().unwrap() {
            assert!(guard["name"].is_string() && guard["blocks"].is_boolean(), "{guard}");
            assert!(!guard["text"].as_str().unwrap().is_empty());
        }
    }
}

fn blocking(answer: &Value) -> Vec<String> {
    let guards = answer["proposal"]["guards"].as_array().unwrap();
    let names = guards.iter().filter(|g| g["blocks"] == true);
    names.map(|g| g["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn propose_approve_obey_undo_from_the_shell() {
    let job = sweep_and_job();
    let mut trainer = job.start(8000, 8000 * 128);
    job.until("logs", |j| j.metrics().len() > 60);

    // A proposal writes nothing but a line of the audit.
    let proposed = job.control("propose", &["--batch-size", "512", "--json"]).json(0);
    is_control(&proposed);
    assert_eq!((&proposed["run"], &proposed["wrote"]), (&"live".into(), &false.into()));
    assert_eq!(proposed["proposal"]["from"][0]["batch_size_tokens"], 128);
    let wanted = proposed["proposal"]["schedule"].as_array().unwrap();
    assert_eq!(wanted.last().unwrap()["batch_size_tokens"], 512, "{proposed}");
    assert!(!job.file("control.json").exists());
    assert_eq!(job.events(), ["proposed"]);
    let guards = blocking(&proposed);
    assert!(guards.contains(&"bump-size".to_string()), "{guards:?}");
    // The next person sees it.
    let shown = job.control("show", &[]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.out.contains("not decided: ") && shown.out.contains("512 tokens"), "{shown:?}");

    // Nobody is asked without a terminal.
    let silent = job.control("approve", &["--batch-size", "512"]);
    assert_eq!(silent.code, Some(2), "{silent:?}");
    assert!(silent.err.contains("--yes") && !job.file("control.json").exists(), "{silent:?}");

    // Guards block, one override does not open all of them.
    let blocked = job.control("approve", &["--batch-size", "512", "--yes"]);
    assert_eq!(blocked.code, Some(3), "{blocked:?}");
    assert!(blocked.err.contains("bump-size: "), "{blocked:?}");
    let other = ["--batch-size", "512", "--yes", "--json", "--override", "unit"];
    let blocked = job.control("approve", &other).json(3);
    is_control(&blocked);
    assert_eq!(blocked["wrote"], false);
    let answer = blocked["proposal"]["answer"].as_str().unwrap();
    assert!(answer.contains("bump-size"), "{answer}");
    assert!(!job.file("control.json").exists());
    let refused = job.audit().into_iter().rfind(|l| l["event"] == "refused").unwrap();
    assert!(refused["reason"].as_str().unwrap().contains("bump-size"), "{refused}");

    // Read-only: the audit does not grow either.
    let before = job.audit().len();
    let overrides: Vec<&str> = guards.iter().flat_map(|g| ["--override", g]).collect();
    let read_only = job.approve(512, &[&overrides[..], &["--read-only"]].concat());
    assert_eq!(read_only.code, Some(3), "{read_only:?}");
    assert!(read_only.err.contains("read-only") && job.audit().len() == before);

    // Each named: written, accepted, applied, all in the audit.
    let written = job.approve(512, &[&overrides[..], &["--json"]].concat()).json(0);
    is_control(&written);
    assert_eq!((&written["wrote"], &written["revision"]), (&true.into(), &1.into()));
    assert_eq!(written["proposal"], Value::Null);
    let line = job.audit().into_iter().rfind(|l| l["event"] == "written").unwrap();
    assert_eq!(line["guards_overridden"].as_array().unwrap().len(), guards.len(), "{line}");
    assert!(line["evidence"]["runs"].is_array() && line["schedule"].is_array(), "{line}");
    let applied = job.until_state("applied", 1);
    assert_eq!(applied["schedule"].as_array().unwrap().last().unwrap()["batch_size_tokens"], 512);

    // Somebody who saw no revision, or an older one, is told whose came first.
    let author = job.control_file()["issued_by"].as_str().unwrap().to_string();
    let late = job.approve_all(256, &["--if-revision", "0"]);
    assert_eq!(late.code, Some(3), "{late:?}");
    assert!(late.err.contains(&format!("revision 1 by {author}")), "{late:?}");
    assert_eq!(job.control_file()["revision"], 1);

    // The same again is no change.
    let same = job.approve(512, &[]);
    assert_eq!(same.code, Some(3), "{same:?}");
    assert!(same.err.contains("nothing to change"), "{same:?}");

    // And back. What is shown first is what the undo does, not what the plan would.
    let asked = job.control("undo", &["--yes", "--if-revision", "0"]);
    assert_eq!(asked.code, Some(3), "{asked:?}");
    assert!(asked.out.contains("revision 1 is taken back: 512, in force since "), "{asked:?}");
    assert!(asked.out.contains("; back to 128 from "), "{asked:?}");
    assert!(!asked.out.contains("what the plan says"), "{asked:?}");
    let undone = job.undo().json(0);
    assert_eq!((&undone["wrote"], &undone["revision"]), (&true.into(), &2.into()), "{undone}");
    job.until_state("applied", 2);
    let events = job.events();
    for event in ["approved", "written", "accepted", "applied", "undone"] {
        assert!(events.iter().any(|e| e == event), "no {event} in {events:?}");
    }
    let count = |event| events.iter().filter(|e| *e == event).count();
    assert_eq!((count("written"), count("accepted"), count("applied")), (2, 2, 2), "{events:?}");
    assert_eq!(job.metrics().last().unwrap()["batch_size_tokens"], 128);
    job.obeyed();
    trainer.kill();

    // The trainer is gone: the run is not live, and a second attempt beside it is noticed.
    let shown = job.control("show", &["--json"]).json(0);
    is_control(&shown);
    assert_eq!(shown["state"], "applied");
    assert!(shown["notes"].is_array());
    // Two at once are noticed by what they write.
    let _first = job.start(9000, 9000 * 128);
    let _second = job.start(9400, 9400 * 128);
    job.until("two attempts", |j| {
        let proposed = j.control("propose", &["--batch-size", "256", "--json"]).json(0);
        proposed["proposal"].is_object() && blocking(&proposed).contains(&"two-attempts".into())
    });
}

/// A step can take longer than the lead time; the guard then wants two steps, and so must the undo.
#[test]
fn an_undo_begins_where_its_own_guard_lets_it() {
    let job = sweep_and_job();
    let _trainer = job.start(8000, 8000 * 128);
    job.until("logs", |j| j.metrics().len() > 60);
    let written = job.approve_all(512, &["--json"]).json(0);
    assert_eq!(written["wrote"], true, "{written}");
    job.until_state("applied", 1);
    let undone = job.undo_at_once().json(0);
    assert_eq!((&undone["wrote"], &undone["revision"]), (&true.into(), &2.into()), "{undone}");
}

#[test]
fn two_attempts_that_write_by_turns_are_noticed() {
    let job = Job::new("live");
    let mut text = String::new();
    let now = live::now() - 3.0;
    for i in 0..60u64 {
        // One attempt is at 400, the other still at 340; they take turns from the 40th line on.
        let step = if i < 40 || i % 2 == 1 { 301 + i } else { 261 + i };
        text += &support::line(step, 128, 3.0, 1e-3, now + 0.05 * i as f64);
    }
    fs::write(job.file("jsonl"), text).unwrap();
    let proposed = job.control("propose", &["--batch-size", "256", "--json"]).json(0);
    assert!(blocking(&proposed).contains(&"two-attempts".to_string()), "{proposed}");
}
