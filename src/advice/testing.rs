//! Synthetic runs and fits that follow a known law, for the tests of this folder.

use super::{Entry, Plan, PlanOptions, Policy, Situation, TrainerLimits};
use crate::curve::*;
use crate::run::*;

/// own/mlp_sweep.
pub const LAW: Law = Law { l_inf: 1.941, a: 214.0, alpha: 0.798, c: 2.167, gamma: 0.417, q: 0.111 };
pub const MEMORY: Memory = Memory { tau_steps: 1480.0, p: 0.44, source: MemorySource::Measured };

/// A run that follows `law` along (batch size, tokens at it), logged every 1 % of its tokens, with
/// `noise` nats of deterministic jitter.
pub fn run_of(law: &Law, memory: &Memory, parts: &[(f64, f64)], noise: f64) -> RunData {
    let total: f64 = parts.iter().map(|p| p.1).sum();
    let mut train = Columns::default();
    let mut segments = Vec::new();
    let mut done: Vec<Stretch> = Vec::new();
    let (mut step, mut tokens) = (0.0, 0.0);
    let mut seed = 7u64;
    for &(batch_size, part) in parts {
        let (from_step, from_tokens, from) = (step, tokens, train.len());
        let lines = (part / total * 200.0).ceil().max(1.0) as usize;
        for _ in 0..lines {
            step += part / batch_size / lines as f64;
            tokens += part / lines as f64;
            let mut all = done.clone();
            all.push(Stretch { batch_size, steps: step - from_step });
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let jitter = ((seed >> 33) as f64 / (1u64 << 31) as f64 - 0.5) * 3.46 * noise;
            train.step.push(step);
            train.tokens.push(tokens);
            train.loss.push(law.loss_along(&all, memory) + jitter);
            train.lr.push(2e-3);
            train.batch_size.push(batch_size);
            train.time.push(tokens / 1e6);
        }
        done.push(Stretch { batch_size, steps: step - from_step });
        segments.push(Segment {
            batch_size,
            range: from..train.len(),
            from_step,
            from_tokens,
            to_step: step,
            to_tokens: tokens,
        });
    }
    let spans = vec![PhaseSpan { phase: Phase::Stable, range: 0..train.len(), lr: Some(2e-3) }];
    RunData {
        id: "steered".into(),
        paths: vec!["steered.jsonl".into()],
        train,
        validation: Columns::default(),
        segments,
        phases: Phases {
            schedule: Schedule::Wsd,
            plateau_lr: Some(2e-3),
            spans,
            why: "constant".into(),
        },
        restarts: Vec::new(),
        first: Default::default(),
        last: Default::default(),
        batch_source: BatchSource::LoggedTokens,
        tokens_source: TokensSource::Logged,
        notes: Vec::new(),
    }
}

/// A group whose law is `law`, with draws that differ by about one per cent in each parameter.
pub fn group_of(law: &Law, memory: Memory) -> GroupFit {
    let draws: Vec<Law> = (0..40)
        .map(|i| {
            let w = |k: i32| 1.0 + 0.01 * (((i * 7 + k * 13) % 11) as f64 - 5.0) / 5.0;
            Law {
                l_inf: law.l_inf + 0.002 * (w(1) - 1.0) * 100.0,
                a: law.a * w(2),
                alpha: law.alpha,
                c: law.c * w(3),
                gamma: law.gamma * (1.0 + 0.3 * (w(4) - 1.0)),
                q: law.q,
            }
        })
        .collect();
    GroupFit {
        id: "g".into(),
        lr: Some(2e-3),
        runs: Vec::new(),
        law: Some(LawFit {
            law: *law,
            memory,
            rms_nats: 0.01,
            held_out_nats: Some(0.014),
            on: LossKind::Train,
            burn_in_steps: 1500.0,
            batch_sizes: [16.0, 65_536.0],
            losses: [law.l_inf + 0.14, law.l_inf + 0.9],
            left_out: Vec::new(),
            rival_held_out_nats: None,
            future_nats: None,
            rival_future_nats: None,
            windows: Vec::new(),
            variants: Vec::new(),
            along_changes: false,
            q_believed: false,
            saved: false,
            memory_checks: Vec::new(),
            memory_before: Vec::new(),
            decay: None,
            with_memory: draws.iter().map(|l| (*l, memory)).collect(),
            noise_nats: 0.005,
            excess_nats: None,
            draws,
        }),
        provisional: None,
        scores: Vec::new(),
        levels: Vec::new(),
        notes: Vec::new(),
        refused: Vec::new(),
    }
}

pub fn e(from_tokens: u64, batch_size_tokens: u64) -> Entry {
    Entry { from_tokens, batch_size_tokens, lr_scale: None }
}

pub fn loss_of(run: &RunData) -> Option<f64> {
    run.train.loss.last().copied()
}

pub fn on_disk() -> PlanOptions {
    PlanOptions { lead_seconds: 0.02, ..PlanOptions::default() }
}

pub fn live(up_only: bool) -> Situation {
    let limits = TrainerLimits { unit_tokens: Some(16), up_only, ..Default::default() };
    Situation { live: true, limits: Some(limits), can_write: true, ..Default::default() }
}

pub fn tokens(plan: &Plan, policy: Policy) -> f64 {
    let p = plan.policies.iter().find(|p| p.policy == policy).unwrap();
    p.tokens.value.unwrap_or(f64::INFINITY)
}
