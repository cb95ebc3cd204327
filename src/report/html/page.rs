//! HTML written so that nothing in it can be mistaken for markup.

use std::fmt::Write;

/// Text as it may stand between tags or in a quoted attribute: markup escaped, control and
/// reordering characters gone.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || reorders(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Characters that change the order or the place of others without being seen.
fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// The body of a page, written from the top down. Every text that is handed over is escaped here.
#[derive(Debug, Default)]
pub struct Html {
    out: String,
    open: bool,
    pictures: usize,
}

impl Html {
    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        self.close();
        let _ = writeln!(self.out, "<section>\n<h2>{}</h2>", escape(title));
        self.open = true;
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.out.push_str("</section>\n");
        }
    }

    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.out, "<p>{}</p>", escape(text));
    }

    /// A plot: markup of our own. Its clip paths get names that no other plot of the page has.
    pub fn picture(&mut self, title: &str, svg: &str) {
        self.section(title);
        self.pictures += 1;
        let own = format!("f{}p", self.pictures);
        let svg = svg.replace("<clipPath id=\"p", &format!("<clipPath id=\"{own}"));
        let svg = svg.replace("clip-path=\"url(#p", &format!("clip-path=\"url(#{own}"));
        let _ = writeln!(self.out, "<figure>{svg}</figure>");
    }

    /// A paragraph of a class of the style sheet.
    pub fn said(&mut self, class: &'static str, text: &str) {
        let _ = writeln!(self.out, "<p class=\"{class}\">{}</p>", escape(text));
    }

    pub fn list<S: AsRef<str>>(&mut self, items: impl IntoIterator<Item = S>) {
        let items: Vec<String> =
            items.into_iter().map(|i| format!("<li>{}</li>", escape(i.as_ref()))).collect();
        if !items.is_empty() {
            let _ = writeln!(self.out, "<ul>\n{}\n</ul>", items.join("\n"));
        }
    }

    /// A table; a cell is set to the right where it begins like a number.
    pub fn table<const N: usize>(&mut self, header: [&str; N], rows: Vec<[String; N]>) {
        self.columns(&header, rows.into_iter().map(Vec::from));
    }

    /// The same with as many columns as the header has.
    pub fn columns<S: AsRef<str>>(
        &mut self,
        header: &[S],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return;
        }
        let head = |h: &S| format!("<th>{}</th>", escape(h.as_ref()));
        let heads: String = header.iter().map(head).collect();
        let _ = writeln!(self.out, "<div class=\"wide\"><table>\n<thead><tr>{heads}</tr></thead>");
        self.out.push_str("<tbody>\n");
        for row in rows {
            let cells: String = row.iter().map(|c| cell(c)).collect();
            let _ = writeln!(self.out, "<tr>{cells}</tr>");
        }
        self.out.push_str("</tbody>\n</table></div>\n");
    }

    pub fn finish(mut self) -> String {
        self.close();
        self.out
    }
}

fn cell(text: &str) -> String {
    let number = text.starts_with(|c: char| c.is_ascii_digit() || "<>=-+?".contains(c));
    let class = if number { " class=\"n\"" } else { "" };
    format!("<td{class}>{}</td>", escape(text))
}

const STYLE: &str = include_str!("style.css");

/// The whole page. Its policy lets a browser load nothing, whatever stands in the text.
pub fn head(run: &str, at: f64, version: &str, body: &str) -> String {
    let run = escape(run);
    let made = when(at);
    let version = escape(version);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{run} - boptop</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header><h1>{run}</h1>\n<p class=\"dim\">boptop {version}, as of {made}. Tokens per \
         optimizer step (B), cumulative tokens (E), loss in nats per token; stable phase unless it \
         says otherwise.</p></header>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// Unix seconds as a date and a time of day in UTC.
pub fn when(at: f64) -> String {
    let time = jiff::Timestamp::from_second(at as i64).ok().filter(|_| at.is_finite());
    time.map_or_else(|| "an unknown time".into(), |t| t.strftime("%F %H:%M UTC").to_string())
}
