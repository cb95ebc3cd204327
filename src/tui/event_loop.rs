//! The loop: sleeps until a key, a snapshot or a signal comes, and draws when one of them changed
//! what is seen. Keys are answered at once, data at most twice a second.

use super::app::App;
use super::keymap::{self, Action, Key};
use super::settings::Settings;
use super::terminal::Screen;
use super::theme::{Scene, Theme};
use super::verdicts::Verdicts;
use super::{mouse, plots, update, views, words};
use crate::command::Command;
use crate::snapshot::Snapshot;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::buffer::Buffer;
use rustix::io::Errno;
use rustix::process::{Signal, getpgrp, getpid, getsid, kill_current_process_group, kill_process};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// Data is drawn at most this often.
const DATA_EVERY: Duration = Duration::from_millis(500);
/// And so long after the first screen, which shows what was read in an instant: the rest of a log
/// follows at once.
const DATA_FIRST: Duration = Duration::from_millis(40);

/// How the screen came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The person asked for it.
    Quit,
    /// SIGINT, SIGTERM or SIGHUP.
    Signal(i32),
    /// The monitor is gone.
    Ended,
}

struct Signals {
    stop: SignalStream,
    resumed: SignalStream,
    hang_up: SignalStream,
    terminate: SignalStream,
    interrupt: SignalStream,
    resized: SignalStream,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            stop: signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?,
            resumed: signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// The next signal.
    async fn next(&mut self) -> Signalled {
        let end = |s: Signal| Signalled::End(Exit::Signal(s.as_raw()));
        tokio::select! {
            biased;
            _ = self.hang_up.recv() => end(Signal::HUP),
            _ = self.terminate.recv() => end(Signal::TERM),
            _ = self.interrupt.recv() => end(Signal::INT),
            _ = self.stop.recv() => Signalled::Stop,
            _ = self.resumed.recv() => Signalled::Resumed,
            _ = self.resized.recv() => Signalled::Resized,
        }
    }
}

enum Signalled {
    End(Exit),
    Stop,
    Resumed,
    Resized,
}

/// Shows the snapshots, and the notices of what went wrong beside the monitor, and sends commands
/// until the person quits or a signal ends it. The terminal is left as it was found on every way
/// out.
///
/// # Errors
/// The terminal cannot be set up, read or written.
pub async fn run(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    commands: UnboundedSender<Command>,
    notices: UnboundedReceiver<String>,
    settings: Settings,
) -> io::Result<Exit> {
    match show(snapshots, commands, notices, settings).await {
        // The terminal was closed, and its signal comes after the failed write, or never.
        Err(error) if hung_up(&error) => Ok(Exit::Signal(Signal::HUP.as_raw())),
        other => other,
    }
}

