//! A law as text and back (`boptop.law/1`), with where it came from: a prior for another run, never
//! silently mixed with its own data. The caller does the reading and the writing.

use super::law::{Law, Memory, MemorySource};
use super::report::{GroupFit, LawFit, LossKind};
use crate::units::{count, learning_rate, loss};
use serde::{Deserialize, Serialize};

/// Id of the group that a saved law stands for.
pub const SAVED_GROUP: &str = "saved law";
const SCHEMA: &str = "boptop.law/1";

/// A joint law with its provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedLaw {
    pub schema: String,
    #[serde(flatten)]
    pub law: Law,
    pub tau_steps: f64,
    pub p: f64,
    /// Whether tau and p were measured in the sweep or assumed.
    pub memory_measured: bool,
    /// Learning rate of the plateau that it holds at.
    pub lr: Option<f64>,
    pub on: LossKind,
    /// Batch sizes (tokens a step) and losses (nats) that it rests on.
    pub batch_sizes: [f64; 2],
    pub losses: [f64; 2],
    pub burn_in_steps: f64,
    pub rms_nats: f64,
    pub held_out_nats: Option<f64>,
    /// The runs that it was fitted to.
    pub runs: Vec<String>,
    /// What the person who saved it said: the model, the data, the tokenizer.
    pub note: String,
    /// Resampled laws: [l_inf, a, alpha, c, gamma, q] each.
    #[serde(default)]
    pub draws: Vec<[f64; 6]>,
    /// [tau_steps, p] of each draw; empty where the memory was not measured.
    #[serde(default)]
    pub memory_draws: Vec<[f64; 2]>,
    #[serde(default)]
    pub q_believed: bool,
    #[serde(default)]
    pub noise_nats: f64,
    #[serde(default)]
    pub excess_nats: Option<f64>,
}

