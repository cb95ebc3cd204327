//! The README is true: its commands run, its key table is the key map, its links lead somewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use support::{command, fixtures};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// A directory like the one that the README speaks of: `runs/b128/metrics.jsonl` and siblings.
fn runs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for size in ["0032", "0064", "0128", "0256", "0512", "1024"] {
        let run = dir.path().join(format!("runs/b{}", size.trim_start_matches('0')));
        fs::create_dir_all(&run).unwrap();
        let from = fixtures().join(format!("mlp_sweep/b{size}_lr2e-3_s1.jsonl"));
        fs::copy(from, run.join("metrics.jsonl")).unwrap();
    }
    dir
}

/// `$ boptop ...` lines, without their remarks.
fn commands() -> Vec<Vec<String>> {
    readme()
        .lines()
        .filter_map(|l| l.strip_prefix("$ boptop "))
        .map(|l| l.split('#').next().unwrap().split_whitespace().map(str::to_string).collect())
        .collect()
}

#[test]
fn the_commands_of_the_readme_run() {
    let dir = runs();
    let commands = commands();
    assert!(commands.len() >= 6, "{commands:?}");
    for words in commands {
        let screen = matches!(words[0].as_str(), "replay") || words.len() == 1;
        let mut call = command();
        call.current_dir(dir.path()).args(&words).stdout(Stdio::piped()).stderr(Stdio::piped());
        if screen {
            // Without a terminal the same is streamed; its first line is enough.
            let mut child = call.arg("--json").spawn().unwrap();
            let mut first = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(first.contains("\"boptop.watch/1\""), "{words:?}: {first}");
            continue;
        }
        let said = call.output().unwrap();
        // A finished run is not live, so an approval is refused by its guards: exit 3.
        let fine = if words.contains(&"approve".to_string()) { 3 } else { 0 };
        assert_eq!(said.status.code(), Some(fine), "{words:?}: {said:?}");
        assert!(!said.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn a_pipe_is_watched_as_the_readme_says() {
    let mut child = command()
        .args(["-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = fs::read(fixtures().join("mlp_sweep/b4096_lr2e-3_s1.jsonl")).unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&log).unwrap();
    pipe.flush().unwrap();
    let found = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .any(|l| l.contains("\"batch_size_tokens\":4096.0"));
    assert!(found);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_key_table_is_the_key_map() {
    let table = boptop::tui::keys_markdown();
    assert!(readme().contains(table.trim()), "the README lacks this table:\n{table}");
}

#[test]
fn every_guard_and_every_command_is_named() {
    let readme = readme();
    let help = String::from_utf8(command().arg("--help").output().unwrap().stdout).unwrap();
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    for line in listed.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || readme.contains(&format!("`{name}")), "{name} is not named");
    }
    for guard in boptop::advice::GUARDS {
        let name = guard.name().as_str();
        assert!(readme.contains(&format!("`{name}`")), "{name} is not named");
    }
}

#[test]
fn links_within_the_project_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for link in readme().split("](").skip(1).filter_map(|r| r.split(')').next()) {
        if !link.starts_with("http") && !link.starts_with('#') {
            assert!(root.join(link).exists(), "{link}");
        }
    }
}
