//! Bytes to lines: halves joined, CRLF and BOM taken away, over-long lines and the NUL bytes of
//! holes skipped while streaming.

/// A line longer than this is counted and skipped.
pub const LONGEST_LINE: usize = 16 << 20;
/// Bytes of an over-long line that are kept to show it.
const SHOWN: usize = 256;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Without its line end.
    Line(&'a [u8]),
    /// The beginning of a line that was skipped.
    TooLong(&'a [u8]),
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub struct Framer {
    /// Beginning of a line whose end has not come.
    carry: Vec<u8>,
    /// The line in `carry` is over-long; the rest of it is dropped.
    skipping: bool,
    lines: u64,
    longest: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Framer::with_longest(LONGEST_LINE)
    }
}

impl Framer {
    pub fn with_longest(longest: usize) -> Self {
        Framer { carry: Vec::new(), skipping: false, lines: 0, longest }
    }

    /// Begins behind so many lines.
    pub fn behind(lines: u64) -> Self {
        Framer { lines, ..Framer::default() }
    }

    /// Calls `each` with the number (from 1) of every line that ends in `bytes`.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(u64, Piece<'_>)) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let part = self.without_hole(&bytes[start..end]);
            start = end + 1;
            self.lines += 1;
            if self.skipping {
                each(self.lines, Piece::TooLong(&self.carry));
            } else if self.carry.is_empty() {
                self.emit(part, &mut each);
            } else if self.carry.len() + part.len() > self.longest {
                each(self.lines, Piece::TooLong(&self.carry[..self.carry.len().min(SHOWN)]));
            } else {
                let mut line = std::mem::take(&mut self.carry);
                line.extend_from_slice(part);
                self.emit(&line, &mut each);
                line.clear();
                // Keep the allocation unless one huge line made it.
                if line.capacity() <= 1 << 20 {
                    self.carry = line;
                }
            }
            self.carry.clear();
            self.skipping = false;
        }
        self.keep(&bytes[start..]);
    }

    fn emit(&self, line: &[u8], each: &mut impl FnMut(u64, Piece<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.lines == 1 { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        if line.len() > self.longest {
            each(self.lines, Piece::TooLong(&line[..SHOWN.min(line.len())]));
        } else {
            each(self.lines, Piece::Line(line));
        }
    }

    /// A file that was cut under a writer that keeps its place has a hole before the next line.
    fn without_hole<'a>(&self, part: &'a [u8]) -> &'a [u8] {
        let blank = |part: &[u8]| part.iter().take_while(|b| **b == 0).count();
        match part.first() {
            Some(0) if self.carry.is_empty() && !self.skipping => &part[blank(part)..],
            _ => part,
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        let rest = self.without_hole(rest);
        if self.skipping {
            return;
        }
        if self.carry.len() + rest.len() > self.longest {
            self.skipping = true;
            let room = SHOWN.saturating_sub(self.carry.len());
            self.carry.extend_from_slice(&rest[..rest.len().min(room)]);
            self.carry.truncate(SHOWN);
            self.carry.shrink_to(SHOWN);
        } else {
            self.carry.extend_from_slice(rest);
        }
    }

    /// The stream ended or was exchanged: hands out the line without an end, if there is one, and
    /// begins anew at line 1.
    pub fn end(&mut self, mut each: impl FnMut(u64, Piece<'_>)) {
        let line = std::mem::take(&mut self.carry);
        if !line.is_empty() {
            self.lines += 1;
            if self.skipping {
                each(self.lines, Piece::TooLong(&line));
            } else {
                self.emit(&line, &mut each);
            }
        }
        self.skipping = false;
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines, numbers of over-long ones, bytes without an end.
    type Cut = (Vec<(u64, Vec<u8>)>, Vec<u64>, usize);

    fn cut(longest: usize, parts: &[&[u8]]) -> Cut {
        let (mut lines, mut long) = (vec![], vec![]);
        let mut f = Framer::with_longest(longest);
        for p in parts {
            f.push(p, |n, piece| match piece {
                Piece::Line(l) => lines.push((n, l.to_vec())),
                Piece::TooLong(_) => long.push(n),
            });
        }
        (lines, long, f.carry.len())
    }

    #[test]
    fn bom_crlf_and_a_half_line() {
        let (lines, _, pending) = cut(100, &[b"\xef\xbb\xbfa\r\nb", b"b\n\nhalf"]);
        assert_eq!(lines, [(1, b"a".to_vec()), (2, b"bb".to_vec()), (3, vec![])]);
        assert_eq!(pending, 4);
    }

    #[test]
    fn an_over_long_line_costs_no_memory_and_not_the_next_line() {
        let long = vec![b'x'; 5000];
        let (lines, skipped, _) =
            cut(1000, &[b"a\n", &long, &long, b"\nb\n", &long, b"\n", &[b'y'; 1001], b"\nc\n"]);
        assert_eq!(lines, [(1, b"a".to_vec()), (3, b"b".to_vec()), (6, b"c".to_vec())]);
        assert_eq!(skipped, [2, 4, 5]);
        let mut f = Framer::with_longest(1000);
        for _ in 0..1000 {
            f.push(&long, |_, _| {});
        }
        assert!(f.carry.capacity() <= 2048, "{}", f.carry.capacity());
    }

    #[test]
    fn a_hole_before_a_line_is_no_part_of_it() {
        let hole = vec![0; 5000];
        let (lines, long, pending) = cut(100, &[b"a\n", &hole, &hole, b"\0b\0c\n", &hole]);
        assert_eq!(lines, [(1, b"a".to_vec()), (2, b"b\0c".to_vec())]);
        assert_eq!((long, pending), (vec![], 0));
    }

    #[test]
    fn the_end_hands_out_the_last_line() {
        let mut f = Framer::default();
        f.push(b"a\nlast", |_, _| {});
        let mut last = vec![];
        f.end(|n, p| last.push((n, p == Piece::Line(b"last"))));
        assert_eq!((last, f.carry.len(), f.lines), (vec![(2, true)], 0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However the stream is cut into reads, the lines are those of a plain split.
        #[test]
        fn lines_do_not_depend_on_the_reads(text in "[ab\r\n]{0,60}", cuts in prop::collection::vec(0usize..60, 0..8)) {
            let mut at: Vec<usize> = cuts.into_iter().filter(|c| *c < text.len()).collect();
            at.sort_unstable();
            let mut parts = vec![];
            let mut from = 0;
            for c in at { parts.push(&text.as_bytes()[from..c]); from = c; }
            parts.push(&text.as_bytes()[from..]);
            let (lines, _, pending) = cut(1000, &parts);
            let mut want: Vec<&str> = text.split('\n').collect();
            let rest = want.pop().unwrap();
            prop_assert_eq!(pending, rest.len());
            prop_assert_eq!(lines.len(), want.len());
            for ((_, line), want) in lines.iter().zip(want) {
                prop_assert_eq!(&line[..], want.strip_suffix('\r').unwrap_or(want).as_bytes());
            }
        }
    }
}