impl SavedLaw {
    /// The law of a group; `None` where it has none.
    pub fn from_group(group: &GroupFit, note: &str) -> Option<SavedLaw> {
        let fit = group.law.as_ref()?;
        let measured = fit.memory.source == MemorySource::Measured;
        let memories = fit.with_memory.iter().filter(|_| measured);
        Some(SavedLaw {
            schema: SCHEMA.into(),
            law: fit.law,
            tau_steps: fit.memory.tau_steps,
            p: fit.memory.p,
            memory_measured: measured,
            lr: group.lr,
            on: fit.on,
            batch_sizes: fit.batch_sizes,
            losses: fit.losses,
            burn_in_steps: fit.burn_in_steps,
            rms_nats: fit.rms_nats,
            held_out_nats: fit.held_out_nats,
            runs: group.runs.iter().filter(|r| r.used).map(|r| r.id.clone()).collect(),
            note: note.to_string(),
            draws: fit
                .with_memory
                .iter()
                .map(|(l, _)| [l.l_inf, l.a, l.alpha, l.c, l.gamma, l.q])
                .collect(),
            memory_draws: memories.map(|(_, m)| [m.tau_steps, m.p]).collect(),
            q_believed: fit.q_believed,
            noise_nats: fit.noise_nats,
            excess_nats: fit.excess_nats,
        })
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads and checks; the error says what was found instead of a law.
    pub fn from_json(text: &str) -> Result<SavedLaw, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| format!("text that is not JSON ({e})"))?;
        let schema = value.get("schema").and_then(|s| s.as_str()).unwrap_or("none");
        if schema != SCHEMA {
            let schema: String = schema.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(format!("schema {schema:?}, where this version reads {SCHEMA:?}"));
        }
        let law: SavedLaw = serde_json::from_value(value)
            .map_err(|e| format!("a law that is not complete: {e}"))?;
        law.check()?;
        Ok(law)
    }

    fn check(&self) -> Result<(), String> {
        let l = &self.law;
        let positive =
            [("a", l.a), ("alpha", l.alpha), ("c", l.c), ("gamma", l.gamma), ("p", self.p)];
        if let Some((name, x)) = positive.iter().find(|(_, x)| !(x.is_finite() && *x > 0.0)) {
            return Err(format!("{name} = {x}, where a number above 0 is needed"));
        }
        if !l.l_inf.is_finite()
            || !(0.0..1.0).contains(&l.q)
            || !(0.0..f64::INFINITY).contains(&self.tau_steps)
        {
            return Err("l_inf, q or tau_steps out of range (0 <= q < 1, tau_steps >= 0)".into());
        }
        Ok(())
    }

    /// Tau and p, as coming from a saved law; what was assumed when it was saved is so still.
    pub fn memory(&self) -> Memory {
        let source = if self.memory_measured { MemorySource::Saved } else { MemorySource::Assumed };
        Memory { tau_steps: self.tau_steps, p: self.p, source }
    }

    /// The law as a group of its own without runs, for a run whose siblings cannot speak.
    pub fn group(&self) -> GroupFit {
        GroupFit {
            id: SAVED_GROUP.into(),
            lr: self.lr,
            runs: Vec::new(),
            law: Some(LawFit {
                law: self.law,
                memory: self.memory(),
                rms_nats: self.rms_nats,
                held_out_nats: self.held_out_nats,
                on: self.on,
                burn_in_steps: self.burn_in_steps,
                batch_sizes: self.batch_sizes,
                losses: self.losses,
                left_out: Vec::new(),
                rival_held_out_nats: None,
                future_nats: None,
                rival_future_nats: None,
                windows: Vec::new(),
                variants: Vec::new(),
                memory_checks: Vec::new(),
                memory_before: Vec::new(),
                decay: None,
                along_changes: false,
                q_believed: self.q_believed,
                saved: true,
                draws: self.draws().collect(),
                with_memory: self.with_memory().collect(),
                noise_nats: self.noise_nats,
                excess_nats: self.excess_nats,
            }),
            provisional: None,
            scores: Vec::new(),
            levels: Vec::new(),
            notes: vec![self.provenance()],
            refused: Vec::new(),
        }
    }

    /// Where it comes from and what using it assumes, in one sentence.
    pub fn provenance(&self) -> String {
        // Whoever wrote the file chose the note; it goes to a terminal.
        let note: String = self.note.chars().filter(|c| !c.is_control()).take(80).collect();
        let [small, large] = self.batch_sizes.map(count);
        format!(
            "the law is a saved one{}, fitted to {} runs of {small} to {large} tokens a step at \
             learning rate {}, losses {} to {}{}; that it holds for this run is assumed, and only \
             checked against the run's own past",
            if note.is_empty() { String::new() } else { format!(" ({note})") },
            self.runs.len(),
            self.lr.map_or("unknown".into(), learning_rate),
            loss(self.losses[0].min(self.losses[1])),
            loss(self.losses[0].max(self.losses[1])),
            self.held_out_nats
                .map_or(String::new(), |h| format!(", {h:.3} nats off on a batch size left out")),
        )
    }

    /// Each resampled law with its memory; the one memory where they have none of their own.
    pub fn with_memory(&self) -> impl Iterator<Item = (Law, Memory)> + '_ {
        let sound =
            |m: &&[f64; 2]| m[0].is_finite() && m[0] >= 0.0 && m[1].is_finite() && m[1] > 0.0;
        let own = |m: &[f64; 2]| Memory { tau_steps: m[0], p: m[1], ..self.memory() };
        let memory =
            move |i: usize| self.memory_draws.get(i).filter(sound).map_or(self.memory(), own);
        self.draws().enumerate().map(move |(i, law)| (law, memory(i)))
    }

    /// The resampled laws.
    pub fn draws(&self) -> impl Iterator<Item = Law> + '_ {
        self.draws.iter().map(|&[l_inf, a, alpha, c, gamma, q]| Law {
            l_inf,
            a,
            alpha,
            c,
            gamma,
            q,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> SavedLaw {
        SavedLaw {
            schema: SCHEMA.into(),
            law: Law { l_inf: 1.9, a: 200.0, alpha: 0.8, c: 2.1, gamma: 0.4, q: 0.1 },
            tau_steps: 1500.0,
            p: 0.4,
            memory_measured: true,
            lr: Some(2e-3),
            on: LossKind::Train,
            batch_sizes: [16.0, 4096.0],
            losses: [2.1, 2.9],
            burn_in_steps: 1500.0,
            rms_nats: 0.012,
            held_out_nats: Some(0.014),
            runs: vec!["a".into()],
            note: "a proxy".into(),
            draws: vec![[1.9, 190.0, 0.79, 2.2, 0.41, 0.1]],
            memory_draws: vec![[1200.0, 0.5]],
            q_believed: true,
            noise_nats: 0.004,
            excess_nats: Some(0.01),
        }
    }

    #[test]
    fn a_law_survives_being_text() {
        let law = saved();
        assert_eq!(SavedLaw::from_json(&law.to_json()).unwrap(), law);
        assert_eq!(law.draws().count(), 1);
        assert_eq!(law.with_memory().next().unwrap().1.tau_steps, 1200.0);
        assert_eq!(law.memory().source, MemorySource::Saved);
        let assumed = SavedLaw { memory_measured: false, ..law.clone() };
        assert_eq!(assumed.memory().source, MemorySource::Assumed);
        let said = SavedLaw { note: "a proxy\u{1b}[31m".into(), ..law }.provenance();
        assert!(said.contains("(a proxy[31m), fitted to 1 runs of 16 to 4.1K"), "{said}");
        assert!(said.contains("is assumed"));
    }

    #[test]
    fn another_schema_and_numbers_out_of_range_are_named() {
        assert!(SavedLaw::from_json("no").unwrap_err().contains("not JSON"));
        let other = saved().to_json().replace(SCHEMA, "boptop.law/9");
        assert!(SavedLaw::from_json(&other).unwrap_err().contains("boptop.law/9"));
        let mut law = saved();
        law.law.gamma = -1.0;
        assert!(SavedLaw::from_json(&law.to_json()).unwrap_err().contains("gamma"));
    }
}
