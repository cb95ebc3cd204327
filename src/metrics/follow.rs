//! One growing file: append, late creation, truncation, rotation, delete and recreate, a switched
//! symlink, stale handles. Bytes, not lines.
//!
//! A reported size is a hint. The read at the offset decides whether there is more, the bytes
//! before the offset decide whether it is still the same content, and the path decides (by device
//! and inode) whether it is still the same file. A file that seems to have shrunk is believed at
//! once if its content disagrees, else only when it was opened afresh several times and stayed
//! short: on network file systems an old size is no truncation.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

/// Bytes at the start of the content and before the offset that identify it.
const PRINT: usize = 256;
/// Looks, each with a fresh handle, after which a shorter file with the same beginning counts as
/// truncated.
const SHRUNK_LOOKS: u8 = 3;
/// With nothing new by size and time, the file is read all the same every so many looks.
const DISTRUST: u32 = 8;
/// With more handles open than this, idle files give theirs back.
const MANY_HANDLES: usize = 400;

static OPEN_HANDLES: AtomicUsize = AtomicUsize::new(0);

/// Device and inode.
pub type Id = (u64, u64);

/// Identity of a file.
pub fn id(meta: &Metadata) -> Id {
    (meta.dev(), meta.ino())
}

/// Modification time in Unix seconds.
pub fn modified(meta: &Metadata) -> Option<f64> {
    let t = meta.modified().ok()?;
    Some(t.duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()))
}

#[derive(Debug)]
struct Handle(File);

impl Handle {
    fn open(path: &Path) -> Result<Handle, Error> {
        let file = File::open(path)?;
        OPEN_HANDLES.fetch_add(1, Ordering::Relaxed);
        Ok(Handle(file))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        OPEN_HANDLES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// The content starts anew: the bytes of this look are the first of it.
    pub restarted: bool,
    /// There may be more to read at once.
    pub more: bool,
    /// The path names no file now.
    pub missing: bool,
}

/// Follows the file that a path names.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    handle: Option<Handle>,
    id: Option<Id>,
    offset: u64,
    /// First bytes of the content, and the last ones before the offset.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Looks that found it shorter than it was.
    shrunk: u8,
    /// Looks that found nothing.
    idle: u32,
    /// The path was seen to name another file; that one is taken when this one is read to its end
    /// once more.
    exchanged: bool,
    seen: Option<(u64, f64)>,
    modified: Option<f64>,
    scratch: Vec<u8>,
}

impl Follower {
    pub fn new(path: &Path) -> Self {
        Follower {
            path: path.to_path_buf(),
            handle: None,
            id: None,
            offset: 0,
            head: Vec::new(),
            tail: Vec::new(),
            shrunk: 0,
            idle: 0,
            exchanged: false,
            seen: None,
            modified: None,
            scratch: Vec::new(),
        }
    }

    /// Modification time of the newest write seen, Unix seconds.
    pub fn modified(&self) -> Option<f64> {
        self.modified
    }

    /// Appends at most `budget` new bytes to `out`.
    ///
    /// # Errors
    /// What the system says when the file cannot be opened or read; the next look tries again
    /// with a fresh handle. A missing path is no error.
    pub fn look(&mut self, budget: usize, out: &mut Vec<u8>) -> Result<Look, Error> {
        let result = self.try_look(budget.max(1), out);
        match &result {
            Err(_) => self.handle = None,
            Ok(look) if !look.more && OPEN_HANDLES.load(Ordering::Relaxed) > MANY_HANDLES => {
                self.handle = None
            }
            Ok(_) => {}
        }
        result
    }

