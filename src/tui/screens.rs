//! Every screen as text, reviewed as diffs.

use super::app::{App, View};
use super::{Settings, draw_to_text, fixture, press, text, theme, views};
use crate::snapshot::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Its name, what it shows, the keys that lead there.
type Screen = (&'static str, fn() -> Snapshot, &'static str);

const SCREENS: [Screen; 14] = [
    ("overview", fixture::sweep, ""),
    ("run", fixture::sweep, "2"),
    ("run_zoomed", fixture::sweep, "2 z z c b b S"),
    ("curve", fixture::sweep, "3"),
    ("residuals", fixture::sweep, "3 p"),
    ("over_loss", fixture::sweep, "3 p p"),
    ("over_tokens", fixture::sweep, "3 p p p"),
    ("schedule", fixture::proposed, "4"),
    ("control", fixture::sweep, "5"),
    ("problems", fixture::sweep, "6"),
    ("approval", fixture::proposed, "4 a"),
    ("help", fixture::sweep, "?"),
    ("replay", fixture::replay, "2"),
    ("empty", fixture::empty, ""),
];

fn drawn(settings: &Settings, snapshot: &Snapshot, keys: &str, (w, h): (u16, u16)) -> Buffer {
    let mut app = App::showing(View::Overview, Some("main-7b"));
    app.size = (w, h);
    press(&mut app, keys, snapshot);
    let theme = theme::Theme { zone: jiff::tz::TimeZone::UTC, ..theme::Theme::new(settings) };
    let mut buf = Buffer::empty(Rect::new(0, 0, w, h));
    views::draw(theme::Scene { snapshot, app: &app, theme: &theme }, *buf.area(), &mut buf);
    buf
}

