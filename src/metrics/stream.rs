//! Bytes that come from elsewhere than a file: the standard input, read by a thread of its own;
//! plain or compressed, told by its first bytes.

use super::follow::Look;
use super::unpack::{Packing, Unpacker};
use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// Chunks that wait to be taken.
const WAITING: usize = 16;
/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;

#[derive(Debug)]
enum Kind {
    /// Too few bytes came to tell.
    Unknown(Vec<u8>),
    Plain,
    Packed(Packing, Box<Unpacker>),
}

/// A stream that somebody else fills.
#[derive(Debug)]
pub struct Stream {
    receive: Receiver<Vec<u8>>,
    kind: Kind,
    /// What [`Stream::wait`] took and nobody has looked at.
    awaited: Option<Vec<u8>>,
    /// Bytes received.
    bytes: u64,
    ended: bool,
}

impl Stream {
    pub fn new(receive: Receiver<Vec<u8>>) -> Stream {
        Stream { receive, kind: Kind::Unknown(Vec::new()), awaited: None, bytes: 0, ended: false }
    }

    /// The standard input; `notify` is called (from another thread) whenever there is something to
    /// look at, and at its end.
    pub fn stdin(notify: impl Fn() + Send + 'static) -> Stream {
        let (send, receive) = sync_channel(WAITING);
        std::thread::spawn(move || read_stdin(&send, notify));
        Stream::new(receive)
    }

    /// Nothing can come any more.
    pub fn ended(&self) -> bool {
        self.ended && self.awaited.is_none()
    }

    /// Bytes received, compressed ones as they came.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn compression(&self) -> &'static str {
        match &self.kind {
            Kind::Packed(packing, _) => packing.name(),
            _ => "none",
        }
    }

    /// Why nothing more can be read, if so.
    pub fn damage(&self) -> Option<&str> {
        match &self.kind {
            Kind::Packed(_, unpacker) => unpacker.damage(),
            _ => None,
        }
    }

    /// Waits until there is something to look at. False: nothing more will come.
    pub fn wait(&mut self) -> bool {
        if self.awaited.is_none() {
            self.awaited = self.receive.recv().ok();
        }
        self.ended |= self.awaited.is_none();
        !self.ended
    }

    /// Appends about `budget` bytes to `out`, unpacked.
    pub fn look(&mut self, budget: usize, out: &mut Vec<u8>) -> Look {
        let before = out.len();
        while out.len() - before < budget {
            let next = match self.awaited.take() {
                Some(chunk) => Ok(chunk),
                None => self.receive.try_recv(),
            };
            match next {
                Ok(chunk) => self.take(&chunk, out),
                Err(e) => {
                    if e == TryRecvError::Disconnected {
                        self.end(out);
                    }
                    return Look::default();
                }
            }
        }
        Look { more: true, ..Look::default() }
    }

    fn take(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        self.bytes += chunk.len() as u64;
        match &mut self.kind {
            Kind::Plain => out.extend_from_slice(chunk),
            Kind::Packed(_, unpacker) => unpacker.push(chunk, out),
            Kind::Unknown(first) => {
                first.extend_from_slice(chunk);
                if !first.is_empty() && !Packing::may_become(first) {
                    self.settle(out);
                }
            }
        }
    }

    fn settle(&mut self, out: &mut Vec<u8>) {
        let Kind::Unknown(first) = &mut self.kind else { return };
        let first = std::mem::take(first);
        self.kind = match Packing::of(&first) {
            Some(packing) => {
                let mut unpacker = Box::new(Unpacker::new(packing));
                unpacker.push(&first, out);
                Kind::Packed(packing, unpacker)
            }
            None => {
                out.extend_from_slice(&first);
                Kind::Plain
            }
        };
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        self.settle(out);
        if let Kind::Packed(_, unpacker) = &mut self.kind {
            unpacker.end();
        }
    }
}

fn read_stdin(send: &SyncSender<Vec<u8>>, notify: impl Fn()) {
    let mut input = std::io::stdin().lock();
    loop {
        let mut chunk = vec![0; CHUNK];
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                chunk.truncate(n);
                if send.send(chunk).is_err() {
                    return;
                }
                notify();
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    notify();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzEncoder::new(text, flate2::Compression::default())
            .read_to_end(&mut out)
            .unwrap();
        out
    }

    /// What comes of these chunks, then the end.
    fn read(chunks: &[&[u8]]) -> (Vec<u8>, Stream) {
        let (send, receive) = sync_channel(WAITING);
        let mut stream = Stream::new(receive);
        let mut out = vec![];
        for chunk in chunks {
            send.send(chunk.to_vec()).unwrap();
            assert!(stream.wait());
            stream.look(1 << 20, &mut out);
            assert!(!stream.ended());
        }
        drop(send);
        assert!(!stream.wait());
        stream.look(1 << 20, &mut out);
        assert!(stream.ended());
        (out, stream)
    }

    #[test]
    fn plain_bytes_come_through_however_few_come_first() {
        for chunks in [&[&b"a line\n"[..]][..], &[b"a", b" line\n"], &[b"\x1f"], &[b"\x28\xb5"]] {
            let (out, stream) = read(chunks);
            assert_eq!((out, stream.compression()), (chunks.concat(), "none"));
        }
        assert_eq!(read(&[]).0, b"");
    }

    #[test]
    fn packed_bytes_are_unpacked_though_they_come_one_by_one() {
        let text = b"{\"step\":1,\"loss\":2.5}\n".repeat(100);
        for (packed, name) in
            [(gzip(&text), "gzip"), (zstd::encode_all(&text[..], 3).unwrap(), "zstd")]
        {
            let bytes: Vec<&[u8]> = packed.chunks(1).collect();
            let (out, stream) = read(&bytes);
            assert!(out == text);
            assert_eq!((stream.compression(), stream.damage()), (name, None));
            assert_eq!(stream.bytes(), packed.len() as u64);
            let (out, stream) = read(&[&packed[..packed.len() - 3]]);
            assert!(out == text || out.is_empty());
            assert!(stream.damage().is_some());
        }
    }
}
