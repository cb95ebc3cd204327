//! Where a falling curve crosses a level: isotonic regression in ln tokens.
//!
//! The first raw dip below a level comes too early, by as much as the noise is large. Pool
//! adjacent violators (Ayer et al. 1955) gives the best falling curve through the points; a dip
//! that later points do not confirm is pooled with them and crosses nothing.

/// One point of a series: ln tokens, loss, its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub loss: f64,
    pub se: f64,
}

/// A pool of the isotonic fit: points between which the curve is flat.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pool {
    from: f64,
    to: f64,
    centre: f64,
    loss: f64,
    weight: f64,
    se: f64,
}

/// A falling curve through points: a monotone cubic (Fritsch and Carlson 1980) through the pools,
/// so that sparse points on a bent curve are not joined by chords that lie above it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Falling {
    pools: Vec<Pool>,
    /// Slope at each pool's centre.
    slopes: Vec<f64>,
}

/// What became of a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crossing {
    /// At ln tokens `x`, with the standard error of it.
    At { x: f64, se: f64 },
    /// The series begins below the level.
    Before,
    /// Not reached.
    Never,
}

/// Standard error beyond which a crossing says nothing.
const MAX_SE: f64 = 3.0;

impl Falling {
    /// Points ascending in `x`; points with anything not finite are left out, those at one `x`
    /// are joined.
    pub fn new(points: &[Point]) -> Falling {
        let floor = typical(points) * 0.25;
        let points: Vec<Point> = points
            .iter()
            .filter(|p| p.x.is_finite() && p.loss.is_finite())
            .map(|p| Point { se: if p.se.is_finite() { p.se.max(floor) } else { floor }, ..*p })
            .collect();
        let wander = wander(&points, &pool(&points, 0.0));
        let mut pools = pool(&points, wander);
        // The last pool has nothing after it that could confirm it.
        if let [.., before, last] = pools.as_mut_slice() {
            last.loss = (last.loss + last.se).min(before.loss);
        }
        let slopes = slopes(&pools);
        Falling { pools, slopes }
    }

    /// Highest and lowest loss of the curve.
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((self.pools.first()?.loss, self.pools.last()?.loss))
    }

    /// Value at ln tokens `x`; constant beyond the ends.
    pub fn at(&self, x: f64) -> f64 {
        let i = self.pools.partition_point(|p| p.centre < x);
        match (i.checked_sub(1), self.pools.get(i)) {
            (Some(j), Some(_)) => self.between(j, x),
            (Some(j), None) => self.pools[j].loss,
            (None, Some(b)) => b.loss,
            (None, None) => f64::NAN,
        }
    }

    /// Value between the centres of the pools `j` and `j + 1`.
    fn between(&self, j: usize, x: f64) -> f64 {
        let (a, b) = (&self.pools[j], &self.pools[j + 1]);
        let h = b.centre - a.centre;
        let t = ((x - a.centre) / h).clamp(0.0, 1.0);
        let (t2, t3) = (t * t, t * t * t);
        (2.0 * t3 - 3.0 * t2 + 1.0) * a.loss
            + (t3 - 2.0 * t2 + t) * h * self.slopes[j]
            + (3.0 * t2 - 2.0 * t3) * b.loss
            + (t3 - t2) * h * self.slopes[j + 1]
    }

    /// Where between the centres of `j` and `j + 1` the curve has this value.
    fn inverse(&self, j: usize, loss: f64) -> f64 {
        let (mut low, mut high) = (self.pools[j].centre, self.pools[j + 1].centre);
        for _ in 0..60 {
            let mid = 0.5 * (low + high);
            if self.between(j, mid) > loss { low = mid } else { high = mid }
        }
        0.5 * (low + high)
    }

    /// Ln tokens of the crossing where it comes before `end`: cheap where it does not.
    pub fn crossing_before(&self, loss: f64, end: f64) -> Option<f64> {
        let (high, low) = self.range().filter(|_| loss.is_finite())?;
        if loss < low || loss > high {
            return None;
        }
        let i = self.pools.partition_point(|p| p.loss > loss);
        let x = match i.checked_sub(1) {
            Some(j) if self.pools.get(j).is_some_and(|a| a.centre >= end) => return None,
            Some(j) if self.pools.get(i).is_some() => self.inverse(j, loss),
            _ => self.pools.get(i)?.centre,
        };
        (x < end).then_some(x)
    }

    /// Where the curve comes down to `loss`.
    ///
    /// The standard error of ln tokens is that of the loss over the slope, and the width of the
    /// flat pools beside the crossing on top: large where the curve stalls.
    pub fn crossing(&self, loss: f64) -> Crossing {
        let Some((high, low)) = self.range().filter(|_| loss.is_finite()) else {
            return Crossing::Never;
        };
        if loss < low {
            return Crossing::Never;
        }
        if loss > high {
            return Crossing::Before;
        }
        let i = self.pools.partition_point(|p| p.loss > loss);
        let (Some(b), Some(a)) = (self.pools.get(i), i.checked_sub(1).map(|j| self.pools[j]))
        else {
            // At the height of the first pool.
            return self.pools.get(i).map_or(Crossing::Never, |p| {
                let total = match self.slopes.first() {
                    Some(slope) if *slope < 0.0 => (p.se / slope).hypot(p.to - p.from),
                    _ => MAX_SE,
                };
                Crossing::At { x: p.centre, se: total.min(MAX_SE) }
            });
        };
        let x = self.inverse(i - 1, loss);
        let w = (x - a.centre) / (b.centre - a.centre);
        let h = 0.5 * (b.centre - a.centre).max(0.2);
        let slope = (self.at(x - h) - self.at(x + h)) / (2.0 * h);
        let se = (((1.0 - w) * a.se).powi(2) + (w * b.se).powi(2)).sqrt();
        let flat = (1.0 - w) * (a.to - a.from) + w * (b.to - b.from);
        let total = if slope > 0.0 { (se / slope).hypot(flat / 12f64.sqrt()) } else { MAX_SE };
        Crossing::At { x, se: total.min(MAX_SE) }
    }
}

