//! A sparse index of a file: where its lines lie, by the steps that they tell of, so that a part of
//! it can be read again. Pure; a bounded number of marks whatever the size of the file.

use super::{Input, Record};
use std::ops::Range;

/// Marks at most; beyond them every two become one, and new ones lie twice as far apart.
const MOST: usize = 2048;
/// Bytes between two marks at first.
const STRIDE: u64 = 256 << 10;

/// Whole lines one after the other.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    bytes: Range<u64>,
    /// Lines before them.
    lines: u64,
    /// Lowest place of those that count.
    from: f64,
}

/// Where the lines of one file lie, ascending in step. Lines that a restart repeats are left out
/// where they fill a mark, and else stand before those that replace them.
#[derive(Debug, Clone)]
pub struct Marks {
    marks: Vec<Mark>,
    stride: u64,
    /// Whole lines so far, and where they end.
    lines: u64,
    end: u64,
    /// Place of the newest train loss.
    last: Option<f64>,
    /// Places are tokens, as no steps are logged.
    by_tokens: bool,
    /// Counts up whenever the content starts anew.
    content: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Marks {
            marks: Vec::new(),
            stride: STRIDE,
            lines: 0,
            end: 0,
            last: None,
            by_tokens: false,
            content: 0,
        }
    }
}

impl Marks {
    /// The content starts anew: nothing that was read lies anywhere.
    pub fn restarted(&mut self) {
        *self = Marks { content: self.content + 1, ..Marks::default() };
    }

    pub fn content(&self) -> u64 {
        self.content
    }

    /// Whether places are tokens; `None` without a train loss.
    pub fn by_tokens(&self) -> Option<bool> {
        self.last.map(|_| self.by_tokens)
    }

    /// Bytes that were read at `offset`, and the records that came of them.
    pub fn learn(&mut self, offset: u64, bytes: &[u8], inputs: &[Input]) {
        let Some(end) = memchr::memrchr(b'\n', bytes) else { return };
        let (lines, begin) = (self.lines, self.end);
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.end = offset + end as u64 + 1;
        if self.marks.is_empty() {
            self.push(0, 0, f64::NEG_INFINITY);
        }
        let mut lowest = f64::INFINITY;
        for input in inputs {
            let Input::Record(r) = input else { continue };
            let Some(place) = self.place(r) else { continue };
            let back = self.last.is_some_and(|last| place < last);
            self.last = Some(place);
            // Records that the first mapping of keys held back lie in the first mark.
            let here = r.line > lines;
            if back {
                let first = self.marks.len().min(1);
                let keep = self.marks.partition_point(|m| m.from < place).max(first);
                self.marks.truncate(keep);
            }
            if !here {
                continue;
            }
            let far = |m: &Mark| begin >= m.bytes.start + self.stride;
            let opens = lowest == f64::INFINITY && self.marks.last().is_some_and(far);
            // A mark begins with the bytes read, so that it holds what came before a restart too.
            lowest = lowest.min(place);
            if back || opens {
                self.push(begin, lines, lowest);
            }
        }
        if let Some(last) = self.marks.last_mut() {
            last.bytes.end = self.end;
        }
    }

    fn place(&mut self, r: &Record) -> Option<f64> {
        r.loss?;
        if self.last.is_none() {
            self.by_tokens = r.step.is_none() && r.tokens.is_some();
        }
        if self.by_tokens { r.tokens } else { r.step }
    }

    fn push(&mut self, begin: u64, lines: u64, from: f64) {
        // One that begins here holds it already.
        if self.marks.last().is_some_and(|m| m.bytes.start == begin) {
            return;
        }
        if self.marks.len() >= MOST {
            self.thin();
        }
        self.marks.push(Mark { bytes: begin..self.end, lines, from });
    }

    /// Every two marks become one. Repeated lines between them are read with them.
    fn thin(&mut self) {
        self.stride *= 2;
        let two = |m: &[Mark]| {
            let end = m.last().map_or(m[0].bytes.end, |l| l.bytes.end);
            Mark { bytes: m[0].bytes.start..end, ..m[0].clone() }
        };
        self.marks = self.marks.chunks(2).map(two).collect();
    }

