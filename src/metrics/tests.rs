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

/// What must be read from a fixture. A field left out is not checked; lists of words must occur in
/// the notes.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    file: String,
    format: Option<String>,
    compression: Option<String>,
    lines: Option<u64>,
    records: u64,
    bad: u64,
    kinds: Vec<String>,
    non_finite: u64,
    last_step: Option<f64>,
    last_loss: Option<f64>,
    last_val_loss: Option<f64>,
    last_lr: Option<f64>,
    last_tokens: Option<f64>,
    last_time: Option<f64>,
    samples: Option<f64>,
    batch_tokens: Option<f64>,
    batch_sequences: Option<f64>,
    micro_batch: Option<f64>,
    grad_accum: Option<f64>,
    seq_len: Option<f64>,
    tokens_per_step: Option<f64>,
    tokens_per_second: Option<f64>,
    control_revision: Option<f64>,
    batch_unit: Option<String>,
    run_name: Option<String>,
    notes: Vec<String>,
    fields: std::collections::BTreeMap<String, String>,
}

type Column = fn(&Record) -> Option<f64>;

/// Everything that is wrong with what was read, in words.
fn compare(e: &Expect, s: &SourceStatus, r: &[Record]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, got: String, want: String| {
        if got != want {
            wrong.push(format!("{}: {what} is {got}, expected {want}", e.file));
        }
    };
    let columns: [(&str, Option<f64>, Column); 15] = [
        ("step", e.last_step, |r| r.step),
        ("loss", e.last_loss, |r| r.loss.filter(|l| l.is_finite())),
        ("val_loss", e.last_val_loss, |r| r.val_loss),
        ("lr", e.last_lr, |r| r.lr),
        ("tokens", e.last_tokens, |r| r.tokens),
        ("time", e.last_time, |r| r.time),
        ("samples", e.samples, |r| r.samples),
        ("batch_tokens", e.batch_tokens, |r| r.batch_tokens),
        ("batch_sequences", e.batch_sequences, |r| r.batch_sequences),
        ("micro_batch", e.micro_batch, |r| r.micro_batch),
        ("grad_accum", e.grad_accum, |r| r.grad_accum),
        ("seq_len", e.seq_len, |r| r.seq_len),
        ("tokens_per_step", e.tokens_per_step, |r| r.tokens_per_step),
        ("tokens_per_second", e.tokens_per_second, |r| r.tokens_per_second),
        ("control_revision", e.control_revision, |r| r.control_revision),
    ];
    for (name, want, column) in columns {
        if want.is_some() || ["step", "loss", "val_loss", "batch_tokens"].contains(&name) {
            check(name, format!("{:?}", last(r, column)), format!("{want:?}"));
        }
    }
    check("records", s.records.to_string(), e.records.to_string());
    check("records handed out", r.len().to_string(), e.records.to_string());
    check("bad lines", s.bad_count.to_string(), e.bad.to_string());
    let kinds: Vec<&str> = s.bad_lines.iter().map(|b| b.kind.as_str()).collect();
    check("kinds", format!("{kinds:?}"), format!("{:?}", e.kinds));
    for (name, want, got) in [
        ("format", &e.format, Some(&s.format)),
        ("compression", &e.compression, Some(&s.compression)),
        ("run", &e.run_name, s.run_name.as_ref()),
    ] {
        if want.is_some() {
            check(name, format!("{got:?}"), format!("{:?}", want.as_ref()));
        }
    }
    if e.format.is_some() {
        check("batch unit", format!("{:?}", s.batch_unit), format!("{:?}", e.batch_unit));
    }
    if let Some(lines) = e.lines {
        check("lines", s.lines.to_string(), lines.to_string());
    }
    let non_finite = r.iter().filter(|r| r.loss.is_some_and(|l| !l.is_finite())).count() as u64;
    if e.non_finite > 0 {
        check("losses that are no number", non_finite.to_string(), e.non_finite.to_string());
    }
    let fields = serde_json::to_value(&s.fields).unwrap();
    for (role, key) in &e.fields {
        check(role, fields[role].to_string(), format!("{key:?}"));
    }
    for words in &e.notes {
        check(
            "note",
            s.notes.iter().any(|n| n.contains(words)).to_string(),
            format!("true ({words}); notes are {:?}", s.notes),
        );
    }
    let raw = s.bad_lines.iter().any(|b| b.text.chars().any(|c| c.is_control() || c == '\u{202e}'));
    check("text raw", raw.to_string(), "false".into());
    wrong.retain(|w| !w.contains("note is true"));
    wrong
}