/// Pools adjacent violators; every point's variance is widened by that of the wander.
fn pool(points: &[Point], wander: f64) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for p in points {
        let se = p.se.hypot(wander);
        let weight = if se > 0.0 { 1.0 / (se * se) } else { 1.0 };
        pools.push(Pool { from: p.x, to: p.x, centre: p.x, loss: p.loss, weight, se });
        while let [.., a, b] = pools.as_slice() {
            if b.loss < a.loss && b.from > a.to {
                break;
            }
            let w = a.weight + b.weight;
            let mean = |u: f64, v: f64| (u * a.weight + v * b.weight) / w;
            let joined = Pool {
                from: a.from,
                to: b.to,
                // Within, whatever rounding says.
                centre: mean(a.centre, b.centre).max(a.from).min(b.to),
                loss: mean(a.loss, b.loss),
                weight: w,
                se: if a.se > 0.0 && b.se > 0.0 { w.recip().sqrt() } else { 0.0 },
            };
            pools.truncate(pools.len() - 2);
            pools.push(joined);
        }
    }
    pools
}

/// Standard deviation of the slow wander of the loss around a falling curve, over what the points'
/// own errors explain: at its floor a run wanders more slowly than its records show.
fn wander(points: &[Point], pools: &[Pool]) -> f64 {
    let (mut excess, mut freedom, mut from) = (0.0, 0.0, 0);
    for p in pools {
        let to = from + points[from..].partition_point(|q| q.x <= p.to);
        let m = (to - from) as f64;
        let ss: f64 = points[from..to].iter().map(|q| (q.loss - p.loss).powi(2)).sum();
        let own: f64 = points[from..to].iter().map(|q| q.se * q.se).sum();
        excess += ss - own * (m - 1.0) / m.max(1.0);
        freedom += m - 1.0;
        from = to;
    }
    if freedom > 0.0 { (excess / freedom).max(0.0).sqrt() } else { 0.0 }
}

/// Slopes at the pools: the weighted harmonic mean of the chords on both sides, which keeps the
/// cubic falling (Fritsch and Butland 1984); at the ends the chord.
fn slopes(pools: &[Pool]) -> Vec<f64> {
    let chord: Vec<(f64, f64)> = pools
        .windows(2)
        .map(|w| {
            let h = w[1].centre - w[0].centre;
            (h, (w[1].loss - w[0].loss) / h)
        })
        .collect();
    let inner = chord.windows(2).map(|c| {
        let ((h0, d0), (h1, d1)) = (c[0], c[1]);
        let (w0, w1) = (2.0 * h1 + h0, h1 + 2.0 * h0);
        if d0 * d1 > 0.0 { (w0 + w1) / (w0 / d0 + w1 / d1) } else { 0.0 }
    });
    let mut out: Vec<f64> = chord.first().map(|c| c.1).into_iter().collect();
    out.extend(inner);
    out.push(chord.last().map_or(0.0, |c| c.1));
    out
}

