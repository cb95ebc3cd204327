use super::lying::Lying;
use super::model::{self, World};
use super::*;
use proptest::prelude::*;
use std::fs;
use std::io::Write;

fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut f = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    f.write_all(text.as_ref()).unwrap();
}

/// Looks until nothing more comes; each restart begins a new text. Returns the cuts.
fn settle<D: Disk>(f: &mut Follower<D>, budget: usize, texts: &mut Vec<String>) -> Vec<Cut> {
    let (mut quiet, mut cuts) = (0, vec![]);
    while quiet < 6 {
        let mut out = vec![];
        let look = f.look(budget, &mut out).unwrap();
        if look.restarted {
            texts.push(String::new());
        }
        cuts.extend(look.cut);
        quiet = if out.is_empty() && !look.restarted { quiet + 1 } else { 0 };
        texts.last_mut().unwrap().push_str(&String::from_utf8(out).unwrap());
    }
    cuts
}

fn start(path: &Path) -> (Follower, Vec<String>) {
    (Follower::text(path), vec![String::new()])
}

#[test]
fn late_creation_and_growth() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let (mut f, mut texts) = start(&path);
    assert!(f.look(10, &mut vec![]).unwrap().missing);
    append(&path, "one\ntw");
    settle(&mut f, 3, &mut texts);
    append(&path, "o\n");
    settle(&mut f, 3, &mut texts);
    assert_eq!(texts, ["one\ntwo\n"]);
}

#[test]
fn what_the_old_file_still_got_is_read_before_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    append(&path, "one\n");
    let (mut f, mut texts) = start(&path);
    settle(&mut f, 100, &mut texts);
    let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    fs::rename(&path, dir.path().join("a.jsonl.1")).unwrap();
    append(&path, "three\n");
    writer.write_all(b"two\n").unwrap();
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["one\ntwo\n", "three\n"]);
}

/// As logrotate does it: the new file is there, and the writer is told some time later.
#[test]
fn a_writer_that_has_not_noticed_the_rotation_is_read_until_its_successor_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    append(&path, "one\n");
    let (mut f, mut texts) = start(&path);
    settle(&mut f, 100, &mut texts);
    let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    fs::rename(&path, dir.path().join("a.jsonl.1")).unwrap();
    append(&path, "");
    for i in 0..5 {
        settle(&mut f, 100, &mut texts);
        writeln!(writer, "two {i}").unwrap();
    }
    settle(&mut f, 100, &mut texts);
    append(&path, "three\n");
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["one\ntwo 0\ntwo 1\ntwo 2\ntwo 3\ntwo 4\n", "three\n"]);
}

#[test]
fn what_a_rotated_file_got_while_its_handle_was_given_back_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    append(&path, "one\n");
    let mut f = Follower::on(System { many: 0 }, &path);
    let mut texts = vec![String::new()];
    settle(&mut f, 100, &mut texts);
    assert!(f.handle.is_none());
    append(&path, "two\n");
    fs::rename(&path, dir.path().join("a.jsonl.1")).unwrap();
    append(&path, "three\n");
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["one\ntwo\n", "three\n"]);
}

#[test]
fn truncation_is_seen_even_when_the_file_has_outgrown_the_offset() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    append(&path, "old 1\nold 2\n");
    let (mut f, mut texts) = start(&path);
    settle(&mut f, 100, &mut texts);
    fs::write(&path, "new 1 and much longer than before\n").unwrap();
    assert_eq!(settle(&mut f, 100, &mut texts).len(), 1);
    fs::write(&path, "x\n").unwrap();
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["old 1\nold 2\n", "new 1 and much longer than before\n", "x\n"]);
}

#[test]
fn what_a_truncation_took_away_unread_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    append(&path, "0123456789");
    let (mut f, mut texts) = start(&path);
    let look = f.look(4, &mut vec![]).unwrap();
    assert!(look.more && look.cut.is_none());
    fs::write(&path, "new\n").unwrap();
    let cuts = settle(&mut f, 100, &mut texts);
    assert_eq!(cuts.iter().map(|c| c.unread).collect::<Vec<_>>(), [6]);
    fs::remove_file(&path).unwrap();
    append(&path, "another\n");
    assert_eq!(settle(&mut f, 100, &mut texts), [], "it was held, and read to its end");
    assert_eq!(texts, ["", "new\n", "another\n"]);
}

