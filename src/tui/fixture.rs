//! Snapshots for tests, as a monitor would make them of a sweep of small language models and a
//! large run that is steered. The numbers follow the joint law with the parameters measured on the
//! project's own sweep, so that curves and points belong together.

use super::fixture_fit::{group, open_group};
use super::fixture_plan::{main_plan, main_verdict};
use crate::snapshot::*;
use std::sync::Arc;

const LAW: [f64; 6] = [1.941, 214.0, 0.798, 2.167, 0.417, 0.111];
const AT: f64 = 1_790_000_000.0;

fn loss(steps: f64, b: f64) -> f64 {
    let [l_inf, a, alpha, c, gamma, q] = LAW;
    l_inf + a * (steps * b.powf(q)).powf(-alpha) + c * b.powf(-gamma)
}

pub(crate) fn steps_to(level: f64, b: f64) -> Option<f64> {
    let [l_inf, a, alpha, c, gamma, q] = LAW;
    let d = level - l_inf - c * b.powf(-gamma);
    (d > 0.0).then(|| (a / d).powf(1.0 / alpha) * b.powf(-q))
}

pub(crate) fn b_opt(level: f64) -> f64 {
    let [l_inf, _, alpha, c, gamma, q] = LAW;
    let a = alpha * (1.0 - q);
    (c * (a + gamma) / (a * (level - l_inf))).powf(1.0 / gamma)
}

/// A fixed sequence in place of chance.
pub(crate) fn wobble(i: usize) -> f64 {
    let x = (i as f64 * 12.9898).sin() * 43_758.545;
    2.0 * (x - x.floor()) - 1.0
}

pub(crate) fn interval(value: f64, spread: f64) -> Interval {
    Interval {
        value: Some(value),
        low: Some(value / spread),
        high: Some(value * spread),
        level: 0.9,
        open: Open::None,
    }
}

pub(crate) fn entry(from_tokens: u64, batch_size_tokens: u64) -> Entry {
    Entry { from_tokens, batch_size_tokens, lr_scale: None }
}

fn plots(b: &[(f64, f64)], until: f64, noise: f64) -> RunPlots {
    let mut p = RunPlots::default();
    let mut steps = 0.0;
    let mut tokens = 0.0;
    for i in 1..=240 {
        let next = until * f64::from(i) / 240.0;
        let size = b.iter().rfind(|e| e.0 <= next).map_or(1.0, |e| e.1);
        steps += (next - tokens) / size;
        tokens = next;
        let mean = loss(steps, size);
        let spike = if i == 150 { 0.35 } else { 0.0 };
        let w = noise * (1.0 + 0.5 * wobble(i as usize));
        p.loss.push(PlotPoint { tokens, min: mean - w, mean, max: mean + w + spike });
        if i % 8 == 0 {
            p.validation.push(PlotPoint { tokens, min: mean, mean: mean - 0.02, max: mean });
        }
        if i > 12 {
            let opt = b_opt(mean.max(2.05));
            p.b_opt.push([tokens, opt / 1.3, opt, opt * 1.3]);
        }
    }
    p.smooth = p.loss.iter().map(|q| [q.tokens, q.mean]).collect();
    p.batch_size = b.iter().map(|e| [e.0, e.1]).collect();
    p.recent = p.loss.iter().rev().take(24).rev().map(|q| q.mean).collect();
    p.phases = vec![(Phase::Warmup, 0.0, until * 0.06), (Phase::Stable, until * 0.06, until)];
    p
}

