//! Lines that begin with no brace: MLPerf events, JSON behind a text prefix, console tables,
//! settings of a preamble.

use super::csv::Header;
use super::decode::{Decoder, Family, whole};
use super::fields::Role;
use super::mllog::MARK;
use super::parse::{Hit, object};
use super::presets::{DIALECTS, Shape};
use super::{Input, beside, console, general, mend, values};
use serde_json::error::Category;
use std::path::Path;

/// The key under which the time at the start of a line is listed.
const LINE_TIME: &str = "(time at the start of the line)";

/// Rank of what a preamble or a line's prefix says: shown only where nothing better is.
const SETTING: u16 = 50;

impl Decoder {
    /// Takes what the configuration beside the log says, where the log itself does not.
    pub fn beside(&mut self, log: &Path) {
        if let Some((value, file)) = beside::seq_len(log) {
            let key = self.keys.elsewhere(&format!("(seq_len of {file})"), Role::SeqLen);
            self.found.clear();
            self.found.hits.push(Hit { key, value });
            self.take(0, false, &mut Vec::new());
        }
    }

    pub(super) fn console_line(&mut self, n: u64, line: &str, out: &mut Vec<Input>) -> bool {
        if let Some(at) = line.find(MARK) {
            return self.event(n, line[at + MARK.len()..].trim(), out);
        }
        if let Some(at) = line.find("{\"").or_else(|| line.find("{'"))
            && self.prefixed(n, line, at, out)
        {
            return true;
        }
        self.found.clear();
        if let Some((_, shape)) = console::shape(line) {
            self.table(line, shape);
            self.decide(Family::Console);
            self.named(shape.name, None);
            self.take(n, true, out);
            return true;
        }
        if self.family != Family::Json && self.general(line) {
            self.decide(Family::Console);
            self.take(n, true, out);
            return true;
        }
        let Decoder { keys, found, .. } = self;
        console::settings(line, |name, role, value| {
            found.hits.push(Hit { key: keys.given(name, role, SETTING), value })
        });
        if found.hits.is_empty() {
            return false;
        }
        self.take(n, false, out);
        // A setting alone does not make a console log.
        self.text_lines += 1;
        true
    }

    /// The header of a table or one of its rows; a header may come again, with other columns.
    pub(super) fn table_line(&mut self, n: u64, line: &str, out: &mut Vec<Input>) -> bool {
        let fresh = self.family == Family::Undecided || self.columns.is_some();
        if fresh && let Some(header) = Header::of(line, |n| self.keys.role(n)) {
            self.columns = Some(header);
            return true;
        }
        let Decoder { keys, found, columns, .. } = self;
        let Some((header, row)) = columns.as_ref().and_then(|h| Some((h, h.row(line)?))) else {
            return false;
        };
        found.clear();
        for (name, cell) in header.names.iter().zip(row) {
            if let Some(key) = keys.named(name) {
                found.text(key, keys.infos()[key as usize].role, cell);
            }
        }
        self.decide(Family::Json);
        self.take(n, true, out);
        true
    }

    /// The first line that tells the trainer does; a note may come later.
    fn named(&mut self, name: &'static str, note: Option<&'static str>) {
        let (known, said) = self.dialect.get_or_insert((name, note));
        *said = said.or(note);
        if *known == DIALECTS[DIALECTS.len() - 1].name {
            *known = name;
        }
    }

    /// A line of no known shape. True: it carries metrics.
    fn general(&mut self, line: &str) -> bool {
        let fields = general::fields(line);
        if fields.is_empty() {
            return false;
        }
        self.line_time(line);
        let Decoder { keys, found, rounded, .. } = self;
        for f in fields {
            // Lines of one log may call the step by different names.
            let key = match f.role {
                Role::Step => Some(keys.given(&f.key, Role::Step, f.rank)),
                _ => keys.named(&f.key),
            };
            if let Some(key) = key {
                *rounded |= f.rounded;
                found.hits.push(Hit { key, value: f.value });
            }
        }
        if let Some(d) = DIALECTS.iter().find(|d| d.words.iter().all(|w| line.contains(w))) {
            self.named(d.name, d.note);
        }
        true
    }

    fn line_time(&mut self, line: &str) {
        if let Some(value) = values::find_time(line) {
            let key = self.keys.given(LINE_TIME, Role::Time, SETTING);
            self.found.hits.push(Hit { key, value });
        }
    }

    fn table(&mut self, line: &str, shape: &Shape) {
        self.line_time(line);
        let Decoder { keys, found, rounded, .. } = self;
        console::fields(shape, line, |name, value, was_rounded| {
            let known = shape.roles.iter().find(|(_, k)| *k == name);
            let key = match known {
                Some((role, _)) => Some(keys.given(name, *role, 0)),
                None => keys.named(name),
            };
            if let Some(key) = key {
                *rounded |= was_rounded && known.is_some();
                found.hits.push(Hit { key, value });
            }
        });
    }

    fn event(&mut self, n: u64, json: &str, out: &mut Vec<Input>) -> bool {
        self.found.clear();
        let Decoder { keys, found, mllog, .. } = self;
        let read = mllog.read(json, |name, role, value| {
            found.hits.push(Hit { key: keys.given(name, role, 0), value })
        });
        match read {
            Ok(metric) => {
                self.is_mllog = true;
                self.decide(Family::Console);
                self.take(n, metric, out);
            }
            Err(e) => {
                let kind = if e.classify() == Category::Eof { "half_line" } else { "not_json" };
                self.defects.add(n, e.column() as u64, kind, json.as_bytes());
            }
        }
        true
    }

    /// `INFO:name:{...}`, `2021-03-08 12:31:36 | INFO | train | {...}`.
    fn prefixed(&mut self, n: u64, line: &str, at: usize, out: &mut Vec<Input>) -> bool {
        let text = line[at..].trim_end();
        let python = text.starts_with("{'");
        let mended = if python { Some(mend::python(text)) } else { mend::non_numbers(text) };
        let text = mended.as_deref().unwrap_or(text);
        if !whole(text) {
            return false;
        }
        self.found.clear();
        self.line_time(&line[..at]);
        let mut de = serde_json::Deserializer::from_str(text);
        if object(&mut de, &mut self.keys, &mut self.found).is_err() {
            return false;
        }
        self.prefixed = true;
        self.python |= python;
        self.decide(Family::Console);
        self.take(n, true, out);
        true
    }
}
