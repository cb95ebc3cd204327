//! All runs in one table, and what there is to say of the selected one.

use super::{above, detail};
use crate::snapshot::*;
use crate::tui::app::{App, SortKey};
use crate::tui::keymap::Action;
use crate::tui::theme::{Role, Scene};
use crate::tui::widgets::sparkline::sparkline;
use crate::tui::widgets::table::{self, Column};
use crate::tui::{rows, text, words};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Overview<'a>(pub Scene<'a>);

const fn column(title: &'static str, width: u16, most: u16, right: bool, rank: u8) -> Column {
    Column { title, width, most, right, rank }
}

#[rustfmt::skip]
const COLUMNS: [Column; 14] = [
    column("RUN", 13, 28, false, 0),
    column("STATE", 9, 9, false, 8),
    column("PHASE", 6, 6, false, 7),
    column("STEP", 6, 6, true, 11),
    column("TOKENS", 6, 6, true, 3),
    column("LOSS", 6, 6, true, 1),
    column("TREND", 10, 16, false, 10),
    column("B NOW", 5, 6, true, 0),
    column("B_OPT", 7, 7, true, 0),
    column("90 %", 11, 13, false, 2),
    column("LOST", 6, 6, true, 0),
    // Room for `raise to 1.02K`: what a person acts on is never cut.
    column("VERDICT", 16, 90, false, 0),
    column("CONTROL", 10, 14, false, 9),
    column("WRITE", 5, 5, true, 6),
];

const SORT_COLUMN: [(SortKey, usize); 8] = [
    (SortKey::Run, 0),
    (SortKey::Tokens, 4),
    (SortKey::Loss, 5),
    (SortKey::Batch, 7),
    (SortKey::BOpt, 8),
    (SortKey::Lost, 10),
    (SortKey::Verdict, 11),
    (SortKey::LastWrite, 13),
];

/// The table and the strip below it.
fn areas(area: Rect, runs: usize) -> (Rect, Rect) {
    let wanted = runs as u16 + 2;
    // The strip has what the table leaves, and at least a third.
    let least = (area.height * 2 / 5).clamp(6, 24);
    if area.height < 14 {
        return (area, Rect { height: 0, ..area });
    }
    above(area, wanted.min(area.height - least))
}

/// Ids as wide as they are, within reason; the rest of the width is the verdict's.
fn places(table: Rect, shown: &[&RunView]) -> Vec<(usize, u16, u16)> {
    let longest = shown.iter().map(|r| r.id.chars().count() + if r.excluded { 11 } else { 0 });
    let width = longest.max().unwrap_or(0).clamp(8, 28) as u16;
    let mut columns = COLUMNS;
    columns[0].width = width.min(if table.width < 100 { 13 } else { 28 });
    columns[0].most = width;
    table::layout(&columns, table.x + 3, table.width.saturating_sub(4))
}

/// What stands in one line of the list.
#[derive(Debug)]
enum Line {
    Heading(String),
    /// A run, by its place among those shown.
    Run(usize),
}

/// The list from top to bottom: the runs, with a heading for each group where that is wanted.
fn lines(app: &App, shown: &[&RunView]) -> Vec<Line> {
    let mut out = Vec::with_capacity(shown.len());
    let mut before = None;
    for (i, run) in shown.iter().enumerate() {
        let pinned = app.overview.pinned.contains(&run.id);
        let part = (!pinned).then_some(run.group.as_deref());
        if app.overview.grouped && before.replace(part) != Some(part) {
            out.push(Line::Heading(match part {
                None => "pinned".into(),
                Some(Some(group)) => format!("group {group}"),
                Some(None) => "in no group".into(),
            }));
        }
        out.push(Line::Run(i));
    }
    out
}

/// The lines that are seen, the selected run's among them.
fn seen(lines: &[Line], selected: usize, list: Rect) -> std::ops::Range<usize> {
    let at = lines.iter().position(|l| matches!(l, Line::Run(i) if *i == selected));
    table::window(lines.len(), at.unwrap_or(0), list.height.saturating_sub(2))
}

impl Widget for Overview<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Scene { snapshot, app, theme } = self.0;
        let shown = rows::rows(&app.overview, snapshot);
        let lines = lines(app, &shown);
        let (list, strip) = areas(area, lines.len());
        let places = places(list, &shown);
        let marked = SORT_COLUMN
            .iter()
            .find(|s| s.0 == app.overview.sort)
            .map(|s| (s.1, app.overview.reversed));
        table::header(buf, theme, &COLUMNS, &places, list.y, marked);
        let selected = rows::selected_row(app, &shown);
        let seen = seen(&lines, selected, list);
        for (y, line) in (list.y + 1..).zip(&lines[seen.clone()]) {
            match line {
                Line::Heading(words) => {
                    let row = Rect { x: list.x + 1, y, width: list.width - 1, height: 1 };
                    text::rule(buf, theme, row, words);
                }
                Line::Run(i) => self.row(shown[*i], &places, y, *i == selected, list, buf),
            }
        }
        let seen = lines[seen].iter().filter_map(|l| match l {
            Line::Run(i) => Some(*i),
            Line::Heading(_) => None,
        });
        self.counts(&shown, seen.collect(), list, buf);
        if let Some(run) = shown.get(selected).filter(|_| strip.height > 0) {
            detail::Detail(self.0, run).render(strip, buf);
        }
    }
}

