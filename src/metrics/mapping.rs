//! Settles, from the first few hundred lines, which key plays which role and what the batch size
//! counts. Pure.

use super::FieldMap;
use super::fields::Role;
use super::keys::{KeyId, KeyInfo, Keys};
use super::parse::Hit;
use super::presets::{PRESETS, Preset};

/// A key that is logged this many times as seldom as another one of its role comes after it.
const RARE: usize = 32;
/// A batch size from here on counts tokens rather than sequences.
const LARGE: f64 = 16384.0;

/// The values of one line, kept until the mapping is settled.
#[derive(Debug, Clone)]
pub struct Sampled {
    pub line: u64,
    pub hits: Vec<Hit>,
    /// A metric line; false: a setting that only later lines inherit.
    pub metric: bool,
}

/// What the batch size counts, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Tokens,
    Sequences,
    /// Nothing in the log tells; the words say what was assumed.
    AssumedTokens,
    AssumedSequences,
}

/// Who plays which role.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    /// By key.
    role: Vec<Option<Role>>,
    /// By role: the key that speaks for it.
    speaker: [Option<KeyId>; Role::COUNT],
    pub preset: Option<&'static str>,
    pub preset_note: Option<&'static str>,
    pub unit: Option<Unit>,
    /// Tokens of one sequence, where the token counter tells them and the log does not.
    pub seq_len: Option<f64>,
    /// What names the sequence length, where that is no key of the log.
    pub seq_len_elsewhere: Option<String>,
    /// Keys that could have played the part of the loss.
    pub other_losses: Vec<String>,
}

impl Mapping {
    /// From the keys seen and the sampled lines.
    pub fn settle(keys: &Keys, sample: &[Sampled]) -> Mapping {
        let preset =
            PRESETS.iter().find(|p| p.keys.iter().all(|k| keys.listed().iter().any(|l| l == k)));
        let mut m = Mapping {
            role: vec![None; keys.infos().len()],
            preset: preset.map(|p| p.name),
            preset_note: preset.and_then(|p| p.note),
            ..Mapping::default()
        };
        let mut logged = vec![0usize; keys.infos().len()];
        for hit in sample.iter().flat_map(|s| &s.hits) {
            logged[hit.key as usize] += 1;
        }
        let mut order: Vec<(u8, u16, KeyId, Role)> = Vec::new();
        let mut most = [0usize; Role::COUNT];
        for (id, info) in keys.infos().iter().enumerate() {
            let given = preset.and_then(|p| in_preset(p, &info.path));
            let tier = match (info.stated, given) {
                (true, _) => 0,
                (_, Some(_)) => 1,
                _ if info.certain => 2,
                _ => 3,
            };
            let role = if info.stated { info.role } else { given.unwrap_or(info.role) };
            most[role as usize] = most[role as usize].max(logged[id]);
            order.push((tier, info.rank, id as KeyId, role));
        }
        // A damaged line, or one of another program, must not take a role from a key that is
        // always there.
        order.sort_unstable_by_key(|&(tier, rank, id, role)| {
            let rare = logged[id as usize] == 0 || logged[id as usize] * RARE < most[role as usize];
            (tier > 0 && rare, tier, rank, id)
        });
        for (_, _, id, role) in order {
            m.offer(keys, id, role);
        }
        m.other_losses = m.rivals(keys, sample);
        m.per_step_counter(sample);
        let length = m.speaks(Role::SeqLen).map(|id| &keys.infos()[id as usize]);
        m.seq_len_elsewhere = length.filter(|k| k.is_elsewhere()).map(|k| k.path.clone());
        m.batch_unit(sample);
        m
    }

    fn offer(&mut self, keys: &Keys, id: KeyId, role: Role) {
        let info = &keys.infos()[id as usize];
        let speaker = &mut self.speaker[role as usize];
        match *speaker {
            None => *speaker = Some(id),
            // A certain key speaks beside others of its kind, never against the user.
            Some(first) if info.certain && !keys.infos()[first as usize].stated => {}
            Some(_) => return,
        }
        self.role[id as usize] = Some(role);
    }

