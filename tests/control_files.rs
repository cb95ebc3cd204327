//! Control files under fire: racing writers, writers that are killed, calls that fail, trainers
//! that obey, forget or lie.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

#[path = "support/trainer.rs"]
mod trainer;

use boptop::advice::{Entry, GuardAnswer, GuardName};
use boptop::control::disk::{Disk, FileSystem};
use boptop::control::protocol::{ControlFile, Evidence};
use boptop::control::write::write_through;
use boptop::control::{
    self, Author, ControlState, Draft, Event, Facts, Files, Options, Paths, SCHEMA, approve,
};
use boptop::error::Error;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use trainer::{Settings, Trainer};

fn entry(from: u64, size: u64) -> Entry {
    Entry { from_tokens: from, batch_size_tokens: size, lr_scale: None }
}

fn draft(schedule: &[Entry], expect: Option<u64>) -> Draft {
    Draft {
        run: "a".into(),
        schedule: schedule.to_vec(),
        expect,
        not_after: None,
        evidence: Evidence {
            b_opt: Some(4096.0),
            model: Some("joint".into()),
            ..Evidence::default()
        },
        undoes: None,
    }
}

fn author(name: &str) -> Author {
    Author { user: name.into(), host: Author::current().host }
}

fn write(
    paths: &Paths,
    draft: Draft,
    who: &str,
    based_on: Option<u64>,
    options: Options,
) -> Result<u64, Error> {
    let approval = approve(draft, &[], &[], &author(who)).unwrap();
    control::write(paths, &approval, based_on, options).map(|w| w.revision)
}

fn schema(part: &str) -> jsonschema::Validator {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    schema.as_object_mut().unwrap().remove("anyOf");
    schema["$ref"] = format!("#/$defs/{part}").into();
    jsonschema::validator_for(&schema).unwrap()
}

/// Every line and file that lies there is what the printed schema says.
fn judge_by_schema(paths: &Paths) -> usize {
    let mut judged = 0;
    let mut check = |part: &str, text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        let validator = schema(part);
        let wrong: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{part}: {wrong:?} in {text}");
        judged += 1;
    };
    if let Ok(text) = std::fs::read_to_string(&paths.control) {
        check("control", &text);
    }
    for claim in std::fs::read_dir(&paths.claims).into_iter().flatten().flatten() {
        check("control", &std::fs::read_to_string(claim.path()).unwrap());
    }
    for (part, path) in [("ack", &paths.ack), ("audit", &paths.log)] {
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            check(part, line);
        }
    }
    judged
}

/// A number from the environment, for the long form of a test.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

fn place() -> (tempfile::TempDir, Paths) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::beside(&dir.path().join("a.jsonl"));
    (dir, paths)
}

#[test]
fn two_writers_never_share_a_revision_and_every_loser_is_told() {
    for lock in [true, false] {
        let (_dir, paths) = place();
        let rounds = number("CONTROL_FILES_ROUNDS", 60) as usize;
        let won = std::thread::scope(|scope| {
            let writers: Vec<_> = ["ann", "bob"]
                .into_iter()
                .map(|who| {
                    let paths = &paths;
                    scope.spawn(move || {
                        let (mut won, mut lost) = (Vec::new(), 0);
                        while won.len() < rounds {
                            let seen = Files::read(paths).newest();
                            let options = Options { lock, ..Options::default() };
                            let change = draft(&[entry(0, 1024)], None);
                            match write(paths, change, who, seen, options) {
                                Ok(revision) => won.push(revision),
                                Err(Error::Refused(why)) => {
                                    assert!(!why.is_empty());
                                    lost += 1;
                                }
                                Err(other) => panic!("{other}"),
                            }
                        }
                        (who, won, lost)
                    })
                })
                .collect();
            writers.into_iter().map(|w| w.join().unwrap()).collect::<Vec<_>>()
        });
        let mut owner: HashMap<u64, &str> = HashMap::new();
        for (who, revisions, _) in &won {
            for r in revisions {
                assert_eq!(owner.insert(*r, who), None, "revision {r} has two authors");
            }
        }
        let lost: usize = won.iter().map(|w| w.2).sum();
        println!("lock {lock}: {} revisions, {lost} refusals", owner.len());
        assert!(lost > 0, "the writers never met (lock {lock})");
        // What stands is the highest claim, and its author is who was told so.
        let files = Files::read(&paths);
        let top = files.file().unwrap();
        let by = top.issued_by.split('@').next().unwrap().to_string();
        assert_eq!(owner.get(&top.revision).copied(), Some(by.as_str()));
        assert_eq!(files.claims.last().unwrap().revision, top.revision);
        for claim in &files.claims {
            if let Some(who) = owner.get(&claim.revision) {
                assert!(claim.author().starts_with(who), "{claim:?}");
            }
        }
    }
}

/// The child of the test below: writes revision after revision until it is killed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("CONTROL_FILES_CHILD") else { return };
    let paths = Paths::beside(&Path::new(&dir).join("a.jsonl"));
    loop {
        let seen = Files::read(&paths).newest();
        // A schedule long enough that a torn write would show.
        let schedule: Vec<Entry> = (0..200).map(|i| entry(i * 1_000_000, 1024 + i)).collect();
        if let Err(e) = write(&paths, draft(&schedule, None), "ann", seen, Options::default()) {
            std::fs::write(Path::new(&dir).join("error"), e.to_string()).unwrap();
            return;
        }
    }
}

