//! What a one-level model is fitted to: one point a batch size, at one loss level.

use super::series::Observation;

/// Smallest standard error that a crossing is given, in ln E: what smoothing over a few per cent of
/// the tokens leaves (DESIGN section 7 measured 2.4 %).
const SE_FLOOR: f64 = 0.02;

/// A batch size at the level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Tokens a step.
    pub batch_size: f64,
    /// ln S at the crossing (mean over seeds); at the end of the run where `censored`.
    pub ln_steps: f64,
    /// Standard error of `ln_steps`.
    pub se: f64,
    pub censored: bool,
}

impl Point {
    pub fn ln_tokens(&self) -> f64 {
        self.ln_steps + self.batch_size.ln()
    }

    /// Standardised residual along the ray, `(ln S_model - ln S_observed) / se`, and its row of the
    /// Jacobian; `model` is ln S of the curve and its derivatives, `None` where the curve never gets
    /// there. A run that has not reached the level counts only where the curve says that it should
    /// have.
    #[inline]
    fn residual<const N: usize>(&self, model: Option<(f64, [f64; N])>) -> (f64, [f64; N]) {
        match model {
            Some((ln_s, mut d)) if !self.censored || ln_s < self.ln_steps => {
                let per_se = 1.0 / self.se;
                for x in &mut d {
                    *x *= per_se;
                }
                ((ln_s - self.ln_steps) * per_se, d)
            }
            _ => (0.0, [0.0; N]),
        }
    }
}

/// The batch sizes at a level, ascending, each once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points(Vec<Point>);

impl std::ops::Deref for Points {
    type Target = [Point];
    fn deref(&self) -> &[Point] {
        &self.0
    }
}

impl std::ops::DerefMut for Points {
    fn deref_mut(&mut self) -> &mut [Point] {
        &mut self.0
    }
}

impl Points {
    /// Residuals and Jacobian of a curve along all rays. False: it never gets to a level that was
    /// reached.
    pub(super) fn residuals<const N: usize>(
        &self,
        model: impl Fn(f64) -> Option<(f64, [f64; N])>,
        r: &mut [f64],
        j: &mut [[f64; N]],
    ) -> bool {
        for (i, point) in self.0.iter().enumerate() {
            let at = model(point.batch_size);
            if at.is_none() && !point.censored {
                return false;
            }
            (r[i], j[i]) = point.residual(at);
        }
        true
    }

    /// Pools runs of the same batch size (seeds): the mean of ln S over those that reached the
    /// level, with the larger of their own error and the one that their spread shows. A size is
    /// censored where none reached it, or where more of its runs trained longer than those that
    /// did; one that stopped earlier says nothing.
    pub fn pool(observations: &[Observation]) -> Points {
        let mut sound: Vec<&Observation> = observations
            .iter()
            .filter(|o| o.batch_size > 0.0 && o.steps > 0.0)
            .filter(|o| o.batch_size.is_finite() && o.steps.is_finite())
            .collect();
        sound.sort_by(|a, b| a.batch_size.total_cmp(&b.batch_size));
        let mut points = Vec::new();
        for runs in sound.chunk_by(|a, b| (a.batch_size / b.batch_size).ln().abs() < 1e-3) {
            let reached: Vec<&&Observation> = runs.iter().filter(|o| !o.censored).collect();
            let batch_size = runs[0].batch_size;
            let needed = reached.iter().map(|o| o.steps).fold(0.0, f64::max);
            let failed = runs.iter().filter(|o| o.censored && o.steps > needed).count();
            points.push(if !reached.is_empty() && reached.len() >= failed {
                seeds(batch_size, &reached)
            } else {
                let far = runs.iter().filter(|o| o.censored).map(|o| o.steps);
                let ln_steps = far.fold(0.0, f64::max).ln();
                Point { batch_size, ln_steps, se: SE_FLOOR, censored: true }
            });
        }
        Points(points)
    }

    pub fn from_points(mut points: Vec<Point>) -> Points {
        points.sort_by(|a, b| a.batch_size.total_cmp(&b.batch_size));
        Points(points)
    }

