//! What the trainer said: acknowledgements, the attempts behind them, what is in force.

use super::protocol::{Ack, AckStatus, Entry, Problem, plain};
use crate::advice::TrainerLimits;

/// All lines of `NAME.control.ack.jsonl`, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acks {
    pub lines: Vec<Ack>,
    /// Whole lines that are no acknowledgement.
    pub bad: u64,
    /// The first of them, fit for a screen.
    pub first_bad: Option<String>,
}

/// What a trainer answered to a revision, by its last word on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Rejected,
}

impl Acks {
    /// Reads whole lines. A last line without its newline counts if it reads, and is taken for
    /// half written if it does not.
    pub fn parse(bytes: &[u8]) -> Acks {
        let mut acks = Acks::default();
        let whole = bytes.last().is_none_or(|b| *b == b'\n');
        let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        for (i, line) in lines.iter().enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            match Ack::parse(line) {
                Ok(ack) => acks.lines.push(ack),
                Err(_) if i + 1 == lines.len() && !whole => {}
                Err(why) => {
                    acks.bad += 1;
                    acks.first_bad.get_or_insert_with(|| bad_words(i + 1, &why));
                }
            }
        }
        acks
    }

    /// The highest revision that any line names.
    pub fn highest(&self) -> Option<u64> {
        self.lines.iter().filter_map(|a| a.revision).max()
    }

    /// The trainer's last word on a revision, and the line that says it.
    pub fn answer(&self, revision: u64) -> Option<(Answer, usize)> {
        self.lines.iter().enumerate().rev().find_map(|(i, a)| {
            let answer = match a.status {
                AckStatus::Accepted => Answer::Accepted,
                AckStatus::Rejected => Answer::Rejected,
                _ => return None,
            };
            (a.revision == Some(revision)).then_some((answer, i))
        })
    }

    /// The revision in force and its schedule: the highest that was accepted, none where a start
    /// rejected it afterwards.
    pub fn in_force(&self) -> Option<(u64, &[Entry])> {
        let highest = self
            .lines
            .iter()
            .filter(|a| a.status == AckStatus::Accepted)
            .filter_map(|a| a.revision)
            .max()?;
        match self.answer(highest) {
            Some((Answer::Accepted, i)) => {
                Some((highest, self.lines[i].schedule.as_deref().unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// The schedule that the trainer said it accepted under this revision.
    pub fn schedule(&self, revision: u64) -> Option<&[Entry]> {
        let accepted = |a: &&Ack| a.status == AckStatus::Accepted && a.revision == Some(revision);
        self.lines.iter().rev().find(accepted)?.schedule.as_deref()
    }

    /// The newest `ready` and the number of its line.
    pub fn ready(&self) -> Option<(usize, &Ack)> {
        self.lines.iter().enumerate().rev().find(|(_, a)| a.status == AckStatus::Ready)
    }

    /// The id that the trainer gave the run.
    pub fn run(&self) -> Option<String> {
        let (_, ready) = self.ready()?;
        (!ready.run.is_empty()).then(|| ready.run.clone())
    }

    /// What the trainer said of itself when it last started.
    pub fn limits(&self) -> Option<TrainerLimits> {
        let (_, r) = self.ready()?;
        Some(TrainerLimits {
            unit_tokens: r.unit_tokens,
            min_batch_tokens: r.min_batch_tokens,
            max_batch_tokens: r.max_batch_tokens,
            // Without a word of it, up is the direction that every trainer can go.
            up_only: r.direction.as_deref() != Some("both"),
            can_scale_lr: r.can_scale_lr.unwrap_or(false),
        })
    }

    /// Attempts that may still be training. One is over once it said `ended`, once another said
    /// `ready` and it has been silent since, or when its metrics have been `quiet` for ten of
    /// their intervals.
    pub fn alive(&self, quiet: bool) -> Vec<&str> {
        if quiet {
            return Vec::new();
        }
        let Some((last_ready, _)) = self.ready() else { return Vec::new() };
        let mut alive: Vec<&str> = Vec::new();
        for ack in self.lines[last_ready..].iter() {
            if ack.status == AckStatus::Ended {
                alive.retain(|a| *a != ack.attempt);
            } else if !alive.contains(&ack.attempt.as_str()) {
                alive.push(&ack.attempt);
            }
        }
        alive
    }

    /// Tokens at which the batch size last changed by a revision, as the trainer tells it.
    pub fn last_change(&self) -> Option<u64> {
        let mut size = None;
        let mut at = None;
        for a in &self.lines {
            if a.status == AckStatus::Applied
                && a.revision.is_some()
                && size.is_some_and(|s| Some(s) != a.batch_size_tokens)
            {
                at = a.tokens;
            }
            // `accepted` says what was in force until then, `applied` what is from then on.
            if matches!(a.status, AckStatus::Applied | AckStatus::Accepted | AckStatus::Ready) {
                size = a.batch_size_tokens.or(size);
            }
        }
        at
    }
}

fn bad_words(line: usize, why: &Problem) -> String {
    format!("acknowledgement line {line}: {}", plain(&why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(attempt: &str, status: &str, revision: Option<u64>, rest: &str) -> String {
        let revision = revision.map_or("null".into(), |r| r.to_string());
        format!(
            "{{\"version\":1,\"status\":\"{status}\",\"run\":\"r\",\"attempt\":\"{attempt}\",\
             \"revision\":{revision}{rest}}}\n"
        )
    }

    #[test]
    fn a_torn_last_line_is_no_damage_and_a_torn_line_between_is() {
        let text = format!("{}{{\"version\":1,\"sta", line("a.0", "ready", None, ""));
        let acks = Acks::parse(text.as_bytes());
        assert_eq!((acks.lines.len(), acks.bad), (1, 0));
        let text = format!("{text}\n{}", line("a.0", "ended", None, ""));
        let acks = Acks::parse(text.as_bytes());
        assert_eq!((acks.lines.len(), acks.bad), (2, 1));
        assert!(acks.first_bad.unwrap().contains("line 2"));
    }

    #[test]
    fn two_attempts_live_only_while_both_speak() {
        let ready = |a: &str| line(a, "ready", None, "");
        let mut text = ready("a.0") + &ready("b.1");
        assert_eq!(Acks::parse(text.as_bytes()).alive(false), ["b.1"]);
        text += &line("a.0", "applied", None, "");
        assert_eq!(Acks::parse(text.as_bytes()).alive(false), ["b.1", "a.0"]);
        assert!(Acks::parse(text.as_bytes()).alive(true).is_empty());
        text += &line("a.0", "ended", None, "");
        assert_eq!(Acks::parse(text.as_bytes()).alive(false), ["b.1"]);
    }

    #[test]
    fn a_start_that_rejects_what_was_accepted_leaves_nothing_in_force() {
        let entry = ",\"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":8}]";
        let mut text =
            line("a.0", "accepted", Some(3), entry) + &line("a.0", "rejected", Some(4), "");
        let acks = Acks::parse(text.as_bytes());
        assert_eq!(acks.in_force().map(|(r, s)| (r, s.len())), Some((3, 1)));
        text += &line("b.1", "rejected", Some(3), ",\"reason\":\"not_divisible\"");
        assert_eq!(Acks::parse(text.as_bytes()).in_force(), None);
    }

    #[test]
    fn the_last_change_is_where_the_size_moved_not_where_it_was_told_again() {
        let applied = |rev, tokens, size| {
            line(
                "a.0",
                "applied",
                rev,
                &format!(",\"tokens\":{tokens},\"batch_size_tokens\":{size}"),
            )
        };
        let text = applied(None, 0, 8) + &applied(Some(1), 50, 8);
        assert_eq!(Acks::parse(text.as_bytes()).last_change(), None);
        let text = text + &applied(Some(1), 100, 16) + &applied(Some(2), 130, 16);
        assert_eq!(Acks::parse(text.as_bytes()).last_change(), Some(100));
    }
}
