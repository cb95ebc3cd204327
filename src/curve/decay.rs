//! What a decay of the learning rate does to the loss, through intrinsic time.
//!
//! A step at a smaller learning rate makes less progress and less noise. With steps weighted by
//! r = lr/lr_plateau (intrinsic time, in plateau steps), ages in it, and the noise of a step weighted
//! by r^delta, the law with memory keeps its form:
//! `L = L_inf + a (B^q t)^-alpha + n [F(t - t_d) + sum_k r_k^delta (F(t - t_k) - F(t - t_k-1))]`,
//! where the decay begins at t_d, its pieces k end at t_k, and n is the noise of the batch size on
//! the plateau. The one free number, delta, is fitted to runs that decayed, beside a memory that was
//! measured: under an assumed one it would only make up for the assumption.
//!
//! Two decays of a real sweep (linear at 256 tokens a step, 1 - sqrt at 1024) are each described to
//! 0.004 nats, both by one delta to 0.008, and one from the other only to 0.02 and 0.01, where nothing
//! annealed would miss by 0.04 and 0.03. So it describes decays that were seen, and is no forecast of
//! another: nothing is planned on it, and the error of one decay from the others stands beside it.

use super::joint::HUBER_NATS;
use super::law::{Law, Memory, MemorySource};
use super::memory::miss;
use super::model::Refusal;
use super::report::{DecayCheck, DecayFit};
use super::series::{ConstantSeries, DecayedSeries};
use super::solve::{COLD, Residuals, Settings, multistart};

/// Bounds of delta; a fit that ends there has found none.
const DELTA: [f64; 2] = [0.05, 8.0];
/// What is left unexplained of a drop that counts as explained.
const LEFT: f64 = 0.35;

/// The middle of a piece of a decay.
#[derive(Debug, Clone)]
struct Middle {
    /// Loss with all noise gone.
    signal: f64,
    /// Noise on the plateau, nats.
    noise: f64,
    /// Share of the plateau's noise that is still remembered.
    plateau: f64,
    /// (r, share of the noise made in that piece).
    pieces: Vec<(f64, f64)>,
    loss: f64,
    run: usize,
}

impl Middle {
    fn predicted(&self, delta: f64) -> f64 {
        let made = self.pieces.iter().map(|&(r, share)| share * r.powf(delta)).sum::<f64>();
        self.signal + self.noise * (self.plateau + made)
    }
}

struct Delta<'a>(Vec<&'a Middle>);

impl Residuals<1> for Delta<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn evaluate(&mut self, p: &[f64; 1], r: &mut [f64], j: &mut [[f64; 1]]) -> bool {
        let delta = p[0].exp();
        for (i, m) in self.0.iter().enumerate() {
            r[i] = m.predicted(delta) - m.loss;
            // d r^delta / d ln delta; 0 in the limit of r = 0.
            let slope = |&(rate, share): &(f64, f64)| {
                if rate > 0.0 { share * rate.powf(delta) * rate.ln() * delta } else { 0.0 }
            };
            j[i] = [m.noise * m.pieces.iter().map(slope).sum::<f64>()];
        }
        true
    }
}

