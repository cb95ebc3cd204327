//! A network file system in a bad mood, for tests: old sizes, stale handles, lost permissions, NUL
//! bytes where a write has come in part, inode numbers used again, a clock that steps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::model::World;
use super::{Disk, Id, Stat};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const PATH: &str = "/nfs/x.jsonl";

#[derive(Debug, Default)]
struct Kept {
    inode: u64,
    bytes: Vec<u8>,
    links: u64,
    modified: f64,
    /// From here on the newest write shows as NUL bytes, for so many reads.
    coming: Option<(usize, u8)>,
}

#[derive(Debug, Default)]
struct Server {
    /// By serial number, never used again; inode numbers are.
    files: Vec<Kept>,
    names: BTreeMap<PathBuf, usize>,
    free_inode: Option<u64>,
    clock: f64,
    fail_stat: u8,
    fail_open: u8,
    fail_read: u8,
    /// The client's idea of the size of a file, for so many calls.
    old_size: Option<(usize, usize, u8)>,
    hide_next: bool,
    reuse_next: bool,
}

fn down(count: &mut u8) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

impl Server {
    fn named(&self, path: &Path) -> Result<usize, Error> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn size(&mut self, n: usize) -> usize {
        let true_size = self.files[n].bytes.len();
        match &mut self.old_size {
            Some((m, old, calls)) if *m == n && *calls > 0 => {
                *calls -= 1;
                (*old).min(true_size)
            }
            _ => true_size,
        }
    }

    fn stat(&mut self, n: usize) -> Stat {
        let len = self.size(n) as u64;
        let f = &self.files[n];
        // Times are coarse: many writes have one.
        let modified = Some((f.modified / 4.0).floor());
        Stat { id: (7, f.inode), len, modified, links: f.links, directory: false }
    }

    fn create(&mut self, path: &Path) -> usize {
        let new = 100 + self.files.len() as u64;
        let reused = self.free_inode.take().filter(|_| self.reuse_next);
        self.files.push(Kept { inode: reused.unwrap_or(new), links: 1, ..Kept::default() });
        self.names.insert(path.into(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn write(&mut self, n: usize, bytes: &[u8]) {
        self.clock += 1.0;
        let hidden = std::mem::take(&mut self.hide_next);
        let f = &mut self.files[n];
        f.coming = hidden.then_some((f.bytes.len(), 5));
        f.bytes.extend_from_slice(bytes);
        f.modified = self.clock;
    }
}

/// A client's view of it.
#[derive(Debug, Clone, Default)]
pub struct Client(Rc<RefCell<Server>>);

impl Disk for Client {
    type File = usize;

    fn stat(&self, path: &Path) -> Result<Stat, Error> {
        let mut s = self.0.borrow_mut();
        if down(&mut s.fail_stat) {
            return Err(ErrorKind::StaleNetworkFileHandle.into());
        }
        let n = s.named(path)?;
        Ok(s.stat(n))
    }

    fn open(&self, path: &Path) -> Result<usize, Error> {
        let mut s = self.0.borrow_mut();
        if down(&mut s.fail_open) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        // Close-to-open consistency: an open asks for the true size.
        s.old_size = None;
        s.named(path)
    }

    fn stat_open(&self, file: &usize) -> Result<Stat, Error> {
        let mut s = self.0.borrow_mut();
        match s.files[*file].links {
            0 => Err(ErrorKind::StaleNetworkFileHandle.into()),
            _ => Ok(s.stat(*file)),
        }
    }

    fn read(&self, file: &usize, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut s = self.0.borrow_mut();
        if down(&mut s.fail_read) || s.files[*file].links == 0 {
            return Err(ErrorKind::StaleNetworkFileHandle.into());
        }
        let end = s.size(*file);
        let f = &mut s.files[*file];
        let from = (offset as usize).min(end);
        let n = (end - from).min(buffer.len());
        buffer[..n].copy_from_slice(&f.bytes[from..from + n]);
        if let Some((hidden, reads)) = &mut f.coming {
            buffer[(*hidden).saturating_sub(from).min(n)..n].fill(0);
            if !down(reads) {
                f.coming = None;
            }
        }
        Ok(n)
    }

    fn beside(&self, _: &Path, id: Id) -> Option<PathBuf> {
        let s = self.0.borrow();
        let mut names = s.names.iter();
        names.find(|(_, n)| s.files[**n].inode == id.1).map(|(p, _)| p.clone())
    }

    fn crowded(&self) -> bool {
        self.0.borrow().files.len().is_multiple_of(3)
    }
}

/// The world of such a client.
#[derive(Debug, Default)]
pub struct Lying {
    client: Client,
    renamed: u32,
    old: Option<usize>,
}

impl Lying {
    fn here(&self) -> Option<usize> {
        self.client.0.borrow().named(Path::new(PATH)).ok()
    }
}

impl World for Lying {
    type Disk = Client;

    fn disk(&self) -> Client {
        self.client.clone()
    }

    fn path(&self) -> PathBuf {
        PATH.into()
    }

    fn exists(&self) -> bool {
        self.here().is_some()
    }

    fn append(&mut self, bytes: &[u8]) {
        let here = self.here();
        let mut s = self.client.0.borrow_mut();
        let n = here.unwrap_or_else(|| s.create(Path::new(PATH)));
        s.write(n, bytes);
    }

    fn cut(&mut self, len: usize) {
        let Some(n) = self.here() else { return };
        let mut s = self.client.0.borrow_mut();
        s.clock += 1.0;
        let clock = s.clock;
        let f = &mut s.files[n];
        f.bytes.truncate(len);
        (f.coming, f.modified) = (None, clock);
    }

    fn rename(&mut self) {
        self.renamed += 1;
        let mut s = self.client.0.borrow_mut();
        self.old = s.names.remove(Path::new(PATH));
        if let Some(n) = self.old {
            s.names.insert(PathBuf::from(format!("{PATH}.{}", self.renamed)), n);
        }
    }

    fn append_old(&mut self, bytes: &[u8]) -> bool {
        let Some(n) = self.old else { return false };
        self.client.0.borrow_mut().write(n, bytes);
        true
    }

    fn remove(&mut self) {
        let mut s = self.client.0.borrow_mut();
        if let Some(n) = s.names.remove(Path::new(PATH)) {
            s.files[n].links = 0;
            s.free_inode = Some(s.files[n].inode);
        }
    }

    fn switch(&mut self) {
        self.rename();
        self.append(b"");
    }

    fn fault(&mut self, kind: u8) -> bool {
        let here = self.here();
        let mut s = self.client.0.borrow_mut();
        let times = kind / 8 % 3 + 1;
        match (kind % 8, here) {
            (0, _) => s.fail_stat = times,
            (1, _) => s.fail_open = times,
            (2, _) => s.fail_read = times,
            // What was written so far; what comes is not seen by looks with the old handle.
            (3 | 4, Some(n)) => s.old_size = Some((n, s.files[n].bytes.len(), 2 * times)),
            (5, _) => s.hide_next = true,
            (6, _) => s.reuse_next = true,
            _ => s.clock -= 1000.0,
        }
        matches!(kind % 8, 3 | 4)
    }

    fn keeps_what_is_held(&self) -> bool {
        false
    }
}
