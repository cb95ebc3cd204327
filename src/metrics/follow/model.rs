//! Any history of a file against the truth: what was written, and what a follower made of it. Run
//! by a property test and by the fuzzer, on real files and on a network file system that lies.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Disk, Follower, ORPHAN_LOOKS};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::path::PathBuf;

/// Something that happens to the file, to the system, or to the follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// So many whole lines.
    Append(u8),
    /// So many bytes of a line.
    Partial(u8),
    /// A line of which every byte is a write, looked at after each.
    Drip,
    /// So many hundred bytes without a newline.
    Huge(u8),
    /// Truncated to at most so many bytes.
    CutTo(u8),
    /// Copied away and truncated, as logrotate does.
    CopyTruncate,
    /// Renamed; a new one is there at once.
    Rotate,
    /// Renamed; nothing is there yet.
    RotateLate,
    /// The writer of the newest renamed file has not noticed.
    WriteOld,
    /// Deleted; a new one is there at once.
    Recreate,
    /// Deleted.
    Vanish,
    /// The path is a symlink and leads to another file now.
    Switch,
    /// The system fails at the next call of a kind.
    Fault(u8),
    Look,
    Settle,
}

/// Every kind of act, by the bytes of a program: an act and its size for every two.
pub fn acts(program: &[u8]) -> impl Iterator<Item = Act> + '_ {
    program.chunks(2).map(|pair| {
        let size = pair.get(1).copied().unwrap_or(1);
        match pair[0] % 24 {
            0..=4 => Act::Append(size % 6 + 1),
            5 | 6 => Act::Partial(size % 9 + 1),
            7 => Act::Drip,
            8 => Act::Huge(size % 16 + 1),
            9 => Act::CutTo(size),
            10 => Act::CopyTruncate,
            11 => Act::Rotate,
            12 => Act::RotateLate,
            13 => Act::WriteOld,
            14 => Act::Recreate,
            15 => Act::Vanish,
            16 => Act::Switch,
            17 | 18 => Act::Fault(size),
            19..=21 => Act::Look,
            _ => Act::Settle,
        }
    })
}

/// A file system on which a history happens. The path is a symlink in `switch` only.
pub trait World {
    type Disk: Disk + Debug;

    fn disk(&self) -> Self::Disk;
    fn path(&self) -> PathBuf;
    fn exists(&self) -> bool;
    /// Creates the file where there is none.
    fn append(&mut self, bytes: &[u8]);
    fn cut(&mut self, len: usize);
    fn rename(&mut self);
    /// To the file that was renamed last. False: there is none.
    fn append_old(&mut self, bytes: &[u8]) -> bool;
    fn remove(&mut self);
    /// Makes the path another file by one rename.
    fn switch(&mut self);
    /// The system fails at a next call, in a way that passes.
    /// Something fails or lies; true: what is written to this content from now on may never be seen
    /// once the path names another.
    fn fault(&mut self, kind: u8) -> bool;
    /// A deleted file that is held open can be read to its end, a renamed one be found.
    fn keeps_what_is_held(&self) -> bool;
}

/// A content that the path named once.
#[derive(Debug, Clone, Default)]
struct Content {
    text: String,
    /// All of it must have been read.
    whole: bool,
    /// Old sizes of it were told: its end may never be seen, nor that it is missing.
    hidden: bool,
}

/// The truth: every content that the path ever named, in order, and the one that it names.
#[derive(Debug, Default)]
struct Truth {
    past: VecDeque<Content>,
    now: String,
    /// The follower has caught up with the present content at least once.
    held: bool,
    /// Old sizes of the present content were told.
    hidden: bool,
    /// Looks for which the newest of the past, which was renamed, is waited for.
    waited: u8,
    serial: u32,
}

impl Truth {
    fn over(&mut self, whole: bool) {
        let text = std::mem::take(&mut self.now);
        let hidden = self.hidden;
        self.past.push_back(Content { text, whole: whole && !hidden, hidden });
        self.held = false;
        self.hidden = false;
        self.waited = 0;
    }

    fn line(&mut self) -> String {
        self.serial += 1;
        format!("line {} of many\n", self.serial)
    }
}

struct Run<W: World> {
    world: W,
    follower: Follower<W::Disk>,
    truth: Truth,
    texts: Vec<String>,
    budget: usize,
    /// Contents that the follower said were cut.
    cuts: usize,
}

/// Looks that find nothing after which all that there is was found: an orphan is waited for.
const QUIET_LOOKS: usize = 40;

