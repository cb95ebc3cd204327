//! Schedules as functions of cumulative tokens: what acts when, changes, text forms.

use super::{Entry, LrRule};
use crate::units;

/// The entry that a step starting at `tokens` runs under; `None` is the trainer's own batch size.
pub fn batch_at(schedule: &[Entry], tokens: f64) -> Option<u64> {
    schedule.iter().rev().find(|e| e.from_tokens as f64 <= tokens).map(|e| e.batch_size_tokens)
}

/// The first cumulative token count, `now` or later, from which `new` asks for another batch size
/// (or learning-rate scale) than `old`. `own` acts before the first entry of either.
pub fn first_change(old: &[Entry], new: &[Entry], own: u64, now: u64) -> Option<u64> {
    let at = |s: &[Entry], t: u64| {
        let entry = s.iter().rev().find(|e| e.from_tokens <= t);
        (entry.map_or(own, |e| e.batch_size_tokens), entry.and_then(|e| e.lr_scale).unwrap_or(1.0))
    };
    let mut points: Vec<u64> =
        old.iter().chain(new).map(|e| e.from_tokens).filter(|t| *t > now).collect();
    points.push(now);
    points.sort_unstable();
    points.into_iter().find(|t| at(old, *t) != at(new, *t))
}

/// The schedule in force with one batch size from `at_tokens` on (`None`: `earliest_tokens`, the
/// first that the lead time allows): entries from there on go, what is before stays, and one
/// entry always lies at or below `now_tokens`. `own_batch` is what the run trains at now.
pub fn with_change(
    in_force: &[Entry],
    own_batch: u64,
    batch_size: u64,
    at_tokens: Option<u64>,
    now_tokens: u64,
    earliest_tokens: u64,
) -> Vec<Entry> {
    let at = at_tokens.unwrap_or(earliest_tokens);
    let mut out: Vec<Entry> = in_force.iter().filter(|e| e.from_tokens < at).copied().collect();
    let scale = out.last().and_then(|e| e.lr_scale);
    if at > now_tokens && out.first().is_none_or(|e| e.from_tokens > now_tokens) {
        out.insert(0, Entry { from_tokens: 0, batch_size_tokens: own_batch, lr_scale: scale });
    }
    if out.last().is_none_or(|e| e.batch_size_tokens != batch_size) {
        out.push(Entry { from_tokens: at, batch_size_tokens: batch_size, lr_scale: scale });
    }
    out
}

/// The learning-rate rule as absolute scales against the first entry's batch size. With
/// [`LrRule::Unchanged`] scales that are already there stay.
pub fn with_lr_rule(mut schedule: Vec<Entry>, rule: LrRule) -> Vec<Entry> {
    let Some(first) = schedule.first().copied() else { return schedule };
    let used = schedule.iter().any(|e| e.lr_scale.is_some());
    match rule {
        LrRule::Unchanged if used => {
            // Once used, every entry says it.
            let mut scale = 1.0;
            for e in &mut schedule {
                scale = e.lr_scale.unwrap_or(scale);
                e.lr_scale = Some(scale);
            }
        }
        LrRule::Unchanged => {}
        LrRule::Sqrt => {
            let (b, s) = (first.batch_size_tokens.max(1) as f64, first.lr_scale.unwrap_or(1.0));
            for e in &mut schedule {
                e.lr_scale = Some(s * (e.batch_size_tokens as f64 / b).sqrt());
            }
        }
    }
    schedule
}

/// `0:2M 250B:4M` (tokens : batch size in tokens), ascending.
///
/// # Errors
/// Says which part was not understood and what is expected.
pub fn parse_what_if(text: &str) -> Result<Vec<Entry>, String> {
    let expected = "expected entries like 0:2M 250B:4M (from tokens : batch size in tokens)";
    let mut out: Vec<Entry> = Vec::new();
    for part in text.split_whitespace() {
        let parsed = part
            .split_once(':')
            .and_then(|(t, b)| Some((units::parse_count(t)?, units::parse_count(b)?)))
            .filter(|(t, b)| *t < 1e18 && (1.0..1e15).contains(b));
        let Some((from, batch)) = parsed else {
            return Err(format!("found {part:?}, {expected}"));
        };
        let entry = Entry {
            from_tokens: from.round() as u64,
            batch_size_tokens: batch.round() as u64,
            lr_scale: None,
        };
        if out.last().is_some_and(|l| l.from_tokens >= entry.from_tokens) {
            return Err(format!("{part:?} does not come after the entry before it; {expected}"));
        }
        out.push(entry);
    }
    if out.is_empty() { Err(format!("found nothing, {expected}")) } else { Ok(out) }
}

/// The argument of Megatron-LM's `--step-batch-size-schedule`: `THRESHOLD:BS THRESHOLD:BS ...`,
/// thresholds in cumulative tokens (Megatron-LM divides them by `--seq-length`), the first one 0,
/// batch sizes in sequences. It only steps up; it excludes `--rampup-batch-size`, wants
/// `--train-samples`, and `--global-batch-size` is not given beside it.
///
/// # Errors
/// A batch size that is not a multiple of `seq_len` tokens or smaller than the one before, or an
/// empty schedule.
pub fn megatron(schedule: &[Entry], seq_len: u64) -> Result<String, String> {
    if schedule.is_empty() || seq_len == 0 {
        return Err("found no schedule or no sequence length; give --seq-len".into());
    }
    if let Some(w) = schedule.windows(2).find(|w| w[1].batch_size_tokens < w[0].batch_size_tokens) {
        return Err(format!(
            "Megatron-LM only steps up, and {} tokens a step are to follow on {}",
            units::exact(w[1].batch_size_tokens),
            units::exact(w[0].batch_size_tokens)
        ));
    }
    let mut parts = Vec::new();
    for (i, e) in schedule.iter().enumerate() {
        if !e.batch_size_tokens.is_multiple_of(seq_len) {
            return Err(format!(
                "batch size {} tokens is not a whole number of sequences of {seq_len} tokens; \
                 give the right --seq-len",
                units::exact(e.batch_size_tokens)
            ));
        }
        // What was before the first entry is past when the job starts again.
        let from = if i == 0 { 0 } else { e.from_tokens };
        parts.push(format!("{from}:{}", e.batch_size_tokens / seq_len));
    }
    Ok(parts.join(" "))
}

