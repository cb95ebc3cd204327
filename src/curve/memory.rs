//! How fast the noise of a former batch size is forgotten, from runs that switched.
//!
//! With the law from the constant runs and `F(x) = (1 + x/tau)^-p`, the sum over stretches in
//! [`super::law`] telescopes: after switches at t_j from noise n_j to n_{j+1},
//! `L(s) = L_inf + signal(s) + n_now + sum_j (n_j - n_{j+1}) F(s - t_j)`.
//! tau and p are the Huber minimum over the bins after the first switch. They count as measured only
//! where the data tell the two ends apart (all forgotten at once, nothing forgotten) and the kernel
//! explains, and where there are two switches predicts, at least as well as the better end.

use super::joint::HUBER_NATS;
use super::law::{Law, Memory, MemorySource};
use super::model::Refusal;
use super::report::MemoryCheck;
use super::series::SwitchedSeries;
use super::solve::{COLD, Residuals, Settings, multistart};

/// What a law misses a run by anyway, nats: bins that are noisier than this count less.
const LAW_NATS: f64 = 0.002;

/// A bin after a switch.
#[derive(Debug, Clone)]
struct After {
    /// Loss with all old noise forgotten.
    forgotten: f64,
    /// (age of the switch in steps, noise then minus noise after it).
    switches: Vec<(f64, f64)>,
    loss: f64,
    /// Short bins after a switch are noisy.
    weight: f64,
    run: usize,
    /// How many switches lie behind it.
    passed: usize,
}

impl After {
    fn predicted(&self, kernel: impl Fn(f64) -> f64) -> f64 {
        self.forgotten + self.switches.iter().map(|&(age, jump)| jump * kernel(age)).sum::<f64>()
    }
}

/// Parameters: ln tau, ln p.
struct Kernel<'a>(Vec<&'a After>);

impl Residuals<2> for Kernel<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn weight(&self, i: usize) -> f64 {
        self.0[i].weight
    }

    fn evaluate(&mut self, t: &[f64; 2], r: &mut [f64], j: &mut [[f64; 2]]) -> bool {
        let (tau, p) = (t[0].exp(), t[1].exp());
        for (i, bin) in self.0.iter().enumerate() {
            r[i] = bin.forgotten - bin.loss;
            j[i] = [0.0; 2];
            for &(x, jump) in &bin.switches {
                let log = (x / tau).ln_1p();
                let f = jump * (-p * log).exp();
                r[i] += f;
                j[i][0] += f * p * x / (tau + x);
                j[i][1] -= f * p * log;
            }
        }
        true
    }
}

/// A measured memory and how it fares on each run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    pub memory: Memory,
    pub checks: Vec<MemoryCheck>,
}

/// tau and p of a group's switched runs under its law.
pub(super) fn measure(law: &Law, switched: &[SwitchedSeries]) -> Result<Measured, Refusal> {
    let bins: Vec<After> =
        switched.iter().enumerate().flat_map(|(run, s)| after_switches(law, s, run)).collect();
    if bins.len() < 4 {
        return Err(Refusal::new(
            if switched.is_empty() {
                "no run of the group changed its batch size in the stable phase"
            } else {
                "too little of the stable phase was logged after the changes of batch size"
            },
            "one run whose batch size changes in the stable phase, followed for a tenth of its steps",
        ));
    }
    let all: Vec<&After> = bins.iter().collect();
    let memory = fit(&all).ok_or_else(Refusal::not_finite)?;
    let kernel = |x| memory.remembered(x);
    let (fitted, instant, never) = (rms(&all, kernel), rms(&all, |_| 0.0), rms(&all, |_| 1.0));
    let apart = (instant - never).abs() > 0.5 * fitted && instant.max(never) > 1.5 * fitted;
    if !apart {
        return Err(Refusal::new(
            format!(
                "the runs that switched do not tell slow from fast forgetting (rms {fitted:.4} \
                 nats; at once {instant:.4}, never {never:.4})"
            ),
            "a larger change of batch size, or more steps after it",
        ));
    }
    if let Some((predicted, best_end)) = prediction(&all)
        && predicted > best_end * 1.1 + 0.1 * HUBER_NATS
    {
        return Err(Refusal::new(
            format!(
                "what one switch shows does not predict the next ({predicted:.4} nats; the better \
                 end {best_end:.4})"
            ),
            "another run that changes its batch size",
        ));
    }
    let checks = switched.iter().enumerate().filter_map(|(run, s)| {
        let own: Vec<&After> = bins.iter().filter(|b| b.run == run).collect();
        (!own.is_empty()).then(|| MemoryCheck {
            run: s.run.clone(),
            rms_nats: rms(&own, kernel),
            rms_instant_nats: rms(&own, |_| 0.0),
        })
    });
    Ok(Measured { memory, checks: checks.collect() })
}