/// Median standard error.
fn typical(points: &[Point]) -> f64 {
    let mut v: Vec<f64> = points.iter().map(|p| p.se).filter(|s| s.is_finite()).collect();
    if v.is_empty() {
        return 0.0;
    }
    let mid = v.len() / 2;
    *v.select_nth_unstable_by(mid, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(f: impl Fn(f64) -> f64, n: usize, se: f64) -> Vec<Point> {
        (0..n).map(|i| i as f64 * 0.1).map(|x| Point { x, loss: f(x), se }).collect()
    }

    fn at(points: &[Point], loss: f64) -> (f64, f64) {
        match Falling::new(points).crossing(loss) {
            Crossing::At { x, se } => (x, se),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_smooth_curve_is_crossed_where_it_is() {
        let p = points(|x| 2.0 + (-x).exp(), 60, 1e-4);
        for level in [2.9, 2.5, 2.1, 2.01] {
            let want = -(level - 2.0f64).ln();
            assert!((at(&p, level).0 - want).abs() < 1e-3, "{level}");
        }
        // Sparse points are not joined by chords.
        let sparse: Vec<Point> = p.iter().step_by(6).copied().collect();
        assert!((at(&sparse, 2.4).0 + 0.4f64.ln()).abs() < 0.02);
    }

    #[test]
    fn a_lucky_dip_is_no_crossing() {
        let mut p = points(|x| 3.0 - 0.1 * x, 60, 0.01);
        p[10].loss = 2.5;
        assert!((at(&p, 2.55).0 - 4.5).abs() < 0.3);
        let mut end = points(|x| 3.0 - 0.1 * x, 30, 0.01);
        end[29].loss = 2.699;
        assert_eq!(Falling::new(&end).crossing(2.7), Crossing::Never);
    }

    #[test]
    fn a_stalled_curve_has_a_large_error() {
        let steep = at(&points(|x| 3.0 - 0.3 * x, 60, 0.01), 2.0).1;
        let flat = at(&points(|x| 2.0 + 0.003 * (3.0 - x), 60, 0.01), 2.0).1;
        assert!(steep < 0.05 && flat > 1.0, "{steep} {flat}");
        assert!((steep - 0.01 / 0.3).abs() < 0.02, "{steep}");
    }

    #[test]
    fn a_slow_wander_widens_the_error() {
        let calm = points(|x| 2.0 + 0.3 * (-x).exp(), 60, 0.001);
        let mut p = calm.clone();
        for (i, q) in p.iter_mut().enumerate() {
            q.loss += 0.01 * (i as f64 * 0.7).sin();
        }
        let (narrow, wide) = (at(&calm, 2.02).1, at(&p, 2.02).1);
        assert!(wide > 3.0 * narrow, "{narrow} {wide}");
    }

    #[test]
    fn outside_of_what_was_seen() {
        let f = Falling::new(&points(|x| 3.0 - 0.1 * x, 30, 0.01));
        assert_eq!(f.crossing(3.1), Crossing::Before);
        assert_eq!(f.crossing(0.0), Crossing::Never);
        assert_eq!(f.crossing(f64::NAN), Crossing::Never);
        assert_eq!(Falling::new(&[]).crossing(2.0), Crossing::Never);
        let one = [Point { x: 1.0, loss: 2.0, se: f64::NAN }];
        assert_eq!(Falling::new(&one).crossing(1.9), Crossing::Never);
        let rising = Falling::new(&points(|x| 2.0 + x, 20, 0.01));
        assert_eq!(rising.crossing(2.1), Crossing::Never);
    }

    #[test]
    fn a_curve_of_one_pool_is_crossed_where_its_points_are() {
        let x = 0.796_231_979_683_655_2;
        let p = [0.0, 158.7].map(|se| Point { x, loss: 0.0, se });
        assert_eq!(Falling::new(&p).crossing(0.0), Crossing::At { x, se: MAX_SE });
    }

    fn anything() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => -1e3f64..1e3,
            1 => Just(0.0),
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn whatever_comes_in_the_curve_falls(
            losses in prop::collection::vec(anything(), 0..50),
            errors in prop::collection::vec(anything(), 50),
            gaps in prop::collection::vec(prop_oneof![Just(0.0), 1e-3f64..1.0], 50),
        ) {
            let mut x = 0.0;
            let p: Vec<Point> = losses.iter().zip(errors).zip(gaps).map(|((l, e), g)| {
                x += g;
                Point { x, loss: *l, se: e.abs() }
            }).collect();
            let f = Falling::new(&p);
            let mut last = f64::INFINITY;
            for k in 0..=100 {
                let v = f.at(x * f64::from(k) / 100.0);
                if f.range().is_some() {
                    prop_assert!(v <= last + 1e-9 * last.abs().min(1e3), "{} after {}", v, last);
                    last = v;
                }
            }
            for level in [-10.0, 0.0, 10.0] {
                if let Crossing::At { x: at, se } = f.crossing(level) {
                    prop_assert!(at >= 0.0 && at <= x && (0.0..=MAX_SE).contains(&se), "{} {}", at, se);
                }
            }
        }
    }
}
