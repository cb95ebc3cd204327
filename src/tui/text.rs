//! Text onto the buffer. Every string that is drawn passes [`put`], which lets no control or
//! bidirectional character through and never leaves its field.

use super::theme::{Role, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that a text takes on this terminal.
pub(crate) fn width(theme: &Theme, text: &str) -> u16 {
    theme.clean(text).width().min(usize::from(u16::MAX)) as u16
}

/// The text cut to `max` columns, with an ellipsis where something was cut.
pub(crate) fn fit<'t>(theme: &Theme, text: &'t str, max: u16) -> Cow<'t, str> {
    let clean = theme.clean(text);
    let max = usize::from(max);
    if clean.width() <= max {
        return clean;
    }
    let mut out = take(clean.chars(), max.saturating_sub(1));
    if max > 0 {
        out.push(if theme.ascii { '~' } else { '…' });
    }
    Cow::Owned(out)
}

/// The text cut to `max` columns in its middle: names that begin alike stay apart.
pub(crate) fn fit_middle<'t>(theme: &Theme, text: &'t str, max: u16) -> Cow<'t, str> {
    let clean = theme.clean(text);
    let max = usize::from(max);
    if clean.width() <= max || max < 5 {
        return fit(theme, text, max as u16);
    }
    // What tells runs apart stands at the end as often as at the beginning.
    let head = take(clean.chars(), max / 2);
    let tail: Vec<char> = take(clean.chars().rev(), max - 1 - max / 2).chars().collect();
    let dots = if theme.ascii { '~' } else { '…' };
    Cow::Owned(head.chars().chain([dots]).chain(tail.into_iter().rev()).collect())
}

/// The first characters that fill at most `max` columns.
fn take(chars: impl Iterator<Item = char>, max: usize) -> String {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= max
        })
        .collect()
}

/// Draws at most `max` columns from (x, y); returns the column after the text.
pub(crate) fn put(
    buf: &mut Buffer,
    theme: &Theme,
    (x, y): (u16, u16),
    max: u16,
    text: &str,
    style: Style,
) -> u16 {
    let area = *buf.area();
    if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
        return x;
    }
    let text = fit(theme, text, max);
    buf.set_stringn(x, y, text, usize::from(max.min(area.right() - x)), style).0
}

/// The same, ending before column `right`.
pub(crate) fn put_right(
    buf: &mut Buffer,
    theme: &Theme,
    (right, y): (u16, u16),
    max: u16,
    text: &str,
    style: Style,
) {
    let text = fit(theme, text, max);
    let w = text.width().min(usize::from(right)) as u16;
    put(buf, theme, (right - w, y), max, &text, style);
}