/// The styles of a buffer: a letter for each cell, and what the letters mean.
fn styles(buf: &Buffer) -> String {
    let mut seen: Vec<String> = Vec::new();
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut line = String::new();
        for x in 0..buf.area.width {
            let cell = &buf[(x, y)];
            let style = format!("{:?} on {:?} {:?}", cell.fg, cell.bg, cell.modifier);
            let plain = style == "Reset on Reset NONE";
            let at = seen.iter().position(|s| *s == style).unwrap_or_else(|| {
                if !plain {
                    seen.push(style);
                }
                seen.len() - usize::from(!plain)
            });
            line.push(if plain { ' ' } else { char::from(b'a' + at as u8) });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    for (i, style) in seen.iter().enumerate() {
        out.push_str(&format!("{}: {style}\n", char::from(b'a' + i as u8)));
    }
    out
}

#[test]
fn every_screen_in_words() {
    for (name, snapshot, keys) in SCREENS {
        let snapshot = snapshot();
        for (w, h) in SIZES {
            let mut app = App::showing(View::Overview, Some("main-7b"));
            app.size = (w, h);
            press(&mut app, keys, &snapshot);
            let text = draw_to_text(&snapshot, &app, w, h);
            for line in text.lines() {
                assert!(unicode_width::UnicodeWidthStr::width(line) <= usize::from(w));
            }
            insta::assert_snapshot!(format!("{name}_{w}x{h}"), text);
        }
    }
}

#[test]
fn every_screen_in_colour() {
    let settings = Settings { depth: super::ColorDepth::Ansi256, ..Settings::default() };
    for (name, snapshot, keys) in SCREENS {
        for (w, h) in SIZES {
            let buf = drawn(&settings, &snapshot(), keys, (w, h));
            insta::assert_snapshot!(format!("{name}_{w}x{h}_colour"), styles(&buf));
        }
    }
}

#[test]
fn every_screen_in_ascii() {
    let settings = Settings { ascii: true, no_color: true, ..Settings::default() };
    for (name, snapshot, keys) in SCREENS {
        for (w, h) in SIZES {
            let text = text::buffer_to_text(&drawn(&settings, &snapshot(), keys, (w, h)));
            assert!(text.is_ascii(), "{name}:\n{text}");
            insta::assert_snapshot!(format!("{name}_{w}x{h}_ascii"), text);
        }
    }
}

#[test]
fn without_colour_a_screen_says_the_same() {
    let colour = Settings::default();
    let plain = Settings { no_color: true, ..Settings::default() };
    for (name, snapshot, keys) in SCREENS {
        for size in SIZES {
            let s = snapshot();
            let [a, b] = [&colour, &plain].map(|x| drawn(x, &s, keys, size));
            assert_eq!(text::buffer_to_text(&a), text::buffer_to_text(&b), "{name}");
            let reset = ratatui::style::Color::Reset;
            assert!(b.content().iter().all(|c| c.fg == reset && c.bg == reset), "{name}");
        }
    }
}

/// Of every plot at every size, as wide as its screen and as narrow as beside a panel.
#[test]
fn no_label_stands_on_a_line_or_on_another_label() {
    let ascii = Settings { ascii: true, no_color: true, ..Settings::default() };
    let half = Settings { half_blocks: true, ..Settings::default() };
    for settings in [Settings::default(), ascii, half] {
        let theme = theme::Theme::new(&settings);
        let mut seen = 0;
        for (_, snapshot, keys) in SCREENS {
            let snapshot = snapshot();
            let mut app = App::showing(View::Overview, Some("main-7b"));
            press(&mut app, keys, &snapshot);
            let Some(figure) = views::figure(&app, &snapshot) else { continue };
            for (w, h) in SIZES {
                for w in [w, w * 3 / 5, w / 3] {
                    seen += super::plot::count_clear(&figure, &theme, Rect::new(0, 0, w, h));
                }
            }
        }
        assert!(seen > 250, "{seen}");
    }
}

#[test]
fn no_label_of_a_picture_stands_on_a_line_or_on_another_label() {
    let mut seen = 0;
    for (_, snapshot, keys) in SCREENS {
        let snapshot = snapshot();
        let mut app = App::showing(View::Overview, Some("main-7b"));
        press(&mut app, keys, &snapshot);
        if let Some(figure) = views::figure(&app, &snapshot) {
            seen += super::plot::count_clear_svg(&super::plot::svg(&figure));
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn half_blocks_stand_in_for_braille() {
    let settings = Settings { half_blocks: true, no_color: true, ..Settings::default() };
    let text = text::buffer_to_text(&drawn(&settings, &fixture::sweep(), "2", (120, 40)));
    assert!(!text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{text}");
    insta::assert_snapshot!("run_half_blocks", text);
}

fn one(name: &str, snapshot: &Snapshot, keys: &str, (w, h): (u16, u16)) {
    let mut app = App::showing(View::Overview, Some("main-7b"));
    press(&mut app, keys, snapshot);
    insta::assert_snapshot!(name, draw_to_text(snapshot, &app, w, h));
}

#[test]
fn approval_with_a_guard_overridden() {
    one("approval_overridden", &fixture::proposed(), "4 a 1", (80, 40));
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
fn read_only_offers_no_approval() {
    let s = Snapshot { read_only: true, ..fixture::proposed() };
    one("read_only", &s, "4", (80, 24));
}

#[test]
fn of_an_ended_run_nothing_is_still_to_come_and_a_refusal_stands_where_it_was_asked_for() {
    let mut s = fixture::sweep();
    let run = std::sync::Arc::make_mut(&mut s.runs[0]);
    run.state = crate::snapshot::RunState::Ended;
    let why = "the run has ended, as its trainer said: nobody would obey a change; start it again";
    run.control.said = Some(why.into());
    let schedule = text::buffer_to_text(&drawn(&Settings::default(), &s, "4", (80, 24)));
    let said = schedule.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(why) && said.contains("✗ the run has ended"), "{schedule}");
    assert!(!schedule.contains("none speaks against it"), "{schedule}");
    let detail = text::buffer_to_text(&drawn(&Settings::default(), &s, "2", (120, 40)));
    assert!(!detail.contains(", in "), "{detail}");
}

#[test]
fn filtered() {
    one("filtered", &fixture::sweep(), "/ b 1", (80, 24));
}

#[test]
fn what_was_proposed_elsewhere_stands_on_the_schedule_screen() {
    let mut s = fixture::sweep();
    let offer = "proposed by ann@login1 at 2026-11-29T01:31:08Z, not decided: 2M tokens a step";
    for run in &mut s.runs {
        std::sync::Arc::make_mut(run).control.offers = vec!["an older one".into(), offer.into()];
    }
    let app = App::showing(crate::tui::View::Schedule, None);
    let text = draw_to_text(&s, &app, 100, 30);
    assert!(text.contains(offer) && text.contains("p proposes the plan"), "{text}");
}

#[test]
fn too_small_says_so() {
    let text = draw_to_text(&fixture::sweep(), &App::default(), 39, 11);
    assert!(text.contains("too small"), "{text}");
    let text = draw_to_text(&fixture::sweep(), &App::default(), 40, 12);
    assert!(text.contains("RUN"), "{text}");
}

#[test]
fn ascii_draws_nothing_else_of_a_foreign_name() {
    let settings = Settings { ascii: true, ..Settings::default() };
    let mut s = fixture::proposed();
    std::sync::Arc::make_mut(&mut s.runs[3]).id = "größe-\u{202e}日本".into();
    for (name, _, keys) in SCREENS {
        let text = text::buffer_to_text(&drawn(&settings, &s, keys, (120, 40)));
        assert!(text.is_ascii(), "{name}:\n{text}");
    }
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
        let buf = drawn(&settings, &fixture::proposed(), "1", (120, 40));
        let coloured = buf.content().iter().filter(|c| c.fg != ratatui::style::Color::Reset);
        assert!(coloured.count() > 20, "{depth:?}");
    }
}
