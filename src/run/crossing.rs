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

/// A falling curve through points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Falling {
    pools: Vec<Pool>,
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
    /// Points ascending in `x`; points with anything not finite are left out.
    pub fn new(points: &[Point]) -> Falling {
        let floor = typical(points) * 0.25;
        let mut pools: Vec<Pool> = Vec::new();
        for p in points.iter().filter(|p| p.x.is_finite() && p.loss.is_finite()) {
            let se = if p.se.is_finite() { p.se.max(floor) } else { floor };
            let weight = if se > 0.0 { 1.0 / (se * se) } else { 1.0 };
            pools.push(Pool { from: p.x, to: p.x, centre: p.x, loss: p.loss, weight, se });
            while let [.., a, b] = pools.as_slice() {
                if b.loss < a.loss {
                    break;
                }
                let w = a.weight + b.weight;
                let mean = |u: f64, v: f64| (u * a.weight + v * b.weight) / w;
                let joined = Pool {
                    from: a.from,
                    to: b.to,
                    centre: mean(a.centre, b.centre),
                    loss: mean(a.loss, b.loss),
                    weight: w,
                    se: (1.0 / (1.0 / (a.se * a.se) + 1.0 / (b.se * b.se))).sqrt(),
                };
                pools.truncate(pools.len() - 2);
                pools.push(joined);
            }
        }
        // The last pool has nothing after it that could confirm it.
        if let [.., before, last] = pools.as_mut_slice() {
            last.loss = (last.loss + last.se).min(before.loss);
        }
        Falling { pools }
    }

    /// Highest and lowest loss of the curve.
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((self.pools.first()?.loss, self.pools.last()?.loss))
    }

    /// Value at ln tokens `x`; constant beyond the ends.
    pub fn at(&self, x: f64) -> f64 {
        let i = self.pools.partition_point(|p| p.centre < x);
        match (i.checked_sub(1).and_then(|j| self.pools.get(j)), self.pools.get(i)) {
            (Some(a), Some(b)) => {
                a.loss + (b.loss - a.loss) * (x - a.centre) / (b.centre - a.centre)
            }
            (Some(a), None) => a.loss,
            (None, Some(b)) => b.loss,
            (None, None) => f64::NAN,
        }
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
            return self.pools.get(i).map_or(Crossing::Never, |p| Crossing::At {
                x: p.centre,
                se: (p.to - p.from).max(p.se),
            });
        };
        let w = if a.loss > b.loss { (a.loss - loss) / (a.loss - b.loss) } else { 1.0 };
        let x = a.centre + w * (b.centre - a.centre);
        let h = 0.5 * (b.centre - a.centre).max(0.2);
        let slope = (self.at(x - h) - self.at(x + h)) / (2.0 * h);
        let se = (((1.0 - w) * a.se).powi(2) + (w * b.se).powi(2)).sqrt();
        let flat = (1.0 - w) * (a.to - a.from) + w * (b.to - b.from);
        let total = if slope > 0.0 { (se / slope).hypot(flat / 12f64.sqrt()) } else { MAX_SE };
        Crossing::At { x, se: total.min(MAX_SE) }
    }
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
