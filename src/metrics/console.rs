//! Console lines: `key: value | key: value`, `key=value key=value`, and the settings that a
//! preamble states. Driven by the tables in `presets`. Pure.

use super::fields::{Role, normal};
use super::presets::{Parted, SETTINGS, SHAPES, Shape};
use super::values::{human_number, number};
use std::borrow::Cow;

/// The shape of a metric line, if it is one.
pub fn shape(line: &str) -> Option<(usize, &'static Shape)> {
    SHAPES
        .iter()
        .enumerate()
        .find(|(_, s)| s.words.iter().all(|w| line.contains(w)) && begins(s, line))
}

fn begins(s: &Shape, line: &str) -> bool {
    !s.at_start
        || line
            .trim_start()
            .strip_prefix(s.from)
            .is_some_and(|r| r.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

/// Calls `each(key, value, rounded)` for every field of the line that is a number.
pub fn fields<'a>(shape: &Shape, line: &'a str, mut each: impl FnMut(&'a str, f64, bool)) {
    let start = line.find(shape.from).unwrap_or(0);
    let text = &line[start..];
    match shape.parted {
        Parted::Bar => text.split('|').for_each(|part| field(part, shape.joint, &mut each)),
        Parted::Comma => text.split(',').for_each(|part| field(part, shape.joint, &mut each)),
        Parted::Blank => blanks(text, shape.joint, &mut each),
    }
}

/// `key: value` or `key value`.
fn field<'a>(part: &'a str, joint: u8, each: &mut impl FnMut(&'a str, f64, bool)) {
    let at = part.find(joint as char).or_else(|| part.find(|c: char| c.is_ascii_digit()));
    let Some(at) = at else { return };
    let key = part[..at].trim();
    let value = part[at..].trim_start_matches(joint as char);
    let word = value.split_whitespace().next().unwrap_or("");
    if !key.is_empty()
        && let Some((x, rounded)) = human_number(word)
    {
        each(key, x, rounded);
    }
}

/// Fields parted by blanks: the key is what stands between the last value and the joint.
fn blanks<'a>(text: &'a str, joint: u8, each: &mut impl FnMut(&'a str, f64, bool)) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(joint, rest.as_bytes()) {
        let key = rest[..at].trim_start_matches(['|', ',', ' ']).trim();
        let value = rest[at + 1..].trim_start();
        let len = if value.starts_with('{') {
            value.find('}').map_or(value.len(), |i| i + 1)
        } else {
            value.find(char::is_whitespace).unwrap_or(value.len())
        };
        if let Some((x, rounded)) = human_number(value[..len].trim_end_matches([',', '|'])) {
            each(key, x, rounded);
        }
        rest = &value[len..];
    }
}

/// Lines longer than this state no settings.
const LONGEST_SETTING: usize = 300;

/// What a preamble line states: `SEQUENCE LENGTH: 4096`, `seq_length ..... 4096`,
/// `Config param max_target_length: 2048`, `with ... global batch size 64, sequence length 8192`.
pub fn settings(line: &str, mut each: impl FnMut(&'static str, Role, f64)) {
    if line.len() > LONGEST_SETTING || !line.bytes().any(|b| b.is_ascii_digit()) {
        return;
    }
    if line.contains("Training starts at step") {
        line.split(',')
            .for_each(|part| field(part, b':', &mut |key, x, _| state(key, x, &mut each)));
        return;
    }
    let (key, value) = match line.find("...") {
        Some(at) => (&line[..at], line[at..].trim_start_matches('.')),
        None => match line.rsplit_once([':', '=']) {
            Some(pair) => pair,
            None => return,
        },
    };
    if let Some(x) = number(value)
        && x.is_finite()
        && x > 0.0
    {
        state(key, x, &mut each);
    }
}

fn state(key: &str, x: f64, each: &mut impl FnMut(&'static str, Role, f64)) {
    let name = normal(key);
    let known = |(s, _): &&(&str, Role)| {
        // The setting may stand behind a prefix (`Config param `, `[rank0]: `) but is a name of
        // its own: TOKENS_GLOBAL_BATCH_SIZE is not the global batch size.
        name == *s || (key.contains(' ') && name.ends_with(s) && last_words(key, s))
    };
    if let Some((s, role)) = SETTINGS.iter().find(known) {
        each(s, *role, x);
    }
}

/// The last blank-separated words of `key` spell `setting` exactly.
fn last_words(key: &str, setting: &str) -> bool {
    let words: Vec<&str> = key.split_whitespace().collect();
    (1..=words.len().min(4)).any(|n| normal(&words[words.len() - n..].join(" ")) == setting)
}

/// The line without colour codes.
pub fn plain(line: &str) -> Cow<'_, str> {
    if !line.contains('\x1b') {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&rest[..at]);
        let code = &rest[at + 1..];
        rest = match code.strip_prefix('[') {
            Some(c) => c.find(|c: char| ('@'..='~').contains(&c)).map_or("", |end| &c[end + 1..]),
            None => code,
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (&'static str, Vec<(String, f64)>) {
        let (_, s) = shape(line).unwrap();
        let mut out = vec![];
        fields(s, line, |k, x, _| out.push((k.to_string(), x)));
        (s.name, out)
    }

    fn get(fields: &[(String, f64)], key: &str) -> f64 {
        fields.iter().find(|(k, _)| k == key).unwrap_or_else(|| panic!("{key} in {fields:?}")).1
    }

    #[test]
    fn megatron_with_prefixes_and_a_typo() {
        let line = " 3: [2025-06-18 09:01:11] iteration  70/ 9000 | consumed samples:   4480 | learning rate: 1.5E-05 | gloabl batch size:  64 | lm loss:  9.25E+00 |";
        let (name, f) = read(line);
        assert_eq!(name, "megatron");
        assert_eq!(get(&f, "iteration"), 70.0);
        assert_eq!(get(&f, "consumed samples"), 4480.0);
        assert_eq!(get(&f, "lm loss"), 9.25);
        assert_eq!(get(&f, "gloabl batch size"), 64.0);
        let (name, f) = read(
            " validation loss at iteration 70 | lm loss value: 9.5E+00 | lm loss PPL: 1.3E+04 |",
        );
        assert_eq!((name, get(&f, "iteration"), get(&f, "lm loss value")), ("megatron", 70.0, 9.5));
    }

    #[test]
    fn the_other_shapes() {
        let (name, f) = read(
            "01/02 03:04:05 [INFO|DP=0|TP=0]: iteration: 7 / 900 | consumed_tokens: 2.75M | global_batch_size: 393K | lm_loss: 9.5 | lr: 2e-06 | eta: 1 day, 1:15:30 | grad_norm: 9.46",
        );
        assert_eq!(
            (name, get(&f, "iteration"), get(&f, "consumed_tokens")),
            ("nanotron", 7.0, 2.75e6)
        );
        let (name, f) = read(
            "x pid=7 : tflops=4.5 step=3 loss=8.5 tgs (tokens/gpu/second)=33.5 lr=4e-07 grad_norm={'0_a': 8.5, '1_b': 0.0} num_consumed_tokens=65536 loss/cn=nan",
        );
        assert_eq!(
            (name, get(&f, "step"), get(&f, "num_consumed_tokens")),
            ("internevo", 3.0, 65536.0)
        );
        let (name, f) = read(
            "[rank0]:2026-01-02 03:04:05,980 - root - INFO - step: 500  loss:  4.25  grad_norm: 1.5  memory: 7.5GiB(8%)  tps: 2,817  mfu: 51%",
        );
        assert_eq!(
            (name, get(&f, "step"), get(&f, "loss"), get(&f, "tps")),
            ("torchtitan", 500.0, 4.25, 2817.0)
        );
        let (name, f) = read(
            "completed step: 4, seconds: 5.5, TFLOP/s/device: 134.5, total_weights: 196608, loss: 11.25",
        );
        assert_eq!((name, get(&f, "completed step"), get(&f, "loss")), ("maxtext", 4.0, 11.25));
        let (name, f) = read("s:8 trl:10.25 lr:0.000006 norm:5.29");
        assert_eq!((name, get(&f, "s"), get(&f, "trl")), ("llm.c", 8.0, 10.25));
        let (name, f) = read(
            "step   10/18865 | loss 10.5 (+0.12z)| norm 15.25 (+0.1z)| lr 6.00e-05 | 105.5 ms | 123456 tok/s",
        );
        assert_eq!(
            (name, get(&f, "step"), get(&f, "loss"), get(&f, "lr")),
            ("llm.c", 10.0, 10.5, 6e-5)
        );
        assert!(shape("INFO: nothing to see here").is_none());
        assert!(shape("s: not a number").is_none());
    }

    #[test]
    fn settings_of_preambles() {
        let read = |line: &str| {
            let mut out = vec![];
            settings(line, |_, role, x| out.push((role, x)));
            out
        };
        assert_eq!(read("SEQUENCE LENGTH:  4096"), [(Role::SeqLen, 4096.0)]);
        assert_eq!(read("  seq_length ...................... 2048"), [(Role::SeqLen, 2048.0)]);
        assert_eq!(read("GLOBAL_BATCH_SIZE:  1008"), [(Role::BatchSequences, 1008.0)]);
        assert_eq!(read("TOKENS_GLOBAL_BATCH_SIZE:  4128768"), []);
        assert_eq!(read("Config param max_target_length: 2048"), [(Role::SeqLen, 2048.0)]);
        assert_eq!(
            read(
                "Training starts at step 1, with local batch size 8, global batch size 64, gradient accumulation steps 1, sequence length 8192, total steps 1000 (warmup 200)"
            ),
            [
                (Role::MicroBatch, 8.0),
                (Role::BatchSequences, 64.0),
                (Role::GradAccum, 1.0),
                (Role::SeqLen, 8192.0)
            ]
        );
        assert_eq!(read("tokens per iteration will be: 491,520"), [(Role::BatchTokens, 491_520.0)]);
        assert_eq!(read("loading took: 3"), []);
    }

    #[test]
    fn colour_codes_are_taken_away() {
        assert_eq!(plain("\x1b[32mstep:\x1b[0m 5\x1b["), "step: 5");
    }
}
