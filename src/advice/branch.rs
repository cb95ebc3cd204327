//! No sweep yet: which batch sizes to branch from which checkpoint, for how many tokens, so that
//! B_opt is known to +-25 %, and the memory of noise with it; the cheapest such set, and its cost.
//! The precedent for branching one checkpoint at several batch sizes is arXiv 2505.23971.

use super::design::Belief;
use crate::curve::Stretch;
use crate::units;

/// B_opt is to be known to this factor, 90 %.
const PRECISION: f64 = 1.25;
/// Batch sizes that the joint law asks for, the run's own among them.
const SIZES: usize = 4;
/// Sizes that are tried, in factors of two of the run's own; the run itself is one.
const RUNGS: std::ops::RangeInclusive<i32> = -3..=5;
/// No branch takes more than this multiple of the steps so far: small sizes take long.
const MOST_STEPS: f64 = 4.0;
/// Checkpoints that are tried, as shares of the tokens so far.
const CHECKPOINTS: [f64; 3] = [1.0, 0.5, 0.25];
/// Tokens of each branch that are tried, as shares of those so far.
const SHORTEST: f64 = 0.02;
const LONGEST: f64 = 2.0;
const LENGTHS: usize = 14;

/// A set of branches.
#[derive(Debug, Clone, PartialEq)]
pub struct Branches {
    /// Cumulative tokens of the checkpoint.
    pub from_tokens: f64,
    /// Tokens per step, ascending.
    pub batch_sizes: Vec<u64>,
    /// Tokens that each one trains beyond the checkpoint.
    pub tokens_each: f64,
    pub tokens_total: f64,
    /// B_opt is then expected to be known to this factor, 90 %.
    pub precision: f64,
    /// Where the belief comes from.
    pub because: String,
}

impl Branches {
    pub fn text(&self) -> String {
        let sizes: Vec<String> = self.batch_sizes.iter().map(|b| units::count(*b as f64)).collect();
        let (what, each) = if let [_] = sizes.as_slice() {
            ("size", String::new())
        } else {
            ("sizes", format!(" each ({} in all)", units::count(self.tokens_total)))
        };
        format!(
            "branch the stable-phase checkpoint at {} tokens at batch {what} {} for {} tokens{each}, \
             {} steps at the smallest, learning rate unchanged: B_opt is then expected to be known to +-{}{}, and how fast \
             noise is forgotten with it; {}",
            units::count(self.from_tokens),
            sizes.join(", "),
            units::count(self.tokens_each),
            self.batch_sizes
                .first()
                .map_or(String::new(), |b| units::count(self.tokens_each / *b as f64)),
            units::percent(self.precision - 1.0),
            if self.precision > PRECISION * 1.001 {
                " (longer branches than twice the run were not looked at)"
            } else {
                ""
            },
            self.because
        )
    }
}

/// What is known when branches are planned.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// Tokens per step of the run, its tokens and its loss now.
    pub own: u64,
    pub tokens: f64,
    pub loss: f64,
    pub unit: Option<u64>,
    pub min: u64,
    pub max: Option<u64>,
    /// What siblings at one batch size, and branches of the run, have done from step 0 on.
    pub tested: &'a [Vec<Stretch>],
    /// What may be: a set has to tell B_opt under each of them.
    pub beliefs: Vec<Belief>,
    pub because: String,
}

/// MiniCPM's rule, B = 1.2110e9 / L^6.2393 tokens; keyed to its own tokenizer's loss, so a mark to
/// look at and no estimate.
pub fn minicpm_mark(loss: f64) -> Option<f64> {
    let b = 1.2110e9 / loss.powf(6.2393);
    (loss > 0.0 && b.is_finite()).then_some(b)
}

