//! A figure as a vector picture (SVG 1.1) for people who are not in the terminal: the same marks in
//! the hues of the light theme. Text is escaped, and holds no character that XML forbids.

use super::canvas::clip;
use super::model::{Chart, Dash, Figure, Mark, Panel};
use super::series::{extremes, thin};
use crate::tui::theme::{Role, Theme};
use std::fmt::Write;

/// All in pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
/// Height of the plot of a panel with a share of 1.
const SHARE: f64 = 110.0;
const LEAST: f64 = 180.0;
const TITLE: f64 = 44.0;
const LEGEND: f64 = 24.0;
const STRIP: f64 = 18.0;
const GAP: f64 = 14.0;
const BOTTOM: f64 = 48.0;
const FONT: f64 = 12.0;
/// Width of a character, about.
const CHAR: f64 = 6.9;

/// The picture, one XML document.
pub(crate) fn svg(figure: &Figure) -> String {
    let heights: Vec<f64> = figure.panels.iter().map(panel_height).collect();
    let height = TITLE + heights.iter().sum::<f64>() + BOTTOM;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"ui-monospace, Menlo, Consolas, monospace\" \
         font-size=\"{FONT}\">\n<rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
        Theme::PAPER
    );
    out.push_str(&format!("<title>{}</title>\n", escaped(&figure.title)));
    text(&mut out, [LEFT, 26.0], &figure.title, Role::Strong, "start");
    let mut top = TITLE;
    for (i, (panel, height)) in figure.panels.iter().zip(&heights).enumerate() {
        let last = i + 1 == figure.panels.len();
        legend(&mut out, panel, top + LEGEND - 9.0);
        let strip = if panel.chart.has_strip() { STRIP } else { 0.0 };
        let plot = Plot {
            chart: &panel.chart,
            top: top + LEGEND + strip,
            height: height - LEGEND - strip - GAP,
            name: last.then_some(figure.x_name),
        };
        plot.draw(&mut out, i);
        top += height;
    }
    out.push_str("</svg>\n");
    out
}

fn panel_height(panel: &Panel) -> f64 {
    let strip = if panel.chart.has_strip() { STRIP } else { 0.0 };
    let plot = (SHARE * f64::from(panel.share)).max(LEAST);
    LEGEND + strip + plot + GAP
}

/// The words above a panel, each in its own colour.
fn legend(out: &mut String, panel: &Panel, y: f64) {
    let mut x = LEFT;
    for (words, role) in &panel.title {
        let lead = words.chars().take_while(|c| *c == ' ').count();
        x += lead as f64 * CHAR;
        text(out, [x, y], words.trim(), *role, "start");
        x += words.trim_start().chars().count() as f64 * CHAR;
    }
}

/// Text that an XML document may hold: no control or bidirectional character, markup escaped.
fn escaped(words: &str) -> String {
    let mut out = String::new();
    for c in Theme::plain().clean(words).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

fn text(out: &mut String, [x, y]: [f64; 2], words: &str, role: Role, anchor: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{}\" \
         xml:space=\"preserve\">{}</text>",
        Theme::ink(role),
        escaped(words)
    );
}

/// Words over a line stay readable: a halo of the ground lies below them. It is a text of its own,
/// since not every viewer knows which of stroke and fill to paint first.
fn over(out: &mut String, [x, y]: [f64; 2], words: &str, role: Role) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"none\" stroke=\"{}\" stroke-width=\"3\" \
         xml:space=\"preserve\">{}</text>",
        Theme::PAPER,
        escaped(words)
    );
    text(out, [x, y], words, role, "start");
}

/// Where a chart stands in the picture.
struct Plot<'a> {
    chart: &'a Chart,
    top: f64,
    height: f64,
    name: Option<&'a str>,
}

