//! One followed file, or the standard input: bytes to records, and its status.

use super::decode::Decoder;
use super::document::Document;
use super::follow::{Follower, Look};
use super::foreign::{unsupported_content, unsupported_name};
use super::frame::{Framer, Piece};
use super::marks::Marks;
use super::packed::Packed;
use super::stream::Stream;
use super::unpack::Packing;
use super::{FieldMap, Input, Options, SourceState, SourceStatus};
use std::fs::{self, File, FileType};
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Bytes read and parsed at once.
const CHUNK: usize = 256 << 10;
/// Bytes that tell what kind of file it is.
const SNIFF: usize = 4096;
const UNREADABLE: &str = "the compressed data cannot be read on";

#[derive(Debug)]
enum Body {
    /// Its kind is not known yet: it does not exist, or is empty.
    Unknown,
    Plain(Follower),
    Packed(Packed),
    Document(Document),
    Stream(Stream),
    Unsupported,
}

/// One followed file, or the standard input.
#[derive(Debug)]
pub struct Source {
    body: Body,
    options: Options,
    framer: Framer,
    pub(super) decoder: Decoder,
    /// Where the lines of a plain file lie.
    pub(super) marks: Marks,
    status: SourceStatus,
    buffer: Vec<u8>,
    /// Keys, records and defects at the last update of the status.
    published: (usize, u64, u64),
    /// Something else that the status says has changed.
    stale: bool,
    cuts: Cuts,
}

/// What truncations may have taken away.
#[derive(Debug, Default)]
struct Cuts {
    count: u64,
    unread: u64,
    unwatched: Duration,
}

impl Source {
    /// Follows a file. Never fails: a missing path is [`SourceState::Waiting`].
    pub fn file(path: &Path, options: &Options) -> Source {
        Source::new(path.to_path_buf(), Body::Unknown, options, SourceState::Waiting)
    }

    /// Follows the standard input, which a thread reads. Its path is `-`.
    pub fn stdin(options: &Options) -> Source {
        Source::stdin_notify(options, || {})
    }

    /// The same; `notify` is called (from that thread) whenever there is something to poll for.
    pub fn stdin_notify(options: &Options, notify: impl Fn() + Send + 'static) -> Source {
        let body = Body::Stream(Stream::stdin(notify));
        Source::new(PathBuf::from("-"), body, options, SourceState::Open)
    }

    /// Takes the bytes that somebody else sends, plain or compressed. `path` is only a name.
    pub fn stream(path: &Path, receive: Receiver<Vec<u8>>, options: &Options) -> Source {
        let body = Body::Stream(Stream::new(receive));
        Source::new(path.to_path_buf(), body, options, SourceState::Open)
    }

    fn new(path: PathBuf, body: Body, options: &Options, state: SourceState) -> Source {
        let status = SourceStatus {
            path,
            state,
            format: "unknown".into(),
            compression: "none".into(),
            lines: 0,
            bytes: 0,
            records: 0,
            bad_lines: Vec::new(),
            bad_count: 0,
            keys: Vec::new(),
            fields: FieldMap::default(),
            batch_unit: None,
            notes: Vec::new(),
            run_name: None,
            restarts: Vec::new(),
            modified: None,
            at_end: false,
        };
        Source {
            body,
            options: options.clone(),
            framer: Framer::default(),
            decoder: Decoder::new(options),
            marks: Marks::default(),
            status,
            buffer: Vec::new(),
            published: (0, 0, 0),
            stale: false,
            cuts: Cuts::default(),
        }
    }

    /// Nothing can come any more: the standard input was closed.
    pub fn ended(&self) -> bool {
        matches!(&self.body, Body::Stream(s) if s.ended())
    }

    /// The log itself says that the training is over.
    pub fn said_ended(&self) -> bool {
        self.decoder.emitter.ended
    }

    /// Waits until there is something to poll for on the standard input, or its end has come. False:
    /// nothing more will come; a file is not waited for.
    pub fn wait(&mut self) -> bool {
        match &mut self.body {
            Body::Stream(s) => s.wait(),
            _ => false,
        }
    }

    /// The file, where it is one of plain lines.
    pub(super) fn plain(&self) -> Option<&Follower> {
        match &self.body {
            Body::Plain(f) => Some(f),
            _ => None,
        }
    }

    pub fn status(&self) -> &SourceStatus {
        &self.status
    }

    /// Reads at most about `budget` bytes of what is new and appends what they mean to `out`.
    /// True: there is more to read now.
    pub fn poll(&mut self, budget: usize, out: &mut Vec<Input>) -> bool {
        if matches!(self.body, Body::Unknown) {
            self.recognise();
        }
        let mut left = budget.max(1);
        let more = loop {
            let (read, more) = self.step(left.min(CHUNK), out);
            left = left.saturating_sub(read);
            if !more || left == 0 {
                break more;
            }
        };
        self.decoder.flush(out);
        self.status.at_end = !more && self.status.state == SourceState::Open;
        self.publish(!more);
        more
    }

