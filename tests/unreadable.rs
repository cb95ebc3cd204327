//! What cannot be read, as somebody sees it who is not root: named, and exit code 2 where nothing is
//! left.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use support::Said;

/// Nobody's, where root runs the tests.
const NOBODY: u32 = 65_534;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn unprivileged<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Said {
    let mut command = support::command();
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY);
    }
    Said::from(command.args(args).output().expect("the binary starts"))
}

fn run_text(batch: u64) -> String {
    (1..=200).map(|s| support::line(s, batch, 4.0 - 0.001 * s as f64, 1e-3, s as f64)).collect()
}

fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    mode(dir.path(), 0o755);
    for batch in [64, 128] {
        fs::write(dir.path().join(format!("b{batch}.jsonl")), run_text(batch)).unwrap();
    }
    dir
}

#[test]
fn of_a_directory_what_cannot_be_read_is_named() {
    let dir = place();
    mode(&dir.path().join("b64.jsonl"), 0);
    fs::write(dir.path().join(OsStr::from_bytes(b"x\xff.jsonl")), run_text(256)).unwrap();
    let fit = unprivileged(["fit".as_ref(), dir.path().as_os_str()]);
    assert_eq!(fit.code, Some(0), "{fit:?}");
    assert!(fit.err.contains("b64.jsonl is left out: no permission to read it"), "{fit:?}");
    assert!(fit.err.contains(".jsonl is left out: its name is not UTF-8"), "{fit:?}");
    assert!(fit.out.contains("b128"), "{fit:?}");
    // Nothing is said where all can be read.
    mode(&dir.path().join("b64.jsonl"), 0o644);
    let alone = unprivileged(["fit".as_ref(), dir.path().join("b64.jsonl").as_os_str()]);
    assert_eq!((alone.code, alone.err.as_str()), (Some(0), ""), "{alone:?}");
}

#[test]
fn where_nothing_can_be_read_the_exit_code_is_2() {
    let dir = place();
    let file = dir.path().join("b64.jsonl");
    mode(&file, 0);
    let shut = dir.path().join("shut");
    fs::create_dir(&shut).unwrap();
    mode(&shut, 0);
    for (command, path) in [("inspect", &file), ("fit", &file), ("inspect", &shut), ("fit", &shut)]
    {
        let said = unprivileged([command.as_ref(), path.as_os_str()]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{command}: {said:?}");
        assert!(said.err.contains("no permission to read it"), "{command}: {said:?}");
    }
    let watch = unprivileged(["watch".as_ref(), "--json".as_ref(), shut.as_os_str()]);
    assert!(watch.code == Some(2) && watch.err.contains("ermission denied"), "{watch:?}");
    mode(&shut, 0o755);
}