impl Plot<'_> {
    fn width(&self) -> f64 {
        WIDTH - LEFT - RIGHT
    }

    /// A place (0 to 1) in pixels.
    fn pixel(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [LEFT + x * self.width(), self.top + (1.0 - y) * self.height]
    }

    fn inside(&self, point: [f64; 2]) -> Option<[f64; 2]> {
        let at = self.chart.at(point);
        at.iter().all(|v| (-1e-9..=1.0 + 1e-9).contains(v)).then(|| self.pixel(at))
    }

    fn draw(&self, out: &mut String, index: usize) {
        let (w, h, top) = (self.width(), self.height, self.top);
        let _ = writeln!(
            out,
            "<clipPath id=\"p{index}\"><rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{w:.1}\" \
             height=\"{h:.1}\"/></clipPath>\n<g clip-path=\"url(#p{index})\" fill=\"none\">"
        );
        // Helping lines first, the most important last.
        let layer = |m: &&Mark| match m {
            Mark::Shade { .. } | Mark::Band { .. } => 0,
            Mark::Vertical { .. } | Mark::Horizontal { .. } => 1,
            Mark::Range { .. } => 2,
            Mark::Line { layer, .. } | Mark::Stairs { layer, .. } => 3 + *layer,
            _ => u8::MAX,
        };
        let mut marks: Vec<&Mark> = self.chart.marks.iter().collect();
        marks.sort_by_key(layer);
        for mark in &marks {
            self.mark(out, mark);
        }
        out.push_str("</g>\n");
        self.axes(out);
        let mut taken: Vec<[f64; 4]> = Vec::new();
        for mark in &self.chart.marks {
            if let Mark::Symbol { at, symbol, role } = mark
                && let Some(at) = self.inside(*at)
            {
                point(out, at, *symbol, *role);
                taken.push([at[0] - 5.0, at[1] - 5.0, at[0] + 5.0, at[1] + 5.0]);
            }
        }
        self.words(out, &mut taken);
    }

    fn mark(&self, out: &mut String, mark: &Mark) {
        match mark {
            Mark::Line { points, role, dash, layer } => {
                let seen = thin(points, &self.chart.x, self.width() as usize);
                self.path(out, &seen, *role, *dash, if *layer >= 3 { 1.8 } else { 1.0 });
            }
            Mark::Stairs { points, until, role, dash, layer } => {
                let mut corners = Vec::with_capacity(2 * points.len());
                for (i, p) in points.iter().enumerate() {
                    let end = points.get(i + 1).map_or(*until, |n| n[0]);
                    corners.extend([*p, [end, p[1]]]);
                }
                self.path(out, &corners, *role, *dash, if *layer >= 4 { 2.4 } else { 1.8 });
            }
            Mark::Range { points, role } => {
                let columns = (self.width() / 2.0) as usize;
                let mut d = String::new();
                for (i, low, high) in extremes(points, &self.chart.x, columns) {
                    let place = |y: f64| self.chart.y.place(y).clamp(0.0, 1.0);
                    let x = (i as f64 + 0.5) / columns as f64;
                    let ([x, a], [_, b]) =
                        (self.pixel([x, place(low)]), self.pixel([x, place(high)]));
                    let _ = write!(d, "M{x:.1} {a:.1}V{b:.1}");
                }
                stroke(out, &d, *role, "", 1.0, 0.45);
            }
            Mark::Band { points, role } => self.band(out, points, *role),
            Mark::Shade { from, to } => {
                let at = |x: f64| self.chart.x.place(x).clamp(0.0, 1.0);
                let ([a, top], [b, _]) = (self.pixel([at(*from), 1.0]), self.pixel([at(*to), 1.0]));
                if b > a {
                    let _ = writeln!(
                        out,
                        "<rect x=\"{a:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
                         fill=\"{}\" fill-opacity=\"0.12\"/>",
                        b - a,
                        self.height,
                        Theme::ink(Role::Guide)
                    );
                }
            }
            Mark::Vertical { x, role, dash } => {
                let x = self.chart.x.place(*x);
                self.straight(out, [x, 0.0], [x, 1.0], *role, *dash);
            }
            Mark::Horizontal { y, role, dash } => {
                let y = self.chart.y.place(*y);
                self.straight(out, [0.0, y], [1.0, y], *role, *dash);
            }
            Mark::Symbol { .. } | Mark::Label { .. } | Mark::Top { .. } | Mark::Flag { .. } => {}
        }
    }

    /// A line through points, cut at the edges, broken where a point is not finite.
    fn path(&self, out: &mut String, points: &[[f64; 2]], role: Role, dash: Dash, width: f64) {
        let mut d = String::new();
        let mut end: Option<[f64; 2]> = None;
        for w in points.windows(2) {
            let Some((a, b)) = clip(self.chart.at(w[0]), self.chart.at(w[1])) else {
                end = None;
                continue;
            };
            let goes_on =
                end.is_some_and(|e| (e[0] - a[0]).abs() < 1e-9 && (e[1] - a[1]).abs() < 1e-9);
            if !goes_on {
                let [x, y] = self.pixel(a);
                let _ = write!(d, "M{x:.1} {y:.1}");
            }
            let [x, y] = self.pixel(b);
            let _ = write!(d, "L{x:.1} {y:.1}");
            end = Some(b);
        }
        stroke(out, &d, role, dashes(dash), width, 1.0);
    }

    fn straight(&self, out: &mut String, a: [f64; 2], b: [f64; 2], role: Role, dash: Dash) {
        if let Some((a, b)) = clip(a, b) {
            let ([x, y], [u, v]) = (self.pixel(a), self.pixel(b));
            let d = format!("M{x:.1} {y:.1}L{u:.1} {v:.1}");
            stroke(out, &d, role, dashes(dash), 1.0, 0.8);
        }
    }

    fn band(&self, out: &mut String, points: &[[f64; 3]], role: Role) {
        for pair in points.windows(2) {
            let corners = [
                [pair[0][0], pair[0][1]],
                [pair[0][0], pair[0][2]],
                [pair[1][0], pair[1][2]],
                [pair[1][0], pair[1][1]],
            ];
            let places = corners.map(|c| self.chart.at(c));
            if !places.iter().flatten().all(|v| v.is_finite()) {
                continue;
            }
            let pixels = places.map(|p| self.pixel(p.map(|v| v.clamp(-0.2, 1.2))));
            let list: Vec<String> = pixels.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                out,
                "<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"0.16\"/>",
                list.join(" "),
                Theme::ink(role)
            );
        }
    }

    fn axes(&self, out: &mut String) {
        let (bottom, right) = (self.top + self.height, LEFT + self.width());
        let mut d = format!("M{LEFT} {:.1}V{bottom:.1}H{right:.1}", self.top);
        let (x, y) = (&self.chart.x, &self.chart.y);
        for tick in y.ticks(8) {
            let [_, at] = self.pixel([0.0, y.place(tick)]);
            let _ = write!(d, "M{LEFT} {at:.1}h-4");
            text(out, [LEFT - 8.0, at + 4.0], &(y.label)(tick), Role::Axis, "end");
        }
        for tick in x.ticks(9) {
            let [at, _] = self.pixel([x.place(tick), 0.0]);
            let _ = write!(d, "M{at:.1} {bottom:.1}v4");
            if self.name.is_some() {
                text(out, [at, bottom + 17.0], &(x.label)(tick), Role::Axis, "middle");
            }
        }
        if let Some(name) = self.name {
            text(out, [right, bottom + 34.0], name, Role::Axis, "end");
        }
        let _ = writeln!(
            out,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1\"/>",
            Theme::ink(Role::Axis)
        );
    }

    /// Words in the strip above the plot, and words beside their places where no other are.
    fn words(&self, out: &mut String, taken: &mut Vec<[f64; 4]>) {
        let strip = self.top - 5.0;
        let mut free = |x: f64, y: f64, w: f64| {
            let place = [x - 2.0, y - FONT + 2.0, x + w + 2.0, y + 2.0];
            let apart = |t: &[f64; 4]| {
                place[2] < t[0] || t[2] < place[0] || place[3] < t[1] || t[3] < place[1]
            };
            let fits = x >= LEFT - 2.0 && x + w <= WIDTH - 4.0 && taken.iter().all(apart);
            if fits {
                taken.push(place);
            }
            fits
        };
        for mark in &self.chart.marks {
            let (at, words, role) = match mark {
                Mark::Flag { x, text, role } => (self.chart.x.place(*x), text, role),
                Mark::Top { from, to, text, role } => {
                    let ends = [*from, *to].map(|x| self.chart.x.place(x).clamp(0.0, 1.0));
                    if (ends[1] - ends[0]) * self.width() < text.chars().count() as f64 * CHAR {
                        continue;
                    }
                    (ends[0] + 0.004, text, role)
                }
                _ => continue,
            };
            let [x, _] = self.pixel([at, 1.0]);
            if (0.0..=1.0).contains(&at) && free(x, strip, words.chars().count() as f64 * CHAR) {
                text(out, [x, strip], words, *role, "start");
            }
        }
        for mark in &self.chart.marks {
            let Mark::Label { at, text: words, role } = mark else { continue };
            let Some([x, y]) = self.inside(*at) else { continue };
            let w = words.chars().count() as f64 * CHAR;
            let places = [
                [x + 8.0, y + 4.0],
                [x - w - 8.0, y + 4.0],
                [x + 6.0, y - 9.0],
                [x + 6.0, y + 17.0],
                [x - w - 6.0, y - 9.0],
                [x - w - 6.0, y + 17.0],
            ];
            let inside = |p: &[f64; 2]| p[1] > self.top + FONT && p[1] < self.top + self.height;
            if let Some(p) = places.into_iter().filter(inside).find(|p| free(p[0], p[1], w)) {
                over(out, p, words, *role);
            }
        }
    }
}