    /// The end of a file that nobody follows: a last line without a newline counts if it can be
    /// read, else it is half a line.
    pub fn finish(&mut self, out: &mut Vec<Input>) {
        if let Body::Packed(p) = &mut self.body {
            self.stale |= p.end().is_some();
        }
        let Source { framer, decoder, status, .. } = self;
        framer.end(|n, piece| {
            let read = match piece {
                Piece::Line(line) => decoder.last_line(n, line, out),
                Piece::TooLong(head) => {
                    decoder.too_long(n, head);
                    false
                }
            };
            status.lines += u64::from(read);
        });
        self.decoder.finish(out);
        self.publish(true);
    }

    /// One read. Returns the bytes it took and whether there may be more.
    fn step(&mut self, budget: usize, out: &mut Vec<Input>) -> (usize, bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let result = match &mut self.body {
            Body::Unknown | Body::Unsupported => Ok(Look::default()),
            Body::Plain(f) => f.look(budget, &mut buffer),
            Body::Packed(p) => p.look(budget, &mut buffer),
            Body::Document(_) => {
                self.document(out);
                Ok(Look::default())
            }
            Body::Stream(s) => Ok(s.look(budget, &mut buffer)),
        };
        let look = match result {
            Ok(look) => {
                self.found(look);
                look
            }
            Err(e) => {
                self.status.state = SourceState::Failed(words(&e));
                Look::default()
            }
        };
        if look.restarted {
            self.restart(out);
        }
        let (n, before) = (buffer.len(), out.len());
        if n > 0 {
            self.lines(&buffer, out);
        }
        if let Body::Plain(f) = &self.body {
            self.status.bytes += n as u64;
            self.marks.learn(f.offset() - n as u64, &buffer, &out[before..]);
        }
        buffer.clear();
        if !look.more {
            buffer.shrink_to(4096);
        }
        self.buffer = buffer;
        // A restart may have read little; the next step goes on at once.
        (n.max(1), look.more && (n > 0 || look.restarted || matches!(self.body, Body::Packed(_))))
    }

    fn found(&mut self, look: Look) {
        if let Some(cut) = look.cut {
            self.cuts.count += 1;
            self.cuts.unread += cut.unread;
            self.cuts.unwatched = self.cuts.unwatched.max(cut.unwatched);
            self.stale = true;
        }
        let here = if look.missing { gone() } else { SourceState::Open };
        match &self.body {
            Body::Plain(f) => {
                self.status.modified = f.modified().or(self.status.modified);
                self.status.state = here;
            }
            Body::Packed(p) => {
                self.status.modified = p.modified().or(self.status.modified);
                self.status.bytes = p.bytes();
                self.stale |= self.unreadable().is_some() != self.said_unreadable();
                self.status.state = here;
            }
            Body::Stream(s) => {
                self.status.bytes = s.bytes();
                self.status.compression = s.compression().into();
                self.stale |= self.unreadable().is_some() != self.said_unreadable();
            }
            _ => {}
        }
    }

    /// Why the rest of what is compressed cannot be read, if so.
    fn unreadable(&self) -> Option<String> {
        let why = match &self.body {
            Body::Packed(p) => p.damage(),
            Body::Stream(s) => s.damage(),
            _ => None,
        };
        why.map(|why| format!("{UNREADABLE} ({why}); what came before was read"))
    }

    fn said_unreadable(&self) -> bool {
        self.status.notes.iter().any(|n| n.starts_with(UNREADABLE))
    }

    fn lines(&mut self, bytes: &[u8], out: &mut Vec<Input>) {
        let Source { framer, decoder, status, .. } = self;
        framer.push(bytes, |n, piece| {
            status.lines += 1;
            match piece {
                Piece::Line(line) => decoder.line(n, line, out),
                Piece::TooLong(head) => decoder.too_long(n, head),
            }
        });
    }

    /// The content starts anew. A line that had no end yet is over.
    fn restart(&mut self, out: &mut Vec<Input>) {
        let Source { framer, decoder, .. } = self;
        framer.end(|n, piece| match piece {
            Piece::Line(line) => {
                decoder.last_line(n, line, out);
            }
            Piece::TooLong(head) => decoder.too_long(n, head),
        });
        self.decoder.flush(out);
        self.decoder.emitter.restarted();
        self.decoder.defects.restarted();
        self.marks.restarted();
        out.push(Input::Restarted);
    }

