//! The built program in a pseudo-terminal: what a person sees, presses and gets back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

#[path = "tui/keys.rs"]
mod keys;
#[path = "tui/looks.rs"]
mod looks;
#[path = "tui/niceness.rs"]
mod niceness;
#[path = "support/pty.rs"]
mod pty;
#[path = "support/trainer.rs"]
#[allow(dead_code, reason = "shared with the control tests")]
mod trainer;
#[path = "tui/zoom.rs"]
mod zoom;

use pty::{Pty, boptop};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Some runs of a sweep in a place where anything may be written.
fn sweep_copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b0256_lr2e-3_s21", "b0512_lr2e-3_s21", "b1024_lr2e-3_s21", "b2048_lr2e-3_s21"] {
        let name = format!("{name}.jsonl");
        fs::copy(fixtures().join("mlp2_sweep").join(&name), dir.path().join(&name)).unwrap();
    }
    dir
}

/// An empty place: the screen starts at once and waits.
fn waiting() -> (tempfile::TempDir, Pty) {
    let dir = tempfile::tempdir().unwrap();
    let pty = Pty::start(boptop([Path::new("watch"), dir.path()]), 80, 24);
    pty.see("overview");
    pty.assert_taken();
    (dir, pty)
}

fn pid(pty: &Pty) -> Pid {
    Pid::from_raw(pty.pid).unwrap()
}

// ---------------------------------------------------------------- the whole loop

/// A trainer in a process of its own; it ends when its standard input is closed.
struct Training(Child, Option<ChildStdin>);

impl Training {
    fn start(metrics: &Path) -> Training {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "trainer_process", "--nocapture"])
            .env("TRAINER_METRICS", metrics)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        Training(child, stdin)
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        self.1 = None;
        let _ = self.0.wait();
    }
}

/// Not a test of its own: the trainer of the test below.
#[test]
fn trainer_process() {
    let Some(metrics) = std::env::var_os("TRAINER_METRICS") else { return };
    let (tx, rx) = channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(tx);
    });
    let settings = trainer::Settings {
        lr: 2e-3,
        up_only: true,
        max_batch: Some(4096),
        ..trainer::Settings::new(Path::new(&metrics), 64, 512)
    };
    let mut trainer = trainer::Trainer::start(settings, 0, 0);
    // The pace of a training step; the closed input is the end of the job.
    while rx.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
        trainer.train_step();
    }
    trainer.end();
}

/// Marks every guard that the dialog shows as blocking.
fn override_all(pty: &mut Pty) {
    for number in '1'..='9' {
        let open = |s: &str| s.lines().any(|l| l.contains(&format!(" {number} ✗ ")));
        let marked = |s: &str| s.lines().any(|l| l.contains(&format!(" {number} ✓ ")));
        if !open(&pty.screen().contents()) {
            return;
        }
        pty.press(&number.to_string());
        pty.until(&format!("guard {number} marked"), marked);
    }
}