/// `tokens,batch_size` lines with a header; a third column where any learning rate is scaled.
pub fn csv(schedule: &[Entry]) -> String {
    let scaled = schedule.iter().any(|e| e.lr_scale.is_some());
    let mut out = String::from("from_tokens,batch_size_tokens");
    out.push_str(if scaled { ",lr_scale\n" } else { "\n" });
    for e in schedule {
        out.push_str(&format!("{},{}", e.from_tokens, e.batch_size_tokens));
        if scaled {
            out.push_str(&format!(",{}", e.lr_scale.unwrap_or(1.0)));
        }
        out.push('\n');
    }
    out
}

/// The learning rates that Megatron-LM's argument cannot say; `None` where none is scaled.
pub fn unsaid_lr(schedule: &[Entry]) -> Option<String> {
    let scale = |e: &Entry| e.lr_scale.unwrap_or(1.0);
    schedule.iter().any(|e| scale(e) != 1.0).then(|| {
        let each = schedule.iter().map(|e| {
            let scale = (scale(e) * 1e4).round() / 1e4;
            format!("x {scale} from {} tokens on", units::exact(e.from_tokens))
        });
        format!(
            "the plan also scales the learning rate, which --step-batch-size-schedule cannot say: {}; \
             set it beside",
            each.collect::<Vec<_>>().join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::e;

    #[test]
    fn a_change_keeps_what_is_before_and_always_has_the_present() {
        let in_force = [e(0, 2), e(100, 4), e(200, 8)];
        assert_eq!(
            with_change(&in_force, 2, 6, Some(150), 50, 60),
            [e(0, 2), e(100, 4), e(150, 6)]
        );
        assert_eq!(with_change(&in_force, 2, 6, None, 50, 60), [e(0, 2), e(60, 6)]);
        assert_eq!(with_change(&[], 2, 6, None, 50, 60), [e(0, 2), e(60, 6)]);
        assert_eq!(with_change(&[e(80, 4)], 2, 6, Some(90), 50, 60), [e(0, 2), e(80, 4), e(90, 6)]);
        // Undoing what is to come: the same batch size on.
        assert_eq!(with_change(&in_force, 4, 4, Some(150), 120, 130), [e(0, 2), e(100, 4)]);
    }

    #[test]
    fn the_first_change_is_found_whatever_the_entries() {
        let old = [e(0, 2), e(100, 4)];
        assert_eq!(first_change(&old, &old, 2, 50), None);
        assert_eq!(first_change(&[], &old, 2, 50), Some(100));
        assert_eq!(first_change(&old, &[e(0, 2)], 2, 50), Some(100));
        assert_eq!(first_change(&old, &[e(0, 4)], 2, 50), Some(50));
        assert_eq!(first_change(&old, &[e(30, 2), e(100, 4), e(300, 8)], 2, 150), Some(300));
    }

    #[test]
    fn what_if_is_read_and_faults_are_named() {
        assert_eq!(
            parse_what_if("0:2M  250B:4M").unwrap(),
            [e(0, 2_000_000), e(250_000_000_000, 4_000_000)]
        );
        for (bad, word) in
            [("", "nothing"), ("2M", "2M"), ("0:0", "0:0"), ("5:1 5:2", "after"), ("0:x", "0:x")]
        {
            assert!(parse_what_if(bad).unwrap_err().contains(word), "{bad}");
        }
    }

    #[test]
    fn megatron_counts_sequences_and_begins_at_zero() {
        let s = [e(1_000_000, 768 * 4096), e(250_000_000_000, 1536 * 4096)];
        assert_eq!(megatron(&s, 4096).unwrap(), "0:768 250000000000:1536");
        assert!(megatron(&s, 5000).unwrap_err().contains("5000"));
        assert!(megatron(&[], 4096).is_err());
        let down = megatron(&[e(0, 8192), e(9000, 4096)], 4096).unwrap_err();
        assert!(down.contains("only steps up"), "{down}");
    }

    #[test]
    fn a_scaled_learning_rate_is_written_read_again_or_told() {
        let s = with_lr_rule(vec![e(0, 100), e(10, 400)], LrRule::Sqrt);
        assert_eq!(csv(&s), "from_tokens,batch_size_tokens,lr_scale\n0,100,1\n10,400,2\n");
        assert_eq!(crate::advice::parse_schedule(&csv(&s), None).unwrap(), s);
        assert!(unsaid_lr(&s).unwrap().contains("x 2 from 10 tokens on"));
        assert_eq!(csv(&[e(0, 100)]), "from_tokens,batch_size_tokens\n0,100\n");
        assert_eq!(unsaid_lr(&[e(0, 100)]), None);
    }

    #[test]
    fn the_square_root_rule_scales_against_the_first_entry() {
        let s = with_lr_rule(vec![e(0, 100), e(10, 400)], LrRule::Sqrt);
        assert_eq!(s[0].lr_scale, Some(1.0));
        assert_eq!(s[1].lr_scale, Some(2.0));
        assert_eq!(with_lr_rule(s.clone(), LrRule::Unchanged), s);
    }
}
