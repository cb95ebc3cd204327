//! Which key plays which role, and why. Pure.
//!
//! Every key is judged once, when it is first seen, by its name ([`classify`]); among the keys
//! that could play a role a statement of the user comes first, then the preset of the trainer,
//! then the better-known name.

/// What a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    Step,
    Loss,
    ValLoss,
    Lr,
    Tokens,
    TokensPerStep,
    Samples,
    /// A batch size whose unit the data must tell.
    BatchSize,
    BatchTokens,
    BatchSequences,
    MicroBatch,
    GradAccum,
    DataParallel,
    SeqLen,
    Time,
    TokensPerSecond,
    ControlRevision,
    RunName,
}

/// Every role under the name that `--field` and the configuration use.
pub const ROLES: [(Role, &str); 18] = [
    (Role::Step, "step"),
    (Role::Loss, "loss"),
    (Role::ValLoss, "val_loss"),
    (Role::Lr, "lr"),
    (Role::Tokens, "tokens"),
    (Role::TokensPerStep, "tokens_per_step"),
    (Role::Samples, "samples"),
    (Role::BatchSize, "batch_size"),
    (Role::BatchTokens, "batch_tokens"),
    (Role::BatchSequences, "batch_sequences"),
    (Role::MicroBatch, "micro_batch"),
    (Role::GradAccum, "grad_accum"),
    (Role::DataParallel, "data_parallel"),
    (Role::SeqLen, "seq_len"),
    (Role::Time, "time"),
    (Role::TokensPerSecond, "tokens_per_second"),
    (Role::ControlRevision, "control_revision"),
    (Role::RunName, "run"),
];

impl Role {
    pub const COUNT: usize = ROLES.len();

    pub fn from_name(name: &str) -> Option<Role> {
        ROLES.iter().find(|(_, n)| *n == name).map(|(r, _)| *r)
    }

    pub fn name(self) -> &'static str {
        ROLES[self as usize].1
    }
}

/// A role that a key's name makes it fit for; a lower rank fits better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    pub rank: u16,
    pub role: Role,
}

