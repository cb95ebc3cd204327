//! Every fixture of a format against its `expect.toml`, every damaged file against what is to be
//! said of it, and, where the data lie beside the repository, a table over them.

use super::*;
use std::path::Path;

pub(super) fn read(path: &Path, options: &Options) -> (SourceStatus, Vec<Input>) {
    let mut source = Source::file(path, options);
    let mut out = Vec::new();
    while source.poll(1 << 20, &mut out) {}
    source.finish(&mut out);
    (source.status().clone(), out)
}

pub(super) fn records(inputs: &[Input]) -> Vec<Record> {
    inputs
        .iter()
        .filter_map(|i| match i {
            Input::Record(r) => Some(*r),
            _ => None,
        })
        .collect()
}

fn last(records: &[Record], value: impl Fn(&Record) -> Option<f64>) -> Option<f64> {
    records.iter().rev().find_map(value)
}

/// `cargo test --lib metrics::tests::table -- --nocapture --ignored` with `BOPTOP_TABLE=DIR`.
#[test]
#[ignore = "prints a table over a directory of one's own"]
fn table() {
    let Ok(dir) = std::env::var("BOPTOP_TABLE") else { return };
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let (s, inputs) = read(&path, &Options::default());
        let r = records(&inputs);
        println!(
            "{}: {} {} lines {} bad {} records {}",
            path.file_name().unwrap().display(),
            s.format,
            s.compression,
            s.lines,
            s.bad_count,
            s.records
        );
        println!(
            "    step {:?} loss {:?} val {:?} lr {:?} tokens {:?} time {:?}",
            last(&r, |r| r.step),
            last(&r, |r| r.loss),
            last(&r, |r| r.val_loss),
            last(&r, |r| r.lr),
            last(&r, |r| r.tokens),
            last(&r, |r| r.time)
        );
        println!(
            "    batch {:?}t {:?}s seq {:?} micro {:?} samples {:?} per step {:?} unit {:?}",
            last(&r, |r| r.batch_tokens),
            last(&r, |r| r.batch_sequences),
            last(&r, |r| r.seq_len),
            last(&r, |r| r.micro_batch),
            last(&r, |r| r.samples),
            last(&r, |r| r.tokens_per_step),
            s.batch_unit
        );
        println!("    {:?}", s.fields);
        println!(
            "    state {:?} run {:?} restarts {:?} notes {:#?}",
            s.state, s.run_name, s.restarts, s.notes
        );
        for b in &s.bad_lines {
            println!("    bad {b:?}");
        }
    }
}
