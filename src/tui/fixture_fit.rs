//! The fits in the test snapshots: a sweep that says much, and a group that can say little.

use super::fixture::{b_opt, interval, steps_to, wobble};
use crate::snapshot::*;

fn curve(level: f64, shift: f64) -> Vec<CurvePoint> {
    let mut points: Vec<CurvePoint> = (0..120)
        .filter_map(|i| {
            let b = 2f64.powf(3.0 + f64::from(i) * 0.1);
            let steps = steps_to(level, b)?;
            Some(CurvePoint { steps: steps * shift, tokens: steps * b })
        })
        .collect();
    points.sort_by(|a, b| a.steps.total_cmp(&b.steps));
    points
}

fn level(loss_level: f64) -> LevelFit {
    let sizes = [16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];
    let observed = sizes
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let reached = steps_to(loss_level, *b).filter(|s| s * b < 4e7);
            let steps = reached.unwrap_or(2e7 / b) * (1.0 + 0.04 * wobble(i));
            Observed {
                run: format!("mlp-b{b:.0}"),
                batch_size_tokens: *b,
                steps,
                tokens: steps * b,
                se_ln: 0.05,
                censored: reached.is_none(),
            }
        })
        .collect();
    let b = b_opt(loss_level);
    let s = steps_to(loss_level, b).unwrap();
    let model = |model, shift: f64, held_out: f64| ModelFit {
        model,
        b_min: interval(b / 3.0, 1.15),
        b_opt: interval(b * shift, 1.2),
        e_min_tokens: interval(s * b, 1.03),
        held_out_ln_e: Some(held_out),
        future_ln_e: None,
        refused: None,
        curve: curve(loss_level, shift),
    };
    let refused = |kind, why: &str| ModelFit {
        b_min: Interval::UNKNOWN,
        b_opt: Interval::UNKNOWN,
        e_min_tokens: Interval::UNKNOWN,
        held_out_ln_e: None,
        refused: Some(why.into()),
        curve: vec![],
        ..model(kind, 1.0, 0.0)
    };
    LevelFit {
        loss: loss_level,
        on: LossKind::Train,
        observed,
        model: Some(ModelKind::Joint),
        why: "the joint law speaks: smallest error on batch sizes left out (1.4 % against 2.6 %)"
            .into(),
        b_min: interval(b / 3.0, 1.15),
        b_opt: interval(b, 1.22),
        e_min_tokens: interval(s * b, 1.03),
        s_opt_steps: interval(s, 1.2),
        within_2_percent: Some([b / 1.45, b * 1.5]),
        clearly_worse: [None; 2],
        models: vec![
            ModelFit { held_out_ln_e: Some(0.21), ..model(ModelKind::Classical, 0.7, 0.21) },
            model(ModelKind::Smooth, 1.08, 0.026),
            refused(ModelKind::ThreeStage, "7 sizes must reach the level, 6 did"),
            model(ModelKind::Joint, 1.0, 0.014),
        ],
        curve: None,
        draws: vec![],
    }
}

pub(crate) fn group() -> GroupFit {
    let levels = (0..9).map(|i| level(2.55 - 0.05 * f64::from(i))).collect();
    GroupFit {
        id: "lr 2e-3".into(),
        lr: Some(2e-3),
        runs: vec![RunUse {
            id: "mlp-b8".into(),
            paths: vec!["runs/mlp-b8.jsonl".into()],
            batch_size_tokens: Some(8.0),
            steps: Some(1e6),
            tokens: Some(8e6),
            loss_last: Some(2.9),
            phase: Some(Phase::Stable),
            tokens_per_second: None,
            used: false,
            why: Some("its smoothed loss rises through the stable phase: no floor to fit".into()),
        }],
        law: None,
        provisional: None,
        scores: vec![],
        levels,
        notes: vec![],
        refused: vec![Refused {
            what: "memory".into(),
            why: "no run of this group changed its batch size".into(),
            needs: "one bump, watched for 3,000 steps".into(),
        }],
    }
}

/// A group that can say little: the smallest size tested is still the best.
pub(crate) fn open_group() -> GroupFit {
    let mut l = level(2.4);
    l.b_opt =
        Interval { value: None, low: None, high: Some(2_097_152.0), open: Open::Low, ..l.b_opt };
    l.b_min = Interval::UNKNOWN;
    l.within_2_percent = None;
    l.observed.truncate(3);
    l.models.truncate(2);
    GroupFit { id: "lr 3e-4".into(), lr: Some(3e-4), levels: vec![l], runs: vec![], ..group() }
}
