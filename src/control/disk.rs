//! The file-system calls of the write path behind one seam, so that each can be made to fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// The calls that change something on disk. The defaults are the real ones; a test replaces
/// single methods.
pub trait FileSystem {
    /// Creates a file that did not exist, for writing, mode 0664 less umask.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o664).open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    }

    fn set_group(&self, file: &File, gid: u32) -> io::Result<()> {
        Ok(rustix::fs::fchown(file, None, Some(rustix::fs::Gid::from_raw(gid)))?)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o775).create(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    /// Appends one line in a single write, begun with a newline where the file does not end in
    /// one, and syncs it.
    fn append(&self, path: &Path, line: &[u8]) -> io::Result<()> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o664).open(path)?;
        let mut text = Vec::with_capacity(line.len() + 2);
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last[0] != b'\n' {
                text.push(b'\n');
            }
        } else if let Ok(dir) = std::fs::metadata(path.parent().unwrap_or(Path::new("."))) {
            // New: colleagues of the directory's group append too.
            let _ = self.set_group(&file, dir.gid());
        }
        text.extend_from_slice(line);
        text.push(b'\n');
        let written = file.write(&text)?;
        if written < text.len() {
            // The rest would not be one write; what is there is a torn line that readers skip.
            return Err(io::Error::new(io::ErrorKind::StorageFull, "only half a line was taken"));
        }
        self.sync(&file)
    }
}

/// The real calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileSystem for Disk {}

/// A lock on a file or directory as long as it lives: a courtesy between writers, no guarantee (some NFS
/// mounts grant it to everybody).
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Locked {
    Mine(Lock),
    /// Another process holds it at this moment.
    Taken,
    /// This file system has none, or nothing is there to lock.
    Unknown,
}

/// Tries to lock a file or directory without waiting.
pub fn lock(path: &Path) -> Locked {
    let Ok(file) = File::open(path) else { return Locked::Unknown };
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Locked::Mine(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Locked::Taken,
        Err(_) => Locked::Unknown,
    }
}

/// [`lock`], waiting so long at most for whoever holds it. A blocking call could hang for ever on
/// a file system whose lock service died.
pub fn lock_within(path: &Path, limit: Duration) -> Locked {
    const TRIES: u32 = 50;
    for _ in 1..TRIES {
        match lock(path) {
            Locked::Taken => std::thread::sleep(limit / TRIES),
            other => return other,
        }
    }
    lock(path)
}

/// Device and inode, to know a file again under another name.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// What a person can do about a failed call.
pub fn remedy(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => "free space or quota there, then approve again",
        Some(Errno::ACCESS | Errno::PERM) => {
            "ask the owner of the directory for write permission, or write as its user"
        }
        Some(Errno::ROFS) => "the file system is read-only: remount it, or use --control PATH",
        Some(Errno::STALE) => "the server forgot the file: look again, then approve again",
        Some(Errno::NOENT) => "the directory is gone: check that the run still lives there",
        Some(Errno::IO) => "the disk or the server failed: check it before approving again",
        _ if error.kind() == io::ErrorKind::StorageFull => {
            "free space or quota there, then approve again"
        }
        _ => "check the directory, then approve again",
    }
}

/// Links are not to be had on this file system.
pub fn no_links(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::PERM
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::MLINK
                | Errno::XDEV
                | Errno::INVAL
        )
    )
}
