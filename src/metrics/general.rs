//! A console line of no known shape: numbers behind names, however they are joined. It carries
//! metrics where its names include a step and a loss. Pure.
//!
//! `iter 100: loss 2.12, time 120ms` · `Step 1 | loss:2.04 lr:2e-05` · `step = 10, train_loss = 2`
//! · `validate step: 500 loss: 2.1` (a loss on held-out data)

use super::fields::{LOOKS_LIKE, Role, classify, is_held_out, normal};
use super::values::{human_number, unix_seconds};

/// Longer lines are something else.
const LONGEST: usize = 4000;
/// Words before a number that may be its name.
const MOST_WORDS: usize = 6;

/// A number behind a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub key: String,
    pub role: Role,
    /// How well the name fits the role; less is better.
    pub rank: u16,
    pub value: f64,
    /// It was printed with three digits and a suffix.
    pub rounded: bool,
}

/// What a line says; empty where it carries no metrics.
pub fn fields(line: &str) -> Vec<Field> {
    let loss = |b: &[u8]| b.windows(4).any(|w| w.eq_ignore_ascii_case(b"loss"));
    if line.len() > LONGEST || !loss(line.as_bytes()) {
        return Vec::new();
    }
    let mut reader = Reader::default();
    for part in parts(line) {
        reader.part(part);
    }
    let mut fields = reader.fields;
    let of = |role: Role| fields.iter().filter(move |f| f.role == role);
    let step = of(Role::Step).map(|f| f.rank).min();
    let metric = step.is_some() && of(Role::Loss).chain(of(Role::ValLoss)).next().is_some();
    // Of an iteration and a step the step counts.
    fields.retain(|f| metric && (f.role != Role::Step || Some(f.rank) == step));
    fields
}

/// Parts that do not share names: between bars, semicolons and commas that group no digits.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    let bytes = line.as_bytes();
    let mut from = 0;
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    let digit = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    for (i, b) in bytes.iter().enumerate() {
        let parts = match b {
            b'|' | b';' => true,
            b',' => !(digit(i.checked_sub(1)) && digit(Some(i + 1))),
            _ => false,
        };
        if parts {
            cuts.push((from, i));
            from = i + 1;
        }
    }
    cuts.push((from, bytes.len()));
    cuts.into_iter().filter_map(|(a, b)| line.get(a..b))
}

#[derive(Default)]
struct Reader {
    fields: Vec<Field>,
    /// A word before the first field says that this is about held-out data.
    held_out: bool,
}

impl Reader {
    fn part(&mut self, part: &str) {
        let mut words: Vec<&str> = Vec::new();
        let mut joined = false;
        for token in part.split_whitespace() {
            self.held_out |= self.fields.is_empty() && is_held_out(&normal(bare(token)));
            if matches!(token, ":" | "=") {
                joined = true;
            } else if token == "-" {
                words.clear();
            } else if let Some((name, value)) = joint(token) {
                words.push(name);
                self.field(&words, value, true);
                words.clear();
                joined = false;
            } else if number(token, joined).is_some() {
                self.field(&words, token, joined);
                words.clear();
                joined = false;
            } else {
                joined = token.ends_with([':', '=']);
                words.push(token);
            }
        }
    }

    fn field(&mut self, words: &[&str], text: &str, joined: bool) {
        let Some((value, rounded)) = number(text, joined) else { return };
        let Some((mut key, mut role, rank)) = named(words, self.held_out) else { return };
        let of_training = normal(&key).split(['/', '_']).any(|w| matches!(w, "train" | "training"));
        if role == Role::Loss && self.held_out && !of_training {
            (key, role) = (format!("eval/{key}"), Role::ValLoss);
        }
        // A time of day, not how long something took.
        let value = if role == Role::Time { unix_seconds(value) } else { Some(value) };
        self.fields.extend(value.map(|value| Field { key, role, rank, value, rounded }));
    }
}

/// Which of the words before a number name it, and as what.
fn named(words: &[&str], held_out: bool) -> Option<(String, Role, u16)> {
    let first = words.len().saturating_sub(MOST_WORDS);
    let phrase = |from: usize| bare(&words[from..].join(" ")).to_string();
    let whole = phrase(first);
    if let Some(c) = classify(&whole) {
        return Some((whole, c.role, c.rank));
    }
    let on_held_out = format!("eval/{whole}");
    if let Some(c) = classify(&on_held_out).filter(|c| held_out && c.role == Role::ValLoss) {
        return Some((on_held_out, c.role, c.rank));
    }
    // What stands before the name of a counter is talk; before that of a loss it tells which loss.
    (first + 1..words.len()).find_map(|from| {
        let name = phrase(from);
        let c = classify(&name).filter(|c| c.rank < LOOKS_LIKE)?;
        let counter = !matches!(c.role, Role::Loss | Role::ValLoss | Role::Time);
        counter.then_some((name, c.role, c.rank))
    })
}

/// Without joints and quotes around it, and without brackets that are not its own.
fn bare(text: &str) -> &str {
    let text = text.trim_matches(|c: char| c.is_whitespace() || ":=,#*'\"".contains(c));
    let text = text.trim_start_matches(['[', ']', '(', ')', '{', '}', '<', '>', ' ']);
    match text.contains(['[', '(', '{', '<']) {
        true => text,
        false => text.trim_end_matches([']', ')', '}', '>', ':', ' ']),
    }
}

/// `name:value` or `name=value` in one word.
fn joint(token: &str) -> Option<(&str, &str)> {
    let at = token.rfind(['=', ':'])?;
    let (name, value) = (&token[..at], &token[at + 1..]);
    let named = name.starts_with(|c: char| c.is_alphabetic() || "_[({'\"".contains(c));
    (named && number(value, true).is_some()).then_some((name, value))
}