#[test]
fn a_killed_writer_leaves_the_old_file_or_the_new_one() {
    let kills = number("CONTROL_FILES_KILLS", 25);
    let (mut torn, mut missing, mut back, mut reads, mut written) = (0, 0, 0, 0u64, 0);
    let mut done = 0;
    while done < kills {
        // A fresh run now and then: reading a long audit again and again is not what is tested.
        let (dir, paths) = place();
        let stop = AtomicBool::new(false);
        let here = kills.min(done + 25) - done;
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut torn, mut missing, mut back, mut reads, mut last) = (0, 0, 0, 0u64, 0);
                while !stop.load(Ordering::Relaxed) {
                    match std::fs::read(&paths.control) {
                        Ok(bytes) => match ControlFile::parse(&bytes) {
                            Ok(file) => {
                                back += u64::from(file.revision < last);
                                last = file.revision;
                            }
                            Err(_) => torn += 1,
                        },
                        Err(_) => missing += u64::from(last > 0),
                    }
                    reads += 1;
                    std::thread::yield_now();
                }
                (torn, missing, back, reads, last)
            });
            for i in 0..here {
                let mut child = Command::new(std::env::current_exe().unwrap())
                    .args(["child_that_writes_until_it_is_killed", "--exact", "--test-threads=1"])
                    .env("CONTROL_FILES_CHILD", dir.path())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap();
                // It has written a few revisions of its own, then it dies somewhere in the next.
                let revision = || {
                    let bytes = std::fs::read(&paths.control).unwrap_or_default();
                    ControlFile::parse(&bytes).map_or(0, |f| f.revision)
                };
                let from = revision();
                while revision() <= from + i % 4 {
                    assert_eq!(child.try_wait().unwrap(), None, "the writer gave up");
                }
                for _ in 0..((i + done) * 7919) % 400 {
                    let _ = std::fs::read(&paths.claims);
                }
                child.kill().unwrap();
                child.wait().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            let (t, m, b, n, last) = reader.join().unwrap();
            torn += t;
            missing += m;
            back += b;
            reads += n;
            written += last;
        });
        assert!(!dir.path().join("error").exists());
        // The next writer goes on above all that was claimed, and clears what the dead left.
        let files = Files::read(&paths);
        let next =
            write(&paths, draft(&[entry(0, 8)], None), "bob", files.newest(), Options::default());
        assert_eq!(next.unwrap(), files.highest() + 1);
        let left = std::fs::read_dir(dir.path()).unwrap().flatten();
        let left: Vec<PathBuf> =
            left.map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "tmp")).collect();
        assert!(left.is_empty(), "{left:?}");
        done += here;
    }
    println!(
        "{kills} kills, {written} revisions, {reads} reads: {torn} torn, {missing} missing, {back} back"
    );
    assert_eq!((torn, missing, back), (0, 0, 0));
    assert!(reads > kills && written >= kills);
}

/// Fails the n-th call of one kind.
struct Faulty {
    call: &'static str,
    errno: i32,
    /// Calls of that kind that succeed before.
    after: std::cell::Cell<u32>,
    hit: std::cell::Cell<bool>,
}

impl Faulty {
    fn check(&self, call: &str) -> io::Result<()> {
        if call != self.call {
            return Ok(());
        }
        match self.after.get() {
            0 => {
                self.hit.set(true);
                Err(io::Error::from_raw_os_error(self.errno))
            }
            n => {
                self.after.set(n - 1);
                Ok(())
            }
        }
    }
}

impl FileSystem for Faulty {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.check("create")?;
        Disk.create(path)
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.check("write") {
            // A full disk takes what still fits.
            Disk.write(file, &bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        Disk.write(file, bytes)
    }
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        self.check("set_mode")?;
        Disk.set_mode(file, mode)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        self.check("sync")?;
        Disk.sync(file)
    }
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.check("make_dir")?;
        Disk.make_dir(path)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check("link")?;
        Disk.link(from, to)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check("rename")?;
        Disk.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check("sync_dir")?;
        Disk.sync_dir(dir)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check("read")?;
        Disk.read(path)
    }
    fn append(&self, path: &Path, line: &[u8]) -> io::Result<()> {
        self.check("append")?;
        Disk.append(path, line)
    }
}

