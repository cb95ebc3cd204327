//! Where the files of a run's control lie, and the id of a run whose trainer gave none.

use std::path::{Path, PathBuf};

/// The four places of one run's control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `NAME.control.json`.
    pub control: PathBuf,
    /// `NAME.control.ack.jsonl`.
    pub ack: PathBuf,
    /// `NAME.control.log.jsonl`.
    pub log: PathBuf,
    /// `NAME.control.d/`.
    pub claims: PathBuf,
}

impl Paths {
    /// The files beside the metrics `NAME.jsonl` (also `NAME.jsonl.gz`, `NAME.jsonl.zst`).
    pub fn beside(metrics: &Path) -> Paths {
        Paths::at(&metrics.with_file_name(format!("{}.control.json", name_of(metrics))))
    }

    /// From the control file itself (`--control PATH`, `{run}` already replaced).
    pub fn at(control: &Path) -> Paths {
        let name =
            control.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.strip_suffix(".json").unwrap_or(&name).to_string();
        Paths {
            control: control.to_path_buf(),
            ack: control.with_file_name(format!("{stem}.ack.jsonl")),
            log: control.with_file_name(format!("{stem}.log.jsonl")),
            claims: control.with_file_name(format!("{stem}.d")),
        }
    }
}

/// NAME of the metrics `NAME.jsonl`.
fn name_of(metrics: &Path) -> String {
    let name = metrics.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let open = [".gz", ".zst"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(&name);
    open.strip_suffix(".jsonl").unwrap_or(open).to_string()
}

/// The control files of a run: beside its metrics, or where `--control` or BOPTOP_CONTROL says
/// (`{run}` in it stands for `run_name`).
pub fn control_path(metrics: &Path, run_name: &str, override_: Option<&str>) -> Paths {
    match override_.filter(|o| !o.is_empty()) {
        // A run name that holds a slash must not lead out of the directory.
        Some(o) => Paths::at(Path::new(&o.replace("{run}", &run_name.replace('/', "_")))),
        None => Paths::beside(metrics),
    }
}

/// The id of a run whose trainer gave none: NAME, or its directory's name where NAME is a word
/// that many runs share.
pub fn default_run(metrics: &Path) -> String {
    const GENERIC: [&str; 7] =
        ["metrics", "train", "training", "log", "logging", "trainer_log", "history"];
    let name = name_of(metrics);
    if !GENERIC.contains(&name.as_str()) {
        return name;
    }
    let full = std::path::absolute(metrics).unwrap_or_else(|_| metrics.to_path_buf());
    let directory = full.parent().and_then(Path::file_name);
    directory.map(|d| d.to_string_lossy().into_owned()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_three_names_follow_from_the_control_file() {
        let p = control_path(Path::new("runs/a.jsonl.gz"), "a", None);
        assert_eq!(p, Paths::beside(Path::new("runs/a.jsonl")));
        assert_eq!(p.ack, Path::new("runs/a.control.ack.jsonl"));
        assert_eq!(p.log, Path::new("runs/a.control.log.jsonl"));
        assert_eq!(p.claims, Path::new("runs/a.control.d"));
        let p = control_path(Path::new("runs/a.jsonl"), "x/../a", Some("/c/{run}.json"));
        assert_eq!(p.control, Path::new("/c/x_.._a.json"));
        assert_eq!(p.ack, Path::new("/c/x_.._a.ack.jsonl"));
    }

    #[test]
    fn a_generic_name_gives_way_to_its_directory() {
        assert_eq!(default_run(Path::new("/runs/big/metrics.jsonl")), "big");
        assert_eq!(default_run(Path::new("/runs/big/b128.jsonl")), "b128");
    }
}