fn expectation(path: &Path) -> Expect {
    let text = std::fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_format_is_read_as_its_fixture_says() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for dir in fixtures("formats").into_iter().filter(|p| p.is_dir()) {
        let e = expectation(&dir.join("expect.toml"));
        let (status, inputs) = read(&dir.join(&e.file), &Options::default());
        wrong.extend(
            compare(&e, &status, &records(&inputs))
                .into_iter()
                .map(|w| format!("{}/{w}", dir.display())),
        );
        seen += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 30, "only {seen} fixtures");
}

#[test]
fn every_damaged_file_gives_what_can_be_saved_and_counts_the_rest() {
    let mut wrong = Vec::new();
    for path in
        fixtures("faults").into_iter().filter(|p| p.extension().is_some_and(|e| e == "toml"))
    {
        let e = expectation(&path);
        let (status, inputs) = read(&path.with_file_name(&e.file), &Options::default());
        wrong.extend(compare(&e, &status, &records(&inputs)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same records whatever the reads: a byte at a time, or all at once; and growing files.
#[test]
fn records_do_not_depend_on_how_a_file_grows() {
    for dir in fixtures("formats").into_iter().filter(|p| p.is_dir()) {
        let e = expectation(&dir.join("expect.toml"));
        if e.compression.is_some() || e.file == "trainer_state.json" {
            continue;
        }
        let bytes = std::fs::read(dir.join(&e.file)).unwrap();
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join(&e.file);
        let mut source = Source::file(&path, &Options::default());
        let mut out = Vec::new();
        for (i, part) in bytes.chunks(97).enumerate() {
            let mut f = std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
            std::io::Write::write_all(&mut f, part).unwrap();
            while source.poll(1 + i % 50, &mut out) {}
        }
        source.finish(&mut out);
        // What a replacement took back does not count.
        let from = out.iter().rposition(|i| *i == Input::Replaced).map_or(0, |i| i + 1);
        let wrong = compare(&e, source.status(), &records(&out[from..]));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn a_stated_field_overrides_the_detection() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.jsonl");
    std::fs::write(&path, "{\"step\":1,\"loss\":9.0,\"my\":{\"nll\":2.0},\"bs\":64}\n{\"step\":2,\"loss\":8.0,\"my\":{\"nll\":1.0},\"bs\":64}\n").unwrap();
    let fields =
        vec![("loss".to_string(), "my.nll".to_string()), ("batch_tokens".into(), "bs".into())];
    let options = Options { fields, loss_in_bits: true, ..Options::default() };
    let (s, inputs) = read(&path, &options);
    let r = records(&inputs);
    assert_eq!((r[1].loss, r[1].batch_tokens), (Some(std::f64::consts::LN_2), Some(64.0)));
    assert_eq!(
        (s.fields.loss.as_deref(), s.batch_unit.as_deref()),
        (Some("my/nll"), Some("tokens"))
    );
    assert!(options.check().is_ok());
    assert!(
        Options { fields: vec![("lsos".into(), "x".into())], ..Options::default() }
            .check()
            .is_err()
    );
}

#[test]
fn a_document_that_is_written_again_hands_out_only_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trainer_state.json");
    let state = |losses: &[f64]| {
        let history: Vec<_> = losses.iter().enumerate().map(|(i, l)| serde_json::json!({"step": i + 1, "loss": l, "epoch": 0.1, "learning_rate": 1e-4})).collect();
        serde_json::json!({"global_step": losses.len(), "log_history": history}).to_string()
    };
    let mut source = Source::file(&path, &Options::default());
    let mut poll = |text: Option<String>| {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let mut out = Vec::new();
        source.poll(100, &mut out);
        (
            out.contains(&Input::Replaced),
            records(&out).iter().filter_map(|r| r.loss).collect::<Vec<_>>(),
            source.status().clone(),
        )
    };
    assert_eq!(poll(None).2.state, SourceState::Waiting);
    assert_eq!(poll(Some(state(&[3.0, 2.5]))).1, [3.0, 2.5]);
    assert!(poll(None).1.is_empty());
    let (replaced, new, _) = poll(Some(state(&[3.0, 2.5, 2.25])));
    assert_eq!((replaced, new), (false, vec![2.25]));
    let half = state(&[3.0, 2.5, 2.25, 2.0])[..60].to_string();
    let (_, new, status) = poll(Some(half));
    assert!(
        new.is_empty() && status.notes.iter().any(|n| n.contains("not whole JSON")),
        "{status:?}"
    );
    let (replaced, new, status) = poll(Some(state(&[3.0, 2.0])));
    assert_eq!((replaced, new), (true, vec![3.0, 2.0]));
    assert_eq!(status.records, 2);
}

#[test]
fn a_restart_in_a_truncated_file_is_told_and_both_attempts_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.jsonl");
    let line = |s: u32| {
        format!("{{\"step\":{s},\"loss\":{},\"tokens\":{}}}\n", 4.0 - f64::from(s) / 8.0, s * 64)
    };
    std::fs::write(&path, line(1) + &line(2) + "{\"step\":3,").unwrap();
    let mut source = Source::file(&path, &Options::default());
    let mut out = Vec::new();
    source.poll(1 << 20, &mut out);
    std::fs::write(&path, line(2)).unwrap();
    for _ in 0..6 {
        source.poll(1 << 20, &mut out);
    }
    let at = out.iter().position(|i| *i == Input::Restarted).expect("a restart");
    assert_eq!((records(&out[..at]).len(), records(&out[at..]).len()), (2, 1));
    let s = source.status();
    assert_eq!((s.lines, s.bad_count, s.restarts.as_slice()), (3, 1, [2.0].as_slice()));
}

/// What the truncation took away unread is told; a hole before the writer's old place is no line.
#[test]
fn a_cut_file_is_told_of_and_the_hole_before_its_next_line_is_skipped() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.jsonl");
    let line = |s: u32| format!("{{\"step\":{s},\"loss\":2.5}}\n");
    std::fs::write(&path, line(1) + &line(2)).unwrap();
    let mut source = Source::file(&path, &Options::default());
    let mut out = Vec::new();
    while source.poll(1 << 20, &mut out) {}
    assert!(!source.status().notes.iter().any(|n| n.contains("cut")));
    // A writer without O_APPEND goes on where it was.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(line(3).as_bytes(), 40 << 20).unwrap();
    while source.poll(1 << 20, &mut out) {}
    let s = source.status();
    assert_eq!((s.lines, s.bad_count, records(&out).len()), (3, 0, 3), "{:?}", s.bad_lines);
    assert!(
        s.notes.iter().any(|n| n.starts_with("the file was cut or taken away once")),
        "{:?}",
        s.notes
    );
}

#[test]
fn a_huge_line_without_an_end_is_one_bad_line_and_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.jsonl");
    let mut text = b"{\"step\":1,\"loss\":2.5}\n{\"x\":\"".to_vec();
    text.resize(40 << 20, b'x');
    std::fs::write(&path, &text).unwrap();
    let mut source = Source::file(&path, &Options::default());
    let mut out = Vec::new();
    while source.poll(1 << 20, &mut out) {}
    assert_eq!((source.status().lines, source.status().bad_count), (1, 0));
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"\"}\n{\"step\":2,\"loss\":2.25}\n").unwrap();
    while source.poll(1 << 20, &mut out) {}
    let s = source.status();
    assert_eq!((s.lines, s.bad_count, s.bad_lines[0].kind.as_str()), (3, 1, "too_long"));
    assert_eq!(records(&out).len(), 2);
}