/// Known names of each role, the best first. Compared after [`normal`], against the whole key
/// and against its last part.
const NAMES: &[(Role, &[&str])] = &[
    (
        Role::Step,
        &[
            "step",
            "global_step",
            "trainer/global_step",
            "global_step/max_steps",
            "iteration",
            "current_steps",
            "train/global_step",
            "training/global_step",
            "train/step",
            "num_updates",
            "iter",
            "current_step",
            "steps",
            "optimizer_step",
            "update_step",
            "n_iter",
            "_step",
            "time/batch",
            "batch_idx",
        ],
    ),
    (
        Role::Loss,
        &[
            "loss",
            "lm_loss",
            "train_loss",
            "train/loss",
            "training_loss",
            "train/lm_loss",
            "loss/out",
            "learning/loss",
            "metrics/train/loss",
            "metrics/loss",
            "ce_loss",
            "cross_entropy_loss",
            "cross_entropy",
            "crossentropyloss",
            "nll_loss",
            "nll",
            "loss/train/total",
            "reduced_train_loss",
            "global_avg_loss",
            "loss_metrics/global_avg_loss",
            "trl",
            "total_loss",
        ],
    ),
    (
        Role::ValLoss,
        &[
            "val_loss",
            "eval_loss",
            "validation_loss",
            "valid_loss",
            "val/loss",
            "eval/loss",
            "validation/loss",
            "valid/loss",
            "dev_loss",
            "val_lm_loss",
            "eval/lm_loss",
            "loss/val",
            "loss/eval",
            "test_loss",
            "tel",
        ],
    ),
    (
        Role::Lr,
        &[
            "lr",
            "learning_rate",
            "optim/lr",
            "optim/learning_rate",
            "train/lr",
            "train/learning_rate",
            "current_learning_rate",
            "actor/lr",
            "learning_rate_group0",
            "current_lr",
            "lr_0",
            "lr/group_0",
        ],
    ),
    (
        Role::Tokens,
        &[
            "tokens",
            "total_tokens",
            "consumed_tokens",
            "num_consumed_tokens",
            "tokens_seen",
            "num_input_tokens_seen",
            "total_tokens_seen",
            "seen_tokens",
            "train_tokens",
            "cumulative_tokens",
            "tokens_consumed",
            "processed_tokens",
            "n_tokens_seen",
            "ntokens_seen",
            "time/token",
            "num_tokens",
            "n_tokens",
            "tokens_so_far",
            "tokens_total",
            "tokens_processed",
        ],
    ),
    (
        Role::TokensPerStep,
        &[
            "tokens_per_step",
            "num_tokens_per_step",
            "wpb",
            "tokens_this_step",
            "tokens_in_step",
            "step_tokens",
        ],
    ),
    (
        Role::Samples,
        &[
            "samples",
            "consumed_samples",
            "samples_count",
            "samples_seen",
            "num_samples",
            "total_samples",
            "train_samples",
            "sequences_seen",
            "consumed_sequences",
            "time/sample",
        ],
    ),
    (
        Role::BatchSize,
        &[
            "batch_size",
            "global_batch_size",
            "gloabl_batch_size",
            "total_batch_size",
            "effective_batch_size",
            "bsz",
            "gbs",
            "train_batch_size",
        ],
    ),
    (
        Role::BatchTokens,
        &[
            "batch_tokens",
            "batch_size_tokens",
            "batch_size_in_tokens",
            "global_batch_tokens",
            "global_batch_size_tokens",
            "global_batch_size_in_tokens",
            "tokens_per_batch",
            "tokens_per_gbs",
        ],
    ),
    (
        Role::BatchSequences,
        &[
            "batch_sequences",
            "batch_size_sequences",
            "global_batch_size_sequences",
            "sequences_per_step",
        ],
    ),
    (
        Role::MicroBatch,
        &[
            "micro_batch_size",
            "micro_batch",
            "per_device_train_batch_size",
            "device_batch_size",
            "mbs",
            "local_batch_size",
            "per_device_batch_size",
            "train_micro_batch_size_per_gpu",
        ],
    ),
    (
        Role::GradAccum,
        &[
            "gradient_accumulation_steps",
            "grad_accum",
            "grad_accum_steps",
            "gradient_accumulation",
            "accumulation_steps",
            "accum_steps",
            "num_microbatches",
        ],
    ),
    (
        Role::DataParallel,
        &["data_parallel_size", "data_parallel", "dp_size", "dp_degree", "dp_world_size"],
    ),
    (
        Role::SeqLen,
        &[
            "seq_len",
            "seq_length",
            "sequence_length",
            "max_seq_len",
            "max_seq_length",
            "max_sequence_length",
            "context_length",
            "block_size",
            "actual_seqlen",
            "seqlen",
            "max_target_length",
            "n_ctx",
        ],
    ),
    (
        Role::Time,
        &[
            "time",
            "timestamp",
            "_timestamp",
            "created_at",
            "wall_time",
            "time_unix",
            "unix_time",
            "datetime",
            "date",
            "time_ms",
            "ts",
            "wallclock",
        ],
    ),
    (
        Role::TokensPerSecond,
        &[
            "tokens_per_second",
            "tokens_per_sec",
            "tps",
            "wps",
            "tokens/s",
            "tok/s",
            "throughput/tokens_per_second",
        ],
    ),
    (Role::ControlRevision, &["control_revision"]),
    (Role::RunName, &["run", "run_name"]),
];

/// Ranks from here on: only the last part of the key fits.
const LAST_PART: u16 = 100;
/// Ranks from here on: the name merely looks like it.
pub const LOOKS_LIKE: u16 = 1000;

/// Lower case; blanks, dashes and parentheses as `_`, dots as `/`.
pub fn normal(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for c in key.chars() {
        match c {
            '.' => out.push('/'),
            ' ' | '-' | '(' | ')' => {
                if !out.ends_with('_') && !out.is_empty() {
                    out.push('_');
                }
            }
            _ => out.extend(c.to_lowercase()),
        }
    }
    while out.ends_with('_') {
        out.pop();
    }
    out
}

/// Parts of the name that say: held-out data.
fn is_held_out(word: &str) -> bool {
    matches!(
        word,
        "val"
            | "valid"
            | "validation"
            | "eval"
            | "evaluation"
            | "test"
            | "dev"
            | "heldout"
            | "holdout"
    )
}

/// Losses that are not the language-model loss.
const OTHER_LOSSES: &[&str] = &[
    "scale",
    "aux",
    "kl",
    "pg",
    "vf",
    "value",
    "z",
    "moe",
    "balance",
    "balancing",
    "router",
    "reg",
    "mask",
    "cls",
    "box",
    "rpn",
    "ponder",
    "distill",
    "budget",
    "exit",
    "conv",
    "entropy",
    "actor",
    "critic",
    "policy",
    "reward",
    "min",
    "max",
    "std",
    "num",
    "count",
    "weight",
    "coef",
    "ppl",
    "perplexity",
    "best",
    "final",
    "delta",
    "spike",
];

