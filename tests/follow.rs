//! `boptop watch --json` on files that grow, rotate and break under it, written by other processes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use support::{command, line};

/// Long enough for a busy machine; every wait ends as soon as its event comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `boptop watch --json`, and the newest line of every run.
struct Stream {
    child: Child,
    lines: Receiver<Value>,
    runs: BTreeMap<String, Value>,
}

impl Stream {
    fn watch<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>, stdin: Stdio) -> Stream {
        let mut child = command()
            .arg("watch")
            .arg("--json")
            .args(args)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).expect("a JSON line")).is_err() {
                    return;
                }
            }
        });
        Stream { child, lines, runs: BTreeMap::new() }
    }

    /// The first state of run `id` of which `holds` is true.
    #[track_caller]
    fn until(&mut self, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(run) = self.runs.get(id).filter(|r| holds(r)) {
                return run.clone();
            }
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    for id in line["gone"].as_array().expect("gone") {
                        self.runs.remove(id.as_str().unwrap());
                    }
                    for run in line["runs"].as_array().expect("runs") {
                        self.runs.insert(run["id"].as_str().unwrap().into(), run.clone());
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{id} never came to that; the newest states are {:#?}", self.runs)
                }
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another process that appends to a file what it is given.
struct Writer {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Writer {
    fn append(path: &Path) -> Writer {
        let mut child = Command::new("sh")
            .args(["-c", "exec cat >> \"$0\""])
            .arg(path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let pipe = child.stdin.take();
        Writer { child, pipe }
    }

    fn write(&mut self, text: &str) {
        let pipe = self.pipe.as_mut().unwrap();
        pipe.write_all(text.as_bytes()).unwrap();
        pipe.flush().unwrap();
    }

    fn done(mut self) {
        drop(self.pipe.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn steps(range: std::ops::RangeInclusive<u64>) -> String {
    range.map(|i| line(i * 10, 1024, 5.0 - 0.001 * i as f64, 1e-3, 1e9 + i as f64)).collect()
}

fn at_step(run: &Value, step: f64) -> bool {
    run["step"].as_f64() == Some(step)
}

#[test]
fn what_another_process_appends_is_seen_and_half_a_line_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grows.jsonl");
    append(&path, &steps(1..=20));
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("grows", |r| at_step(r, 200.0));
    let mut writer = Writer::append(&path);
    let next = line(210, 1024, 4.9, 1e-3, 1e9 + 21.0);
    let (head, tail) = next.split_at(25);
    writer.write(head);
    writer.write(tail);
    let run = stream.until("grows", |r| at_step(r, 210.0));
    assert_eq!(run["lines"], 21);
    assert_eq!(run["bad_lines"], 0);
    assert_eq!(run["tokens"], 210.0 * 1024.0);
    writer.write(&steps(22..=400));
    writer.done();
    assert_eq!(stream.until("grows", |r| at_step(r, 4000.0))["lines"], 400);
}

#[test]
fn a_path_that_does_not_exist_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.jsonl");
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("late", |r| r["state"] == "waiting");
    append(&path, &steps(1..=5));
    stream.until("late", |r| at_step(r, 50.0));
}

#[test]
fn runs_appear_in_a_watched_directory() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("first.jsonl"), &steps(1..=5));
    let mut stream = Stream::watch([dir.path()], Stdio::null());
    stream.until("first", |r| at_step(r, 50.0));
    fs::create_dir(dir.path().join("second")).unwrap();
    append(&dir.path().join("second/metrics.jsonl"), &steps(1..=7));
    stream.until("second", |r| at_step(r, 70.0));
}

#[test]
fn a_rotated_file_goes_on_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rotates.jsonl");
    append(&path, &steps(1..=10));
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("rotates", |r| at_step(r, 100.0));
    append(&path, &steps(11..=12));
    fs::rename(&path, dir.path().join("rotates.jsonl.1")).unwrap();
    append(&path, &steps(13..=15));
    let run = stream.until("rotates", |r| at_step(r, 150.0));
    assert_eq!(run["lines"], 15, "nothing lost, nothing twice: {run}");
}

#[test]
fn a_restart_that_repeats_steps_wins_from_where_it_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("restarts.jsonl");
    append(&path, &steps(1..=30));
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("restarts", |r| at_step(r, 300.0));
    append(&path, &line(210, 1024, 4.5, 1e-3, 1e9 + 31.0));
    let run = stream.until("restarts", |r| at_step(r, 210.0));
    assert_eq!(run["state"], "restarted");
    assert_eq!(run["lines"], 31);
}

#[test]
fn a_truncated_file_is_read_from_its_new_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.jsonl");
    append(&path, &steps(1..=50));
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("cut", |r| at_step(r, 500.0));
    fs::write(&path, line(20, 1024, 4.7, 1e-3, 2e9)).unwrap();
    let run = stream.until("cut", |r| at_step(r, 20.0));
    assert_eq!(run["lines"], 51, "lines count what was ever read: {run}");
}

