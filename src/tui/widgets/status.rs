//! The frame around every view: tabs above, what is said and the keys below, the scrub bar of a
//! replay.

use crate::snapshot::{ReplayView, Snapshot};
use crate::tui::app::{Popup, View};
use crate::tui::keymap::{self, Context, KEYS};
use crate::tui::theme::{Role, Scene, Theme};
use crate::tui::{text, words};
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Where each tab stands in the header.
pub(crate) fn tabs(row: Rect) -> Vec<(View, Rect)> {
    let brief = row.width < 76;
    let mut x = row.x + 1 + if brief { 0 } else { 8 };
    View::ALL
        .into_iter()
        .enumerate()
        .map(|(i, view)| {
            let w = format!(" {} {} ", i + 1, view.title()).len() as u16;
            // On a narrow terminal the digits alone.
            let w = if brief { 3 } else { w };
            let place = Rect { x, width: w, ..row };
            x += w;
            (view, place)
        })
        .collect()
}

pub(crate) fn header(scene: Scene<'_>, row: Rect, buf: &mut Buffer) {
    let Scene { snapshot, app, theme } = scene;
    let places = tabs(row);
    let brief = row.width < 76;
    if !brief {
        text::put(buf, theme, (row.x + 1, row.y), 7, "boptop", theme.style(Role::Strong));
    }
    let mut end = row.x;
    for (i, (view, place)) in places.iter().enumerate() {
        let active = *view == app.view;
        let words = match (brief, active) {
            (false, _) => format!(" {} {} ", i + 1, view.title()),
            (true, _) => format!(" {} ", i + 1),
        };
        let role = if active { Role::TabActive } else { Role::Dim };
        let at = (place.x, place.y);
        end = text::put(buf, theme, at, place.width, &words, theme.style(role));
    }
    if brief {
        let at = (end + 1, row.y);
        end = text::put(buf, theme, at, 12, app.view.title(), theme.style(Role::Strong));
    }
    let facts = facts(snapshot, theme);
    let room = row.right().saturating_sub(end + 2);
    // The whole of it, or what is most worth saying.
    for words in [facts.join(" · "), facts.first().cloned().unwrap_or_default()] {
        if text::width(theme, &words) <= room {
            let role = if snapshot.read_only { Role::Warn } else { Role::Dim };
            text::put_right(buf, theme, (row.right() - 1, row.y), room, &words, theme.style(role));
            return;
        }
    }
}

fn facts(snapshot: &Snapshot, theme: &Theme) -> Vec<String> {
    let mut out = Vec::new();
    if snapshot.read_only {
        out.push("read only".into());
    }
    out.push(match (snapshot.fit.made_at, snapshot.fit.running) {
        (Some(at), _) => match snapshot.fit.intervals_at.filter(|then| *then < at) {
            // The point estimate is new, the intervals around it are not yet.
            Some(then) => {
                format!("fit {}, intervals {}", words::clock(theme, at), words::clock(theme, then))
            }
            None => format!("fit {}", words::clock(theme, at)),
        },
        (None, true) => "fitting".into(),
        (None, false) => "no fit yet".into(),
    });
    let n = snapshot.runs.len();
    out.push(format!("{n} run{}", if n == 1 { "" } else { "s" }));
    out
}

/// What is said, if anything: the answer to the last key, else the monitor's first message.
pub(crate) fn said(scene: Scene<'_>) -> Option<String> {
    scene.app.said.clone().or_else(|| scene.snapshot.messages.first().cloned())
}

