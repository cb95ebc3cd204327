//! What a picture must be, whatever stood in the log.

use super::super::canvas::clip;
use super::super::model::{Chart, Dash, Figure, Mark, Panel};
use super::super::{Axis, Scale};
use super::svg;
use crate::tui::theme::Role;

fn figure(marks: Vec<Mark>, name: &str) -> Figure {
    let axis = Axis { low: 1.0, high: 100.0, scale: Scale::Log, label: crate::units::count };
    let chart = Chart { x: axis, y: axis, marks };
    let title = vec![(name.to_string(), Role::Curve)];
    Figure {
        title: name.into(),
        x_name: "tokens",
        panels: vec![Panel { title, chart, share: 3, rank: 0 }],
        focus: [10.0, 10.0],
        whole: [axis, axis],
    }
}

/// Every tag that is opened is closed, and nothing but text stands between.
fn well_formed(xml: &str) {
    let mut open = Vec::new();
    for piece in xml.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a tag ends");
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_string()));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap_or_default().to_string());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn text_of_a_log_stays_text() {
    let name = "a<script>alert(\"&'\")</script>\u{1b}[31m\u{0}\u{202e}";
    let label = Mark::Label { at: vec![[10.0, 10.0]], text: name.into(), role: Role::Text };
    let xml = svg(&figure(vec![label], name));
    well_formed(&xml);
    assert!(!xml.contains("<script") && !xml.contains('\u{1b}') && !xml.contains('\u{0}'));
    assert!(xml.contains("a&lt;script&gt;alert(&quot;&amp;'&quot;)&lt;/script&gt;"));
}

#[test]
fn words_are_seen_also_where_the_order_of_painting_is_not_known() {
    let label = Mark::Label { at: vec![[10.0, 10.0]], text: "here".into(), role: Role::Text };
    let xml = svg(&figure(vec![label], "name"));
    let texts: Vec<&str> = xml.lines().filter(|l| l.starts_with("<text")).collect();
    let last = |words: &str| texts.iter().rfind(|l| l.contains(words)).copied().unwrap();
    for words in ["here", "name", "tokens"] {
        assert!(!last(words).contains("stroke"), "{}", last(words));
    }
}

#[test]
fn odd_numbers_leave_no_trace() {
    let odd = [f64::NAN, f64::INFINITY, -1e300, 1e300, 0.0, 50.0];
    let marks = odd.iter().flat_map(|v| {
        [
            Mark::Line {
                points: vec![[*v, 1.0], [50.0, *v], [60.0, 20.0]],
                role: Role::Curve,
                dash: Dash::Dotted,
                layer: 3,
            },
            Mark::Band { points: vec![[1.0, *v, 3.0], [100.0, 1.0, *v]], role: Role::Guide },
            Mark::Range { points: vec![[*v, *v, 3.0]], role: Role::Dim },
            Mark::Shade { from: *v, to: 50.0 },
            Mark::Symbol { at: [*v, *v], symbol: '●', role: Role::Point },
            Mark::Flag { x: *v, text: "flag".into(), role: Role::Text },
            Mark::Top { from: *v, to: 100.0, text: "top".into(), role: Role::Text },
            Mark::Vertical { x: *v, role: Role::Guide, dash: Dash::Dotted },
            Mark::Stairs {
                points: vec![[*v, *v], [50.0, 20.0]],
                until: *v,
                role: Role::Planned,
                dash: Dash::Solid,
                layer: 4,
            },
        ]
    });
    let xml = svg(&figure(marks.collect(), "odd"));
    well_formed(&xml);
    assert!(!xml.contains("NaN") && !xml.contains("inf"), "{xml}");
}

/// The numbers of the data of a path, as straight pieces.
fn pieces(d: &str) -> Vec<[[f64; 2]; 2]> {
    let mut out = Vec::new();
    let mut at = [f64::NAN; 2];
    for step in d.split_inclusive(|c: char| c.is_alphabetic()).collect::<Vec<_>>().windows(2) {
        let how = step[0].chars().last().unwrap();
        let rest = step[1].trim_end_matches(|c: char| c.is_alphabetic());
        let numbers: Vec<f64> = rest.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let to = [numbers[0], numbers[1]];
        if how == 'L' {
            out.push([at, to]);
        }
        at = to;
    }
    out
}

/// How many labels a picture has; fails where one touches a line or another. Axes, which are drawn
/// with relative steps, are no lines here: labels stand inside of them.
pub(crate) fn count_clear(xml: &str) -> usize {
    let value = |line: &str, name: &str| -> f64 {
        let rest = line.split_once(&format!(" {name}=\"")).unwrap().1;
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    let paths = xml.lines().filter_map(|l| l.strip_prefix("<path d=\"")?.split_once('"'));
    let lines: Vec<_> =
        paths.filter(|(d, _)| !d.contains(['h', 'l', 'z'])).flat_map(|(d, _)| pieces(d)).collect();
    let halos = xml.lines().filter(|l| l.starts_with("<text") && l.contains("fill=\"none\""));
    let boxes: Vec<[f64; 4]> = halos
        .map(|l| {
            let words = l.split_once('>').unwrap().1.split_once('<').unwrap().0;
            let (x, y) = (value(l, "x"), value(l, "y"));
            [x, y - super::FONT * 0.7, x + words.chars().count() as f64 * super::CHAR, y]
        })
        .collect();
    for (i, b) in boxes.iter().enumerate() {
        let unit = |p: &[f64; 2]| [(p[0] - b[0]) / (b[2] - b[0]), (p[1] - b[1]) / (b[3] - b[1])];
        for [from, to] in &lines {
            assert!(clip(unit(from), unit(to)).is_none(), "{b:?} on {from:?} {to:?}");
        }
        let touch = |o: &[f64; 4]| b[0] < o[2] && o[0] < b[2] && b[1] < o[3] && o[1] < b[3];
        assert!(!boxes[..i].iter().any(touch), "{b:?} on another");
    }
    boxes.len()
}
