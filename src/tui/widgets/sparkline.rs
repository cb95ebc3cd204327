//! A trend in a few characters.

/// Levels of the last `width` values between their smallest and largest; blanks in front where
/// there are fewer.
pub(crate) fn sparkline(values: &[f64], width: u16) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = usize::from(width);
    let seen = &values[values.len().saturating_sub(width)..];
    let finite = || seen.iter().copied().filter(|v| v.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let mut out = " ".repeat(width - seen.len());
    for v in seen {
        out.push(if !v.is_finite() {
            ' '
        } else if high > low {
            LEVELS[(((v - low) / (high - low) * 7.0).round() as usize).min(7)]
        } else {
            LEVELS[0]
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trend_fills_its_field() {
        assert_eq!(sparkline(&[3.0, 2.0, 1.0], 5), "  █▅▁");
        assert_eq!(sparkline(&[9.0, 1.0, f64::NAN, 2.0], 3), "▁ █");
        assert_eq!(sparkline(&[], 2), "  ");
        assert_eq!(sparkline(&[1.0, 1.0], 2), "▁▁");
    }
}
