//! The comparison after the decay, where runs were decayed: their final losses, by batch size. It
//! stands beside the stable-phase one, since a decay anneals much of the noise of a small batch.

use crate::run::{Phase, RunData};
use crate::units::{count, loss as nats};
use serde::Serialize;

/// A decay counts as ended where the learning rate is below this share of its plateau.
const ENDED: f64 = 0.15;
/// Share of the decay's tokens that its final loss is a mean over.
const LAST: f64 = 0.05;
/// Runs are compared where their tokens differ by less than this factor.
const SAME_TOKENS: f64 = 1.1;

/// The end of a decayed run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decayed {
    pub run: String,
    /// Of the whole run; of the decay where it changed before.
    pub batch_size_tokens: f64,
    /// It was the same from the first step on.
    pub constant: bool,
    pub tokens: f64,
    /// Nats per token.
    pub loss: f64,
}

/// The end of a run's decay; `None` where it has none, or is still in it.
pub fn decayed(run: &RunData) -> Option<Decayed> {
    let span = run.phases.spans.last().filter(|s| s.phase == Phase::Decay)?;
    let (c, rows) = (&run.train, span.range.clone());
    let plateau = run.phases.plateau_lr?;
    let last = rows.end.checked_sub(1)?;
    if *c.lr.get(last)? > ENDED * plateau {
        return None;
    }
    let (from, to) = (*c.tokens.get(rows.start)?, *c.tokens.get(last)?);
    let tail = to - LAST * (to - from);
    let seen: Vec<f64> = rows
        .filter(|i| c.tokens[*i] >= tail)
        .map(|i| c.loss[i])
        .filter(|l| l.is_finite())
        .collect();
    let loss = seen.iter().sum::<f64>() / seen.len() as f64;
    loss.is_finite().then(|| Decayed {
        run: run.id.clone(),
        batch_size_tokens: run.segments.last().map_or(f64::NAN, |s| s.batch_size),
        constant: run.segments.len() == 1,
        tokens: to,
        loss,
    })
}

/// What decayed runs say in words; where there are none, what cannot be known.
pub(super) fn words(ends: &[Decayed]) -> String {
    let mut constant: Vec<&Decayed> = ends.iter().filter(|d| d.constant).collect();
    constant.sort_by(|a, b| b.tokens.total_cmp(&a.tokens));
    // The most tokens at which two batch sizes can be compared.
    for longest in &constant {
        let near =
            |d: &&&Decayed| (longest.tokens / d.tokens) < SAME_TOKENS && d.tokens <= longest.tokens;
        let mut alike: Vec<&Decayed> = constant.iter().filter(near).copied().collect();
        alike.sort_by(|a, b| a.batch_size_tokens.total_cmp(&b.batch_size_tokens));
        let sizes = |d: &Decayed| d.batch_size_tokens;
        let two = alike.windows(2).any(|w| sizes(w[1]) > 1.1 * sizes(w[0]));
        let Some(best) = alike.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).filter(|_| two)
        else {
            continue;
        };
        let each: Vec<String> = alike
            .iter()
            .map(|d| format!("{} {}", count(d.batch_size_tokens), nats(d.loss)))
            .collect();
        return format!(
            "after their decays at about {} tokens: {}; of these {} ended lowest. All else here is \
             about the stable-phase loss",
            count(longest.tokens),
            each.join(", "),
            count(best.batch_size_tokens)
        );
    }
    format!(
        "all of this is about the stable-phase loss; a decay anneals much of the noise of a small \
         batch, and how much is not known here: {} (decay the same checkpoint at two sizes, or \
         siblings at equal tokens, to know)",
        match ends.len() {
            0 => "no run that is fitted with it was decayed",
            _ => "no two batch sizes were decayed at about equal tokens",
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::fixture;

    fn end(batch_size_tokens: f64, tokens: f64, loss: f64) -> Decayed {
        Decayed { run: "r".into(), batch_size_tokens, constant: true, tokens, loss }
    }

    #[test]
    fn two_sizes_at_equal_tokens_are_compared() {
        let text = words(&[end(256.0, 30e6, 2.142), end(512.0, 29e6, 2.131), end(64.0, 9e6, 2.4)]);
        assert!(text.contains("256 2.1420, 512 2.1310; of these 512 ended lowest"), "{text}");
        for few in
            [&[][..], &[end(256.0, 30e6, 2.1)], &[end(256.0, 30e6, 2.1), end(512.0, 9e6, 2.2)]]
        {
            assert!(words(few).contains("not known here"), "{}", words(few));
        }
    }

    #[test]
    fn of_the_real_sweep_the_two_decayed_runs_are_found() {
        let mut found: Vec<String> =
            fixture::sweep("mlp_sweep").iter().filter_map(decayed).map(|d| d.run).collect();
        found.sort();
        assert_eq!(found, ["b0256_lr2e-3_s1_wsdlinear", "b1024_lr2e-3_s1_wsdsqrt"]);
    }
}