#[test]
fn files_of_other_tools_are_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, format) in [
        ("run-x.wandb", b":W&B\x12\x34".to_vec(), "wandb"),
        ("events.out.tfevents.1790000000.host", vec![24, 0, 0, 0], "tensorboard"),
        (
            "metrics.bin",
            [
                &[24, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 9][..],
                b"\x1a\rbrain.Event:2 padding padding padding",
            ]
            .concat(),
            "tensorboard",
        ),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (s, inputs) = read(&path, &Options::default());
        assert!(inputs.is_empty());
        assert_eq!(s.format, format, "{name}");
        let SourceState::Unsupported(words) = s.state else { panic!("{:?}", s.state) };
        assert!(words.contains("boptop adapter python") && words.contains("log("), "{words}");
    }
}

#[test]
fn lost_and_regained_permission_and_a_vanished_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.jsonl");
    let mut source = Source::file(&path, &Options::default());
    let mut out = Vec::new();
    source.poll(100, &mut out);
    assert_eq!(source.status().state, SourceState::Waiting);
    std::fs::create_dir(&path).unwrap();
    source.poll(100, &mut out);
    assert!(matches!(source.status().state, SourceState::Failed(_)));
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "{\"step\":1,\"loss\":2.5}\n").unwrap();
    source.poll(100, &mut out);
    assert_eq!((source.status().state.clone(), records(&out).len()), (SourceState::Open, 1));
    std::fs::remove_file(&path).unwrap();
    source.poll(100, &mut out);
    assert!(matches!(&source.status().state, SourceState::Failed(w) if w.contains("gone")));
    std::fs::write(&path, "{\"step\":2,\"loss\":2.25}\n").unwrap();
    for _ in 0..3 {
        source.poll(100, &mut out);
    }
    assert_eq!((source.status().state.clone(), records(&out).len()), (SourceState::Open, 2));
}

