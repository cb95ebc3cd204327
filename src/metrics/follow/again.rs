//! What was read once, read again.

use super::{Disk, Follower, PRINT};
use std::io::Error;
use std::ops::Range;

impl<D: Disk> Follower<D> {
    /// Bytes of the present content that were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends bytes that were read before to `out`. False: the content is no longer the one that
    /// was read, and nothing is appended.
    ///
    /// # Errors
    /// What the system says when the file cannot be opened or read.
    pub fn again(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<bool, Error> {
        let opened;
        let file = match &self.handle {
            Some(file) => file,
            None => {
                opened = self.disk.open(&self.path)?;
                if self.disk.stat_open(&opened).ok().map(|s| s.id) != self.id {
                    return Ok(false);
                }
                &opened
            }
        };
        let before = out.len();
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        out.resize(before + wanted, 0);
        let read = self.disk.read(file, &mut out[before..], range.start);
        // Content that was exchanged meanwhile is not taken, as at the first reading.
        let whole = read.and_then(|n| Ok(n == wanted && self.stands(file)?));
        if !matches!(whole, Ok(true)) {
            out.truncate(before);
        }
        whole
    }

    /// What lies before the offset is what was read there.
    fn stands(&self, file: &D::File) -> Result<bool, Error> {
        let mut print = [0u8; PRINT];
        let print = &mut print[..self.tail.len()];
        let n = self.disk.read(file, print, self.offset - print.len() as u64)?;
        Ok(n == self.tail.len() && *print == self.tail[..])
    }
}
