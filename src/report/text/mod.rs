//! Answers for people: plain text, 100 columns, no colour.

mod control;
mod fit;
mod inspect;
pub(super) mod plan;

pub(super) use control::entry;
pub use control::{control, proposal, schedule};
pub use fit::{fit, fit_summary};
pub use inspect::inspect;
pub use plan::plan;

use crate::snapshot::{Interval, Open};
use crate::units;

/// `205 (180 to 240)`, `205 (>= 180)` where a side is open; `<= 131K` and `>= 4.1K` without a value.
pub fn interval(iv: &Interval, write: impl Fn(f64) -> String) -> String {
    let bound = |x: Option<f64>| x.map_or_else(|| "?".into(), &write);
    match (iv.open, iv.value, iv.low, iv.high) {
        (Open::None, Some(v), Some(lo), Some(hi)) => {
            format!("{} ({} to {})", write(v), write(lo), write(hi))
        }
        (Open::None, Some(v), ..) => write(v),
        (Open::Low, Some(v), _, Some(hi)) => format!("{} (<= {})", write(v), write(hi)),
        (Open::High, Some(v), Some(lo), _) => format!("{} (>= {})", write(v), write(lo)),
        (Open::Low, _, _, Some(hi)) => format!("<= {}", write(hi)),
        (Open::High, _, Some(lo), _) => format!(">= {}", write(lo)),
        (Open::Low, Some(v), ..) => format!("<= {}", write(v)),
        (Open::High, Some(v), ..) => format!(">= {}", write(v)),
        (Open::Both, Some(v), lo, hi) => format!("{} ({} to {})", write(v), bound(lo), bound(hi)),
        _ => "?".into(),
    }
}

pub(super) fn counts(iv: &Interval) -> String {
    interval(iv, units::count)
}

pub(super) fn maybe(x: Option<f64>, write: impl Fn(f64) -> String) -> String {
    x.filter(|x| x.is_finite()).map_or_else(|| "?".into(), write)
}

/// The serialized name of a unit variant: `three_stage`.
pub(super) fn name(of: &impl serde::Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(s)) => s,
        _ => "?".into(),
    }
}

/// A name or a path on one line, without what could move a terminal: `a\nb` as it is written in a
/// program.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// `text` in lines of at most `width` columns, each after `indent`.
fn wrap(text: &str, indent: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > width {
            out += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if !line.is_empty() {
        out += &format!("{indent}{line}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_side_is_said_as_a_bound() {
        let iv = |value, low, high, open| Interval { value, low, high, level: 0.9, open };
        let text = |iv| interval(&iv, units::count);
        assert_eq!(text(iv(Some(205.0), Some(180.0), Some(240.0), Open::None)), "205 (180 to 240)");
        assert_eq!(text(iv(None, None, Some(131072.0), Open::Low)), "<= 131K");
        assert_eq!(text(iv(None, Some(4096.0), None, Open::High)), ">= 4.1K");
        assert_eq!(text(iv(Some(6.4e7), Some(5.5e7), None, Open::High)), "64M (>= 55M)");
        assert_eq!(text(iv(Some(82.0), None, Some(155.0), Open::Low)), "82 (<= 155)");
        assert_eq!(text(Interval::UNKNOWN), "?");
    }

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(escaped("a\nb\tc\u{1b}[31m\u{7}é\\"), r"a\nb\tc\u{1b}[31m\u{7}é\");
    }

    #[test]
    fn long_sentences_are_wrapped_at_words() {
        assert_eq!(wrap("one two three", "  ", 9), "  one two\n  three\n");
        assert_eq!(wrap("", "  ", 9), "");
    }
}
