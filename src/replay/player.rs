//! Plays a recording in a thread of its own, at a speed.

use super::changes::Changes;
use super::recording::{Options, Recording};
use crate::command::{Command, ReplayCommand};
use crate::error::{Error, Result};
use crate::monitor::Handle;
use crate::refit::{Worker, give_way};
use crate::snapshot::{ReplayView, Snapshot};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval};

/// Ticks of a playing replay.
const TICK: Duration = Duration::from_millis(100);
/// On the way to the next change a fit may be due each time so many parts of the record were told.
const HUNT_PARTS: usize = 200;

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
    let changes = Changes::new(&recording);
    let player = Player { recording, head, changes, asked: None, hunting: false };
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
    changes: Changes,
    /// The key of the fit that is being made, and whether it was left behind by a jump back since:
    /// then it knows what is still to come, and nothing of it is told.
    asked: Option<(f64, bool)>,
    /// On the way to the next change.
    hunting: bool,
}

impl Player {
    async fn play(
        mut self,
        publish: watch::Sender<Arc<Snapshot>>,
        mut orders: mpsc::UnboundedReceiver<Command>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let gives_way = self.recording.monitor.gives_way();
        if gives_way {
            give_way();
        }
        let mut worker = Worker::start(gives_way);
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
                    let (asked, left) = self.asked.unwrap_or((self.head.key, false));
                    let whole = outcome.plans.is_some();
                    if !left {
                        self.recording.monitor.fitted(outcome, self.head.key);
                    }
                    if whole {
                        self.asked = None;
                    }
                    if whole && !left {
                        let snapshot = Arc::new(self.recording.monitor.snapshot(self.head.key));
                        if self.changes.note(asked, &snapshot) {
                            self.hunting = false;
                        }
                        if publish.send(snapshot).is_err() {
                            return;
                        }
                    }
                }
                () = std::future::ready(()), if self.hunting && self.asked.is_none() => {
                    self.hunt();
                }
                _ = ticks.tick(), if self.head.playing => {}
            }
            self.head.move_to(Instant::now());
            let key = self.head.key;
            if self.recording.advance(key) {
                self.leave();
            }
            if self.asked.is_none() && self.recording.monitor.fit_due() {
                self.asked = Some((key, false));
                worker.request(self.recording.monitor.request(key));
            }
            let view = self.view();
            self.recording.monitor.set_replay(view);
            if self.recording.monitor.has_changed() {
                let snapshot = Arc::new(self.recording.monitor.snapshot(key));
                if publish.send(snapshot).is_err() {
                    return;
                }
            }
        }
    }

    fn view(&self) -> ReplayView {
        let head = &self.head;
        let place = |key: f64| (key - head.from) / (head.to - head.from);
        ReplayView {
            hunting: self.hunting,
            changes: self.changes.passed(head.key).into_iter().map(place).collect(),
            ..self.recording.view(head.key, head.playing, head.speed)
        }
    }

    /// A part of the record further, at most to the next bump, which ends it as the end does.
    fn hunt(&mut self) {
        let r = &self.recording;
        let until = self.changes.next_bump(self.head.key).unwrap_or(self.head.to);
        let part = (r.fed + r.moments.len().div_ceil(HUNT_PARTS)).min(r.moments.len());
        let reached = r.moments.get(part.saturating_sub(1)).map_or(until, |m| m.key);
        self.head.hold(reached.max(self.head.key).min(until));
        self.hunting = self.head.key < until;
    }

    fn obey(&mut self, order: ReplayCommand) {
        self.head.move_to(Instant::now());
        self.hunting = false;
        match order {
            ReplayCommand::TogglePause => self.head.toggle(),
            ReplayCommand::Step => {
                let next = self.recording.moments.get(self.recording.fed).map(|m| m.key);
                self.head.hold(next.unwrap_or(self.head.to));
            }
            ReplayCommand::Speed(speed) => self.head.speed = speed.max(0.0),
            ReplayCommand::Seek(position) => self.jump(|head, _| head.place(position)),
            ReplayCommand::SeekTokens(n) => {
                // It reads the files from their beginning, which forgets what was told.
                self.jump(|_, recording| recording.key_of_tokens(n));
                self.leave();
            }
            // Tokens have no seconds.
            ReplayCommand::SeekSeconds(_) if self.head.by_tokens => {}
            ReplayCommand::SeekSeconds(s) => self.jump(|head, _| head.from + s),
            ReplayCommand::NextChange => {
                self.hunting = self.head.key < self.head.to;
                self.head.hold(self.head.key);
            }
            ReplayCommand::PreviousChange => {
                let key = self.changes.previous(self.head.key).unwrap_or(self.head.from);
                self.jump(|_, _| key);
                self.head.hold(key);
            }
        }
    }

    /// What was told is forgotten: a fit that is being made knows too much.
    fn leave(&mut self) {
        self.changes.forget();
        self.asked = self.asked.map(|(key, _)| (key, true));
    }

    /// Elsewhere: what is said there is compared with nothing.
    fn jump(&mut self, to: impl FnOnce(&Head, &mut Recording) -> f64) {
        let key = to(&self.head, &mut self.recording);
        if key.is_finite() {
            self.head.key = key.clamp(self.head.from, self.head.to);
            self.changes.forget();
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

    /// The key of a fraction of the record, 0 to 1.
    fn place(&self, position: f64) -> f64 {
        self.from + position.clamp(0.0, 1.0) * (self.to - self.from)
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
        head.key = head.place(0.5);
        head.toggle();
        assert_eq!((head.key, head.playing), (5100.0, true));
    }
}
