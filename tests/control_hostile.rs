//! Bytes of strangers: escape sequences and marks that reorder text, in file names, log lines, keys,
//! acknowledgements, control file and audit, through every command that answers without a screen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

mod support;

use std::fs;
use std::path::Path;
use support::{Said, command};

/// Clear the screen, set the title, ring, C1 control sequence introducer, right-to-left override.
const BAD: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}txt\u{200b}\r\u{8}";

fn moves_a_terminal(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn harmless(words: &[&str], said: &Said) {
    for (stream, text) in [("stdout", &said.out), ("stderr", &said.err)] {
        let bad: Vec<char> = text.chars().filter(|c| moves_a_terminal(*c)).collect();
        assert!(bad.is_empty(), "{words:?}: {bad:?} on {stream}: {text:?}");
    }
}

/// BAD as the inside of a JSON string.
fn json() -> String {
    let quoted = serde_json::to_string(BAD).unwrap();
    quoted[1..quoted.len() - 1].to_string()
}

fn write_run(dir: &Path, name: &str, run: &str) {
    let bad = json();
    let mut text = String::new();
    for i in 1..=50u64 {
        text += &format!(
            "{{\"step\":{i},\"tokens\":{},\"batch_size\":128,\"loss\":{},\"lr\":0.001,\"time\":{i},\"{bad}\":1}}\n",
            i * 128,
            3.0 + 1.0 / i as f64
        );
        // Lines that are none.
        text += &format!("{BAD} broken {{\"step\": {BAD}\n");
        text += "\u{1b}[31m\u{0}\u{1}\u{2}{\"step\": 1e999999\n";
    }
    fs::write(dir.join(format!("{name}.jsonl")), text).unwrap();
    let ack = |rest: String| {
        format!(
            "{{\"version\":1,\"run\":\"{run}\",\"attempt\":\"{bad}\",\"time\":\"{bad}\",{rest}}}\n"
        )
    };
    let mut acks = ack("\"status\":\"ready\",\"unit_tokens\":16,\"direction\":\"both\"".into());
    acks += &ack(format!(
        "\"status\":\"rejected\",\"revision\":1,\"reason\":\"{bad}\",\"detail\":\"{bad}\""
    ));
    acks += &format!("{{\"status\":\"{bad}\"}}\n");
    fs::write(dir.join(format!("{name}.control.ack.jsonl")), acks).unwrap();
    let control = format!(
        "{{\"version\":1,\"run\":\"{run}\",\"revision\":1,\"issued_by\":\"{bad}\",\"issued_at\":\"{bad}\",\
         \"schedule\":[{{\"from_tokens\":0,\"batch_size_tokens\":128}}],\"evidence\":{{\"model\":\"{bad}\"}}}}"
    );
    fs::write(dir.join(format!("{name}.control.json")), control).unwrap();
    let line = |event: &str| {
        format!(
            "{{\"version\":1,\"at\":\"{bad}\",\"event\":\"{event}\",\"run\":\"{bad}\",\"revision\":1,\
             \"user\":\"{bad}\",\"host\":\"{bad}\",\"schedule\":[],\"guards_overridden\":[],\
             \"evidence\":null,\"reason\":\"{bad}\"}}\n"
        )
    };
    let log = dir.join(format!("{name}.control.log.jsonl"));
    fs::write(log, line("written") + &line("refused") + &line("proposed")).unwrap();
}

#[test]
fn no_byte_of_a_stranger_reaches_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    // A file name may hold anything but a slash; the run's id comes from the trainer.
    let name = format!("run{}", BAD.replace('/', ""));
    write_run(dir.path(), &name, &json());
    let id = BAD;
    let dir = dir.path().display().to_string();
    let missing = format!("{dir}/{BAD}.jsonl");
    let all: &[&[&str]] = &[
        &["inspect", &dir],
        &["inspect", &dir, "--json"],
        &["fit", &dir],
        &["fit", &dir, "--json"],
        &["fit", &missing],
        &["plan", &dir],
        &["plan", &dir, "--json"],
        &["plan", &dir, "--run", id],
        &["plan", &dir, "--run", &missing],
        &["plan", &dir, "--format", "csv"],
        &["plan", &dir, "--format", "megatron"],
        &["watch", &missing],
        &["replay", &dir, "--json", "--speed", "max"],
        &["replay", &missing, "--json", "--speed", "max"],
        &["control", "show", &dir],
        &["control", "show", &dir, "--json"],
        &["control", "propose", &dir, "--batch-size", "256"],
        &["control", "propose", &dir, "--batch-size", "256", "--json"],
        &["control", "approve", &dir, "--batch-size", "256", "--yes"],
        &["control", "approve", &dir, "--batch-size", "256", "--yes", "--json"],
        &["control", "undo", &dir, "--yes"],
        &["control", "undo", &dir, "--yes", "--if-revision", "0", "--override", "not-live"],
        &["adapter", BAD],
        &["adapter", "python"],
        &["control", "schema"],
        &["inspect", &dir, "--field", BAD],
        &[BAD],
    ];
    let mut spoke = 0;
    for words in all {
        let said = support::boptop(*words);
        assert!(said.code.is_some_and(|c| c < 4), "{words:?}: {said:?}");
        harmless(words, &said);
        spoke += usize::from(said.out.contains('\u{fffd}') || said.out.contains("\\u202e"));
        spoke += usize::from(said.err.contains('\u{fffd}'));
    }
    // The strangers' words were there, made harmless.
    assert!(spoke > 10, "{spoke}");
}

#[test]
fn a_stream_escapes_what_it_reads_from_a_pipe() {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = command()
        .args(["watch", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for i in 1..20 {
        writeln!(stdin, "{{\"step\":{i},\"loss\":2.0,\"{}\":\"{BAD}\"}}{BAD}", json()).unwrap();
        writeln!(stdin, "{{\"step\":{i},\"loss\":2.0,\"batch_size\":128,\"lr\":0.001}}").unwrap();
    }
    drop(stdin);
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.contains("boptop.watch/1") && !line.chars().any(moves_a_terminal), "{line:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A newline in a file name makes no second line: that could be taken for an answer.
#[test]
fn a_name_of_two_lines_stays_on_one() {
    let dir = tempfile::tempdir().unwrap();
    let name = "run\nhold: all is well";
    write_run(dir.path(), name, "of its own");
    fs::remove_file(dir.path().join(format!("{name}.control.ack.jsonl"))).unwrap();
    let folder = dir.path().display().to_string();
    let page = dir.path().join("page\nhold: all is well.html").display().to_string();
    let missing = format!("{folder}/none\nhold: all is well.jsonl");
    let all: &[&[&str]] = &[
        &["inspect", &folder],
        &["fit", &folder],
        &["plan", &folder],
        &["plan", &folder, "--run", "none\nhold: all is well"],
        &["control", "show", &folder],
        &["control", "propose", &folder, "--batch-size", "256"],
        &["control", "approve", &folder, "--batch-size", "256", "--yes"],
        &["report", &folder, "-o", &page],
        &["export", &folder, "--view", "run", "--svg", &page],
        &["fit", &missing],
    ];
    let mut told = 0;
    for words in all {
        let said = support::boptop(*words);
        let mut lines = said.out.lines().chain(said.err.lines());
        assert!(!lines.any(|l| l.starts_with("hold: all")), "{words:?}: {said:#?}");
        told += usize::from([&said.out, &said.err].iter().any(|t| t.contains(r"\nhold: all")));
    }
    assert_eq!(told, all.len(), "each names the file or the run");
}
