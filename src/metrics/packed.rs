//! Files compressed with gzip or zstd, read through pure decoders. A compressed file that grows is
//! decoded again and what was handed out before is skipped.

use super::follow::{self, Id, Look};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Kind of compression, told by the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    pub fn of(first: &[u8]) -> Option<Packing> {
        if first.starts_with(&[0x1f, 0x8b]) {
            Some(Packing::Gzip)
        } else if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Packing::Zstd)
        } else {
            None
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }

    /// A decoder over an open file.
    ///
    /// # Errors
    /// The file cannot be read, or does not begin as it should.
    pub fn open(self, path: &Path) -> Result<Box<dyn Read + Send>, Error> {
        let file = BufReader::with_capacity(1 << 16, File::open(path)?);
        Ok(match self {
            Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
            Packing::Zstd => Box::new(ZstdFrames { frame: None, between: Some(file) }),
        })
    }
}

/// A file of zstd frames, one after the other.
struct ZstdFrames {
    frame: Option<StreamingDecoder<BufReader<File>, FrameDecoder>>,
    between: Option<BufReader<File>>,
}

impl Read for ZstdFrames {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            if let Some(mut frame) = self.frame.take() {
                let n = frame.read(buffer)?;
                if n > 0 {
                    self.frame = Some(frame);
                    return Ok(n);
                }
                self.between = Some(frame.into_inner());
            }
            let Some(mut file) = self.between.take() else { return Ok(0) };
            if file.fill_buf()?.is_empty() {
                self.between = Some(file);
                return Ok(0);
            }
            self.frame = Some(
                StreamingDecoder::new(file)
                    .map_err(|e| Error::new(ErrorKind::InvalidData, e.to_string()))?,
            );
        }
    }
}

/// Follows a compressed file.
pub struct Packed {
    path: PathBuf,
    packing: Packing,
    reader: Option<Box<dyn Read + Send>>,
    seen: Option<(Id, u64, Option<f64>)>,
    /// Decoded bytes handed out, and of those still to be skipped after a new start.
    handed: u64,
    skip: u64,
    /// Why decoding stopped before the end of the file.
    cut: Option<String>,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("path", &self.path)
            .field("packing", &self.packing)
            .finish_non_exhaustive()
    }
}

impl Packed {
    pub fn new(path: &Path, packing: Packing) -> Self {
        Packed {
            path: path.to_path_buf(),
            packing,
            reader: None,
            seen: None,
            handed: 0,
            skip: 0,
            cut: None,
        }
    }

    pub fn modified(&self) -> Option<f64> {
        self.seen.and_then(|s| s.2)
    }

    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        self.seen.map_or(0, |s| s.1)
    }

    /// Why decoding stopped before the end, if it did.
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// Appends at most about `budget` decoded bytes to `out`.
    ///
    /// # Errors
    /// The file cannot be opened. A damaged or unfinished file is no error: [`Packed::cut`].
    pub fn look(&mut self, budget: usize, out: &mut Vec<u8>) -> Result<Look, Error> {
        let mut look = Look::default();
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look { missing: true, ..look }),
            Err(e) => return Err(e),
        };
        let now = (follow::id(&meta), meta.len(), follow::modified(&meta));
        if self.seen != Some(now) {
            if let Some((id, size, _)) = self.seen {
                let grown = id == now.0 && now.1 > size;
                look.restarted = !grown;
                self.handed = if grown { self.handed } else { 0 };
            }
            self.skip = self.handed;
            self.reader = Some(self.packing.open(&self.path)?);
            self.seen = Some(now);
            self.cut = None;
        }
        let before = out.len();
        out.resize(before + budget, 0);
        let n = self.fill(&mut out[before..]);
        out.truncate(before + n);
        look.more = self.reader.is_some();
        Ok(look)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let mut n = 0;
        while n < buffer.len() {
            let Some(reader) = &mut self.reader else { break };
            match reader.read(&mut buffer[n..]) {
                Ok(0) => self.reader = None,
                Ok(k) => {
                    let skipped = self.skip.min(k as u64);
                    self.skip -= skipped;
                    buffer.copy_within(n + skipped as usize..n + k, n);
                    n += k - skipped as usize;
                    self.handed += k as u64 - skipped;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.cut = Some(e.to_string());
                    self.reader = None;
                }
            }
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(text: &str) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        e.write_all(text.as_bytes()).unwrap();
        e.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(
            text.as_bytes(),
            ruzstd::encoding::CompressionLevel::Fastest,
        )
    }

    fn all(p: &mut Packed) -> (String, bool) {
        let (mut out, mut restarted) = (vec![], false);
        loop {
            let look = p.look(7, &mut out).unwrap();
            restarted |= look.restarted;
            if !look.more {
                return (String::from_utf8(out).unwrap(), restarted);
            }
        }
    }

    #[test]
    fn members_appended_later_are_read_and_nothing_twice() {
        for (packing, pack) in [(Packing::Gzip, gzip as fn(&str) -> Vec<u8>), (Packing::Zstd, zstd)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let mut bytes = pack("first line\nsecond\n");
            assert_eq!(Packing::of(&bytes), Some(packing));
            std::fs::write(&path, &bytes).unwrap();
            let mut p = Packed::new(&path, packing);
            assert_eq!(all(&mut p), ("first line\nsecond\n".into(), false));
            assert_eq!(all(&mut p), (String::new(), false));
            bytes.extend(pack("third\n"));
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(all(&mut p), ("third\n".into(), false), "{packing:?}");
            assert_eq!(p.cut(), None);
        }
    }

    #[test]
    fn an_unfinished_file_gives_what_it_has_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        let text: String = (0..2000).map(|i| format!("line {}\n", i * 7919 % 1009)).collect();
        let bytes = gzip(&text);
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let mut p = Packed::new(&path, Packing::Gzip);
        let (first, _) = all(&mut p);
        assert!(text.starts_with(&first) && !first.is_empty());
        assert!(p.cut().is_some());
        std::fs::write(&path, &bytes).unwrap();
        let (rest, restarted) = all(&mut p);
        assert_eq!((first + &rest, restarted), (text, false));
    }
}
