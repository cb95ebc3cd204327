//! A figure on the cells of a terminal, with labels that keep clear of the data.

use super::canvas::{Canvas, Dots, Ink};
use super::model::{Chart, Dash, Figure, Mark, Panel};
use super::series::{extremes, thin};
use crate::tui::text::{self, Pen};
use crate::tui::theme::{Role, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns for the labels of y.
pub(crate) const GUTTER: u16 = 7;

/// Rows that a panel needs at least, with its title.
const LEAST_ROWS: u16 = 6;

impl Figure {
    /// Draws the panels that there is room for.
    pub fn draw(&self, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let mut seen: Vec<&Panel> = self.panels.iter().collect();
        while seen.len() > 1 && area.height < LEAST_ROWS * seen.len() as u16 {
            let worst = (0..seen.len()).max_by_key(|i| seen[*i].rank).unwrap_or(0);
            seen.remove(worst);
        }
        let shares: u16 = seen.iter().map(|p| p.share.max(1)).sum();
        let (mut y, mut left) = (area.y, shares);
        for (i, panel) in seen.iter().enumerate() {
            let last = i + 1 == seen.len();
            let rows = area.bottom() - y;
            let height = if last { rows } else { rows * panel.share.max(1) / left };
            left -= panel.share.max(1);
            let place = Rect { y, height, ..area };
            y += height;
            if place.height == 0 {
                continue;
            }
            let indent = (GUTTER + 1).min(area.width);
            let row = Rect { x: area.x + indent, width: area.width - indent, height: 1, ..place };
            let title: Vec<(&str, Role)> =
                panel.title.iter().map(|(t, role)| (t.as_str(), *role)).collect();
            Pen::new(buf, theme, row).spans(&title);
            let rest = Rect { y: place.y + 1, height: place.height - 1, ..place };
            let name = last.then_some(self.x_name);
            Cells { chart: &panel.chart, theme, x_name: name, gutter: GUTTER }.draw(rest, buf);
        }
    }
}

/// One chart and how it is to stand on the terminal.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    pub chart: &'a Chart,
    pub theme: &'a Theme,
    /// Ticks of x are written below, and what they count; `None` where a chart below says it.
    pub x_name: Option<&'a str>,
    /// Columns kept for the labels of y, so that charts above each other line up.
    pub gutter: u16,
}

impl Cells<'_> {
    pub(super) fn draw(&self, area: Rect, buf: &mut Buffer) {
        let below = u16::from(self.x_name.is_some()) + 1;
        let strip = u16::from(self.chart.has_strip() && area.height > below + 4);
        if area.width < self.gutter + 8 || area.height < below + 3 {
            return;
        }
        let plot = Rect {
            x: area.x + self.gutter + 1,
            y: area.y + strip,
            width: area.width - self.gutter - 1,
            height: area.height - below - strip,
        };
        let dots = match (self.theme.ascii, self.theme.half_blocks) {
            (true, _) => Dots::Ascii,
            (_, true) => Dots::HalfBlocks,
            _ => Dots::Braille,
        };
        let mut canvas = Canvas::new(plot.width, plot.height, dots);
        for mark in &self.chart.marks {
            self.mark(&mut canvas, mark);
            self.shade(mark, plot, buf);
        }
        for y in 0..canvas.height {
            for x in 0..canvas.width {
                if let Some((c, role)) = canvas.glyph(x, y)
                    && let Some(cell) = buf.cell_mut((plot.x + x as u16, plot.y + y as u16))
                {
                    cell.set_char(c).set_style(self.theme.style(role));
                }
            }
        }
        self.frame(plot, buf);
        self.y_ticks(plot, buf);
        self.x_ticks(plot, buf);
        self.words(plot, &canvas, buf);
        if strip > 0 {
            self.strip(Rect { y: area.y, height: 1, ..plot }, buf);
        }
    }
}