fn hung_up(error: &io::Error) -> bool {
    let gone = [Errno::IO, Errno::NXIO, Errno::PIPE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

async fn show(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    commands: UnboundedSender<Command>,
    mut notices: UnboundedReceiver<String>,
    settings: Settings,
) -> io::Result<Exit> {
    let mut signals = Signals::new()?;
    let mut screen = Screen::enter(&settings)?;
    let mut theme = Theme::new(&settings);
    let mut events = events()?;
    let mut app = App::starting(&settings);
    let mut snapshot = snapshots.borrow_and_update().clone();
    let mut verdicts = settings.bell.then(Verdicts::default);
    verdicts.iter_mut().for_each(|v| drop(v.changes(&snapshot)));
    // Runs after each drawing of new data; what comes meanwhile waits for its end.
    let mut pause: Option<Pin<Box<Sleep>>> = None;
    let mut every = DATA_FIRST;
    let mut waiting = false;
    let (pictures, mut written) = unbounded_channel();
    loop {
        if !screen.is_ours() {
            return Err(io::Error::other("a part of boptop panicked; its words stand above"));
        }
        if app.quit {
            return Ok(Exit::Quit);
        }
        if std::mem::take(&mut app.suspend) {
            suspend(&mut app, &mut screen, &mut signals, true).await?;
        }
        if let Some(picture) = app.picture.take() {
            picture.write_in_background(pictures.clone());
        }
        if let Some(look) = plots::look(&mut app, &snapshot) {
            let _ = commands.send(look);
        }
        theme.name = app.theme;
        draw(&mut screen, &mut app, &snapshot, &theme)?;
        // Goes round until something is to be drawn.
        loop {
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signalled::End(exit) => return Ok(exit),
                    Signalled::Stop => {
                        suspend(&mut app, &mut screen, &mut signals, false).await?;
                    }
                    Signalled::Resumed => screen.resume()?,
                    // A terminal that shrank and grew again has lost cells, though its size is
                    // what it was. The event of it may wait for the next key (crossterm 0.29).
                    Signalled::Resized => app.redraw = true,
                },
                event = events.recv() => {
                    let Some(event) = event else { return Ok(Exit::Signal(Signal::HUP.as_raw())) };
                    handle(event?, &mut app, &snapshot, &commands);
                    // A burst (the wheel, a resize) is drawn once.
                    while let Ok(event) = events.try_recv() {
                        handle(event?, &mut app, &snapshot, &commands);
                    }
                }
                Some(words) = written.recv() => app.said = Some(words),
                Some(trouble) = notices.recv() => app.trouble(trouble),
                () = over(&mut pause), if pause.is_some() => {
                    pause = None;
                    if !std::mem::take(&mut waiting) {
                        continue;
                    }
                    pause = Some(after_data(&mut every));
                }
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return Ok(Exit::Ended);
                    }
                    let next = snapshots.borrow_and_update().clone();
                    let same = looks_the_same(&snapshot, &next);
                    snapshot = next;
                    if verdicts.as_mut().is_some_and(|v| !v.changes(&snapshot).is_empty()) {
                        screen.ring()?;
                    }
                    if same {
                        continue;
                    }
                    if pause.is_some() {
                        waiting = true;
                        continue;
                    }
                    pause = Some(after_data(&mut every));
                }
            }
            break;
        }
    }
}

/// The pause after new data was drawn; each is twice as long as the one before, up to the usual.
fn after_data(every: &mut Duration) -> Pin<Box<Sleep>> {
    let pause = Box::pin(sleep(*every));
    *every = (*every * 2).min(DATA_EVERY);
    pause
}

/// Keys, the mouse, pasted text. They are read in a thread of their own: at a terminal that was
/// closed crossterm 0.29 reads in a circle and never returns, and the loop must see the signal.
fn events() -> io::Result<UnboundedReceiver<io::Result<Event>>> {
    let (events, read) = unbounded_channel();
    let forward = move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if events.send(event).is_err() || failed {
                return;
            }
        }
    };
    std::thread::Builder::new().name("keys".into()).spawn(forward)?;
    Ok(read)
}

async fn over(pause: &mut Option<Pin<Box<Sleep>>>) {
    if let Some(sleep) = pause {
        sleep.await;
    }
}

fn draw(screen: &mut Screen, app: &mut App, snapshot: &Snapshot, theme: &Theme) -> io::Result<()> {
    let area = screen.area();
    app.size = (area.width, area.height);
    update::settle(app, snapshot);
    if std::mem::take(&mut app.redraw) {
        screen.redraw();
    }
    if let Some(text) = app.copy.take() {
        screen.copy(&text)?;
    }
    let mut buffer = Buffer::empty(area);
    views::draw(Scene { snapshot, app, theme }, area, &mut buffer);
    screen.show(buffer)
}

fn handle(event: Event, app: &mut App, snapshot: &Snapshot, commands: &UnboundedSender<Command>) {
    // Alt is an Esc before the key: on a slow line both come together, and an Esc that cancels must
    // not become part of the key after it.
    if let Event::Key(key) = &event
        && key.modifiers.contains(KeyModifiers::ALT)
    {
        let plain = key.modifiers.difference(KeyModifiers::ALT);
        let esc = KeyEvent::new_with_kind(KeyCode::Esc, KeyModifiers::NONE, key.kind);
        for key in [esc, KeyEvent { modifiers: plain, ..*key }] {
            handle(Event::Key(key), app, snapshot, commands);
        }
        return;
    }
    let actions: Vec<Action> = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            keymap::action(Key::from_event(&key), app, snapshot).into_iter().collect()
        }
        Event::Mouse(event) => mouse::action(&event, app, snapshot).into_iter().collect(),
        // Pasted text is text, never keys: it may only be typed into the filter.
        Event::Paste(text) if app.overview.typing => {
            text.chars().filter(|c| !c.is_control()).map(Action::Type).collect()
        }
        // What is pressed after it is pressed on the new screen.
        Event::Resize(width, height) => {
            app.size = (width, height);
            Vec::new()
        }
        _ => Vec::new(),
    };
    for action in actions {
        if let Some(command) = update::update(app, action, snapshot) {
            // Without a monitor nobody obeys; the closed snapshot channel ends the loop.
            let _ = commands.send(command);
        }
    }
}

