//! MLPerf result lines, `:::MLLOG {json}`: each is an event with a key, a value and metadata. Pure.
//! <https://github.com/mlcommons/logging>

use super::fields::Role;
use serde::Deserialize;
use serde_json::Value;

/// What marks a line.
pub const MARK: &str = ":::MLLOG";

#[derive(Deserialize)]
struct Event {
    time_ms: Option<f64>,
    key: String,
    value: Value,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    step: Option<f64>,
    samples_count: Option<f64>,
}

/// What the log stated so far.
#[derive(Debug, Clone, Default)]
pub struct Mllog {
    /// The evaluation figure of this benchmark is a loss.
    quality_is_loss: Option<bool>,
    batch: Option<f64>,
    base_lr: Option<f64>,
    warmup_steps: Option<f64>,
}

/// Settings by their event key.
const SETTINGS: &[(&str, Role)] = &[
    ("global_batch_size", Role::BatchSequences),
    ("max_sequence_length", Role::SeqLen),
    ("gradient_accumulation_steps", Role::GradAccum),
];

/// Losses by their name in an event.
const LOSSES: &[&str] = &["reduced_train_loss", "train_loss", "loss"];

impl Mllog {
    /// Calls `each(key, role, value)` for what the event says. True: it is a metric line.
    ///
    /// # Errors
    /// The line is no such event.
    pub fn read(
        &mut self,
        json: &str,
        mut each: impl FnMut(&'static str, Role, f64),
    ) -> Result<bool, serde_json::Error> {
        let event: Event = serde_json::from_str(json)?;
        let number = event.value.as_f64();
        if let (Some((key, role)), Some(x)) =
            (SETTINGS.iter().find(|(k, _)| *k == event.key), number)
        {
            if *role == Role::BatchSequences {
                self.batch = Some(x);
            }
            each(key, *role, x);
            return Ok(false);
        }
        match event.key.as_str() {
            "submission_benchmark" => {
                let name = event.value.as_str().unwrap_or("");
                self.quality_is_loss =
                    Some(["llama31", "gpt3", "llama2_70b"].iter().any(|b| name.starts_with(b)));
            }
            "opt_base_learning_rate" => self.base_lr = number,
            "opt_learning_rate_warmup_steps" => self.warmup_steps = number,
            "run_stop" => each("run_stop", Role::Ended, 1.0),
            _ => {}
        }
        let Some((key, role, value)) = self.loss(&event, number) else { return Ok(false) };
        each(key, role, value);
        self.position(&event, &mut each);
        Ok(true)
    }

    fn loss(&self, event: &Event, number: Option<f64>) -> Option<(&'static str, Role, f64)> {
        match event.key.as_str() {
            // Without the benchmark's name: an accuracy is at most 1, this loss never that low.
            "eval_accuracy" if self.quality_is_loss.unwrap_or(number? > 1.0) => {
                Some(("eval_accuracy", Role::ValLoss, number?))
            }
            "eval_loss" | "validation_loss" => Some(("eval_loss", Role::ValLoss, number?)),
            key => {
                if let (Some(name), Some(x)) = (LOSSES.iter().find(|n| **n == key), number) {
                    return Some((name, Role::Loss, x));
                }
                LOSSES
                    .iter()
                    .find_map(|name| Some((*name, Role::Loss, event.value.get(name)?.as_f64()?)))
            }
        }
    }

    /// Step, samples, time and learning rate of a metric event.
    fn position(&self, event: &Event, each: &mut impl FnMut(&'static str, Role, f64)) {
        let meta = event.metadata.as_ref();
        let samples = meta.and_then(|m| m.samples_count);
        // Steps done; the logged step counts from 0 and is absent from evaluations.
        let step = match (samples, self.batch) {
            (Some(s), Some(b)) if b > 0.0 => Some((s / b).round()),
            _ => meta.and_then(|m| m.step),
        };
        if let Some(s) = samples {
            each("samples_count", Role::Samples, s);
        }
        if let Some(s) = step {
            each("step", Role::Step, s);
        }
        if let Some(t) = event.time_ms {
            each("time_ms", Role::Time, t / 1e3);
        }
        let logged = event
            .value
            .get("lr")
            .or_else(|| event.value.get("learning_rate"))
            .and_then(Value::as_f64);
        let after_warmup = step.zip(self.warmup_steps).is_some_and(|(s, w)| s >= w);
        if let Some(lr) = logged.or(self.base_lr.filter(|_| after_warmup)) {
            each("opt_base_learning_rate", Role::Lr, lr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &mut Mllog, json: &str) -> Vec<(&'static str, f64)> {
        let mut out = vec![];
        log.read(json, |k, _, x| out.push((k, x))).unwrap();
        out
    }

    #[test]
    fn settings_then_losses_with_their_position() {
        let mut log = Mllog::default();
        assert_eq!(
            read(&mut log, r#"{"time_ms":1,"key":"global_batch_size","value":8,"metadata":{}}"#),
            [("global_batch_size", 8.0)]
        );
        let train = r#"{"time_ms":1800000000500,"key":"tracked_stats","value":{"reduced_train_loss":7.5},"metadata":{"step":31.0,"samples_count":256.0}}"#;
        assert_eq!(
            read(&mut log, train),
            [
                ("reduced_train_loss", 7.5),
                ("samples_count", 256.0),
                ("step", 32.0),
                ("time_ms", 1_800_000_000.5)
            ]
        );
        let eval = r#"{"time_ms":null,"key":"eval_accuracy","value":5.25,"metadata":{"samples_count":512}}"#;
        assert_eq!(
            read(&mut log, eval),
            [("eval_accuracy", 5.25), ("samples_count", 512.0), ("step", 64.0)]
        );
        let stop = r#"{"time_ms":3,"key":"run_stop","value":null,"metadata":{"status":"success"}}"#;
        assert_eq!(read(&mut log, stop), [("run_stop", 1.0)]);
        assert_eq!(read(&mut log, r#"{"key":"eval_accuracy","value":0.72,"metadata":null}"#), []);
    }

    #[test]
    fn the_base_learning_rate_counts_after_warmup_only() {
        let mut log = Mllog::default();
        read(&mut log, r#"{"key":"opt_base_learning_rate","value":0.5,"metadata":{}}"#);
        read(&mut log, r#"{"key":"opt_learning_rate_warmup_steps","value":10,"metadata":{}}"#);
        let at = |step: u32| {
            format!(r#"{{"key":"train_loss","value":2.0,"metadata":{{"step":{step}}}}}"#)
        };
        assert_eq!(read(&mut log, &at(9)).len(), 2);
        assert_eq!(
            read(&mut log, &at(10)),
            [("train_loss", 2.0), ("step", 10.0), ("opt_base_learning_rate", 0.5)]
        );
    }
}
