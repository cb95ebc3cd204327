//! One job: a trainer, its metrics file and its obedience. No clock and no thread of its own.

use super::limits::{Direction, Limits};
use super::obey::{Obey, Progress};
use super::problem::Problem;
use super::trainer::{Meter, Trainer};
use super::writer::{Line, MetricsWriter, Moment};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Multiple that batch sizes must be of, in tokens.
const UNIT_TOKENS: u64 = 512;
/// The problem diverges below about 805 tokens a step.
const MIN_BATCH_TOKENS: u64 = 1024;
const MAX_BATCH_TOKENS: u64 = 131_072;

/// What to train.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// The run's id and the name of its directory.
    pub run: String,
    /// Tokens per optimizer step until the control file says otherwise.
    pub batch_size: u64,
    /// The trainer's own ramp: from these tokens on at this batch size.
    pub ramp: Option<(u64, u64)>,
    /// The job ends with the step that reaches these tokens.
    pub budget_tokens: u64,
    /// Pace, in tokens per second.
    pub tokens_per_second: f64,
    /// Fixes the samples.
    pub seed: u64,
}

/// The run to steer.
pub(super) const STEERED: &str = "steer";
/// Its sibling with the same samples, which is left alone.
pub(super) const TWIN: &str = "b8192";

/// The run that changes its batch size by its own schedule.
const RAMP: &str = "b8192-16384";
/// Tokens of the steered run and its twin, in millions, and their pace in millions a second.
const BUDGET: u64 = 30;
const STEERED_PACE: f64 = 0.65;

/// The jobs of the demo. The siblings run faster than the steered run, the larger ones the most
/// since they reach a loss last, so that a sweep exists while the steered run still has most of
/// its way to go. By the mean dynamics five sizes have reached loss 1.5 after 8 seconds and 1.475
/// after 15; the steered run passes 8M tokens, where its batch size costs 2 % of them, after 12
/// seconds and 16M, where it costs 18 %, after 25. It and its twin share a seed and a pace. One
/// more sibling raises its batch size by itself early on: what its loss does then measures how fast
/// the noise of the former batch size is forgotten.
pub fn specs(seed: u64) -> Vec<JobSpec> {
    // Batch size, budget and pace in millions of tokens (a second).
    const SIBLINGS: [(u64, u64, f64); 8] = [
        (4096, 30, 1.0),
        (6144, 30, 1.2),
        (8192, BUDGET, STEERED_PACE),
        (12_288, 45, 1.8),
        (16_384, 60, 2.4),
        (24_576, 60, 2.4),
        (32_768, 60, 2.7),
        (65_536, 60, 3.0),
    ];
    let spec = |run: String, batch_size: u64, budget: u64, pace: f64| JobSpec {
        run,
        batch_size,
        ramp: None,
        budget_tokens: budget * 1_000_000,
        tokens_per_second: pace * 1e6,
        seed: seed.wrapping_mul(1_000_003).wrapping_add(batch_size),
    };
    let siblings = SIBLINGS.iter().map(|&(b, budget, pace)| spec(format!("b{b}"), b, budget, pace));
    let ramp = JobSpec {
        ramp: Some((2_000_000, 16_384)),
        seed: seed.wrapping_mul(1_000_003).wrapping_add(1),
        ..spec(RAMP.to_string(), 8192, 30, 1.2)
    };
    std::iter::once(spec(STEERED.to_string(), 8192, BUDGET, STEERED_PACE))
        .chain(siblings)
        .chain(std::iter::once(ramp))
        .collect()
}

/// A running job.
#[derive(Debug)]
pub struct Job {
    spec: JobSpec,
    trainer: Trainer,
    lr: f64,
    metrics: MetricsWriter,
    obey: Obey,
    meter: Meter,
    /// Batch size, learning rate scale and revision of the steps since the last line.
    under: Option<(u64, f64, Option<u64>)>,
}

