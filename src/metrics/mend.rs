//! Lines that are nearly JSON: bare `NaN` and `Infinity` (Python's json), Python's `repr` of a
//! dictionary. Each becomes JSON whose non-numbers are texts that [`super::values`] reads. Pure.

use std::borrow::Cow;

/// Puts bare `NaN`, `Infinity`, `-Infinity` into quotes; `None` where there is none.
pub fn non_numbers(line: &str) -> Option<String> {
    let bytes = line.as_bytes();
    let mut out = String::new();
    let (mut copied, mut i, mut quoted) = (0, 0, false);
    while i < bytes.len() {
        match bytes[i] {
            b'\\' if quoted => i += 1,
            b'"' => quoted = !quoted,
            b'N' | b'I' | b'-' if !quoted => {
                let word = ["NaN", "Infinity", "-Infinity", "-NaN"]
                    .iter()
                    .find(|w| bytes[i..].starts_with(w.as_bytes()));
                if let Some(w) = word {
                    out.push_str(&line[copied..i]);
                    out.push('"');
                    out.push_str(w.trim_start_matches(if *w == "-NaN" { "-" } else { "" }));
                    out.push('"');
                    i += w.len();
                    copied = i;
                    continue;
                }
            }
            _ => {}
        }
        i += 1;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&line[copied..]);
    Some(out)
}

/// `{'loss': '1.4', 'x': nan, 'y': None}` as JSON. Best effort: what is no JSON then either is
/// told by the parser.
pub fn python(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 16);
    let mut quote: Option<char> = None;
    let mut word = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if let Some(q) = quote {
            match c {
                '\\' => match chars.next() {
                    Some('\'') => out.push('\''),
                    Some(next) => out.extend(['\\', next]),
                    None => {}
                },
                c if c == q => {
                    quote = None;
                    out.push('"');
                }
                '"' => out.push_str("\\\""),
                c => out.push(c),
            }
            continue;
        }
        if c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+') {
            word.push(c);
            continue;
        }
        out.push_str(&python_word(&word));
        word.clear();
        match c {
            '\'' | '"' => {
                quote = Some(c);
                out.push('"');
            }
            // A tuple reads like a list.
            '(' => out.push('['),
            ')' => out.push(']'),
            c => out.push(c),
        }
    }
    out.push_str(&python_word(&word));
    out
}

fn python_word(word: &str) -> Cow<'_, str> {
    match word {
        "None" => "null".into(),
        "True" => "true".into(),
        "False" => "false".into(),
        "nan" | "inf" | "-inf" => format!("\"{word}\"").into(),
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_words_are_quoted() {
        let line = r#"{"a":NaN,"NaN":"x NaN \" Infinity","b":[-Infinity,Infinity,-1],"c":-NaN}"#;
        let want =
            r#"{"a":"NaN","NaN":"x NaN \" Infinity","b":["-Infinity","Infinity",-1],"c":"NaN"}"#;
        assert_eq!(non_numbers(line).as_deref(), Some(want));
        assert_eq!(non_numbers(r#"{"a":-1,"b":"NaN"}"#), None);
    }

    #[test]
    fn a_python_dictionary_becomes_json() {
        let line = r#"{'loss': '1.4', 'x': nan, 'y': None, "it's": 'a "b" \' c', 't': (1, -2e-05), 'ok': True}"#;
        let value: serde_json::Value = serde_json::from_str(&python(line)).unwrap();
        let want = serde_json::json!({"loss": "1.4", "x": "nan", "y": null, "it's": "a \"b\" ' c", "t": [1, -2e-05], "ok": true});
        assert_eq!(value, want);
    }
}
