//! The protocol from the trainer's side, through files.

use super::{Direction, Limits, Moment, Obey, Progress, Stability};
use serde_json::{Value, json};

const NOW: Moment = Moment(1.7e9);

/// A run in a directory of its own, with what a person would write there.
struct Site {
    dir: tempfile::TempDir,
    limits: Limits,
}

impl Site {
    fn new(direction: Direction) -> Site {
        let limits = Limits {
            unit_tokens: 512,
            min_batch_tokens: 1024,
            max_batch_tokens: None,
            direction,
            can_scale_lr: true,
            stability: Stability::default(),
        };
        Site { dir: tempfile::tempdir().unwrap(), limits }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, tokens: u64) -> Obey {
        let metrics = self.path("metrics.jsonl");
        Obey::start(&metrics, "r", "host.1", 8192, self.limits, at(tokens), NOW).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path("metrics.control.json"), text).unwrap();
    }

    fn ask(&self, revision: u64, schedule: &[(u64, u64)]) -> Value {
        let entry = |e: &(u64, u64)| json!({"from_tokens": e.0, "batch_size_tokens": e.1});
        let schedule: Vec<Value> = schedule.iter().map(entry).collect();
        let file = json!({"version": 1, "run": "r", "revision": revision,
            "issued_at": "", "issued_by": "", "schedule": schedule});
        self.write(&file.to_string());
        file
    }

    fn acks(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("metrics.control.ack.jsonl")).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// `status revision/from_tokens batch reason` of each line.
    fn story(&self) -> Vec<String> {
        let word = |v: &Value| v.as_str().map_or(v.to_string(), str::to_string);
        let tell = |a: &Value| {
            let (status, batch) = (word(&a["status"]), word(&a["batch_size_tokens"]));
            let (revision, from) = (word(&a["revision"]), word(&a["from_tokens"]));
            format!("{status} {revision}/{from} {batch} {}", word(&a["reason"]))
        };
        self.acks().iter().map(tell).collect()
    }
}

fn at(tokens: u64) -> Progress {
    Progress { step: tokens / 8192, tokens }
}

fn step(obey: &mut Obey, tokens: u64) -> u64 {
    obey.poll(at(tokens), NOW).unwrap();
    let (setting, said) = obey.before_step(at(tokens), NOW);
    said.unwrap();
    setting.batch_size
}

#[test]
fn ready_comes_first_and_says_what_the_trainer_can_do() {
    let site = Site::new(Direction::Both);
    let mut obey = site.start(0);
    assert_eq!(step(&mut obey, 0), 8192);
    let acks = site.acks();
    assert_eq!(
        acks[0],
        json!({"version": 1, "status": "ready", "run": "r", "attempt": "host.1.0",
            "revision": null, "step": 0, "tokens": 0, "batch_size_tokens": 8192,
            "lr_scale": 1.0, "from_tokens": null, "reason": null, "detail": null,
            "time": "2023-11-14T22:13:20Z", "unit_tokens": 512, "min_batch_tokens": 1024,
            "max_batch_tokens": null, "direction": "both", "can_scale_lr": true})
    );
    assert_eq!(site.story()[1..], ["applied null/null 8192 null"]);
}

#[test]
fn a_revision_is_accepted_then_applied_when_its_entries_begin() {
    let site = Site::new(Direction::Both);
    let mut obey = site.start(0);
    assert_eq!(step(&mut obey, 0), 8192);
    site.ask(1, &[(0, 8192), (100_000, 16_384)]);
    for (tokens, batch_size) in [(50_000, 8192), (99_999, 8192), (100_000, 16_384)] {
        assert_eq!(step(&mut obey, tokens), batch_size);
    }
    // Undone: an entry gone from the schedule no longer acts.
    site.ask(4, &[(0, 8192)]);
    assert_eq!(step(&mut obey, 150_000), 8192);
    site.ask(5, &[(900_000, 1024)]);
    assert_eq!(step(&mut obey, 160_000), 8192);
    obey.end(at(170_000), "done", NOW).unwrap();
    assert_eq!(
        site.story()[1..],
        [
            "applied null/null 8192 null",
            "accepted 1/null 8192 null",
            "applied 1/0 8192 null",
            "applied 1/100000 16384 null",
            "accepted 4/null 16384 null",
            "applied 4/0 8192 null",
            "accepted 5/null 8192 null",
            "applied null/null 8192 null",
            "ended 5/null 8192 null"
        ]
    );
    let accepted = &site.acks()[2]["schedule"];
    assert_eq!(accepted[1], json!({"from_tokens": 100_000, "batch_size_tokens": 16_384}));
}