/// A batch size that counts sequences is told from one that counts tokens by the token counter,
/// even when the counter comes later.
#[test]
fn the_unit_of_the_batch_size_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.jsonl");
    let unit = |text: String| {
        std::fs::write(&path, text).unwrap();
        let (s, inputs) = read(&path, &Options::default());
        let r = records(&inputs).pop().unwrap();
        (s.batch_unit, r.batch_tokens, r.batch_sequences, r.seq_len)
    };
    let lines = |per: u64| {
        (1..6u64)
            .map(|s| {
                format!(
                    "{{\"step\":{s},\"loss\":2,\"batch_size\":64,\"tokens\":{}}}\n",
                    s * 64 * per
                )
            })
            .collect::<String>()
    };
    assert_eq!(unit(lines(1)), (Some("tokens".into()), Some(64.0), None, None));
    assert_eq!(unit(lines(512)), (Some("sequences".into()), None, Some(64.0), Some(512.0)));
    assert_eq!(
        unit("{\"step\":1,\"loss\":2,\"batch_size\":64,\"seq_len\":32}\n".into()),
        (Some("sequences".into()), None, Some(64.0), Some(32.0))
    );
    assert_eq!(
        unit("{\"step\":1,\"loss\":2,\"batch_size\":524288}\n".into()),
        (Some("tokens".into()), Some(524288.0), None, None)
    );
}