/// delta of a group's decayed runs under its law and memory.
pub(super) fn measure(
    law: &Law,
    memory: &Memory,
    constant: &[&ConstantSeries],
    decayed: &[DecayedSeries],
) -> Result<DecayFit, Refusal> {
    if decayed.is_empty() {
        return Err(Refusal::new(
            "no run of the group decayed its learning rate at one batch size",
            "one run whose learning rate decays after a stable phase, better two at different batch \
             sizes",
        ));
    }
    if memory.source != MemorySource::Measured {
        return Err(Refusal::new(
            "how fast noise is forgotten was not measured, and the drop of a decay depends on it",
            "one run that changes its batch size in the stable phase",
        ));
    }
    let middles: Vec<Middle> = decayed
        .iter()
        .enumerate()
        .flat_map(|(run, s)| middles(law, memory, constant, s, run))
        .collect();
    let all: Vec<&Middle> = middles.iter().collect();
    let delta = fit(&all).ok_or_else(|| Refusal::at_bound("delta", "a longer decay"))?;
    let checks: Vec<DecayCheck> =
        decayed.iter().enumerate().map(|(run, s)| check(&all, run, s, delta)).collect();
    let (own, none) = (rms(&all, Some(delta)), rms(&all, None));
    let predicted = pooled(checks.iter().filter_map(|c| c.predicted_nats));
    // Worse than to say nothing is not described, whatever the fit.
    if own > LEFT * none || predicted.is_some_and(|p| p > none) {
        return Err(Refusal::new(
            format!(
                "the drop of the decays is not described by it (rms {own:.4} nats, one decay from the \
                 others {}; without annealing {none:.4})",
                predicted.map_or("unknown".into(), |x| format!("{x:.4}"))
            ),
            "another run that decays",
        ));
    }
    Ok(DecayFit { delta, rms_nats: own, predicted_nats: predicted, checks })
}

fn check(all: &[&Middle], run: usize, s: &DecayedSeries, delta: f64) -> DecayCheck {
    let (held, rest): (Vec<&Middle>, Vec<&Middle>) = all.iter().partition(|m| m.run == run);
    let others = fit(&rest).map(|delta| rms(&held, Some(delta)));
    DecayCheck {
        run: s.run.clone(),
        rms_nats: rms(&held, Some(delta)),
        rms_unannealed_nats: rms(&held, None),
        predicted_nats: others,
    }
}

fn middles(
    law: &Law,
    memory: &Memory,
    constant: &[&ConstantSeries],
    s: &DecayedSeries,
    run: usize,
) -> Vec<Middle> {
    let b = s.batch_size;
    let noise = law.noise(b) + miss(law, constant, b, 0.0, s.plateau_steps);
    let mut ends = vec![0.0];
    for p in &s.pieces {
        ends.push(ends[ends.len() - 1] + p.steps * p.rate);
    }
    let of = |(k, piece): (usize, &super::DecayPiece)| {
        let now = 0.5 * (ends[k] + ends[k + 1]);
        let share = |j: usize| {
            let end = memory.remembered((now - ends[j + 1]).max(0.0));
            end - memory.remembered(now - ends[j])
        };
        let signal = law.l_inf + law.signal((s.plateau_steps + now) * b.powf(law.q));
        let middle = Middle {
            signal,
            noise,
            plateau: memory.remembered(now),
            pieces: (0..=k).map(|j| (s.pieces[j].rate, share(j))).collect(),
            loss: piece.loss,
            run,
        };
        (middle.predicted(1.0).is_finite() && piece.loss.is_finite()).then_some(middle)
    };
    s.pieces.iter().enumerate().filter_map(of).collect()
}

fn fit(middles: &[&Middle]) -> Option<f64> {
    let settings = Settings {
        lower: [DELTA[0].ln()],
        upper: [DELTA[1].ln()],
        huber: HUBER_NATS,
        max_iterations: 60,
        tolerance: COLD,
    };
    let found = multistart(&mut Delta(middles.to_vec()), [[0.0], [1.0]], &settings)?;
    (!found.at_bound[0]).then(|| found.p[0].exp())
}

/// `None`: nothing is annealed.
fn rms(middles: &[&Middle], delta: Option<f64>) -> f64 {
    let off = |m: &&Middle| (m.predicted(delta.unwrap_or(0.0)) - m.loss).powi(2);
    (middles.iter().map(off).sum::<f64>() / middles.len().max(1) as f64).sqrt()
}

