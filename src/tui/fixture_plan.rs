//! The plan and the verdict of the steered run in the test snapshots.

use super::fixture::{entry, interval};
use crate::snapshot::*;

fn policy(policy: Policy, schedule: Vec<Entry>, tokens: f64, steps: f64, l: f64) -> PolicyOutcome {
    PolicyOutcome {
        policy,
        schedule,
        target_loss: Some(2.13),
        tokens: interval(tokens, 1.06),
        steps: Some(steps),
        steps_interval: interval(steps, 1.06),
        hours: Some(tokens / 4.1e5 / 3600.0),
        hours_interval: interval(tokens / 4.1e5 / 3600.0, 1.06),
        risk: None,
        tokens_at_other_end: None,
        tokens_if_never: None,
        loss_at_budget: interval(l, 1.002),
        loss_after_decay: Interval::UNKNOWN,
        memory: MemorySource::Assumed,
        path: (0..32).map(|i| f64::from(i) / 31.0).map(|x| way(x, tokens)).collect(),
        on_the_way: Vec::new(),
        most_above_leave: None,
        notes: vec![],
    }
}

/// From where the run stands to the target, a part `x` of the way there.
fn way(x: f64, tokens: f64) -> [f64; 2] {
    [12.4e6 + x * (tokens - 12.4e6), 2.2143 - (2.2143 - 2.13) * x.powf(0.6)]
}

pub(crate) fn main_plan() -> Plan {
    let planned = vec![entry(0, 384), entry(16_000_000, 768), entry(22_000_000, 1536)];
    let mut ramp = policy(Policy::Planned, planned.clone(), 32.6e6, 55_000.0, 2.1120);
    ramp.notes = vec![
        "forgetting was not measured in this group: assumed slow (tau 1,500 steps, p 0.4)".into(),
        "were it instant, 41.0M tokens".into(),
    ];
    ramp.most_above_leave = Some(Above { tokens: 17e6, nats: 0.0031 });
    Plan {
        run: "main-7b".into(),
        now: Now {
            batch_size_tokens: Some(384.0),
            tokens: Some(12.4e6),
            step: Some(32_291.0),
            loss: Some(2.2143),
            phase: Some(Phase::Stable),
        },
        verdict: main_verdict(),
        b_opt: interval(820.0, 1.25),
        excess_tokens_now: Some(0.062),
        first_change_between: None,
        first_change_due: false,
        committed: planned.clone(),
        decayed: Vec::new(),
        decay_from: Some(80e6),
        decay_taken: None,
        schedule: planned.clone(),
        guards: vec![
            GuardAnswer {
                name: GuardName::LeadTime,
                blocks: true,
                text: "the change lies 40 s ahead; on a network file system a trainer may see it \
                       after 2 minutes: choose a later token count"
                    .into(),
            },
            GuardAnswer {
                name: GuardName::StaleEstimate,
                blocks: false,
                text: "the fit is 3 minutes old".into(),
            },
        ],
        goal: Goal::Stable,
        policies: vec![
            policy(Policy::Leave, vec![entry(0, 384)], 105.7e6, 275_000.0, 2.1420),
            ramp,
            policy(
                Policy::Tracking,
                vec![entry(0, 384), entry(13_000_000, 768), entry(40_000_000, 1024)],
                60.2e6,
                81_000.0,
                2.1334,
            ),
            policy(Policy::Single, vec![entry(0, 768)], 62.7e6, 90_000.0, 2.1301),
        ],
    }
}

pub(crate) fn main_verdict() -> Verdict {
    Verdict {
        kind: VerdictKind::Raise,
        text: "raise to 768 at 16M tokens, 1.54K at 22M: 69 % fewer tokens to loss 2.13 than \
               leaving it"
            .into(),
        reasons: vec![
            "B is 384, B_opt at this loss 820 (656–1.02K): 6.2 % of the tokens are lost now".into(),
            "B_opt comes from 9 sibling runs at learning rate 2e-3, held-out error 1.4 %".into(),
            "how fast noise is forgotten was not measured: assumed slow".into(),
        ],
    }
}