impl Job {
    /// Creates `DIR/RUN/metrics.jsonl`, says `ready` and looks at the control file, which may
    /// exist already. `attempt`: the job's name in acknowledgements.
    ///
    /// # Errors
    /// `Error::Io` with the path that could not be written.
    pub fn start(
        spec: JobSpec,
        problem: &Arc<Problem>,
        dir: &Path,
        attempt: &str,
        now: Moment,
    ) -> Result<Job> {
        let path = metrics_path(dir, &spec.run);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        }
        let limits = Limits {
            unit_tokens: UNIT_TOKENS,
            min_batch_tokens: MIN_BATCH_TOKENS,
            max_batch_tokens: Some(MAX_BATCH_TOKENS),
            direction: Direction::Both,
            can_scale_lr: true,
            stability: problem.stability(),
        };
        let metrics = MetricsWriter::open(&path)?;
        let at = Progress { step: 0, tokens: 0 };
        let obey = Obey::start(&path, &spec.run, attempt, spec.batch_size, limits, at, now)?;
        let trainer = Trainer::new(Arc::clone(problem), spec.seed);
        let lr = problem.learning_rate();
        let mut job =
            Job { spec, trainer, lr, metrics, obey, meter: Meter::default(), under: None };
        job.poll(now);
        Ok(job)
    }

    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Tokens consumed.
    pub fn tokens(&self) -> u64 {
        self.trainer.tokens()
    }

    /// The budget is spent.
    pub fn is_done(&self) -> bool {
        self.tokens() >= self.spec.budget_tokens
    }

    /// Looks at the control file. An acknowledgement that cannot be written now is tried again
    /// at the next poll, and until then nothing changes.
    pub fn poll(&mut self, now: Moment) {
        // Not an error of the job: training goes on under what was accepted.
        let _ = self.obey.poll(self.progress(), now);
    }

    /// One optimizer step, and a line of metrics when one is due.
    ///
    /// # Errors
    /// `Error::Io` if the metrics cannot be written.
    pub fn step(&mut self, now: Moment) -> Result<()> {
        if let Some((from, batch_size)) = self.spec.ramp
            && self.tokens() >= from
        {
            self.obey.set_own(batch_size);
        }
        let (setting, _tried_again_next_step) = self.obey.before_step(self.progress(), now);
        let under = (setting.batch_size, setting.lr_scale, self.obey.revision());
        if self.under.is_some_and(|u| u != under) {
            // A line speaks of one batch size.
            self.log(now)?;
        }
        self.under = Some(under);
        let loss = self.trainer.train_step(setting.batch_size, setting.lr_scale);
        self.meter.add(setting.batch_size, loss);
        if self.meter.is_due() || self.is_done() { self.log(now) } else { Ok(()) }
    }

    /// Writes what is left and says `ended`.
    ///
    /// # Errors
    /// `Error::Io` if either cannot be written.
    pub fn end(mut self, now: Moment) -> Result<()> {
        self.log(now)?;
        let detail = if self.is_done() { "the token budget is spent" } else { "stopped" };
        let path = metrics_path(Path::new(""), &self.spec.run);
        self.obey.end(self.progress(), detail, now).map_err(|e| Error::io(path, e))
    }

    fn progress(&self) -> Progress {
        Progress { step: self.trainer.step(), tokens: self.trainer.tokens() }
    }

    fn log(&mut self, now: Moment) -> Result<()> {
        let (Some((batch_size, lr_scale, revision)), Some(loss)) = (self.under, self.meter.take())
        else {
            return Ok(());
        };
        self.metrics.write(&Line {
            step: self.trainer.step(),
            tokens: self.trainer.tokens(),
            batch_size,
            loss: (loss * 1e6).round() / 1e6,
            lr: self.lr * lr_scale,
            time: (now.0 * 1e3).round() / 1e3,
            control_revision: revision,
        })
    }
}

/// `DIR/RUN/metrics.jsonl`.
pub(super) fn metrics_path(dir: &Path, run: &str) -> PathBuf {
    dir.join(run).join("metrics.jsonl")
}