/// Gives the terminal back and stops, with the whole job (`tail -F log | boptop -`) where a key
/// asked for it, until the shell continues it.
async fn suspend(
    app: &mut App,
    screen: &mut Screen,
    signals: &mut Signals,
    job: bool,
) -> io::Result<()> {
    // A job of a shell has a process group of its own. Without one nobody would continue us.
    if getsid(None).is_ok_and(|session| session == getpgrp()) {
        app.said = Some("there is no shell to suspend to".into());
        return Ok(());
    }
    screen.leave();
    while signals.resumed.recv().now_or_never().flatten().is_some() {}
    // SIGTSTP would come back to our own handler.
    if job {
        kill_current_process_group(Signal::STOP)?;
    } else {
        kill_process(getpid(), Signal::STOP)?;
    }
    // The stop may take effect a moment later: only a continue says that it is over.
    let _ = signals.resumed.recv().await;
    while signals.stop.recv().now_or_never().flatten().is_some() {}
    screen.resume()
}

/// Whether two snapshots draw the same screen: the clock alone shows only through coarse ages.
fn looks_the_same(a: &Snapshot, b: &Snapshot) -> bool {
    let ages = |s: &Snapshot| -> Vec<String> {
        s.runs.iter().map(|r| words::age(s.at, r.last_write)).collect()
    };
    let rest = |s: &Snapshot| (s.read_only, s.replay.clone(), s.messages.clone());
    rest(a) == rest(b)
        && a.runs == b.runs
        && a.sources == b.sources
        && same_fit(a, b)
        && ages(a) == ages(b)
}

fn same_fit(a: &Snapshot, b: &Snapshot) -> bool {
    Arc::ptr_eq(&a.fit, &b.fit) || a.fit == b.fit
}

/// A future polled once.
trait NowOrNever: Future + Sized {
    fn now_or_never(self) -> Option<Self::Output> {
        let mut future = std::pin::pin!(self);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(x) => Some(x),
            std::task::Poll::Pending => None,
        }
    }
}

impl<F: Future> NowOrNever for F {}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_clock_alone_changes_nothing_until_an_age_does() {
        let a = fixture::sweep();
        let mut b = a.clone();
        b.at += 5.0;
        assert!(looks_the_same(&a, &b));
        b.at += 3600.0;
        assert!(!looks_the_same(&a, &b));
        let mut c = a.clone();
        Arc::make_mut(&mut c.runs[0]).loss = Some(1.0);
        assert!(!looks_the_same(&a, &c));
    }

    #[test]
    fn an_escape_that_comes_with_the_next_key_cancels_all_the_same() {
        let s = fixture::proposed();
        let (tx, mut rx) = unbounded_channel();
        let alt = |c| Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::ALT));
        let mut app = App::showing(super::super::View::Schedule, Some("main-7b"));
        // Every guard is overridden: Y alone would write.
        super::super::press(&mut app, "a 1", &s);
        handle(alt('Y'), &mut app, &s, &tx);
        assert!(app.popup.is_none() && rx.try_recv().is_err());
        super::super::press(&mut app, "?", &s);
        handle(alt('5'), &mut app, &s, &tx);
        assert_eq!((app.popup.is_none(), app.view), (true, super::super::View::Control));
    }

    #[test]
    fn a_paste_is_never_taken_for_keys() {
        let s = fixture::proposed();
        let mut app = App::showing(super::super::View::Schedule, Some("main-7b"));
        super::super::press(&mut app, "a 1", &s);
        let (tx, mut rx) = unbounded_channel();
        handle(Event::Paste("Y\n".into()), &mut app, &s, &tx);
        assert!(rx.try_recv().is_err());
        app.popup = None;
        app.overview.typing = true;
        handle(Event::Paste("ma\u{1b}in".into()), &mut app, &s, &tx);
        assert_eq!(app.overview.filter, "main");
    }
}
