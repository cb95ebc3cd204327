//! A part of a followed file, read again: the lines themselves where only their means were kept.

use super::Input;
use super::frame::{Framer, Piece};
use super::source::Source;

/// Bytes that are read again at most: some 100,000 lines.
const MOST: u64 = 32 << 20;

/// Why lines cannot be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// A pipe passes once.
    Pipe,
    /// Compressed, or a document that is rewritten whole.
    NoPlainLines,
    /// They are too many at once.
    TooMany,
    /// The file was cut or exchanged, or cannot be read now.
    Gone,
}

impl Source {
    /// Which content of the file its lines belong to; counts up when it starts anew.
    pub fn content(&self) -> u64 {
        self.marks.content()
    }

    /// The records of all lines with a train loss at these steps (at these tokens, where no steps
    /// are logged), and of some around them, in the order of the file. What a restart repeats comes
    /// after what it replaces. Nothing of a file without train losses.
    ///
    /// # Errors
    /// Why that is not possible.
    pub fn again(&self, steps: [f64; 2], tokens: [f64; 2]) -> Result<Vec<Input>, Unreadable> {
        let Some(file) = self.plain() else {
            let pipe = self.status().path.as_os_str() == "-";
            return Err(if pipe { Unreadable::Pipe } else { Unreadable::NoPlainLines });
        };
        let Some(by_tokens) = self.marks.by_tokens() else { return Ok(Vec::new()) };
        let parts = self.marks.holding(if by_tokens { tokens } else { steps });
        if parts.iter().map(|(bytes, _)| bytes.end - bytes.start).sum::<u64>() > MOST {
            return Err(Unreadable::TooMany);
        }
        // It knows the keys of the file, and what its settings said.
        let mut decoder = self.decoder.clone();
        let (mut out, mut buffer) = (Vec::new(), Vec::new());
        for (bytes, lines) in parts {
            buffer.clear();
            match file.again(bytes, &mut buffer) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Err(Unreadable::Gone),
            }
            Framer::behind(lines).push(&buffer, |n, piece| {
                if let Piece::Line(line) = piece {
                    decoder.line(n, line, &mut out);
                }
            });
        }
        decoder.flush(&mut out);
        Ok(out)
    }

    /// Whether steps are logged, by the lines with a train loss.
    pub fn is_by_tokens(&self) -> bool {
        self.marks.by_tokens() == Some(true)
    }
}
