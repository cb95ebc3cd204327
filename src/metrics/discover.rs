//! PATH arguments to runs: files, directories, globs, `-`. Looks again whenever it is asked.

use super::follow::Stat;
use super::foreign::unsupported_name;
use super::group::{RunFiles, entries, group, name_of, run_names};
use super::names::{self, Kind};
use super::{Options, Source};
use crate::error::{Error, Result};
use globset::{GlobBuilder, GlobMatcher};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Directories within directories that are looked into.
const DEPTH: usize = 5;
/// Bytes of a file that are read to see whether it holds metrics, and how many at once.
const PROBE: usize = 1 << 20;
const PROBE_STEP: usize = 32 << 10;
/// JSON lines without any known field after which a file is something else.
const FOREIGN_LINES: u64 = 20;

#[derive(Debug)]
enum Argument {
    Stdin,
    Path(PathBuf),
    /// `a.jsonl+b.jsonl`: the files of one run, the oldest first.
    Joined(Vec<PathBuf>),
    Glob {
        base: PathBuf,
        matcher: GlobMatcher,
    },
}

/// The PATH arguments of a command.
#[derive(Debug)]
pub struct Discovery {
    arguments: Vec<Argument>,
    /// Names by main file: a run keeps its name.
    names: HashMap<PathBuf, String>,
    /// Places of the runs in the order in which they were first found.
    order: HashMap<PathBuf, usize>,
    /// What was found out about files in directories, and at which size.
    probed: HashMap<PathBuf, (u64, bool)>,
    directories: Vec<PathBuf>,
    unsupported: Vec<PathBuf>,
    left_out: Vec<(PathBuf, String)>,
}

impl Discovery {
    /// # Errors
    /// [`Error::Usage`]: a glob that is none.
    pub fn new(paths: &[impl AsRef<OsStr>]) -> Result<Discovery> {
        let arguments = paths.iter().map(|p| argument(p.as_ref())).collect::<Result<_>>()?;
        Ok(Discovery {
            arguments,
            names: HashMap::new(),
            order: HashMap::new(),
            probed: HashMap::new(),
            directories: Vec::new(),
            unsupported: Vec::new(),
            left_out: Vec::new(),
        })
    }

    /// Everything that matches now; runs found before come first, in their old order.
    pub fn scan(&mut self) -> Vec<RunFiles> {
        let mut found = Found::default();
        // A shell's `runs/*.jsonl` names the files of the control protocol too.
        let many = self.arguments.len() > 1;
        for a in &self.arguments {
            match a {
                Argument::Path(p) if many && names::is_control(&p.to_string_lossy()) => {}
                Argument::Stdin => found.files.push(PathBuf::from("-")),
                Argument::Path(p) if p.is_dir() => found.walk(p, None, &mut self.probed),
                Argument::Path(p) => found.plain(p),
                Argument::Joined(parts) => found.joined(parts),
                Argument::Glob { base, matcher } => {
                    found.walk(base, Some(matcher), &mut self.probed)
                }
            }
        }
        self.directories = std::mem::take(&mut found.directories);
        self.unsupported = std::mem::take(&mut found.unsupported);
        self.left_out = std::mem::take(&mut found.left_out);
        let mut runs = group(found.files);
        runs.extend(found.runs);
        for main in found.awaited {
            if !runs.iter().any(|r| r.main == main) {
                runs.push(RunFiles { name: String::new(), parts: vec![main.clone()], main });
            }
        }
        self.name(&mut runs);
        runs.sort_by_cached_key(|r| self.order.get(&r.main).copied());
        runs
    }

    /// Plain paths that do not exist.
    pub fn missing(&self) -> Vec<String> {
        let absent = |a: &Argument| match a {
            Argument::Path(p) if !p.exists() => Some(p.display().to_string()),
            _ => None,
        };
        self.arguments.iter().filter_map(absent).collect()
    }

