//! A program in a pseudo-terminal: keys in, the screen as a person would see it out. Everything is
//! awaited, nothing slept for.

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A loaded machine is slow; a program that hangs is found all the same.
const DEADLINE: Duration = Duration::from_secs(60);

/// What came out of the program so far.
struct State {
    parser: vt100::Parser,
    raw: Vec<u8>,
    /// How it ended: the exit code, or the name of the signal.
    ended: Option<Result<u32, String>>,
    /// Nothing more will come.
    drained: bool,
    stop: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

pub struct Pty {
    shared: Shared,
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    reader: Option<JoinHandle<()>>,
    killer: Box<dyn portable_pty::ChildKiller + Send + Sync>,
    pub pid: i32,
    before: String,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a terminal is told to be: the same for every test, whatever surrounds it.
pub fn command(program: &str) -> CommandBuilder {
    let mut command = CommandBuilder::new(program);
    for gone in [
        "NO_COLOR",
        "COLORTERM",
        "COLORFGBG",
        "LC_ALL",
        "LC_CTYPE",
        "BOPTOP_CONTROL",
        "BOPTOP_CONFIG",
    ] {
        command.env_remove(gone);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command.env("TERM", "xterm-256color");
    command.env("LANG", "en_US.UTF-8");
    command.cwd(env!("CARGO_MANIFEST_DIR"));
    command
}

pub fn boptop<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> CommandBuilder {
    let mut command = command(env!("CARGO_BIN_EXE_boptop"));
    command.args(args);
    command
}

impl Pty {
    /// Starts a program as the leader of a session with this terminal.
    pub fn start(command: CommandBuilder, columns: u16, rows: u16) -> Pty {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let before = termios(&*pair.master);
        let mut child = pair.slave.spawn_command(command).unwrap();
        // Only the program holds the other end: its end is the end of the output.
        drop(pair.slave);
        let state = State {
            parser: vt100::Parser::new(rows, columns, 0),
            raw: Vec::new(),
            ended: None,
            drained: false,
            stop: false,
        };
        let shared: Shared = Arc::new((Mutex::new(state), Condvar::new()));
        let mut from = pair.master.try_clone_reader().unwrap();
        let reading = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 1 << 14];
            loop {
                let n = from.read(&mut bytes).unwrap_or(0);
                let mut state = lock(&reading);
                show(&mut state.parser, &bytes[..n]);
                state.raw.extend_from_slice(&bytes[..n]);
                state.drained = n == 0;
                let over = n == 0 || state.stop;
                drop(state);
                reading.1.notify_all();
                if over {
                    return;
                }
            }
        });
        let pid = i32::try_from(child.process_id().unwrap()).unwrap();
        let killer = child.clone_killer();
        let waiting = Arc::clone(&shared);
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            let how = match status.signal() {
                Some(signal) => Err(signal.to_string()),
                None => Ok(status.exit_code()),
            };
            lock(&waiting).ended = Some(how);
            waiting.1.notify_all();
        });
        let writer = Some(pair.master.take_writer().unwrap());
        Pty { shared, master: Some(pair.master), writer, reader: Some(reader), killer, pid, before }
    }

    /// Waits until `done` holds for the state.
    #[track_caller]
    fn wait(&self, what: &str, mut done: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let until = Instant::now() + DEADLINE;
        let mut state = lock(&self.shared);
        while !done(&state) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited for {what}; ended: {:?}; on the screen:\n{}",
                state.ended,
                state.parser.screen().contents()
            );
            let woken = self.shared.1.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// Waits until the text on the screen satisfies `seen`; returns the text.
    #[track_caller]
    pub fn until(&self, what: &str, seen: impl Fn(&str) -> bool) -> String {
        let state = self.wait(what, |s| seen(&s.parser.screen().contents()));
        state.parser.screen().contents()
    }

    /// Waits until the screen and the bytes that came out satisfy `seen`. Where nothing comes, an
    /// empty paste makes the reader of the terminal look again: crossterm 0.29 leaves a key that
    /// comes together with a new size for the next input.
    #[track_caller]
    pub fn until_nudged(&mut self, what: &str, seen: impl Fn(&vt100::Screen, &[u8]) -> bool) {
        let until = Instant::now() + DEADLINE;
        loop {
            let state = lock(&self.shared);
            let unseen = |s: &mut State| !seen(s.parser.screen(), &s.raw);
            let look_again = std::time::Duration::from_millis(500);
            let woken = self.shared.1.wait_timeout_while(state, look_again, unseen);
            let (state, late) = woken.unwrap_or_else(PoisonError::into_inner);
            if !late.timed_out() {
                return;
            }
            let screen = state.parser.screen().contents();
            assert!(Instant::now() < until, "waited for {what}; on the screen:\n{screen}");
            drop(state);
            self.press("\x1b[200~\x1b[201~");
        }
    }

    #[track_caller]
    pub fn see(&self, words: &str) -> String {
        self.until(words, |screen| screen.contains(words))
    }

    pub fn screen(&self) -> vt100::Screen {
        lock(&self.shared).parser.screen().clone()
    }

    /// All bytes that came out so far.
    pub fn raw(&self) -> Vec<u8> {
        lock(&self.shared).raw.clone()
    }

    pub fn press(&mut self, keys: &str) {
        let writer = self.writer.as_mut().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// Presses keys once `words` are on the screen.
    #[track_caller]
    pub fn see_and_press(&mut self, words: &str, keys: &str) {
        self.see(words);
        self.press(keys);
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        lock(&self.shared).parser.screen_mut().set_size(rows, columns);
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.master.as_ref().unwrap().resize(size).unwrap();
    }

    /// Waits for the end: the exit code, or the signal that killed it.
    #[track_caller]
    pub fn end(&self) -> Result<u32, String> {
        self.wait("its end", |s| s.ended.is_some() && s.drained).ended.clone().unwrap()
    }

    /// Leaves by `q`: answered, and the terminal as it was before.
    #[track_caller]
    pub fn quit(&mut self) {
        self.press("q");
        assert_eq!(self.end(), Ok(0));
        self.assert_restored();
    }

    /// The terminal is as it was before the program.
    #[track_caller]
    pub fn assert_restored(&self) {
        assert_eq!(termios(&**self.master.as_ref().unwrap()), self.before);
        let screen = self.screen();
        assert!(!screen.alternate_screen(), "still on the alternate screen");
        assert!(!screen.hide_cursor(), "the cursor is hidden");
        assert!(!screen.bracketed_paste(), "bracketed paste is on");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let raw = String::from_utf8_lossy(&self.raw()).into_owned();
        for mode in ["1000", "1002", "1003", "1006", "1015", "2004", "1049"] {
            let last = |c: char| raw.rfind(&format!("\x1b[?{mode}{c}"));
            assert!(last('h') <= last('l'), "mode {mode} was left on");
        }
    }

    /// The modes of a screen at work; what a test of their restoring rests on.
    #[track_caller]
    pub fn assert_taken(&self) {
        let screen = self.screen();
        assert!(screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste());
        assert_ne!(termios(&**self.master.as_ref().unwrap()), self.before);
    }

    /// Closes the terminal, as a lost connection does. `provoke` makes the program write once, so
    /// that the reading thread wakes and lets go of its end.
    #[track_caller]
    pub fn hang_up(&mut self, provoke: &str) -> Result<u32, String> {
        lock(&self.shared).stop = true;
        self.press(provoke);
        self.reader.take().unwrap().join().unwrap();
        self.master = None;
        self.writer = None;
        self.wait("its end", |s| s.ended.is_some()).ended.clone().unwrap()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let over = lock(&self.shared).ended.is_some();
        if !over {
            // A failed test leaves nothing behind.
            let _ = self.killer.kill();
        }
    }
}