    fn try_look(&mut self, budget: usize, out: &mut Vec<u8>) -> Result<Look, Error> {
        let mut look = Look::default();
        let at_path = match std::fs::metadata(&self.path) {
            Ok(meta) => Some(meta),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        look.missing = at_path.is_none();
        if let Some(meta) = &at_path {
            if meta.is_dir() {
                return Err(Error::new(ErrorKind::IsADirectory, "this is a directory, not a file"));
            }
            let state = (meta.len(), modified(meta).unwrap_or(0.0));
            let same =
                self.id == Some(id(meta)) && self.seen == Some(state) && meta.len() == self.offset;
            self.seen = Some(state);
            self.idle = if same { self.idle + 1 } else { 0 };
            if same && !self.exchanged && self.shrunk == 0 && !self.idle.is_multiple_of(DISTRUST) {
                return Ok(look);
            }
        }
        if self.handle.is_none() {
            let Some(meta) = &at_path else { return Ok(look) };
            look.restarted = self.take(meta)?;
        }
        if self.read(budget, out, &mut look)? > 0 {
            self.exchanged = false;
            return Ok(look);
        }
        if look.missing {
            // A deleted file that is held open keeps its place on the disk; let it go.
            if std::mem::replace(&mut self.exchanged, true) {
                self.handle = None;
            }
            return Ok(look);
        }
        // Nothing more in the file we hold; does the path name another one?
        if let Some(meta) = at_path.filter(|m| self.id != Some(id(m))) {
            if self.exchanged {
                self.exchanged = false;
                self.handle = None;
                look.restarted |= self.take(&meta)?;
                self.read(budget, out, &mut look)?;
            } else {
                // The writer may finish its line through its own handle: look once more.
                self.exchanged = true;
            }
        }
        Ok(look)
    }

    /// Opens the path. True: what lies there is another file than the one read so far.
    fn take(&mut self, at_path: &Metadata) -> Result<bool, Error> {
        let handle = Handle::open(&self.path)?;
        let meta = handle.0.metadata().unwrap_or_else(|_| at_path.clone());
        let anew = self.id.is_some_and(|old| old != id(&meta));
        self.id = Some(id(&meta));
        self.handle = Some(handle);
        if anew {
            self.forget();
        }
        Ok(anew)
    }

    fn forget(&mut self) {
        self.offset = 0;
        self.head.clear();
        self.tail.clear();
        self.shrunk = 0;
        self.exchanged = false;
    }

    /// Reads at the offset, whatever the size is said to be. Returns the number of new bytes.
    fn read(&mut self, budget: usize, out: &mut Vec<u8>, look: &mut Look) -> Result<usize, Error> {
        let Some(handle) = &self.handle else { return Ok(0) };
        let known = self.tail.len();
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.resize(known + budget, 0);
        let n = read_full(&handle.0, &mut buffer, self.offset - known as u64);
        let n = match n {
            Ok(n) => n,
            Err(e) => {
                self.scratch = buffer;
                return Err(e);
            }
        };
        let same = n >= known && buffer[..known] == self.tail[..];
        let mut new = 0;
        if same {
            self.shrunk = 0;
            new = n - known;
            out.extend_from_slice(&buffer[known..n]);
            self.learn(&buffer[..n], known);
            look.more = new == budget;
        }
        // A bulk read must not hold a megabyte for each of many files.
        buffer.truncate(0);
        buffer.shrink_to(if look.more { usize::MAX } else { 4 * PRINT });
        self.scratch = buffer;
        if same {
            if new > 0 {
                self.modified = self
                    .handle
                    .as_ref()
                    .and_then(|h| h.0.metadata().ok())
                    .and_then(|m| modified(&m));
            }
            return Ok(new);
        }
        let shorter = n < known;
        if shorter && !self.believe_shrunk()? {
            return Ok(0);
        }
        self.forget();
        look.restarted = true;
        self.read(budget, out, look)
    }

    /// Is a file that ends before the offset a truncated one?
    fn believe_shrunk(&mut self) -> Result<bool, Error> {
        let mut head = [0u8; PRINT];
        let n = match &self.handle {
            Some(h) => read_full(&h.0, &mut head[..self.head.len()], 0)?,
            None => return Ok(false),
        };
        self.shrunk = self.shrunk.saturating_add(1);
        let believed = judge_shrunk(&head[..n], &self.head, self.shrunk);
        if !believed {
            // An open asks the server for the true size.
            self.handle = None;
        }
        Ok(believed)
    }

    fn learn(&mut self, read: &[u8], known: usize) {
        let new = &read[known..];
        if self.head.len() < PRINT {
            let room = (PRINT - self.head.len()).min(new.len());
            self.head.extend_from_slice(&new[..room]);
        }
        self.offset += new.len() as u64;
        self.tail.clear();
        self.tail.extend_from_slice(&read[read.len().saturating_sub(PRINT)..]);
    }
}

/// `now`: the first bytes as they are, `before`: as they were.
fn judge_shrunk(now: &[u8], before: &[u8], looks: u8) -> bool {
    let disagrees = now != &before[..now.len()];
    disagrees || looks >= SHRUNK_LOOKS
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read_at(&mut buffer[n..], offset + n as u64) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::io::Write;

    fn append(path: &Path, text: &str) {
        let mut f = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        f.write_all(text.as_bytes()).unwrap();
    }

    /// Looks until nothing more comes; each restart begins a new text.
    fn settle(f: &mut Follower, budget: usize, texts: &mut Vec<String>) {
        let mut quiet = 0;
        while quiet < 6 {
            let mut out = vec![];
            let look = f.look(budget, &mut out).unwrap();
            if look.restarted {
                texts.push(String::new());
            }
            quiet = if out.is_empty() && !look.restarted { quiet + 1 } else { 0 };
            texts.last_mut().unwrap().push_str(&String::from_utf8(out).unwrap());
        }
    }

    fn start(path: &Path) -> (Follower, Vec<String>) {
        (Follower::new(path), vec![String::new()])
    }

    #[test]
    fn late_creation_and_growth() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let (mut f, mut texts) = start(&path);
        assert!(f.look(10, &mut vec![]).unwrap().missing);
        append(&path, "one\ntw");
        settle(&mut f, 3, &mut texts);
        append(&path, "o\n");
        settle(&mut f, 3, &mut texts);
        assert_eq!(texts, ["one\ntwo\n"]);
    }