impl Overview<'_> {
    fn row(
        &self,
        run: &RunView,
        places: &[(usize, u16, u16)],
        y: u16,
        selected: bool,
        list: Rect,
        buf: &mut Buffer,
    ) {
        let Scene { snapshot, app, theme } = self.0;
        let (mark, state, state_role) = words::state(run.state);
        let text_role = if run.excluded { Role::Dim } else { Role::Text };
        let style = |role: Role| theme.style(role);
        if selected {
            table::select(buf, theme, Rect { y, height: 1, ..list });
            text::put(buf, theme, (list.x, y), 1, "▸", style(Role::Strong));
        }
        text::put(buf, theme, (list.x + 1, y), 1, mark, style(state_role));
        if app.overview.pinned.contains(&run.id) {
            text::put(buf, theme, (list.x + 2, y), 1, "◆", style(Role::Dim));
        }
        let iv = run.b_opt.as_ref();
        let unfitted = format!("{} (left out)", run.id);
        let id = if run.excluded { &unfitted } else { &run.id };
        let id_width = places.iter().find(|p| p.0 == 0).map_or(0, |p| p.2);
        let (_, verdict_role) = words::verdict(run.verdict.kind);
        let verdict_width = places.iter().find(|p| p.0 == 11).map_or(0, |p| p.2);
        let trend_width = places.iter().find(|p| p.0 == 6).map_or(0, |p| p.2);
        let control = run.control.state.map(words::control);
        let lost = run.excess_tokens;
        let cells: [(String, Style); 14] = [
            (text::fit_middle(theme, id, id_width).into_owned(), style(text_role)),
            (state.into(), style(Role::Dim)),
            (words::phase(run.phase).into(), style(Role::Dim)),
            (words::count(run.step), style(text_role)),
            (words::count(run.tokens), style(text_role)),
            (words::loss(run.loss), style(text_role)),
            (sparkline(&run.plots.recent, trend_width), style(Role::Dim)),
            (words::count(run.batch_size), style(Role::BatchNow)),
            (iv.map_or("-".into(), words::value), style(Role::BatchOpt)),
            (iv.map_or_else(String::new, words::bounds), style(Role::Dim)),
            (words::lost(run), style(lost_role(lost))),
            (words::verdict_within(run, verdict_width), style(verdict_role)),
            control.map_or((String::new(), Style::default()), |(w, r)| {
                let number = run.control.revision.map_or(String::new(), |n| format!(" {n}"));
                (format!("{w}{number}"), style(r))
            }),
            (words::age(snapshot.at, run.last_write), style(Role::Dim)),
        ];
        table::row(buf, theme, &COLUMNS, places, y, &cells);
    }

    /// How much of the list is seen, on the line between table and strip.
    fn counts(&self, shown: &[&RunView], seen: Vec<usize>, list: Rect, buf: &mut Buffer) {
        let Scene { snapshot, app, theme } = self.0;
        let mut parts = Vec::new();
        if let (Some(first), Some(last)) = (seen.first(), seen.last())
            && seen.len() < shown.len()
        {
            parts.push(format!("{}–{} of {}", first + 1, last + 1, shown.len()));
        }
        if !app.overview.filter.is_empty() {
            let all = snapshot.runs.len();
            parts.push(format!("filter \"{}\": {} of {all}", app.overview.filter, shown.len()));
        }
        if shown.is_empty() {
            parts.push("no run matches; Esc clears the filter".into());
        }
        if !parts.is_empty() {
            let at = (list.x + 3, list.bottom() - 1);
            let room = list.width.saturating_sub(4);
            text::put(buf, theme, at, room, &parts.join(" · "), theme.style(Role::Dim));
        }
    }
}

fn lost_role(lost: Option<f64>) -> Role {
    match lost {
        Some(x) if x > 0.10 => Role::Bad,
        Some(x) if x > 0.02 => Role::Warn,
        Some(_) => Role::Good,
        None => Role::Dim,
    }
}

/// What a click means.
pub(crate) fn hit(area: Rect, at: Position, app: &App, snapshot: &Snapshot) -> Option<Action> {
    let shown = rows::rows(&app.overview, snapshot);
    let lines = lines(app, &shown);
    let (list, _) = areas(area, lines.len());
    if at.y == list.y {
        let column =
            places(list, &shown).into_iter().find(|(_, x, w)| (*x..x + w).contains(&at.x))?.0;
        let (key, _) = SORT_COLUMN.iter().find(|s| s.1 == column)?;
        return Some(Action::SortBy(*key));
    }
    let selected = rows::selected_row(app, &shown);
    let row = usize::from(at.y.checked_sub(list.y + 1)?);
    match lines[seen(&lines, selected, list)].get(row)? {
        Line::Heading(_) => None,
        // A click on what is selected already opens it.
        Line::Run(i) if *i == selected => Some(Action::Open),
        Line::Run(i) => Some(Action::SelectRow(*i)),
    }
}
