//! A verdict from look to look: what changes it, and what does not.

use super::testing::{LAW, MEMORY, e, group_of, live, loss_of, on_disk, run_of, tokens};
use super::*;
use crate::curve::{self, FitOptions};
use crate::run::{self, fixture};
use std::path::Path;

/// A slow fit is the load of our machine, and says nothing of the run.
#[test]
fn an_old_estimate_blocks_a_write_and_not_the_advice() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 8e6)], 0.003);
    let group = group_of(&LAW, MEMORY);
    let old = Situation { estimate_age_tokens: Some(7e6), ..live(true) };
    let plan = plan(&run, loss_of(&run), Some(&group), &old, &on_disk());
    assert_eq!(plan.verdict.kind, VerdictKind::Raise, "{:?}", plan.verdict);
    let blocks: Vec<GuardName> = plan.guards.iter().filter(|g| g.blocks).map(|g| g.name).collect();
    assert_eq!(blocks, [GuardName::StaleEstimate]);
}

/// Laws that predict about as well speak in turn: by one the best plan lowers first, by the other it
/// raises later. What was shown stays while it saves at least half of what the best one would.
#[test]
fn the_direction_that_was_shown_stays_while_it_brings_half() {
    let run = run_of(&LAW, &MEMORY, &[(2048.0, 6e6)], 0.0);
    let group = group_of(&LAW, MEMORY);
    let (mut stayed, mut went) = (0, 0);
    for target in [2.066, 2.067, 2.068, 2.069, 2.07] {
        let options = PlanOptions { target_loss: Some(target), ..on_disk() };
        let ask = |committed: Option<Vec<Entry>>, what_if: Option<Vec<Entry>>| {
            let situation = Situation { committed, said: Some(VerdictKind::Hold), ..live(false) };
            let options = PlanOptions { what_if, ..options.clone() };
            plan(&run, loss_of(&run), Some(&group), &situation, &options)
        };
        let fresh = ask(None, None);
        if fresh.verdict.kind != VerdictKind::Lower {
            continue;
        }
        let left = tokens(&fresh, Policy::Leave);
        let best = left - tokens(&fresh, Policy::Planned);
        for at in [9, 16, 22, 26, 30, 32, 34].map(|m| m * 1_000_000) {
            let shown = vec![e(0, 2048), e(at, 4096)];
            let alone = ask(None, Some(shown.clone()));
            let saves = left - tokens(&alone, Policy::WhatIf);
            let next = ask(Some(shown), None).verdict;
            if saves > 0.5 * best {
                assert_eq!(next.kind, VerdictKind::Hold, "{at}: {saves} of {best}: {}", next.text);
                assert!(next.text.contains("then raise to 4,096"), "{}", next.text);
                stayed += 1;
            } else if saves < 0.4 * best {
                assert_eq!(next.kind, VerdictKind::Lower, "{at}: {saves} of {best}");
                went += 1;
            }
        }
    }
    assert!(stayed > 0 && went > 0, "{stayed} {went}");
}

/// A reduction that is recommended does not go as soon as it is just below worth it.
#[test]
fn a_reduction_that_was_shown_has_the_dead_band_of_a_raise() {
    let group = group_of(&LAW, MEMORY);
    let (mut alone, mut shown) = (0, 0);
    for own in [640.0, 800.0, 960.0, 1120.0] {
        let run = run_of(&LAW, &MEMORY, &[(own, 2e6)], 0.0);
        let mut committed: Option<Vec<Entry>> = None;
        // From where a smaller size is clearly better to where it is not.
        for k in 0..100 {
            let target_loss = Some(2.28 - 0.002 * f64::from(k));
            let options = PlanOptions { target_loss, max_batch: Some(own as u64), ..on_disk() };
            let lowers = |s: Situation| {
                let p = plan(&run, loss_of(&run), Some(&group), &s, &options);
                (p.verdict.kind == VerdictKind::Lower).then_some(p.committed)
            };
            let now = lowers(live(false)).is_some();
            let said = committed.is_some().then_some(VerdictKind::Lower);
            committed = lowers(Situation { committed: committed.clone(), said, ..live(false) });
            assert!(committed.is_some() || !now, "{own} {target_loss:?}");
            alone += usize::from(now);
            shown += usize::from(committed.is_some());
        }
    }
    assert!(alone > 0 && alone < shown, "{alone} {shown}");
}

