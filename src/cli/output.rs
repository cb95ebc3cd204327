//! stdout carries only the answer; a reader that went away ends it quietly.

use crate::error::{Error, ExitCode, Result};
use std::io::{ErrorKind, Write};

pub fn text(answer: &str) -> Result<ExitCode> {
    let newline = if answer.ends_with('\n') { "" } else { "\n" };
    write(&format!("{answer}{newline}"))
}

pub fn json(answer: &serde_json::Value) -> Result<ExitCode> {
    write(&format!("{answer}\n"))
}

fn write(answer: &str) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(answer.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output", e)),
        _ => Ok(ExitCode::Answered),
    }
}

/// Writes one line of a stream. False: nobody reads any more.
pub fn line(answer: &serde_json::Value) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{answer}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::io("standard output", e)),
    }
}