    /// Directories in which something may change, as of the last scan.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.directories.clone()
    }

    /// Files met in directories that boptop recognises but does not read (`.wandb`, event files).
    pub fn unsupported(&self) -> &[PathBuf] {
        &self.unsupported
    }

    /// What in a directory is named like metrics and cannot be looked at, as of the last scan, with
    /// the reason: files, and directories.
    pub fn left_out(&self) -> &[(PathBuf, String)] {
        &self.left_out
    }

    /// Names the new runs; one that is taken gets a directory more.
    fn name(&mut self, runs: &mut [RunFiles]) {
        let taken: HashSet<String> = self.names.values().cloned().collect();
        let fresh: Vec<(PathBuf, Vec<String>)> = runs
            .iter()
            .filter(|r| !self.names.contains_key(&r.main))
            .map(|r| (r.main.clone(), run_names(&r.main)))
            .collect();
        let mut claims: HashMap<&String, usize> = HashMap::new();
        for (_, own) in &fresh {
            for name in own.iter().collect::<HashSet<_>>() {
                *claims.entry(name).or_default() += 1;
            }
        }
        for (main, own) in &fresh {
            let free = |name: &&String| !taken.contains(*name) && claims.get(name) == Some(&1);
            let name = own.iter().find(free).cloned().unwrap_or_else(|| main.display().to_string());
            self.names.insert(main.clone(), name);
            let place = self.order.len();
            self.order.insert(main.clone(), place);
        }
        for r in runs {
            if let Some(name) = self.names.get(&r.main) {
                r.name.clone_from(name);
            }
        }
    }
}

fn argument(path: &OsStr) -> Result<Argument> {
    // What is no text is the name of a file.
    let Some(path) = path.to_str() else { return Ok(Argument::Path(PathBuf::from(path))) };
    if path == "-" {
        return Ok(Argument::Stdin);
    }
    if Path::new(path).exists() {
        return Ok(Argument::Path(PathBuf::from(path)));
    }
    let parts: Vec<PathBuf> = path.split('+').map(PathBuf::from).collect();
    if parts.len() > 1 && parts.iter().all(|p| p.is_file()) {
        return Ok(Argument::Joined(parts));
    }
    if !path.contains(['*', '?', '[', '{']) {
        return Ok(Argument::Path(PathBuf::from(path)));
    }
    let clean = path.strip_prefix("./").unwrap_or(path);
    let glob = GlobBuilder::new(clean).literal_separator(true).build().map_err(|e| {
        Error::Usage(format!(
            "{path}: not a pattern ({}); quote the brackets or give the path",
            e.kind()
        ))
    })?;
    let fixed = Path::new(clean)
        .components()
        .take_while(|c| !matches!(c, Component::Normal(p) if p.to_string_lossy().contains(['*', '?', '[', '{'])));
    let mut base: PathBuf = fixed.collect();
    if base.as_os_str().is_empty() {
        base.push(".");
    }
    Ok(Argument::Glob { base, matcher: glob.compile_matcher() })
}

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    /// Put together by a person.
    runs: Vec<RunFiles>,
    /// Named, and not there yet.
    awaited: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// The same, to ask.
    seen: HashSet<PathBuf>,
    unsupported: Vec<PathBuf>,
    left_out: Vec<(PathBuf, String)>,
}

