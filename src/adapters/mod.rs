//! What a trainer needs to obey a control file: texts that the binary prints, nothing else.

/// (name, one line, text).
const ADAPTERS: [(&str, &str, &str); 7] = [
    (
        "python",
        "the whole client in one file, standard library only: save it as boptop_control.py",
        include_str!("boptop_control.py"),
    ),
    (
        "hf",
        "a TrainerCallback for the Hugging Face Trainer, through gradient accumulation",
        include_str!("hf.py"),
    ),
    ("pytorch", "a plain PyTorch loop, one process or torchrun", include_str!("pytorch.py")),
    (
        "lightning",
        "a Callback for PyTorch Lightning, through gradient accumulation",
        include_str!("lightning.py"),
    ),
    ("jax", "a plain JAX loop with optax, one process or several", include_str!("jax.py")),
    (
        "torchtitan",
        "a hook around torchtitan's train_step, through gradient accumulation",
        include_str!("torchtitan.py"),
    ),
    (
        "megatron",
        "Megatron-LM: which flag takes the schedule, and when to restart",
        include_str!("megatron.txt"),
    ),
];

const LIST: [(&str, &str); ADAPTERS.len()] = {
    let mut list = [("", ""); ADAPTERS.len()];
    let mut i = 0;
    while i < list.len() {
        list[i] = (ADAPTERS[i].0, ADAPTERS[i].1);
        i += 1;
    }
    list
};

/// Names of the adapters, each with one line of what it is.
pub fn list() -> &'static [(&'static str, &'static str)] {
    &LIST
}

/// The text of an adapter, to be printed as it is.
pub fn text(name: &str) -> Option<&'static str> {
    ADAPTERS.iter().find(|a| a.0 == name).map(|a| a.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_adapter_says_what_it_does_to_the_learning_rate_and_to_divisibility() {
        for (name, about) in list() {
            let text = text(name).unwrap().to_lowercase();
            assert!(!about.is_empty());
            for word in ["learning rate", "multiple of"] {
                assert!(text.contains(word), "{name} says nothing of {word}");
            }
        }
        assert_eq!(text("python3"), None);
    }

    #[test]
    fn every_hook_stands_on_the_printed_core() {
        for (name, _) in list().iter().filter(|(n, _)| !["python", "megatron"].contains(n)) {
            let text = text(name).unwrap();
            assert!(text.contains("from boptop_control import Control"), "{name}");
            assert!(text.contains("boptop adapter python"), "{name}");
            assert!(text.is_ascii(), "{name}");
        }
    }

    #[test]
    fn the_core_stays_short_and_ascii() {
        let core = text("python").unwrap();
        assert!(core.lines().count() < 120);
        assert!(core.is_ascii());
    }
}