    fn document(&mut self, out: &mut Vec<Input>) {
        let Body::Document(document) = &mut self.body else { return };
        let before = document.problem().is_some();
        match document.look(&self.options, out) {
            Ok(Some(decoder)) => {
                self.decoder = decoder;
                self.stale = true;
            }
            Ok(None) => self.stale |= before != document.problem().is_some(),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.status.state = gone();
                return;
            }
            Err(e) => {
                self.status.state = SourceState::Failed(words(&e));
                return;
            }
        }
        self.status.state = SourceState::Open;
        self.status.modified = document.modified();
        self.status.bytes = document.size();
        self.status.lines = document.lines();
    }

    /// Tells the kind of the file by its name and first bytes.
    fn recognise(&mut self) {
        let path = self.status.path.clone();
        if let Some(words) = unsupported_name(&path) {
            self.unsupported(words);
            return;
        }
        // To open a pipe would wait for its writer, and a device has no end.
        let foreign = |t: FileType| t.is_fifo() || t.is_char_device() || t.is_block_device();
        if fs::metadata(&path).is_ok_and(|m| foreign(m.file_type()) || m.file_type().is_socket()) {
            self.status.state = SourceState::Failed(
                "a pipe or a device, not a file; read it through the standard input: \
                 `boptop watch - < PATH`"
                    .into(),
            );
            return;
        }
        let mut first = Vec::new();
        let read = File::open(&path).and_then(|f| f.take(SNIFF as u64).read_to_end(&mut first));
        match read {
            // Too little to tell its kind.
            Ok(_) if Packing::may_become(&first) => self.status.state = SourceState::Open,
            Ok(_) => self.settle_body(&path, &first),
            Err(e) if e.kind() == ErrorKind::NotFound => self.status.state = SourceState::Waiting,
            Err(e) => self.status.state = SourceState::Failed(words(&e)),
        }
    }

    fn settle_body(&mut self, path: &Path, first: &[u8]) {
        if let Some(words) = unsupported_content(first) {
            self.unsupported(words);
        } else if let Some(packing) = Packing::of(first) {
            self.status.compression = packing.name().into();
            self.body = Body::Packed(Packed::new(path, packing));
        } else if Document::is_one(path, first) {
            self.body = Body::Document(Document::new(path));
        } else {
            self.body = Body::Plain(Follower::text(path));
        }
        if !self.options.log_only {
            self.decoder.beside(path);
        }
    }

    fn unsupported(&mut self, words: &str) {
        self.status.format = words.split(':').next().unwrap_or("unknown").into();
        let adapter = "boptop does not read it. Log one JSON line a step beside it: `boptop adapter python` prints a file with log(step, tokens, batch_size, loss, lr) that does";
        self.status.state = SourceState::Unsupported(format!("{words}; {adapter}"));
        self.body = Body::Unsupported;
    }

    /// Brings the status up to date: cheap figures always, lists when they changed.
    fn publish(&mut self, settled: bool) {
        let d = &self.decoder;
        let now = (d.keys.listed().len(), d.emitter.records, d.defects.count());
        self.status.records = now.1;
        self.status.bad_count = now.2;
        let fresh = self.status.format == "unknown" && settled;
        if now == self.published && !self.stale && !fresh {
            return;
        }
        self.published = now;
        self.stale = false;
        if matches!(self.body, Body::Unsupported) {
            return;
        }
        self.status.format = d.format();
        self.status.keys = d.keys.listed().to_vec();
        self.status.fields = d.emitter.mapping.fields(&d.keys);
        self.status.batch_unit = d.emitter.mapping.unit_name().map(String::from);
        self.status.bad_lines = d.defects.kept().to_vec();
        self.status.run_name = d.run_name.clone();
        self.status.restarts = d.emitter.restarts.clone();
        self.status.notes = d.notes();
        self.status.notes.extend(self.unreadable());
        self.status.notes.extend(self.cuts.words());
        if let Body::Document(doc) = &self.body
            && let Some(why) = doc.problem()
        {
            self.status.notes.push(why.to_string());
        }
    }
}

impl Cuts {
    fn words(&self) -> Option<String> {
        let times = match self.count {
            0 => return None,
            1 => "once".to_string(),
            n => format!("{n} times"),
        };
        let seen = match self.unread {
            0 => "nothing that had been seen was unread".to_string(),
            n => format!("{n} bytes that had been seen were not read yet"),
        };
        Some(format!(
            "the file was cut or taken away {times}: {seen}; what was written within the {:.1} s \
             between the last look and that may be lost",
            self.unwatched.as_secs_f64()
        ))
    }
}

fn gone() -> SourceState {
    SourceState::Failed(
        "the file is gone; what it said is kept, and it is read again when it comes back".into(),
    )
}

fn words(e: &Error) -> String {
    match e.kind() {
        ErrorKind::PermissionDenied => {
            "no permission to read it (check its mode and group); trying again".into()
        }
        ErrorKind::StaleNetworkFileHandle => {
            "stale file handle (the server exchanged the file); opening it again".into()
        }
        _ => format!("{e}; trying again"),
    }
}
