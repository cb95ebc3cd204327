//! What was skipped: counts by kind, and the first few lines as they may be shown on a terminal.

use super::BadLine;

/// This many bad lines are kept; the rest is counted.
const KEPT: usize = 20;
/// Characters kept of each.
const SHOWN: usize = 120;

/// The bad lines of one file.
#[derive(Debug, Default, Clone)]
pub struct Defects {
    count: u64,
    /// Line of the newest one: a line with two faults is one bad line.
    last: u64,
    kept: Vec<BadLine>,
}

impl Defects {
    /// `column` from 1, 0 where none is known.
    pub fn add(&mut self, line: u64, column: u64, kind: &str, text: &[u8]) {
        if self.counted(line) {
            return;
        }
        self.last = line;
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(BadLine { line, column, kind: kind.to_string(), text: shown(text) });
        }
    }

    /// This line was counted already.
    pub fn counted(&self, line: u64) -> bool {
        line != 0 && line == self.last
    }

    /// The file was exchanged: its lines are numbered anew.
    pub fn restarted(&mut self) {
        self.last = 0;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn kept(&self) -> &[BadLine] {
        &self.kept
    }
}

/// The first characters of some bytes, safe for a terminal: control and bidirectional characters
/// and damaged bytes are written as escapes.
pub fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut n = 0;
    for chunk in bytes[..bytes.len().min(4 * SHOWN)].utf8_chunks() {
        for c in chunk.valid().chars() {
            if n == SHOWN {
                out.push_str("...");
                return out;
            }
            n += 1;
            if is_safe(c) { out.push(c) } else { out.extend(c.escape_default()) }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    if bytes.len() > 4 * SHOWN {
        out.push_str("...");
    }
    out
}

/// Neither a control character nor one that reorders or hides text.
fn is_safe(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        let text = shown("a\x1b[31m\u{202e}x\u{9b}\t\u{200b}é".as_bytes());
        assert_eq!(text, "a\\u{1b}[31m\\u{202e}x\\u{9b}\\t\\u{200b}é");
        assert_eq!(shown(b"ok \xff\xfe"), "ok \\xff\\xfe");
        assert!(shown(&vec![b'x'; 10_000]).len() < 130);
    }

    #[test]
    fn the_first_twenty_are_kept_and_all_are_counted() {
        let mut d = Defects::default();
        for i in 0..100 {
            d.add(i, 0, "not_json", b"?");
        }
        assert_eq!((d.count(), d.kept().len(), d.kept()[19].line), (100, 20, 19));
    }
}
