//! Which key plays which role, and why. Pure.
//!
//! Every key is judged once, when it is first seen, by its name ([`classify`]); among the keys
//! that could play a role a statement of the user comes first, then the preset of the trainer,
//! then the better-known name.

use super::known_names::NAMES;

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
    /// Text that tells rows about held-out data from those about training.
    Split,
    /// A number that is logged once the training is over.
    Ended,
}

/// Every role under the name that `--field` and the configuration use.
pub const ROLES: [(Role, &str); 20] = [
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
    (Role::Split, "split"),
    (Role::Ended, "ended"),
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
pub fn is_held_out(word: &str) -> bool {
    matches!(
        word,
        "val"
            | "valid"
            | "validation"
            | "validate"
            | "eval"
            | "evaluation"
            | "test"
            | "dev"
            | "heldout"
            | "holdout"
    )
}

/// Does a text name held-out data? `val`, `eval_epoch`; not `train_eval`.
pub fn names_held_out(text: &str) -> bool {
    let name = normal(text);
    words(&name).any(is_held_out) && !words(&name).any(|w| w.starts_with("train"))
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
        let text = matches!(role, Role::RunName | Role::Split);
        let fits = !text && (!held_out || *role == Role::ValLoss);
        fits.then_some(Candidate { rank: LAST_PART + i as u16, role: *role })
    };
    NAMES.iter().filter_map(fit).min()
}

fn looks_like(name: &str) -> Option<Candidate> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let held_out = words(name).any(is_held_out);
    let other = words(name).any(|w| OTHER_LOSSES.contains(&w));
    let perplexity = words(name).any(|w| matches!(w, "ppl" | "perplexity"));
    if last.contains("loss") && (held_out || !other) && !perplexity {
        // Several validation sets are usual; the plainest name of a language-model loss speaks.
        let penalty = if other { 2000 } else { 0 } + if name.contains("lm") { 0 } else { 100 };
        let rank = LOOKS_LIKE + penalty + words(name).count().min(50) as u16;
        return Some(Candidate { rank, role: if held_out { Role::ValLoss } else { Role::Loss } });
    }
    let starts = |s: &str| s.starts_with("lr_") || s.starts_with("learning_rate");
    // `lr(1e-3)` is in thousandths.
    let lr = !held_out && !name.contains("1e") && (starts(last) || starts(name));
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
            "train/lr(1e-3)",
            "eval/lm_loss_ppl value",
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
    fn held_out_data_are_told_by_a_word() {
        for text in ["val", "Validation", "eval_epoch", "test/c4"] {
            assert!(names_held_out(text), "{text}");
        }
        for text in ["train", "train_eval", "retrieval", "interval", ""] {
            assert!(!names_held_out(text), "{text}");
        }
    }

    #[test]
    fn dots_and_slashes_are_one_joint() {
        assert!(same_key("optim.lr", "optim/lr"));
        assert!(!same_key("optim_lr", "optim/lr"));
    }
}
