//! The live driver: a thread of its own with files, fits and commands on the wall clock.

use super::core::{Monitor, Settings};
use crate::clock;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::metrics::{Look, Wake};
use crate::refit::{Worker, give_way};
use crate::snapshot::Snapshot;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// Bytes read in all before commands and fits are looked at again.
const READ_BUDGET: usize = 8 << 20;
/// Snapshots are at least this far apart.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);
/// With nothing new, ages and states are looked at again this often.
const AGES_EVERY: Duration = Duration::from_secs(60);
/// New files are looked for, and quiet runs are noticed, this often.
const SCAN_EVERY: Duration = Duration::from_secs(3);
/// After a look at the files as many times as long is rested, so that a run of a million lines, or
/// a directory of thousands of files, costs a twentieth of a core and not the whole of it.
const REST: u32 = 19;
/// The same for fits.
const FIT_REST: u32 = 3;
/// A stalled file system must not put the next look off for ever.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What is there at the start is read at once; this long after it began at the latest the monitor
/// gives way.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A monitor that runs in a thread of its own.
#[derive(Debug)]
pub struct Handle {
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub commands: mpsc::UnboundedSender<Command>,
    /// The monitor stops when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl Handle {
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        commands: mpsc::UnboundedSender<Command>,
        stop: oneshot::Sender<()>,
    ) -> Handle {
        Handle { snapshots, commands, _stop: stop }
    }
}

/// Starts following PATHs.
///
/// # Errors
/// A PATH that is not a valid glob, or a thread that cannot be started.
pub fn spawn(paths: &[impl AsRef<OsStr>], settings: Settings) -> Result<Handle> {
    let mut monitor = Monitor::new(paths, settings)?;
    // A little of every file, so that the first screen shows something.
    monitor.read(0);
    monitor.read_control(clock::now());
    let first = Arc::new(monitor.snapshot(clock::now()));
    let (publish, snapshots) = watch::channel(first);
    let (commands, orders) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("runtime", e))?;
    std::thread::Builder::new()
        .name("monitor".into())
        .spawn(move || runtime.block_on(drive(monitor, publish, orders, stopped)))
        .map_err(|e| Error::io("thread", e))?;
    Ok(Handle::new(snapshots, commands, stop))
}

impl Monitor {
    /// See [`Settings::gives_way`].
    pub fn gives_way(&self) -> bool {
        self.settings.gives_way
    }
}

async fn drive(
    mut monitor: Monitor,
    publish: watch::Sender<Arc<Snapshot>>,
    mut orders: mpsc::UnboundedReceiver<Command>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut wake = Wake::new(&monitor.directories(), monitor.poll());
    let stdin = monitor.stdin();
    let mut worker = Worker::start(monitor.gives_way());
    let mut hurries = monitor.gives_way().then(Instant::now);
    let mut fitting = None;
    let mut fit_at = Instant::now();
    let mut more = true;
    let mut resting = false;
    let mut look_at = Instant::now();
    let mut next_scan = Instant::now() + SCAN_EVERY;
    let mut next_publish = Instant::now();
    let mut next_ages = Instant::now() + AGES_EVERY;
    loop {
        let ready = !more && !resting;
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            order = orders.recv() => match order {
                Some(order) => {
                    monitor.command(order, clock::now());
                    next_publish = Instant::now();
                    more = true;
                }
                None => return,
            },
            outcome = worker.next() => {
                if monitor.fitted(outcome, clock::now()) {
                    fit_at = fitting.take().map_or(fit_at, |begun| after(begun, Duration::ZERO, FIT_REST));
                }
            }
            () = sleep_until(next_scan) => {
                let begun = Instant::now();
                monitor.scan();
                wake.watch(&monitor.directories());
                monitor.read_control(clock::now());
                monitor.notice(clock::now());
                next_scan = after(begun, SCAN_EVERY, REST);
                more = true;
            }
            () = sleep_until(if monitor.has_changed() { next_publish } else { next_ages }) => {
                let begun = Instant::now();
                let snapshot = Arc::new(monitor.snapshot(clock::now()));
                if publish.send(snapshot).is_err() {
                    return;
                }
                next_publish = after(begun, PUBLISH_EVERY, REST);
                next_ages = Instant::now() + AGES_EVERY;
                look_at = look_at.max(next_publish);
                resting = true;
            }
            () = sleep_until(look_at), if resting => resting = false,
            look = wake.next(), if ready => {
                let begun = Instant::now();
                match look {
                    Look::Hint(paths) => {
                        monitor.hint(&paths);
                        monitor.read_control(clock::now());
                    }
                    Look::Poll => monitor.look_at_all(),
                }
                (more, resting, look_at) = (true, true, after(begun, Duration::ZERO, REST));
            }
            () = stdin.notified(), if ready => {
                monitor.look_at_all();
                more = true;
            }
            () = yield_now(), if more => {
                let begun = Instant::now();
                more = monitor.read(READ_BUDGET);
                if hurries.is_some_and(|since| !more || since.elapsed() > AT_ONCE) {
                    give_way();
                    hurries = None;
                }
                if !more && fitting.is_none() && begun >= fit_at && monitor.caught_up()
                    && monitor.fit_due()
                {
                    fitting = Some(Instant::now());
                    worker.request(monitor.request(clock::now()));
                }
                if !more {
                    (resting, look_at) = (true, look_at.max(after(begun, Duration::ZERO, REST)));
                }
            }
        }
    }
}

/// When work that began then, and is done now, may be done again: not before `least` is over, and
/// not before `rest` times as long as it took.
fn after(begun: Instant, least: Duration, rest: u32) -> Instant {
    let took = begun.elapsed();
    Instant::now() + (took * rest).clamp(least, LONGEST_REST.max(least))
}