fn run(id: &str, b: f64, tokens: f64) -> RunView {
    let steps = tokens / b;
    let l = loss(steps, b);
    let opt = b_opt(l.max(2.05));
    let excess = (b / opt).ln().powi(2) * 0.05;
    let mut plots = plots(&[(0.0, b)], tokens, 0.04);
    plots.residuals = (0..9)
        .map(|i| 2.55 - 0.05 * f64::from(i))
        .filter(|level| steps_to(*level, b).is_some_and(|s| s * b < 4e7))
        .map(|level| [level, 0.05 * wobble((b + level * 100.0) as usize)])
        .collect();
    let kind = if b < opt / 1.5 { VerdictKind::Raise } else { VerdictKind::Hold };
    let text = if kind == VerdictKind::Raise { "raise, slowly" } else { "hold" };
    RunView {
        id: id.into(),
        group: Some("lr 2e-3".into()),
        excluded: false,
        state: RunState::Ended,
        phase: Some(Phase::Stable),
        schedule: Schedule::Wsd,
        schedule_why: "constant for 94 % of the run".into(),
        step: Some(steps),
        tokens: Some(tokens),
        loss: Some(l),
        lr: Some(2e-3),
        batch_size: Some(b),
        tokens_per_second: Some(4.1e5),
        last_write: Some(AT - 7200.0),
        paths: vec![format!("runs/{id}.jsonl")],
        format: "jsonl".into(),
        batch_source: BatchSource::LoggedTokens,
        tokens_source: TokensSource::Logged,
        restarts: vec![],
        notes: vec![],
        lines: 24_000,
        bad_lines: 0,
        b_opt: Some(interval(opt, 1.22)),
        excess_tokens: Some(excess),
        verdict: Verdict {
            kind,
            text: text.into(),
            reasons: vec!["B_opt comes from 9 sibling runs at this learning rate".into()],
        },
        plan: None,
        control: ControlView { path: format!("runs/{id}.control.json"), ..ControlView::default() },
        plots: Arc::new(plots),
    }
}

fn log(event: &str, minute: u32, revision: Option<u64>, text: &str) -> LogLine {
    LogLine {
        at: format!("2026-09-21T14:{minute:02}:07Z"),
        event: event.into(),
        revision,
        by: if matches!(event, "accepted" | "applied") {
            String::new()
        } else {
            "ana@login2".into()
        },
        text: text.into(),
    }
}

fn main_run() -> RunView {
    let mut r = run("main-7b", 384.0, 12.4e6);
    let mut p = plots(&[(0.0, 192.0), (4e6, 384.0)], 12.4e6, 0.03);
    p.restarts = vec![7.1e6];
    r.state = RunState::Live;
    r.last_write = Some(AT - 3.0);
    r.loss = Some(2.2143);
    r.b_opt = Some(interval(820.0, 1.25));
    r.excess_tokens = Some(0.062);
    r.verdict = main_verdict();
    r.plan = Some(Arc::new(main_plan()));
    r.restarts = vec![Restart { resumed_at: 18_200.0, discarded_to: 18_900.0, discarded: 70 }];
    r.notes =
        vec!["restarted at step 18,200; 70 records of the former attempt no longer count".into()];
    r.control.revision = Some(3);
    r.control.state = Some(ControlState::Applied);
    r.control.schedule = vec![entry(0, 192), entry(4_000_000, 384)];
    r.control.trainer = Some(TrainerLimits {
        unit_tokens: Some(64),
        min_batch_tokens: Some(64),
        max_batch_tokens: None,
        up_only: true,
        can_scale_lr: false,
    });
    r.control.log = vec![
        log("proposed", 2, None, "384 from 4M tokens"),
        log("approved", 3, Some(3), "192, 384 @4M; no guard overridden"),
        log("written", 3, Some(3), "runs/main-7b.control.json"),
        log("accepted", 4, Some(3), "at step 18,990, 3.65M tokens"),
        log("applied", 9, Some(3), "384 tokens a step from step 20,834 on"),
    ];
    r.plots = Arc::new(p);
    r
}

fn source(path: &str) -> SourceStatus {
    SourceStatus {
        path: path.into(),
        state: SourceState::Open,
        format: "jsonl".into(),
        compression: "none".into(),
        lines: 24_000,
        bytes: 4_100_000,
        records: 24_000,
        bad_lines: vec![],
        bad_count: 0,
        keys: vec!["step".into(), "loss".into()],
        fields: Default::default(),
        batch_unit: Some("tokens".into()),
        notes: vec![],
        run_name: None,
        restarts: vec![],
        modified: Some(AT - 3.0),
        at_end: true,
    }
}

