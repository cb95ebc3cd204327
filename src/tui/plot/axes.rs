//! Axes: a range, a scale, and ticks at round numbers.

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Log,
}

/// A range of finite values, `low < high`, positive where the scale is logarithmic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub low: f64,
    pub high: f64,
    pub scale: Scale,
    /// How a tick is written.
    pub label: fn(f64) -> String,
}

impl Axis {
    /// Around the values that can be drawn, with `margin` of the range on both sides; `None` where
    /// there is none.
    pub fn around(
        values: impl IntoIterator<Item = f64>,
        scale: Scale,
        margin: f64,
        label: fn(f64) -> String,
    ) -> Option<Axis> {
        let mut range: Option<(f64, f64)> = None;
        for v in values {
            if v.is_finite() && (scale == Scale::Linear || v > 0.0) {
                let (l, h) = range.unwrap_or((v, v));
                range = Some((l.min(v), h.max(v)));
            }
        }
        let (low, high) = range?;
        let (low, high) = match scale {
            Scale::Linear => {
                let pad = ((high - low) * margin).max(if high > low { 0.0 } else { spread(high) });
                (low - pad, high + pad)
            }
            Scale::Log => {
                let factor = (high / low).powf(margin).max(if high > low { 1.0 } else { 1.5 });
                (low / factor, high * factor)
            }
        };
        // A range that leaves the numbers cannot be divided.
        let drawable = match scale {
            Scale::Linear => (high - low).is_finite(),
            Scale::Log => low > 0.0 && (high / low).is_finite(),
        };
        (drawable && high.is_finite() && low < high).then_some(Axis { low, high, scale, label })
    }

    /// The place of a value: 0 at `low`, 1 at `high`; outside of it beyond; NaN where undefined.
    pub fn place(&self, v: f64) -> f64 {
        match self.scale {
            Scale::Linear => (v - self.low) / (self.high - self.low),
            Scale::Log if v > 0.0 => (v / self.low).ln() / (self.high / self.low).ln(),
            Scale::Log => f64::NAN,
        }
    }

    /// The value at a place.
    pub fn value(&self, place: f64) -> f64 {
        match self.scale {
            Scale::Linear => self.low + (self.high - self.low) * place,
            Scale::Log => self.low * (self.high / self.low).powf(place),
        }
    }

    /// The part between two places, `from < to`; the whole where the numbers are too close to be
    /// told apart.
    pub fn part(self, [from, to]: [f64; 2]) -> Axis {
        let (low, high) = (self.value(from), self.value(to));
        let part = Axis { low, high, ..self };
        if low < high && part.place(low + (high - low) / 2.0).is_finite() { part } else { self }
    }

    /// At most `max` round values inside the range, ascending.
    pub fn ticks(&self, max: usize) -> Vec<f64> {
        if max == 0 {
            return Vec::new();
        }
        if self.scale == Scale::Linear {
            return linear(self.low, self.high, max);
        }
        let decades = (self.high / self.low).log10();
        for digits in [&[1.0, 2.0, 3.0, 5.0, 7.0][..], &[1.0, 2.0, 5.0], &[1.0, 3.0]] {
            let ticks = log(self.low, self.high, digits, 1);
            if ticks.len() <= max && ticks.len() >= 2 {
                return ticks;
            }
        }
        if decades < 0.8 {
            return linear(self.low, self.high, max);
        }
        for every in 1..100 {
            let ticks = log(self.low, self.high, &[1.0], every);
            if ticks.len() <= max {
                return ticks;
            }
        }
        Vec::new()
    }
}

/// Half the range around a single value.
fn spread(v: f64) -> f64 {
    if v == 0.0 { 1.0 } else { v.abs() * 0.1 }
}

fn linear(low: f64, high: f64, max: usize) -> Vec<f64> {
    let raw = (high - low) / max as f64;
    let power = 10f64.powf(raw.log10().floor());
    for step in [1.0, 2.0, 5.0, 10.0, 20.0].map(|m| m * power) {
        let first = (low / step - 1e-9).ceil();
        let last = (high / step + 1e-9).floor();
        if last - first < max as f64 && step.is_finite() && step > 0.0 {
            let n = (last - first + 1.0).max(0.0) as usize;
            return (0..n).map(|i| (first + i as f64) * step).collect();
        }
    }
    Vec::new()
}

fn log(low: f64, high: f64, digits: &[f64], every: i32) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last)
        .filter(|d| d.rem_euclid(every) == 0)
        .flat_map(|d| digits.iter().map(move |m| m * 10f64.powi(d)))
        .filter(|v| *v >= low * (1.0 - 1e-9) && *v <= high * (1.0 + 1e-9))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn axis(low: f64, high: f64, scale: Scale) -> Axis {
        Axis { low, high, scale, label: crate::units::count }
    }

    #[test]
    fn ticks_are_round() {
        let t = axis(0.3, 9.7, Scale::Linear).ticks(6);
        assert_eq!(t, [2.0, 4.0, 6.0, 8.0]);
        let t = axis(8.0, 5000.0, Scale::Log).ticks(4);
        assert_eq!(t, [10.0, 100.0, 1000.0]);
        let t = axis(1e6, 6e6, Scale::Log).ticks(5);
        assert_eq!(t, [1e6, 2e6, 3e6, 5e6]);
    }

    #[test]
    fn a_range_beyond_the_numbers_is_no_axis() {
        for scale in [Scale::Linear, Scale::Log] {
            for values in [[1e-300, 1e300], [-1.7e308, 1.7e308], [5e-324, 1e-323]] {
                if let Some(a) = Axis::around(values, scale, 0.1, crate::units::count) {
                    assert!(a.ticks(8).len() <= 8);
                }
            }
        }
    }

    #[test]
    fn an_axis_needs_something_to_show() {
        let none = Axis::around([f64::NAN, -1.0], Scale::Log, 0.1, crate::units::count);
        assert!(none.is_none());
        let one = Axis::around([5.0], Scale::Linear, 0.1, crate::units::count).unwrap();
        assert!(one.low < 5.0 && one.high > 5.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn places_and_values_belong_together(
            low in 1e-6f64..1e12, ratio in 1.01f64..1e9, place in 0.0f64..1.0, log in any::<bool>()
        ) {
            let scale = if log { Scale::Log } else { Scale::Linear };
            let a = axis(low, low * ratio, scale);
            prop_assert!((a.place(a.value(place)) - place).abs() < 1e-9);
            let part = a.part([place * 0.5, place * 0.5 + 0.5]);
            prop_assert!((part.place(a.value(place * 0.5 + 0.25)) - 0.5).abs() < 1e-6);
        }

        #[test]
        fn ticks_lie_inside_ascend_and_are_few(
            low in 1e-6f64..1e12, ratio in 1.0001f64..1e9, max in 1usize..12, log in any::<bool>()
        ) {
            let scale = if log { Scale::Log } else { Scale::Linear };
            let a = axis(low, low * ratio, scale);
            let ticks = a.ticks(max);
            prop_assert!(ticks.len() <= max);
            for w in ticks.windows(2) {
                prop_assert!(w[0] < w[1]);
            }
            for t in ticks {
                let p = a.place(t);
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&p), "{t} at {p}");
            }
        }
    }
}
