//! The usual line, read without a general parser: one object of numbers, plain texts and objects,
//! its keys mostly in the order of the line before. Bare NaN and Infinity are taken as they stand.
//!
//! Whatever is not that (escapes, arrays, two objects, damage) is left to [`super::parse`] from the
//! start; what both read, they read alike (a property test says so). Pure.

use super::keys::{Keys, Use};
use super::parse::{Found, Value};

/// Objects within objects.
const MAX_DEPTH: usize = 16;
/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// As they stand, and the text that stands for them where lines are mended.
const NON_NUMBERS: [(&[u8], &str); 4] =
    [(b"NaN", "NaN"), (b"Infinity", "Infinity"), (b"-Infinity", "-Infinity"), (b"-NaN", "NaN")];

/// Reads `text` where it is one such object and nothing else. `None`: it is not, and `found` holds
/// rests.
pub fn object(text: &str, keys: &mut Keys, found: &mut Found) -> Option<()> {
    keys.begin();
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
    scanner.expect(b'{')?;
    scanner.object(keys, found, 0, 0)?;
    scanner.blanks();
    (scanner.at == scanner.bytes.len()).then_some(())?;
    found.settle(keys);
    Some(())
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// A number as it stands: `mantissa / 10^fraction`, or too long for that.
struct Number {
    from: usize,
    negative: bool,
    mantissa: u64,
    digits: usize,
    fraction: usize,
    exponent: bool,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn take(&mut self, word: &[u8]) -> bool {
        let there = self.bytes[self.at..].starts_with(word);
        self.at += if there { word.len() } else { 0 };
        there
    }

    /// What follows the opening brace.
    fn object(
        &mut self,
        keys: &mut Keys,
        found: &mut Found,
        node: usize,
        depth: usize,
    ) -> Option<()> {
        self.blanks();
        if self.take(b"}") {
            return Some(());
        }
        loop {
            let child = self.key(keys, node)?;
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            self.value(keys, found, node, child, depth)?;
            self.blanks();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
            self.blanks();
        }
    }

    /// The inner `None`: one key too many to remember.
    fn key(&mut self, keys: &mut Keys, node: usize) -> Option<Option<usize>> {
        self.expect(b'"')?;
        if let Some((child, name)) = keys.expected(node) {
            let end = self.at + name.len();
            if self.bytes.get(end) == Some(&b'"') && self.bytes[self.at..end] == *name.as_bytes() {
                self.at = end + 1;
                keys.expect_next(node, child);
                return Some(Some(child));
            }
        }
        let name = self.rest_of_text()?;
        Some(keys.child(node, name))
    }

    /// A text up to its closing quote; `None` where it has escapes.
    fn rest_of_text(&mut self) -> Option<&'a str> {
        let from = self.at;
        let plain = |b: &u8| *b >= b' ' && *b != b'"' && *b != b'\\';
        let end = from + self.bytes[from..].iter().position(|b| !plain(b))?;
        self.at = end;
        self.expect(b'"')?;
        self.text.get(from..end)
    }

    fn value(
        &mut self,
        keys: &mut Keys,
        found: &mut Found,
        node: usize,
        child: Option<usize>,
        depth: usize,
    ) -> Option<()> {
        let wanted = child.filter(|&c| keys.usage(node, c) != Use::Skip);
        match self.peek()? {
            b'"' => {
                self.at += 1;
                let text = self.rest_of_text()?;
                if let Some(child) = wanted {
                    Value { keys, found, node, child }.text(text);
                }
            }
            b'{' => {
                let node = keys.object(node, wanted?)?;
                self.at += 1;
                (depth < MAX_DEPTH).then_some(())?;
                self.object(keys, found, node, depth + 1)?;
            }
            b't' | b'f' | b'n' => {
                let null = self.take(b"null");
                (null || self.take(b"true") || self.take(b"false")).then_some(())?;
                if let Some(child) = wanted.filter(|_| !null) {
                    keys.scalar(node, child);
                }
            }
            b'-' | b'0'..=b'9' | b'N' | b'I' => {
                let x = self.number(wanted.is_some());
                let word = if x.is_some() { "" } else { self.non_number()? };
                if let Some(child) = wanted {
                    let value = Value { keys, found, node, child };
                    match x {
                        Some(x) => value.number(x),
                        None => value.text(word),
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn non_number(&mut self) -> Option<&'static str> {
        NON_NUMBERS.iter().find(|(word, _)| self.take(word)).map(|(_, text)| *text)
    }

    /// A number; only checked where it is not `wanted`.
    fn number(&mut self, wanted: bool) -> Option<f64> {
        let number = self.digits_and_all()?;
        let long = number.mantissa >> 53 != 0 || number.digits > 18;
        if number.exponent || (long && wanted) || number.digits > 300 {
            let x: f64 = self.text.get(number.from..self.at)?.parse().ok()?;
            if !x.is_finite() {
                // Out of range is an error, and the parser's to tell.
                self.at = number.from;
                return None;
            }
            return Some(x);
        }
        if !wanted {
            return Some(0.0);
        }
        // Both are exact, so that the quotient is the nearest double (Clinger 1990).
        let x = number.mantissa as f64 / TENS.get(number.fraction)?;
        Some(if number.negative { -x } else { x })
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`; `None` leaves the place as it was.
    fn digits_and_all(&mut self) -> Option<Number> {
        let from = self.at;
        let negative = self.take(b"-");
        let (mut number, first) = (
            Number { from, negative, mantissa: 0, digits: 0, fraction: 0, exponent: false },
            self.at,
        );
        self.run(&mut number);
        let whole = number.digits;
        let mut sound = whole > 0 && (whole == 1 || self.bytes[first] != b'0');
        if sound && self.peek() == Some(b'.') {
            self.at += 1;
            self.run(&mut number);
            number.fraction = number.digits - whole;
            sound = number.fraction > 0;
        }
        if sound && matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let before = number.digits;
            number.exponent = true;
            self.run(&mut number);
            sound = number.digits > before;
        }
        if !sound {
            self.at = from;
            return None;
        }
        Some(number)
    }

    fn run(&mut self, number: &mut Number) {
        while let Some(digit) = self.peek().map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
            number.mantissa = number.mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            number.digits += 1;
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mend;
    use super::super::parse;
    use super::*;
    use proptest::prelude::*;

    type Read = (Vec<(String, u64)>, Option<String>);

    fn told(keys: &Keys, found: &Found) -> Read {
        let hit = |h: &parse::Hit| (keys.infos()[h.key as usize].path.clone(), h.value.to_bits());
        (found.hits.iter().map(hit).collect(), found.run_name.clone())
    }

    fn scanned(keys: &mut Keys, line: &str) -> Option<Read> {
        let mut found = Found::default();
        object(line, keys, &mut found)?;
        Some(told(keys, &found))
    }

    fn parsed(keys: &mut Keys, line: &str) -> Option<Read> {
        let mut found = Found::default();
        let mended = mend::non_numbers(line);
        let mut de = serde_json::Deserializer::from_str(mended.as_deref().unwrap_or(line));
        parse::object(&mut de, keys, &mut found).ok()?;
        de.end().ok()?;
        Some(told(keys, &found))
    }

    /// Takes each line, and reads it like the parser.
    fn alike(lines: &[&str]) {
        let (mut a, mut b) = (Keys::new(vec![]), Keys::new(vec![]));
        for line in lines {
            let one = scanned(&mut a, line);
            assert!(one.is_some(), "{line}");
            assert_eq!(one, parsed(&mut b, line), "{line}");
        }
        assert_eq!(a.listed(), b.listed());
    }

    #[test]
    fn the_usual_lines_are_taken() {
        alike(&[
            r#"{"step":1,"loss":2.5,"lr":3e-05,"x":-0.0,"run":"größe","ok":true,"n":null}"#,
            r#"{"step": 2, "loss": NaN, "lr": -Infinity, "x": 1e-7, "run": "", "ok": false}"#,
            r#"{ "lr" : 0.1 , "step" : 3 , "new" : {"loss" : 1e2 , "deep": {} } } "#,
            r#"{"step":18446744073709551616,"tokens":9007199254740993,"loss":0.1234567890123456789}"#,
            r#"{}"#,
            r#"{"event_name":"train/loss","value":2.5,"step":"7/9","time":"2026-01-01T00:00:00Z"}"#,
        ]);
    }

    #[test]
    fn the_rest_is_left_to_the_parser() {
        for line in [
            r#"{"a\n":1}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":1}{"b":2}"#,
            r#"{"a":1"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":-}"#,
            r#"{"a":1e999}"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{a:1}"#,
            r#"{"a":nul}"#,
            r#"{"a":Na}"#,
            "{\"a\":\"\t\"}",
            "{",
            "",
        ] {
            assert_eq!(scanned(&mut Keys::new(vec![]), line), None, "{line}");
        }
        // A key that the parser unescaped is not mistaken for bytes that stand there bare.
        let mut keys = Keys::new(vec![]);
        assert!(parsed(&mut keys, r#"{"a\"b":1}"#).is_some());
        assert_eq!(scanned(&mut keys, r#"{"a"b":1}"#), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Numbers come out to the last bit, keys as the parser lists them; and what was damaged is
        /// taken only where the parser takes it too.
        #[test]
        fn reads_like_the_parser(lines in prop::collection::vec((
            prop::collection::vec((
                prop_oneof![Just("step"), Just("loss"), Just("lr"), Just("x"), Just("run"), Just("y")],
                prop_oneof![
                    any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:e}")),
                    (-1e9f64..1e9).prop_map(|x| x.to_string()),
                    (-1e3f64..1e3, 0usize..20).prop_map(|(x, n)| format!("{x:.n$}")),
                    any::<i64>().prop_map(|x| x.to_string()),
                    "(NaN|-?Infinity|null|true|\"[ a-z0-9é]{0,4}\"|\\[1\\]|\\{\"loss\": ?2\\})",
                ],
            ), 0..6),
            any::<bool>(),
            proptest::option::of((any::<prop::sample::Index>(), "[ -~]?")),
        ), 1..4)) {
            let (mut a, mut b) = (Keys::new(vec![]), Keys::new(vec![]));
            for (fields, spaced, damage) in lines {
                let (colon, comma) = if spaced { (": ", ", ") } else { (":", ",") };
                let fields: Vec<String> =
                    fields.iter().map(|(k, v)| format!("\"{k}\"{colon}{v}")).collect();
                let mut line = format!("{{{}}}", fields.join(comma));
                if let Some((at, text)) = damage {
                    let at = at.index(line.len());
                    if line.is_char_boundary(at) && line.is_char_boundary(at + 1) {
                        line.replace_range(at..=at, &text);
                    }
                }
                let want = parsed(&mut b, &line);
                match scanned(&mut a, &line) {
                    Some(read) => prop_assert_eq!(Some(read), want, "{}", line),
                    None => { parsed(&mut a, &line); }
                }
            }
            prop_assert_eq!(a.listed(), b.listed());
        }
    }
}