    /// Keys that could be the training loss as well: logged about as often, with a name as good.
    fn rivals(&self, keys: &Keys, sample: &[Sampled]) -> Vec<String> {
        let Some(loss) = self.speaks(Role::Loss) else { return Vec::new() };
        let logged =
            |id: KeyId| sample.iter().filter(|s| s.hits.iter().any(|h| h.key == id)).count();
        let often = logged(loss).div_ceil(2);
        let rival = |(id, info): &(usize, &KeyInfo)| {
            let id = *id as KeyId;
            info.role == Role::Loss
                && !info.looks_like()
                && self.role(id).is_none()
                && logged(id) >= often
        };
        keys.infos()
            .iter()
            .enumerate()
            .filter(rival)
            .take(8)
            .map(|(_, info)| info.path.clone())
            .collect()
    }

    /// Takes in keys that appeared after the settlement, where their role is still free.
    pub fn extend(&mut self, keys: &Keys) {
        for id in self.role.len()..keys.infos().len() {
            self.role.push(None);
            let role = keys.infos()[id].role;
            self.offer(keys, id as KeyId, role);
        }
    }

    /// The unit of a batch size that first appeared after the settlement.
    /// `tokens_per_step`: as measured on the latest records.
    pub fn late_unit(&mut self, batch: f64, tokens_per_step: Option<f64>) {
        if self.unit.is_none() {
            let ratio = tokens_per_step.map(|t| t / batch);
            self.unit = Some(match ratio {
                Some(r) if (r - 1.0).abs() < 0.05 => Unit::Tokens,
                Some(r) if r > 1.9 => Unit::Sequences,
                _ if batch >= LARGE => Unit::AssumedTokens,
                _ => Unit::AssumedSequences,
            });
        }
    }

    pub fn role(&self, key: KeyId) -> Option<Role> {
        self.role.get(key as usize).copied().flatten()
    }

    pub fn known_keys(&self) -> usize {
        self.role.len()
    }

    pub fn speaks(&self, role: Role) -> Option<KeyId> {
        self.speaker[role as usize]
    }

    /// Would a record made under `self` differ from one made under `later`?
    pub fn differs(&self, later: &Mapping) -> bool {
        // A key without a role may have been passed over, too.
        let changed = self.role.iter().zip(&later.role).any(|(a, b)| a != b);
        changed || (self.unit.is_some() && self.unit != later.unit) || self.seq_len != later.seq_len
    }

    pub fn fields(&self, keys: &Keys) -> FieldMap {
        let key = |role: Role| self.speaks(role).map(|id| keys.infos()[id as usize].path.clone());
        FieldMap {
            step: key(Role::Step),
            loss: key(Role::Loss),
            val_loss: key(Role::ValLoss),
            tokens: key(Role::Tokens)
                .or_else(|| key(Role::TokensPerStep))
                .or_else(|| key(Role::Samples)),
            batch_size: key(Role::BatchTokens)
                .or_else(|| key(Role::BatchSequences))
                .or_else(|| key(Role::BatchSize))
                .or_else(|| key(Role::MicroBatch)),
            lr: key(Role::Lr),
            time: key(Role::Time),
        }
    }

