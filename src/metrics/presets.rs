//! One row per known trainer: data only. A row is chosen by keys (JSON) or by words (console).

use super::fields::Role;

/// A JSON-lines trainer.
#[derive(Debug)]
pub struct Preset {
    pub name: &'static str,
    /// All of these keys were seen.
    pub keys: &'static [&'static str],
    /// Roles that this trainer's keys play, where the names alone do not say it.
    pub roles: &'static [(Role, &'static str)],
    /// What a person should know about this trainer's numbers.
    pub note: Option<&'static str>,
}

const fn row(
    name: &'static str,
    keys: &'static [&'static str],
    roles: &'static [(Role, &'static str)],
) -> Preset {
    Preset { name, keys, roles, note: None }
}

/// The first row whose keys were all seen counts, so the more particular come first.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "lingua",
        keys: &["loss/out", "optim/total_tokens"],
        roles: &[
            (Role::Step, "global_step"),
            (Role::Loss, "loss/out"),
            (Role::Tokens, "optim/total_tokens"),
            (Role::Lr, "optim/lr"),
        ],
        note: Some(
            "this trainer computes its total tokens from the present batch size, so its counter jumps when the batch changes",
        ),
    },
    row(
        "ms-swift",
        &["global_step/max_steps"],
        &[(Role::Step, "global_step/max_steps"), (Role::Loss, "loss")],
    ),
    row(
        "llamafactory",
        &["current_steps", "total_steps"],
        &[(Role::Step, "current_steps"), (Role::Loss, "loss")],
    ),
    row("maxtext", &["learning/loss"], &[(Role::Loss, "learning/loss"), (Role::Step, "step")]),
    row(
        "nemo-automodel",
        &["num_tokens_per_step", "tps_per_gpu"],
        &[(Role::TokensPerSecond, "tps")],
    ),
    row(
        "levanter",
        &["tracker", "event"],
        &[
            (Role::Loss, "metrics/train/loss"),
            (Role::ValLoss, "metrics/eval/loss"),
            (Role::BatchSequences, "hparams/trainer/train_batch_size"),
        ],
    ),
    row("trackio", &["log_id", "kind"], &[]),
    row("verl", &["data/training/global_step"], &[(Role::Step, "step")]),
    row("torchtune", &["tokens_per_second_per_gpu"], &[]),
    row(
        "torchtitan",
        &["event_name", "relative_step"],
        &[(Role::Loss, "loss_metrics/global_avg_loss"), (Role::Time, "time_us")],
    ),
    row(
        "torchtitan",
        &["loss_metrics/global_avg_loss"],
        &[(Role::Loss, "loss_metrics/global_avg_loss")],
    ),
    Preset {
        name: "fairseq",
        keys: &["num_updates", "wpb"],
        roles: &[
            (Role::Step, "num_updates"),
            (Role::BatchSequences, "bsz"),
            (Role::TokensPerStep, "wpb"),
        ],
        note: Some("this trainer logs its loss in bits; say --loss-in-bits to convert it to nats"),
    },
    row("detectron2", &["data_time", "iteration"], &[]),
    row(
        "olmo-core",
        &["train/CE loss", "throughput/total tokens"],
        &[
            (Role::Loss, "train/CE loss"),
            (Role::Tokens, "throughput/total tokens"),
            (Role::Lr, "optim/LR (group 0)"),
        ],
    ),
    row(
        "composer",
        &["loss/train/total", "time/batch"],
        &[
            (Role::Loss, "loss/train/total"),
            (Role::Step, "time/batch"),
            (Role::Tokens, "time/token"),
        ],
    ),
    row("wandb", &["_step", "_timestamp"], &[]),
    row("wandb", &["_step", "_runtime"], &[]),
    row(
        "hf-trainer",
        &["epoch", "learning_rate", "loss"],
        &[(Role::Loss, "loss"), (Role::Lr, "learning_rate")],
    ),
    row("boptop", &["step", "tokens", "batch_size", "loss"], &[]),
];

/// The role that some preset gives to a key whose name does not tell it.
pub fn role_of(key: &str) -> Option<Role> {
    PRESETS.iter().flat_map(|p| p.roles).find(|(_, k)| *k == key).map(|(role, _)| *role)
}

/// How the fields of a console line are parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parted {
    /// `a: 1 | b: 2`
    Bar,
    /// `a: 1, b: 2`
    Comma,
    /// `a: 1 b: 2` or `a=1 b=2`
    Blank,
}

/// A console log: which lines carry metrics, and how.
#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    /// All of these stand in the line.
    pub words: &'static [&'static str],
    /// Fields begin here.
    pub from: &'static str,
    /// `from` is the beginning of the line.
    pub at_start: bool,
    pub parted: Parted,
    /// Between a key and its value.
    pub joint: u8,
    pub roles: &'static [(Role, &'static str)],
}

