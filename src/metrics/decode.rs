//! Lines of any known shape to records: JSON objects, Python dictionaries, JSON behind a text
//! prefix, rows below a header, MLPerf events, console tables, settings of a preamble; everything
//! else is counted.

use super::console;
use super::csv::Header;
use super::defects::Defects;
use super::emit::Emitter;
use super::fields::Role;
use super::keys::Keys;
use super::mend;
use super::mllog::Mllog;
use super::parse::{Found, object};
use super::{Input, Options, scan};
use serde::de::IgnoredAny;
use serde_json::error::Category;

/// Text lines kept until it is known whether text is normal in this file.
const KEPT_TEXT: usize = 20;
/// Places where a whole object is looked for in a damaged line.
const MAX_RESCUES: usize = 8;

/// What the lines of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Family {
    #[default]
    Undecided,
    /// One JSON object a line; other text is a defect.
    Json,
    /// A console log; other text is normal.
    Console,
}

/// Reads the lines of one source.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub keys: Keys,
    pub emitter: Emitter,
    pub defects: Defects,
    pub run_name: Option<String>,
    /// Text lines of a console log that carry no metrics.
    pub text_lines: u64,
    pub(super) found: Found,
    /// The columns of a table below its header.
    pub(super) columns: Option<Header>,
    pub(super) mllog: Mllog,
    pub(super) family: Family,
    /// Name of the trainer and what is to be said of its numbers, by its console lines.
    pub(super) dialect: Option<(&'static str, Option<&'static str>)>,
    waiting: Vec<(u64, String)>,
    waiting_count: u64,
    /// Bare NaN was seen: look for it before parsing.
    non_numbers: bool,
    pub(super) prefixed: bool,
    pub(super) python: bool,
    pub(super) is_mllog: bool,
    /// Counts were printed with three digits.
    pub(super) rounded: bool,
    /// The line has no end: what does not parse is half a line.
    last: bool,
}

impl Decoder {
    pub fn new(options: &Options) -> Self {
        Decoder {
            keys: Keys::new(options.roles()),
            emitter: Emitter::new(options.loss_in_bits),
            defects: Defects::default(),
            run_name: None,
            text_lines: 0,
            found: Found::default(),
            columns: None,
            mllog: Mllog::default(),
            family: Family::default(),
            dialect: None,
            waiting: Vec::new(),
            waiting_count: 0,
            non_numbers: false,
            prefixed: false,
            python: false,
            is_mllog: false,
            rounded: false,
            last: false,
        }
    }

    /// One line without its end.
    pub fn line(&mut self, n: u64, bytes: &[u8], out: &mut Vec<Input>) {
        let bytes = trimmed(bytes);
        if bytes.is_empty() {
            return;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(n, text, out),
            Err(e) => {
                self.defects.add(n, e.valid_up_to() as u64 + 1, "bad_utf8", bytes);
                self.text(n, &String::from_utf8_lossy(bytes), out);
            }
        }
    }

    /// A line whose end never came: it counts if it can be read. True: it could.
    pub fn last_line(&mut self, n: u64, bytes: &[u8], out: &mut Vec<Input>) -> bool {
        let bad = self.defects.count();
        self.last = true;
        self.line(n, bytes, out);
        self.last = false;
        bad == self.defects.count()
    }

    pub fn too_long(&mut self, n: u64, head: &[u8]) {
        self.defects.add(n, 0, "too_long", head);
    }

    /// Hands out what was kept to settle the mapping.
    pub fn flush(&mut self, out: &mut Vec<Input>) {
        self.emitter.flush(&self.keys, out);
    }

    /// No more lines will come: text of which nothing became clear is counted as bad.
    pub fn finish(&mut self, out: &mut Vec<Input>) {
        self.flush(out);
        if self.family == Family::Undecided {
            self.decide(Family::Json);
            self.family = Family::Undecided;
        }
    }

    fn text(&mut self, n: u64, text: &str, out: &mut Vec<Input>) {
        if text.starts_with('{') {
            if self.json_line(n, text, out) {
                // Python's dictionaries are printed among other text.
                self.decide(if self.python { Family::Console } else { Family::Json });
            }
            return;
        }
        let plain = console::plain(text);
        if self.family != Family::Console && self.table_line(n, &plain, out) {
            return;
        }
        // Progress bars overwrite themselves; the metrics stand in one of the pieces.
        let mut used = false;
        for piece in plain.split('\r').filter(|p| !p.trim().is_empty()) {
            used |= self.console_line(n, piece, out);
        }
        if !used {
            self.other(n, text);
        }
    }

