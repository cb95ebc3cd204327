//! The solver on problems with a known minimum.
use super::solve::*;

/// Rosenbrock's function as two residuals.
struct Rosenbrock;

impl Residuals<2> for Rosenbrock {
    fn count(&self) -> usize {
        2
    }
    fn evaluate(&mut self, p: &[f64; 2], r: &mut [f64], j: &mut [[f64; 2]]) -> bool {
        r[0] = 10.0 * (p[1] - p[0] * p[0]);
        r[1] = 1.0 - p[0];
        j[0] = [-20.0 * p[0], 10.0];
        j[1] = [-1.0, 0.0];
        true
    }
}

/// A line through points, the last one an outlier.
struct Line(Vec<(f64, f64)>);

impl Residuals<2> for Line {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn evaluate(&mut self, p: &[f64; 2], r: &mut [f64], j: &mut [[f64; 2]]) -> bool {
        for (i, &(x, y)) in self.0.iter().enumerate() {
            r[i] = p[0] + p[1] * x - y;
            j[i] = [1.0, x];
        }
        true
    }
}

fn free<const N: usize>(huber: f64) -> Settings<N> {
    Settings { lower: [-1e6; N], upper: [1e6; N], huber, max_iterations: 200, tolerance: COLD }
}

#[test]
fn finds_the_floor_of_rosenbrocks_valley() {
    let s = minimise(&mut Rosenbrock, [-1.2, 1.0], &free(1e9)).unwrap();
    assert!((s.p[0] - 1.0).abs() < 1e-6 && (s.p[1] - 1.0).abs() < 1e-6, "{s:?}");
    assert_eq!(s.stop, Stop::Converged);
    let few = Settings { max_iterations: 3, ..free(1e9) };
    assert_eq!(minimise(&mut Rosenbrock, [-1.2, 1.0], &few).unwrap().stop, Stop::Iterations);
}

#[test]
fn an_outlier_pulls_little_under_huber() {
    let mut points: Vec<_> = (0..20).map(|i| (f64::from(i), 2.0 + 0.5 * f64::from(i))).collect();
    points[19].1 += 100.0;
    let robust = minimise(&mut Line(points.clone()), [0.0, 0.0], &free(0.01)).unwrap();
    let plain = minimise(&mut Line(points), [0.0, 0.0], &free(1e9)).unwrap();
    assert!((robust.p[1] - 0.5).abs() < 0.01, "{robust:?}");
    assert!((plain.p[1] - 0.5).abs() > 0.3);
}

#[test]
fn a_bound_is_kept_and_reported() {
    let settings = Settings { upper: [0.5, 1e6], ..free(1e9) };
    let s = minimise(&mut Rosenbrock, [-1.2, 1.0], &settings).unwrap();
    assert!((s.p[0] - 0.5).abs() < 1e-9 && (s.p[1] - 0.25).abs() < 1e-6, "{s:?}");
    assert_eq!(s.at_bound, [true, false]);
}

#[test]
fn what_is_not_finite_is_refused() {
    assert!(minimise(&mut Rosenbrock, [f64::NAN, 0.0], &free(1.0)).is_none());
    let mut bad = Line(vec![(f64::NAN, 1.0), (1.0, 2.0)]);
    assert!(minimise(&mut bad, [0.0, 0.0], &free(1.0)).is_none());
    assert!(minimise(&mut Line(vec![]), [0.0, 0.0], &free(1.0)).is_none());
}
