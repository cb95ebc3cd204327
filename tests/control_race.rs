//! Writers in processes of their own: every revision has one author, and each loser was told.
//!
//! The full form, 1,000 revisions each, with locks and without:
//! `CONTROL_RACE_ROUNDS=1000 cargo test --test control_race -- --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

#[path = "support/live.rs"]
mod live;
mod support;
#[path = "support/trainer.rs"]
#[allow(dead_code, reason = "this binary uses its own part")]
mod trainer;

use boptop::advice::Entry;
use boptop::control::{Author, Draft, Files, Options, Paths, approve, write};
use boptop::error::{Error, ExitCode};
use live::Job;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A writer of the race below, told by its environment to be one.
#[test]
fn racing_writer() {
    let Ok(dir) = std::env::var("CONTROL_RACER") else { return };
    let number = |key: &str| std::env::var(key).unwrap().parse::<usize>().unwrap();
    let (me, rounds, lock) =
        (number("RACER_ID"), number("RACER_ROUNDS"), number("RACER_LOCK") == 1);
    let paths = Paths::beside(&Path::new(&dir).join("a.jsonl"));
    let who = Author { user: format!("writer{me}"), host: Author::current().host };
    let entry = Entry { from_tokens: 0, batch_size_tokens: 1024, lr_scale: None };
    // Both are there: go.
    let mut line = String::new();
    println!("there");
    std::io::stdin().read_line(&mut line).unwrap();
    let mut won = 0;
    while won < rounds {
        let draft = Draft { run: "a".into(), schedule: vec![entry], ..Draft::default() };
        let approval = approve(draft, &[], &[], &who).unwrap();
        let seen = Files::read(&paths).newest();
        match write(&paths, &approval, seen, Options { lock, ..Options::default() }) {
            Ok(written) => {
                won += 1;
                println!("won {}", written.revision);
            }
            Err(error @ Error::Refused(_)) => {
                assert_eq!(error.exit_code(), ExitCode::Refused);
                println!("lost {error}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn racer(dir: &Path, id: usize, rounds: u64, lock: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "racing_writer", "--nocapture", "--test-threads=1"])
        .env("CONTROL_RACER", dir)
        .env("RACER_ID", id.to_string())
        .env("RACER_ROUNDS", rounds.to_string())
        .env("RACER_LOCK", if lock { "1" } else { "0" });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_processes_never_share_a_revision_and_every_loser_is_told() {
    let rounds: u64 =
        std::env::var("CONTROL_RACE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    for lock in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut racers = [0, 1].map(|id| racer(dir.path(), id, rounds, lock));
        let readers = racers.each_mut().map(|r| {
            let mut out = BufReader::new(r.stdout.take().unwrap());
            let mut line = String::new();
            while !line.contains("there") {
                line.clear();
                assert!(out.read_line(&mut line).unwrap() > 0);
            }
            out
        });
        for r in &mut racers {
            r.stdin.take().unwrap().write_all(b"go\n").unwrap();
        }
        // Read both at once: a full pipe would stop one of them.
        let told = std::thread::scope(|scope| {
            readers
                .map(|r| scope.spawn(move || r.lines().map(|l| l.unwrap()).collect::<Vec<_>>()))
                .map(|t| t.join().unwrap())
        });
        for mut r in racers {
            assert!(r.wait().unwrap().success());
        }
        let mut owner: HashMap<u64, usize> = HashMap::new();
        let mut lost = 0;
        for (id, lines) in told.iter().enumerate() {
            let mut won = 0;
            for line in lines {
                if let Some(revision) = line.strip_prefix("won ") {
                    let before = owner.insert(revision.parse().unwrap(), id);
                    assert_eq!(before, None, "revision {revision} has two authors");
                    won += 1;
                } else if let Some(why) = line.strip_prefix("lost ") {
                    assert!(why.contains("revision") && why.contains("writer"), "{why}");
                    lost += 1;
                }
            }
            assert_eq!(won, rounds);
        }
        println!("lock {lock}: {} revisions, {lost} refusals", owner.len());
        // With the lock they mostly wait for one another.
        assert!(lock || lost > 0, "the writers never met");
        let files = Files::read(&Paths::beside(&dir.path().join("a.jsonl")));
        let top = files.file().unwrap();
        assert_eq!(
            top.issued_by.split('@').next().unwrap(),
            format!("writer{}", owner[&top.revision])
        );
        for claim in &files.claims {
            if let Some(id) = owner.get(&claim.revision) {
                assert!(claim.author().starts_with(&format!("writer{id}@")), "{claim:?}");
            }
        }
    }
}

/// The trainer of the test below.
#[test]
fn trainer_process() {
    live::be_a_trainer();
}

/// Two people saw revision 0 and press at once: one is written, the other gets exit 3 and a name.
#[test]
fn of_two_who_saw_the_same_one_is_refused_by_name() {
    let job = Job::new("live");
    let _training = job.start(8000, 8000 * live::OWN);
    job.until("metrics", |j| j.metrics().len() > 20);
    for revision in 1..=3 {
        let seen = (revision - 1).to_string();
        let size = if revision % 2 == 1 { 256 } else { 128 };
        let said = std::thread::scope(|scope| {
            [0, 1]
                .map(|_| scope.spawn(|| job.approve_all(size, &["--if-revision", &seen])))
                .map(|t| t.join().unwrap())
        });
        let mut codes = said.each_ref().map(|s| s.code.unwrap());
        codes.sort_unstable();
        assert_eq!(codes, [0, 3], "{said:?}");
        let loser = said.iter().find(|s| s.code == Some(3)).unwrap();
        let named = ["by ", "nothing to change", "was taken", "is being written"];
        assert!(named.iter().any(|n| loser.err.contains(n)), "{loser:?}");
        assert_eq!(job.control_file()["revision"], revision);
        job.until_state("applied", revision);
    }
}
