//! Numbers and times as trainers write them: `"1/438"`, `17,394`, `9.04M`, `tensor(1.2)`,
//! RFC 3339 with and without a zone. Pure.

/// The number that a field's text begins with: `2.3E+00`, `nan`, `50/ 242204` (the 50), `17,394`,
/// `tensor(1.2)`. `None` where the text is no number (`N/A`, `2.98GiB`, `0.23%`).
pub fn number(text: &str) -> Option<f64> {
    let t = text.trim();
    if let Ok(x) = t.parse::<f64>() {
        return Some(x);
    }
    if let Some(inner) = t.strip_prefix("tensor(") {
        return inner.split([',', ')']).next().and_then(|x| x.trim().parse().ok());
    }
    if let Some((n, of)) = t.split_once('/') {
        // "1/438": the step, of how many.
        let whole = of.trim().is_empty() || of.trim().parse::<f64>().is_ok();
        return if whole { n.trim().parse().ok() } else { None };
    }
    grouped(t)
}

/// `17,394` or `1,234.5`; `1,2` is not a number.
fn grouped(t: &str) -> Option<f64> {
    let (whole, fraction) = t.split_once('.').unwrap_or((t, ""));
    let mut groups = whole.trim_start_matches('-').split(',');
    let first = groups.next()?;
    let mut more = false;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || first.len() > 3 || !(fraction.is_empty() || digits(fraction)) {
        return None;
    }
    for g in groups {
        if g.len() != 3 || !digits(g) {
            return None;
        }
        more = true;
    }
    if more { t.replace(',', "").parse().ok() } else { None }
}

/// Also reads `9.04M` and `393K` (nanotron rounds its counters so). The second value says that
/// a suffix was there, so that the digits behind the third are lost.
pub fn human_number(text: &str) -> Option<(f64, bool)> {
    let t = text.trim();
    if let Some(x) = number(t) {
        return Some((x, false));
    }
    // "32.77K/1.00B": the counter, of how many.
    if let Some((n, of)) = t.split_once('/') {
        return suffixed(of.trim()).and(suffixed(n.trim())).map(|x| (x, true));
    }
    suffixed(t).map(|x| (x, true))
}

fn suffixed(t: &str) -> Option<f64> {
    let last = t.chars().last()?;
    let unit = match last {
        'K' => 1e3,
        'M' => 1e6,
        'B' | 'G' => 1e9,
        'T' => 1e12,
        _ => return None,
    };
    let x: f64 = t[..t.len() - 1].trim().parse().ok()?;
    // 9.04 * 1e6 is not a whole number in binary; the counter was one.
    Some((x * unit).round())
}

/// Unix seconds from a number that may be seconds, milli-, micro- or nanoseconds. `None` for what
/// is too small to be a date since 1973: seconds since the start of the run.
pub fn unix_seconds(x: f64) -> Option<f64> {
    let a = x.abs();
    let scale = if a >= 1e17 {
        1e-9
    } else if a >= 1e14 {
        1e-6
    } else if a >= 1e11 {
        1e-3
    } else if a >= 1e8 {
        1.0
    } else {
        return None;
    };
    (x.is_finite() && x > 0.0).then_some(x * scale)
}

/// Unix seconds of a time text: RFC 3339, a blank instead of `T`, a comma before the fraction,
/// zone `Z`, `+08:00`, `+0800` or none (then UTC); or a number of any of the units above.
pub fn time(text: &str) -> Option<f64> {
    let t = text.trim();
    match t.parse::<f64>() {
        Ok(x) => unix_seconds(x),
        Err(_) => date_time(t.as_bytes()),
    }
}

/// The first date and time within the first 120 bytes of a console line.
pub fn find_time(line: &str) -> Option<f64> {
    let bytes = line.as_bytes();
    let head = &bytes[..bytes.len().min(120)];
    memchr::memchr_iter(b'-', head)
        .filter(|&i| i >= 4)
        .find_map(|i| date_time(&bytes[i - 4..bytes.len().min(i + 40)]))
}

fn digits(b: &[u8], at: usize, n: usize) -> Option<i64> {
    let s = b.get(at..at + n)?;
    s.iter().try_fold(0i64, |x, &c| c.is_ascii_digit().then(|| x * 10 + i64::from(c - b'0')))
}

