//! Plays a recording in a thread of its own, at a speed.

use super::recording::{Options, Recording};
use crate::command::{Command, ReplayCommand};
use crate::error::{Error, Result};
use crate::monitor::Handle;
use crate::refit::Worker;
use crate::snapshot::Snapshot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval};

/// Ticks of a playing replay.
const TICK: Duration = Duration::from_millis(100);

/// Plays a recording in a thread of its own.
///
/// # Errors
/// A thread that cannot be started.
pub fn spawn(mut recording: Recording, options: Options) -> Result<Handle> {
    let start = recording.start(&options);
    recording.advance(start);
    recording.monitor.set_replay(recording.view(start, true, options.speed));
    let first = Arc::new(recording.monitor.snapshot(start));
    let (publish, snapshots) = watch::channel(first);
    let (commands, orders) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let head = Head::new(&recording, start, options.speed, Instant::now());
    let player = Player { recording, head, fitting: false };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("runtime", e))?;
    std::thread::Builder::new()
        .name("replay".into())
        .spawn(move || runtime.block_on(player.play(publish, orders, stopped)))
        .map_err(|e| Error::io("thread", e))?;
    Ok(Handle::new(snapshots, commands, stop))
}

#[derive(Debug)]
struct Player {
    recording: Recording,
    head: Head,
    fitting: bool,
}

impl Player {
    async fn play(
        mut self,
        publish: watch::Sender<Arc<Snapshot>>,
        mut orders: mpsc::UnboundedReceiver<Command>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut worker = Worker::start();
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                order = orders.recv() => match order {
                    Some(Command::Replay(order)) => self.obey(order),
                    Some(other) => self.recording.monitor.command(other, self.head.key),
                    None => return,
                },
                outcome = worker.next() => {
                    self.fitting = !self.recording.monitor.fitted(outcome, self.head.key);
                }
                _ = ticks.tick(), if self.head.playing => {}
            }
            self.head.move_to(Instant::now());
            let key = self.head.key;
            self.recording.advance(key);
            if !self.fitting && self.recording.monitor.fit_due() {
                self.fitting = true;
                worker.request(self.recording.monitor.request(key));
            }
            let view = self.recording.view(key, self.head.playing, self.head.speed);
            self.recording.monitor.set_replay(view);
            if self.recording.monitor.has_changed() {
                let snapshot = Arc::new(self.recording.monitor.snapshot(key));
                if publish.send(snapshot).is_err() {
                    return;
                }
            }
        }
    }

    fn obey(&mut self, order: ReplayCommand) {
        self.head.move_to(Instant::now());
        match order {
            ReplayCommand::TogglePause => self.head.toggle(),
            ReplayCommand::Step => {
                let next = self.recording.moments.get(self.recording.fed).map(|m| m.key);
                self.head.hold(next.unwrap_or(self.head.to));
            }
            ReplayCommand::Speed(speed) => self.head.speed = speed.max(0.0),
            ReplayCommand::Seek(position) => self.head.seek(position),
        }
    }
}

/// Where the replay stands, and how it moves.
#[derive(Debug)]
struct Head {
    key: f64,
    speed: f64,
    playing: bool,
    from: f64,
    to: f64,
    by_tokens: bool,
    /// When it was last moved.
    moved: Instant,
}

impl Head {
    fn new(recording: &Recording, key: f64, speed: f64, now: Instant) -> Head {
        let (from, to) = (recording.from(), recording.to());
        Head { key, speed, playing: true, from, to, by_tokens: recording.by_tokens, moved: now }
    }

    /// To where it has come by now. A pause counts for nothing. Tokens have no seconds of their
    /// own: there a speed of 60 plays the whole record in one minute.
    fn move_to(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.moved).as_secs_f64();
        self.moved = now;
        if !self.playing {
            return;
        }
        let a_second = if self.by_tokens { (self.to - self.from) / 3600.0 } else { 1.0 };
        self.key = match self.speed.is_infinite() {
            true => self.to,
            false => (self.key + seconds * self.speed * a_second).min(self.to),
        };
        self.playing = self.key < self.to;
    }

    fn toggle(&mut self) {
        self.playing = !self.playing && self.key < self.to;
    }

    fn hold(&mut self, key: f64) {
        self.playing = false;
        self.key = key;
    }

    /// To a fraction of the record, 0 to 1.
    fn seek(&mut self, position: f64) {
        self.key = self.from + position.clamp(0.0, 1.0) * (self.to - self.from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            key: 100.0,
            speed: 60.0,
            playing: true,
            from: 100.0,
            to: 10_100.0,
            by_tokens: false,
            moved: Instant::now(),
        }
    }

    #[test]
    fn a_pause_of_an_hour_moves_nothing() {
        let mut head = head();
        let begin = head.moved;
        let at = |s| begin + Duration::from_secs(s);
        head.move_to(at(1));
        assert_eq!(head.key, 160.0);
        head.toggle();
        head.move_to(at(3601));
        head.toggle();
        head.move_to(at(3602));
        assert_eq!(head.key, 220.0);
    }

    #[test]
    fn it_ends_at_the_end_and_goes_on_after_a_seek_and_a_key() {
        let mut head = head();
        let begin = head.moved;
        head.move_to(begin + Duration::from_secs(1000));
        assert_eq!((head.key, head.playing), (10_100.0, false));
        head.toggle();
        assert!(!head.playing, "there is nothing more to play");
        head.seek(0.5);
        head.toggle();
        assert_eq!((head.key, head.playing), (5100.0, true));
    }
}