fn after_switches(law: &Law, s: &SwitchedSeries, run: usize) -> Vec<After> {
    let mut switches: Vec<(f64, f64)> = Vec::new(); // step, jump of the noise
    let (mut step, mut starts) = (0.0, Vec::new());
    for w in s.stretches.windows(2) {
        step += w[0].steps;
        switches.push((step, law.noise(w[0].batch_size) - law.noise(w[1].batch_size)));
    }
    let mut from = 0.0;
    let mut progress = 0.0;
    for stretch in &s.stretches {
        starts.push((from, progress, stretch.batch_size));
        from += stretch.steps;
        progress += stretch.steps * stretch.batch_size.powf(law.q);
    }
    let Some(&(first, _)) = switches.first() else { return Vec::new() };
    let bins = s.bins.iter().filter(|b| b.steps > first && b.loss.is_finite());
    bins.filter_map(|b| {
        let &(from, progress, batch_size) = starts.iter().rev().find(|x| x.0 < b.steps)?;
        let progress = progress + (b.steps - from) * batch_size.powf(law.q);
        let past: Vec<(f64, f64)> = switches
            .iter()
            .filter(|(t, _)| *t < b.steps)
            .map(|&(t, jump)| (b.steps - t, jump))
            .collect();
        let forgotten = law.l_inf + law.signal(progress) + law.noise(batch_size);
        let passed = past.len();
        forgotten.is_finite().then_some(After {
            forgotten,
            switches: past,
            loss: b.loss,
            weight: 1.0 / (1.0 + (b.se.max(0.0) / LAW_NATS).powi(2)),
            run,
            passed,
        })
    })
    .collect()
}

fn fit(bins: &[&After]) -> Option<Memory> {
    let horizon = bins.iter().flat_map(|b| &b.switches).map(|s| s.0).fold(0.0, f64::max);
    if horizon <= 0.0 {
        return None;
    }
    let ln = horizon.ln();
    let settings = Settings {
        lower: [ln - 9.0, 0.05f64.ln()],
        upper: [ln + 5.0, 20f64.ln()],
        huber: HUBER_NATS,
        max_iterations: 100,
        tolerance: COLD,
    };
    let starts = [(-1.0, 0.5), (-3.0, 1.0), (-6.0, 0.5), (1.0, 0.5)]
        .map(|(t, p): (f64, f64)| [ln + t, p.ln()]);
    let found = multistart(&mut Kernel(bins.to_vec()), starts, &settings)?;
    let [tau_steps, p] = found.p.map(f64::exp);
    Some(Memory { tau_steps, p, source: MemorySource::Measured })
}

fn rms(bins: &[&After], kernel: impl Fn(f64) -> f64) -> f64 {
    let square = |b: &&After| b.weight * (b.predicted(&kernel) - b.loss).powi(2);
    let weight: f64 = bins.iter().map(|b| b.weight).sum();
    (bins.iter().map(square).sum::<f64>() / weight.max(f64::MIN_POSITIVE)).sqrt()
}

/// Rms on the bins after the last switch of each run (or of the last run that switched, where all
/// switched once), predicted from the others, and that of the better end there.
fn prediction(bins: &[&After]) -> Option<(f64, f64)> {
    let most = bins.iter().map(|b| b.passed).max()?;
    let last_run = bins.iter().map(|b| b.run).max()?;
    let is_late = |b: &&&After| if most > 1 { b.passed == most } else { b.run == last_run };
    let late: Vec<&After> = bins.iter().filter(is_late).copied().collect();
    let early: Vec<&After> = bins.iter().filter(|b| !is_late(b)).copied().collect();
    if early.len() < 4 || late.len() < 4 {
        return None;
    }
    let memory = fit(&early)?;
    let best_end = rms(&late, |_| 0.0).min(rms(&late, |_| 1.0));
    Some((rms(&late, |x| memory.remembered(x)), best_end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{Bin, Stretch};

    const LAW: Law = Law { l_inf: 1.9, a: 200.0, alpha: 0.8, c: 2.1, gamma: 0.4, q: 0.1 };

    fn switched(memory: &Memory) -> SwitchedSeries {
        let stretches: Vec<Stretch> = [(128.0, 40_000.0), (256.0, 20_000.0), (512.0, 20_000.0)]
            .map(|(batch_size, steps)| Stretch { batch_size, steps })
            .to_vec();
        let bins = (1..=80).map(|i| {
            let steps = f64::from(i) * 1000.0 - 500.0;
            let mut left = steps;
            let past: Vec<Stretch> = stretches
                .iter()
                .map(|s| {
                    let steps = s.steps.min(left);
                    left -= steps;
                    Stretch { steps, ..*s }
                })
                .filter(|s| s.steps > 0.0)
                .collect();
            let tokens = past.iter().map(|s| s.steps * s.batch_size).sum();
            Bin { steps, tokens, loss: LAW.loss_along(&past, memory), se: 0.001 }
        });
        SwitchedSeries { run: "s".into(), bins: bins.collect(), stretches }
    }

    #[test]
    fn the_kernel_that_made_the_run_is_found_again() {
        let truth = Memory { tau_steps: 1500.0, p: 0.45, source: MemorySource::Measured };
        let found = measure(&LAW, &[switched(&truth)]).unwrap();
        assert!((found.memory.tau_steps / 1500.0).ln().abs() < 0.05, "{found:?}");
        assert!((found.memory.p - 0.45).abs() < 0.02);
        assert!(found.checks[0].rms_nats < 1e-4 && found.checks[0].rms_instant_nats > 0.01);
    }

    #[test]
    fn instant_forgetting_is_measured_as_fast() {
        let found = measure(&LAW, &[switched(&Memory::INSTANT)]).unwrap();
        assert!(found.memory.remembered(2000.0) < 0.05, "{found:?}");
    }

    #[test]
    fn without_a_switch_it_says_what_is_missing() {
        let none = measure(&LAW, &[]).unwrap_err();
        assert!(none.needs.contains("changes"));
        let mut short = switched(&Memory::SLOW);
        short.bins.truncate(41);
        assert!(measure(&LAW, &[short]).is_err());
    }
}
