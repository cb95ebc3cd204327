//! Tables: a line of names, then lines of values, parted by commas. Pure.

use super::fields::Role;

/// Longer lines are something else.
const LONGEST: usize = 64 << 10;
/// A column is named by fewer bytes.
const LONGEST_NAME: usize = 120;

/// The names of the columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub names: Vec<String>,
}

impl Header {
    /// The header that a line is: names, among them those of a step or of tokens and of a loss.
    pub fn of(line: &str, role: impl Fn(&str) -> Option<Role>) -> Option<Header> {
        if line.len() > LONGEST {
            return None;
        }
        let names: Vec<String> = cells(line).map(str::to_string).collect();
        let name = |n: &String| n.len() < LONGEST_NAME && !n.contains([':', '=', '{', '|']);
        let number = |n: &String| n.parse::<f64>().is_ok();
        if names.len() < 2 || !names.iter().all(|n| name(n) && !number(n)) {
            return None;
        }
        let roles: Vec<Role> = names.iter().filter_map(|n| role(n)).collect();
        let place = |r: &Role| matches!(r, Role::Step | Role::Tokens);
        let loss = |r: &Role| matches!(r, Role::Loss | Role::ValLoss);
        (roles.iter().any(place) && roles.iter().any(loss)).then_some(Header { names })
    }

    /// The values of a line, one for each name; `None`: the line is no row of this table.
    pub fn row<'a>(&self, line: &'a str) -> Option<Vec<&'a str>> {
        let row: Vec<&str> = cells(line).collect();
        let some = row.iter().any(|c| c.parse::<f64>().is_ok());
        (row.len() == self.names.len() && some).then_some(row)
    }
}

/// What stands between commas, without blanks and quotes around it; a comma within quotes parts
/// nothing.
fn cells(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .map(|c| c.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::super::fields::classify;
    use super::*;

    fn header(line: &str) -> Option<Header> {
        Header::of(line, |n| classify(n).map(|c| c.role))
    }

    #[test]
    fn a_header_names_a_step_and_a_loss() {
        for line in [
            "step,train_loss,lr",
            "epoch,lr-AdamW,step,train_loss,val_loss",
            "\"step\", \"loss\"",
            "tokens,val_loss",
        ] {
            assert!(header(line).is_some(), "{line}");
        }
        for line in [
            "",
            "step",
            "step,lr",
            "loss,lr",
            "1,2.5,0.001",
            "step: 1, loss: 2.5",
            "saving the step, then the loss=2.5",
            "[INFO] iteration, loss {",
        ] {
            assert_eq!(header(line), None, "{line}");
        }
    }

    #[test]
    fn a_row_has_a_value_for_every_name() {
        let h = header("step,note,train_loss,val_loss").unwrap();
        assert_eq!(h.row("1,\"a, b\", 2.5,"), Some(vec!["1", "a, b", "2.5", ""]));
        for line in ["", "1,2.5", "1,a,2.5,,", "step,note,train_loss,val_loss", "a,b,c,d"] {
            assert_eq!(h.row(line), None, "{line}");
        }
    }
}