/// The cheapest set that is expected to tell B_opt at the present loss to +-25 %; where none does,
/// the one that tells most for its tokens. `None` where neither tokens nor batch size is known, or
/// no other size is allowed.
pub fn branches(known: &Known<'_>) -> Option<Branches> {
    let (own, tokens) = (known.own as f64, known.tokens);
    if known.own == 0 || !(tokens.is_finite() && tokens > own) {
        return None;
    }
    let mut beliefs = known.beliefs.clone();
    for belief in &mut beliefs {
        belief.seen(&[Stretch { batch_size: own, steps: tokens / own }]);
        known.tested.iter().for_each(|past| belief.seen(past));
    }
    let sizes = candidates(known);
    let missing = SIZES.saturating_sub(1 + distinct(known)).max(1);
    let sets = sets(sizes.len(), missing);
    let mut best: Option<(Branches, bool)> = None;
    for share in CHECKPOINTS {
        let from = share * tokens;
        for k in 0..LENGTHS {
            let length = SHORTEST * (LONGEST / SHORTEST).powf(k as f64 / (LENGTHS - 1) as f64);
            let each = length * tokens;
            let parent = Stretch { batch_size: own, steps: from / own };
            let branch = |b: &u64| {
                let batch_size = *b as f64;
                [parent, Stretch { batch_size, steps: each / batch_size }]
            };
            let tells: Vec<Vec<_>> = beliefs
                .iter()
                .map(|belief| sizes.iter().map(|b| belief.information(&branch(b))).collect())
                .collect();
            for set in &sets {
                // A branch of a few steps tells nothing.
                let steps = |i: &usize| each / sizes[*i] as f64;
                let most = MOST_STEPS * tokens / own;
                if !set.iter().all(|i| (50.0..=most).contains(&steps(i))) {
                    continue;
                }
                let told = |(belief, tells): (&Belief, &Vec<_>)| {
                    let mut after = belief.clone();
                    set.iter().for_each(|i| after.add(&tells[*i]));
                    after.half_width(known.loss)
                };
                let widths: Option<Vec<f64>> = beliefs.iter().zip(&tells).map(told).collect();
                let Some(width) = widths.and_then(|w| w.into_iter().reduce(f64::max)) else {
                    continue;
                };
                let found = Branches {
                    from_tokens: from,
                    batch_sizes: set.iter().map(|i| sizes[*i]).collect(),
                    tokens_each: each,
                    tokens_total: each * set.len() as f64,
                    precision: width.exp(),
                    because: known.because.clone(),
                };
                let enough = found.precision <= PRECISION;
                let better = best.as_ref().is_none_or(|(b, was)| match (enough, was) {
                    (true, true) => found.tokens_total < b.tokens_total,
                    (false, false) => found.precision < b.precision,
                    (now, _) => now,
                });
                if better {
                    best = Some((found, enough));
                }
            }
        }
    }
    best.map(|(b, _)| b)
}

/// Batch sizes of siblings that differ from the run's own and from one another.
fn distinct(known: &Known<'_>) -> usize {
    let mut sizes: Vec<f64> = reached(known).collect();
    sizes.push(known.own as f64);
    sizes.sort_by(f64::total_cmp);
    sizes.dedup_by(|a, b| (*a / *b).ln().abs() < 0.2);
    sizes.len() - 1
}

/// The batch sizes at which siblings and branches ended.
fn reached<'a>(known: &'a Known<'_>) -> impl Iterator<Item = f64> + 'a {
    known.tested.iter().filter_map(|past| past.last()).map(|s| s.batch_size)
}

/// Whole units, a factor of two apart, within the limit, that no sibling covers.
fn candidates(known: &Known<'_>) -> Vec<u64> {
    let unit = known.unit.unwrap_or(1).max(1);
    let mut out: Vec<u64> = Vec::new();
    for k in RUNGS.filter(|k| *k != 0) {
        let b = known.own as f64 * 2f64.powi(k);
        let b = ((b / unit as f64).round() as u64).max(1) * unit;
        let covered = reached(known).any(|t| (t / b as f64).ln().abs() < 0.2);
        let allowed = b >= known.min
            && known.max.is_none_or(|m| b <= m)
            && b.abs_diff(known.own) * 5 > known.own;
        if allowed && !covered && !out.contains(&b) {
            out.push(b);
        }
    }
    out
}

