//! JSON lines out: the metrics that a monitor tails, and single lines appended whole.

use crate::error::{Error, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A wall-clock time, Unix seconds. Handed in from outside: only the fleet reads the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment(pub f64);

impl Moment {
    /// RFC 3339 in UTC with milliseconds; `None` outside the years that it can say.
    pub fn rfc3339(self) -> Option<String> {
        let ms = (self.0 * 1e3).round();
        jiff::Timestamp::from_millisecond(ms as i64).ok().map(|t| t.to_string())
    }
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Line {
    /// Optimizer steps done.
    pub step: u64,
    /// Cumulative tokens consumed.
    pub tokens: u64,
    /// Tokens per optimizer step, of the steps since the last line.
    pub batch_size: u64,
    /// Mean training loss since the last line, nats per token.
    pub loss: f64,
    pub lr: f64,
    /// Unix seconds.
    pub time: f64,
    /// Revision of the control file that is in force.
    pub control_revision: Option<u64>,
}

/// Appends [`Line`]s, each with one write.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
}

impl MetricsWriter {
    /// Opens (or creates) the file for appending. `Error::Io` names the path.
    pub fn open(path: &Path) -> Result<MetricsWriter> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(MetricsWriter { path: path.to_path_buf(), file: file.map_err(|e| Error::io(path, e))? })
    }

    /// Appends one line.
    pub fn write(&mut self, line: &Line) -> Result<()> {
        to_line(line)
            .and_then(|bytes| self.file.write_all(&bytes))
            .map_err(|e| Error::io(&self.path, e))
    }
}

fn to_line(value: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Appends one whole line with one write, begun with a newline where the file does not end in one
/// (somebody died in the middle of a line). With `sync` it returns only once the line is on the
/// disk.
pub(super) fn append_line(path: &Path, value: &impl Serialize, sync: bool) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            bytes.push(b'\n');
        }
    }
    bytes.extend(to_line(value)?);
    file.write_all(&bytes)?;
    if sync { file.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_never_glued_to_half_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ack.jsonl");
        append_line(&path, &1, true).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"ha").unwrap();
        append_line(&path, &2, false).unwrap();
        append_line(&path, &3, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n{\"ha\n2\n3\n");
    }

    #[test]
    fn metrics_are_one_object_a_line_with_the_revision_or_null() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut line = Line {
            step: 1,
            tokens: 512,
            batch_size: 512,
            loss: 3.25,
            lr: 1200.5,
            time: 1.7e9,
            control_revision: None,
        };
        let mut writer = MetricsWriter::open(&path).unwrap();
        writer.write(&line).unwrap();
        line.control_revision = Some(4);
        writer.write(&line).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"step":1,"tokens":512,"batch_size":512,"loss":3.25,"lr":1200.5,"time":1700000000.0,"control_revision":null}"#
        );
        assert!(text.lines().nth(1).unwrap().ends_with(r#""control_revision":4}"#));
    }

    #[test]
    fn an_error_names_the_file() {
        let error = MetricsWriter::open(Path::new("/nonexistent/metrics.jsonl")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/metrics.jsonl"), "{error}");
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(Moment(0.25).rfc3339().as_deref(), Some("1970-01-01T00:00:00.25Z"));
        assert_eq!(Moment(1e18).rfc3339(), None);
    }
}