#[test]
fn a_change_is_proposed_approved_written_accepted_and_applied() {
    let dir = sweep_copy();
    let _training = Training::start(&dir.path().join("steered.jsonl"));
    let args = [Path::new("watch"), dir.path(), Path::new("--lead"), Path::new("0")];
    let mut pty = Pty::start(boptop(args), 120, 40);
    // The overview shows every run; the one in training is live.
    pty.until("all runs", |s| s.contains("b0512_lr2e-3_s21") && s.contains("steered"));
    pty.until("a fit", |s| s.contains("fit ") && s.contains("5 runs"));
    pty.press("/steered\r");
    pty.until("one row", |s| s.contains("steered") && !s.contains("b0512_lr2e-3_s21"));
    pty.until("its size", |s| s.lines().any(|l| l.contains("steered") && l.contains(" 512 ")));
    pty.press("\r");
    pty.see("loss, smoothed");
    pty.press("4");
    pty.see("p proposes the plan");
    // Twice the batch size.
    pty.press("+");
    pty.see_and_press("a looks at it", "a");
    let dialog = pty.until("the dialog", |s| s.contains("approve for") && s.contains("rests on"));
    assert!(dialog.contains("+ then") && dialog.contains("1,024"), "{dialog}");
    if dialog.contains(" 1 ✗ ") {
        pty.press("Y");
        pty.see("nothing written");
        assert!(!dir.path().join("steered.control.json").exists());
        override_all(&mut pty);
    }
    pty.see_and_press("Y writes it", "Y");
    pty.until("the dialog closes", |s| !s.contains("approve for"));
    let written = fs::read_to_string(dir.path().join("steered.control.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["revision"], 1, "{written}");
    let last = written["schedule"].as_array().unwrap().last().unwrap();
    assert_eq!(last["batch_size_tokens"], 1024, "{written}");
    pty.press("5");
    pty.until("the trainer obeys", |s| s.contains("applied"));
    // The metrics themselves show the new batch size.
    pty.press("1");
    pty.until("B now", |s| s.lines().any(|l| l.contains("steered") && l.contains("1.02K")));
    let ack = fs::read_to_string(dir.path().join("steered.control.ack.jsonl")).unwrap();
    assert!(ack.contains("\"accepted\"") && ack.contains("\"applied\""), "{ack}");
    pty.quit();
}

// ---------------------------------------------------------------- ways out

#[test]
fn q_and_ctrl_c_leave_the_terminal_as_it_was() {
    for key in ["q", "\x03"] {
        let (_dir, mut pty) = waiting();
        pty.press(key);
        assert_eq!(pty.end(), Ok(0), "{key:?}");
        pty.assert_restored();
    }
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for group in [false, true] {
            let (_dir, pty) = waiting();
            match group {
                true => kill_process_group(pid(&pty), signal).unwrap(),
                false => kill_process(pid(&pty), signal).unwrap(),
            }
            assert_eq!(pty.end(), Ok(130), "{signal:?}");
            pty.assert_restored();
        }
    }
}

#[test]
fn a_closed_terminal_ends_it() {
    let (_dir, mut pty) = waiting();
    // Ctrl-L draws all of it again.
    let how = pty.hang_up("\x0c");
    assert_eq!(how, Ok(130));
}

/// A shell with job control, as a person has one: `stopped` when the job stops, and `fg` at a line.
fn under_a_shell(dir: &Path) -> Pty {
    let mut shell = pty::command("bash");
    let script = "set -m; \"$0\" watch \"$1\"; echo stopped; read -r go; fg >/dev/null";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_boptop")]);
    shell.arg(dir);
    Pty::start(shell, 80, 24)
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_takes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut pty = under_a_shell(dir.path());
    pty.see("overview");
    pty.assert_taken();
    pty.press("\x1a");
    pty.see("stopped");
    pty.assert_restored();
    pty.press("go\n");
    pty.see("overview");
    pty.assert_taken();
    pty.quit();
}

#[test]
fn a_stop_from_outside_gives_the_terminal_back_and_takes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut pty = under_a_shell(dir.path());
    pty.see("overview");
    let children = format!("/proc/{0}/task/{0}/children", pty.pid);
    let child = fs::read_to_string(children).unwrap();
    let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    kill_process(child, Signal::TSTP).unwrap();
    pty.see("stopped");
    pty.assert_restored();
    pty.press("go\n");
    pty.see("overview");
    pty.assert_taken();
    pty.press("\x03");
    assert_eq!(pty.end(), Ok(0));
    pty.assert_restored();
}

/// Not a test of its own: a screen in whose process a thread panics.
#[test]
fn panicking_process() {
    if std::env::var_os("PANICKING_SCREEN").is_none() {
        return;
    }
    let snapshot = boptop::snapshot::Snapshot {
        at: 0.0,
        replay: None,
        read_only: false,
        seq_len: None,
        runs: Vec::new(),
        fit: std::sync::Arc::new(boptop::snapshot::FitView {
            report: boptop::snapshot::FitReport { groups: Vec::new() },
            made_at: None,
            intervals_at: None,
            running: false,
        }),
        sources: Vec::new(),
        messages: vec!["nothing yet".into()],
    };
    let (tx, rx) = tokio::sync::watch::channel(std::sync::Arc::new(snapshot.clone()));
    let (_say, notices) = tokio::sync::mpsc::unbounded_channel();
    let (commands, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let monitor = std::thread::spawn(move || {
        // The test gives the cue.
        std::thread::park();
        let _keep = (&tx, &mut asked);
        let mut next = snapshot;
        next.messages = vec!["the last".into()];
        let _ = tx.send(std::sync::Arc::new(next));
        panic!("a part of it broke");
    });
    let cue = monitor.thread().clone();
    let (listens, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut cued = signal(SignalKind::user_defined1()).unwrap();
            listens.send(()).unwrap();
            cued.recv().await
        });
        cue.unpark();
    });
    listening.recv().unwrap();
    let ended =
        runtime.block_on(boptop::tui::run(rx, commands, notices, boptop::tui::Settings::default()));
    let _ = monitor.join();
    assert!(ended.is_err() || matches!(ended, Ok(boptop::tui::Exit::Ended)), "{ended:?}");
    eprintln!("came back");
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was_and_its_words_readable() {
    let mut command = pty::command(std::env::current_exe().unwrap().to_str().unwrap());
    command.args(["--exact", "panicking_process", "--nocapture"]);
    command.env("PANICKING_SCREEN", "1");
    let pty = Pty::start(command, 80, 24);
    pty.see("nothing yet");
    pty.assert_taken();
    kill_process(pid(&pty), Signal::USR1).unwrap();
    pty.see("a part of it broke");
    pty.see("came back");
    pty.end().unwrap();
    pty.assert_restored();
}