/// The role that a key (flattened, parts joined by `/`) is fit for by its name.
pub fn classify(key: &str) -> Option<Candidate> {
    let name = normal(key);
    known_name(&name).or_else(|| looks_like(&name))
}

fn known_name(name: &str) -> Option<Candidate> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let held_out = words(name).any(is_held_out);
    let fit = |(role, names): &(Role, &[&str])| {
        if let Some(i) = names.iter().position(|n| *n == name) {
            return Some(Candidate { rank: i as u16, role: *role });
        }
        let i = names.iter().position(|n| *n == last).filter(|_| name.len() != last.len())?;
        let fits = *role != Role::RunName && (!held_out || *role == Role::ValLoss);
        fits.then_some(Candidate { rank: LAST_PART + i as u16, role: *role })
    };
    NAMES.iter().filter_map(fit).min()
}

fn looks_like(name: &str) -> Option<Candidate> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let held_out = words(name).any(is_held_out);
    let other = words(name).any(|w| OTHER_LOSSES.contains(&w));
    if last.contains("loss") && (held_out || !other) {
        // Several validation sets are usual; the plainest name of a language-model loss speaks.
        let penalty = if other { 2000 } else { 0 } + if name.contains("lm") { 0 } else { 100 };
        let rank = LOOKS_LIKE + penalty + words(name).count().min(50) as u16;
        return Some(Candidate { rank, role: if held_out { Role::ValLoss } else { Role::Loss } });
    }
    let lr = !held_out && (last.starts_with("lr_") || last.starts_with("learning_rate"));
    lr.then_some(Candidate { rank: LOOKS_LIKE, role: Role::Lr })
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(['/', '_']).filter(|w| !w.is_empty())
}

/// Do these two spellings name the same key? `optim.lr`, `optim/lr`.
pub fn same_key(a: &str, b: &str) -> bool {
    a == b
        || (a.len() == b.len()
            && a.bytes().zip(b.bytes()).all(|(x, y)| x == y || (is_joint(x) && is_joint(y))))
}

fn is_joint(b: u8) -> bool {
    matches!(b, b'.' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(key: &str) -> Option<Role> {
        classify(key).map(|c| c.role)
    }

    #[test]
    fn roles_stand_at_their_own_index() {
        for (i, (role, name)) in ROLES.iter().enumerate() {
            assert_eq!(*role as usize, i, "{name}");
            assert_eq!(Role::from_name(name), Some(*role));
        }
    }

    #[test]
    fn names_find_their_roles() {
        for (key, want) in [
            ("step", Role::Step),
            ("global_step/max_steps", Role::Step),
            ("lm loss", Role::Loss),
            ("metrics/train/loss", Role::Loss),
            ("loss/out", Role::Loss),
            ("eval/paloma/loss", Role::ValLoss),
            ("val_no_ponder_lm_loss", Role::ValLoss),
            ("eval_wikitext_loss", Role::ValLoss),
            ("learning rate", Role::Lr),
            ("learning/current_learning_rate", Role::Lr),
            ("optim.lr", Role::Lr),
            ("gloabl batch size", Role::BatchSize),
            ("hparams/trainer/train_batch_size", Role::BatchSize),
            ("consumed samples", Role::Samples),
            ("num_tokens_per_step", Role::TokensPerStep),
            ("actual seqlen", Role::SeqLen),
            ("created_at", Role::Time),
        ] {
            assert_eq!(role(key), Some(want), "{key}");
        }
        for key in [
            "loss_scale",
            "data/actor/pg_loss",
            "moe_aux_loss",
            "grad_norm",
            "total_steps",
            "loss scale",
        ] {
            assert_eq!(role(key), None, "{key}");
        }
    }

    #[test]
    fn the_plainer_name_ranks_better() {
        let rank = |k: &str| classify(k).unwrap().rank;
        assert!(rank("loss") < rank("train_loss"));
        assert!(rank("val_loss") < rank("val_no_ponder_lm_loss"));
        assert!(rank("val_lm_loss") < rank("val_no_ponder_lm_loss"));
        assert!(rank("val_no_ponder_lm_loss") <= rank("val_no_ponder_loss"));
        assert!(rank("global_step") < rank("_step"));
    }

    #[test]
    fn dots_and_slashes_are_one_joint() {
        assert!(same_key("optim.lr", "optim/lr"));
        assert!(!same_key("optim_lr", "optim/lr"));
    }
}
