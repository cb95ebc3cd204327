//! Properties over random parameters: what must hold whatever a fit finds.

use super::data::{LawPoint, RunSpan, SeriesSet};
use super::model::*;
use super::*;
use proptest::prelude::*;

/// Any three-stage curve: the six free parameters over what fits come to.
fn three_stage() -> impl Strategy<Value = ThreeStage> {
    (5.0f64..14.0, 10.0f64..25.0, -4.0f64..4.0, -4.0f64..4.0, -4.0f64..3.0, -4.0f64..4.0)
        .prop_map(|(a, b, c, d, e, f)| ThreeStage::from_free(&[a, b, c, d, e, f]))
}

fn any_law() -> impl Strategy<Value = Law> {
    (1.0f64..3.0, 0.5f64..500.0, 0.2f64..1.2, 0.1f64..50.0, 0.2f64..1.2, 0.0f64..0.3)
        .prop_map(|(l_inf, a, alpha, c, gamma, q)| Law { l_inf, a, alpha, c, gamma, q })
}

/// A sweep of a law with a little noise that is the same for all, in other units of tokens and steps.
fn sweep(law: &AnyLaw, tokens: f64, steps: f64) -> SeriesSet {
    let mut set = SeriesSet::default();
    for size in 0..6 {
        let b = 64.0 * 2f64.powi(size);
        let from = set.points.len();
        for i in 0..30 {
            let s = 300.0 * (f64::from(i) * 0.15).exp();
            let noise = 0.002 * f64::from(size * 31 + i * 17).sin();
            set.points.push(LawPoint {
                ln_steps: (s * steps).ln(),
                ln_batch: (b * tokens / steps).ln(),
                loss: law.loss(s, b) + noise,
                weight: 1.0,
                size: size as usize,
            });
        }
        set.sizes.push(b * tokens / steps);
        let range = from..set.points.len();
        set.runs.push(RunSpan { run: format!("{b}"), size: size as usize, range });
    }
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn three_stages_are_c1_at_their_joints(c in three_stage()) {
        for joint in [c.s_1, c.s_2] {
            let (below, above) = (joint * (1.0 - 1e-14), joint * (1.0 + 1e-14));
            let (Some(e0), Some(e1)) = (c.tokens_at(below), c.tokens_at(above)) else {
                return Err(TestCaseError::fail(format!("{c:?} is not defined at {joint}")));
            };
            prop_assert!((e0 / e1 - 1.0).abs() < 1e-9, "{:?} {} {}", c, e0, e1);
            let (d0, d1) = (c.slope(below), c.slope(above));
            // Near S_1 the slope falls from minus infinity over a width of S_1 - S_min.
            let room = 1e-9 + 1e-12 * joint / (c.s_1 - c.s_min);
            prop_assert!((d0 - d1).abs() <= room * d0.abs().max(d1.abs()), "{:?} {} {}", c, d0, d1);
        }
    }

    #[test]
    fn three_stages_are_convex_and_meet_every_ray_above_b_min_once(c in three_stage()) {
        let at = |i: i32| c.s_min * (1.0 + 1e-3) + (3.0 * c.s_2) * (f64::from(i) / 120.0).powi(3);
        let seen: Vec<(f64, f64)> =
            (0..=120).filter_map(|i| Some((at(i), c.tokens_at(at(i))?))).collect();
        prop_assert_eq!(seen.len(), 121);
        for w in seen.windows(3) {
            let slope = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0);
            let (left, right) = (slope(w[0], w[1]), slope(w[1], w[2]));
            prop_assert!(right - left >= -1e-6 * (left.abs() + right.abs()), "{:?} {:?}", c, w);
            // E/S falls strictly: one S for each B.
            prop_assert!(w[1].1 / w[1].0 < w[0].1 / w[0].0 * (1.0 + 1e-12), "{:?} {:?}", c, w);
        }
        for factor in [1.001, 1.3, 4.0, 100.0] {
            let b = c.b_min() * factor;
            let Some(s) = c.steps(b) else {
                return Err(TestCaseError::fail(format!("{c:?} has no step at {b}")));
            };
            prop_assert!((c.tokens_at(s).unwrap_or(0.0) / (b * s) - 1.0).abs() < 1e-6, "{:?} {}", c, b);
        }
        prop_assert!(c.steps(c.b_min() * 0.999).is_none());
        prop_assert!(c.b_opt() >= c.b_min());
    }

    #[test]
    fn the_optimum_of_a_law_lies_above_its_b_min(law in any_law(), d in 0.01f64..2.0) {
        let loss = law.l_inf + d;
        let (Some(b), Some(least)) = (law.b_opt(loss), law.b_min(loss)) else {
            return Err(TestCaseError::fail("no optimum"));
        };
        prop_assert!(b > least);
        prop_assert!(law.tokens_to(loss, least * 0.999).is_none());
        let e = law.tokens_to(loss, b).unwrap_or(f64::INFINITY);
        for f in [0.9, 1.1] {
            prop_assert!(law.tokens_to(loss, b * f).is_none_or(|x| x >= e * (1.0 - 1e-12)));
        }
    }

    #[test]
    fn a_saved_law_is_read_as_it_was_written(law in any_law(), tau in 0.0f64..1e5, p in 0.05f64..5.0) {
        let saved = SavedLaw {
            schema: "boptop.law/1".into(), law, tau_steps: tau, p, memory_measured: true,
            lr: None, on: LossKind::Val, batch_sizes: [1.0, 2.0], losses: [1.0, 2.0],
            burn_in_steps: 0.0, rms_nats: 0.01, held_out_nats: None, runs: vec![],
            note: String::new(), draws: vec![], memory_draws: vec![], q_believed: false, noise_nats: 0.0, excess_nats: None,
        };
        prop_assert_eq!(SavedLaw::from_json(&saved.to_json()), Ok(saved));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Tokens counted in words, steps in accumulations: the same law in other units.
    #[test]
    fn the_units_of_tokens_and_steps_do_not_matter_to_a_law(
        tokens in 1e-3f64..1e4, steps in 1e-2f64..1e2, q in 0.0f64..0.15,
    ) {
        let truths = [
            AnyLaw::Floor(Law { l_inf: 1.9, a: 60.0, alpha: 0.6, c: 3.0, gamma: 0.5, q }),
            AnyLaw::NoFloor(NoFloor { l_inf: 1.9, a: 40.0, alpha: 0.6, b: 30.0, beta: 0.3 }),
        ];
        for (model, truth) in [(LAWS[0], 0), (LAWS[1], 0), (LAWS[2], 1)] {
            let (one, other) =
                (sweep(&truths[truth], 1.0, 1.0), sweep(&truths[truth], tokens, steps));
            let (Some(a), Some(b)) = (model.minimum(&one, None), model.minimum(&other, None)) else {
                return Err(TestCaseError::fail("no minimum"));
            };
            for (x, y) in one.points.iter().zip(&other.points) {
                let (left, right) = (
                    a.found.loss(x.ln_steps.exp(), x.ln_batch.exp()),
                    b.found.loss(y.ln_steps.exp(), y.ln_batch.exp()),
                );
                prop_assert!((left - right).abs() < 2e-4, "{} {} {}", model.name(), left, right);
            }
        }
    }
}