    /// What the batch size key counts, in words.
    pub fn unit_name(&self) -> Option<&'static str> {
        if self.speaks(Role::BatchTokens).is_some() {
            return Some("tokens");
        }
        if self.speaks(Role::BatchSequences).is_some() {
            return Some("sequences");
        }
        match (self.speaks(Role::BatchSize), self.unit) {
            (Some(_), Some(Unit::Tokens | Unit::AssumedTokens)) => Some("tokens"),
            (Some(_), Some(Unit::Sequences | Unit::AssumedSequences)) => Some("sequences"),
            _ => self.speaks(Role::MicroBatch).map(|_| "micro-batch sequences"),
        }
    }

    /// A key called `tokens` that does not grow, or falls while the steps go on, counts the tokens
    /// of one step.
    fn per_step_counter(&mut self, sample: &[Sampled]) {
        let (Some(key), None) = (self.speaks(Role::Tokens), self.speaks(Role::TokensPerStep))
        else {
            return;
        };
        let points = self.pairs(sample, key);
        let (mut up, mut flat) = (0, 0);
        for w in points.windows(2) {
            if w[1].0 > w[0].0 {
                if w[1].1 > w[0].1 { up += 1 } else { flat += 1 }
            }
        }
        if flat >= 3 && flat * 4 > up {
            self.speaker[Role::Tokens as usize] = None;
            self.speaker[Role::TokensPerStep as usize] = Some(key);
            self.role[key as usize] = Some(Role::TokensPerStep);
        }
    }

    fn value(&self, s: &Sampled, role: Role) -> Option<f64> {
        s.hits.iter().find(|h| self.role(h.key) == Some(role)).map(|h| h.value)
    }

    /// (step, value of `key`) of the lines that have both.
    fn pairs(&self, sample: &[Sampled], key: KeyId) -> Vec<(f64, f64)> {
        let both = |s: &Sampled| {
            let step = self.value(s, Role::Step)?;
            s.hits.iter().find(|h| h.key == key).map(|h| (step, h.value))
        };
        sample.iter().filter_map(both).collect()
    }

    fn batch_unit(&mut self, sample: &[Sampled]) {
        let Some(key) = self.speaks(Role::BatchSize) else { return };
        let batches = self.pairs(sample, key);
        let Some(&(_, first)) = batches.first() else { return };
        let per_batch = self.tokens_per_batch(sample, key);
        let length = self.speaks(Role::SeqLen);
        let elsewhere = self.seq_len_elsewhere.is_some();
        let logged_length = length.is_some() && !elsewhere;
        // Another file's word is not taken for a batch that may well count tokens.
        let sequences = logged_length || (elsewhere && first < LARGE);
        self.unit = Some(match per_batch {
            Some(r) if (r - 1.0).abs() < 0.05 => Unit::Tokens,
            Some(r) if r > 1.9 => {
                if !logged_length && (r - r.round()).abs() < 0.01 * r {
                    self.seq_len = Some(r.round());
                    // Measured; another file's word counts no more.
                    if let Some(key) = length {
                        self.speaker[Role::SeqLen as usize] = None;
                        self.role[key as usize] = None;
                        self.seq_len_elsewhere = None;
                    }
                }
                Unit::Sequences
            }
            _ if sequences || self.grows_by(sample, Role::Samples, first) => Unit::Sequences,
            _ if first >= LARGE => Unit::AssumedTokens,
            _ => Unit::AssumedSequences,
        });
    }

    /// Does the counter grow by `batch` a step?
    fn grows_by(&self, sample: &[Sampled], role: Role, batch: f64) -> bool {
        let Some(key) = self.speaks(role) else { return false };
        median(rates(&self.pairs(sample, key))).is_some_and(|r| (r / batch - 1.0).abs() < 0.05)
    }

    /// Tokens of a step over the batch size, as the counters show it.
    fn tokens_per_batch(&self, sample: &[Sampled], key: KeyId) -> Option<f64> {
        let batch = |s: &Sampled| {
            s.hits.iter().find(|h| h.key == key).map(|h| h.value).filter(|b| *b > 0.0)
        };
        if self.speaks(Role::TokensPerStep).is_some() {
            let ratio = |s: &Sampled| Some(self.value(s, Role::TokensPerStep)? / batch(s)?);
            if let Some(r) = median(sample.iter().filter_map(ratio).collect()) {
                return Some(r);
            }
        }
        self.speaks(Role::Tokens)?;
        let points: Vec<(f64, f64, f64)> = sample
            .iter()
            .filter_map(|s| {
                Some((self.value(s, Role::Step)?, self.value(s, Role::Tokens)?, batch(s)?))
            })
            .collect();
        let ratios = points
            .windows(2)
            .filter(|w| w[1].0 > w[0].0 && w[1].1 > w[0].1)
            .map(|w| (w[1].1 - w[0].1) / (w[1].0 - w[0].0) / w[1].2)
            .collect();
        median(ratios)
            .or_else(|| points.first().filter(|p| p.0 > 0.0 && p.1 > 0.0).map(|p| p.1 / p.0 / p.2))
    }
}

fn rates(points: &[(f64, f64)]) -> Vec<f64> {
    points
        .windows(2)
        .filter(|w| w[1].0 > w[0].0)
        .map(|w| (w[1].1 - w[0].1) / (w[1].0 - w[0].0))
        .collect()
}

fn median(mut x: Vec<f64>) -> Option<f64> {
    x.retain(|v| v.is_finite());
    x.sort_unstable_by(f64::total_cmp);
    x.get(x.len() / 2).copied()
}

fn in_preset(preset: &Preset, key: &str) -> Option<Role> {
    preset.roles.iter().find(|(_, k)| *k == key).map(|(role, _)| *role)
}
