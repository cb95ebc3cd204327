//! Every screen as text, reviewed as diffs.

use super::app::{App, View};
use super::{Settings, draw_to_text, fixture, press, text, theme, views};
use crate::snapshot::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn at_all_sizes(name: &str, snapshot: &Snapshot, keys: &str) {
    for (w, h) in SIZES {
        let mut app = App::showing(View::Overview, Some("main-7b"));
        press(&mut app, keys, snapshot);
        let text = draw_to_text(snapshot, &app, w, h);
        for line in text.lines() {
            assert!(unicode_width::UnicodeWidthStr::width(line) <= usize::from(w));
        }
        insta::assert_snapshot!(format!("{name}_{w}x{h}"), text);
    }
}

#[test]
fn overview() {
    at_all_sizes("overview", &fixture::sweep(), "");
}

#[test]
fn run() {
    at_all_sizes("run", &fixture::sweep(), "2");
}

#[test]
fn curve() {
    at_all_sizes("curve", &fixture::sweep(), "3");
}

#[test]
fn schedule() {
    at_all_sizes("schedule", &fixture::proposed(), "4 j");
}

#[test]
fn control() {
    at_all_sizes("control", &fixture::sweep(), "5");
}

#[test]
fn problems() {
    at_all_sizes("problems", &fixture::sweep(), "6");
}

#[test]
fn approval() {
    at_all_sizes("approval", &fixture::proposed(), "4 a");
}

fn one(name: &str, snapshot: &Snapshot, keys: &str, (w, h): (u16, u16)) {
    let mut app = App::showing(View::Overview, Some("main-7b"));
    press(&mut app, keys, snapshot);
    insta::assert_snapshot!(name, draw_to_text(snapshot, &app, w, h));
}

#[test]
fn help() {
    one("help", &fixture::sweep(), "?", (80, 40));
}

#[test]
fn approval_with_a_guard_overridden() {
    one("approval_overridden", &fixture::proposed(), "4 a 1", (80, 40));
}

#[test]
fn b_opt_over_the_loss() {
    one("over_loss", &fixture::sweep(), "3 p", (120, 40));
}

#[test]
fn an_open_interval_in_words() {
    one("curve_open", &fixture::sweep(), "3 }", (80, 24));
}

#[test]
fn all_models() {
    one("curve_models", &fixture::sweep(), "3 m [ [", (120, 40));
}

#[test]
fn replay() {
    one("replay", &fixture::replay(), "2", (80, 24));
}

#[test]
fn read_only_offers_no_approval() {
    let s = Snapshot { read_only: true, ..fixture::proposed() };
    one("read_only", &s, "4", (80, 24));
}

#[test]
fn nothing_there_yet() {
    one("empty", &fixture::empty(), "", (80, 24));
}

#[test]
fn filtered() {
    one("filtered", &fixture::sweep(), "/ b 1", (80, 24));
}

#[test]
fn too_small_says_so() {
    let text = draw_to_text(&fixture::sweep(), &App::default(), 39, 11);
    assert!(text.contains("too small"), "{text}");
    let text = draw_to_text(&fixture::sweep(), &App::default(), 40, 12);
    assert!(text.contains("RUN"), "{text}");
}

fn buffer(settings: &Settings, snapshot: &Snapshot, keys: &str) -> Buffer {
    let mut app = App::showing(View::Overview, Some("main-7b"));
    press(&mut app, keys, snapshot);
    let theme = theme::Theme::new(settings);
    let mut buf = Buffer::empty(Rect::new(0, 0, 120, 40));
    views::draw(theme::Scene { snapshot, app: &app, theme: &theme }, *buf.area(), &mut buf);
    buf
}

const VIEWS: [&str; 9] = ["1", "2", "3", "3 p", "4 j", "5", "6", "?", "4 a 1"];

#[test]
fn no_color_sets_no_colour_in_any_view() {
    let settings = Settings { no_color: true, ..Settings::default() };
    for keys in VIEWS {
        for cell in buffer(&settings, &fixture::proposed(), keys).content() {
            let reset = ratatui::style::Color::Reset;
            assert!(cell.fg == reset && cell.bg == reset, "{keys}: {cell:?}");
        }
    }
}

#[test]
fn ascii_draws_nothing_else_in_any_view() {
    let settings = Settings { ascii: true, ..Settings::default() };
    let mut s = fixture::proposed();
    std::sync::Arc::make_mut(&mut s.runs[3]).id = "größe-\u{202e}日本".into();
    for keys in VIEWS {
        let text = text::buffer_to_text(&buffer(&settings, &s, keys));
        assert!(text.is_ascii(), "{keys}:\n{text}");
    }
    insta::assert_snapshot!("ascii_curve", text::buffer_to_text(&buffer(&settings, &s, "3")));
}

#[test]
fn colours_come_with_the_depth() {
    use super::{ColorDepth, ThemeName};
    for (depth, theme) in [
        (ColorDepth::Ansi16, ThemeName::Dark),
        (ColorDepth::Ansi256, ThemeName::Light),
        (ColorDepth::Rgb, ThemeName::HighContrast),
    ] {
        let settings = Settings { depth, theme, ..Settings::default() };
        let buf = buffer(&settings, &fixture::proposed(), "1");
        let coloured = buf.content().iter().filter(|c| c.fg != ratatui::style::Color::Reset);
        assert!(coloured.count() > 20, "{depth:?}");
    }
}