/// The text in lines of at most `max` columns, broken between words where that is possible.
pub(crate) fn wrap(theme: &Theme, text: &str, max: u16) -> Vec<String> {
    let max = usize::from(max.max(1));
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in theme.clean(text).split_whitespace() {
        let gap = usize::from(!line.is_empty());
        if line.width() + gap + word.width() <= max {
            if gap == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if line.width() + c.width().unwrap_or(0) > max {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Writes lines into an area from the top down; what does not fit is not drawn, `skip` first lines
/// are scrolled away.
#[derive(Debug)]
pub(crate) struct Pen<'a> {
    pub buf: &'a mut Buffer,
    pub theme: &'a Theme,
    pub area: Rect,
    /// Lines written, scrolled ones included.
    pub line: u16,
    pub skip: u16,
}

impl<'a> Pen<'a> {
    pub fn new(buf: &'a mut Buffer, theme: &'a Theme, area: Rect) -> Self {
        Pen { buf, theme, area, line: 0, skip: 0 }
    }

    /// Row on the screen of the next line, if it is seen.
    fn row(&self) -> Option<u16> {
        let at = self.line.checked_sub(self.skip)?;
        (at < self.area.height).then_some(self.area.y + at)
    }

    pub fn left(&self) -> u16 {
        self.area.height.saturating_sub(self.line.saturating_sub(self.skip))
    }

    pub fn spans(&mut self, spans: &[(&str, Role)]) {
        if let Some(y) = self.row() {
            let mut x = self.area.x;
            for (text, role) in spans {
                let room = self.area.right().saturating_sub(x);
                x = put(self.buf, self.theme, (x, y), room, text, self.theme.style(*role));
            }
        }
        self.line += 1;
    }

    pub fn text(&mut self, text: &str, role: Role) {
        self.spans(&[(text, role)]);
    }

    pub fn blank(&mut self) {
        self.line += 1;
    }

    /// A heading with a rule to the right edge.
    pub fn rule(&mut self, title: &str) {
        if let Some(y) = self.row() {
            rule(self.buf, self.theme, Rect { y, height: 1, ..self.area }, title);
        }
        self.line += 1;
    }

    /// Wrapped text; `lead` stands before the first line, the others are indented as far.
    pub fn wrapped(&mut self, lead: &str, text: &str, role: Role) {
        let indent = width(self.theme, lead);
        let room = self.area.width.saturating_sub(indent);
        for (i, line) in wrap(self.theme, text, room).iter().enumerate() {
            if let Some(y) = self.row() {
                let style = self.theme.style(role);
                if i == 0 {
                    put(self.buf, self.theme, (self.area.x, y), indent, lead, style);
                }
                put(self.buf, self.theme, (self.area.x + indent, y), room, line, style);
            }
            self.line += 1;
        }
    }

    /// A dim label of fixed width and a value.
    pub fn field(&mut self, label: &str, label_width: u16, value: &str, role: Role) {
        if let Some(y) = self.row() {
            let x = self.area.x;
            put(self.buf, self.theme, (x, y), label_width, label, self.theme.style(Role::Dim));
            let room = self.area.width.saturating_sub(label_width);
            put(self.buf, self.theme, (x + label_width, y), room, value, self.theme.style(role));
        }
        self.line += 1;
    }
}

/// `── title ─────` over one row.
pub(crate) fn rule(buf: &mut Buffer, theme: &Theme, row: Rect, title: &str) {
    let dim = theme.style(Role::Guide);
    let line = "─".repeat(usize::from(row.width));
    put(buf, theme, (row.x, row.y), row.width, &line, dim);
    if !title.is_empty() && row.width > 4 {
        let title = format!(" {title} ");
        let style = theme.style(Role::Heading);
        put(buf, theme, (row.x + 2, row.y), row.width - 4, &title, style);
    }
}

/// The characters of a buffer, trailing blanks removed.
pub(crate) fn buffer_to_text(buf: &Buffer) -> String {
    let area = *buf.area();
    let mut out = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        let mut hidden = 0;
        for x in area.left()..area.right() {
            let symbol = buf.cell((x, y)).map_or(" ", |c| c.symbol());
            // The cell after a wide character is covered by it.
            if hidden == 0 {
                line.push_str(symbol);
                hidden = symbol.width().max(1) - 1;
            } else {
                hidden -= 1;
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_text_says_so_and_stays_in_its_field() {
        let t = Theme::plain();
        assert_eq!(fit(&t, "abcdef", 6), "abcdef");
        assert_eq!(fit(&t, "abcdefg", 6), "abcde…");
        assert_eq!(fit(&t, "日本語", 4), "日…");
        assert_eq!(fit(&t, "x", 0), "");
        assert_eq!(fit_middle(&t, "sweep-b0016", 11), "sweep-b0016");
        assert_eq!(fit_middle(&t, "sweep-lr2e-3-b0016", 11), "sweep…b0016");
        assert_eq!(fit_middle(&t, "日本語日本語x", 8), "日本…語x");
    }

    #[test]
    fn words_are_kept_whole_and_long_ones_broken() {
        let t = Theme::plain();
        assert_eq!(wrap(&t, "raise to 4M now", 8), ["raise to", "4M now"]);
        assert_eq!(wrap(&t, "abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert!(wrap(&t, "", 4).is_empty());
    }
}
