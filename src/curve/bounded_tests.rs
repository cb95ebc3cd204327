//! What a fit takes from a run in bounded memory is what it would take from every line.

use super::Bin;
use super::binning::{self, Window};
use crate::run::store_tests::{Training, training};
use crate::run::{Crossing, Falling, Point, RunData};
use proptest::prelude::*;

fn bins(run: &RunData) -> Vec<Bin> {
    let window = Window { from: 0.01 * run.tokens(), to: run.tokens(), closed: true };
    binning::constant(&run.train, window)
}

fn falling(bins: &[Bin]) -> Falling {
    let point = |b: &Bin| Point { x: b.tokens.ln(), loss: b.loss, se: b.se };
    Falling::new(&bins.iter().map(point).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bins_are_those_of_every_line(t in training()) {
        if t.has_an_excursion() {
            return Ok(());
        }
        let (b, w) = (bins(&t.bounded()), bins(&t.whole()));
        prop_assert_eq!(b.len(), w.len());
        for (b, w) in b.iter().zip(&w) {
            prop_assert!((b.loss - w.loss).abs() < 0.3 * w.se + 5e-4 + t.edge(w.se), "{:?} {:?}", b, w);
            prop_assert!((b.tokens / w.tokens).ln().abs() < 2e-3, "{:?} {:?}", b, w);
            prop_assert!((0.5..2.0).contains(&(b.se / w.se)), "{:?} {:?}", b, w);
        }
    }
}

/// A crossing jumps where a pool of the isotonic fit more or less decides it, so that a few move by
/// about their error; most hardly move.
#[test]
fn crossings_move_by_a_small_part_of_their_error() {
    let (mut squares, mut n) = (0.0, 0.0);
    for seed in 0..60u32 {
        let noise = 0.01 + 0.001 * f64::from(seed);
        let lines = 12_000 + 400 * seed as usize;
        let t = Training::calm(lines, noise, seed.into());
        let (b, w) = (falling(&bins(&t.bounded())), falling(&bins(&t.whole())));
        let (high, low) = w.range().unwrap();
        for share in [0.6, 0.3, 0.1] {
            let level = low + share * (high - low);
            match (b.crossing(level), w.crossing(level)) {
                (Crossing::At { x, .. }, Crossing::At { x: y, se }) => {
                    squares += ((x - y) / se).powi(2);
                    n += 1.0;
                }
                (b, w) => assert_eq!(b, w),
            }
        }
    }
    let rms = f64::sqrt(squares / n);
    assert!(n > 150.0 && rms < 0.25, "{rms} of {n}");
}