/// The first row whose words all stand in the line counts.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "nanotron",
        words: &["iteration:", "lm_loss:", "|"],
        from: "iteration:",
        at_start: false,
        parted: Parted::Bar,
        joint: b':',
        roles: &[
            (Role::Step, "iteration"),
            (Role::Loss, "lm_loss"),
            (Role::Tokens, "consumed_tokens"),
            (Role::BatchTokens, "global_batch_size"),
        ],
    },
    Shape {
        name: "megatron",
        words: &["validation loss at iteration", "lm loss value:"],
        from: "iteration",
        at_start: false,
        parted: Parted::Bar,
        joint: b':',
        roles: &[(Role::Step, "iteration"), (Role::ValLoss, "lm loss value")],
    },
    Shape {
        name: "megatron",
        words: &["iteration", "learning rate:", "|"],
        from: "iteration",
        at_start: false,
        parted: Parted::Bar,
        joint: b':',
        roles: &[
            (Role::Step, "iteration"),
            (Role::Loss, "lm loss"),
            (Role::Lr, "learning rate"),
            (Role::Samples, "consumed samples"),
            (Role::Tokens, "consumed tokens"),
            (Role::BatchSequences, "global batch size"),
            (Role::BatchSequences, "gloabl batch size"),
        ],
    },
    Shape {
        name: "maxtext",
        words: &["completed step:", "loss:"],
        from: "completed step:",
        at_start: false,
        parted: Parted::Comma,
        joint: b':',
        roles: &[(Role::Step, "completed step"), (Role::Loss, "loss")],
    },
    Shape {
        name: "internevo",
        words: &["step=", "loss=", "num_consumed_tokens="],
        from: "step=",
        at_start: false,
        parted: Parted::Blank,
        joint: b'=',
        roles: &[(Role::Step, "step"), (Role::Loss, "loss"), (Role::Tokens, "num_consumed_tokens")],
    },
    Shape {
        name: "llm.c",
        words: &["s:"],
        from: "s:",
        at_start: true,
        parted: Parted::Blank,
        joint: b':',
        roles: &[(Role::Step, "s"), (Role::Loss, "trl"), (Role::ValLoss, "tel")],
    },
    Shape {
        name: "llm.c",
        words: &["step", "| loss ", "| lr "],
        from: "step",
        at_start: true,
        parted: Parted::Bar,
        joint: b':',
        roles: &[(Role::Step, "step"), (Role::Loss, "loss"), (Role::Lr, "lr")],
    },
    Shape {
        name: "llm.c",
        words: &["val loss "],
        from: "val loss ",
        at_start: true,
        parted: Parted::Bar,
        joint: b':',
        roles: &[(Role::ValLoss, "val loss")],
    },
    Shape {
        name: "torchtitan",
        words: &["step:", "loss:", "grad_norm:"],
        from: "step:",
        at_start: false,
        parted: Parted::Blank,
        joint: b':',
        roles: &[(Role::Step, "step"), (Role::Loss, "loss")],
    },
];

/// Names and notes of console logs that are read without a row of their own; the last one names all
/// others.
pub const DIALECTS: &[Dialect] = &[
    Dialect {
        name: "fairseq",
        words: &["num_updates", "ppl"],
        note: Some("this trainer logs its loss in bits; say --loss-in-bits to convert it to nats"),
    },
    Dialect { name: "nemo", words: &["global_step:", "reduced_train_loss:"], note: None },
    Dialect { name: "torchtitan", words: &["validate step:", "tps:"], note: None },
    Dialect { name: "maxtext", words: &["eval metrics after step:"], note: None },
    Dialect { name: "megatron", words: &["validation results at iteration"], note: None },
    Dialect { name: "nanogpt", words: &["iter ", ": loss ", "mfu"], note: None },
    Dialect { name: "torchtune", words: &["Step ", " | loss:"], note: None },
    Dialect { name: "picotron", words: &["Step:", "| Loss:", "| Tokens:"], note: None },
    Dialect { name: "key-value", words: &[], note: None },
];

/// A console log that `general` reads.
#[derive(Debug)]
pub struct Dialect {
    pub name: &'static str,
    /// All of these stand in the line.
    pub words: &'static [&'static str],
    /// What a person should know about this trainer's numbers.
    pub note: Option<&'static str>,
}

/// Settings that console preambles state once (`SEQUENCE LENGTH: 4096`,
/// `seq_length ........ 4096`), compared in the normal spelling of keys.
pub const SETTINGS: &[(&str, Role)] = &[
    ("sequence_length", Role::SeqLen),
    ("seq_length", Role::SeqLen),
    ("seq_len", Role::SeqLen),
    ("max_target_length", Role::SeqLen),
    ("micro_batch_size", Role::MicroBatch),
    ("local_batch_size", Role::MicroBatch),
    ("per_device_train_batch_size", Role::MicroBatch),
    ("per_device_batch_size", Role::MicroBatch),
    ("instantaneous_batch_size_per_device", Role::MicroBatch),
    ("global_batch_size", Role::BatchSequences),
    ("global_batch_size_to_train_on", Role::BatchSequences),
    ("gradient_accumulation_steps", Role::GradAccum),
    ("data_parallel_size", Role::DataParallel),
    ("tokens_per_iteration_will_be", Role::BatchTokens),
];