#[test]
fn garbage_is_counted_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.jsonl");
    append(&path, &steps(1..=5));
    let mut bytes = OpenOptions::new().append(true).open(&path).unwrap();
    bytes
        .write_all(b"{\"step\": \xff\xfe oops\n{\"step\":60,\"loss\":NaN,\"lr\":0.001}\n")
        .unwrap();
    append(&path, &steps(7..=9));
    let mut stream = Stream::watch([&path], Stdio::null());
    let run = stream.until("broken", |r| at_step(r, 90.0));
    assert_eq!(run["bad_lines"], 1, "{run}");
    assert_eq!(run["lines"], 10, "{run}");
}

#[test]
fn standard_input_is_a_run_too() {
    let mut stream = Stream::watch(["-"], Stdio::piped());
    let mut pipe = stream.child.stdin.take().unwrap();
    pipe.write_all(steps(1..=4).as_bytes()).unwrap();
    pipe.flush().unwrap();
    stream.until("stdin", |r| at_step(r, 40.0));
    pipe.write_all(steps(5..=6).as_bytes()).unwrap();
    pipe.flush().unwrap();
    stream.until("stdin", |r| at_step(r, 60.0));
}

fn ready(run: &str) -> String {
    format!(
        "{{\"version\":1,\"status\":\"ready\",\"run\":\"{run}\",\"attempt\":\"job.0\",\"revision\":null,\
         \"step\":0,\"tokens\":0,\"batch_size_tokens\":1024,\"lr_scale\":1.0,\"unit_tokens\":1024,\
         \"min_batch_tokens\":null,\"max_batch_tokens\":null,\"direction\":\"both\",\
         \"can_scale_lr\":true,\"reason\":null,\"detail\":null,\"time\":\"2026-01-01T00:00:00Z\"}}\n"
    )
}

fn now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

#[test]
fn a_run_that_falls_silent_is_said_to_be_quiet_without_another_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stops.jsonl");
    let start = now() - 27.0;
    let text: String = (1..=20).map(|i| line(i, 64, 5.0 - 0.01 * i as f64, 1e-3, start)).collect();
    append(&path, &text);
    let then = std::time::UNIX_EPOCH + Duration::from_secs_f64(start);
    fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("stops", |r| r["state"] == "live");
    stream.until("stops", |r| r["state"] == "quiet");
}

#[test]
fn a_clock_of_the_trainer_that_runs_ahead_keeps_no_dead_run_alive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ahead.jsonl");
    let ahead = now() + 86_400.0;
    let text: String = (1..=20).map(|i| line(i, 64, 4.0, 1e-3, ahead + i as f64)).collect();
    append(&path, &text);
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    fs::File::options().append(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let mut stream = Stream::watch([&path], Stdio::null());
    let run = stream.until("ahead", |r| at_step(r, 20.0));
    assert_eq!(run["state"], "quiet", "{run}");
}

#[test]
fn the_id_that_a_trainer_gives_replaces_the_name_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("name.jsonl");
    append(&path, &steps(1..=5));
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("name", |r| at_step(r, 50.0));
    let ack = dir.path().join("name.control.ack.jsonl");
    append(&ack, &ready("given"));
    stream.until("given", |r| at_step(r, 50.0));
    assert!(!stream.runs.contains_key("name"), "the old id is gone: {:?}", stream.runs);
    fs::remove_file(&ack).unwrap();
    append(&path, &steps(6..=7));
    stream.until("given", |r| at_step(r, 70.0));
}

#[test]
fn two_trainers_that_give_the_same_id_are_two_runs() {
    let dir = tempfile::tempdir().unwrap();
    for (name, to) in [("a", 5), ("b", 9)] {
        append(&dir.path().join(format!("{name}.jsonl")), &steps(1..=to));
        append(&dir.path().join(format!("{name}.control.ack.jsonl")), &ready("same"));
    }
    let mut stream = Stream::watch([dir.path()], Stdio::null());
    stream.until("same", |r| at_step(r, 50.0));
    stream.until("b", |r| at_step(r, 90.0));
}

#[test]
fn standard_input_is_seen_at_once_and_ends() {
    let mut stream = Stream::watch(["-"], Stdio::piped());
    let mut pipe = stream.child.stdin.take().unwrap();
    stream.until("stdin", |r| r["state"] == "waiting");
    let begin = Instant::now();
    for i in 1..=20 {
        pipe.write_all(steps(i..=i).as_bytes()).unwrap();
        pipe.flush().unwrap();
        stream.until("stdin", |r| at_step(r, 10.0 * i as f64));
    }
    // A poll alone comes once a second.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    drop(pipe);
    stream.until("stdin", |r| r["state"] == "ended");
}

/// Open files of the process.
#[cfg(target_os = "linux")]
fn handles(stream: &Stream) -> usize {
    fs::read_dir(format!("/proc/{}/fd", stream.child.id())).unwrap().count()
}

