//! Which files are read, and when: a hint names some, a poll means all.

use super::core::Monitor;
use crate::metrics::{self, Source};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Bytes read at once where all of it is wanted.
const READ_ALL: usize = 8 << 20;
/// Bytes read of a file at once at least: a share of the budget may come to nothing.
const READ_LEAST: usize = 64 << 10;

/// Which runs are to be read.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// By run; what is missing is due.
    runs: Vec<bool>,
    /// Runs by the whole paths of their files, made when the number of files has changed.
    places: HashMap<PathBuf, usize>,
    files: usize,
}

impl Monitor {
    /// How often to look at the files, where that was said.
    pub fn poll(&self) -> Option<Duration> {
        self.settings.poll
    }

    /// Told whenever something came on the standard input.
    pub fn stdin(&self) -> Arc<Notify> {
        Arc::clone(&self.stdin)
    }

    /// All files are to be read, for all that is known.
    pub fn look_at_all(&mut self) {
        self.due.runs.clear();
    }

    /// Only these paths may have changed since all files were read.
    pub fn hint(&mut self, paths: &[PathBuf]) {
        let files = self.runs.iter().map(|r| r.sources.len()).sum();
        if files != self.due.files {
            let runs = self.runs.iter().enumerate();
            let paths = runs.flat_map(|(i, r)| r.paths().into_iter().map(move |p| (i, p)));
            let whole = |(i, path)| Some((std::path::absolute(path).ok()?, i));
            self.due.places = paths.filter_map(whole).collect();
            self.due.files = files;
        }
        for path in paths {
            let run = self.due.places.get(path);
            if let Some(due) = run.and_then(|i| self.due.runs.get_mut(*i)) {
                *due = true;
            }
        }
    }

    /// Reads at most about `budget` bytes, shared out among the files that are due, so that of a
    /// hundred large ones each shows something soon. True: there is more to read now.
    pub fn read(&mut self, budget: usize) -> bool {
        self.due.runs.resize(self.runs.len(), true);
        let due = self.runs.iter().zip(&self.due.runs).filter(|(_, due)| **due);
        let files: usize = due.map(|(run, _)| run.sources.len()).sum();
        let each = (budget / files.max(1)).max(READ_LEAST);
        let mut more = false;
        for (run, due) in self.runs.iter_mut().zip(&mut self.due.runs) {
            *due = *due && run.read(each);
            more |= *due;
        }
        more
    }

    /// Reads everything that is there, as a headless command does.
    pub fn read_all(&mut self) {
        loop {
            while self.read(READ_ALL) {}
            let mut sources = self.runs.iter_mut().flat_map(|r| &mut r.sources);
            if !sources.any(Source::wait) {
                break;
            }
            self.look_at_all();
        }
        for run in &mut self.runs {
            run.finish();
            run.resolve();
        }
    }

    /// Reads everything and tells the runs, `see` first: (run, stream, input) in the order of each
    /// file, read `chunk` bytes at a time (replay).
    pub fn read_recorded(
        &mut self,
        chunk: usize,
        mut see: impl FnMut(usize, usize, &metrics::Input),
    ) {
        let mut inputs = Vec::new();
        for (r, run) in self.runs.iter_mut().enumerate() {
            for s in 0..run.sources.len() {
                loop {
                    let source = &mut run.sources[s];
                    let more = source.poll(chunk, &mut inputs) || source.wait();
                    if !more {
                        source.finish(&mut inputs);
                    }
                    inputs.iter().for_each(|input| see(r, s, input));
                    run.ingest(s, &inputs);
                    inputs.clear();
                    if !more {
                        break;
                    }
                }
            }
        }
        self.resolve();
    }

    /// Everything that exists now was read.
    pub fn caught_up(&self) -> bool {
        let at_end = |s: &Source| {
            let status = s.status();
            status.at_end || !matches!(status.state, metrics::SourceState::Open)
        };
        self.runs.iter().all(|r| r.sources.iter().all(at_end))
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::Settings;
    use super::*;
    use std::fs;

    #[test]
    fn a_hint_reads_the_file_that_it_names_and_a_look_at_all_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a.jsonl", "b.jsonl"].map(|n| dir.path().join(n));
        let line = "{\"step\":1,\"loss\":2.5}\n";
        fs::write(&a, line).unwrap();
        fs::write(&b, line).unwrap();
        let paths = [dir.path().display().to_string()];
        let mut monitor = Monitor::new(&paths, Settings::default()).unwrap();
        let lines = |m: &Monitor| -> Vec<u64> {
            m.data().map(|(_, sources)| sources[0].status().lines).collect()
        };
        while monitor.read(1 << 20) {}
        assert_eq!(lines(&monitor), [1, 1]);
        for path in [&a, &b] {
            fs::write(path, line.repeat(3)).unwrap();
        }
        monitor.hint(&[b, dir.path().join("c.jsonl")]);
        while monitor.read(1 << 20) {}
        assert_eq!(lines(&monitor), [1, 3]);
        monitor.look_at_all();
        while monitor.read(1 << 20) {}
        assert_eq!(lines(&monitor), [3, 3]);
    }
}
