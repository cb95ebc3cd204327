//! The terminal: the only file that sets its modes, and sees to it that they are reset on every
//! way out (leaving, errors, panics, suspension).

use super::settings::{Settings, SyncOutput};
use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use ratatui::backend::{Backend, ClearType, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::{self, BufWriter, Stdout, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Modes are set now: whoever swaps it to false resets them, once.
static ENTERED: AtomicBool = AtomicBool::new(false);
static MOUSE: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// A terminal in raw mode on its alternate screen. Dropping it resets the terminal.
pub(crate) struct Screen {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    /// What is on the terminal.
    shown: Buffer,
    /// The next frame is sent whole.
    whole: bool,
    sync: SyncOutput,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("area", self.shown.area()).finish_non_exhaustive()
    }
}

impl Screen {
    pub fn enter(settings: &Settings) -> io::Result<Self> {
        HOOK.call_once(restore_on_panic);
        // The theme alone decides: a flag stands above NO_COLOR, which crossterm asks for as well.
        crossterm::style::force_color_output(true);
        MOUSE.store(settings.mouse, Ordering::SeqCst);
        let screen = Screen {
            backend: CrosstermBackend::new(BufWriter::with_capacity(1 << 16, stdout())),
            shown: Buffer::empty(Rect::ZERO),
            whole: true,
            sync: settings.sync_output,
        };
        set_modes()?;
        Ok(screen)
    }

    /// Whether the modes are still ours: a panic elsewhere in the process resets them.
    pub fn is_ours(&self) -> bool {
        ENTERED.load(Ordering::SeqCst)
    }

    /// Sets the modes anew after the shell may have changed them, and draws all of it again.
    pub fn resume(&mut self) -> io::Result<()> {
        reset_modes();
        self.whole = true;
        set_modes()
    }

    pub fn leave(&mut self) {
        reset_modes();
    }

    /// Hands text to the terminal's clipboard (OSC 52, in base64); a terminal without one ignores it.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.backend, CopyToClipboard::to_clipboard_from(text))
    }

    /// Rings the bell.
    pub fn ring(&mut self) -> io::Result<()> {
        Write::write_all(&mut self.backend, b"\x07")?;
        Write::flush(&mut self.backend)
    }

    /// The next frame is sent whole.
    pub fn redraw(&mut self) {
        self.whole = true;
    }

    pub fn area(&self) -> Rect {
        let (w, h) = size().unwrap_or((80, 24));
        // Some pseudo-terminals report nothing.
        if w == 0 || h == 0 { Rect::new(0, 0, 80, 24) } else { Rect::new(0, 0, w, h) }
    }

    /// Sends what differs from what is shown; nothing at all where nothing does.
    pub fn show(&mut self, next: Buffer) -> io::Result<()> {
        let whole = self.whole || self.shown.area() != next.area();
        let sync = match self.sync {
            SyncOutput::Always => true,
            SyncOutput::FullRedraws => whole,
            SyncOutput::Never => false,
        };
        if whole {
            self.shown = Buffer::empty(*next.area());
        }
        let changes = self.shown.diff(&next);
        if whole || !changes.is_empty() {
            if sync {
                queue!(self.backend, BeginSynchronizedUpdate)?;
            }
            if whole {
                self.backend.clear_region(ClearType::All)?;
            }
            self.backend.draw(changes.into_iter())?;
            if sync {
                queue!(self.backend, EndSynchronizedUpdate)?;
            }
            Write::flush(&mut self.backend)?;
        }
        self.shown = next;
        self.whole = false;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        reset_modes();
    }
}

fn set_modes() -> io::Result<()> {
    enable_raw_mode()?;
    ENTERED.store(true, Ordering::SeqCst);
    let set = || -> io::Result<()> {
        let mut out = stdout();
        execute!(out, EnterAlternateScreen, Hide, EnableBracketedPaste)?;
        if MOUSE.load(Ordering::SeqCst) {
            execute!(out, EnableMouseCapture)?;
        }
        Ok(())
    };
    set().inspect_err(|_| reset_modes())
}

/// Resets every mode that [`set_modes`] sets. A terminal that is gone cannot be told: no error.
fn reset_modes() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = stdout();
    if MOUSE.load(Ordering::SeqCst) {
        let _ = execute!(out, DisableMouseCapture);
    }
    let _ = execute!(out, EndSynchronizedUpdate, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// A panic, in whichever thread, prints to a terminal that is itself again.
fn restore_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        reset_modes();
        before(info);
    }));
}