#[test]
fn whatever_call_fails_the_old_file_stands_or_the_new_one() {
    let errors = [("ENOSPC", 28), ("EIO", 5), ("EACCES", 13), ("EROFS", 30), ("ESTALE", 116)];
    let calls =
        ["create", "write", "set_mode", "sync", "link", "rename", "sync_dir", "read", "append"];
    let mut hits = 0;
    for call in calls {
        for (name, errno) in errors {
            for after in 0..3 {
                let (dir, paths) = place();
                write(&paths, draft(&[entry(0, 1024)], None), "ann", None, Options::default())
                    .unwrap();
                let fs = Faulty { call, errno, after: after.into(), hit: false.into() };
                let approval =
                    approve(draft(&[entry(0, 2048)], None), &[], &[], &author("bob")).unwrap();
                let outcome = write_through(&fs, &paths, &approval, Some(1), Options::default());
                let what = format!("{call} #{after} {name}: {outcome:?}");
                hits += u32::from(fs.hit.get());
                let file =
                    ControlFile::parse(&std::fs::read(&paths.control).unwrap()).expect(&what);
                let files = Files::read(&paths);
                match &outcome {
                    Ok(written) => {
                        assert_eq!((file.revision, written.revision), (2, 2), "{what}");
                        if fs.hit.get() && call != "read" {
                            assert!(!written.warnings.is_empty(), "{what}");
                        }
                    }
                    Err(e) => {
                        assert_eq!(file.revision, 1, "{what}");
                        let words = e.to_string();
                        assert!(
                            words.contains("nothing changed")
                                || words.contains("former file stands")
                                || words.contains("audit"),
                            "{what}"
                        );
                        if call != "append" {
                            let last = files.audit.last().unwrap();
                            assert!(matches!(last.event, Event::Refused | Event::Burned), "{what}");
                            let burned = files.claims.iter().any(|c| c.revision == 2);
                            assert_eq!(last.event == Event::Burned, burned, "{what}");
                        }
                    }
                }
                let left = std::fs::read_dir(dir.path()).unwrap().flatten();
                let temporary = left.filter(|e| e.file_name().to_string_lossy().ends_with(".tmp"));
                assert_eq!(temporary.count(), 0, "{what}");
                // And the next writer goes on.
                let seen = Files::read(&paths).newest();
                let next =
                    write(&paths, draft(&[entry(0, 4096)], None), "eve", seen, Options::default());
                assert!(next.unwrap() > file.revision, "{what}");
                judge_by_schema(&paths);
            }
        }
    }
    assert!(hits >= 60, "only {hits} faults were reached");
}

#[test]
fn a_place_where_no_claim_can_be_made_gets_no_file() {
    let (_dir, paths) = place();
    let fs = Faulty { call: "make_dir", errno: 30, after: 0.into(), hit: false.into() };
    let approval = approve(draft(&[entry(0, 8)], None), &[], &[], &author("ann")).unwrap();
    let why = write_through(&fs, &paths, &approval, None, Options::default()).unwrap_err();
    assert!(why.to_string().contains("nothing changed") && why.to_string().contains("read-only"));
    assert!(!paths.control.exists());
    assert_eq!(Files::read(&paths).audit.last().unwrap().event, Event::Refused);
    // The directory of the run vanished.
    let (dir, paths) = place();
    drop(dir);
    let why = control::write(&paths, &approval, None, Options::default()).unwrap_err();
    assert!(why.to_string().contains("the directory is gone"), "{why}");
}

/// No hard links on this file system.
struct NoLinks;

impl FileSystem for NoLinks {
    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(95))
    }
}

#[test]
fn where_links_fail_the_claim_is_made_all_the_same() {
    let (_dir, paths) = place();
    let approval = approve(draft(&[entry(0, 8)], None), &[], &[], &author("ann")).unwrap();
    for seen in [None, Some(1), Some(2)] {
        write_through(&NoLinks, &paths, &approval, seen, Options::default()).unwrap();
    }
    let files = Files::read(&paths);
    assert_eq!(files.claims.iter().map(|c| c.revision).collect::<Vec<_>>(), [1, 2, 3]);
    // Claimed by another in the meantime: refused, naming them.
    std::fs::copy(paths.claims.join("3.json"), paths.claims.join("4.json")).unwrap();
    let why = write_through(&NoLinks, &paths, &approval, Some(3), Options::default()).unwrap_err();
    assert!(matches!(&why, Error::Refused(w) if w.contains("ann@")), "{why}");
}

#[test]
fn what_is_not_understood_is_never_overwritten() {
    for text in ["{\"version\":2,\"revision\":9}", "not json", "", "[]", "{\"version\":1}"] {
        let (_dir, paths) = place();
        std::fs::write(&paths.control, text).unwrap();
        let why = write(&paths, draft(&[entry(0, 8)], None), "ann", None, Options::default());
        assert!(matches!(why, Err(Error::Refused(_))), "{text}");
        assert_eq!(std::fs::read_to_string(&paths.control).unwrap(), text);
        assert!(!Files::read(&paths).notes.is_empty());
    }
}

#[test]
fn the_instruction_of_another_run_is_not_taken_for_ours_and_never_overwritten() {
    let ready = |run: &str| {
        format!(
            "{{\"version\":1,\"status\":\"ready\",\"run\":\"{run}\",\"attempt\":\"1.0\",\"step\":0,\
             \"tokens\":0,\"batch_size_tokens\":8}}\n"
        )
    };
    let accepted = ready("b").replace("ready", "accepted").replace("0,\"b", "0,\"revision\":1,\"b");
    for (acks, ours) in
        [(ready("a"), false), (ready("b"), true), (format!("{accepted}{}", ready("a")), true)]
    {
        let (_dir, paths) = place();
        let other = Draft { run: "b".into(), ..draft(&[entry(0, 8)], None) };
        write(&paths, other, "bob", None, Options::default()).unwrap();
        std::fs::write(&paths.ack, &acks).unwrap();
        let before = std::fs::read_to_string(&paths.control).unwrap();
        let files = Files::read(&paths);
        assert_eq!(files.acks.bad, 0, "{acks}");
        assert_eq!(files.file().is_some(), ours, "{acks}");
        let tried = write(&paths, draft(&[entry(0, 16)], None), "ann", Some(1), Options::default());
        assert_eq!(tried.is_ok(), ours, "{tried:?}");
        if !ours {
            assert!(files.notes.iter().any(|n| n.contains("for run b")), "{:?}", files.notes);
            assert_eq!(std::fs::read_to_string(&paths.control).unwrap(), before);
        }
    }
}