/// A memory that was measured may be lost where a later switch contradicts the earlier one.
#[test]
fn why_no_memory_was_measured_is_said() {
    let run = run_of(&LAW, &MEMORY, &[(128.0, 4e6)], 0.003);
    let mut group = group_of(&LAW, curve::Memory::SLOW);
    group.refused.push(curve::Refused {
        what: curve::MEMORY.into(),
        why: "what one switch shows does not predict the next".into(),
        needs: "another run that changes its batch size".into(),
    });
    let plan = plan(&run, loss_of(&run), Some(&group), &live(true), &on_disk());
    let said = "not measured (what one switch shows does not predict the next): slow is assumed";
    assert!(plan.verdict.reasons.iter().any(|r| r.contains(said)), "{:#?}", plan.verdict);
}

/// The next level speaks only once enough sizes have got there, and the run is ahead of them.
#[test]
fn what_a_level_said_stays_for_a_while_beyond_the_lowest_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mlp2_sweep");
    // Its ramps would hold a law.
    let mut runs = fixture::folder(&folder);
    runs.retain(|r| !r.id.contains("ramp"));
    let group = curve::fit(&runs, &FitOptions::default()).groups.swap_remove(0);
    let [lowest, _] = group.spoken().filter(|_| group.law.is_none()).unwrap();
    // Points of a level at which no model speaks may still bound the optimum.
    let beyond = (1..).map(|k| lowest - 0.01 * f64::from(k));
    let beyond = beyond.take(60).find(|l| group.estimate_at(*l).is_none()).unwrap();
    let (mut tried, mut left_behind) = (0, 0);
    for part in (5..40).map(|k| 0.01 * f64::from(k)) {
        for name in ["b0512", "b1024", "b2048"] {
            let run = fixture::run_until(&folder.join(format!("{name}_lr2e-3_s21.jsonl")), part);
            let Some(left) = run::tokens_to(&run, lowest) else { continue };
            let ask = |loss: f64, said: Option<VerdictKind>| {
                let situation = Situation { said, ..live(false) };
                plan(&run, Some(loss), Some(&group), &situation, &on_disk()).verdict
            };
            assert_eq!(ask(beyond, None).kind, VerdictKind::CannotTell);
            let there = ask(lowest, None).kind;
            let still = ask(beyond, Some(there));
            if run.tokens() > 1.25 * left || there == VerdictKind::CannotTell {
                assert_eq!(still.kind, VerdictKind::CannotTell, "{}", still.text);
                left_behind += 1;
                continue;
            }
            assert_eq!(still.kind, there, "{}", still.text);
            assert!(still.text.contains("the lowest at which a model speaks"), "{still:?}");
            tried += 1;
            for other in
                [VerdictKind::Lower, VerdictKind::Raise].into_iter().filter(|k| *k != there)
            {
                assert_eq!(ask(beyond, Some(other)).kind, VerdictKind::CannotTell);
            }
        }
    }
    assert!(tried > 0 && left_behind > 0, "{tried} {left_behind}");
}

/// A memory whose draws say anything is called measured with what that is worth.
#[test]
fn how_well_a_memory_is_known_is_said() {
    let run = run_of(&LAW, &MEMORY, &[(384.0, 2e6)], 0.0);
    let said = |group: &curve::GroupFit| {
        let plan = plan(&run, loss_of(&run), Some(group), &live(true), &on_disk());
        plan.verdict.reasons.into_iter().find(|r| r.contains("forgotten with tau")).unwrap()
    };
    let mut group = group_of(&LAW, MEMORY);
    let half = MEMORY.tau_steps * (2f64.powf(1.0 / MEMORY.p) - 1.0);
    let sure = said(&group);
    assert!(
        sure.contains(&format!("half of it within {0} to {0} steps", crate::units::count(half)))
    );
    assert!(!sure.contains("hardly"), "{sure}");
    let fit = group.law.as_mut().unwrap();
    for (i, (_, memory)) in fit.with_memory.iter_mut().enumerate() {
        memory.tau_steps = 10f64.powi(i as i32 % 5 + 1);
    }
    let loose = said(&group);
    assert!(loose.contains("hardly known"), "{loose}");
}
