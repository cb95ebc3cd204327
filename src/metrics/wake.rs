//! When to look: a notification of the file system is a hint, a poll lies beneath it. The only
//! timer of this module; what happened is never taken from a hint.

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Hints were lost: anything may have changed.
    lost: AtomicBool,
    notify: Notify,
}

impl Hints {
    fn add(&self, event: notify::Event) {
        let mut set = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if event.need_rescan() || set.len() >= MAX_HINTS {
            self.lost.store(true, Ordering::Relaxed);
        } else {
            set.extend(event.paths);
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
    /// What is to be watched: whether it is, and whether it lies on a network file system.
    watched: BTreeMap<PathBuf, Watched>,
    interval: Option<Interval>,
    period: Duration,
    /// As a person wants it.
    stated: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watched {
    hinted: bool,
    network: bool,
}

impl Wake {
    /// Watches directories (not what lies in their directories). Where the system refuses a watch,
    /// the poll does without. `poll`: no watches at all, and a poll that often.
    pub fn new(dirs: &[PathBuf], poll: Option<Duration>) -> Wake {
        let hints = Arc::new(Hints::default());
        let sink = Arc::clone(&hints);
        let told = move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !matches!(event.kind, notify::EventKind::Access(_))
            {
                sink.add(event);
            }
        };
        let watcher = match poll {
            Some(_) => None,
            None => notify::recommended_watcher(told).ok(),
        };
        let mut wake = Wake {
            hints,
            watcher,
            watched: BTreeMap::new(),
            interval: None,
            period: poll.unwrap_or(LOCAL),
            stated: poll,
        };
        wake.watch(dirs);
        wake
    }

    /// Changes the directories that are watched.
    pub fn watch(&mut self, dirs: &[PathBuf]) {
        let wanted: BTreeSet<&PathBuf> = dirs.iter().collect();
        let Wake { watcher, watched, .. } = self;
        watched.retain(|dir, state| {
            let stays = wanted.contains(dir);
            if let Some(w) = watcher.as_mut().filter(|_| state.hinted && !stays) {
                // The directory may be gone, and its watch with it.
                let _ = w.unwatch(dir);
            }
            stays
        });
        for dir in wanted {
            let known = watched.get(dir).copied();
            if known.is_some_and(|s| s.hinted || watcher.is_none()) {
                continue;
            }
            let network = known.map_or_else(|| is_network(dir), |s| s.network);
            let watch = |w: &mut RecommendedWatcher| w.watch(dir, RecursiveMode::NonRecursive);
            let hinted = watcher.as_mut().is_some_and(|w| watch(w).is_ok());
            watched.insert(dir.clone(), Watched { hinted, network });
        }
        let network = watched.values().any(|s| s.network);
        let period = self.stated.unwrap_or(if network { NETWORK } else { LOCAL });
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
        loop {
            if !self.hints.waiting() {
                tokio::select! {
                    biased;
                    _ = interval.tick() => break,
                    () = self.hints.notify.notified() => {}
                }
            }
            // A storm of hints must not keep the poll from coming.
            tokio::select! {
                biased;
                _ = interval.tick() => break,
                () = tokio::time::sleep(COALESCE) => {}
            }
            if self.hints.lost.load(Ordering::Relaxed) {
                break;
            }
            let paths = self.hints.take();
            if !paths.is_empty() {
                return Look::Hint(paths.into_iter().collect());
            }
        }
        self.hints.lost.store(false, Ordering::Relaxed);
        self.hints.take();
        Look::Poll
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
        let mut wake = Wake::new(&[dir.path().to_path_buf()], None);
        assert_eq!(wake.next().await, Look::Poll);
        let path = dir.path().join("x.jsonl");
        // On a busy machine a poll may come before the first hint, and takes it along.
        let mut hinted = false;
        for _ in 0..30 {
            for i in 0..500 {
                std::fs::write(&path, format!("{i}\n")).unwrap();
            }
            if let Look::Hint(paths) = wake.next().await {
                assert!(paths.contains(&path), "{paths:?}");
                hinted = true;
                break;
            }
        }
        assert!(hinted, "no hint in 30 polls");
        let mut hints = 0;
        while wake.next().await != Look::Poll {
            hints += 1;
        }
        assert!(hints < 100, "{hints}");
    }

    #[tokio::test]
    async fn polls_come_without_any_hint_and_after_a_dropped_wait() {
        let mut wake = Wake::new(&[PathBuf::from("/does/not/exist")], None);
        assert_eq!(wake.next().await, Look::Poll);
        let early = tokio::time::timeout(Duration::from_millis(10), wake.next()).await;
        assert!(early.is_err());
        assert_eq!(wake.next().await, Look::Poll);
    }

    #[tokio::test]
    async fn where_a_poll_is_asked_for_there_are_no_hints() {
        let dir = tempfile::tempdir().unwrap();
        let period = Duration::from_millis(20);
        let mut wake = Wake::new(&[dir.path().to_path_buf()], Some(period));
        assert_eq!(wake.period(), period);
        for i in 0..5 {
            std::fs::write(dir.path().join("x.jsonl"), format!("{i}\n")).unwrap();
            assert_eq!(wake.next().await, Look::Poll);
        }
    }

    #[tokio::test]
    async fn hints_that_were_lost_make_a_poll() {
        let dir = tempfile::tempdir().unwrap();
        let mut wake = Wake::new(&[dir.path().to_path_buf()], None);
        wake.next().await;
        wake.interval = Some(interval(Duration::from_secs(3600)));
        wake.next().await;
        let rescan =
            notify::Event::new(notify::EventKind::Other).set_flag(notify::event::Flag::Rescan);
        wake.hints.add(rescan);
        assert_eq!(wake.next().await, Look::Poll);
    }

    #[test]
    fn directories_can_be_exchanged_and_come_back() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let watched = |wake: &Wake| -> Vec<(PathBuf, bool)> {
            wake.watched.iter().map(|(d, s)| (d.clone(), s.hinted)).collect()
        };
        let mut wake = Wake::new(&[a.path().to_path_buf()], None);
        wake.watch(&[b.path().to_path_buf()]);
        assert_eq!(watched(&wake), [(b.path().to_path_buf(), true)]);
        let late = a.path().join("late");
        wake.watch(std::slice::from_ref(&late));
        assert_eq!(watched(&wake), [(late.clone(), false)]);
        std::fs::create_dir(&late).unwrap();
        wake.watch(std::slice::from_ref(&late));
        assert_eq!(watched(&wake), [(late, true)]);
    }
}
