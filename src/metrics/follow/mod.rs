//! One growing file: append, late creation, truncation, rotation, delete and recreate, a switched
//! symlink, stale handles. Bytes, not lines.
//!
//! A reported size is a hint. The read at the offset decides whether there is more, the bytes
//! before the offset decide whether it is still the same content, and the path decides (by device
//! and inode) whether it is still the same file. A file that seems to have shrunk is believed at
//! once if its content disagrees, else only when it was opened afresh several times and stayed
//! short: on network file systems an old size is no truncation. A file that was renamed is read on
//! until its successor holds something: a writer may keep its handle long after the rotation.

mod again;
mod disk;
#[cfg(any(test, fuzzing))]
pub mod lying;
#[cfg(any(test, fuzzing))]
pub mod model;
#[cfg(test)]
mod tests;

pub use disk::{Disk, Id, Stat, System};

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes at the start of the content and before the offset that identify it.
const PRINT: usize = 256;
/// Looks, each with a fresh handle, after which a shorter file with the same beginning counts as
/// truncated.
const SHRUNK_LOOKS: u8 = 3;
/// With nothing new by size and time, the file is read all the same every so many looks.
const DISTRUST: u32 = 8;
/// More NUL bytes than this are no write that is still to come: clients send at most so many at
/// once.
const HOLE: usize = 1 << 20;
/// Looks for which a file without its name is held open, should its writer go on.
const ORPHAN_LOOKS: u8 = 30;

/// What a look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// The content starts anew: the bytes of this look are the first of it.
    pub restarted: bool,
    /// There may be more to read at once.
    pub more: bool,
    /// The path names no file now.
    pub missing: bool,
    /// The content before was cut, or went away unread.
    pub cut: Option<Cut>,
}

/// What may be lost of a content that was cut or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes that were seen to be there and never read.
    pub unread: u64,
    /// Since the last look before it; what was written within may be lost as well.
    pub unwatched: Duration,
}

/// Follows the file that a path names.
#[derive(Debug)]
pub struct Follower<D: Disk = System> {
    disk: D,
    path: PathBuf,
    /// NUL bytes at the end are no content yet.
    text: bool,
    handle: Option<D::File>,
    id: Option<Id>,
    offset: u64,
    /// First bytes of the content, and the last ones before the offset.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Looks that found it shorter than it was.
    shrunk: u8,
    /// Looks that found nothing.
    idle: u32,
    /// Looks that found nothing in the held file while the path named another one, or none.
    orphan: u8,
    /// It was read to its end after that.
    complete: bool,
    /// It ended in NUL bytes at the last read: a write that is still to come.
    coming: bool,
    /// Largest size of this content that was seen.
    largest: u64,
    seen: Option<(u64, Option<f64>)>,
    modified: Option<f64>,
    looked: Option<Instant>,
    /// What is still to be told because its look failed.
    owed: Look,
}

impl Follower {
    pub fn new(path: &Path) -> Self {
        Follower::on(System::default(), path)
    }

    /// Of a text: a client of a network file system may show NUL bytes where another one's write
    /// has come only in part, so those at its end are left for a later look.
    pub fn text(path: &Path) -> Self {
        Follower { text: true, ..Follower::new(path) }
    }
}