/// A client of NFS may show them where another one's write has come only in part.
#[test]
fn nul_bytes_at_the_end_are_left_until_there_is_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    append(&path, "one\ntw\0\0\0");
    let (mut f, mut texts) = start(&path);
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["one\ntw"]);
    fs::write(&path, "one\ntwo\n\0").unwrap();
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["one\ntwo\n"]);
    append(&path, "end\n");
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["one\ntwo\n\0end\n"]);
}

#[test]
fn a_deleted_file_is_let_go_and_its_successor_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "one\n");
    let (mut f, mut texts) = start(&path);
    settle(&mut f, 100, &mut texts);
    fs::remove_file(&path).unwrap();
    settle(&mut f, 100, &mut texts);
    assert!(f.handle.is_none());
    // Perhaps under the inode of the first.
    append(&path, "two and longer\n");
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["one\n", "two and longer\n"]);
}

#[test]
fn a_switched_symlink_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, latest) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("latest"));
    append(&a, "a1\n");
    append(&b, "b1\n");
    std::os::unix::fs::symlink(&a, &latest).unwrap();
    let (mut f, mut texts) = start(&latest);
    settle(&mut f, 100, &mut texts);
    fs::remove_file(&latest).unwrap();
    std::os::unix::fs::symlink(&b, &latest).unwrap();
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["a1\n", "b1\n"]);
}

#[test]
fn a_directory_is_an_error_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::create_dir(&path).unwrap();
    let (mut f, mut texts) = start(&path);
    assert_eq!(f.look(10, &mut vec![]).unwrap_err().kind(), ErrorKind::IsADirectory);
    fs::remove_dir(&path).unwrap();
    append(&path, "x\n");
    settle(&mut f, 10, &mut texts);
    assert_eq!(texts, ["x\n"]);
}

/// Each of these passes, and nothing is lost or read twice.
#[test]
fn a_stale_handle_lost_permission_and_an_old_size_pass() {
    for fault in 0..24 {
        let mut world = Lying::default();
        let mut f = Follower { text: true, ..Follower::on(world.disk(), &world.path()) };
        let mut read = String::new();
        let mut look = |f: &mut Follower<_>, failed: &mut u32| {
            let mut out = vec![];
            match f.look(7, &mut out) {
                Ok(look) => assert!(!look.restarted && look.cut.is_none(), "fault {fault}"),
                Err(_) => *failed += 1,
            }
            read.push_str(std::str::from_utf8(&out).unwrap());
        };
        let mut failed = 0;
        world.append(b"one\n");
        look(&mut f, &mut failed);
        world.fault(fault);
        world.append(b"two\nthree\n");
        for _ in 0..20 {
            look(&mut f, &mut failed);
        }
        assert_eq!(read, "one\ntwo\nthree\n", "fault {fault}");
        let fails = match fault % 8 {
            0 | 2 => u32::from(fault / 8 % 3 + 1),
            _ => 0,
        };
        assert_eq!(failed, fails, "fault {fault}");
    }
}

/// Found by the model: the handle of the old file was stale, and the first read of the new failed.
#[test]
fn a_new_content_is_told_though_the_look_that_found_it_failed() {
    let mut world = Lying::default();
    let mut f = Follower::on(world.disk(), &world.path());
    let mut out = vec![];
    world.append(b"old\n");
    f.look(100, &mut out).unwrap();
    world.remove();
    world.append(b"new\n");
    assert!(f.look(100, &mut out).is_err());
    world.fault(2);
    assert!(f.look(100, &mut out).is_err());
    let look = f.look(100, &mut out).unwrap();
    assert!(look.restarted && look.cut.is_some());
    assert_eq!(out, b"old\nnew\n");
}

/// Found by the fuzzer: the old file could not be opened once, and was given up.
#[test]
fn a_renamed_file_is_not_given_up_for_a_failure_that_passes() {
    let mut world = Lying::default();
    let mut f = Follower::on(world.disk(), &world.path());
    let mut out = vec![];
    world.append(b"one\n");
    f.look(100, &mut out).unwrap();
    world.append(b"two\n");
    world.fault(0);
    world.rename();
    world.append(b"three\n");
    assert!(f.look(100, &mut out).is_err(), "and the handle is gone");
    world.fault(1);
    for _ in 0..6 {
        let _ = f.look(100, &mut out);
    }
    assert_eq!(out, b"one\ntwo\nthree\n");
}

