//! A schedule that the user already runs: read from Megatron-LM's argument or from our CSV, and
//! where the run deviates from it.

use super::Entry;
use super::schedule::batch_at;
use crate::run::RunData;
use crate::units::{self, count, exact};

/// A batch size counts as the scheduled one up to this share: a log may round it.
const SAME: f64 = 0.02;
/// Log intervals by which a change may show late.
const LATE: f64 = 3.0;

/// What [`parse_schedule`] reads, in words.
pub const SCHEDULE_FORMS: &str = "0:768 250B:1536 (from tokens : sequences, as Megatron-LM takes it) or \
                                  lines from_tokens,batch_size_tokens";

/// Reads `THRESHOLD:BS THRESHOLD:BS ...` (Megatron-LM's `--step-batch-size-schedule`: tokens, and
/// batch sizes in sequences of `seq_len` tokens) or `from_tokens,batch_size_tokens` lines as
/// `plan --format csv` writes them (a header may stand above), ascending.
///
/// # Errors
/// Says what was found that is not understood.
pub fn parse_schedule(text: &str, seq_len: Option<f64>) -> Result<Vec<Entry>, String> {
    let first = text.split_whitespace().next();
    let Some(first) = first else { return Err("nothing".into()) };
    if first.starts_with(['{', '[']) {
        return Err("JSON".into());
    }
    let csv = text.contains(',');
    if !csv && !first.contains(':') {
        return Err(format!("{first:?}"));
    }
    let scale = if csv {
        1.0
    } else {
        seq_len.filter(|s| *s >= 1.0).ok_or(
            "batch sizes in sequences (Megatron-LM's form): give --seq-len TOKENS, or a CSV in tokens",
        )?
    };
    let mut out: Vec<Entry> = Vec::new();
    let parts: Vec<&str> = if csv {
        text.lines().map(str::trim).filter(|l| !l.is_empty()).collect()
    } else {
        text.split_whitespace().collect()
    };
    for (i, part) in parts.iter().enumerate() {
        let pair = part.split_once(if csv { ',' } else { ':' });
        // The learning rate stands third, where it is scaled.
        let third = pair.filter(|_| csv).and_then(|(_, rest)| rest.split_once(','));
        let pair = pair.map(|(t, rest)| (t, third.map_or(rest, |(b, _)| b)));
        let lr_scale = third.map(|(_, x)| x.trim().parse::<f64>());
        let parsed = pair
            .and_then(|(t, b)| {
                Some((units::parse_count(t.trim())?, scale * units::parse_count(b.trim())?))
            })
            .filter(|(t, b)| (0.0..1e18).contains(t) && (1.0..1e15).contains(b))
            .filter(|_| lr_scale.as_ref().is_none_or(|x| x.as_ref().is_ok_and(|x| *x > 0.0)));
        let Some((from, batch)) = parsed else {
            if csv && i == 0 {
                continue;
            }
            return Err(format!("{part:?}"));
        };
        let entry = Entry {
            from_tokens: from.round() as u64,
            batch_size_tokens: batch.round() as u64,
            lr_scale: lr_scale.and_then(|x| x.ok()),
        };
        if out.last().is_some_and(|l| l.from_tokens >= entry.from_tokens) {
            return Err(format!("{part:?} which does not come after the entry before it"));
        }
        out.push(entry);
    }
    if out.is_empty() { Err("nothing".into()) } else { Ok(out) }
}

/// Where a run's batch size was not the scheduled one, in words; older deviations first.
pub fn deviations(run: &RunData, schedule: &[Entry]) -> Vec<String> {
    let slack = LATE * crate::run::log_interval(run).map_or(0.0, |(_, tokens)| tokens);
    let now = run.tokens();
    let mut out = Vec::new();
    // What the log does not hold is known by its mean alone.
    for (i, s) in run.segments.iter().enumerate().filter(|(_, s)| !s.range.is_empty()) {
        let to = run.segments.get(i + 1).map_or(now, |n| n.from_tokens);
        // Each stretch of the schedule within this one of the run.
        let starts = schedule.iter().map(|e| e.from_tokens as f64);
        let mut cuts: Vec<f64> = starts.filter(|t| *t > s.from_tokens && *t < to).collect();
        cuts.insert(0, s.from_tokens);
        cuts.push(to);
        for w in cuts.windows(2) {
            let Some(want) = batch_at(schedule, w[0]) else { continue };
            let other = (s.batch_size / want as f64).ln().abs() > SAME;
            if other && w[1] - w[0] > slack + 2.0 * s.batch_size {
                let until = if w[1] >= now { "now".into() } else { count(w[1]) };
                out.push(format!(
                    "deviates from the given schedule: {} tokens a step from {} to {until}, where \
                     it says {}",
                    exact(s.batch_size.round().max(0.0) as u64),
                    count(w[0]),
                    exact(want)
                ));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::schedule::{csv, megatron};
    use crate::advice::testing::{LAW, MEMORY, e, run_of};
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read_and_faults_are_named() {
        let want = [e(0, 3_145_728), e(250_000_000_000, 6_291_456)];
        assert_eq!(parse_schedule("0:768 250B:1536", Some(4096.0)).unwrap(), want);
        let text = "from_tokens,batch_size_tokens\n0,3145728\n 250B, 6291456\n";
        assert_eq!(parse_schedule(text, None).unwrap(), want);
        assert!(parse_schedule("0:768", None).unwrap_err().contains("--seq-len"));
        for (bad, word) in [
            ("", "nothing"),
            (" \n", "nothing"),
            ("{\"schedule\": [1, 2]}", "JSON"),
            ("[[0, 128]]", "JSON"),
            ("no-such.csv", "\"no-such.csv\""),
        ] {
            assert_eq!(parse_schedule(bad, None).unwrap_err(), word);
        }
        for bad in ["", "0:768 x:3", "0:768 0:3", "0:0", "5,1\n5,2", "0,1\nx,2"] {
            assert!(parse_schedule(bad, Some(4096.0)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_that_keeps_its_schedule_deviates_nowhere_and_one_that_does_not_says_where() {
        let run = run_of(&LAW, &MEMORY, &[(128.0, 3e6), (256.0, 2e6)], 0.0);
        assert_eq!(deviations(&run, &[e(0, 128), e(3_000_000, 256), e(9_000_000, 512)]).len(), 0);
        // A change that the next log lines will show is none yet.
        assert_eq!(deviations(&run, &[e(0, 128), e(3_000_000, 256), e(4_990_000, 512)]).len(), 0);
        let late = deviations(&run, &[e(0, 128), e(2_000_000, 256)]);
        assert_eq!(late.len(), 1);
        assert!(late[0].contains("128 tokens a step from 2M to 3M"), "{late:?}");
        let never = deviations(&run, &[e(0, 128)]);
        assert!(never[0].contains("from 3M to now, where it says 128"), "{never:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(gaps in proptest::collection::vec((1u64..1 << 40, 1u64..10_000), 1..6)) {
            let mut from = 0;
            let schedule: Vec<Entry> = gaps.iter().enumerate().map(|(i, (gap, b))| {
                from += if i == 0 { 0 } else { *gap };
                e(from, b * 2048)
            }).collect();
            prop_assert_eq!(parse_schedule(&csv(&schedule), None).unwrap(), schedule.clone());
            let mut up = schedule;
            up.iter_mut().fold(0, |least, e| {
                e.batch_size_tokens = e.batch_size_tokens.max(least);
                e.batch_size_tokens
            });
            let text = megatron(&up, 2048).unwrap();
            prop_assert_eq!(parse_schedule(&text, Some(2048.0)).unwrap(), up);
        }
    }
}
