//! Files put together to runs: the rotated past and the validation half of a metrics file, doubles
//! left out.

use super::follow::Stat;
use super::names::{self, FileName, Kind};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The files of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFiles {
    /// NAME, or its directory's name where NAME is generic; unique.
    pub name: String,
    pub main: PathBuf,
    /// In reading order, each a stream of its own: the rotated past (oldest first), `main`, then
    /// validation files that join by step.
    ///
    /// The past is for the first sight of a run: when a file that is being followed is rotated,
    /// its follower has read it, and the new past must not be read again.
    pub parts: Vec<PathBuf>,
}

impl RunFiles {
    /// Is this part a rotated past of the main file?
    pub fn is_past(part: &Path) -> bool {
        part.file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| names::file_name(n).past.is_some())
    }
}

/// Puts files together to runs.
pub fn group(files: Vec<PathBuf>) -> Vec<RunFiles> {
    let files = once(files);
    let mut listings: HashMap<PathBuf, Vec<Companion>> = HashMap::new();
    let mut used: HashSet<PathBuf> = HashSet::new();
    let mut runs: Vec<RunFiles> = Vec::new();
    let (mains, rest): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(|p| is_main(p));
    for main in mains {
        let parts = if main.as_path() == Path::new("-") {
            vec![main.clone()]
        } else {
            parts(main, &mut listings)
        };
        used.extend(parts.iter().cloned());
        runs.push(RunFiles { name: String::new(), main: main.clone(), parts });
    }
    for lone in rest {
        if !used.contains(lone) {
            runs.push(RunFiles {
                name: String::new(),
                main: lone.clone(),
                parts: vec![lone.clone()],
            });
        }
    }
    without_doubles(runs)
}

fn is_main(path: &Path) -> bool {
    let name = name_of(path);
    name.past.is_none() && !name.validation
}

/// Every file once, whatever names lead to it.
fn once(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    files
        .into_iter()
        .filter(|p| match fs::metadata(p) {
            Ok(meta) => seen.insert(Stat::of(&meta).id),
            Err(_) => p.as_path() == Path::new("-"),
        })
        .collect()
}

/// A file that belongs to another one: its rotated past, or its validation half.
type Companion = (PathBuf, FileName);

/// Those in a directory; few where there are thousands of files.
fn companions(dir: &Path) -> Vec<Companion> {
    let all = entries(dir).into_iter().filter(|p| !names::is_control(&p.to_string_lossy()));
    let named = all.map(|p| {
        let name = name_of(&p);
        (p, name)
    });
    named.filter(|(_, name)| name.past.is_some() || name.validation).collect()
}

fn parts(main: &Path, listings: &mut HashMap<PathBuf, Vec<Companion>>) -> Vec<PathBuf> {
    let dir = main.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let listing = listings.entry(dir.to_path_buf()).or_insert_with(|| companions(dir));
    let own = name_of(main);
    let mut past: Vec<(u32, PathBuf)> = Vec::new();
    let mut validation: Vec<PathBuf> = Vec::new();
    for (path, name) in listing.iter().filter(|(p, name)| names::belongs(&own, name) && p != main) {
        match name.past {
            Some(n) if !name.validation => past.push((n, path.clone())),
            None if name.validation => validation.push(path.clone()),
            // The past of a validation file would need an order of its own; it is left out.
            _ => {}
        }
    }
    past.sort_unstable_by_key(|p| std::cmp::Reverse(p.0));
    let past = past.into_iter().map(|(_, p)| p);
    past.chain([main.to_path_buf()]).chain(validation).collect()
}

/// A console log beside the JSON lines of the same run says the same twice; of the states that
/// checkpoints keep only the newest counts.
fn without_doubles(runs: Vec<RunFiles>) -> Vec<RunFiles> {
    let key = |r: &RunFiles| {
        (r.main.parent().map(Path::to_path_buf), run_names(&r.main).first().cloned())
    };
    let lines: HashSet<_> =
        runs.iter().filter(|r| name_of(&r.main).kind == Kind::Lines).map(key).collect();
    let mut newest: HashMap<Option<PathBuf>, (u64, PathBuf)> = HashMap::new();
    for r in &runs {
        if let Some((top, step)) = checkpoint(&r.main) {
            let entry = newest.entry(top).or_insert((step, r.main.clone()));
            if step > entry.0 {
                *entry = (step, r.main.clone());
            }
        }
    }
    let keep = |r: &RunFiles| {
        let doubled = name_of(&r.main).kind == Kind::Console && lines.contains(&key(r));
        let old = checkpoint(&r.main)
            .is_some_and(|(top, _)| newest.get(&top).is_some_and(|(_, p)| *p != r.main));
        !doubled && !old
    };
    runs.into_iter().filter(keep).collect()
}

/// `run/checkpoint-500/trainer_state.json`: the run's directory and 500.
fn checkpoint(path: &Path) -> Option<(Option<PathBuf>, u64)> {
    if name_of(path).kind != Kind::State {
        return None;
    }
    let dir = path.parent()?;
    let step = dir.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()?;
    Some((dir.parent().map(Path::to_path_buf), step))
}

/// Names that the run of a main file may have.
pub fn run_names(main: &Path) -> Vec<String> {
    if main == Path::new("-") {
        return vec!["stdin".into()];
    }
    names::candidates(&std::path::absolute(main).unwrap_or_else(|_| main.to_path_buf()))
}

pub fn name_of(path: &Path) -> FileName {
    names::file_name(&path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default())
}

/// What lies in a directory, sorted.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(dir) {
        // A relative top of "." must not prefix every path.
        Ok(list) => list
            .flatten()
            .map(|e| if dir == Path::new(".") { PathBuf::from(e.file_name()) } else { e.path() })
            .collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    paths
}
