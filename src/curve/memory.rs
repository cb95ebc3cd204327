//! How fast the noise of a former batch size is forgotten, from runs that switched.
//!
//! With the law from the constant runs and `F(x) = (1 + x/tau)^-p`, the sum over stretches in
//! [`super::law`] telescopes: after switches at t_j from noise n_j to n_{j+1},
//! `L(s) = L_inf + signal(s) + n_now + sum_j (n_j - n_{j+1}) F(s - t_j)`.
//! tau and p are the Huber minimum over the bins after the first switch.
//!
//! n is not the law's noise alone. The law misses the constant runs of a batch size by up to 0.01
//! nats, and that has nothing to do with memory; yet a kernel fitted to the law's own levels bends to
//! make up for it (on `fixtures/mlp_sweep` tau then moves from 1,200 to 1,800 steps with the burn-in
//! of the law). So what the law misses the constant runs of a size by, at the steps at which the
//! switched run was at that size, is measured and added ([`miss`]): tau stays within 5 % over all
//! burn-ins, and one switch predicts the next twice as well (0.0041 nats for 0.0080).
//!
//! Over ages that are short beside tau only p / tau shows, and noise then makes p anything: so p is
//! what it is in the slow memory that is assumed without any switch, give or take a factor of e, as
//! far as the data do not say otherwise.
//!
//! tau and p count as measured only where the data exclude one of the two ends (all forgotten at once,
//! nothing forgotten) and the kernel predicts at least as well as the better end: each run from the
//! others where several switched, else the last switch from those before it.

use super::joint::HUBER_NATS;
use super::law::{Law, Memory, MemorySource};
use super::model::Refusal;
use super::report::{MemoryBefore, MemoryCheck};
use super::series::{ConstantSeries, SwitchedSeries};
use super::solve::{COLD, Residuals, Settings, WARM, multistart};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

/// What a law misses a run by anyway, nats: bins that are noisier than this count less.
const LAW_NATS: f64 = 0.002;

/// What p is before the data speak: that of the slow memory that is assumed where none was measured.
const PRIOR_P: f64 = Memory::SLOW.p;
/// ... and how surely, in ln p.
const PRIOR_SD: f64 = 1.0;

/// Below it half of the noise is forgotten only after a thousand tau: a part of it at once and the
/// rest never, which is how the law's own error looks, and no memory that was ever seen.
const LEAST_P: f64 = 0.1;

/// Bins after switches that a kernel can be fitted to.
const FEWEST_BINS: usize = 4;
/// Raises of a run that may have to be judged without what they showed.
const LAST_RAISES: usize = 3;
/// Runs that changed their batch size, up to which that is done.
const MOST_SWITCHED: usize = 16;

/// Bins of constant runs that tell what the law misses them by.
const TELLING_BINS: usize = 3;

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
    steps: f64,
}

impl After {
    fn predicted(&self, kernel: impl Fn(f64) -> f64) -> f64 {
        self.forgotten + self.switches.iter().map(|&(age, jump)| jump * kernel(age)).sum::<f64>()
    }
}

/// Parameters: ln tau, ln p.
struct Kernel<'a> {
    bins: Vec<&'a After>,
    /// What ln p is before the data speak.
    ln_p: f64,
}

impl Residuals<2> for Kernel<'_> {
    fn count(&self) -> usize {
        self.bins.len() + 1
    }

    fn weight(&self, i: usize) -> f64 {
        self.bins.get(i).map_or(1.0, |bin| bin.weight)
    }

    fn evaluate(&mut self, t: &[f64; 2], r: &mut [f64], j: &mut [[f64; 2]]) -> bool {
        let (tau, p) = (t[0].exp(), t[1].exp());
        for (i, bin) in self.bins.iter().enumerate() {
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
        let n = self.bins.len();
        // A bin without noise of its own weighs 1, and the law misses it by this much.
        let unit = LAW_NATS / PRIOR_SD;
        (r[n], j[n]) = (unit * (t[1] - self.ln_p), [0.0, unit]);
        true
    }
}

