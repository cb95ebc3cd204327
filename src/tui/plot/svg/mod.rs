//! A figure as a vector picture (SVG 1.1) for people who are not in the terminal: the same marks in
//! the hues of the light theme. Text is escaped, and holds no character that XML forbids.

mod draw;
#[cfg(test)]
pub(crate) mod tests;
mod words;

use super::model::{Figure, Panel};
use crate::tui::theme::{Role, Theme};
use draw::Plot;
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
