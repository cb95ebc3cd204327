//! What was ordered before, or taken back, beside a change that is advised.

use super::decide::staircase;
use super::schedule::batch_at;
use super::{Entry, Situation};
use crate::units::exact;

/// What a person should know of earlier revisions before a change to another schedule than the one in
/// force, of which `to_come` is still to come. `to` is the batch size advised next, `own` that of now.
pub(super) fn recalled(
    situation: &Situation,
    to_come: &[Entry],
    (own, to): (u64, u64),
) -> Option<String> {
    let by = situation.ordered.map_or("what was accepted".into(), |r| format!("revision {r}"));
    let changes: Vec<(u64, u64)> =
        to_come.iter().map(|e| (e.from_tokens, e.batch_size_tokens)).collect();
    if !changes.is_empty() {
        return Some(format!("it would replace {by} ({})", staircase(&changes)));
    }
    let back = situation.taken_back.as_ref()?;
    let way = |e: &&Entry| e.batch_size_tokens != own && (e.batch_size_tokens > own) == (to > own);
    let taken = back.schedule.iter().find(way)?;
    Some(format!(
        "{by} took exactly that back: revision {} had ordered {}; see why before it is ordered again",
        back.revision,
        exact(taken.batch_size_tokens)
    ))
}

/// The batch size from `at` on in a schedule, `own` before its first entry.
pub(super) fn size_at(schedule: &[Entry], at: u64, own: u64) -> u64 {
    batch_at(schedule, at as f64).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::super::TakenBack;
    use super::super::testing::e;
    use super::*;

    #[test]
    fn what_is_replaced_or_was_taken_back_is_named_and_the_other_direction_is_not() {
        let raised = TakenBack { revision: 1, schedule: vec![e(0, 128), e(3000, 256)] };
        let situation =
            Situation { ordered: Some(2), taken_back: Some(raised), ..Situation::default() };
        let words = recalled(&situation, &[], (128, 256)).unwrap();
        assert!(
            words.starts_with("revision 2 took exactly that back: revision 1 had ordered 256;")
        );
        assert_eq!(recalled(&situation, &[], (128, 64)), None);
        let words = recalled(&situation, &[e(4000, 256)], (128, 256)).unwrap();
        assert_eq!(words, "it would replace revision 2 (256 at 4K)");
        assert_eq!(recalled(&Situation::default(), &[], (128, 256)), None);
    }
}