fn dashes(dash: Dash) -> &'static str {
    match dash {
        Dash::Solid => "",
        Dash::Dotted => "2 3",
        Dash::Sparse => "1 5",
    }
}

fn stroke(out: &mut String, d: &str, role: Role, dash: &str, width: f64, opacity: f64) {
    if d.is_empty() {
        return;
    }
    let dash =
        if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
    let _ = writeln!(
        out,
        "<path d=\"{d}\" stroke=\"{}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\"{dash}/>",
        Theme::ink(role)
    );
}

fn point(out: &mut String, [x, y]: [f64; 2], symbol: char, role: Role) {
    let ink = Theme::ink(role);
    let path = match symbol {
        '●' => {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{ink}\"/>");
            return;
        }
        '▲' => format!("M{x:.1} {:.1}l5 9h-10z", y - 5.0),
        '▸' => format!("M{:.1} {y:.1}l-9 5v-10z", x + 5.0),
        '✕' => format!("M{:.1} {:.1}l10 10m0 -10l-10 10", x - 5.0, y - 5.0),
        other => return text(out, [x, y + 4.0], &other.to_string(), role, "middle"),
    };
    let fill = if symbol == '✕' { "none" } else { &ink };
    let _ =
        writeln!(out, "<path d=\"{path}\" fill=\"{fill}\" stroke=\"{ink}\" stroke-width=\"2\"/>");
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Scale};
    use super::*;

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
        let label = Mark::Label { at: [10.0, 10.0], text: name.into(), role: Role::Text };
        let xml = svg(&figure(vec![label], name));
        well_formed(&xml);
        assert!(!xml.contains("<script") && !xml.contains('\u{1b}') && !xml.contains('\u{0}'));
        assert!(xml.contains("a&lt;script&gt;alert(&quot;&amp;'&quot;)&lt;/script&gt;"));
    }

    #[test]
    fn words_are_seen_also_where_the_order_of_painting_is_not_known() {
        let label = Mark::Label { at: [10.0, 10.0], text: "here".into(), role: Role::Text };
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
}
