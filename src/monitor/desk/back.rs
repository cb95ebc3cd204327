//! An undo: what it takes back, in words, and what the guards say of it. All in the count of the metrics.

use super::{Case, Desk};
use crate::advice::{self, Entry, GuardAnswer, GuardName, PlanOptions, Situation};
use crate::control::protocol::{entry_at, ordered_at};
use crate::units;

/// What goes on where an undo is seen in time, and what is still to come and then never begins.
fn parted(in_force: &[Entry], then: &[Entry], now: u64) -> (Vec<Entry>, Vec<Entry>) {
    let stays = |e: &Entry| {
        let t = e.from_tokens;
        t <= now || ordered_at(then, t) == ordered_at(in_force, t)
    };
    in_force.iter().copied().partition(stays)
}

/// What an undo of `revision` takes back: `then` instead of `in_force`. The trainer sees it by the count
/// `seen`.
pub(super) fn undoes(
    revision: u64,
    (in_force, then): (&[Entry], &[Entry]),
    own: u64,
    (now, seen): (u64, u64),
) -> String {
    let (stays, dropped) = parted(in_force, then, now);
    let size = |e: &Entry| units::exact(e.batch_size_tokens);
    let from = |e: &Entry| format!("{} from {} tokens on", size(e), units::exact(e.from_tokens));
    let list = dropped.iter().map(from).collect::<Vec<_>>().join(", ");
    let acts = entry_at(in_force, now);
    let own = acts.as_ref().map_or(units::exact(own), size);
    let back = advice::first_change(&stays, then, acts.map_or(0, |e| e.batch_size_tokens), now);
    let back = back.map(|at| match entry_at(then, at) {
        Some(e) => format!("back to {} from {} tokens on", size(&e), units::exact(at)),
        None => "back to the trainer's own".into(),
    });
    let mut text = match (back, acts) {
        (None, _) if dropped.is_empty() => {
            return format!("revision {revision} is taken back; it changes no batch size any more");
        }
        (None, _) => format!("{list}, which is still to come; {own} stays"),
        (Some(back), Some(acts)) => {
            let since = units::exact(acts.from_tokens);
            let more = match dropped[..] {
                [] => String::new(),
                _ => format!(", and {list}, which is still to come"),
            };
            format!("{own}, in force since {since} tokens{more}; {back}")
        }
        (Some(back), None) => format!("{own}; {back}"),
    };
    if let Some(first) = dropped.first().filter(|e| e.from_tokens < seen) {
        text += &format!(
            "; {} may begin before the trainer sees this, and then ends as soon as it looks",
            size(first)
        );
    }
    format!("revision {revision} is taken back: {text}")
}

impl Desk {
    /// What the guards say of an undo. The way back is the way that the run came: what judges a change
    /// warns, and says nothing where none acts. What is only withdrawn needs no time to be seen in.
    pub(super) fn guards_of_undo(
        &self,
        schedule: &[Entry],
        case: Case<'_>,
        situation: &Situation,
        options: &PlanOptions,
    ) -> Vec<GuardAnswer> {
        let check = |s: &Situation| {
            advice::check(schedule, case.data, case.loss_now, case.group, s, options)
        };
        let now = case.data.tokens().max(0.0) as u64;
        // What is not obeyed can be taken back.
        let (stays, _) = parted(&situation.in_force, schedule, now);
        let stays = Situation { disobeyed: None, in_force: stays, ..situation.clone() };
        let mut answers = check(&stays);
        for answer in &mut answers {
            let phase = matches!(answer.name, GuardName::Warmup | GuardName::Decay);
            answer.blocks &= !phase && !answer.name.judges();
        }
        let own = case.data.batch_size().unwrap_or(0.0) as u64;
        if advice::first_change(&stays.in_force, schedule, own, now).is_none() {
            let whole = Situation { disobeyed: None, ..situation.clone() };
            answers = check(&whole);
            answers.retain(|a| {
                use GuardName::{NoTrainer, NotLive, TwoAttempts};
                matches!(a.name, NotLive | NoTrainer | TwoAttempts)
            });
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::e;

    #[test]
    fn an_undo_says_what_never_begins_what_ends_and_what_may_begin_before_it_is_seen() {
        let raised = [e(0, 128), e(1000, 256), e(3000, 512)];
        let said = |then: &[Entry], now, seen| undoes(7, (&raised, then), 128, (now, seen));
        let all = said(&[e(0, 128), e(1000, 256), e(2200, 128)], 2000, 2200);
        assert_eq!(
            all,
            "revision 7 is taken back: 256, in force since 1,000 tokens, and 512 from 3,000 tokens \
             on, which is still to come; back to 128 from 2,200 tokens on"
        );
        let near = said(&[e(0, 128), e(1000, 256), e(3200, 128)], 2900, 3200);
        assert!(
            near.ends_with(
                "; 512 may begin before the trainer sees this, and then ends as soon as it looks"
            ),
            "{near}"
        );
        let to_come = said(&[e(0, 128)], 500, 700);
        assert_eq!(
            to_come,
            "revision 7 is taken back: 256 from 1,000 tokens on, 512 from 3,000 tokens on, which is \
             still to come; 128 stays"
        );
        assert!(said(&raised, 500, 700).ends_with("it changes no batch size any more"));
    }
}