    /// The bytes that hold all lines of these places, in the order of the file, each with the lines
    /// before them.
    pub fn holding(&self, [from, to]: [f64; 2]) -> Vec<(Range<u64>, u64)> {
        let first = self.marks.partition_point(|m| m.from <= from).saturating_sub(1);
        let end = self.marks.partition_point(|m| m.from <= to);
        let held = self.marks.get(first..end).unwrap_or_default();
        held.iter().map(|m| (m.bytes.clone(), m.lines)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A log of lines of 10 bytes with these steps, read so many lines at a time.
    fn marks(steps: &[u32], chunk: usize, stride: u64) -> Marks {
        let mut marks = Marks { stride, ..Marks::default() };
        let mut line = 0;
        for part in steps.chunks(chunk) {
            let bytes = b"123456789\n".repeat(part.len());
            let record = |(i, s): (usize, &u32)| {
                let line = line as u64 + i as u64 + 1;
                let step = Some(f64::from(*s));
                Input::Record(Record { line, step, loss: Some(2.0), ..Record::default() })
            };
            let inputs: Vec<Input> = part.iter().enumerate().map(record).collect();
            marks.learn(line as u64 * 10, &bytes, &inputs);
            line += part.len();
        }
        marks
    }

    /// What lies in a window after restarts: (step, line).
    fn left(steps: &[u32], [from, to]: [f64; 2]) -> Vec<(u32, usize)> {
        let mut left: Vec<(u32, usize)> = Vec::new();
        for (i, s) in steps.iter().enumerate() {
            left.retain(|(step, _)| step < s);
            left.push((*s, i));
        }
        left.retain(|(s, _)| (from..=to).contains(&f64::from(*s)));
        left
    }

    #[test]
    fn marks_are_few_however_long_the_file_is() {
        let steps: Vec<u32> = (0..100_000).collect();
        let m = marks(&steps, 1, 10);
        assert!(m.marks.len() <= MOST && m.marks.len() >= MOST / 4, "{}", m.marks.len());
        let held = m.holding([500.0, 500.0]);
        assert!(held.len() == 1 && held[0].0.contains(&5000), "{held:?}");
        assert!(held[0].0.end - held[0].0.start <= 2 * m.stride);
        assert_eq!(held[0].0.start, held[0].1 * 10);
    }

    #[test]
    fn new_content_has_no_marks() {
        let mut m = marks(&[1, 2, 3], 3, 10);
        assert_eq!((m.holding([1.0, 3.0]).len(), m.by_tokens()), (1, Some(false)));
        m.restarted();
        assert_eq!((m.holding([1.0, 3.0]).len(), m.by_tokens(), m.content()), (0, None, 1));
    }

    #[test]
    fn lines_before_a_restart_in_the_same_read_are_found() {
        // The read of the last 17 lines begins with step 36, which no restart repeats.
        let steps: Vec<u32> = (0..48).chain(42..47).collect();
        let held = marks(&steps, 36, 370).holding([30.0, 36.0]);
        assert!(held.iter().any(|(bytes, _)| bytes.contains(&360)), "{held:?}");
    }

    proptest! {
        /// Whatever was restarted where: the lines that count are among those read again, and read
        /// in their order they resolve to the same.
        #[test]
        fn a_window_holds_the_lines_that_count(
            attempts in prop::collection::vec((0u32..120, 1u32..60), 1..6),
            chunk in 1usize..20, stride in 1u64..300, from in 0u32..150, width in 0u32..60,
        ) {
            let steps: Vec<u32> = attempts.iter().flat_map(|(from, n)| *from..from + n).collect();
            let window = [f64::from(from), f64::from(from + width)];
            let m = marks(&steps, chunk, stride);
            let mut read = Vec::new();
            let mut at = 0;
            for (bytes, lines) in m.holding(window) {
                prop_assert!(bytes.start >= at && bytes.start == lines * 10);
                at = bytes.end;
                read.extend(lines as usize..bytes.end as usize / 10);
            }
            let again: Vec<u32> = read.iter().map(|i| steps[*i]).collect();
            let lines: Vec<(u32, usize)> =
                left(&again, window).into_iter().map(|(s, i)| (s, read[i])).collect();
            prop_assert_eq!(lines, left(&steps, window));
        }
    }
}