/// All settings of the line: flags, control characters, speeds.
fn termios(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

/// What the program sent that is neither text nor one of the sequences of a drawn screen.
pub fn foreign(raw: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(raw);
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.next_if_eq(&'[').is_some() => {
                let mut sequence = String::new();
                let end = loop {
                    match chars.next() {
                        Some(c @ '\x40'..='\x7e') => break c,
                        Some(c @ '\x20'..='\x3f') => sequence.push(c),
                        other => out.push(format!("ESC [ {sequence} {other:?}")),
                    }
                    if chars.peek().is_none() {
                        return out;
                    }
                };
                // Cursor, clearing, colours and modes.
                if !matches!(end, 'H' | 'J' | 'm' | 'h' | 'l') {
                    out.push(format!("ESC [ {sequence} {end}"));
                }
            }
            c if c.is_control() => out.push(format!("{c:?}")),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                out.push(format!("{c:?}"));
            }
            _ => {}
        }
    }
    out
}

/// The same, where copies to the clipboard are expected.
pub fn foreign_but_copies(raw: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(raw);
    let mut rest = String::new();
    for (i, part) in text.split("\x1b]52;c;").enumerate() {
        rest.push_str(if i == 0 { part } else { part.split_once("\x1b\\").unwrap_or_default().1 });
    }
    foreign(rest.as_bytes())
}

/// Feeds the emulator. It panics on text for a larger screen that arrives after it was made smaller
/// (vt100 0.16, `col_wrap`); then it begins anew, and the next whole frame shows everything.
fn show(parser: &mut vt100::Parser, bytes: &[u8]) {
    for byte in bytes.chunks(1) {
        let process = std::panic::AssertUnwindSafe(|| parser.process(byte));
        if std::panic::catch_unwind(process).is_err() {
            let (rows, columns) = parser.screen().size();
            *parser = vt100::Parser::new(rows, columns, 0);
        }
    }
}
