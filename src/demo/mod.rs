//! Real training jobs that are small enough to watch: the demo.
//!
//! # The problem
//!
//! A table of means. Word `i = 1 ..= D` comes with probability `p_i` and a noisy value:
//!
//! ```text
//! D = 131072     p_i ~ (i + 2000)^-1.8     p_i w*_i^2 ~ (i + 2000)^-1.7, scaled to sum to 4
//! y = w*_i + N(0, 1)      loss = 0.5 ln(2 pi) + 0.5 (w_i - y)^2      (Gaussian NLL, nats per token)
//! ```
//!
//! One sample is one token. A step of batch size `B` draws `B` samples, measures their loss before
//! the update, and moves every word by
//!
//! ```text
//! w_i <- w_i - (lr / B) sum over the samples of word i of (w_i - y)       lr = 0.5 / p_1, constant
//! ```
//!
//! Rare words are learnt late and with few samples, so the loss is a power law of the steps; the
//! noise of the gradient leaves a floor that falls with `B`. The loss with perfect weights is
//! `L_inf = 0.5 ln(2 pi) + 0.5 = 1.4189`. The curves L(E) of different batch sizes cross from loss
//! 1.72 down. Every sample costs O(1): alias sampling and one table cell.
//!
//! This problem forgets noise within a few steps of a batch change, faster than a language model
//! does: what a change is worth here is no promise for one.
//!
//! # In and out
//!
//! [`Demo::start`] runs the jobs on at most two threads, paced by the clock. Each writes
//! `DIR/RUN/metrics.jsonl` and is a client of the public control protocol like any other trainer:
//! nothing here knows the rest of the program. [`MeanDynamics`] gives the expected loss exactly,
//! which is what the tests compare the jobs with.

mod fleet;
mod job;
mod judge;
mod limits;
mod mean;
mod memory;
mod obey;
#[cfg(test)]
mod obey_tests;
mod problem;
mod trainer;
mod writer;

pub use fleet::{Demo, DemoOptions};
pub use job::{Job, JobSpec, specs};
pub use limits::{Direction, Limits, Stability};
pub use mean::MeanDynamics;
pub use obey::{Obey, Progress, Setting};
pub use problem::{L_INF, Problem, WORDS};
pub use trainer::{Meter, Trainer, simulate};
pub use writer::{Line, MetricsWriter, Moment};
