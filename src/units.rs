//! Units, and the only number formatter of the program.
//!
//! In code the quantities of the theory are plain `f64` (numerics) or `u64` (files and protocol)
//! under the names of the field: `steps` (optimizer steps), `batch_size` (tokens per optimizer
//! step), `tokens` (cumulative tokens consumed), `loss` (nats per token).

/// `4_194_304.0` -> `4.19M`: three significant digits and K, M, B, T.
pub fn count(x: f64) -> String {
    if !x.is_finite() {
        return "-".into();
    }
    let a = x.abs();
    if a >= 1e16 {
        return format!("{x:.2e}");
    }
    for (unit, suffix) in [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")] {
        // 999,950 would print as 1000K; it belongs to the next unit.
        if a >= unit * 0.9995 {
            return format!("{}{suffix}", three_digits(x / unit));
        }
    }
    if a.fract() == 0.0 { format!("{x:.0}") } else { three_digits(x) }
}

fn three_digits(x: f64) -> String {
    let decimals = match x.abs() {
        a if a >= 99.95 => 0,
        a if a >= 9.995 => 1,
        _ => 2,
    };
    let s = format!("{x:.decimals$}");
    if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_string() } else { s }
}

/// A whole number with thousands separators, for values that a person must read exactly.
pub fn exact(x: u64) -> String {
    let digits = x.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A loss in nats: `2.3145`.
pub fn loss(x: f64) -> String {
    if x.is_finite() { format!("{x:.4}") } else { "-".into() }
}

/// A fraction as a percentage: `0.034` -> `3.4 %`.
pub fn percent(fraction: f64) -> String {
    if !fraction.is_finite() {
        return "-".into();
    }
    let p = fraction * 100.0;
    match p.abs() {
        // Not all of it.
        a if (99.5..100.0).contains(&a) => format!("{:.1} %", p.clamp(-99.9, 99.9)),
        a if a >= 9.95 => format!("{p:.0} %"),
        _ => format!("{p:.1} %"),
    }
}

/// A learning rate: `0.0003` -> `3e-4`.
pub fn learning_rate(x: f64) -> String {
    if !x.is_finite() {
        return "-".into();
    }
    let s = format!("{x:.3e}");
    match s.split_once('e') {
        Some((m, e)) if m.contains('.') => {
            format!("{}e{e}", m.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => s,
    }
}

/// Seconds as the two largest units: `93784` -> `1d 2h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".into();
    }
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {:02}h", s / 86400, s % 86400 / 3600),
    }
}

/// Reads `250B`, `4.19M`, `2_097_152`, `2,097,152` or `1e9`; `None` for anything else.
pub fn parse_count(text: &str) -> Option<f64> {
    let t: String = text.trim().chars().filter(|c| *c != '_' && *c != ',').collect();
    let (number, unit) = match t.chars().last()?.to_ascii_uppercase() {
        'K' => (&t[..t.len() - 1], 1e3),
        'M' => (&t[..t.len() - 1], 1e6),
        'B' | 'G' => (&t[..t.len() - 1], 1e9),
        'T' => (&t[..t.len() - 1], 1e12),
        _ => (t.as_str(), 1.0),
    };
    let x: f64 = number.trim().parse().ok()?;
    // 4.19 * 1e6 is not a whole number in binary; a count is.
    let y = if unit > 1.0 { (x * unit).round() } else { x };
    (x.is_finite() && x >= 0.0).then_some(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits_and_carry_into_the_next_unit() {
        for (x, want) in [
            (0.0, "0"),
            (16.0, "16"),
            (1234.0, "1.23K"),
            (4_194_304.0, "4.19M"),
            (999_999.0, "1M"),
            (250e9, "250B"),
            (1.5e13, "15T"),
            (1.844e19, "1.84e19"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(count(x), want, "{x}");
        }
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        for x in [16.0, 1230.0, 4_190_000.0, 250e9, 15e12, 1.84e19] {
            assert_eq!(parse_count(&count(x)), Some(x));
        }
        assert_eq!(parse_count("2_097_152"), Some(2_097_152.0));
        assert_eq!(parse_count("lots"), None);
        assert_eq!(parse_count(""), None);
        assert_eq!(parse_count("-3"), None);
    }

    #[test]
    fn exact_numbers_are_grouped() {
        assert_eq!(exact(0), "0");
        assert_eq!(exact(999), "999");
        assert_eq!(exact(2_097_152), "2,097,152");
    }

    #[test]
    fn durations_and_rates() {
        assert_eq!(duration(59.4), "59s");
        assert_eq!(duration(93_784.0), "1d 02h");
        assert_eq!(learning_rate(3e-4), "3e-4");
        assert_eq!(learning_rate(2.5e-4), "2.5e-4");
        assert_eq!(percent(0.034), "3.4 %");
        assert_eq!(
            [0.994, 0.996, 0.99999, 1.0, -0.9999].map(percent),
            ["99 %", "99.6 %", "99.9 %", "100 %", "-99.9 %"]
        );
    }
}
