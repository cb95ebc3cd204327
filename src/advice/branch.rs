//! No sweep yet: which batch sizes to branch from the newest checkpoint, for how long, and what
//! that costs. The precedent for branching one checkpoint at several batch sizes is arXiv 2505.23971.

use crate::units;

/// Sizes that the joint law asks for, one of them left out for the held-out score.
const SIZES: usize = 5;
/// Each branch trains this share of the tokens so far: long enough to leave the parent's noise
/// behind where it is forgotten slowly.
const SHARE: f64 = 0.25;

/// A set of branches.
#[derive(Debug, Clone, PartialEq)]
pub struct Branches {
    /// Tokens per step, ascending.
    pub batch_sizes: Vec<u64>,
    /// Tokens that each one trains beyond the checkpoint.
    pub tokens_each: f64,
    pub tokens_total: f64,
    /// Where the centre of the sizes comes from.
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
            "branch the newest stable-phase checkpoint at batch {what} {} for {} tokens{each}, \
             learning rate unchanged; {}",
            sizes.join(", "),
            units::count(self.tokens_each),
            self.because
        )
    }
}

/// MiniCPM's rule, B = 1.2110e9 / L^6.2393 tokens; keyed to its own tokenizer's loss, so a mark to
/// look at and no estimate.
pub fn minicpm_mark(loss: f64) -> Option<f64> {
    let b = 1.2110e9 / loss.powf(6.2393);
    (loss > 0.0 && b.is_finite()).then_some(b)
}

/// Sizes around the present one, half of them above, a factor of two apart, shifted by one rung
/// where `expected` (a saved law's B_opt) lies clearly off. `tested` are sizes that siblings already
/// cover. `None` where neither tokens nor batch size is known.
pub fn branches(
    own: u64,
    tokens: f64,
    unit: Option<u64>,
    max: Option<u64>,
    tested: &[f64],
    expected: Option<f64>,
) -> Option<Branches> {
    if own == 0 || !(tokens.is_finite() && tokens > 0.0) {
        return None;
    }
    let shift = expected.map_or(0, |b| (b / own as f64).log2().round().clamp(-2.0, 2.0) as i32);
    let because = match expected {
        Some(b) => format!("centred on the saved law's B_opt of {}", units::count(b)),
        None => "centred on the present size, since nothing tells where the optimum lies".into(),
    };
    let unit = unit.unwrap_or(1).max(1);
    let mut batch_sizes = Vec::new();
    for k in -2..=2 {
        let b = own as f64 * 2f64.powi(k + shift);
        let b = ((b / unit as f64).round() as u64).max(1) * unit;
        let covered = tested.iter().any(|t| (t / b as f64).ln().abs() < 0.2);
        let allowed = max.is_none_or(|m| b <= m);
        if allowed && !covered && !batch_sizes.contains(&b) {
            batch_sizes.push(b);
        }
    }
    let tokens_each = SHARE * tokens;
    let missing = SIZES.saturating_sub(tested.len());
    batch_sizes.sort_by_key(|b| (*b as f64 / own as f64).ln().abs().to_bits());
    batch_sizes.truncate(missing.max(1));
    batch_sizes.sort_unstable();
    (!batch_sizes.is_empty()).then_some(Branches {
        tokens_total: tokens_each * batch_sizes.len() as f64,
        batch_sizes,
        tokens_each,
        because,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_around_the_present_one_and_whole_units() {
        let b = branches(1000, 4e6, Some(100), None, &[], None).unwrap();
        assert_eq!(b.batch_sizes, [300, 500, 1000, 2000, 4000]);
        assert_eq!(b.tokens_total, 5e6);
        let b = branches(1000, 4e6, Some(100), Some(2500), &[1000.0, 2000.0], None).unwrap();
        assert_eq!(b.batch_sizes, [300, 500]);
        assert!(b.text().contains("300, 500"), "{}", b.text());
    }

    #[test]
    fn a_saved_law_moves_the_centre() {
        let b = branches(1000, 4e6, None, None, &[], Some(8000.0)).unwrap();
        assert_eq!(b.batch_sizes, [1000, 2000, 4000, 8000, 16000]);
    }

    #[test]
    fn the_reference_mark_is_minicpms() {
        // 2.5^6.2393 = 304.
        let b = minicpm_mark(2.5).unwrap();
        assert!((3.5e6..4.5e6).contains(&b), "{b}");
    }
}
