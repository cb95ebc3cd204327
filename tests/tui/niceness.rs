//! Who gives way to whom.

use super::pty::{Pty, boptop};
use super::sweep_copy;
use std::fs;
use std::path::Path;

/// The names of the threads of a process, with their nice values.
fn threads(pid: i32) -> Vec<(String, i32)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = tasks.filter_map(|t| fs::read_to_string(t.unwrap().path().join("stat")).ok());
    stats
        .map(|stat| {
            let (name, rest) = stat.rsplit_once(") ").unwrap();
            let nice = rest.split(' ').nth(16).unwrap().parse().unwrap();
            (name.split_once('(').unwrap().1.to_string(), nice)
        })
        .collect()
}

#[test]
#[cfg(target_os = "linux")]
fn behind_a_screen_the_work_gives_way_and_the_keys_do_not() {
    let dir = sweep_copy();
    let mut pty = Pty::start(boptop([Path::new("watch"), dir.path()]), 100, 30);
    pty.until("a fit", |s| s.contains("fit ") && !s.contains("no fit"));
    let threads = threads(pty.pid);
    let nice = |name: &str| threads.iter().find(|t| t.0 == name).map(|t| t.1);
    let base = threads[0].1;
    assert_eq!(nice("monitor"), Some(base + 10), "{threads:?}");
    assert_eq!(nice("refit"), Some(base + 10), "{threads:?}");
    pty.quit();
}
