//! stdout carries only the answer; a reader that went away ends it quietly. Here, and in the words
//! of a failure, everything that a log, a file name or a colleague wrote is made fit for a terminal.

use crate::control::protocol::{plain, unfit};
use crate::error::{Error, ExitCode, Result};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

pub fn text(answer: &str) -> Result<ExitCode> {
    let newline = if answer.ends_with('\n') { "" } else { "\n" };
    write(&format!("{}{newline}", fit_for_terminal(answer)))
}

/// Every line without what could move a terminal or reorder what is read; newlines stay.
pub fn fit_for_terminal(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

pub fn json(answer: &serde_json::Value) -> Result<ExitCode> {
    write(&format!("{}\n", document(answer)))
}

/// One line of JSON. Nothing is lost: what a terminal must not get is written as `\u202e`.
fn document(answer: &serde_json::Value) -> String {
    let text = answer.to_string();
    if !text.contains(unfit) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unfit(c) {
            // None of them lies beyond the basic plane, so one escape is one character.
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

fn write(answer: &str) -> Result<ExitCode> {
    exact(answer.as_bytes())
}

/// Talk beside the answer. A standard error that nobody reads is no reason to fail.
pub fn talk(words: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(fit_for_terminal(words).as_bytes()).and_then(|()| out.flush());
}

/// Bytes of our own that must arrive as they are.
pub fn exact(answer: &[u8]) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(answer).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output", e)),
        _ => Ok(ExitCode::Answered),
    }
}

/// Writes a file whole or not at all: a temporary one beside it takes its place.
pub fn file(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let fail = |e| Error::io(path, e);
    let mut out = File::options().write(true).create_new(true).open(&beside).map_err(fail)?;
    let written = out
        .write_all(bytes)
        .and_then(|()| out.sync_all())
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        fail(e)
    })
}

/// Writes one line of a stream. False: nobody reads any more.
pub fn line(answer: &serde_json::Value) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", document(answer)).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::io("standard output", e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_moves_no_terminal_and_json_loses_nothing(text in any::<String>()) {
            let value = serde_json::json!({ "a": text, &text: [&text] });
            let written = document(&value);
            prop_assert!(!written.contains(unfit));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
            let lines = fit_for_terminal(&text);
            prop_assert!(!lines.contains(|c| unfit(c) && c != '\n'));
            prop_assert_eq!(lines.matches('\n').count(), text.matches('\n').count());
        }
    }
}