#[test]
fn unknown_keys_survive_and_the_mode_too() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, paths) = place();
    let old = "{\"version\":1,\"run\":\"a\",\"revision\":4.0,\"site\":{\"x\":[1]},\"expect\":null,\
               \"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":1e3,\"why\":\"first\"}]}";
    std::fs::write(&paths.control, old).unwrap();
    std::fs::set_permissions(&paths.control, std::fs::Permissions::from_mode(0o640)).unwrap();
    let change = draft(&[entry(0, 1000), entry(5000, 2000)], Some(1000));
    assert_eq!(write(&paths, change, "ann", Some(4), Options::default()).unwrap(), 5);
    let new: Value = serde_json::from_slice(&std::fs::read(&paths.control).unwrap()).unwrap();
    assert_eq!(new["site"]["x"][0], 1);
    assert_eq!(new["schedule"][0]["why"], "first");
    assert_eq!(new["expect"]["batch_size_tokens"], 1000);
    let mode = std::fs::metadata(&paths.control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    judge_by_schema(&paths);
}

#[test]
fn a_symlink_out_of_the_directory_is_not_followed() {
    let (_dir, paths) = place();
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join("victim.json");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &paths.control).unwrap();
    let change = || draft(&[entry(0, 8)], None);
    let why = write(&paths, change(), "ann", None, Options::default()).unwrap_err();
    assert!(why.to_string().contains("symlink"), "{why}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    std::fs::remove_file(&victim).unwrap();
    assert!(write(&paths, change(), "ann", None, Options::default()).is_err(), "dangling");
    // Both refusals are on record beside the run.
    let refused = Files::read(&paths).audit;
    assert_eq!(refused.iter().map(|l| l.event).collect::<Vec<_>>(), [Event::Refused; 2]);
    std::fs::remove_file(&paths.log).unwrap();
    std::fs::remove_file(&paths.control).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("log"), &paths.log).unwrap();
    assert!(write(&paths, change(), "ann", None, Options::default()).is_err(), "the log");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn nothing_is_written_read_only_or_over_a_newer_revision() {
    let (_dir, paths) = place();
    let options = Options { read_only: true, ..Options::default() };
    assert!(write(&paths, draft(&[entry(0, 8)], None), "ann", None, options).is_err());
    assert!(!paths.claims.exists() && !paths.log.exists());
    write(&paths, draft(&[entry(0, 8)], None), "ann", None, Options::default()).unwrap();
    let why = write(&paths, draft(&[entry(0, 16)], None), "bob", None, Options::default());
    assert!(matches!(&why, Err(Error::Refused(w)) if w.contains("revision 1 by ann@")), "{why:?}");
    let log = Files::read(&paths).audit;
    assert_eq!(
        log.iter().map(|l| l.event).collect::<Vec<_>>(),
        [Event::Approved, Event::Written, Event::Refused]
    );
}

#[test]
fn a_guard_blocks_until_it_is_overridden_by_name() {
    let guard = |name| GuardAnswer { name, blocks: true, text: "because".into() };
    let guards = [guard(GuardName::Warmup), guard(GuardName::LeadTime)];
    let change = || draft(&[entry(0, 8)], None);
    let who = author("ann");
    let blocked = approve(change(), &guards, &[GuardName::Warmup], &who).unwrap_err();
    assert_eq!(blocked.guards, [GuardName::LeadTime]);
    assert!(blocked.to_string().contains("lead-time: because"));
    let overrides = [GuardName::Warmup, GuardName::LeadTime, GuardName::Unit];
    let approval = approve(change(), &guards, &overrides, &who).unwrap();
    // What did not stand against it was not overridden.
    assert_eq!(approval.overridden(), [GuardName::Warmup, GuardName::LeadTime]);
    let (_dir, paths) = place();
    control::write(&paths, &approval, None, Options::default()).unwrap();
    assert_eq!(Files::read(&paths).audit[0].guards_overridden.len(), 2);
    assert!(approve(draft(&[], None), &[], &[], &who).is_err());
    assert!(approve(draft(&[entry(5, 8), entry(5, 9)], None), &[], &[], &who).is_err());
}

/// Facts as a monitor would take them from the metrics of the small trainer.
fn facts(metrics: &Path) -> Facts {
    let text = std::fs::read_to_string(metrics).unwrap_or_default();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut facts = Facts { log_interval_tokens: Some(100.0), ..Facts::default() };
    for line in &lines {
        let (tokens, size) =
            (line["tokens"].as_f64().unwrap(), line["batch_size_tokens"].as_f64().unwrap());
        if facts.segments.last().is_none_or(|s| s[1] != size) {
            facts.segments.push([tokens - size, size]);
        }
        facts.tokens = Some(tokens);
        facts.batch_size = Some(size);
    }
    facts
}

struct Loop {
    _dir: tempfile::TempDir,
    paths: Paths,
    set: Settings,
}

impl Loop {
    fn new() -> Loop {
        let (dir, paths) = place();
        let set = Settings::new(&dir.path().join("a.jsonl"), 10, 100);
        Loop { _dir: dir, paths, set }
    }

    fn status(&self) -> control::Status {
        let files = Files::read(&self.paths);
        let status = control::status(&files, &facts(&self.set.metrics));
        control::record_observed(&files, &status, &author("monitor")).unwrap();
        status
    }