impl Found {
    fn plain(&mut self, path: &Path) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A path that does not exist yet is waited for in the nearest directory that does.
        if let Some(dir) = parent.ancestors().find(|d| d.is_dir()).or(Some(Path::new("."))) {
            self.directory(dir);
        }
        // What may become a directory is no run yet; what is named like a file is one that waits.
        if path.exists() {
            self.files.push(path.to_path_buf());
        } else if path.extension().is_some() {
            self.awaited.push(path.to_path_buf());
        }
    }

    fn joined(&mut self, parts: &[PathBuf]) {
        for part in parts {
            self.directory(part.parent().unwrap_or(Path::new(".")));
        }
        let (main, parts) = (parts[0].clone(), parts.to_vec());
        self.runs.push(RunFiles { name: String::new(), main, parts });
    }

    fn directory(&mut self, dir: &Path) {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        if self.seen.insert(dir.to_path_buf()) {
            self.directories.push(dir.to_path_buf());
        }
    }

    /// Looks through a directory: real ones before symlinked ones, none twice, so that a file is
    /// found under its own name and a loop ends.
    fn walk(
        &mut self,
        top: &Path,
        glob: Option<&GlobMatcher>,
        probed: &mut HashMap<PathBuf, (u64, bool)>,
    ) {
        let mut visited = HashSet::new();
        let mut linked: Vec<(PathBuf, usize)> = Vec::new();
        let mut next: Vec<(PathBuf, usize, bool)> = vec![(top.to_path_buf(), 0, glob.is_none())];
        loop {
            let Some((dir, depth, all)) =
                next.pop().or_else(|| linked.pop().map(|(d, n)| (d, n, glob.is_none())))
            else {
                return;
            };
            match fs::metadata(&dir) {
                Ok(meta) if meta.is_dir() && visited.insert(Stat::of(&meta).id) => {
                    self.directory(&dir)
                }
                _ => continue,
            }
            let inside = entries(&dir);
            if inside.is_empty()
                && all
                && let Err(error) = fs::read_dir(&dir)
            {
                self.leave_out(dir, &error);
                continue;
            }
            for path in inside {
                let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                    if all && (path.is_dir() || name_of(&path).kind != Kind::Other) {
                        let why = "its name is not UTF-8: rename it".to_string();
                        self.left_out.push((path, why));
                    }
                    continue;
                };
                if names::is_hidden(name) || names::is_control(name) {
                    continue;
                }
                let clean = path.strip_prefix(".").unwrap_or(&path);
                let matched = glob.is_some_and(|g| g.is_match(clean) || g.is_match(&path));
                let link = path.is_symlink();
                if path.is_dir() {
                    if depth < DEPTH && link && !(all || matched) {
                        linked.push((path, depth + 1));
                    } else if depth < DEPTH && link {
                        linked.insert(0, (path, depth + 1));
                    } else if depth < DEPTH {
                        next.push((path, depth + 1, all || matched));
                    }
                } else if all {
                    let kind = name_of(clean).kind;
                    self.consider(path, kind, probed);
                } else if matched {
                    self.files.push(path);
                }
            }
        }
    }

    fn leave_out(&mut self, path: PathBuf, error: &std::io::Error) {
        let why = match error.kind() {
            ErrorKind::PermissionDenied => {
                "no permission to read it (check its mode and group)".into()
            }
            _ => error.to_string(),
        };
        self.left_out.push((path, why));
    }

    /// A file in a directory: a run only if it looks like metrics.
    fn consider(&mut self, path: PathBuf, kind: Kind, probed: &mut HashMap<PathBuf, (u64, bool)>) {
        if unsupported_name(&path).is_some() {
            if self.unsupported.len() < 20 {
                self.unsupported.push(path);
            }
            return;
        }
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            // What is gone since the directory was read is no trouble.
            Err(e) if kind == Kind::Other || e.kind() == ErrorKind::NotFound => return,
            Err(e) => return self.leave_out(path, &e),
        };
        if !meta.is_file() {
            return;
        }
        let size = meta.len();
        let holds = match kind {
            Kind::State => true,
            Kind::Other => false,
            Kind::Lines | Kind::Console => match probed.get(&path) {
                // What once held metrics does; what did not may have grown them.
                Some((_, true)) => true,
                Some((then, false)) if *then == size || *then > PROBE as u64 => false,
                _ => {
                    // Asked again at every look: its mode may be mended.
                    if let Err(error) = fs::File::open(&path) {
                        return self.leave_out(path, &error);
                    }
                    let holds = holds_metrics(&path, kind);
                    probed.insert(path.clone(), (size, holds));
                    holds
                }
            },
        };
        if holds {
            self.files.push(path);
        }
    }
}

/// Reads the beginning of a file as the followers would.
fn holds_metrics(path: &Path, kind: Kind) -> bool {
    let mut source = Source::file(path, &Options::default());
    let mut out = Vec::new();
    let known =
        |s: &Source| s.status().fields.loss.is_some() || s.status().fields.val_loss.is_some();
    for _ in 0..PROBE / PROBE_STEP {
        let more = source.poll(PROBE_STEP, &mut out);
        out.clear();
        if !more || known(&source) {
            break;
        }
    }
    let known = known(&source);
    let s = source.status();
    let f = &s.fields;
    match kind {
        Kind::Lines => known || f.tokens.is_some() || f.step.is_some() || s.lines < FOREIGN_LINES,
        _ => known,
    }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