/// The keys of the present context.
pub(crate) fn footer(scene: Scene<'_>, row: Rect, buf: &mut Buffer) {
    let Scene { snapshot, app, theme } = scene;
    match &app.seek {
        _ if app.overview.typing => {
            let hint = "Enter keep  Esc clear";
            return prompt(theme, row, "filter: ", &app.overview.filter, hint, buf);
        }
        Some(place) if snapshot.replay.is_some() => {
            let hint = "16M tokens, 40%, 90m  Enter go";
            return prompt(theme, row, "seek to: ", place, hint, buf);
        }
        _ => {}
    }
    let contexts = keymap::contexts(app, snapshot);
    let always = if app.popup.is_some() { 0 } else { 16 };
    let mut x = row.x + 1;
    let last = row.right().saturating_sub(always);
    // What an earlier context takes means nothing here.
    let mut taken: Vec<keymap::Key> = Vec::new();
    for context in contexts.iter().filter(|c| **c != Context::Everywhere) {
        for b in KEYS.iter().filter(|b| b.context == *context && !b.short.is_empty()) {
            let offered = !(snapshot.read_only && *context == Context::Schedule);
            let Some(first) = b.keys.first().filter(|k| !taken.contains(k)) else { continue };
            let key = first.name();
            let w = text::width(theme, &key) + text::width(theme, b.short) + 3;
            if !offered || x + w > last {
                continue;
            }
            x = text::put(buf, theme, (x, row.y), w, &key, theme.style(Role::Key)) + 1;
            x = text::put(buf, theme, (x, row.y), w, b.short, theme.style(Role::Dim)) + 2;
        }
        let here = KEYS.iter().filter(|b| b.context == *context);
        taken.extend(here.flat_map(|b| b.keys));
    }
    if !matches!(app.popup, Some(Popup::Help { .. } | Popup::Approval(_))) && row.width > always {
        let mut x = last;
        for (key, short) in [("?", "help"), ("q", "quit")] {
            x = text::put(buf, theme, (x, row.y), 2, key, theme.style(Role::Key)) + 1;
            x = text::put(buf, theme, (x, row.y), 5, short, theme.style(Role::Dim)) + 2;
        }
    }
}

/// What is being typed, and what ends it.
fn prompt(theme: &Theme, row: Rect, name: &str, typed: &str, hint: &str, buf: &mut Buffer) {
    let style = theme.style(Role::Strong);
    let x = text::put(buf, theme, (row.x + 1, row.y), 10, name, theme.style(Role::Dim));
    let room = row.right().saturating_sub(x + 1);
    let x = text::put(buf, theme, (x, row.y), room, typed, style);
    text::put(buf, theme, (x, row.y), 1, "▏", style);
    let w = text::width(theme, hint);
    if row.right() > x + w + 3 {
        let at = (row.right() - 1, row.y);
        text::put_right(buf, theme, at, w, hint, theme.style(Role::Dim));
    }
}

/// `replay playing 60x `, and how far it has come: `212B of 300B tokens`.
fn scrub_words(theme: &Theme, replay: &ReplayView) -> (String, String) {
    let state = match (replay.hunting, replay.playing) {
        (true, _) => "to the next change",
        (_, true) => "playing",
        _ => "paused",
    };
    let speed = if replay.speed.is_finite() {
        format!("{:.4}", replay.speed).trim_end_matches('0').trim_end_matches('.').to_string() + "x"
    } else {
        "max".into()
    };
    let at = replay.from + (replay.to - replay.from) * replay.position.clamp(0.0, 1.0);
    let place = if replay.by_tokens {
        format!("{} of {} tokens", units::count(at), units::count(replay.to))
    } else {
        words::day_and_clock(theme, at)
    };
    (format!("replay {state} {speed} "), place)
}

/// Where the bar itself lies; `None` where there is no room for one.
pub(crate) fn scrub_bar(theme: &Theme, replay: &ReplayView, row: Rect) -> Option<Rect> {
    let (left, place) = scrub_words(theme, replay);
    let x = row.x + 1 + text::width(theme, &left);
    let right = row.right().saturating_sub(text::width(theme, &place) + 1);
    (right > x + 8).then(|| Rect { x, width: right - x - 1, ..row })
}

/// `replay playing 60x ━━┿━━●──── 212B of 300B tokens`: marked are the decisions and bumps so far.
pub(crate) fn scrub(theme: &Theme, replay: &ReplayView, row: Rect, buf: &mut Buffer) {
    let (left, place) = scrub_words(theme, replay);
    let role = if replay.playing || replay.hunting { Role::Good } else { Role::Warn };
    text::put(buf, theme, (row.x + 1, row.y), row.width, &left, theme.style(role));
    let Some(bar) = scrub_bar(theme, replay, row) else { return };
    text::put(buf, theme, (bar.right() + 1, row.y), 40, &place, theme.style(Role::Text));
    let column =
        |position: f64| (f64::from(bar.width - 1) * position.clamp(0.0, 1.0)).round() as u16;
    let done = column(replay.position);
    let line = "━".repeat(usize::from(done));
    text::put(buf, theme, (bar.x, row.y), done, &line, theme.style(role));
    let rest = "─".repeat(usize::from(bar.width - 1 - done));
    let at = (bar.x + done + 1, row.y);
    text::put(buf, theme, at, bar.width - 1 - done, &rest, theme.style(Role::Dim));
    for position in &replay.changes {
        let at = (bar.x + column(*position), row.y);
        text::put(buf, theme, at, 1, "┿", theme.style(Role::Strong));
    }
    text::put(buf, theme, (bar.x + done, row.y), 1, "●", theme.style(Role::Strong));
}