    fn approve(&self, schedule: &[Entry], expect: u64, undoes: Option<u64>) -> Result<u64, Error> {
        let change = Draft { undoes, ..draft(schedule, Some(expect)) };
        let seen = Files::read(&self.paths).newest();
        write(&self.paths, change, "ann", seen, Options::default())
    }

    fn train(&self, trainer: &mut Trainer, until: u64) {
        while trainer.tokens < until {
            trainer.train_step();
        }
    }

    fn events(&self) -> Vec<(Event, Option<u64>)> {
        Files::read(&self.paths).audit.iter().map(|l| (l.event, l.revision)).collect()
    }
}

#[test]
fn a_bump_an_undo_a_crash_and_a_clean_end() {
    let l = Loop::new();
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 1000);
    let status = l.status();
    assert_eq!((status.state, status.revision, status.attempts_alive), (None, None, 1));
    assert_eq!(status.limits.as_ref().unwrap().unit_tokens, Some(10));
    assert_eq!(status.run_id.as_deref(), Some("a"));

    assert_eq!(l.approve(&[entry(0, 100), entry(3000, 200)], 100, None).unwrap(), 1);
    assert_eq!(l.status().state, Some(ControlState::Written));
    trainer.train_step();
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Accepted));
    assert_eq!(status.next.unwrap().from_tokens, 3000);
    l.train(&mut trainer, 4000);
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Applied), "{status:?}");
    assert_eq!((status.next, status.last_applied_tokens), (None, Some(3000.0)));

    // Killed, resumed from a checkpoint before the bump: it comes again by itself.
    let (step, tokens) = (20, 2000);
    drop(trainer);
    let mut trainer = Trainer::start(l.set.clone(), step, tokens);
    assert_eq!(trainer.batch(), 100);
    l.train(&mut trainer, 3400);
    assert_eq!(trainer.batch(), 200);
    let status = l.status();
    assert_eq!((status.state, status.attempts_alive), (Some(ControlState::Applied), 1));

    // Undo: back to the former size from a later count, since it already acts.
    let files = Files::read(&l.paths);
    let now = Facts { lead_tokens: Some(500.0), ..facts(&l.set.metrics) };
    let back = control::undo_schedule(&files, &now).unwrap();
    let from = now.tokens.unwrap() as u64 + 500;
    assert_eq!(back, [entry(0, 100), entry(3000, 200), entry(from, 100)]);
    l.approve(&back, 200, Some(1)).unwrap();
    l.train(&mut trainer, 6000);
    assert_eq!(trainer.batch(), 100);
    let status = l.status();
    assert_eq!((status.state, status.revision), (Some(ControlState::Applied), Some(2)));
    assert_eq!(status.history.last().unwrap().state, ControlState::Undone);
    trainer.end();
    let status = l.status();
    assert!(status.ended && status.attempts_alive == 0);
    // Every step of it is in the audit, once, however often boptop looked.
    l.status();
    use Event::*;
    assert_eq!(
        l.events(),
        [
            (Approved, Some(1)),
            (Written, Some(1)),
            (Accepted, Some(1)),
            (Applied, Some(1)),
            (Approved, Some(2)),
            (Written, Some(2)),
            (Accepted, Some(2)),
            (Undone, Some(1)),
            (Applied, Some(2)),
        ]
    );
    assert!(judge_by_schema(&l.paths) > 15);
}

#[test]
fn a_change_is_in_the_audit_once_the_metrics_show_it() {
    let l = Loop::new();
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 100), entry(1000, 200), entry(2000, 400)], 100, None).unwrap();
    // A look after each step: the newest line is that of the step that ends where the next size
    // begins.
    while trainer.tokens < 4000 {
        trainer.train_step();
        l.status();
    }
    let audit = Files::read(&l.paths).audit;
    let applied = audit.iter().filter(|a| a.event == Event::Applied);
    let told: Vec<_> = applied.map(|a| (a.from_tokens, a.reason.as_deref())).collect();
    assert_eq!(
        told,
        [
            (Some(1000), Some("the metrics show 200 tokens a step")),
            (Some(2000), Some("the metrics show 400 tokens a step")),
        ]
    );
}

#[test]
fn an_undo_before_the_change_only_lacks_it() {
    let l = Loop::new();
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 100), entry(3000, 200)], 100, None).unwrap();
    trainer.train_step();
    let back = control::undo_schedule(&Files::read(&l.paths), &facts(&l.set.metrics)).unwrap();
    assert_eq!(back, [entry(0, 100)]);
    l.approve(&back, 100, Some(1)).unwrap();
    l.train(&mut trainer, 5000);
    assert_eq!(trainer.batch(), 100);
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Applied));
    assert_eq!(status.history[0].state, ControlState::Undone);
}

/// The first of two changes acts, the second would before the undo is seen.
#[test]
fn an_undo_never_orders_the_raise_that_it_takes_back() {
    for late in [false, true] {
        let l = Loop::new();
        let mut trainer = Trainer::start(l.set.clone(), 0, 0);
        l.train(&mut trainer, 500);
        l.approve(&[entry(0, 100), entry(1000, 200), entry(2000, 400)], 100, None).unwrap();
        l.train(&mut trainer, 1800);
        let now = Facts { lead_tokens: Some(1200.0), ..facts(&l.set.metrics) };
        let back = control::undo_schedule(&Files::read(&l.paths), &now).unwrap();
        assert_eq!(back, [entry(0, 100), entry(1000, 200), entry(3000, 100)]);
        if late {
            l.train(&mut trainer, 2200);
        }
        let change = Draft { undoes: Some(1), ..draft(&back, None) };
        write(&l.paths, change, "ann", Some(1), Options::default()).unwrap();
        trainer.train_step();
        // Whoever looks late leaves it at once.
        assert_eq!(trainer.batch(), 200);
        l.train(&mut trainer, 4000);
        assert_eq!(trainer.batch(), 100);
        let metrics = std::fs::read_to_string(&l.set.metrics).unwrap();
        assert_eq!(metrics.contains("\"batch_size_tokens\":400"), late, "{metrics}");
        let status = l.status();
        assert_eq!(status.state, Some(ControlState::Applied));
        assert_eq!(status.history[0].state, ControlState::Undone);
    }
}

