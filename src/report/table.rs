//! Columns of text, aligned.

use unicode_width::UnicodeWidthStr;

/// A table whose first column is left-aligned and the others right-aligned.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(header: [&str; N]) -> Table {
        Table { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, each indented by `indent` spaces, without trailing blanks.
    pub fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| {
            self.rows.iter().filter_map(|r| r.get(c)).map(|s| s.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (c, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[c].saturating_sub(cell.width()));
                if c == 0 {
                    line += cell;
                    line += &pad;
                } else {
                    line += "  ";
                    line += &pad;
                    line += cell;
                }
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_under_each_other() {
        let mut t = Table::new(["run", "tokens"]);
        t.row(vec!["b16".into(), "1.2M".into()]);
        t.row(vec!["b4096".into(), "640K".into()]);
        assert_eq!(t.render(2), "  run    tokens\n  b16      1.2M\n  b4096    640K\n");
    }
}