/// A measured memory and how it fares on each run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    pub memory: Memory,
    pub checks: Vec<MemoryCheck>,
    /// Rms error of the loss after switches that tau and p were not fitted to, nats; `None` where
    /// there was but one switch.
    pub predicted_nats: Option<f64>,
}

/// tau and p of a group's switched runs under its law, beside its runs at constant batch size.
pub(super) fn measure(
    law: &Law,
    constant: &[&ConstantSeries],
    switched: &[SwitchedSeries],
) -> Result<Measured, Refusal> {
    let bins: Vec<After> = switched
        .iter()
        .enumerate()
        .flat_map(|(run, s)| after_switches(law, constant, s, run))
        .collect();
    if bins.len() < FEWEST_BINS {
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
    tells(&memory, &all)?;
    let kernel = |x| memory.remembered(x);
    let predictions = predictions(&all);
    let pooled = |f: fn(&Prediction) -> f64| {
        let n: f64 = predictions.iter().map(|p| p.weight).sum();
        (predictions.iter().map(|p| p.weight * f(p).powi(2)).sum::<f64>() / n).sqrt()
    };
    let predicted = (!predictions.is_empty()).then(|| pooled(|p| p.rms));
    let best_end = pooled(|p| p.instant).min(pooled(|p| p.never));
    if let Some(predicted) = predicted.filter(|p| *p > best_end * 1.1 + 0.1 * HUBER_NATS) {
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
            predicted_nats: predictions.iter().find(|p| p.run == run).map(|p| p.rms),
        })
    });
    Ok(Measured { memory, checks: checks.collect(), predicted_nats: predicted })
}

/// Whether bins exclude one of the ends, by a kernel that is fitted to them.
fn tells(memory: &Memory, all: &[&After]) -> Result<(), Refusal> {
    let kernel = |x| memory.remembered(x);
    let (fitted, instant, never) = (rms(all, kernel), rms(all, |_| 0.0), rms(all, |_| 1.0));
    let (least, most) = (instant.min(never), instant.max(never));
    // Midway both ends miss alike, and both clearly.
    let apart = most > 1.5 * fitted && (most - least > 0.5 * fitted || least > 1.5 * fitted);
    if !apart {
        return Err(Refusal::new(
            format!(
                "the runs that switched do not tell slow from fast forgetting (rms {fitted:.4} \
                 nats; at once {instant:.4}, never {never:.4})"
            ),
            "a larger change of batch size, or more steps after it",
        ));
    }
    if memory.p < LEAST_P {
        return Err(Refusal::new(
            format!(
                "after the changes of batch size a part of the noise seems forgotten at once and the \
                 rest never (tau {:.2} steps, p {:.2}), which is rather what the law misses the runs by",
                memory.tau_steps, memory.p
            ),
            "more steps after a change of batch size",
        ));
    }
    Ok(())
}

/// The memory without what a raise of a run showed: for each of its last raises that of the bins before
/// it and of the other runs, the slow one that is assumed where those do not tell it. A raise is judged
/// by what was known before it.
pub(super) fn before_raises(
    law: &Law,
    constant: &[&ConstantSeries],
    switched: &[&SwitchedSeries],
    memory: &Memory,
) -> Vec<MemoryBefore> {
    // Among many, one run's raise moves the memory little.
    if switched.len() > MOST_SWITCHED {
        return Vec::new();
    }
    let bins = switched.iter().enumerate().flat_map(|(i, s)| after_switches(law, constant, s, i));
    let bins: Vec<After> = bins.collect();
    let mut out = Vec::new();
    for (run, s) in switched.iter().enumerate() {
        for steps in raises(s) {
            let known = |b: &&After| b.run != run || b.steps <= steps;
            let known: Vec<&After> = bins.iter().filter(known).collect();
            let starts = [*memory, Memory::SLOW].map(|m| [m.tau_steps.ln(), m.p.ln()]);
            let found =
                fit_from(&known, starts, PRIOR_P.ln()).filter(|_| known.len() >= FEWEST_BINS);
            let told = found.filter(|m| tells(m, &known).is_ok());
            out.push(MemoryBefore {
                run: s.run.clone(),
                steps,
                memory: told.unwrap_or(Memory::SLOW),
            });
        }
    }
    out
}

