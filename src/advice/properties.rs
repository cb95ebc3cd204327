//! What holds of every plan, whatever the run, the law and the limits.

use super::testing::{LAW, MEMORY, e, group_of, live, loss_of, on_disk, run_of, tokens};
use super::*;
use crate::curve::{Law, Memory};
use proptest::prelude::*;

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![
        (10.0..50_000f64, 0.2..2.0f64).prop_map(|(tau_steps, p)| Memory {
            tau_steps,
            p,
            source: crate::curve::MemorySource::Measured
        }),
        Just(Memory::SLOW),
    ]
}

fn law() -> impl Strategy<Value = Law> {
    (1.5..2.2f64, 100.0..300f64, 0.6..0.9f64, 1.0..4.0f64, 0.3..0.6f64, 0.0..0.3f64)
        .prop_map(|(l_inf, a, alpha, c, gamma, q)| Law { l_inf, a, alpha, c, gamma, q })
}

/// What a person asked of the changes still to come, said again without [`Constraints::allows`].
struct Rules {
    own: u64,
    now: u64,
    unit: u64,
    min: u64,
    max: u64,
    up_only: bool,
    bump: f64,
    decay_from: f64,
}

impl Rules {
    fn broken(&self, schedule: &[Entry]) -> Option<String> {
        let mut before = (self.now, self.own);
        for x in schedule.iter().filter(|x| x.from_tokens > self.now) {
            let (at, b) = (x.from_tokens, x.batch_size_tokens);
            let factor = b.max(before.1) as f64 / b.min(before.1) as f64;
            let kept = b.is_multiple_of(self.unit)
                && (self.min..=self.max).contains(&b)
                && (b > before.1 || !self.up_only)
                && (1.249_999..=self.bump * 1.000_001).contains(&factor)
                // A step at least of what was before, and a fiftieth of the run between two.
                && at >= before.0 + before.1
                && (before.0 == self.now || (at - before.0) as f64 >= 0.02 * self.now as f64 - 1.0)
                && (at as f64) < self.decay_from;
            if !kept {
                return Some(format!("{b} at {at} after {before:?}"));
            }
            before = (at, b);
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_recommendation_keeps_every_rule_and_is_never_worse(
        law in law(), memory in memory(), own in 2u64..400, unit in 1u64..40, steps in 3e3..3e5f64,
        max in proptest::option::of(64u64..20_000), up_only in any::<bool>(),
        bump in 1.0..3.0f64, budget in proptest::option::of(1.1..6.0f64),
        goal in prop_oneof![Just(Goal::Stable), Just(Goal::Decayed), Just(Goal::Interim), Just(Goal::Time)],
        min in 1u64..4000, raised in any::<bool>(), decay in proptest::option::of(0.01..0.5f64),
        shown in proptest::option::of(proptest::collection::vec((0.5..4.0f64, 1u64..20_000), 0..5)),
    ) {
        let own = own * unit;
        let tokens = own as f64 * steps;
        let half = (0.5 * own as f64, 0.5 * tokens);
        let past = if raised { vec![half, (own as f64, half.1)] } else { vec![(own as f64, tokens)] };
        let run = run_of(&law, &memory, &past, 0.002);
        let group = group_of(&law, memory);
        let limits = TrainerLimits {
            unit_tokens: Some(unit), max_batch_tokens: max, min_batch_tokens: Some(min), up_only,
            ..Default::default()
        };
        // What was shown before may be anything: limits change, and files are edited by hand.
        let committed = shown.map(|s| {
            let mut all: Vec<Entry> =
                s.iter().map(|(t, b)| e((t * tokens) as u64, *b)).collect();
            all.sort_by_key(|x| x.from_tokens);
            all
        });
        let situation =
            Situation { live: true, limits: Some(limits), committed, ..Default::default() };
        let budget_tokens = budget.map(|b| b * tokens);
        let decay_tokens = budget_tokens.zip(decay).map(|(b, share)| b * share);
        let options = PlanOptions {
            goal: Some(goal), max_bump: bump, budget_tokens, decay_tokens, ..on_disk()
        };
        let plan = plan(&run, loss_of(&run), Some(&group), &situation, &options);
        let rules = Rules {
            own, now: run.tokens().round() as u64, unit, min, max: max.unwrap_or(u64::MAX), up_only,
            bump, decay_from: options.decay_from().unwrap_or(f64::INFINITY),
        };
        prop_assert_eq!(rules.broken(&plan.schedule), None, "{:?}", plan.schedule);
        for p in &plan.policies {
            prop_assert_eq!(rules.broken(&p.schedule), None, "{:?} {:?}", p.policy, p.schedule);
            let spans = [p.tokens, p.steps_interval, p.hours_interval, p.loss_at_budget];
            for i in spans {
                let ends = [i.low, i.value, i.high];
                let known: Vec<f64> = ends.into_iter().flatten().collect();
                prop_assert!(known.iter().all(|x| x.is_finite()) && known.is_sorted(), "{p:?}");
            }
            prop_assert_eq!((p.steps, p.hours), (p.steps_interval.value, p.hours_interval.value));
            prop_assert!(p.on_the_way.iter().flatten().all(|x| x.is_finite()));
            prop_assert!(p.path.iter().flatten().all(|x| x.is_finite()));
        }
        let blocking: Vec<_> = plan.guards.iter().filter(|g| g.blocks).collect();
        prop_assert!(blocking.is_empty(), "{blocking:?}");
        let now = run.tokens();
        // What was shown before may bind the plan to a change that is no longer the best.
        if goal == Goal::Stable && situation.committed.is_none() && !plan.policies.is_empty() {
            let planned = self::tokens(&plan, Policy::Planned);
            for other in [Policy::Leave, Policy::Single] {
                let o = self::tokens(&plan, other);
                prop_assert!(planned <= o + 0.011 * (o - now) || planned == o, "{other:?} {planned} {o}");
            }
        }
    }

    #[test]
    fn a_little_noise_in_the_fit_moves_a_switch_within_its_interval(
        memory in memory(), own in prop_oneof![Just(64u64), Just(128), Just(256)],
        a in 0.99..1.01f64, c in 0.99..1.01f64, alpha in 0.998..1.002f64, gamma in 0.998..1.002f64,
    ) {
        let run = run_of(&LAW, &MEMORY, &[(own as f64, 2e6)], 0.0);
        let options = PlanOptions { target_loss: Some(2.15), ..on_disk() };
        let ask = |law: &Law| {
            plan(&run, loss_of(&run), Some(&group_of(law, memory)), &live(true), &options)
        };
        let sizes = |p: &Plan| -> Vec<u64> {
            p.policies[1].schedule.iter().map(|e| e.batch_size_tokens).collect()
        };
        let first = |p: &Plan| {
            let planned = &p.policies.iter().find(|p| p.policy == Policy::Planned)?.schedule;
            planned.iter().find(|e| e.from_tokens > 2_000_000).map(|e| e.from_tokens as f64)
        };
        let one = ask(&LAW);
        let two = ask(&Law {
            a: a * LAW.a, c: c * LAW.c, alpha: alpha * LAW.alpha, gamma: gamma * LAW.gamma, ..LAW
        });
        if let (Some([from, to]), Some(there), Some(here)) =
            (one.first_change_between, first(&two), first(&one))
        {
            prop_assert!(from <= here && here <= to, "{from} {here} {to}");
            // Another staircase that is as good has other switches.
            prop_assume!(sizes(&one) == sizes(&two));
            prop_assert!(from <= there && there <= to, "{from} {there} {to}");
        }
    }

    /// Each look has a fit of its own, off by a per cent, and the schedule of the look before.
    #[test]
    fn a_committed_switch_is_never_postponed(
        memory in memory(), own in prop_oneof![Just(64u64), Just(128), Just(256), Just(384)],
        target in 2.08..2.2f64,
        looks in proptest::collection::vec((0.05..0.95f64, 0.99..1.01f64, 0.99..1.01f64), 1..4),
    ) {
        let options = PlanOptions { target_loss: Some(target), ..on_disk() };
        let first = |s: &[Entry], now: f64| {
            s.iter().find(|x| x.from_tokens as f64 > now).map(|x| x.from_tokens)
        };
        let mut now = 2e6;
        let run = run_of(&LAW, &memory, &[(own as f64, now)], 0.0);
        let mut before =
            plan(&run, loss_of(&run), Some(&group_of(&LAW, memory)), &live(true), &options);
        for (share, a, c) in looks {
            let Some(at) = first(&before.schedule, now) else { break };
            now += share * (at as f64 - now);
            let run = run_of(&LAW, &memory, &[(own as f64, now)], 0.0);
            let group = group_of(&Law { a: a * LAW.a, c: c * LAW.c, ..LAW }, memory);
            let situation = Situation { committed: Some(before.schedule.clone()), ..live(true) };
            let next = plan(&run, loss_of(&run), Some(&group), &situation, &options);
            let earliest = Constraints::of(&run, &situation, &options).unwrap().earliest;
            let again = first(&next.schedule, now);
            prop_assert!(
                again.is_some_and(|t| t <= at.max(earliest)),
                "{at} {again:?} {:#?}", next.verdict
            );
            before = next;
        }
    }

    /// Nobody approves anything: the run passes the switch, and time alone moves nothing.
    #[test]
    fn a_switch_that_is_due_keeps_the_tokens_at_which_it_was_shown(
        memory in memory(), own in prop_oneof![Just(64u64), Just(128), Just(256), Just(2048)],
        target in 2.08..2.2f64,
        looks in proptest::collection::vec((0.002..0.3f64, 0.997..1.003f64), 2..6),
    ) {
        let options = PlanOptions { target_loss: Some(target), ..on_disk() };
        let mut now = 2e6;
        let mut before: Option<Plan> = None;
        for (share, a) in looks {
            let run = run_of(&LAW, &memory, &[(own as f64, now)], 0.0);
            let group = group_of(&Law { a: a * LAW.a, ..LAW }, memory);
            let situation = Situation {
                committed: before.as_ref().map(|p| p.committed.clone()),
                said: before.as_ref().map(|p| p.verdict.kind),
                ..live(false)
            };
            let next = plan(&run, loss_of(&run), Some(&group), &situation, &options);
            prop_assert!(next.schedule.is_sorted_by_key(|e| e.from_tokens));
            prop_assert!(next.committed.is_sorted_by_key(|e| e.from_tokens));
            prop_assert!(next.schedule.iter().skip(1).all(|e| e.from_tokens as f64 > now));
            let sizes = |s: &[Entry]| s.iter().map(|e| e.batch_size_tokens).collect::<Vec<_>>();
            prop_assert_eq!(sizes(&next.schedule), sizes(&next.committed));
            let change = |p: &Plan| p.committed.get(1).copied();
            if let (Some(then), Some(here)) = (before.as_ref().and_then(change), change(&next))
                && (then.batch_size_tokens > own) == (here.batch_size_tokens > own)
            {
                prop_assert!(here.from_tokens <= then.from_tokens, "{then:?} {here:?}");
                if before.as_ref().is_some_and(|p| p.first_change_due) {
                    prop_assert!(next.first_change_due, "{:?}", next.verdict.text);
                    prop_assert!(next.verdict.text.contains(" now"), "{}", next.verdict.text);
                }
            }
            let acts: Vec<_> = next.guards.iter().filter(|g| g.blocks).collect();
            prop_assert!(acts.is_empty(), "{acts:?}");
            before = Some(next);
            now *= 1.0 + share;
        }
    }

    #[test]
    fn token_units_do_not_matter(
        memory in memory(), own in prop_oneof![Just(64u64), Just(256), Just(1024)],
        tokens in 1e6..2e7f64,
    ) {
        // The same run counted in tokens of a thousandth.
        let scale = 1000.0f64;
        let small = LAW;
        let large = Law {
            a: LAW.a * scale.powf(LAW.q * LAW.alpha), c: LAW.c * scale.powf(LAW.gamma), ..LAW
        };
        let ask = |law: &Law, k: f64| {
            let run = run_of(law, &memory, &[(own as f64 * k, tokens * k)], 0.0);
            let group = group_of(law, memory);
            let mut group = group;
            if let Some(f) = &mut group.law {
                f.batch_sizes = [16.0 * k, 4096.0 * k];
            }
            let situation = Situation {
                tokens_per_second: Some(1e6 * k),
                limits: Some(TrainerLimits { unit_tokens: Some((16.0 * k) as u64), ..Default::default() }),
                ..live(false)
            };
            plan(&run, loss_of(&run), Some(&group), &situation, &on_disk())
        };
        let (a, b) = (ask(&small, 1.0), ask(&large, scale));
        prop_assert_eq!(a.verdict.kind, b.verdict.kind);
        let sizes = |p: &Plan, k: f64| -> Vec<u64> {
            p.schedule.iter().map(|x| (x.batch_size_tokens as f64 * k) as u64).collect()
        };
        prop_assert_eq!(sizes(&a, scale), sizes(&b, 1.0));
        prop_assert_eq!(a.policies.len(), b.policies.len());
        for (p, q) in a.policies.iter().zip(&b.policies) {
            let (x, y) = (p.tokens.value, q.tokens.value);
            prop_assert_eq!(x.is_some(), y.is_some());
            if let (Some(x), Some(y)) = (x, y) {
                prop_assert!((x * scale / y - 1.0).abs() < 0.01, "{:?} {x} {y}", p.policy);
            }
        }
    }
}