impl Cells<'_> {
    fn at(&self, point: [f64; 2]) -> [f64; 2] {
        self.chart.at(point)
    }

    fn mark(&self, canvas: &mut Canvas, mark: &Mark) {
        match mark {
            Mark::Line { points, role, dash, layer } => {
                let ink = ink(*role, *dash, *layer, canvas);
                let seen = thin(points, &self.chart.x, canvas.size().0);
                for w in seen.windows(2) {
                    canvas.line(self.at(w[0]), self.at(w[1]), ink);
                }
                if let [only] = points[..] {
                    canvas.line(self.at(only), self.at(only), ink);
                }
            }
            Mark::Stairs { points, until, role, dash, layer } => {
                let ink = ink(*role, *dash, *layer, canvas);
                for (i, p) in points.iter().enumerate() {
                    let next = points.get(i + 1);
                    let end = next.map_or(*until, |n| n[0]);
                    canvas.line(self.at(*p), self.at([end, p[1]]), ink);
                    if let Some(n) = next {
                        canvas.line(self.at([n[0], p[1]]), self.at(*n), ink);
                    }
                }
            }
            Mark::Range { points, role } => {
                // Half of the dots: the range stays behind the line that runs through it.
                let ink = Ink {
                    on: 1,
                    period: if canvas.size().1 > canvas.height { 2 } else { 1 },
                    ..ink(*role, Dash::Solid, 1, canvas)
                };
                let columns = canvas.size().0;
                for (i, low, high) in extremes(points, &self.chart.x, columns) {
                    let x = i as f64 / (columns as f64 - 1.0).max(1.0);
                    let place = |y: f64| self.chart.y.place(y).clamp(0.0, 1.0);
                    canvas.line([x, place(low)], [x, place(high)], ink);
                }
            }
            Mark::Band { points, role } => self.band(canvas, points, *role),
            Mark::Vertical { x, role, dash } => {
                let x = self.chart.x.place(*x);
                canvas.line([x, 0.0], [x, 1.0], ink(*role, *dash, 0, canvas));
            }
            Mark::Horizontal { y, role, dash } => {
                let y = self.chart.y.place(*y);
                canvas.line([0.0, y], [1.0, y], ink(*role, *dash, 0, canvas));
            }
            Mark::Symbol { .. }
            | Mark::Label { .. }
            | Mark::Top { .. }
            | Mark::Flag { .. }
            | Mark::Shade { .. } => {}
        }
    }

    /// The ground of the columns that a shade covers.
    fn shade(&self, mark: &Mark, plot: Rect, buf: &mut Buffer) {
        let Mark::Shade { from, to } = mark else { return };
        let column = |x: f64| {
            let place = self.chart.x.place(x).clamp(0.0, 1.0);
            place.is_finite().then(|| (place * f64::from(plot.width)).round() as u16)
        };
        if let (Some(from), Some(to)) = (column(*from), column(*to))
            && from < to
        {
            let area = Rect { x: plot.x + from, width: to - from, ..plot };
            buf.set_style(area, self.theme.style(Role::Shade));
        }
    }

    /// Every second dot in a checked pattern between the two edges.
    fn band(&self, canvas: &mut Canvas, points: &[[f64; 3]], role: Role) {
        let (w, h) = canvas.size();
        if w < 2 || h < 2 {
            return;
        }
        let (wf, hf) = (w as f64 - 1.0, h as f64 - 1.0);
        let ink = Ink { role, layer: 0, ascii: ':', on: 1, period: 1 };
        for pair in points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let (xa, xb) = (self.chart.x.place(a[0]) * wf, self.chart.x.place(b[0]) * wf);
            let edges = [a[1], a[2], b[1], b[2]].map(|v| self.chart.y.place(v));
            if !xa.is_finite() || !xb.is_finite() || !edges.iter().all(|e| e.is_finite()) {
                continue;
            }
            for x in xa.max(0.0).ceil() as i64..=xb.min(wf).floor() as i64 {
                let t = if xb > xa { (x as f64 - xa) / (xb - xa) } else { 0.0 };
                let low = (edges[0] + (edges[2] - edges[0]) * t).clamp(0.0, 1.0);
                let high = (edges[1] + (edges[3] - edges[1]) * t).clamp(0.0, 1.0);
                for y in ((1.0 - high) * hf).round() as i64..=((1.0 - low) * hf).round() as i64 {
                    let checked = if self.theme.ascii { 2 } else { 4 };
                    if (x + 2 * y).rem_euclid(checked) == 0 {
                        canvas.set(x, y, ink);
                    }
                }
            }
        }
    }

    fn frame(&self, plot: Rect, buf: &mut Buffer) {
        let style = self.theme.style(Role::Axis);
        let max = 1;
        for y in plot.top()..plot.bottom() {
            text::put(buf, self.theme, (plot.x - 1, y), max, "│", style);
        }
        text::put(buf, self.theme, (plot.x - 1, plot.bottom()), max, "└", style);
        let line = "─".repeat(usize::from(plot.width));
        text::put(buf, self.theme, (plot.x, plot.bottom()), plot.width, &line, style);
    }

    fn y_ticks(&self, plot: Rect, buf: &mut Buffer) {
        let style = self.theme.style(Role::Axis);
        let rows = f64::from(plot.height.saturating_sub(1));
        let mut last: Option<u16> = None;
        for tick in self.chart.y.ticks(usize::from(plot.height / 2).clamp(2, 8)) {
            let y = plot.y + ((1.0 - self.chart.y.place(tick)) * rows).round() as u16;
            if y < plot.y || y >= plot.bottom() || last == Some(y) {
                continue;
            }
            last = Some(y);
            let label = (self.chart.y.label)(tick);
            let right = plot.x - 1;
            text::put_right(buf, self.theme, (right, y), self.gutter, &label, style);
            text::put(buf, self.theme, (right, y), 1, "┤", style);
        }
    }

    fn x_ticks(&self, plot: Rect, buf: &mut Buffer) {
        let style = self.theme.style(Role::Axis);
        let columns = f64::from(plot.width.saturating_sub(1));
        let mut free = plot.x;
        for tick in self.chart.x.ticks(usize::from(plot.width / 9).max(2)) {
            let x = plot.x + (self.chart.x.place(tick) * columns).round() as u16;
            if x >= plot.right() {
                continue;
            }
            text::put(buf, self.theme, (x, plot.bottom()), 1, "┴", style);
            if self.x_name.is_none() {
                continue;
            }
            let label = (self.chart.x.label)(tick);
            let w = text::width(self.theme, &label);
            // Centred below its tick, inside the box, clear of the one before.
            let from = x.saturating_sub(w / 2).max(plot.x).min(plot.right().saturating_sub(w));
            if from >= free && from + w <= plot.right() {
                text::put(buf, self.theme, (from, plot.bottom() + 1), w, &label, style);
                free = from + w + 2;
            }
        }
        if let Some(name) = self.x_name {
            let w = text::width(self.theme, name);
            if free + w <= plot.right() {
                let at = (plot.right(), plot.bottom() + 1);
                text::put_right(buf, self.theme, at, w, name, self.theme.style(Role::Dim));
            }
        }
    }
}