/// Real files in a directory that is empty at first.
#[derive(Debug)]
struct Real {
    dir: PathBuf,
    serial: u32,
    /// The files that the path and the newest renamed name lead to.
    old: Option<PathBuf>,
    disk: System,
}

impl Real {
    /// `crowded`: handles are given back after every look.
    fn new(dir: &Path, crowded: bool) -> Real {
        let many = if crowded { 0 } else { usize::MAX };
        Real { dir: dir.to_path_buf(), serial: 0, old: None, disk: System { many } }
    }

    fn fresh(&mut self, suffix: &str) -> PathBuf {
        self.serial += 1;
        self.dir.join(format!("x.jsonl.{suffix}{}", self.serial))
    }
}

impl World for Real {
    type Disk = System;

    fn disk(&self) -> System {
        self.disk
    }

    fn path(&self) -> PathBuf {
        self.dir.join("x.jsonl")
    }

    fn exists(&self) -> bool {
        self.path().exists()
    }

    fn append(&mut self, bytes: &[u8]) {
        append(&self.path(), bytes);
    }

    fn cut(&mut self, len: usize) {
        let file = std::fs::OpenOptions::new().write(true).open(self.path()).unwrap();
        if (len as u64) < file.metadata().unwrap().len() {
            file.set_len(len as u64).unwrap();
        }
    }

    fn rename(&mut self) {
        let to = self.fresh("past");
        std::fs::rename(self.path(), &to).unwrap();
        self.old = Some(to);
    }

    fn append_old(&mut self, bytes: &[u8]) -> bool {
        self.old.as_ref().map(|old| append(old, bytes)).is_some()
    }

    fn remove(&mut self) {
        std::fs::remove_file(self.path()).unwrap();
        // Its inode must not be the next one's, where nobody holds it.
        let keep = self.fresh("inode");
        append(&keep, b"");
    }

    fn switch(&mut self) {
        let to = self.fresh("run");
        append(&to, b"");
        let link = self.fresh("link");
        std::os::unix::fs::symlink(&to, &link).unwrap();
        std::fs::rename(link, self.path()).unwrap();
    }

    fn fault(&mut self, _: u8) -> bool {
        false
    }

    fn keeps_what_is_held(&self) -> bool {
        self.disk.many > 0
    }
}

/// Rotated while a write shows as NUL bytes: its line is waited for.
#[test]
fn a_line_still_to_come_is_waited_for_when_the_file_is_rotated() {
    let mut world = Lying::default();
    let mut f = Follower { text: true, ..Follower::on(world.disk(), &world.path()) };
    let mut texts = vec![String::new()];
    world.append(b"a\n");
    settle(&mut f, 100, &mut texts);
    world.fault(5);
    world.append(b"b\n");
    world.rename();
    world.append(b"c\n");
    settle(&mut f, 100, &mut texts);
    assert_eq!(texts, ["a\nb\n", "c\n"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever happens to the file: what is read is, content for content, what was written; only
    /// what a truncation took before a look may be missing, and that is told.
    #[test]
    fn any_history_of_real_files(
        program in prop::collection::vec(any::<u8>(), 0..80), budget in 1usize..60, crowded in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        model::check(Real::new(dir.path(), crowded), &program, budget);
    }
}

/// Found by the fuzzer: a renamed file is waited for as long as is said, not for ever.
#[test]
fn a_writer_that_comes_back_later_than_it_is_waited_for() {
    let (drip, settle, rotate, look, write_old) = (7, 22, 11, 19, 13);
    for looks in [0, 10, 34, 60] {
        let acts = [vec![drip, settle, rotate], vec![look; looks], vec![write_old]].concat();
        let program: Vec<u8> = acts.iter().flat_map(|a| [*a, 0]).collect();
        model::check(Lying::default(), &program, 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_history_on_a_file_system_that_lies(
        program in prop::collection::vec(any::<u8>(), 0..120), budget in 1usize..60,
    ) {
        model::check(Lying::default(), &program, budget);
    }
}