/// A sweep and a large run that is steered.
pub(crate) fn sweep() -> Snapshot {
    let mut runs = vec![Arc::new(main_run())];
    for b in [16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0] {
        runs.push(Arc::new(run(&format!("mlp-b{b:.0}"), b, 3e7)));
    }
    let mut alone = run("pilot-cosine", 262_144.0, 4e9);
    alone.group = None;
    alone.state = RunState::Quiet;
    alone.loss = Some(2.871);
    alone.schedule = Schedule::Declining;
    alone.b_opt = None;
    alone.excess_tokens = None;
    alone.last_write = Some(AT - 260.0);
    alone.verdict = Verdict {
        kind: VerdictKind::CannotTell,
        text: "cannot tell: its learning rate falls from the peak on, and B_opt is a matter of a \
               constant one"
            .into(),
        reasons: vec![
            "a WSD run at this learning rate, or siblings at 4 batch sizes, would tell".into(),
        ],
    };
    alone.bad_lines = 3;
    runs.push(Arc::new(alone));
    let mut sources: Vec<Arc<SourceStatus>> = Vec::new();
    for r in &runs {
        let mut s = source(&r.paths[0]);
        s.fields.loss = Some("loss".into());
        s.fields.step = Some("step".into());
        s.fields.tokens = Some("tokens".into());
        if r.bad_lines > 0 {
            s.bad_count = 3;
            s.bad_lines = vec![
                BadLine {
                    line: 412,
                    column: 0,
                    kind: "not_json".into(),
                    text: "Traceback (most recent call last):".into(),
                },
                BadLine {
                    line: 9_120,
                    column: 17,
                    kind: "half_line".into(),
                    text: "{\"step\": 91200, \"lo".into(),
                },
            ];
        }
        sources.push(Arc::new(s));
    }
    let mut failed = source("runs/secret.jsonl");
    failed.state = SourceState::Failed("permission denied: chmod g+r it, or leave it out".into());
    sources.push(Arc::new(failed));
    Snapshot {
        at: AT,
        replay: None,
        read_only: false,
        seq_len: Some(4096),
        runs,
        fit: Arc::new(FitView {
            report: FitReport { groups: vec![group(), open_group()] },
            made_at: Some(AT - 180.0),
            intervals_at: Some(AT - 180.0),
            running: false,
        }),
        sources,
        messages: vec![],
    }
}

/// The same with a proposal on the table that a guard blocks.
pub(crate) fn proposed() -> Snapshot {
    let mut s = sweep();
    let plan = main_plan();
    let run = Arc::make_mut(&mut s.runs[0]);
    run.control.state = Some(ControlState::Proposed);
    run.control.proposal = Some(Proposal {
        number: 4,
        from: run.control.schedule.clone(),
        schedule: vec![
            entry(0, 192),
            entry(4_000_000, 384),
            entry(16_000_000, 768),
            entry(22_000_000, 1536),
        ],
        guards: plan.guards,
        policies: plan.policies,
        evidence: vec![
            "B_opt 820 tokens (656–1.02K, 90 %) at loss 2.2143, joint law, held-out error 1.4 %"
                .into(),
            "9 sibling runs at learning rate 2e-3; fit made 3 minutes ago".into(),
            "memory assumed slow: no run of the group has switched yet".into(),
        ],
        answer: None,
    });
    s
}

pub(crate) fn replay() -> Snapshot {
    Snapshot {
        read_only: true,
        replay: Some(ReplayView {
            playing: true,
            speed: 64.0,
            position: 0.41,
            from: AT - 86_400.0,
            to: AT,
            by_tokens: false,
            hunting: false,
            changes: vec![0.12, 0.3],
        }),
        ..sweep()
    }
}

/// Nothing there yet.
pub(crate) fn empty() -> Snapshot {
    Snapshot {
        runs: vec![],
        sources: vec![],
        fit: Arc::new(FitView {
            report: FitReport { groups: vec![] },
            made_at: None,
            intervals_at: None,
            running: false,
        }),
        messages: vec!["waiting for runs/*.jsonl: no such file yet".into()],
        ..sweep()
    }
}