#[test]
fn each_revision_is_judged_once_and_a_bad_one_leaves_the_former() {
    let site = Site::new(Direction::Up);
    let mut obey = site.start(0);
    site.ask(1, &[(0, 16_384)]);
    assert_eq!(step(&mut obey, 0), 16_384);
    let bad = |revision: u64, key: &str, value: Value| {
        let mut file = site.ask(revision, &[(0, 32_768)]);
        file[key] = value;
        site.write(&file.to_string());
    };
    bad(2, "run", json!("other"));
    assert_eq!(step(&mut obey, 20_000), 16_384);
    // The same revision, now without fault: it was judged.
    site.ask(2, &[(0, 32_768)]);
    assert_eq!(step(&mut obey, 20_000), 16_384);
    bad(3, "expect", json!({"batch_size_tokens": 8192}));
    assert_eq!(step(&mut obey, 20_000), 16_384);
    bad(4, "not_after", json!({"tokens": 19_999}));
    assert_eq!(step(&mut obey, 20_000), 16_384);
    site.ask(5, &[(0, 16_384), (30_000, 17_000)]);
    assert_eq!(step(&mut obey, 20_000), 16_384);
    site.ask(6, &[(0, 16_384), (30_000, 8192)]);
    assert_eq!(step(&mut obey, 40_000), 16_384);
    site.ask(1, &[(0, 65_536)]);
    assert_eq!(step(&mut obey, 40_000), 16_384);
    let codes = ["wrong_run", "expect", "expired", "not_divisible", "direction"];
    let want: Vec<String> = (2..)
        .zip(codes)
        .map(|(revision, code)| format!("rejected {revision}/null 16384 {code}"))
        .collect();
    assert_eq!(site.story()[3..], want);
    assert_eq!(obey.revision(), Some(1));
}

#[test]
fn garbage_torn_and_vanished_files_are_nothing_new() {
    let site = Site::new(Direction::Both);
    let mut obey = site.start(0);
    let whole = site.ask(3, &[(0, 16_384)]).to_string();
    assert_eq!(step(&mut obey, 0), 16_384);
    let next = whole.replace("16384", "32768").replace("\"revision\":3", "\"revision\":4");
    for n in 0..next.len() {
        site.write(&next[..n]);
        assert_eq!(step(&mut obey, 16_384), 16_384);
    }
    std::fs::write(site.path("metrics.control.json"), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(step(&mut obey, 16_384), 16_384);
    std::fs::remove_file(site.path("metrics.control.json")).unwrap();
    assert_eq!(step(&mut obey, 16_384), 16_384);
    assert_eq!(site.acks().len(), 3);
    site.write(&next);
    assert_eq!(step(&mut obey, 16_384), 32_768);
}

#[test]
fn a_restart_remembers_what_was_accepted_and_what_was_rejected() {
    let site = Site::new(Direction::Both);
    let mut obey = site.start(0);
    site.ask(2, &[(0, 8192), (100_000, 16_384)]);
    step(&mut obey, 0);
    site.ask(3, &[(0, 8191)]);
    step(&mut obey, 8192);
    drop(obey);
    // Killed in the middle of a line, and the checkpoint knows nothing.
    let ack = site.path("metrics.control.ack.jsonl");
    let mut text = std::fs::read_to_string(&ack).unwrap();
    text.push_str("{\"version\":1,\"status\":\"accepted\",\"revi");
    std::fs::write(&ack, text).unwrap();
    site.ask(3, &[(0, 65_536)]);
    let mut obey = site.start(120_000);
    assert_eq!(obey.revision(), Some(2));
    assert_eq!(step(&mut obey, 120_000), 16_384);
    let lines = std::fs::read_to_string(&ack).unwrap();
    let last: Vec<&str> = lines.lines().rev().take(2).collect();
    assert!(last[1].contains("\"attempt\":\"host.1.1\"") && last[1].contains("ready"));
    assert!(last[0].contains("applied") && last[0].contains("\"from_tokens\":100000"));
}

#[test]
fn a_schedule_that_no_longer_fits_at_a_start_is_rejected_for_good() {
    let mut site = Site::new(Direction::Both);
    site.ask(2, &[(0, 8704)]);
    assert_eq!(step(&mut site.start(0), 0), 8704);
    site.limits.unit_tokens = 1024;
    assert_eq!(step(&mut site.start(50_000), 50_000), 8192);
    site.limits.unit_tokens = 512;
    assert_eq!(step(&mut site.start(60_000), 60_000), 8192);
    assert_eq!(
        site.story()[3..],
        [
            "ready null/null 8192 null",
            "rejected 2/null 8192 not_divisible",
            "applied null/null 8192 null",
            "ready null/null 8192 null",
            "applied null/null 8192 null"
        ]
    );
}

#[test]
fn what_cannot_be_remembered_is_not_accepted() {
    let site = Site::new(Direction::Both);
    let mut obey = site.start(0);
    let (ack, aside) = (site.path("metrics.control.ack.jsonl"), site.path("aside"));
    std::fs::rename(&ack, &aside).unwrap();
    std::fs::create_dir(&ack).unwrap();
    site.ask(1, &[(0, 16_384)]);
    assert!(obey.poll(at(0), NOW).is_err());
    assert_eq!(obey.setting(0).batch_size, 8192);
    std::fs::remove_dir(&ack).unwrap();
    std::fs::rename(&aside, &ack).unwrap();
    assert_eq!(step(&mut obey, 0), 16_384);
}