    /// The same without one of them.
    pub fn without(&self, i: usize) -> Points {
        let kept = self.0.iter().enumerate().filter(|(k, _)| *k != i);
        Points(kept.map(|(_, p)| *p).collect())
    }

    pub fn reached(&self) -> impl Iterator<Item = &Point> {
        self.0.iter().filter(|p| !p.censored)
    }

    pub fn smallest_reached(&self) -> Option<f64> {
        self.reached().next().map(|p| p.batch_size)
    }

    /// The size that needed the fewest tokens.
    pub fn best(&self) -> Option<&Point> {
        self.reached().min_by(|a, b| a.ln_tokens().total_cmp(&b.ln_tokens()))
    }

    /// Smallest standard error of the sizes that reached the level.
    pub(super) fn least_se(&self) -> f64 {
        self.reached().map(|p| p.se).fold(f64::INFINITY, f64::min)
    }

    pub(super) fn least_ln_steps(&self) -> f64 {
        self.reached().map(|p| p.ln_steps).fold(f64::INFINITY, f64::min)
    }

    pub(super) fn least_ln_tokens(&self) -> f64 {
        self.reached().map(Point::ln_tokens).fold(f64::INFINITY, f64::min)
    }

    /// Standard errors beyond which a residual counts linearly.
    pub(super) fn huber(&self) -> f64 {
        1.5
    }
}

fn seeds(batch_size: f64, reached: &[&&Observation]) -> Point {
    let n = reached.len() as f64;
    let mean = reached.iter().map(|o| o.steps.ln()).sum::<f64>() / n;
    let own = reached.iter().map(|o| if o.se_ln.is_finite() { o.se_ln.powi(2) } else { 1.0 });
    let own = own.sum::<f64>() / n;
    let spread = reached.iter().map(|o| (o.steps.ln() - mean).powi(2)).sum::<f64>();
    let spread = if n > 1.0 { spread / (n - 1.0) } else { 0.0 };
    let se = (own.max(spread) / n + SE_FLOOR * SE_FLOOR).sqrt();
    Point { batch_size, ln_steps: mean, se, censored: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(batch_size: f64, steps: f64, censored: bool) -> Observation {
        Observation {
            run: String::new(),
            batch_size,
            steps,
            tokens: batch_size * steps,
            se_ln: 0.01,
            censored,
        }
    }

    #[test]
    fn seeds_are_pooled_and_their_spread_is_their_error() {
        let p = Points::pool(&[
            seen(8.0, 90.0, false),
            seen(8.0, 110.0, false),
            seen(4.0, 300.0, true),
        ]);
        assert_eq!(p.len(), 2);
        assert!(p[0].censored && !p[1].censored);
        assert!((p[1].ln_steps - (90f64.ln() + 110f64.ln()) / 2.0).abs() < 1e-12);
        assert!(p[1].se > 0.09, "{p:?}");
        assert_eq!(p.best().unwrap().batch_size, 8.0);
    }

    #[test]
    fn a_seed_that_stopped_early_does_not_censor_its_size() {
        let p =
            Points::pool(&[seen(8.0, 90.0, false), seen(8.0, 50.0, true), seen(8.0, 60.0, true)]);
        assert!(!p[0].censored);
        let p =
            Points::pool(&[seen(8.0, 90.0, false), seen(8.0, 500.0, true), seen(8.0, 600.0, true)]);
        assert!(p[0].censored);
    }

    #[test]
    fn a_censored_run_counts_only_where_the_curve_contradicts_it() {
        let p = &Points::pool(&[seen(4.0, 300.0, true)])[0];
        assert_eq!(p.residual(Some((301f64.ln(), [1.0]))).0, 0.0);
        assert!(p.residual(Some((100f64.ln(), [1.0]))).0 < 0.0);
        assert_eq!(p.residual(None::<(f64, [f64; 1])>).0, 0.0);
    }

    #[test]
    fn garbage_is_left_out() {
        let p = Points::pool(&[
            seen(f64::NAN, 1.0, false),
            seen(8.0, 0.0, false),
            seen(-1.0, 3.0, false),
        ]);
        assert!(p.is_empty() && p.best().is_none());
    }
}