#[test]
#[cfg(target_os = "linux")]
fn thousands_of_files_are_followed_with_few_handles() {
    let dir = tempfile::tempdir().unwrap();
    let path = |i: usize| dir.path().join(format!("r{i}.jsonl"));
    for i in 0..2000 {
        append(&path(i), &steps(1..=2));
    }
    let mut stream = Stream::watch([dir.path()], Stdio::null());
    for i in 0..2000 {
        stream.until(&format!("r{i}"), |r| at_step(r, 20.0));
    }
    assert!(handles(&stream) < 500, "{}", handles(&stream));
    // Files whose handle was given back grow, are cut, and are rotated.
    for i in (1..2000).step_by(100) {
        append(&path(i), &steps(3..=3));
        fs::rename(path(i + 1), dir.path().join(format!("r{}.jsonl.1", i + 1))).unwrap();
        append(&path(i + 1), &steps(3..=4));
        fs::write(path(i + 2), steps(1..=1)).unwrap();
    }
    for i in (1..2000).step_by(100) {
        assert_eq!(stream.until(&format!("r{i}"), |r| at_step(r, 30.0))["lines"], 3);
        assert_eq!(stream.until(&format!("r{}", i + 1), |r| at_step(r, 40.0))["lines"], 4);
        assert_eq!(stream.until(&format!("r{}", i + 2), |r| at_step(r, 10.0))["lines"], 3);
    }
    assert!(handles(&stream) < 500, "{}", handles(&stream));
}

#[test]
fn a_poll_alone_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("polled.jsonl");
    let args = ["--poll".as_ref(), "0.05".as_ref(), dir.path().as_os_str()];
    append(&path, &steps(1..=2));
    let mut stream = Stream::watch(args, Stdio::null());
    stream.until("polled", |r| at_step(r, 20.0));
    append(&path, &steps(3..=3));
    stream.until("polled", |r| at_step(r, 30.0));
    fs::rename(&path, dir.path().join("polled.jsonl.1")).unwrap();
    append(&path, &steps(4..=5));
    assert_eq!(stream.until("polled", |r| at_step(r, 50.0))["lines"], 5);
}

#[test]
fn runs_vanish_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|n| dir.path().join(n));
    for run in [&a, &b] {
        fs::create_dir(run).unwrap();
        append(&run.join("metrics.jsonl"), &steps(1..=3));
    }
    let mut stream = Stream::watch([dir.path()], Stdio::null());
    stream.until("a", |r| at_step(r, 30.0));
    stream.until("b", |r| at_step(r, 30.0));
    fs::remove_dir_all(&a).unwrap();
    append(&b.join("metrics.jsonl"), &steps(4..=4));
    stream.until("b", |r| at_step(r, 40.0));
    fs::create_dir(&a).unwrap();
    append(&a.join("metrics.jsonl"), &steps(2..=6));
    assert_eq!(stream.until("a", |r| at_step(r, 60.0))["lines"], 8);
}

#[test]
fn a_compressed_file_is_followed_as_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("packed.jsonl.gz");
    let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    gz.write_all(steps(1..=3).as_bytes()).unwrap();
    gz.flush().unwrap();
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("packed", |r| at_step(r, 30.0));
    gz.write_all(steps(4..=4).as_bytes()).unwrap();
    gz.flush().unwrap();
    stream.until("packed", |r| at_step(r, 40.0));
    gz.finish().unwrap();
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    let mut second = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    second.write_all(steps(5..=6).as_bytes()).unwrap();
    second.finish().unwrap();
    let run = stream.until("packed", |r| at_step(r, 60.0));
    assert_eq!((&run["lines"], &run["bad_lines"]), (&6.into(), &0.into()), "{run}");
}

#[test]
fn compressed_standard_input_is_seen_as_it_comes() {
    let mut stream = Stream::watch(["-"], Stdio::piped());
    let pipe = stream.child.stdin.take().unwrap();
    let mut zst = zstd::stream::write::Encoder::new(pipe, 3).unwrap();
    for i in 1..=3 {
        zst.write_all(steps(i..=i).as_bytes()).unwrap();
        zst.flush().unwrap();
        stream.until("stdin", |r| at_step(r, 10.0 * i as f64));
    }
    zst.finish().unwrap();
    assert_eq!(stream.until("stdin", |r| r["state"] == "ended")["lines"], 3);
}

/// As logrotate does where the writer cannot be told.
#[test]
fn a_file_that_is_copied_and_truncated_under_its_writer_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copied.jsonl");
    let mut writer = Writer::append(&path);
    writer.write(&steps(1..=10));
    let mut stream = Stream::watch([&path], Stdio::null());
    stream.until("copied", |r| at_step(r, 100.0));
    fs::copy(&path, dir.path().join("copied.jsonl.1")).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    writer.write(&steps(11..=12));
    let run = stream.until("copied", |r| at_step(r, 120.0));
    assert_eq!((&run["lines"], &run["bad_lines"]), (&12.into(), &0.into()), "{run}");
    writer.done();
}