/// The newest revision was rejected: what acts is the one before, and that is what an undo is of.
#[test]
fn an_undo_after_a_rejected_revision_takes_back_the_one_in_force() {
    let l = Loop::new();
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 100), entry(1000, 200)], 100, None).unwrap();
    l.train(&mut trainer, 2000);
    let undo = |files: &Files| {
        let now = Facts { lead_tokens: Some(500.0), ..facts(&l.set.metrics) };
        (control::to_undo(files), control::undo_schedule(files, &now))
    };
    let files = Files::read(&l.paths);
    let back = undo(&files);
    assert_eq!(back.0, Some(1));
    // No multiple of the unit.
    l.approve(&[entry(0, 100), entry(1000, 200), entry(9000, 205)], 200, None).unwrap();
    trainer.train_step();
    assert_eq!(l.status().state, Some(ControlState::Rejected));
    let (revision, schedule) = undo(&Files::read(&l.paths));
    assert_eq!(revision, Some(1));
    let last = schedule.as_ref().and_then(|s| s.last()).unwrap();
    assert_eq!(last.batch_size_tokens, 100, "{schedule:?}");
    l.approve(&schedule.unwrap(), 200, revision).unwrap();
    l.train(&mut trainer, 6000);
    assert_eq!(trainer.batch(), 100);
    // Rejected, and nothing before it.
    let l = Loop::new();
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 100), entry(9000, 205)], 100, None).unwrap();
    trainer.train_step();
    assert_eq!(undo(&Files::read(&l.paths)), (None, None));
}

#[test]
fn trainers_that_lie_forget_refuse_or_stay_silent_are_shown_as_what_they_are() {
    // Says that it applied, and did not.
    let mut l = Loop::new();
    l.set.lies = true;
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 100), entry(1000, 200)], 100, None).unwrap();
    l.train(&mut trainer, 3000);
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Overdue));
    assert!(
        status.notes.iter().any(|n| n.contains("says that it runs at 200")),
        "{:?}",
        status.notes
    );
    assert!(l.events().contains(&(Event::Overdue, Some(1))));

    // Applied, then restarted without its memory.
    let mut l = Loop::new();
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 100), entry(1000, 200)], 100, None).unwrap();
    l.train(&mut trainer, 2000);
    assert_eq!(l.status().state, Some(ControlState::Applied));
    drop(trainer);
    std::fs::remove_file(&l.paths.control).unwrap();
    l.set.forgets = true;
    let mut trainer = Trainer::start(l.set.clone(), 20, 2000);
    l.train(&mut trainer, 3000);
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Reverted), "{:?}", status.notes);
    assert!(l.events().contains(&(Event::Reverted, Some(1))));

    // Only goes up.
    let mut l = Loop::new();
    l.set.up_only = true;
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 50)], 100, None).unwrap();
    trainer.train_step();
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Rejected));
    assert!(status.limits.unwrap().up_only && status.in_force.is_empty());
    assert!(status.notes.iter().any(|n| n.contains("direction")));
    assert!(l.events().contains(&(Event::Rejected, Some(1))));

    // Obeys and acknowledges nothing: unknown, never success.
    let mut l = Loop::new();
    l.set.silent = true;
    let mut trainer = Trainer::start(l.set.clone(), 0, 0);
    l.train(&mut trainer, 500);
    l.approve(&[entry(0, 100), entry(1000, 200)], 100, None).unwrap();
    l.train(&mut trainer, 3000);
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Written));
    assert!(status.notes.iter().any(|n| n.contains("acknowledged nothing")), "{:?}", status.notes);
    assert!(status.limits.is_none());
}

#[test]
fn a_claim_of_a_dead_writer_is_burned_and_one_of_a_living_writer_is_respected() {
    let (dir, paths) = place();
    write(&paths, draft(&[entry(0, 8)], None), "ann", None, Options::default()).unwrap();
    let claim = std::fs::read_to_string(paths.claims.join("1.json")).unwrap();
    let claim = claim.replace("\"revision\":1", "\"revision\":2");
    std::fs::write(paths.claims.join("2.json"), &claim).unwrap();
    let why = write(&paths, draft(&[entry(0, 8)], None), "bob", Some(1), Options::default());
    assert!(
        matches!(&why, Err(Error::Refused(w)) if w.contains("being written by ann@")),
        "{why:?}"
    );
    // Its writer was a process of this machine that is no more.
    let mut gone = Command::new("true").spawn().unwrap();
    let pid = gone.id();
    gone.wait().unwrap();
    let host = Author::current().host;
    std::fs::write(dir.path().join(format!(".a.control.json.2.{pid}.0@{host}.tmp")), &claim)
        .unwrap();
    let files = Files::read(&paths);
    assert_eq!((files.newest(), files.highest()), (Some(1), 2));
    assert!(files.notes.iter().any(|n| n.contains("burned")), "{:?}", files.notes);
    let third = write(&paths, draft(&[entry(0, 8)], None), "bob", Some(1), Options::default());
    assert_eq!(third.unwrap(), 3);
}

