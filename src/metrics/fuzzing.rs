//! What the fuzz targets check (`fuzz/`); compiled for them and for tests only.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::follow::{lying::Lying, model};
use super::keys::Keys;
use super::parse::{self, Found};
use super::{Input, Options, Source, SourceStatus, mend, scan};
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Any history of a file on a file system that lies.
pub fn follower(data: &[u8]) {
    if let Some((budget, program)) = data.split_first()
        && program.len() <= 400
    {
        model::check(Lying::default(), program, usize::from(*budget) + 1);
    }
}

/// Any bytes as a log; the first two say how they are cut into reads.
pub fn lines(data: &[u8]) {
    let Some((cut, data)) = data.split_at_checked(2) else { return };
    let chunk = usize::from(cut[0]) + 1;
    let whole = read(data, data.len().max(1), usize::MAX);
    let parts = read(data, chunk, usize::from(cut[1]) * 16 + 1);
    let counts = |s: &SourceStatus| (s.lines, s.bad_count, s.bytes, s.run_name.clone());
    assert_eq!(counts(&whole.0), counts(&parts.0));
    assert_eq!(whole.0.bad_lines, parts.0.bad_lines);
    assert_eq!(settled(&whole.1), settled(&parts.1));
    let raw = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!whole.0.bad_lines.iter().any(|b| b.text.contains(raw)));
    if whole.0.compression == "none" {
        let newlines = data.iter().filter(|b| **b == b'\n').count() as u64;
        // A last line without an end counts where it can be read.
        assert!((newlines..=newlines + 1).contains(&whole.0.lines));
    }
    alike(data);
}

/// Everything that comes of these bytes, handed over in chunks and read with this budget.
fn read(data: &[u8], chunk: usize, budget: usize) -> (SourceStatus, Vec<Input>) {
    let (send, receive) = sync_channel(1);
    let mut source = Source::stream(Path::new("fuzz"), receive, &Options::default());
    let mut out = Vec::new();
    for part in data.chunks(chunk) {
        send.send(part.to_vec()).unwrap();
        while source.poll(budget, &mut out) {}
    }
    drop(send);
    while source.poll(budget, &mut out) {}
    assert!(source.ended());
    source.finish(&mut out);
    (source.status().clone(), out)
}

/// What stands in the end, to the bit: a replacement takes back what was before it.
fn settled(inputs: &[Input]) -> Vec<String> {
    let from = inputs.iter().rposition(|i| *i == Input::Replaced).map_or(0, |i| i + 1);
    inputs[from..].iter().map(|i| format!("{i:?}")).collect()
}

/// What the scanner takes, the parser reads alike.
fn alike(data: &[u8]) {
    let (mut a, mut b) = (Keys::new(vec![]), Keys::new(vec![]));
    for line in data.split(|c| *c == b'\n') {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let (mut scanned, mut parsed) = (Found::default(), Found::default());
        let taken = scan::object(text, &mut a, &mut scanned).is_some();
        let mended = mend::non_numbers(text);
        let mut de = serde_json::Deserializer::from_str(mended.as_deref().unwrap_or(text));
        let read = parse::object(&mut de, &mut b, &mut parsed).is_ok() && de.end().is_ok();
        if taken {
            assert!(read, "{text}");
            let hits = |f: &Found| -> Vec<(u32, u64)> {
                f.hits.iter().map(|h| (h.key, h.value.to_bits())).collect()
            };
            assert_eq!(hits(&scanned), hits(&parsed), "{text}");
        } else {
            // The scanner leaves rests of keys that the parser meets in the same order.
            let mut de = serde_json::Deserializer::from_str(mended.as_deref().unwrap_or(text));
            let _ = parse::object(&mut de, &mut a, &mut Found::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::path::Path;

    const PARTS: &[&str] = &[
        "{",
        "}",
        "{\"step\":1,\"loss\":2.5}",
        "\"step\":",
        "\"loss\":",
        "\"tokens\":",
        "\"run\":",
        ":",
        ",",
        "1",
        "-2.5e3",
        "NaN",
        "\"7/9\"",
        "\"x\"",
        "null",
        "[",
        "]",
        "\n",
        "\n",
        "\r\n",
        "\\",
        "\"",
        "\0",
        "\u{feff}",
        "\u{202e}",
        "é",
        " ",
        "iteration 1/2 | learning rate: 0.1 | lm loss: 2.0 |",
        "step:1 loss:2.0",
        "step=1 loss=2",
        ":::MLLOG {\"key\":\"train_loss\",\"value\":2}",
        "{'loss': 2.0, 'epoch': 1}",
        "global_batch_size: 8",
    ];

    /// What a fuzzer found once stays mended.
    #[test]
    fn the_findings_so_far() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/lines");
        let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(files.len() > 10);
        for file in files {
            println!("{}", file.display());
            super::lines(&std::fs::read(file).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_of_known_parts(
            cut in any::<[u8; 2]>(), parts in prop::collection::vec(prop::sample::select(PARTS), 0..40),
        ) {
            super::lines(&[&cut[..], parts.concat().as_bytes()].concat());
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::lines(&bytes);
        }
    }
}