fn date_time(b: &[u8]) -> Option<f64> {
    let (year, month, day) = (digits(b, 0, 4)?, digits(b, 5, 2)?, digits(b, 8, 2)?);
    let (hour, minute) = (digits(b, 11, 2)?, digits(b, 14, 2)?);
    let marks =
        b[4] == b'-' && b[7] == b'-' && matches!(b[10], b'T' | b't' | b' ') && b[13] == b':';
    if !marks || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59
    {
        return None;
    }
    let mut at = 16;
    let mut second = 0.0;
    if b.get(16) == Some(&b':') {
        second = digits(b, 17, 2)? as f64;
        at = 19;
        if matches!(b.get(19), Some(b'.' | b',')) {
            let n = b[20..].iter().take_while(|c| c.is_ascii_digit()).count();
            let fraction =
                b[20..20 + n].iter().rev().fold(0.0, |x, &c| (x + f64::from(c - b'0')) / 10.0);
            second += fraction;
            at = 20 + n;
        }
    }
    let days = days_since_1970(year, month, day);
    let seconds = (days * 86400 + hour * 3600 + minute * 60) as f64 + second;
    Some(seconds - zone(&b[at..]))
}

/// Seconds east of UTC: of `+08:00`, `-0530`; 0 for everything else.
fn zone(b: &[u8]) -> f64 {
    let sign = match b.first() {
        Some(b'+') => 1.0,
        Some(b'-') => -1.0,
        _ => return 0.0,
    };
    let Some(h) = digits(b, 1, 2) else { return 0.0 };
    let m = digits(b, if b.get(3) == Some(&b':') { 4 } else { 3 }, 2).unwrap_or(0);
    sign * (h * 3600 + m * 60) as f64
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: whole 400-year eras, and months
/// counted from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_trainers_write_them() {
        for (text, want) in [
            ("1.376514E+01", Some(13.76514)),
            ("1/438", Some(1.0)),
            ("50/ 242204", Some(50.0)),
            ("50/", Some(50.0)),
            ("17,394", Some(17394.0)),
            ("tensor(1.2)", Some(1.2)),
            ("tensor(1.2, device='cuda:0')", Some(1.2)),
            ("1,2", None),
            ("N/A", None),
            ("2.98GiB(1.67%)", None),
            ("51.22%", None),
            ("", None),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
        assert!(number("nan").is_some_and(f64::is_nan));
        assert_eq!(number("-Infinity"), Some(f64::NEG_INFINITY));
    }

    #[test]
    fn rounded_counters_are_whole_numbers_and_said_to_be_rounded() {
        assert_eq!(human_number("9.04M"), Some((9_040_000.0, true)));
        assert_eq!(human_number("393K"), Some((393_000.0, true)));
        assert_eq!(human_number("11.1"), Some((11.1, false)));
        assert_eq!(human_number("32.77K/1.00B"), Some((32_770.0, true)));
        assert_eq!(human_number("32.77K/s"), None);
        assert_eq!(human_number("MB"), None);
    }

    #[test]
    fn times_with_every_kind_of_zone() {
        let utc = 1_750_237_271.5;
        for text in [
            "2025-06-18T09:01:11.5+00:00",
            "2025-06-18T09:01:11.5Z",
            "2025-06-18 09:01:11,5",
            "2025-06-18T17:01:11.5+08:00",
            "2025-06-18T03:31:11.5-0530",
            "1750237271500",
            "1750237271500000",
            "1750237271.5",
        ] {
            assert_eq!(time(text), Some(utc), "{text}");
        }
        assert_eq!(time("2024-02-29T00:00:00Z"), Some(1_709_164_800.0));
        assert_eq!(time("0.254"), None);
        assert_eq!(time("6s"), None);
        assert_eq!(
            find_time("[node7:3]: [2025-06-18 09:01:11] iteration 5"),
            Some(1_750_237_271.0)
        );
        assert_eq!(find_time("a-b-c 2025-06-xx"), None);
    }

    #[test]
    fn calendar_agrees_with_an_independent_library() {
        let mut day = jiff::civil::date(1970, 1, 1);
        for n in 0..40_000 {
            let (y, m, d) = (i64::from(day.year()), i64::from(day.month()), i64::from(day.day()));
            assert_eq!(days_since_1970(y, m, d), n, "{day}");
            day = day.tomorrow().unwrap();
        }
    }
}