fn ink(role: Role, dash: Dash, layer: u8, canvas: &Canvas) -> Ink {
    let fine = canvas.size().0 > canvas.width;
    let (on, period) = match dash {
        Dash::Solid => (1, 1),
        Dash::Dotted => (1, if fine { 3 } else { 2 }),
        Dash::Sparse => (1, if fine { 6 } else { 4 }),
    };
    let ascii = match (dash, layer) {
        (Dash::Solid, 0..=1) => '.',
        (Dash::Solid, 2..=4) => '*',
        (Dash::Solid, _) => '#',
        _ => '.',
    };
    Ink { role, layer, ascii, on, period }
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Scale};
    use super::*;
    use crate::tui::text::buffer_to_text;
    use crate::units;

    fn chart(marks: Vec<Mark>) -> Chart {
        let axis = |low, high| Axis { low, high, scale: Scale::Linear, label: units::count };
        Chart { x: axis(0.0, 100.0), y: axis(0.0, 10.0), marks }
    }

    fn drawn(theme: &Theme, chart: &Chart, w: u16, h: u16) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, w, h));
        Cells { chart, theme, x_name: Some("tokens"), gutter: 4 }.draw(*buf.area(), &mut buf);
        buffer_to_text(&buf)
    }

    #[test]
    fn a_spike_of_one_step_is_seen() {
        let theme = Theme { ascii: true, ..Theme::plain() };
        let flat: Vec<[f64; 2]> = (0..1000).map(|i| [f64::from(i) * 0.1, 1.0]).collect();
        let line = Mark::Line { points: flat, role: Role::Curve, dash: Dash::Solid, layer: 3 };
        let mut steps: Vec<[f64; 3]> = (0..1000).map(|i| [f64::from(i) * 0.1, 1.0, 1.0]).collect();
        steps[500][2] = 10.0;
        let steps = Mark::Range { points: steps, role: Role::Dim };
        let text = drawn(&theme, &chart(vec![line, steps]), 30, 10);
        let top = text.lines().next().unwrap();
        assert!(top.contains('.'), "{text}");
    }

    #[test]
    fn a_label_never_covers_data_and_stays_inside() {
        let theme = Theme { ascii: true, ..Theme::plain() };
        let line = Mark::Line {
            points: vec![[0.0, 5.0], [100.0, 5.0]],
            role: Role::Curve,
            dash: Dash::Solid,
            layer: 3,
        };
        let label =
            |x: f64| Mark::Label { at: vec![[x, 5.0]], text: "B_opt".into(), role: Role::Text };
        let bare = drawn(&theme, &chart(vec![line.clone()]), 40, 10);
        let stars = |t: &str| t.chars().filter(|c| *c == '*').count();
        for x in [0.0, 50.0, 99.0, 100.0] {
            let text = drawn(&theme, &chart(vec![line.clone(), label(x)]), 40, 10);
            assert!(text.contains("B_opt"), "{text}");
            assert_eq!(stars(&text), stars(&bare), "{text}");
        }
    }

    #[test]
    fn words_above_the_plot_cover_no_data() {
        let theme = Theme { ascii: true, ..Theme::plain() };
        let line = Mark::Line {
            points: vec![[0.0, 10.0], [100.0, 10.0]],
            role: Role::Curve,
            dash: Dash::Solid,
            layer: 3,
        };
        let stars = |t: &str| t.chars().filter(|c| *c == '*').count();
        let bare = drawn(&theme, &chart(vec![line.clone()]), 40, 12);
        let top = Mark::Top { from: 0.0, to: 100.0, text: "stable".into(), role: Role::Dim };
        let flag = |x| Mark::Flag { x, text: "768".into(), role: Role::Text };
        let text = drawn(&theme, &chart(vec![top, flag(1.0), flag(2.0), line]), 40, 12);
        let strip = text.lines().next().unwrap();
        assert_eq!(strip.matches("768").count(), 1, "two at one place: {text}");
        assert!(strip.contains("stable"), "{text}");
        assert_eq!(stars(&text), stars(&bare), "{text}");
    }

    #[test]
    fn no_size_and_no_value_breaks_it() {
        let theme = Theme::plain();
        let odd = [f64::NAN, f64::INFINITY, -1e300, 1e300, 0.0, 50.0];
        let marks: Vec<Mark> = odd
            .iter()
            .flat_map(|v| {
                [
                    Mark::Line {
                        points: vec![[*v, 1.0], [50.0, *v]],
                        role: Role::Curve,
                        dash: Dash::Dotted,
                        layer: 3,
                    },
                    Mark::Band {
                        points: vec![[0.0, *v, 3.0], [100.0, 1.0, *v]],
                        role: Role::Guide,
                    },
                    Mark::Range { points: vec![[*v, *v, 3.0]], role: Role::Dim },
                    Mark::Shade { from: *v, to: 50.0 },
                    Mark::Flag { x: *v, text: "flag".into(), role: Role::Text },
                    Mark::Symbol { at: [*v, *v], symbol: '●', role: Role::Point },
                    Mark::Label { at: vec![[*v, *v]], text: "here".into(), role: Role::Text },
                    Mark::Top { from: *v, to: 100.0, text: "top".into(), role: Role::Text },
                    Mark::Vertical { x: *v, role: Role::Guide, dash: Dash::Dotted },
                ]
            })
            .collect();
        let chart = chart(marks);
        for w in 0..40 {
            for h in 0..15 {
                assert!(!drawn(&theme, &chart, w, h).contains("NaN"));
            }
        }
    }
}
