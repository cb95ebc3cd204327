//! A followed file that is compressed: the follower brings its bytes, and decoding goes on where it
//! stopped.

use super::follow::{Follower, Look};
use super::unpack::{Packing, Unpacker};
use std::io::Error;
use std::path::Path;

/// Compressed bytes read at once.
const CHUNK: usize = 64 << 10;
/// Of these decoded at once: a byte of gzip holds at most a thousand.
const SLICE: usize = 4 << 10;

/// Follows a compressed file.
#[derive(Debug)]
pub struct Packed {
    follower: Follower,
    packing: Packing,
    unpacker: Unpacker,
    /// Compressed bytes that are still to be decoded, from `taken` on.
    raw: Vec<u8>,
    taken: usize,
    /// The follower had more.
    more: bool,
    /// Compressed bytes read.
    bytes: u64,
}

impl Packed {
    pub fn new(path: &Path, packing: Packing) -> Self {
        Packed {
            follower: Follower::new(path),
            packing,
            unpacker: Unpacker::new(packing),
            raw: Vec::new(),
            taken: 0,
            more: false,
            bytes: 0,
        }
    }

    pub fn modified(&self) -> Option<f64> {
        self.follower.modified()
    }

    /// Compressed bytes read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why nothing more of the present content can be read, if so.
    pub fn damage(&self) -> Option<&str> {
        self.unpacker.damage()
    }

    /// Nobody follows the file any more: why its end is no proper one, if it is not.
    pub fn end(&mut self) -> Option<&str> {
        self.unpacker.end()
    }

    /// Appends about `budget` decoded bytes to `out`.
    ///
    /// # Errors
    /// The file cannot be opened or read. Damage is no error: [`Packed::damage`].
    pub fn look(&mut self, budget: usize, out: &mut Vec<u8>) -> Result<Look, Error> {
        let mut look = Look::default();
        if self.taken == self.raw.len() {
            self.raw.clear();
            self.taken = 0;
            look = self.follower.look(CHUNK, &mut self.raw)?;
            self.more = look.more;
            self.bytes += self.raw.len() as u64;
            if look.restarted {
                self.unpacker = Unpacker::new(self.packing);
            }
        }
        let before = out.len();
        while self.taken < self.raw.len() && out.len() - before < budget {
            let end = (self.taken + SLICE).min(self.raw.len());
            self.unpacker.push(&self.raw[self.taken..end], out);
            self.taken = end;
        }
        look.more = self.more || self.taken < self.raw.len();
        if !look.more {
            self.raw = Vec::new();
            self.taken = 0;
        }
        Ok(look)
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
        zstd::encode_all(text.as_bytes(), 3).unwrap()
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

    fn append(path: &Path, bytes: &[u8]) {
        let mut f = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        f.write_all(bytes).unwrap();
    }

    #[test]
    fn members_appended_later_are_read_and_nothing_is_read_again() {
        for (packing, pack) in [(Packing::Gzip, gzip as fn(&str) -> Vec<u8>), (Packing::Zstd, zstd)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let first = pack("first line\nsecond\n");
            append(&path, &first);
            let mut p = Packed::new(&path, packing);
            assert_eq!(all(&mut p), ("first line\nsecond\n".into(), false));
            assert_eq!(all(&mut p), (String::new(), false));
            let second = pack("third\n");
            append(&path, &second);
            assert_eq!(all(&mut p), ("third\n".into(), false), "{packing:?}");
            assert_eq!(p.bytes(), (first.len() + second.len()) as u64);
            assert_eq!(p.damage(), None);
            assert_eq!(p.end(), None);
        }
    }

    #[test]
    fn an_unfinished_file_gives_what_it_has_goes_on_and_says_so_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        let text: String = (0..2000).map(|i| format!("line {}\n", i * 7919 % 1009)).collect();
        let bytes = gzip(&text);
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        append(&path, head);
        let mut p = Packed::new(&path, Packing::Gzip);
        let (first, _) = all(&mut p);
        assert!(text.starts_with(&first) && !first.is_empty());
        append(&path, tail);
        let (rest, restarted) = all(&mut p);
        assert_eq!((first + &rest, restarted), (text, false));
        assert_eq!(p.end(), None);
        append(&path, head);
        all(&mut p);
        assert!(p.end().is_some());
    }

    #[test]
    fn a_rotated_or_cut_file_is_decoded_from_its_new_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.zst");
        append(&path, &zstd("old\n"));
        let mut p = Packed::new(&path, Packing::Zstd);
        assert_eq!(all(&mut p).0, "old\n");
        append(&path, &zstd("end\n")[..9]);
        std::fs::rename(&path, dir.path().join("x.zst.1")).unwrap();
        append(&path, &zstd("new\n"));
        let mut read = (String::new(), false);
        for _ in 0..4 {
            let (text, restarted) = all(&mut p);
            read = (read.0 + &text, read.1 | restarted);
        }
        assert_eq!(read, ("new\n".into(), true));
        assert_eq!(p.end(), None);
    }
}