#[test]
fn escape_sequences_of_strangers_reach_no_screen() {
    let (_dir, paths) = place();
    let bad = "\\u001b[2Jx\\u202e\\u0007";
    std::fs::write(
        &paths.ack,
        format!(
            "{{\"version\":1,\"status\":\"ready\",\"run\":\"{bad}\",\"attempt\":\"{bad}\",\"unit_tokens\":1,\"direction\":\"up\"}}\n\
             {{\"version\":1,\"status\":\"rejected\",\"run\":\"a\",\"attempt\":\"{bad}\",\"revision\":1,\"reason\":\"{bad}\",\"detail\":\"{bad}\",\"time\":\"{bad}\"}}\n\
             {{\"status\":\"{bad}\"}}\n"
        ),
    )
    .unwrap();
    write(&paths, draft(&[entry(0, 8)], None), "an\u{1b}n", Some(1), Options::default()).unwrap();
    std::fs::write(&paths.control, format!("{{\"version\":\"{bad}\"}}")).unwrap();
    let files = Files::read(&paths);
    let status = control::status(&files, &Facts::default());
    control::record_observed(&files, &status, &author("m")).unwrap();
    let log = status.log.iter().flat_map(|l| [&l.at, &l.by, &l.text, &l.event]);
    let texts: Vec<&String> = status.notes.iter().chain(log).collect();
    assert!(texts.len() > 8);
    for text in texts {
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
    let log = std::fs::read_to_string(&paths.log).unwrap();
    assert!(
        log.contains("\"reason\":\"other\"") && !log.contains("u001b") && !log.contains("u202e")
    );
}

/// A trainer in Python around the printed adapter: `steps` optimizer steps from a checkpoint.
const PYTHON: &str = r#"
import sys, time
from boptop_control import Control
folder, step, tokens, until, unit, direction = sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6]
c = Control(folder + "/a.jsonl", unit_tokens=unit, own=lambda t: 40 if t < 200 else 100, max_batch=5000,
            direction=direction, poll_seconds=0.0)
c.start(step, tokens)
while tokens < until:
    batch, lr_scale = c.batch(step, tokens)
    step, tokens = step + 1, tokens + batch
    c.log(step, tokens, batch, float("nan") if step == 3 else 2.0, 1e-3 * lr_scale)
    print(tokens, flush=True)
if "--crash" not in sys.argv:
    c.end(step, tokens)
"#;

fn python() -> Option<&'static str> {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: there is no python3 here");
    }
    found.then_some("python3")
}

fn train_in_python(dir: &Path, step: u64, tokens: u64, until: u64, more: &[&str]) -> u64 {
    let mut args = vec!["-c".into(), PYTHON.into(), dir.display().to_string()];
    args.extend([step, tokens, until].map(|n| n.to_string()));
    let (unit, direction) = (more.first().unwrap_or(&"20"), more.get(1).unwrap_or(&"both"));
    args.extend([unit.to_string(), direction.to_string()]);
    args.extend(more.iter().skip(2).map(|s| s.to_string()));
    let out = Command::new(python().unwrap())
        .args(args)
        .env("PYTHONPATH", dir)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("BOPTOP_CONTROL")
        .env_remove("SLURM_JOB_ID")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().last().unwrap_or("0").parse().unwrap()
}