fn pooled(errors: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = errors.fold((0.0, 0.0), |(s, n), e| (s + e * e, n + 1.0));
    (n > 0.0).then(|| (sum / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::DecayPiece;
    use super::*;

    const LAW: Law = Law { l_inf: 1.9, a: 200.0, alpha: 0.8, c: 2.1, gamma: 0.4, q: 0.1 };
    const MEMORY: Memory = Memory { tau_steps: 400.0, p: 0.3, source: MemorySource::Measured };

    /// A linear decay over the last fifth, its losses those of the formula.
    fn decayed(batch_size: f64, delta: f64) -> DecayedSeries {
        let pieces = (0..20).map(|k| {
            let rate = 1.0 - (f64::from(k) + 0.5) / 20.0;
            DecayPiece { steps: 500.0, rate, loss: 0.0 }
        });
        let mut s = DecayedSeries {
            run: format!("b{batch_size}"),
            batch_size,
            plateau_steps: 40_000.0,
            pieces: pieces.collect(),
        };
        let losses: Vec<f64> =
            middles(&LAW, &MEMORY, &[], &s, 0).iter().map(|m| m.predicted(delta)).collect();
        s.pieces.iter_mut().zip(losses).for_each(|(p, l)| p.loss = l);
        s
    }

    #[test]
    fn the_exponent_that_made_the_decays_is_found_again() {
        let runs = [decayed(128.0, 1.3), decayed(512.0, 1.3)];
        let found = measure(&LAW, &MEMORY, &[], &runs).unwrap();
        assert!((found.delta - 1.3).abs() < 1e-3 && found.rms_nats < 1e-5, "{found:?}");
        assert!(found.predicted_nats.unwrap() < 1e-4);
        assert!(found.checks.iter().all(|c| c.rms_unannealed_nats > 0.005), "{found:?}");
    }

    /// A plateau that is cut into pieces of rate 1 is the plateau.
    #[test]
    fn a_rate_of_one_is_no_decay() {
        let mut s = decayed(128.0, 1.0);
        s.pieces.iter_mut().for_each(|p| p.rate = 1.0);
        for (k, m) in middles(&LAW, &MEMORY, &[], &s, 0).iter().enumerate() {
            let steps = 40_000.0 + 500.0 * (k as f64 + 0.5);
            for delta in [0.5, 2.0] {
                assert!((m.predicted(delta) - LAW.loss(steps, 128.0)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_jacobian_is_the_numeric_one() {
        let (a, h) = (decayed(128.0, 1.3), 1e-6);
        let m = middles(&LAW, &MEMORY, &[], &a, 0);
        let mut problem = Delta(m.iter().collect());
        let n = m.len();
        let mut at = |x: f64| {
            let (mut r, mut j) = (vec![0.0; n], vec![[0.0; 1]; n]);
            problem.evaluate(&[x], &mut r, &mut j);
            (r, j)
        };
        let (_, j) = at(0.4);
        let (up, down) = (at(0.4 + h).0, at(0.4 - h).0);
        for i in 0..n {
            let numeric = (up[i] - down[i]) / (2.0 * h);
            assert!((j[i][0] - numeric).abs() < 1e-7, "{i}: {} {numeric}", j[i][0]);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = measure(&LAW, &MEMORY, &[], &[]).unwrap_err();
        assert!(none.has.contains("no run") && none.needs.contains("decays"), "{none}");
        let assumed = measure(&LAW, &Memory::SLOW, &[], &[decayed(128.0, 1.0)]).unwrap_err();
        assert!(assumed.has.contains("not measured") && assumed.needs.contains("changes"));
        let mut odd = decayed(128.0, 1.0);
        odd.pieces.iter_mut().for_each(|p| p.loss = f64::NAN);
        assert!(measure(&LAW, &MEMORY, &[], &[odd]).is_err());
        let mut rises = decayed(128.0, 1.0);
        rises.pieces.iter_mut().enumerate().for_each(|(k, p)| p.loss = 2.5 + 0.1 * k as f64);
        assert!(measure(&LAW, &MEMORY, &[], &[rises]).is_err());
    }
}