/// Sets of at least `least` neighbours and neighbours but one, up to five, as indices.
fn sets(n: usize, least: usize) -> Vec<Vec<usize>> {
    let least = least.min(n);
    let mut out = Vec::new();
    for size in least..=n.min(5) {
        for from in 0..n {
            for step in [1, 2] {
                let set: Vec<usize> = (0..size).map(|i| from + i * step).collect();
                let fits = set.last().is_some_and(|last| *last < n);
                if fits && !out.contains(&set) {
                    out.push(set);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::testing::{LAW, MEMORY, group_of};

    fn known<'a>(tested: &'a [Vec<Stretch>], max: Option<u64>) -> Known<'a> {
        Known {
            own: 1000,
            tokens: 4e7,
            loss: 2.3,
            unit: Some(100),
            min: 1,
            max,
            tested,
            beliefs: vec![Belief::guessed(2.3, 1000.0, 1000.0, 4e4)],
            because: "a guess".into(),
        }
    }

    #[test]
    fn sizes_are_whole_units_and_enough_for_a_law() {
        let b = branches(&known(&[], None)).unwrap();
        assert!(b.batch_sizes.len() >= 3 && b.batch_sizes.iter().all(|b| b.is_multiple_of(100)));
        assert_eq!(b.tokens_total, b.tokens_each * b.batch_sizes.len() as f64);
        assert!(b.precision <= 1.25, "{b:?}");
        assert!(b.text().contains("in all") && b.text().contains("+-"), "{}", b.text());
        let few = branches(&known(&[], Some(1000))).unwrap();
        assert!(few.batch_sizes.iter().all(|b| *b < 1000));
        let large = branches(&Known { min: 600, ..known(&[], None) }).unwrap();
        assert!(large.batch_sizes.iter().all(|b| *b > 1000), "{large:?}");
    }

    /// What is taken of the optimum may be off by a lot: a set that tells it wherever it is is dearer.
    #[test]
    fn a_set_has_to_tell_under_every_belief() {
        let may = |centre: f64| Belief::guessed(2.3, centre, 1000.0, 4e4);
        let ask = |beliefs| branches(&Known { beliefs, ..known(&[], None) }).unwrap();
        let (far, near) = (ask(vec![may(8000.0)]), ask(vec![may(1000.0)]));
        let both = ask(vec![may(8000.0), may(1000.0)]);
        let most = far.tokens_total.max(near.tokens_total);
        assert!(both.tokens_total >= most && both.precision <= 1.25, "{both:?} {far:?} {near:?}");
    }

    #[test]
    fn branches_that_have_reported_make_the_rest_cheaper() {
        let alone = branches(&known(&[], None)).unwrap();
        let parent = Stretch { batch_size: 1000.0, steps: 4e4 };
        let branch = |batch_size, steps| vec![parent, Stretch { batch_size, steps }];
        let reported = [branch(500.0, 8e3), branch(2000.0, 2e3)];
        let then = branches(&known(&reported, None)).unwrap();
        assert!(then.tokens_total < alone.tokens_total, "{then:?} {alone:?}");
        assert!(!then.batch_sizes.contains(&500) && !then.batch_sizes.contains(&2000));
    }

    #[test]
    fn a_saved_law_makes_it_cheaper() {
        let group = group_of(&LAW, MEMORY);
        let belief = Belief::saved(group.law.as_ref().unwrap());
        let own = LAW.b_opt(2.3).unwrap().round() as u64;
        let with = |belief: Belief| {
            let k = known(&[], None);
            branches(&Known { own, unit: None, tokens: 8e6, beliefs: vec![belief], ..k }).unwrap()
        };
        let saved = with(belief);
        let guessed = with(Belief::guessed(2.3, own as f64, own as f64, 8e6 / own as f64));
        assert!(saved.tokens_total <= guessed.tokens_total, "{saved:?} {guessed:?}");
    }

    #[test]
    fn the_reference_mark_is_minicpms() {
        // 2.5^6.2393 = 304.
        let b = minicpm_mark(2.5).unwrap();
        assert!((3.5e6..4.5e6).contains(&b), "{b}");
    }
}