#[test]
fn the_printed_python_adapter_obeys() {
    if python().is_none() {
        return;
    }
    let l = Loop::new();
    let dir = l.paths.control.parent().unwrap();
    std::fs::write(dir.join("boptop_control.py"), boptop::adapters::text("python").unwrap())
        .unwrap();
    // Garbage of every kind under the control file stops nothing.
    let huge = format!("{{\"revision\":1{}}}", "0".repeat(500));
    let deep = "[".repeat(100_000);
    let all = [
        "",
        "null",
        "[]",
        "{",
        "\u{0}",
        "{\"revision\":true}",
        "{\"revision\":NaN}",
        huge.as_str(),
        deep.as_str(),
    ];
    let mut tokens = 0;
    for garbage in all {
        std::fs::write(&l.paths.control, garbage).unwrap();
        tokens = train_in_python(dir, tokens / 40, tokens, tokens + 40, &["20", "both", "--crash"]);
    }
    std::fs::remove_file(&l.paths.control).unwrap();
    let status = l.status();
    assert_eq!((status.state, status.attempts_alive), (None, 1));
    assert_eq!(status.limits.unwrap().max_batch_tokens, Some(5000));

    // Three bumps and an undo; killed in between and resumed from an older checkpoint.
    tokens = train_in_python(dir, 9, tokens, 1000, &[]);
    l.approve(&[entry(0, 100), entry(1500, 200)], 100, None).unwrap();
    tokens = train_in_python(dir, 15, tokens, 2100, &["20", "both", "--crash"]);
    let status = l.status();
    assert_eq!(status.state, Some(ControlState::Applied), "{status:?}");
    l.approve(&[entry(0, 100), entry(1500, 200), entry(3000, 400)], 200, None).unwrap();
    tokens = train_in_python(dir, 20, tokens, 3900, &["20", "both", "--crash"]);
    assert_eq!(l.status().state, Some(ControlState::Applied));
    // An older checkpoint: the schedule says what ran there.
    assert!(train_in_python(dir, 15, 1300, 3900, &["20", "both", "--crash"]) >= tokens);
    assert_eq!(l.status().state, Some(ControlState::Applied));
    let now = Facts { lead_tokens: Some(500.0), ..facts(&l.set.metrics) };
    let back = control::undo_schedule(&Files::read(&l.paths), &now).unwrap();
    l.approve(&back, 400, Some(2)).unwrap();
    tokens = train_in_python(dir, 30, now.tokens.unwrap() as u64, 6000, &[]);
    let status = l.status();
    assert_eq!(
        (status.state, status.revision),
        (Some(ControlState::Applied), Some(3)),
        "{status:?}"
    );
    assert!(status.ended);
    assert_eq!(status.history[1].state, ControlState::Undone);

    // At every token count the batch size is what the accepted schedule says.
    let metrics = std::fs::read_to_string(&l.set.metrics).unwrap();
    let mut lines = 0;
    for line in metrics.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (after, size) =
            (line["tokens"].as_u64().unwrap(), line["batch_size_tokens"].as_u64().unwrap());
        let start = after - size;
        let ordered = match line["control_revision"].as_u64() {
            None => {
                if start < 200 {
                    40
                } else {
                    100
                }
            }
            Some(r) => {
                let schedule = Files::read(&l.paths).schedule(r);
                boptop::control::protocol::entry_at(&schedule, start).unwrap().batch_size_tokens
            }
        };
        assert_eq!(size, ordered, "{line}");
        lines += 1;
    }
    assert!(lines > 40 && metrics.contains("\"loss\": null"));

    // Every reason for which it may refuse, in the order of the codes.
    let seen = Files::read(&l.paths).newest().unwrap();
    let mut step = 100;
    let wrong = [
        ("wrong_run", "{V,\"run\":\"b\",\"schedule\":[]}"),
        ("version", "{\"version\":2,\"run\":\"b\",R}"),
        ("schedule", "{V,N,\"schedule\":[]}"),
        (
            "schedule",
            "{V,N,\"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":20}],\"expect\":7}",
        ),
        ("expect", "{V,N,S20,\"expect\":{\"batch_size_tokens\":1},\"not_after\":{\"tokens\":1}}"),
        ("expired", "{V,N,S30,\"expect\":{},\"not_after\":{\"tokens\":1}}"),
        ("not_divisible", "{V,N,S30}"),
        ("limit", "{V,N,S8000}"),
        ("direction", "{V,N,S20}"),
        (
            "lr_scale",
            "{V,N,\"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":4000,\"lr_scale\":2}]}",
        ),
    ];
    for (i, (code, text)) in wrong.iter().enumerate() {
        let revision = seen + 1 + i as u64;
        let mut text = text
            .replace('V', &format!("\"version\":1,\"revision\":{revision}.0"))
            .replace('R', &format!("\"revision\":{revision}"))
            .replace('N', "\"run\":\"a\"");
        for size in [20, 30, 8000] {
            let schedule =
                format!("\"schedule\":[{{\"from_tokens\":0,\"batch_size_tokens\":{size}}}]");
            text = text.replace(&format!("S{size}"), &schedule);
        }
        std::fs::write(&l.paths.control, &text).unwrap();
        tokens = train_in_python(dir, step, tokens, tokens + 1, &["20", "up", "--crash"]);
        step += 1;
        let files = Files::read(&l.paths);
        let said = files.acks.lines.iter().rev().find(|a| a.revision == Some(revision)).unwrap();
        assert_eq!(said.reason.as_deref(), Some(*code), "{text}");
    }
    // Other nodes: what was accepted no longer fits, is rejected for good, and stays so.
    std::fs::remove_file(&l.paths.control).unwrap();
    for _ in 0..2 {
        tokens = train_in_python(dir, step, tokens, tokens + 1, &["30", "both", "--crash"]);
        assert_eq!(Files::read(&l.paths).acks.in_force(), None);
    }
    let rejected = std::fs::read_to_string(&l.paths.ack).unwrap();
    assert_eq!(rejected.matches("not_divisible").count(), 2);
    assert!(judge_by_schema(&l.paths) > 60);
}

/// On a real full disk: `CONTROL_FILES_SMALL_DISK` names a directory on a file system of a few
/// hundred kilobytes (`mount -t tmpfs -o size=256k none DIR`).
#[test]
fn a_full_disk_keeps_the_former_file() {
    let Ok(small) = std::env::var("CONTROL_FILES_SMALL_DISK") else { return };
    let dir = tempfile::tempdir_in(small).unwrap();
    let paths = Paths::beside(&dir.path().join("a.jsonl"));
    let schedule: Vec<Entry> = (0..200).map(|i| entry(i * 1_000_000, 1024 + i)).collect();
    let mut last = None;
    let why = loop {
        match write(&paths, draft(&schedule, None), "ann", last, Options::default()) {
            Ok(revision) => last = Some(revision),
            Err(why) => break why.to_string(),
        }
    };
    println!("after {last:?}: {why}");
    assert!(why.contains("free space") && last > Some(1), "{why}");
    let standing = ControlFile::parse(&std::fs::read(&paths.control).unwrap()).unwrap();
    assert!(Some(standing.revision) >= last);
    assert_eq!(standing.schedule, schedule);
}
