//! A whole-file JSON document that its writer rewrites (`trainer_state.json` of the HF Trainer):
//! read again whenever it changed.

use super::decode::{Decoder, Family};
use super::follow::{Id, Stat};
use super::parse::object;
use super::{Input, Options, mend};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// A document larger than this is refused.
const LARGEST: u64 = 1 << 30;

/// A followed document.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
    seen: Option<(Id, u64, Option<f64>)>,
    /// How many records were handed out, and what they were.
    handed: usize,
    print: u64,
    lines: u64,
    problem: Option<String>,
}

impl Document {
    /// By its name, or because its first line opens a list or an object and says nothing else.
    pub fn is_one(path: &Path, first: &[u8]) -> bool {
        let named = path.file_name().is_some_and(|n| n == "trainer_state.json");
        let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
        let line = text.split(|b| *b == b'\n').find(|l| !l.trim_ascii().is_empty()).unwrap_or(b"");
        let lone = matches!(line.trim_ascii(), b"{" | b"[" | b"[{");
        named || (lone && text.len() > line.len())
    }

    pub fn new(path: &Path) -> Self {
        Document {
            path: path.to_path_buf(),
            seen: None,
            handed: 0,
            print: 0,
            lines: 0,
            problem: None,
        }
    }

    pub fn modified(&self) -> Option<f64> {
        self.seen.and_then(|s| s.2)
    }

    pub fn size(&self) -> u64 {
        self.seen.map_or(0, |s| s.1)
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Why the newest state of the file could not be used.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Reads the document if it changed. A half-written one is waited for. Where it only grew by
    /// records, these alone are handed out; else [`Input::Replaced`] and all.
    ///
    /// # Errors
    /// What the system says; a document that is too large.
    pub fn look(
        &mut self,
        options: &Options,
        out: &mut Vec<Input>,
    ) -> Result<Option<Decoder>, Error> {
        let meta = std::fs::metadata(&self.path)?;
        let stat = Stat::of(&meta);
        let now = (stat.id, stat.len, stat.modified);
        if self.seen == Some(now) {
            return Ok(None);
        }
        if meta.len() > LARGEST {
            return Err(Error::new(
                ErrorKind::FileTooLarge,
                "a JSON document above 1 GiB; log JSON lines instead",
            ));
        }
        let bytes = std::fs::read(&self.path)?;
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
        let mut decoder = Decoder::new(options);
        let mut records = Vec::new();
        self.seen = Some(now);
        if let Err(e) = decoder.document(&text, &mut records) {
            self.problem = Some(format!(
                "the document is not whole JSON now (line {}: {e}); waiting for the next write",
                e.line()
            ));
            return Ok(None);
        }
        self.problem = None;
        self.lines = memchr::memchr_iter(b'\n', &bytes).count() as u64;
        let same = records.len() >= self.handed && print(&records[..self.handed]) == self.print;
        if self.handed > 0 && !same {
            out.push(Input::Replaced);
        }
        out.extend(records.iter().skip(if same { self.handed } else { 0 }));
        self.handed = records.len();
        self.print = print(&records);
        Ok(Some(decoder))
    }
}

fn print(records: &[Input]) -> u64 {
    let mut h = DefaultHasher::new();
    for r in records {
        if let Input::Record(r) = r {
            for x in [r.step, r.loss, r.val_loss, r.lr, r.tokens, r.samples, r.time] {
                x.map(f64::to_bits).hash(&mut h);
            }
        }
    }
    h.finish()
}

impl Decoder {
    /// A whole document that holds its records in a list: `log_history` of an object, or the
    /// document itself.
    ///
    /// # Errors
    /// The document is no JSON (a half-written one).
    pub fn document(&mut self, text: &str, out: &mut Vec<Input>) -> Result<(), serde_json::Error> {
        let mended = mend::non_numbers(text);
        let mut de = serde_json::Deserializer::from_str(mended.as_deref().unwrap_or(text));
        let mut n = 0;
        Records { decoder: self, n: &mut n, out }.deserialize(&mut de)?;
        de.end()?;
        self.decide(Family::Json);
        self.flush(out);
        Ok(())
    }
}

struct Records<'a> {
    decoder: &'a mut Decoder,
    n: &'a mut u64,
    out: &'a mut Vec<Input>,
}

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with a list of records, or a list of records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Records { decoder, n, out } = self;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "log_history" => map.next_value_seed(Records { decoder, n, out })?,
                // Per device; stands before or behind the list, so it is no setting to rely on.
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Records { decoder, n, out } = self;
        while seq.next_element_seed(Element { decoder, n, out })?.is_some() {}
        Ok(())
    }
}

struct Element<'a> {
    decoder: &'a mut Decoder,
    n: &'a mut u64,
    out: &'a mut Vec<Input>,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        *self.n += 1;
        self.decoder.found.clear();
        object(d, &mut self.decoder.keys, &mut self.decoder.found)?;
        self.decoder.take(*self.n, true, self.out);
        Ok(())
    }
}
