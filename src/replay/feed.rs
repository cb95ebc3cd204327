//! The recorded inputs of one file, one after the other, as often as they are asked for.

use crate::metrics::{self, Input, Source};
use std::path::{Path, PathBuf};

/// Bytes read at once. Always the same, so that a file is cut alike each time.
pub(super) const CHUNK: usize = 256 << 10;

/// Inputs of one file in their order. A file is read again from its start; what came on the
/// standard input is kept.
#[derive(Debug)]
pub(super) struct Feed {
    path: PathBuf,
    options: metrics::Options,
    /// What cannot be read again.
    kept: Vec<Input>,
    source: Option<Source>,
    /// Read and not told yet: those from `next` on.
    pending: Vec<Input>,
    next: usize,
}

impl Feed {
    pub fn new(path: &Path, options: &metrics::Options) -> Feed {
        let mut feed = Feed {
            path: path.to_path_buf(),
            options: options.clone(),
            kept: Vec::new(),
            source: None,
            pending: Vec::new(),
            next: 0,
        };
        feed.rewind();
        feed
    }

    /// It can be read only once.
    fn passes(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// Keeps an input where it cannot be read again.
    pub fn keep_passing(&mut self, input: Input) {
        if self.passes() {
            self.kept.push(input);
        }
    }

    /// Back to the first input.
    pub fn rewind(&mut self) {
        self.pending.clear();
        self.next = 0;
        self.source = (!self.passes()).then(|| Source::file(&self.path, &self.options));
    }

    /// The next input; `None` at the end.
    pub fn next(&mut self) -> Option<Input> {
        if self.passes() {
            self.next += 1;
            return self.kept.get(self.next - 1).copied();
        }
        while self.next == self.pending.len() {
            let source = self.source.as_mut()?;
            self.pending.clear();
            self.next = 0;
            if !source.poll(CHUNK, &mut self.pending) {
                source.finish(&mut self.pending);
                self.source = None;
            }
        }
        self.next += 1;
        self.pending.get(self.next - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_alike_as_often_as_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let lines: Vec<String> =
            (1..9000).map(|s| format!("{{\"step\":{s},\"loss\":3.25,\"lr\":0.001}}\n")).collect();
        std::fs::write(&path, lines.concat()).unwrap();
        let mut feed = Feed::new(&path, &metrics::Options::default());
        let all = |feed: &mut Feed| -> Vec<Input> { std::iter::from_fn(|| feed.next()).collect() };
        let once = all(&mut feed);
        assert_eq!(once.len(), 8999);
        assert_eq!(feed.next(), None);
        feed.rewind();
        assert_eq!(all(&mut feed), once);
        feed.rewind();
        feed.next();
        feed.rewind();
        assert_eq!(all(&mut feed), once);
    }
}
