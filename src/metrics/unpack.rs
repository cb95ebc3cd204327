//! Bytes compressed with gzip or zstd, unpacked as they come: what was written is handed out
//! although the rest is still to come, and decoding goes on where it stopped. Pure.

use flate2::write::MultiGzDecoder;
use std::io::Write;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// Decoded bytes made room for at once.
const ROOM: usize = 64 << 10;

/// Kind of compression, told by the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

const MAGIC: [(Packing, &[u8]); 2] =
    [(Packing::Gzip, &[0x1f, 0x8b]), (Packing::Zstd, &[0x28, 0xb5, 0x2f, 0xfd])];

impl Packing {
    pub fn of(first: &[u8]) -> Option<Packing> {
        MAGIC.iter().find(|(_, magic)| first.starts_with(magic)).map(|(packing, _)| *packing)
    }

    /// These first bytes are too few to tell.
    pub fn may_become(first: &[u8]) -> bool {
        MAGIC.iter().any(|(_, magic)| first.len() < magic.len() && magic.starts_with(first))
    }

    pub fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }
}

enum State {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Between two frames there is no decoder, and no window of some megabytes.
    Zstd(Option<Decoder<'static>>),
}

/// Unpacks one stream: members and frames one after the other.
pub struct Unpacker {
    state: State,
    /// Why nothing more can be read.
    damage: Option<String>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").field("damage", &self.damage).finish_non_exhaustive()
    }
}

impl Unpacker {
    pub fn new(packing: Packing) -> Unpacker {
        let state = match packing {
            Packing::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Packing::Zstd => State::Zstd(None),
        };
        Unpacker { state, damage: None }
    }

    /// Appends to `out` everything that `bytes` complete. What comes behind damage is dropped.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.damage.is_some() {
            return;
        }
        let result = match &mut self.state {
            State::Gzip(decoder) => {
                let written = decoder.write_all(bytes);
                // Also what came before damage.
                let flushed = decoder.flush();
                out.append(decoder.get_mut());
                written.and(flushed)
            }
            State::Zstd(decoder) => frames(decoder, bytes, out),
        };
        self.damage = result.err().map(|e| format!("damaged: {e}"));
    }

    /// Why nothing more can be read of it.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// No more bytes will come: why this is not a proper end, if it is not.
    pub fn end(&mut self) -> Option<&str> {
        let early = match &mut self.state {
            State::Gzip(decoder) => decoder.try_finish().is_err(),
            State::Zstd(decoder) => decoder.is_some(),
        };
        if early && self.damage.is_none() {
            self.damage = Some("it ends early".into());
        }
        self.damage.as_deref()
    }
}

/// Feeds zstd frames; `decoder` is the one of the frame that is not over yet.
fn frames(
    decoder: &mut Option<Decoder<'static>>,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut input = InBuffer::around(bytes);
    loop {
        if decoder.is_none() && input.pos() == bytes.len() {
            return Ok(());
        }
        let mut frame = match decoder.take() {
            Some(frame) => frame,
            None => Decoder::new()?,
        };
        let before = out.len();
        out.resize(before + ROOM, 0);
        let mut output = OutBuffer::around(&mut out[before..]);
        let hint = frame.run(&mut input, &mut output);
        let n = output.pos();
        out.truncate(before + n);
        if hint? > 0 {
            *decoder = Some(frame);
            if input.pos() == bytes.len() && n < ROOM {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        e.write_all(text).unwrap();
        e.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).unwrap()
    }

    fn pack(packing: Packing, text: &[u8]) -> Vec<u8> {
        if packing == Packing::Gzip { gzip(text) } else { zstd(text) }
    }

    const BOTH: [Packing; 2] = [Packing::Gzip, Packing::Zstd];

    #[test]
    fn the_kind_is_told_once_there_are_bytes_enough() {
        for packing in BOTH {
            let bytes = pack(packing, b"x");
            assert_eq!(Packing::of(&bytes), Some(packing));
            assert!(Packing::may_become(&bytes[..1]) && !Packing::may_become(&bytes[..4]));
        }
        assert!(!Packing::may_become(b"{"));
    }

    #[test]
    fn what_a_writer_flushed_is_handed_out_before_its_stream_ends() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut zst = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        let (mut a, mut b) = (Unpacker::new(Packing::Gzip), Unpacker::new(Packing::Zstd));
        for i in 0..50 {
            let line = format!("{{\"step\":{i},\"loss\":2.5}}\n").into_bytes();
            gz.write_all(&line).unwrap();
            gz.flush().unwrap();
            zst.write_all(&line).unwrap();
            zst.flush().unwrap();
            for (bytes, read) in
                [(std::mem::take(gz.get_mut()), &mut a), (std::mem::take(zst.get_mut()), &mut b)]
            {
                let mut out = vec![];
                read.push(&bytes, &mut out);
                assert_eq!(out, line);
            }
        }
        assert_eq!((a.damage(), b.damage()), (None, None));
        assert!(a.end().is_some() && b.end().is_some());
    }

    #[test]
    fn damage_is_told_and_what_came_before_it_was_handed_out() {
        for packing in BOTH {
            let first = pack(packing, b"first\n");
            let mut bytes = first.clone();
            bytes.extend(b"no compressed bytes at all");
            let (mut u, mut out) = (Unpacker::new(packing), vec![]);
            u.push(&bytes, &mut out);
            u.push(&first, &mut out);
            assert_eq!(out, b"first\n", "{packing:?}");
            assert!(u.damage().is_some());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// However the bytes come, and whatever is packed, the parts come out one after the other.
        #[test]
        fn the_parts_come_out_as_they_went_in(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
            repeat in 1usize..400, chunk in 1usize..5000, packing in prop::sample::select(&BOTH[..]),
        ) {
            let plain: Vec<Vec<u8>> = parts.iter().map(|p| p.repeat(repeat)).collect();
            let packed: Vec<u8> = plain.iter().flat_map(|p| pack(packing, p)).collect();
            let (mut u, mut out) = (Unpacker::new(packing), vec![]);
            for bytes in packed.chunks(chunk) {
                u.push(bytes, &mut out);
            }
            prop_assert!(out == plain.concat());
            prop_assert_eq!(u.end(), None);
        }

        /// Neither damage nor cuts make it fall over.
        #[test]
        fn damaged_bytes_are_survived(
            at in any::<prop::sample::Index>(), value in any::<u8>(), keep in any::<prop::sample::Index>(),
            packing in prop::sample::select(&BOTH[..]),
        ) {
            let mut bytes = pack(packing, &b"a line of a log\n".repeat(40));
            let i = at.index(bytes.len());
            bytes[i] = value;
            bytes.truncate(keep.index(bytes.len()) + 1);
            let (mut u, mut out) = (Unpacker::new(packing), vec![]);
            for part in bytes.chunks(7) {
                u.push(part, &mut out);
            }
            u.end();
        }
    }
}