/// The trainer's own configuration tells the length of a sequence where the log does not, and never
/// against the counters.
#[test]
fn the_configuration_beside_a_log_tells_the_sequence_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    std::fs::write(dir.path().join("config.yaml"), "data:\n  seq_len: 4096\n").unwrap();
    let unit = |line: &dyn Fn(u64) -> String| {
        std::fs::write(&path, (1..6).map(line).collect::<String>()).unwrap();
        let (s, inputs) = read(&path, &Options::default());
        let r = records(&inputs).pop().unwrap();
        let told = s.notes.iter().any(|n| n.contains("config.yaml"));
        (s.batch_unit, r.batch_tokens.or(r.batch_sequences), r.seq_len, told)
    };
    let sequences = Some("sequences".to_string());
    let plain = |s: u64| format!("{{\"step\":{s},\"loss\":2,\"batch_size\":64}}\n");
    assert_eq!(unit(&plain), (sequences.clone(), Some(64.0), Some(4096.0), true));
    let own = |s: u64| format!("{{\"step\":{s},\"loss\":2,\"batch_size\":64,\"seq_len\":512}}\n");
    assert_eq!(unit(&own), (sequences.clone(), Some(64.0), Some(512.0), false));
    let counted = |s: u64| {
        let tokens = s * 64 * 1024;
        format!("{{\"step\":{s},\"loss\":2,\"batch_size\":64,\"tokens\":{tokens}}}\n")
    };
    assert_eq!(unit(&counted), (sequences, Some(64.0), Some(1024.0), false));
    let large = |s: u64| format!("{{\"step\":{s},\"loss\":2,\"batch_size\":524288}}\n");
    assert_eq!(unit(&large).0.as_deref(), Some("tokens"));
}

/// Found by fuzzing: a key of a damaged line took the step from the key of all others.
#[test]
fn a_key_of_a_damaged_line_takes_no_role_from_one_that_is_always_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.jsonl");
    let mut text: String =
        (1..=40).map(|i| format!("{{\"iteration\":{i},\"loss\":2.5,\"lr\":0.1}}\n")).collect();
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let (s, inputs) = read(&path, &Options::default());
        (s.fields.step, last(&records(&inputs), |r| r.step))
    };
    let want = (Some("iteration".to_string()), Some(40.0));
    text.push_str("{\"iteration\": 4, @{\"step\":1,\"loss\n{\"step\":9 \"loss_\n");
    assert_eq!(told(&text), want);
    text.push_str("{\"step\":7}\n");
    assert_eq!(told(&text), want);
}

/// Lines a second over a file of one's own making; `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn speed() {
    let dir = tempfile::tempdir().unwrap();
    for (name, loss) in [("numbers", "2.3145"), ("NaN", "NaN")] {
        let path = dir.path().join(name);
        let extra: String =
            (0..14).map(|k| format!(",\"metric/part_{k}\":{}.{}", k * 7 + 1, 123456 + k)).collect();
        let text: String = (0..600_000u64).map(|s| format!("{{\"step\":{s},\"tokens\":{},\"batch_size\":8192,\"loss\":{loss},\"lr\":0.0003{extra},\"time\":{}.25}}\n", s * 8192, 1_790_000_000 + s)).collect();
        std::fs::write(&path, &text).unwrap();
        let start = std::time::Instant::now();
        let (s, inputs) = read(&path, &Options::default());
        let t = start.elapsed().as_secs_f64();
        println!(
            "{name}: {} records, {:.0} lines/s, {:.0} MB/s",
            inputs.len(),
            s.lines as f64 / t,
            text.len() as f64 / t / 1e6
        );
    }
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

#[test]
fn a_damaged_line_counts_once_where_the_kind_of_file_never_becomes_clear() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("junk.jsonl");
    std::fs::write(&path, b"\xff junk\n".repeat(60)).unwrap();
    let (status, inputs) = read(&path, &Options::default());
    assert_eq!((status.lines, status.bad_count, inputs.len()), (60, 60, 0));
}
