//! The keys that only a terminal shows.

use super::pty::{self, Pty};
use super::{config, fixtures};
use std::fs;
use std::path::Path;

const RUNS: [&str; 4] =
    ["b0256_lr2e-3_s21", "b0512_lr2e-3_s21", "b1024_lr2e-3_s21", "b2048_lr2e-3_s21"];

/// Not on top by itself.
const PINNED: &str = "b1024_lr2e-3_s21";

/// The screen over some runs, under a configuration.
fn open(dir: &Path, text: &str) -> Pty {
    let config = config(dir, text);
    let sweep = fixtures().join("mlp2_sweep");
    let args = ["watch".as_ref(), sweep.as_os_str(), "--config".as_ref(), config.as_os_str()];
    let pty = Pty::start(pty::boptop(args), 100, 30);
    pty.see("b0512");
    pty
}

/// All that was sent until the plot of a run was seen and the program ended.
fn sent(dir: &Path, text: &str) -> String {
    let mut pty = open(dir, text);
    pty.press("2");
    pty.see("single steps");
    pty.quit();
    String::from_utf8_lossy(&pty.raw()).into_owned()
}

/// A default, another value, and what only one of them sends.
fn differs(dir: &Path, text: &str, what: &str, with: bool) {
    assert_eq!(sent(dir, "").contains(what), !with, "{what:?} by default");
    assert_eq!(sent(dir, text).contains(what), with, "{what:?} under {text}");
}

pub fn theme(dir: &Path) {
    let colours = |text: &str| -> Vec<String> {
        let sent = sent(dir, text);
        let parts = sent.split("38;5;").skip(1);
        parts.map(|p| p.chars().take_while(char::is_ascii_digit).collect()).collect()
    };
    let (dark, light) = (colours(""), colours("[screen]\ntheme = \"light\""));
    assert!(!dark.is_empty() && light.iter().all(|c| !dark.contains(c)), "{dark:?} {light:?}");
}

pub fn colors(dir: &Path) {
    differs(dir, "[screen]\ncolors = \"rgb\"", "38;2;", true);
}

pub fn ascii(dir: &Path) {
    differs(dir, "[screen]\nascii = true", "│", false);
}

pub fn half_blocks(dir: &Path) {
    differs(dir, "[screen]\nhalf_blocks = true", "▀", true);
}

pub fn mouse(dir: &Path) {
    differs(dir, "[screen]\nmouse = false", "\x1b[?1000h", false);
}

pub fn sync_output(dir: &Path) {
    const BEGIN: &str = "\x1b[?2026h";
    let frames = |text: &str| sent(dir, text).matches(BEGIN).count();
    let usual = frames("");
    assert_eq!(frames("[screen]\nsync_output = \"never\""), 0);
    assert!(usual > 0 && frames("[screen]\nsync_output = \"always\"") > usual);
}

pub fn pinned(dir: &Path) {
    let first = |text: &str| {
        let pty = open(dir, text);
        let row = |s: &str| s.lines().nth(2).map(str::to_string).filter(|l| l.contains("lr2e-3"));
        row(&pty.until("the first row", |s| row(s).is_some())).unwrap()
    };
    assert!(!first("").contains(PINNED));
    assert!(first(&format!("[screen]\npinned = [{PINNED:?}]")).contains(PINNED));
}

/// One run alone, of which nothing can be told; then its siblings come.
fn a_verdict_changes(dir: &Path, text: &str) -> Pty {
    let (config, runs) = (config(dir, text), dir.join("runs"));
    let _ = fs::remove_dir_all(&runs);
    fs::create_dir(&runs).unwrap();
    let copy = |name: &str| {
        let name = format!("{name}.jsonl");
        fs::copy(fixtures().join("mlp2_sweep").join(&name), runs.join(&name)).unwrap();
    };
    copy(RUNS[1]);
    let args = ["watch".as_ref(), runs.as_os_str(), "--config".as_ref(), config.as_os_str()];
    let pty = Pty::start(pty::boptop(args), 100, 30);
    pty.see("cannot tell");
    for name in [RUNS[0], RUNS[2], RUNS[3]] {
        copy(name);
    }
    pty.until("another verdict", |s| s.lines().any(|l| l.contains("b0512") && l.contains("raise")));
    pty
}

pub fn bell(dir: &Path) {
    let rings = |text: &str| {
        let mut pty = a_verdict_changes(dir, text);
        pty.quit();
        pty.raw().contains(&7)
    };
    assert!(!rings("") && rings("[notify]\nbell = true"));
}

pub fn command(dir: &Path) {
    let (program, told) = (dir.join("program.sh"), dir.join("told"));
    fs::write(
        &program,
        format!("printf '%s|' \"$1\" \"$2\" \"$BOPTOP_VERDICT\" > {told:?}; exit 9"),
    )
    .unwrap();
    let pty = a_verdict_changes(
        dir,
        &format!("[notify]\ncommand = [\"/bin/sh\", {program:?}, \"mine\"]"),
    );
    // How it ended is said on the screen: by then it has written.
    pty.see("notify /bin/sh: it ended with exit status: 9");
    let told = fs::read_to_string(told).unwrap();
    assert!(told.starts_with("mine|boptop: b") && told.contains("_s21 "), "{told}");
}
