//! The few questions that a follower asks the file system: a seam, so that a test can be an NFS
//! server in a bad mood.

use std::fmt::Debug;
use std::fs::{self, File, Metadata};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

/// A shell's usual limit is 1,024.
const MANY_HANDLES: usize = 400;

static OPEN_HANDLES: AtomicUsize = AtomicUsize::new(0);

/// Device and inode.
pub type Id = (u64, u64);

/// What the system says of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stat {
    pub id: Id,
    /// Bytes; on network file systems perhaps an old figure.
    pub len: u64,
    /// Unix seconds.
    pub modified: Option<f64>,
    /// Names that it has; 0: deleted.
    pub links: u64,
    pub directory: bool,
}

impl Stat {
    pub fn of(meta: &Metadata) -> Stat {
        let modified = meta
            .modified()
            .ok()
            .map(|t| t.duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()));
        Stat {
            id: (meta.dev(), meta.ino()),
            len: meta.len(),
            modified,
            links: meta.nlink(),
            directory: meta.is_dir(),
        }
    }
}

/// A file system, as far as a follower needs one. Errors are those of the system.
pub trait Disk: Debug {
    type File: Debug;

    /// Of what the path names, through symlinks.
    fn stat(&self, path: &Path) -> Result<Stat, Error>;
    fn open(&self, path: &Path) -> Result<Self::File, Error>;
    fn stat_open(&self, file: &Self::File) -> Result<Stat, Error>;
    /// Fills as much of `buffer` as there is behind `offset`.
    fn read(&self, file: &Self::File, buffer: &mut [u8], offset: u64) -> Result<usize, Error>;
    /// Another name of the file `id` in the directory of `path`: where a rotation put it.
    fn beside(&self, path: &Path, id: Id) -> Option<PathBuf>;
    /// So many handles are open that idle ones should be given back.
    fn crowded(&self) -> bool;
}

/// The system's own.
#[derive(Debug, Clone, Copy)]
pub struct System {
    /// With more handles open than this, idle files give theirs back.
    pub many: usize,
}

impl Default for System {
    fn default() -> Self {
        System { many: MANY_HANDLES }
    }
}

/// An open file that is counted.
#[derive(Debug)]
pub struct Handle(File);

impl Drop for Handle {
    fn drop(&mut self) {
        OPEN_HANDLES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Disk for System {
    type File = Handle;

    fn stat(&self, path: &Path) -> Result<Stat, Error> {
        fs::metadata(path).map(|m| Stat::of(&m))
    }

    fn open(&self, path: &Path) -> Result<Handle, Error> {
        let file = File::open(path)?;
        OPEN_HANDLES.fetch_add(1, Ordering::Relaxed);
        Ok(Handle(file))
    }

    fn stat_open(&self, file: &Handle) -> Result<Stat, Error> {
        file.0.metadata().map(|m| Stat::of(&m))
    }

    fn read(&self, file: &Handle, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut n = 0;
        while n < buffer.len() {
            match file.0.read_at(&mut buffer[n..], offset + n as u64) {
                Ok(0) => break,
                Ok(k) => n += k,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(n)
    }

    fn beside(&self, path: &Path, id: Id) -> Option<PathBuf> {
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let same = |p: &PathBuf| fs::symlink_metadata(p).is_ok_and(|m| Stat::of(&m).id == id);
        let listed = fs::read_dir(dir).ok()?.flatten().filter(|e| e.ino() == id.1);
        listed.map(|e| e.path()).find(same)
    }

    fn crowded(&self) -> bool {
        OPEN_HANDLES.load(Ordering::Relaxed) > self.many
    }
}