/// Steps at which a run raised its batch size, the last ones.
fn raises(s: &SwitchedSeries) -> Vec<f64> {
    let mut steps = 0.0;
    let mut all = Vec::new();
    for w in s.stretches.windows(2) {
        steps += w[0].steps;
        if w[1].batch_size > w[0].batch_size {
            all.push(steps);
        }
    }
    all.split_off(all.len().saturating_sub(LAST_RAISES))
}

/// What the law misses the constant runs at `batch_size` by, nats, at about the steps that a run
/// spent there; 0 where none was.
pub(super) fn miss(
    law: &Law,
    constant: &[&ConstantSeries],
    batch_size: f64,
    from: f64,
    to: f64,
) -> f64 {
    let near = |steps: f64| steps >= 0.5 * from.max(0.5 * to) && steps <= 1.5 * to;
    let bins = constant
        .iter()
        .filter(|s| (s.batch_size / batch_size).ln().abs() < 1e-3)
        .flat_map(|s| &s.bins)
        .filter(|b| near(b.steps) && b.loss.is_finite());
    let off: Vec<f64> = bins.map(|b| b.loss - law.loss(b.steps, batch_size)).collect();
    let mean = off.iter().sum::<f64>() / off.len().max(1) as f64;
    if off.len() >= TELLING_BINS && mean.is_finite() { mean } else { 0.0 }
}

/// A stretch of a switched run: where it begins, and the level of noise that a constant run has there.
struct Start {
    steps: f64,
    progress: f64,
    batch_size: f64,
    noise: f64,
}

fn after_switches(
    law: &Law,
    constant: &[&ConstantSeries],
    s: &SwitchedSeries,
    run: usize,
) -> Vec<After> {
    let mut starts: Vec<Start> = Vec::new();
    let (mut steps, mut progress) = (0.0, 0.0);
    for stretch in &s.stretches {
        let b = stretch.batch_size;
        let noise = law.noise(b) + miss(law, constant, b, steps, steps + stretch.steps);
        starts.push(Start { steps, progress, batch_size: b, noise });
        steps += stretch.steps;
        progress += stretch.steps * b.powf(law.q);
    }
    let Some(first) = starts.get(1).map(|s| s.steps) else { return Vec::new() };
    let bins = s.bins.iter().filter(|b| b.steps > first && b.loss.is_finite());
    bins.filter_map(|b| {
        let begun = starts.partition_point(|x| x.steps < b.steps);
        let (past, now) = (&starts[..begun], starts[..begun].last()?);
        let progress = now.progress + (b.steps - now.steps) * now.batch_size.powf(law.q);
        let jump = |w: &[Start]| (b.steps - w[1].steps, w[0].noise - w[1].noise);
        let forgotten = law.l_inf + law.signal(progress) + now.noise;
        forgotten.is_finite().then(|| After {
            forgotten,
            switches: past.windows(2).map(jump).collect(),
            loss: b.loss,
            weight: 1.0 / (1.0 + (b.se.max(0.0) / LAW_NATS).powi(2)),
            run,
            passed: begun - 1,
            steps: b.steps,
        })
    })
    .collect()
}

