//! What a file's name says: a metrics file, its rotated past, the validation half of a run, a
//! control file; and the name of the run. Pure.

use std::path::{Component, Path};

/// Kind of a file that may hold metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `.jsonl`, `.ndjson`
    Lines,
    /// `trainer_state.json`
    State,
    /// `.log`, `.txt`, `.out`, `.csv`: only if it reads like a console log of a trainer or a table
    Console,
    /// Any other name: only if a person named it
    Other,
}

/// A file name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// Without suffixes: `x` of `x.val.jsonl.2.gz`.
    pub base: String,
    pub kind: Kind,
    /// `x.jsonl.2`: 2, the second newest past.
    pub past: Option<u32>,
    pub validation: bool,
}

/// Words for the validation half of a run.
const VALIDATION: &[&str] = &["val", "valid", "validation", "eval"];
/// Names that say nothing about the run; its directory's name is used then.
const GENERIC: &[&str] =
    &["metrics", "train", "training", "log", "logging", "trainer_log", "history", "trainer_state"];

/// Takes a file name apart.
pub fn file_name(name: &str) -> FileName {
    let mut rest = unpacked(name);
    let mut past = None;
    if let Some((front, number)) = rest.rsplit_once('.')
        && number.len() <= 4
        && let Ok(n) = number.parse()
    {
        past = Some(n);
        rest = unpacked(front);
    }
    let (stem, kind) = if rest == "trainer_state.json" {
        ("trainer_state", Kind::State)
    } else {
        match rest.rsplit_once('.') {
            Some((s, "jsonl" | "ndjson")) => (s, Kind::Lines),
            Some((s, "log" | "txt" | "out" | "csv")) => (s, Kind::Console),
            Some((s, "json")) => (s, Kind::Other),
            _ => (rest, Kind::Other),
        }
    };
    let half = stem.rsplit_once('.').filter(|(_, word)| VALIDATION.contains(word));
    let base = half.map_or(stem, |(front, _)| front).to_string();
    let validation = half.is_some() || VALIDATION.contains(&stem);
    FileName { base, kind, past, validation }
}

fn unpacked(name: &str) -> &str {
    [".gz", ".zst"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name)
}

/// A file that boptop and the trainer talk through, never metrics.
pub fn is_control(name: &str) -> bool {
    [".control.json", ".control.ack.jsonl", ".control.log.jsonl", ".control.d"]
        .iter()
        .any(|s| name.ends_with(s))
        || name == "control.json"
}

pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Does `part` belong to the run of `main` (both in one directory)?
pub fn belongs(main: &FileName, part: &FileName) -> bool {
    if main.validation || main.past.is_some() {
        return false;
    }
    let joins = part.base == main.base
        || (part.validation
            && VALIDATION.contains(&part.base.as_str())
            && matches!(main.base.as_str(), "train" | "training" | "metrics"));
    joins && part.kind == main.kind && (part.past.is_some() || part.validation)
}

/// Names that a run may have, the shortest first; each later one has one directory more.
/// `path` is absolute.
pub fn candidates(path: &Path) -> Vec<String> {
    let parts: Vec<&str> = path
        .components()
        .filter_map(|c| match c {
            Component::Normal(p) => p.to_str(),
            _ => None,
        })
        .collect();
    let Some((file, dirs)) = parts.split_last() else { return vec!["run".into()] };
    let base = file_name(file).base;
    let mut dirs = dirs.to_vec();
    let mut name = base.clone();
    if GENERIC.contains(&base.as_str()) {
        // A checkpoint's copy of the state belongs to the run above it.
        while dirs.last().is_some_and(|d| d.starts_with("checkpoint-")) {
            dirs.pop();
        }
        if let Some(dir) = dirs.pop() {
            name = dir.to_string();
        }
    }
    let mut out = vec![name.clone()];
    while let Some(dir) = dirs.pop() {
        name = format!("{dir}/{name}");
        out.push(name.clone());
    }
    // One directory may hold several generic names.
    if let Some(last) = out.last() {
        out.push(format!("{last}/{file}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f(name: &str) -> (String, Kind, Option<u32>, bool) {
        let f = file_name(name);
        (f.base, f.kind, f.past, f.validation)
    }

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(f("x.jsonl"), ("x".into(), Kind::Lines, None, false));
        assert_eq!(f("x.val.jsonl"), ("x".into(), Kind::Lines, None, true));
        assert_eq!(f("x.jsonl.2.gz"), ("x".into(), Kind::Lines, Some(2), false));
        assert_eq!(f("x.jsonl.gz"), ("x".into(), Kind::Lines, None, false));
        assert_eq!(f("x.csv"), ("x".into(), Kind::Console, None, false));
        assert_eq!(f("lr1.5.log"), ("lr1.5".into(), Kind::Console, None, false));
        assert_eq!(f("trainer_state.json").1, Kind::State);
        assert_eq!(f("config.json").1, Kind::Other);
        assert_eq!(f("val.jsonl"), ("val".into(), Kind::Lines, None, true));
    }

    #[test]
    fn parts_find_their_main_file() {
        let main = file_name("x.jsonl");
        for part in ["x.val.jsonl", "x.eval.jsonl", "x.jsonl.1", "x.jsonl.2.gz"] {
            assert!(belongs(&main, &file_name(part)), "{part}");
        }
        for other in ["x.jsonl", "y.val.jsonl", "x.log.1", "xval.jsonl"] {
            assert!(!belongs(&main, &file_name(other)), "{other}");
        }
        assert!(belongs(&file_name("train.jsonl"), &file_name("val.jsonl")));
        assert!(!belongs(&file_name("x.jsonl"), &file_name("val.jsonl")));
    }

    #[test]
    fn control_files_are_known() {
        for name in ["x.control.json", "x.control.ack.jsonl", "x.control.log.jsonl", "x.control.d"]
        {
            assert!(is_control(name));
        }
        assert!(!is_control("control_run.jsonl"));
    }

    #[test]
    fn generic_names_give_way_to_their_directory() {
        assert_eq!(candidates(Path::new("/e/runs/a/metrics.jsonl"))[..2], ["a", "runs/a"]);
        assert_eq!(candidates(Path::new("/e/runs/b0128.jsonl"))[..2], ["b0128", "runs/b0128"]);
        assert_eq!(candidates(Path::new("/e/sft/checkpoint-50/trainer_state.json"))[0], "sft");
    }
}
