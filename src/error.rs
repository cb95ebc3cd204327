//! What can go wrong, and with which exit code the process says so.

use std::path::PathBuf;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// The question was answered; a refusal to estimate is an answer.
    Answered = 0,
    /// The answer is the failure that the command was asked to detect.
    Detected = 1,
    /// Wrong use, or input that cannot be read.
    Usage = 2,
    /// Refused by a guard, or by another person's revision.
    Refused = 3,
    /// Interrupted by a signal.
    Interrupted = 130,
}

/// Everything a command can fail with. The text says what was found, what was expected and what
/// to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}{}: found {found}, expected {expected}; {remedy}", line.map(|l| format!(":{l}")).unwrap_or_default())]
    Input { path: PathBuf, line: Option<u64>, found: String, expected: String, remedy: String },
    #[error("{0}")]
    Usage(String),
    /// A guard, or somebody else's revision, stands against a write.
    #[error("{0}")]
    Refused(String),
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Io { .. } | Error::Input { .. } | Error::Usage(_) => ExitCode::Usage,
            Error::Refused(_) => ExitCode::Refused,
            Error::Interrupted => ExitCode::Interrupted,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