impl<W: World> Run<W> {
    /// Returns whether the look found anything.
    fn look(&mut self) -> bool {
        self.truth.waited = self.truth.waited.saturating_sub(1);
        let mut out = vec![];
        // A failure of the system passes; the next look tries again.
        let Ok(look) = self.follower.look(self.budget, &mut out) else { return true };
        self.cuts += usize::from(look.cut.is_some());
        if look.restarted {
            self.texts.push(String::new());
        }
        self.texts.last_mut().unwrap().push_str(std::str::from_utf8(&out).unwrap());
        !out.is_empty() || look.restarted
    }

    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            quiet = if self.look() { 0 } else { quiet + 1 };
        }
        self.truth.held = self.world.exists();
        self.truth.waited = 0;
    }

    fn write(&mut self, text: &str) {
        self.world.append(text.as_bytes());
        self.truth.now.push_str(text);
    }

    fn act(&mut self, act: Act) {
        let there = self.world.exists();
        match act {
            Act::Append(n) => {
                for _ in 0..n {
                    let line = self.truth.line();
                    self.write(&line);
                }
            }
            Act::Partial(n) => {
                let line = self.truth.line();
                self.write(&line[..usize::from(n).min(line.len() - 1)]);
            }
            Act::Drip => {
                for c in self.truth.line().chars() {
                    self.write(c.encode_utf8(&mut [0; 4]));
                    self.look();
                }
            }
            Act::Huge(n) => {
                let line = self.truth.line().replace('\n', "~");
                self.write(&line.repeat(100 * usize::from(n) / line.len()));
            }
            Act::CutTo(n) if there => self.cut(usize::from(n)),
            Act::CopyTruncate if there => self.cut(0),
            Act::Rotate | Act::RotateLate if there => {
                let whole = self.truth.held;
                self.world.rename();
                self.truth.over(whole);
                self.truth.waited = if whole { ORPHAN_LOOKS } else { 0 };
                if act == Act::Rotate {
                    self.world.append(b"");
                }
            }
            Act::WriteOld => {
                // Only where the successor holds nothing yet is its writer waited for.
                if self.truth.waited > 0 && self.truth.now.is_empty() {
                    let line = self.truth.line();
                    if self.world.append_old(line.as_bytes()) {
                        self.truth.past.back_mut().unwrap().text.push_str(&line);
                    }
                }
            }
            Act::Recreate | Act::Vanish if there => {
                let whole = self.truth.held && self.world.keeps_what_is_held();
                self.world.remove();
                self.truth.over(whole);
                if act == Act::Recreate {
                    self.world.append(b"");
                }
            }
            Act::Switch if there => {
                let whole = self.truth.held && self.world.keeps_what_is_held();
                self.world.switch();
                self.truth.over(whole);
            }
            Act::Fault(kind) => self.truth.hidden |= self.world.fault(kind),
            Act::Look => {
                self.look();
            }
            _ => self.settle(),
        }
    }

    fn cut(&mut self, len: usize) {
        self.world.cut(len);
        if len < self.truth.now.len() {
            let kept = self.truth.now[..len].to_string();
            self.truth.over(false);
            self.truth.now = kept;
        }
    }
}

/// Are the texts the contents, in order? Of a content that need not be whole any beginning may have
/// been read, or nothing. A file made anew may get the number of the one before: what begins like
/// it, within its first line, is read as its end.
fn fits(read: &[&str], contents: &[Content]) -> bool {
    let Some((content, rest)) = contents.split_first() else { return read.is_empty() };
    let begins_so = |later: &Content| later.text.starts_with(&content.text);
    let goes_on = !content.text.contains('\n') && rest.iter().any(begins_so);
    let skipped = (content.text.is_empty() || goes_on || !content.whole) && fits(read, rest);
    skipped
        || read.split_first().is_some_and(|(text, later)| {
            let same = match content.whole {
                true => *text == content.text,
                false => content.text.starts_with(text),
            };
            same && fits(later, rest)
        })
}

/// Runs a program on a world.
///
/// # Panics
/// What was read is not what was written: a line is lost, or there twice.
pub fn check<W: World>(world: W, program: &[u8], budget: usize) {
    let follower = Follower { text: true, ..Follower::on(world.disk(), &world.path()) };
    let texts = vec![String::new()];
    let truth = Truth::default();
    let mut run = Run { world, follower, truth, texts, budget: budget.max(1), cuts: 0 };
    for act in acts(program).chain([Act::Settle]) {
        run.act(act);
    }
    let mut contents: Vec<Content> = run.truth.past.into();
    contents.push(Content { text: run.truth.now, whole: true, hidden: false });
    let read: Vec<&str> = run.texts.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
    let history: Vec<Act> = acts(program).collect();
    assert!(fits(&read, &contents), "{history:?}\nread {read:?}\nof {contents:?}");
    // A text that ends before its content was cut, and that is told once there is another content.
    let there = run.world.exists();
    let known = |c: &Content, t: &str| c.text == t || (c.hidden && c.text.starts_with(t));
    let short = |t: &&str| !contents.iter().any(|c| known(c, t));
    let short = read.iter().filter(|t| short(t)).count();
    assert!(short <= run.cuts || !there, "{history:?}: a cut untold");
}