    /// A line that begins like an object. True: one was read.
    fn json_line(&mut self, n: u64, text: &str, out: &mut Vec<Input>) -> bool {
        self.found.clear();
        if scan::object(text, &mut self.keys, &mut self.found).is_some() {
            self.take(n, true, out);
            return true;
        }
        let python = text[1..].trim_start().starts_with('\'');
        let mended = if python {
            Some(mend::python(text))
        } else if self.non_numbers {
            mend::non_numbers(text)
        } else {
            None
        };
        let (mut read, mut error) = self.objects(n, mended.as_deref().unwrap_or(text), 0, out);
        if error.is_some()
            && mended.is_none()
            && let Some(again) = mend::non_numbers(text)
        {
            self.non_numbers = true;
            let (more, e) = self.objects(n, &again, read, out);
            read += more;
            error = e;
        }
        self.python |= python && read > 0;
        let Some(e) = error else { return true };
        if read == 0 && self.rescue(n, text, out) {
            self.defects.add(n, 1, "torn_line", text.as_bytes());
            return true;
        }
        let kind = match e.classify() {
            Category::Eof => "half_line",
            _ if read > 0 => "trailing_text",
            _ => "not_json",
        };
        self.defects.add(n, e.column() as u64, kind, text.as_bytes());
        read > 0
    }

    /// All objects of a text, of which the first `skip` were taken before. Returns how many were
    /// taken now, and what stopped it.
    fn objects(
        &mut self,
        n: u64,
        text: &str,
        skip: usize,
        out: &mut Vec<Input>,
    ) -> (usize, Option<serde_json::Error>) {
        let text = text.strip_suffix(',').unwrap_or(text);
        let mut de = serde_json::Deserializer::from_str(text);
        let mut read = 0;
        loop {
            self.found.clear();
            if let Err(e) = object(&mut de, &mut self.keys, &mut self.found) {
                return (read.max(skip) - skip, Some(e));
            }
            read += 1;
            if read > skip {
                self.take(n, true, out);
            }
            if de.end().is_ok() {
                return (read.max(skip) - skip, None);
            }
        }
    }

    /// What was found goes on to become a record.
    pub(super) fn take(&mut self, n: u64, metric: bool, out: &mut Vec<Input>) {
        if self.run_name.is_none() {
            self.run_name = self.found.run_name.take();
        }
        if self.found.held_out {
            self.on_held_out();
        }
        self.emitter.accept(&self.keys, n, &self.found.hits, metric, out);
    }

    /// The losses of a row about held-out data, whatever they are called, are validation losses.
    fn on_held_out(&mut self) {
        let Decoder { keys, found, .. } = self;
        for hit in &mut found.hits {
            let info = &keys.infos()[hit.key as usize];
            if info.role == Role::Loss {
                let (name, rank) = (format!("eval/{}", info.path), info.rank);
                hit.key = keys.given(&name, Role::ValLoss, rank);
            }
        }
    }

    /// A writer that died within a line, and its successor that went on in the same line: the
    /// last whole object is told by the first key of the file.
    fn rescue(&mut self, n: u64, text: &str, out: &mut Vec<Input>) -> bool {
        let Some(first) = self.keys.first() else { return false };
        let mark = format!("{{\"{first}\"");
        let places: Vec<usize> =
            text.match_indices(&mark).map(|(i, _)| i).filter(|i| *i > 0).collect();
        places.into_iter().take(MAX_RESCUES).any(|at| {
            let rest = mend::non_numbers(&text[at..]).unwrap_or_else(|| text[at..].to_string());
            whole(&rest) && self.objects(n, &rest, 0, out).1.is_none()
        })
    }

    /// Text that carries nothing.
    fn other(&mut self, n: u64, text: &str) {
        match self.family {
            Family::Json => self.bad_text(n, text),
            Family::Console => self.text_lines += 1,
            // Damaged as well: it is bad whatever the file turns out to be.
            Family::Undecided if self.defects.counted(n) => {}
            Family::Undecided => {
                self.waiting_count += 1;
                if self.waiting.len() < KEPT_TEXT {
                    let short: String = text.chars().take(200).collect();
                    self.waiting.push((n, short));
                }
            }
        }
    }

    fn bad_text(&mut self, n: u64, text: &str) {
        let kind = if self.last { "half_line" } else { "not_json" };
        self.defects.add(n, 1, kind, text.as_bytes());
    }

    pub(super) fn decide(&mut self, family: Family) {
        if self.family != Family::Undecided {
            return;
        }
        self.family = family;
        let count = std::mem::take(&mut self.waiting_count);
        if family == Family::Console {
            self.waiting.clear();
            self.text_lines += count;
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let kept = waiting.len() as u64;
        for (n, text) in waiting {
            self.bad_text(n, &text);
        }
        for _ in kept..count {
            self.defects.add(0, 0, "not_json", b"");
        }
    }

    /// Name of the trainer or of the shape.
    pub fn format(&self) -> String {
        if self.is_mllog {
            return "mllog".into();
        }
        if let Some((name, _)) = self.dialect {
            return name.into();
        }
        if let Some(preset) = self.emitter.mapping.preset {
            return preset.into();
        }
        let name = match self.family {
            Family::Undecided => "unknown",
            _ if self.columns.is_some() => "csv",
            _ if self.python => "python-dict",
            _ if self.prefixed => "prefixed-json",
            _ => "jsonl",
        };
        name.into()
    }
}

/// Without blanks, and without the NUL bytes that a crash leaves in a file.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == 0;
    let Some(start) = bytes.iter().position(|b| !blank(b)) else { return &[] };
    let end = bytes.iter().rposition(|b| !blank(b)).map_or(start, |e| e + 1);
    &bytes[start..end]
}

/// Is the text one whole JSON value?
pub(super) fn whole(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
