//! When to look: a notification of the file system is a hint, a poll lies beneath it. The only
//! timer of this module; what happened is never taken from a hint.

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Hints that come within this time are one.
const COALESCE: Duration = Duration::from_millis(5);
/// With more paths than this waiting, all is looked at.
const MAX_HINTS: usize = 1024;
/// Between two polls on local and on network file systems.
const LOCAL: Duration = Duration::from_secs(1);
const NETWORK: Duration = Duration::from_secs(3);

/// Types of file systems whose servers announce nothing (statfs `f_type`).
const NETWORK_TYPES: &[u64] = &[
    0x6969,      // NFS
    0x0bd0_0bd0, // Lustre
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x6573_5546, // FUSE
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0x00c3_6400, // Ceph
    0x0102_1997, // 9P
    0x5346_414f, // AFS
];

/// What woke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// These paths may have changed.
    Hint(Vec<PathBuf>),
    /// It is time to look at everything.
    Poll,
}

#[derive(Debug, Default)]
struct Hints {
    paths: Mutex<BTreeSet<PathBuf>>,
    notify: Notify,
}

impl Hints {
    fn add(&self, paths: Vec<PathBuf>) {
        let mut set = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if set.len() < MAX_HINTS {
            set.extend(paths);
        }
        drop(set);
        self.notify.notify_one();
    }

    fn take(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.paths.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn waiting(&self) -> bool {
        !self.paths.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Waits for hints and polls.
#[derive(Debug)]
pub struct Wake {
    hints: Arc<Hints>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
    interval: Option<Interval>,
    period: Duration,
}

impl Wake {
    /// Watches directories (not what lies in their directories). Where the system refuses a watch,
    /// the poll does without.
    pub fn new(dirs: &[PathBuf]) -> Wake {
        let hints = Arc::new(Hints::default());
        let sink = Arc::clone(&hints);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !matches!(event.kind, notify::EventKind::Access(_))
            {
                sink.add(event.paths);
            }
        })
        .ok();
        let mut wake = Wake { hints, watcher, watched: Vec::new(), interval: None, period: LOCAL };
        wake.watch(dirs);
        wake
    }

    /// Changes the directories that are watched.
    pub fn watch(&mut self, dirs: &[PathBuf]) {
        let Wake { watcher, watched, .. } = self;
        if let Some(w) = watcher {
            watched.retain(|d| {
                let stays = dirs.contains(d);
                if !stays {
                    // The directory may be gone, and its watch with it.
                    let _ = w.unwatch(d);
                }
                stays
            });
            for d in dirs {
                if !watched.contains(d) && w.watch(d, RecursiveMode::NonRecursive).is_ok() {
                    watched.push(d.clone());
                }
            }
        }
        let period = if dirs.iter().any(|d| is_network(d)) { NETWORK } else { LOCAL };
        if period != self.period {
            self.period = period;
            self.interval = None;
        }
    }

    /// Time between two polls.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The next reason to look; the first is a poll, at once. Nothing is lost when the future is
    /// dropped.
    pub async fn next(&mut self) -> Look {
        let period = self.period;
        let interval = self.interval.get_or_insert_with(|| {
            let mut i = interval(period);
            i.set_missed_tick_behavior(MissedTickBehavior::Delay);
            i
        });
        if !self.hints.waiting() {
            tokio::select! {
                biased;
                _ = interval.tick() => {
                    self.hints.take();
                    return Look::Poll;
                }
                () = self.hints.notify.notified() => {}
            }
        }
        // A storm of hints must not keep the poll from coming.
        tokio::select! {
            biased;
            _ = interval.tick() => {
                self.hints.take();
                Look::Poll
            }
            () = tokio::time::sleep(COALESCE) => {
                let paths = self.hints.take();
                if paths.len() >= MAX_HINTS { Look::Poll } else { Look::Hint(paths.into_iter().collect()) }
            }
        }
    }
}

/// Whether a path lies, or would lie, on a network file system.
pub fn on_network(path: &Path) -> bool {
    std::path::absolute(path)
        .is_ok_and(|full| full.ancestors().find(|p| p.exists()).is_some_and(is_network))
}

fn is_network(dir: &Path) -> bool {
    // The type is a magic number of 32 bits whatever the width of the field.
    rustix::fs::statfs(dir).is_ok_and(|s| NETWORK_TYPES.contains(&(s.f_type as u64 & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_wakes_with_its_path_and_many_writes_wake_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut wake = Wake::new(&[dir.path().to_path_buf()]);
        assert_eq!(wake.next().await, Look::Poll);
        let path = dir.path().join("x.jsonl");
        for i in 0..500 {
            std::fs::write(&path, format!("{i}\n")).unwrap();
        }
        // On a busy machine a poll may come before the first hint.
        let (mut hints, mut polls) = (0, 0);
        while hints == 0 || polls == 0 {
            match wake.next().await {
                Look::Hint(paths) => {
                    assert!(paths.is_empty() || paths.contains(&path), "{paths:?}");
                    hints += 1;
                }
                Look::Poll => polls += 1,
            }
            assert!(polls < 30, "no hint in 30 polls");
        }
        assert!(hints < 100, "{hints}");
    }

    #[tokio::test]
    async fn polls_come_without_any_hint_and_after_a_dropped_wait() {
        let mut wake = Wake::new(&[PathBuf::from("/does/not/exist")]);
        assert_eq!(wake.next().await, Look::Poll);
        let early = tokio::time::timeout(Duration::from_millis(10), wake.next()).await;
        assert!(early.is_err());
        assert_eq!(wake.next().await, Look::Poll);
    }

    #[test]
    fn directories_can_be_exchanged() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut wake = Wake::new(&[a.path().to_path_buf()]);
        wake.watch(&[b.path().to_path_buf()]);
        assert_eq!(wake.watched, [b.path().to_path_buf()]);
    }
}