// ---------------------------------------------------------------- sizes and hostile text

/// A small generator: the sizes are the same at every run.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn a_storm_of_sizes_and_views_is_survived() {
    let rounds = std::env::var("TUI_RESIZES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let sweep = fixtures().join("mlp2_sweep");
    let mut pty = Pty::start(boptop([Path::new("watch"), &sweep]), 80, 24);
    pty.see("b0512");
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for i in 0..rounds {
        let (columns, rows) = match i {
            0 => (1, 1),
            1 => (300, 2),
            _ => ((next(&mut seed) % 250 + 1) as u16, (next(&mut seed) % 80 + 1) as u16),
        };
        pty.resize(columns, rows);
        // Now and then it is waited for; in between one size overtakes the other.
        if i % 13 == 12 {
            pty.resize(columns.max(80), rows.max(12));
            pty.until_nudged("a frame", |s, _| s.contents().starts_with(" boptop"));
        }
        if i % 3 == 0 {
            pty.press(["1", "2", "3", "4", "5", "6", "?", "?"][(i / 3) % 8]);
        }
    }
    pty.resize(80, 24);
    // Keys that came while the screen was too small did nothing: the help may be open.
    pty.press("\x1b");
    pty.press("1");
    pty.until_nudged("the overview at its old size", |screen, _| {
        let s = screen.contents();
        s.starts_with(" boptop") && s.contains("VERDICT") && s.contains("q quit")
    });
    assert_eq!(pty::foreign(&pty.raw()), [""; 0]);
    pty.quit();
}

#[test]
fn hostile_text_in_logs_never_reaches_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let nasty = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}evil\u{2066}\u{9b}31m\u{200b}x";
    let mut text = String::new();
    for i in 1..50 {
        text += &format!("{{\"step\":{i},\"loss\":2.5,\"tokens\":{},\"batch_size\":64}}\n", i * 64);
        text += &format!("{{\"step\":{i},\"loss\":\"{nasty}\",\"lr\":\"{nasty}\"}}\n");
        text += &format!("\u{1b}[31m{nasty} no JSON \u{1b}]52;c;b3duZWQ=\u{7}\n");
    }
    fs::write(dir.path().join("run\u{1b}[2J\u{202e}name.jsonl"), text).unwrap();
    let ready = serde_json::json!({"version": 1, "status": "rejected", "run": nasty,
        "attempt": nasty, "revision": 1, "step": 1, "tokens": 64, "batch_size_tokens": 64,
        "reason": nasty, "detail": nasty, "time": "2026-01-01T00:00:00Z"});
    let ack = dir.path().join("run\u{1b}[2J\u{202e}name.control.ack.jsonl");
    fs::write(ack, format!("{ready}\n")).unwrap();
    let mut pty = Pty::start(boptop([Path::new("watch"), dir.path()]), 120, 40);
    pty.until("the run", |s| s.contains("name") && s.contains("2.5"));
    for (key, title) in [("2", "loss"), ("3", ""), ("4", ""), ("5", "control"), ("6", "bad")] {
        pty.press(key);
        pty.see(title);
    }
    pty.press("?");
    pty.see("everywhere");
    pty.press("\x1b");
    pty.until("the help closes", |s| !s.contains("everywhere"));
    pty.quit();
    assert_eq!(pty::foreign(&pty.raw()), [""; 0]);
    pty.assert_restored();
}

#[test]
fn a_copy_is_handed_to_the_terminal_and_disturbs_nothing() {
    let sweep = fixtures().join("mlp2_sweep");
    let mut pty = Pty::start(boptop([Path::new("watch"), &sweep]), 80, 24);
    pty.see_and_press("b0512", "y");
    pty.see("copied the verdict");
    // OSC 52 to the clipboard, in base64 throughout.
    let raw = String::from_utf8(pty.raw()).unwrap();
    let (_, copied) = raw.split_once("\x1b]52;c;").unwrap();
    let text = copied.split(['\x1b', '\x07']).next().unwrap();
    assert!(
        text.len() > 20 && text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
    );
    pty.quit();
}

#[test]
fn the_demo_paints_itself() {
    let mut pty = Pty::start(boptop(["demo"]), 100, 30);
    pty.until("its first paint", |s| s.contains("boptop") && s.contains("q quit"));
    pty.assert_taken();
    pty.press("q");
    pty.end().unwrap();
    pty.assert_restored();
}
