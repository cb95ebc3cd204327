//! Reads the real sweeps of `fixtures/` for the tests of `run` and `curve`.

use super::{Assumptions, Recorder, RunData};
use crate::metrics::Record;
use std::path::Path;

/// A line of the shape that the fixtures have.
pub(crate) fn record(line: &str) -> Record {
    let v: serde_json::Value = serde_json::from_str(line).unwrap();
    let f = |k: &str| v.get(k).and_then(serde_json::Value::as_f64);
    Record {
        step: f("step"),
        tokens: f("tokens"),
        batch_tokens: f("batch_size"),
        loss: f("loss"),
        val_loss: f("val_loss"),
        lr: f("lr"),
        time: f("time"),
        ..Record::default()
    }
}

/// A run as it was when it had this part of its tokens.
pub(crate) fn run_until(path: &Path, part: f64) -> RunData {
    let id = path.file_stem().unwrap().to_str().unwrap();
    let mut r = Recorder::new(id, Assumptions::default());
    // Validation losses may lie in a file of their own beside the run.
    let parts = [path.to_path_buf(), path.with_extension("val.jsonl")];
    let parts: Vec<Vec<Record>> = parts
        .iter()
        .filter(|p| p.exists())
        .map(|p| std::fs::read_to_string(p).unwrap().lines().map(record).collect())
        .collect();
    let last = parts.iter().flatten().filter_map(|r| r.tokens).fold(0.0, f64::max);
    for (stream, records) in parts.iter().enumerate() {
        let seen = |r: &&Record| r.tokens.is_none_or(|t| t <= part * last);
        records.iter().filter(seen).for_each(|record| r.push(stream, record));
    }
    r.data()
}

/// All runs of a folder of `fixtures/`, by name.
pub(crate) fn sweep(name: &str) -> Vec<RunData> {
    folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name))
}

/// All runs of a folder, by name.
pub(crate) fn folder(folder: &Path) -> Vec<RunData> {
    folder_until(folder, 1.0)
}

/// All runs of a folder as they were when each had this part of its tokens.
pub(crate) fn folder_until(folder: &Path, part: f64) -> Vec<RunData> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let whole = |p: &&std::path::PathBuf| {
        let name = p.to_string_lossy();
        name.ends_with(".jsonl") && !name.ends_with(".val.jsonl")
    };
    paths.iter().filter(whole).map(|p| run_until(p, part)).collect()
}

/// A run made of these records, of one stream.
pub(crate) fn made_of(records: &[Record], assumptions: Assumptions) -> RunData {
    let mut r = Recorder::new("made", assumptions);
    for record in records {
        r.push(0, record);
    }
    r.data()
}
