//! One chart of a picture: its marks and axes.

use super::super::canvas::clip;
use super::super::model::{Chart, Dash, Mark};
use super::super::series::{extremes, thin};
use super::{LEFT, RIGHT, WIDTH, text};
use crate::tui::theme::{Role, Theme};
use std::fmt::Write;

/// Where a chart stands in the picture.
pub(super) struct Plot<'a> {
    pub chart: &'a Chart,
    pub top: f64,
    pub height: f64,
    pub name: Option<&'a str>,
}

impl Plot<'_> {
    pub(super) fn width(&self) -> f64 {
        WIDTH - LEFT - RIGHT
    }

    /// A place (0 to 1) in pixels.
    pub(super) fn pixel(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [LEFT + x * self.width(), self.top + (1.0 - y) * self.height]
    }

    pub(super) fn inside(&self, point: [f64; 2]) -> Option<[f64; 2]> {
        let at = self.chart.at(point);
        at.iter().all(|v| (-1e-9..=1.0 + 1e-9).contains(v)).then(|| self.pixel(at))
    }

    pub(super) fn draw(&self, out: &mut String, index: usize) {
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
        for mark in &self.chart.marks {
            if let Mark::Symbol { at, symbol, role } = mark
                && let Some(at) = self.inside(*at)
            {
                point(out, at, *symbol, *role);
            }
        }
        self.strip(out);
        self.labels(out);
    }

    fn mark(&self, out: &mut String, mark: &Mark) {
        match mark {
            Mark::Line { role, dash, layer, .. } => {
                let width = if *layer >= 3 { 1.8 } else { 1.0 };
                stroke(out, &self.path(mark), *role, *dash, width, 1.0);
            }
            Mark::Stairs { role, dash, layer, .. } => {
                let width = if *layer >= 4 { 2.4 } else { 1.8 };
                stroke(out, &self.path(mark), *role, *dash, width, 1.0);
            }
            Mark::Range { role, .. } => {
                stroke(out, &self.path(mark), *role, Dash::Solid, 1.0, 0.45);
            }
            Mark::Vertical { role, dash, .. } | Mark::Horizontal { role, dash, .. } => {
                stroke(out, &self.path(mark), *role, *dash, 1.0, 0.8);
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
            Mark::Symbol { .. } | Mark::Label { .. } | Mark::Top { .. } | Mark::Flag { .. } => {}
        }
    }

    /// The straight pieces that a mark is drawn of, cut at the edges, places from 0 to 1; broken
    /// where a point is not finite.
    pub(super) fn pieces(&self, mark: &Mark) -> Vec<[[f64; 2]; 2]> {
        let (x, y) = (&self.chart.x, &self.chart.y);
        let through = |points: &[[f64; 2]]| {
            let cut = |w: &[[f64; 2]]| clip(self.chart.at(w[0]), self.chart.at(w[1]));
            points.windows(2).filter_map(cut).map(|(a, b)| [a, b]).collect()
        };
        let straight = |a, b| clip(a, b).map(|(a, b)| [a, b]).into_iter().collect();
        match mark {
            Mark::Line { points, .. } => through(&thin(points, x, self.width() as usize)),
            Mark::Stairs { points, until, .. } => {
                let end = |i: usize| points.get(i + 1).map_or(*until, |n| n[0]);
                let corners = points.iter().enumerate().flat_map(|(i, p)| [*p, [end(i), p[1]]]);
                through(&corners.collect::<Vec<_>>())
            }
            Mark::Range { points, .. } => {
                let columns = (self.width() / 2.0) as usize;
                let place = |v: f64| y.place(v).clamp(0.0, 1.0);
                let upright = |(i, low, high): (usize, f64, f64)| {
                    let x = (i as f64 + 0.5) / columns as f64;
                    [[x, place(low)], [x, place(high)]]
                };
                extremes(points, x, columns).into_iter().map(upright).collect()
            }
            Mark::Vertical { x: at, .. } => straight([x.place(*at), 0.0], [x.place(*at), 1.0]),
            Mark::Horizontal { y: at, .. } => straight([0.0, y.place(*at)], [1.0, y.place(*at)]),
            _ => Vec::new(),
        }
    }

    /// The pieces of a mark as the data of a path: where one goes on, the path does.
    fn path(&self, mark: &Mark) -> String {
        let mut d = String::new();
        let mut end: Option<[f64; 2]> = None;
        for [a, b] in self.pieces(mark) {
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
        d
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
}

fn dashes(dash: Dash) -> &'static str {
    match dash {
        Dash::Solid => "",
        Dash::Dotted => " stroke-dasharray=\"2 3\"",
        Dash::Sparse => " stroke-dasharray=\"1 5\"",
    }
}

fn stroke(out: &mut String, d: &str, role: Role, dash: Dash, width: f64, opacity: f64) {
    if d.is_empty() {
        return;
    }
    let dash = dashes(dash);
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