impl<D: Disk> Follower<D> {
    /// Of a file on another file system.
    pub fn on(disk: D, path: &Path) -> Self {
        Follower {
            disk,
            path: path.to_path_buf(),
            text: false,
            handle: None,
            id: None,
            offset: 0,
            head: Vec::new(),
            tail: Vec::new(),
            shrunk: 0,
            idle: 0,
            orphan: 0,
            complete: false,
            coming: false,
            largest: 0,
            seen: None,
            modified: None,
            looked: None,
            owed: Look::default(),
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
        let mut look = std::mem::take(&mut self.owed);
        match self.try_look(budget.max(1), out, &mut look) {
            Ok(()) => {
                self.looked = Some(Instant::now());
                if !look.more && self.disk.crowded() {
                    self.handle = None;
                }
                Ok(look)
            }
            Err(e) => {
                self.handle = None;
                // The content may have been found to start anew before this went wrong.
                self.owed = Look { restarted: look.restarted, cut: look.cut, ..Look::default() };
                Err(e)
            }
        }
    }

    fn try_look(&mut self, budget: usize, out: &mut Vec<u8>, look: &mut Look) -> Result<(), Error> {
        let at_path = match self.disk.stat(&self.path) {
            Ok(stat) => Some(stat),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        look.missing = at_path.is_none();
        if let Some(stat) = &at_path {
            if stat.directory {
                return Err(Error::new(ErrorKind::IsADirectory, "this is a directory, not a file"));
            }
            if self.nothing_new(stat) {
                return Ok(());
            }
        }
        if self.handle.is_none() {
            self.take(at_path, look)?;
        }
        if self.read(budget, out, look)? > 0 || look.restarted {
            self.orphan = 0;
            return Ok(());
        }
        // Nothing more in the file we hold; does the path name another one?
        let named = at_path.is_some_and(|s| self.id == Some(s.id));
        self.complete |= !named && self.handle.is_some() && self.shrunk == 0 && !self.coming;
        match at_path {
            Some(_) if named => (self.orphan, self.complete) = (0, false),
            Some(stat) if self.successor(&stat) => {
                self.handle = None;
                self.anew(stat, look)?;
                self.read(budget, out, look)?;
            }
            Some(_) => {}
            None => self.let_go(),
        }
        Ok(())
    }

    /// The file at the path is the one we hold, and by size and time there is nothing to read.
    fn nothing_new(&mut self, stat: &Stat) -> bool {
        let ours = self.id == Some(stat.id);
        let state = (stat.len, stat.modified);
        let same = ours && self.seen == Some(state) && stat.len == self.offset;
        self.seen = Some(state);
        self.idle = if same { self.idle.wrapping_add(1) } else { 0 };
        if ours {
            self.largest = self.largest.max(stat.len);
        }
        same && self.orphan == 0 && self.shrunk == 0 && !self.idle.is_multiple_of(DISTRUST)
    }

    /// Opens what there is to read: the file that was read so far, wherever it lies now, else the
    /// one at the path.
    fn take(&mut self, at_path: Option<Stat>, look: &mut Look) -> Result<(), Error> {
        let old = self.id.filter(|id| at_path.is_none_or(|s| s.id != *id));
        if let Some(id) = old
            && (self.orphan <= ORPHAN_LOOKS || at_path.is_some())
            && let Some(name) = self.disk.beside(&self.path, id)
        {
            match self.disk.open(&name) {
                Ok(file) if self.disk.stat_open(&file).is_ok_and(|s| s.id == id) => {
                    self.handle = Some(file);
                    return Ok(());
                }
                // It is not given up for a failure that may pass.
                Err(e) if self.orphan <= ORPHAN_LOOKS => {
                    self.orphan += 1;
                    return Err(e);
                }
                _ => {}
            }
        }
        match at_path {
            Some(stat) => self.anew(stat, look),
            None => Ok(()),
        }
    }

    /// Opens the path. Where another file lies there than the one read so far, that one is over.
    fn anew(&mut self, at_path: Stat, look: &mut Look) -> Result<(), Error> {
        let file = self.disk.open(&self.path)?;
        let stat = self.disk.stat_open(&file).unwrap_or(at_path);
        if self.id.is_some_and(|old| old != stat.id) {
            // Unless it was read to its end it went away while nobody held it.
            look.cut = self.lost().filter(|_| !self.complete);
            look.restarted = true;
            self.forget();
        }
        self.id = Some(stat.id);
        self.largest = self.largest.max(stat.len);
        self.handle = Some(file);
        Ok(())
    }

    /// Is it time to go over to the file at the path? Its first bytes say that its writer is there;
    /// the old one is looked at once more after that, for the end of a line, and until a write
    /// that has come in part is whole.
    fn successor(&mut self, at_path: &Stat) -> bool {
        let more = at_path.len == 0 || self.coming;
        let waits = more && !self.deleted() && self.orphan <= ORPHAN_LOOKS;
        let again = self.orphan > 0;
        self.orphan = self.orphan.saturating_add(1);
        again && !waits
    }

    /// The path names nothing. A deleted file that is held open keeps its place on the disk, and
    /// on NFS its directory; a renamed one may still be written to.
    fn let_go(&mut self) {
        let again = self.orphan > 0;
        self.orphan = self.orphan.saturating_add(1);
        if (again && self.deleted()) || self.orphan > ORPHAN_LOOKS {
            self.handle = None;
        }
    }

    /// The held file has no name any more. What is not held may have one.
    fn deleted(&self) -> bool {
        let stat = self.handle.as_ref().map(|f| self.disk.stat_open(f));
        stat.is_some_and(|s| !s.is_ok_and(|s| s.links > 0))
    }

    fn lost(&self) -> Option<Cut> {
        let unwatched = self.looked.map_or(Duration::ZERO, |t| t.elapsed());
        Some(Cut { unread: self.largest.saturating_sub(self.offset), unwatched })
    }

    fn forget(&mut self) {
        self.offset = 0;
        self.head.clear();
        self.tail.clear();
        self.shrunk = 0;
        self.orphan = 0;
        self.complete = false;
        self.coming = false;
        self.largest = 0;
    }

    /// Reads at the offset, whatever the size is said to be, then makes sure that what lies before
    /// the offset is what was read there. Returns the number of new bytes.
    fn read(&mut self, budget: usize, out: &mut Vec<u8>, look: &mut Look) -> Result<usize, Error> {
        let Some(file) = &self.handle else { return Ok(0) };
        let before = out.len();
        let mut print = [0u8; PRINT];
        let print = &mut print[..self.tail.len()];
        // In this order: content that was exchanged between the two reads is not taken.
        let checked = self.fetch(file, budget, out).and_then(|coming| {
            let known = self.disk.read(file, print, self.offset - print.len() as u64)?;
            Ok((coming, known))
        });
        let (coming, known) = checked.inspect_err(|_| out.truncate(before))?;
        self.coming = coming;
        let new = out.len() - before;
        if known == self.tail.len() && print[..] == self.tail[..] {
            self.shrunk = 0;
            self.learn(&out[before..]);
            look.more = new == budget;
            return Ok(new);
        }
        out.truncate(before);
        if known < self.tail.len() && !self.believe_shrunk()? {
            return Ok(0);
        }
        look.cut = self.lost();
        look.restarted = true;
        self.forget();
        self.read(budget, out, look)
    }

    /// Appends what lies at the offset. True: NUL bytes at its end were left for a later look.
    fn fetch(&self, file: &D::File, budget: usize, out: &mut Vec<u8>) -> Result<bool, Error> {
        let before = out.len();
        out.resize(before + budget, 0);
        let mut n = self.disk.read(file, &mut out[before..], self.offset)?;
        let blank = |new: &[u8]| new.iter().rev().take_while(|b| **b == 0).count();
        let mut nuls = if self.text { blank(&out[before..before + n]) } else { 0 };
        if nuls > 0 && n == budget && !self.blank_to_the_end(file, self.offset + n as u64)? {
            // A hole in the file, or the write has come since.
            n = self.disk.read(file, &mut out[before..], self.offset)?;
            nuls = 0;
        }
        out.truncate(before + n - nuls);
        Ok(nuls > 0)
    }

    /// NUL bytes alone, and not many, lie from here to the end.
    fn blank_to_the_end(&self, file: &D::File, from: u64) -> Result<bool, Error> {
        let mut rest = vec![1; HOLE];
        let n = self.disk.read(file, &mut rest, from)?;
        Ok(n < HOLE && rest[..n].iter().all(|b| *b == 0))
    }

    /// Is a file that ends before the offset a truncated one?
    fn believe_shrunk(&mut self) -> Result<bool, Error> {
        let Some(file) = &self.handle else { return Ok(false) };
        let mut now = [0u8; PRINT];
        let n = self.disk.read(file, &mut now[..self.head.len()], 0)?;
        self.shrunk = self.shrunk.saturating_add(1);
        // The same beginning, only shorter: an old size, until it was asked for several times.
        let believed = now[..n] != self.head[..n] || self.shrunk >= SHRUNK_LOOKS;
        if !believed {
            // An open asks the server for the true size.
            self.handle = None;
        }
        Ok(believed)
    }

    /// Remembers what was read at the offset.
    fn learn(&mut self, new: &[u8]) {
        if new.is_empty() {
            return;
        }
        self.complete = false;
        let room = (PRINT - self.head.len()).min(new.len());
        self.head.extend_from_slice(&new[..room]);
        self.offset += new.len() as u64;
        self.largest = self.largest.max(self.offset);
        let kept = PRINT.saturating_sub(new.len()).min(self.tail.len());
        self.tail.drain(..self.tail.len() - kept);
        self.tail.extend_from_slice(&new[new.len().saturating_sub(PRINT)..]);
        let stat = self.handle.as_ref().and_then(|f| self.disk.stat_open(f).ok());
        self.modified = stat.and_then(|s| s.modified);
    }
}