/// Each law with the memory that the switched runs show under it, their bins redrawn: what
/// `memory` under `law` leaves of each run, moved along the run by a random number of bins with a
/// random sign, so that it keeps its slowness. Laws under which nothing fits are left out.
pub(super) fn redrawn<'a>(
    (law, memory): (&Law, &Memory),
    laws: impl Iterator<Item = &'a Law>,
    constant: &[&ConstantSeries],
    switched: &[SwitchedSeries],
    seed: u64,
) -> Vec<(Law, Memory)> {
    let after = |law: &Law| -> Vec<Vec<After>> {
        let each = switched.iter().enumerate();
        each.map(|(run, s)| after_switches(law, constant, s, run)).collect()
    };
    let central = after(law);
    let kernel = |x| memory.remembered(x);
    let left: Vec<Vec<f64>> = central
        .iter()
        .map(|run| run.iter().map(|b| b.loss - b.predicted(kernel)).collect())
        .collect();
    let n: usize = left.iter().map(Vec::len).sum();
    // Two parameters were fitted.
    let scale = (n as f64 / n.saturating_sub(2).max(1) as f64).sqrt();
    let mut rng = Pcg64::seed_from_u64(seed);
    let one = |drawn: &Law| {
        let mut bins = after(drawn);
        for ((run, centre), left) in bins.iter_mut().zip(&central).zip(&left) {
            if run.len() != centre.len() || run.is_empty() {
                continue;
            }
            let by = rng.random_range(0..left.len());
            let sign = if rng.random_bool(0.5) { scale } else { -scale };
            for (i, bin) in run.iter_mut().enumerate() {
                bin.loss = centre[i].predicted(kernel) + sign * left[(i + by) % left.len()];
            }
        }
        let bins: Vec<&After> = bins.iter().flatten().collect();
        let z: f64 = StandardNormal.sample(&mut rng);
        let found =
            fit_from(&bins, [[memory.tau_steps.ln(), memory.p.ln()]], PRIOR_P.ln() + PRIOR_SD * z)?;
        Some((*drawn, found))
    };
    laws.map(one).collect::<Vec<_>>().into_iter().flatten().collect()
}

fn fit(bins: &[&After]) -> Option<Memory> {
    let horizon = horizon(bins)?;
    let starts = [(-1.0, 0.5), (-3.0, 1.0), (-6.0, 0.5), (1.0, 0.5)]
        .map(|(t, p): (f64, f64)| [horizon.ln() + t, p.ln()]);
    fit_from(bins, starts, PRIOR_P.ln())
}

/// Age of the oldest switch, steps.
fn horizon(bins: &[&After]) -> Option<f64> {
    let longest = bins.iter().flat_map(|b| &b.switches).map(|s| s.0).fold(0.0, f64::max);
    (longest > 0.0).then_some(longest)
}

fn fit_from<const N: usize>(bins: &[&After], starts: [[f64; 2]; N], ln_p: f64) -> Option<Memory> {
    let ln = horizon(bins)?.ln();
    let settings = Settings {
        lower: [ln - 9.0, 0.05f64.ln()],
        upper: [ln + 5.0, 20f64.ln()],
        huber: HUBER_NATS,
        max_iterations: 100,
        tolerance: if N > 1 { COLD } else { WARM },
    };
    let found = multistart(&mut Kernel { bins: bins.to_vec(), ln_p }, starts, &settings)?;
    let [tau_steps, p] = found.p.map(f64::exp);
    Some(Memory { tau_steps, p, source: MemorySource::Measured })
}

fn rms(bins: &[&After], kernel: impl Fn(f64) -> f64) -> f64 {
    let square = |b: &&After| b.weight * (b.predicted(&kernel) - b.loss).powi(2);
    let weight: f64 = bins.iter().map(|b| b.weight).sum();
    (bins.iter().map(square).sum::<f64>() / weight.max(f64::MIN_POSITIVE)).sqrt()
}

/// Bins that a kernel fitted to others predicts.
struct Prediction {
    run: usize,
    rms: f64,
    instant: f64,
    never: f64,
    weight: f64,
}

/// Each run that switched from the others; where but one did, its last switch from those before it.
fn predictions(bins: &[&After]) -> Vec<Prediction> {
    let mut runs: Vec<usize> = bins.iter().map(|b| b.run).collect();
    runs.dedup();
    let most = bins.iter().map(|b| b.passed).max().unwrap_or(0);
    let of = |run: usize| {
        let alone = runs.len() == 1;
        let held = |b: &&&After| if alone { most > 1 && b.passed == most } else { b.run == run };
        let (held, rest): (Vec<&After>, Vec<&After>) = bins.iter().partition(held);
        if held.len() < 4 || rest.len() < 4 {
            return None;
        }
        let memory = fit(&rest)?;
        Some(Prediction {
            run,
            rms: rms(&held, |x| memory.remembered(x)),
            instant: rms(&held, |_| 0.0),
            never: rms(&held, |_| 1.0),
            weight: held.iter().map(|b| b.weight).sum(),
        })
    };
    runs.iter().filter_map(|run| of(*run)).collect()
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
