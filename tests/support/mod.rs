//! What the tests of the built binary share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// What a run of the binary said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// stdout as one JSON document; the exit code must be `code`.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:#?}");
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boptop"));
    // Whatever the person who runs the tests has configured.
    command.env_remove("BOPTOP_CONTROL").env_remove("BOPTOP_CONFIG");
    command.env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// Runs `boptop` with these words; a word may hold blanks.
pub fn boptop<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Said {
    Said::from(command().args(args).output().expect("the binary starts"))
}

/// A JSONL line of the shape that boptop likes best.
pub fn line(step: u64, batch: u64, loss: f64, lr: f64, time: f64) -> String {
    format!(
        "{{\"step\":{step},\"tokens\":{},\"batch_size\":{batch},\"loss\":{loss},\"lr\":{lr},\"time\":{time}}}\n",
        step * batch
    )
}

/// The numbers in a JSON path like `/groups/0/levels`, by key.
pub fn numbers(values: &Value, key: &str) -> Vec<f64> {
    let rows = values.as_array().expect("an array");
    rows.iter().filter_map(|r| r.pointer(key).and_then(Value::as_f64)).collect()
}
