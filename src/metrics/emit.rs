//! Named values to records: the first lines are kept until the mapping of keys to roles is
//! settled; settings and batch sizes hold for the records that follow them.

use super::fields::Role;
use super::keys::Keys;
use super::mapping::{Mapping, Sampled, Unit};
use super::parse::Hit;
use super::{Input, Record};
use std::f64::consts::LN_2;

/// Lines that are kept to settle the mapping.
const SAMPLE: usize = 256;
/// Restarts that are remembered.
const MAX_RESTARTS: usize = 1000;

/// Makes records.
#[derive(Debug, Clone, Default)]
pub struct Emitter {
    pub mapping: Mapping,
    settled: bool,
    sample: Vec<Sampled>,
    /// How many of `sample` were handed out, under the present mapping.
    emitted: usize,
    /// Keys that had been seen then: what names a trainer may come on lines without values.
    listed: usize,
    loss_in_bits: bool,
    sticky: Record,
    /// A sticky value was set by a line of its own.
    pub records: u64,
    pub restarts: Vec<f64>,
    anew: bool,
    last_train: Option<f64>,
    last_validation: Option<f64>,
    /// Step and tokens of the last two records that had both.
    counters: [Option<(f64, f64)>; 2],
    /// Losses that were NaN or infinite.
    pub non_finite: u64,
    /// The log says that the training is over, and no loss of it came since.
    pub ended: bool,
}

impl Emitter {
    pub fn new(loss_in_bits: bool) -> Self {
        Emitter { loss_in_bits, ..Emitter::default() }
    }

    /// Takes what one line said.
    pub fn accept(
        &mut self,
        keys: &Keys,
        line: u64,
        hits: &[Hit],
        metric: bool,
        out: &mut Vec<Input>,
    ) {
        if self.settled {
            if keys.infos().len() > self.mapping.known_keys() {
                self.mapping.extend(keys);
            }
            self.convert(line, hits, metric, out);
            return;
        }
        if hits.is_empty() {
            return;
        }
        self.sample.push(Sampled { line, hits: hits.to_vec(), metric });
        if self.sample.len() >= SAMPLE {
            self.flush(keys, out);
            self.settled = true;
            self.sample = Vec::new();
        }
    }

    /// Hands out what was kept. Where the mapping turned out otherwise than it seemed at an
    /// earlier call, everything is handed out again behind [`Input::Replaced`].
    pub fn flush(&mut self, keys: &Keys, out: &mut Vec<Input>) {
        let listed = keys.listed().len();
        let same = self.emitted == self.sample.len() && self.listed == listed;
        if self.settled || self.sample.is_empty() || same {
            return;
        }
        let new = Mapping::settle(keys, &self.sample);
        if self.emitted > 0 && self.mapping.differs(&new) {
            out.push(Input::Replaced);
            let loss_in_bits = self.loss_in_bits;
            let sample = std::mem::take(&mut self.sample);
            *self = Emitter { sample, loss_in_bits, ..Emitter::default() };
        }
        (self.mapping, self.listed) = (new, listed);
        let sample = std::mem::take(&mut self.sample);
        for s in &sample[self.emitted..] {
            self.convert(s.line, &s.hits, s.metric, out);
        }
        self.emitted = sample.len();
        self.sample = sample;
    }

    /// The content starts anew.
    pub fn restarted(&mut self) {
        self.anew = self.last_train.is_some() || self.last_validation.is_some();
    }

    fn convert(&mut self, line: u64, hits: &[Hit], metric: bool, out: &mut Vec<Input>) {
        let mut r = Record { line, ..self.sticky };
        let (mut says, mut ends) = (false, false);
        for hit in hits {
            if let Some(role) = self.mapping.role(hit.key) {
                says |= self.set(&mut r, role, hit.value);
                ends |= role == Role::Ended;
            }
        }
        // The line that says so may carry the mean loss of all.
        self.ended = ends || (self.ended && r.loss.is_none());
        self.sticky = Record {
            batch_tokens: r.batch_tokens,
            batch_sequences: r.batch_sequences,
            micro_batch: r.micro_batch,
            grad_accum: r.grad_accum,
            data_parallel: r.data_parallel,
            seq_len: r.seq_len,
            ..Record::default()
        };
        if !metric || !says {
            return;
        }
        if r.seq_len.is_none() {
            r.seq_len = self.mapping.seq_len;
        }
        self.watch(&r);
        self.records += 1;
        out.push(Input::Record(r));
    }

    /// True: the value says something about the training.
    fn set(&mut self, r: &mut Record, role: Role, x: f64) -> bool {
        let nats = if self.loss_in_bits { x * LN_2 } else { x };
        let place = match role {
            Role::Step => &mut r.step,
            Role::Loss => {
                r.loss = Some(nats);
                return true;
            }
            Role::ValLoss => {
                r.val_loss = Some(nats);
                return true;
            }
            Role::Lr => &mut r.lr,
            Role::Tokens => &mut r.tokens,
            Role::TokensPerStep => &mut r.tokens_per_step,
            Role::Samples => &mut r.samples,
            Role::BatchSize => return self.batch_size(r, x),
            Role::BatchTokens => &mut r.batch_tokens,
            Role::BatchSequences => &mut r.batch_sequences,
            Role::MicroBatch => &mut r.micro_batch,
            Role::GradAccum => &mut r.grad_accum,
            Role::DataParallel => &mut r.data_parallel,
            Role::SeqLen => &mut r.seq_len,
            Role::Time => {
                r.time = Some(x);
                return false;
            }
            Role::TokensPerSecond => &mut r.tokens_per_second,
            Role::ControlRevision => &mut r.control_revision,
            Role::RunName | Role::Split | Role::Ended => return false,
        };
        // A counter that is no number says nothing; a loss that is none says that it diverged.
        if x.is_finite() {
            *place = Some(x);
        }
        x.is_finite()
    }

    fn batch_size(&mut self, r: &mut Record, x: f64) -> bool {
        if !(x.is_finite() && x > 0.0) {
            return false;
        }
        if self.mapping.unit.is_none() {
            let rate = match self.counters {
                [Some(a), Some(b)] if b.0 > a.0 && b.1 > a.1 => Some((b.1 - a.1) / (b.0 - a.0)),
                _ => None,
            };
            self.mapping.late_unit(x, rate);
        }
        match self.mapping.unit {
            Some(Unit::Tokens | Unit::AssumedTokens) => r.batch_tokens = Some(x),
            _ => r.batch_sequences = Some(x),
        }
        true
    }

    /// Notes restarts and counters.
    fn watch(&mut self, r: &Record) {
        if r.loss.is_some_and(|l| !l.is_finite()) {
            self.non_finite += 1;
        }
        let Some(step) = r.step else { return };
        if let Some(tokens) = r.tokens {
            self.counters = [self.counters[1], Some((step, tokens))];
        }
        // Training and validation may be logged at steps of their own.
        let last = if r.loss.is_some() {
            &mut self.last_train
        } else if r.val_loss.is_some() {
            &mut self.last_validation
        } else {
            return;
        };
        if (last.is_some_and(|l| step < l) || self.anew) && self.restarts.len() < MAX_RESTARTS {
            self.restarts.push(step);
        }
        self.anew = false;
        *last = Some(step);
    }
}