    #[test]
    fn what_the_old_file_still_got_is_read_before_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        append(&path, "one\n");
        let (mut f, mut texts) = start(&path);
        settle(&mut f, 100, &mut texts);
        let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
        fs::rename(&path, dir.path().join("a.jsonl.1")).unwrap();
        append(&path, "three\n");
        writer.write_all(b"two\n").unwrap();
        settle(&mut f, 100, &mut texts);
        assert_eq!(texts, ["one\ntwo\n", "three\n"]);
    }

    #[test]
    fn truncation_is_seen_even_when_the_file_has_outgrown_the_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        append(&path, "old 1\nold 2\n");
        let (mut f, mut texts) = start(&path);
        settle(&mut f, 100, &mut texts);
        fs::write(&path, "new 1 and much longer than before\n").unwrap();
        settle(&mut f, 100, &mut texts);
        fs::write(&path, "x\n").unwrap();
        settle(&mut f, 100, &mut texts);
        assert_eq!(texts, ["old 1\nold 2\n", "new 1 and much longer than before\n", "x\n"]);
    }

    #[test]
    fn an_old_size_is_no_truncation() {
        // The same beginning, only shorter: an old size until it was asked for several times.
        assert!(!judge_shrunk(b"abc", b"abcdef", 1));
        assert!(!judge_shrunk(b"", b"abcdef", SHRUNK_LOOKS - 1));
        assert!(judge_shrunk(b"abc", b"abcdef", SHRUNK_LOOKS));
        assert!(judge_shrunk(b"abX", b"abcdef", 1));
    }

    #[test]
    fn a_deleted_file_is_let_go_and_its_successor_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        append(&path, "one\n");
        let (mut f, mut texts) = start(&path);
        settle(&mut f, 100, &mut texts);
        fs::remove_file(&path).unwrap();
        settle(&mut f, 100, &mut texts);
        assert!(f.handle.is_none());
        // Perhaps under the inode of the first.
        append(&path, "two and longer\n");
        settle(&mut f, 100, &mut texts);
        assert_eq!(texts, ["one\n", "two and longer\n"]);
    }

    #[test]
    fn a_switched_symlink_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, latest) =
            (dir.path().join("a"), dir.path().join("b"), dir.path().join("latest"));
        append(&a, "a1\n");
        append(&b, "b1\n");
        std::os::unix::fs::symlink(&a, &latest).unwrap();
        let (mut f, mut texts) = start(&latest);
        settle(&mut f, 100, &mut texts);
        fs::remove_file(&latest).unwrap();
        std::os::unix::fs::symlink(&b, &latest).unwrap();
        settle(&mut f, 100, &mut texts);
        assert_eq!(texts, ["a1\n", "b1\n"]);
    }

    #[test]
    fn a_directory_is_an_error_and_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::create_dir(&path).unwrap();
        let (mut f, mut texts) = start(&path);
        assert_eq!(f.look(10, &mut vec![]).unwrap_err().kind(), ErrorKind::IsADirectory);
        fs::remove_dir(&path).unwrap();
        append(&path, "x\n");
        settle(&mut f, 10, &mut texts);
        assert_eq!(texts, ["x\n"]);
    }

    #[derive(Debug, Clone)]
    enum Act {
        Append(u8),
        Partial(u8),
        Cut,
        CutTo(u8),
        Rotate,
        Recreate,
        Look,
        Settle,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (1u8..6).prop_map(Act::Append),
            2 => (1u8..9).prop_map(Act::Partial),
            1 => Just(Act::Cut),
            1 => (0u8..200).prop_map(Act::CutTo),
            1 => Just(Act::Rotate),
            1 => Just(Act::Recreate),
            3 => Just(Act::Look),
            3 => Just(Act::Settle),
        ]
    }

    /// Are the texts read the contents, in order? Of a content that a truncation took, any
    /// beginning may have been read, or nothing.
    fn fits(read: &[&str], contents: &[(String, bool)]) -> bool {
        let Some(((content, whole), rest)) = contents.split_first() else { return read.is_empty() };
        let skipped = (content.is_empty() || !whole) && fits(read, rest);
        skipped
            || read.split_first().is_some_and(|(t, later)| {
                let same = if *whole { t == content } else { content.starts_with(t) };
                same && fits(later, rest)
            })
    }

    /// The truth: every content that the path ever named, in order.
    #[derive(Default)]
    struct Model {
        now: String,
        /// (content, all of it must have been read)
        past: Vec<(String, bool)>,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        /// Whatever happens to the file: what is read is, content for content, what was written;
        /// only what a truncation took before a look may be missing.
        #[test]
        fn follows_any_history(acts in prop::collection::vec(act(), 1..40), budget in 1usize..60) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.jsonl");
            let (mut f, mut texts) = start(&path);
            let mut model = Model::default();
            let mut serial = 0u32;
            for a in acts.into_iter().chain([Act::Settle]) {
                match a {
                    Act::Append(n) => for _ in 0..n {
                        serial += 1;
                        let line = format!("line {serial} of many\n");
                        append(&path, &line);
                        model.now.push_str(&line);
                    },
                    Act::Partial(n) => {
                        serial += 1;
                        let part: String = format!("part{serial}").chars().take(n.into()).collect();
                        append(&path, &part);
                        model.now.push_str(&part);
                    }
                    Act::Cut | Act::CutTo(_) if path.exists() => {
                        let keep = if let Act::CutTo(n) = a { usize::from(n).min(model.now.len()) } else { 0 };
                        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(keep as u64).unwrap();
                        if keep < model.now.len() {
                            let kept = model.now[..keep].to_string();
                            model.past.push((std::mem::replace(&mut model.now, kept), false));
                        }
                        // The next write must not hide the cut behind equal bytes: look at it.
                        settle(&mut f, budget, &mut texts);
                    }
                    Act::Rotate | Act::Recreate if path.exists() => {
                        // A deleted file that was never opened cannot be read.
                        settle(&mut f, budget, &mut texts);
                        if matches!(a, Act::Rotate) { fs::rename(&path, dir.path().join("x.jsonl.1")).unwrap(); }
                        else { fs::remove_file(&path).unwrap(); }
                        model.past.push((std::mem::take(&mut model.now), true));
                        // Another file must exist before the old inode is free again.
                        append(&path, "");
                    }
                    Act::Look => {
                        let mut out = vec![];
                        let look = f.look(budget, &mut out).unwrap();
                        if look.restarted { texts.push(String::new()); }
                        texts.last_mut().unwrap().push_str(&String::from_utf8(out).unwrap());
                    }
                    _ => settle(&mut f, budget, &mut texts),
                }
            }
            let mut contents = model.past.clone();
            contents.push((model.now.clone(), true));
            let read: Vec<&str> = texts.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
            prop_assert!(fits(&read, &contents), "read {texts:?}, truth {contents:?}");
        }
    }
}