/// A word that is no number of its own (`nan`) counts only behind a joint.
fn number(text: &str, joined: bool) -> Option<(f64, bool)> {
    let around = |c: char| c.is_whitespace() || "[](){}<>:=,#*'\"".contains(c);
    let (value, rounded) = human_number(text.trim_matches(around))?;
    (value.is_finite() || joined).then_some((value, rounded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Vec<(String, f64)> {
        fields(line).into_iter().map(|f| (f.key, f.value)).collect()
    }

    fn has(line: &str, want: &[(&str, f64)]) {
        let got = told(line);
        for (key, value) in want {
            let there =
                got.iter().any(|(k, v)| k == key && (v == value || v.is_nan() && value.is_nan()));
            assert!(there, "{key} {value} in {got:?} of {line}");
        }
    }

    #[test]
    fn lines_of_many_trainers() {
        for (line, want) in [
            (
                "iter 100: loss 2.1234, time 120.33ms, mfu 30.11%",
                &[("iter", 100.0), ("loss", 2.1234)][..],
            ),
            (
                "step 500: train loss 2.25, val loss 2.5",
                &[("step", 500.0), ("train loss", 2.25), ("val loss", 2.5)],
            ),
            (
                "Step 1 | loss:2.04 lr:2e-05 tokens_per_second_per_gpu:9123.4",
                &[("Step", 1.0), ("loss", 2.04), ("lr", 2e-5)],
            ),
            (
                "Training epoch 0, iteration 10/99 | lr: 1.2e-05 | global_batch_size: 512 | global_step: 10 | reduced_train_loss: 8.875 | train_step_timing in s: 1.2 | consumed_samples: 5632",
                &[
                    ("global_step", 10.0),
                    ("reduced_train_loss", 8.875),
                    ("lr", 1.2e-5),
                    ("global_batch_size", 512.0),
                    ("consumed_samples", 5632.0),
                ],
            ),
            (
                "[rank 0] Step: 1     | Loss: 10.875 | Global batch size: 32.77K | Tokens/s: 5.2K | Tokens:  32.77K/1.00B | MFU: 4.1%",
                &[
                    ("Step", 1.0),
                    ("Loss", 10.875),
                    ("Global batch size", 32770.0),
                    ("Tokens", 32770.0),
                ],
            ),
            (
                "step = 10, train_loss (current) = 2.5, learning_rate = 3e-4",
                &[("step", 10.0), ("train_loss (current)", 2.5), ("learning_rate", 3e-4)],
            ),
            (
                "2026-01-02 03:04:05,980 - root - INFO - step: 17,394  loss:  nan  lr: [3e-4]",
                &[("step", 17394.0), ("loss", f64::NAN), ("lr", 3e-4)],
            ),
            (
                "2026-01-02 | INFO | train_inner | epoch 001:    100 / 500 loss=9.5, ppl=1, wps=7, num_updates=100, lr=1e-05",
                &[("num_updates", 100.0), ("loss", 9.5), ("lr", 1e-5)],
            ),
            (
                "Epoch 1 | iter 10 step 2 | loss train: 8.5, val: n/a | iter time: 44.1 ms",
                &[("step", 2.0), ("loss train", 8.5)],
            ),
            (
                "steps: 10 loss: 2.125 iter time (s): 0.5 samples/sec: 3.2",
                &[("steps", 10.0), ("loss", 2.125)],
            ),
            (
                "step:7 - train/loss:1.25 - train/lr(1e-3):0.01",
                &[("step", 7.0), ("train/loss", 1.25)],
            ),
        ] {
            has(line, want);
        }
    }

    #[test]
    fn of_two_counters_one_is_the_step_and_a_duration_is_no_time() {
        let got = fields("Epoch 1 | iter 10 step 2 | loss train: 8.5 | time: 44.5");
        let roles: Vec<Role> = got.iter().map(|f| f.role).collect();
        assert_eq!(roles, [Role::Step, Role::Loss], "{got:?}");
        let got = fields("iter 7 loss 2.5 time 1790000000.5");
        assert!(got.iter().any(|f| f.role == Role::Time && f.value == 1_790_000_000.5), "{got:?}");
    }

    #[test]
    fn held_out_data_are_told_by_the_words_before() {
        for (line, want) in [
            (
                "[titan] INFO - validate step: 500  loss:  2.5  memory: 4GiB(5%)  tps: 2,817",
                ("eval/loss", 2.5),
            ),
            ("eval metrics after step: 9, loss=10.125, total_weights=4096", ("eval/loss", 10.125)),
            (
                "valid on 'valid' subset | loss 3.875 | ppl 14 | num_updates 100",
                ("eval/loss", 3.875),
            ),
            ("iter 1000: val loss 2.25, val time: 123 ms", ("val loss", 2.25)),
            ("Evaluation at step 9: train loss 2.0, val loss 2.25", ("train loss", 2.0)),
            (
                "validation results at iteration 9 | lm_loss value: 2.5E+00 | lm_loss_ppl value: 12.2 |",
                ("eval/lm_loss value", 2.5),
            ),
        ] {
            has(line, &[want]);
        }
    }

    #[test]
    fn what_carries_no_step_or_no_loss_of_a_language_model_is_text() {
        for line in [
            "",
            "loss",
            "INFO using loss fn v2, 8 workers",
            "Train Epoch: 0 [12/100 (0%)] Loss: 5.3 LR: 0.001",
            "step: 5 aux loss: 0.01",
            "step=10, skipped=0, lr=[0.0001], mom=[(0.9, 0.95)]",
            "loss scale: 65536 at step 3",
        ] {
            assert_eq!(told(line), [], "{line}");
        }
    }
}
