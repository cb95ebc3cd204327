//! Actions to view state and commands: pure.

use super::app::{App, PlotKind, Popup, SortKey, View};
use super::keymap::Action;
use super::{approve, plots, rows, words};
use crate::command::{Command, ReplayCommand};
use crate::snapshot::{Entry, RunView, Snapshot, megatron};

/// Does what an action asks: changes what is looked at, or returns what the monitor is to do.
pub(crate) fn update(app: &mut App, action: Action, snapshot: &Snapshot) -> Option<Command> {
    app.said = None;
    // Keys, the mouse and what is pasted alike.
    if app.is_blind() && !matches!(action, Action::Quit | Action::Suspend) {
        return None;
    }
    match action {
        Action::Quit => app.quit = true,
        Action::Suspend => app.suspend = true,
        Action::Redraw => app.redraw = true,
        Action::Copy => copy(app, snapshot),
        Action::CopyMegatron => copy_megatron(app, snapshot),
        Action::Help => app.popup = Some(Popup::Help { scroll: 0 }),
        Action::Back => back(app),
        Action::Show(view) => app.view = view,
        Action::NextView => app.view = app.view.next(1),
        Action::PrevView => app.view = app.view.next(View::ALL.len() - 1),
        Action::Down => scroll(app, snapshot, 1),
        Action::Up => scroll(app, snapshot, -1),
        Action::PageDown => scroll(app, snapshot, page(app)),
        Action::PageUp => scroll(app, snapshot, -page(app)),
        Action::First => scroll(app, snapshot, i32::MIN / 2),
        Action::Last => scroll(app, snapshot, i32::MAX / 2),
        Action::Open => app.view = View::Run,
        Action::SelectRow(row) => select(app, snapshot, row),
        Action::NextRun => scroll_runs(app, snapshot, 1),
        Action::PrevRun => scroll_runs(app, snapshot, -1),
        Action::NextTheme => {
            app.theme = app.theme.next();
            app.said = Some(format!("colours: {}", app.theme.words()));
        }
        _ => return update_view(app, action, snapshot),
    }
    None
}

fn update_view(app: &mut App, action: Action, snapshot: &Snapshot) -> Option<Command> {
    match action {
        Action::Filter => app.overview.typing = true,
        Action::Type(c) => typed(app).push(c),
        Action::Erase => drop(typed(app).pop()),
        Action::EraseAll => typed(app).clear(),
        Action::FilterDone => app.overview.typing = false,
        Action::FilterCancel => {
            app.overview.typing = false;
            app.overview.filter.clear();
        }
        Action::SortNext => sort_by(app, next_sort(app.overview.sort)),
        Action::SortBy(key) if key == app.overview.sort => {
            app.overview.reversed = !app.overview.reversed;
        }
        Action::SortBy(key) => sort_by(app, key),
        Action::SortReverse => app.overview.reversed = !app.overview.reversed,
        Action::Exclude => {
            let run = rows::selected(app, snapshot)?;
            return Some(Command::Exclude { run: run.id.clone(), excluded: !run.excluded });
        }
        Action::Pin => pin(app, snapshot),
        Action::Group => app.overview.grouped = !app.overview.grouped,
        Action::LowerLevel => step_level(app, snapshot, 1),
        Action::HigherLevel => step_level(app, snapshot, -1),
        Action::NextGroup => step_group(app, snapshot, true),
        Action::PrevGroup => step_group(app, snapshot, false),
        Action::ToggleModel => {
            if let Some(shown) = app.curve.shown.get_mut(app.curve.model) {
                *shown = !*shown;
            }
        }
        Action::ToggleModels => {
            let all = app.curve.shown.iter().all(|s| *s);
            app.curve.shown = [!all; 8];
        }
        Action::NextPlot => app.curve.plot = app.curve.plot.next(),
        Action::ZoomIn
        | Action::ZoomOut
        | Action::ZoomReset
        | Action::PanLeft
        | Action::PanRight
        | Action::PanUp
        | Action::PanDown
        | Action::FlipX
        | Action::FlipY
        | Action::Smoother
        | Action::Rougher
        | Action::Cursor
        | Action::CursorStep(_)
        | Action::Picture => plots::update(app, action, snapshot),
        Action::Pause
        | Action::Step
        | Action::Faster
        | Action::Slower
        | Action::SeekBack
        | Action::SeekForward
        | Action::SeekBackFar
        | Action::SeekForwardFar
        | Action::NextChange
        | Action::PreviousChange
        | Action::SeekTo(_) => return replay(action, snapshot),
        Action::SeekPrompt => app.seek = Some(String::new()),
        Action::SeekCancel => app.seek = None,
        Action::SeekDone => return seek(app, snapshot),
        _ => return approve::update(app, action, snapshot),
    }
    // A filter or an order changed: the selection stays on its run while that is seen.
    settle(app, snapshot);
    None
}

/// Brings the view state in line with a new snapshot: a selection whose run is gone, a dialog
/// whose answer has come.
pub(crate) fn settle(app: &mut App, snapshot: &Snapshot) {
    let rows = rows::rows(&app.overview, snapshot);
    let seen = app.selected.as_ref().is_some_and(|id| rows.iter().any(|r| r.id == *id));
    // Off the overview a hidden run may stay selected as long as it exists.
    let exists = app.selected.as_ref().is_some_and(|id| snapshot.runs.iter().any(|r| r.id == *id));
    if !seen && (app.view == View::Overview || !exists) {
        if let Some(first) = rows.first() {
            app.selected = Some(first.id.clone());
        } else if !exists {
            app.selected = None;
        }
    }
    approve::settle(app, snapshot);
}

fn back(app: &mut App) {
    if app.popup.take().is_some() {
        return;
    }
    if app.view != View::Overview {
        app.view = View::Overview;
    } else {
        app.overview.filter.clear();
    }
}

/// Puts what the view is about into the terminal's clipboard.
fn copy(app: &mut App, snapshot: &Snapshot) {
    let Some(run) = rows::selected(app, snapshot) else { return };
    let schedule = looked_at(app, run);
    app.copy = Some(match schedule.filter(|_| app.view == View::Schedule) {
        Some(schedule) => words::what_if(schedule),
        None => format!("{}: {}", run.id, run.verdict.text),
    });
    app.said = Some(match (app.view, schedule) {
        (View::Schedule, Some(_)) => "copied the schedule, as --what-if takes it".into(),
        _ => "copied the verdict".into(),
    });
}

/// The proposed schedule, else that of the chosen policy.
fn looked_at<'a>(app: &App, run: &'a RunView) -> Option<&'a [Entry]> {
    let chosen = || rows::policy(app, rows::policies(run)).map(|p| p.schedule.as_slice());
    run.control.proposal.as_ref().map(|p| p.schedule.as_slice()).or_else(chosen)
}

/// The same schedule as the argument of Megatron-LM's flag, which counts in sequences.
fn copy_megatron(app: &mut App, snapshot: &Snapshot) {
    let Some(run) = rows::selected(app, snapshot) else { return };
    let Some(seq_len) = snapshot.seq_len else {
        app.said = Some("Megatron-LM counts in sequences: start boptop with --seq-len".into());
        return;
    };
    app.said = Some(match megatron(looked_at(app, run).unwrap_or_default(), seq_len) {
        Ok(text) => {
            app.copy = Some(format!("--step-batch-size-schedule \"{text}\""));
            "copied Megatron-LM's --step-batch-size-schedule".into()
        }
        Err(why) => why,
    });
}

fn page(app: &App) -> i32 {
    i32::from(app.size.1.saturating_sub(6).max(2)) / 2
}

/// Moves what up and down move in the present view or popup.
fn scroll(app: &mut App, snapshot: &Snapshot, by: i32) {
    let moved = |at: u16, by: i32| (i32::from(at).saturating_add(by)).clamp(0, 10_000) as u16;
    match &mut app.popup {
        Some(Popup::Help { scroll }) => {
            // The help never scrolls past its last line.
            *scroll = moved(*scroll, by).min(super::keymap::KEYS.len() as u16);
            return;
        }
        Some(Popup::Approval(a)) => {
            a.scroll = moved(a.scroll, by).min(60);
            return;
        }
        None => {}
    }
    match app.view {
        View::Overview | View::Run => scroll_runs(app, snapshot, by),
        View::Curve => {
            let models = rows::group(app, snapshot)
                .and_then(|g| Some(g.levels.get(rows::level(app, g)?)?.models.len()))
                .unwrap_or(0);
            let last = models.saturating_sub(1) as u16;
            app.curve.model = usize::from(moved(app.curve.model as u16, by).min(last));
        }
        View::Schedule => {
            let policies = rows::selected(app, snapshot).map(rows::policies).unwrap_or_default();
            let last = policies.len().saturating_sub(1) as u16;
            let at = rows::policy_row(app, policies) as u16;
            app.policy = Some(usize::from(moved(at, by).min(last)));
        }
        // Newest at the bottom: up goes back in time.
        View::Control => {
            let lines = rows::selected(app, snapshot).map_or(0, |r| r.control.log.len()) as u16;
            app.control_scroll =
                moved(app.control_scroll, by.saturating_neg()).min(lines.saturating_sub(1));
        }
        View::Problems => app.problems_scroll = moved(app.problems_scroll, by).min(2_000),
    }
}

fn scroll_runs(app: &mut App, snapshot: &Snapshot, by: i32) {
    let rows = rows::rows(&app.overview, snapshot);
    let at = rows::selected_row(app, &rows) as i32;
    let to = at.saturating_add(by).clamp(0, rows.len().saturating_sub(1) as i32);
    select(app, snapshot, to as usize);
}

fn select(app: &mut App, snapshot: &Snapshot, row: usize) {
    if let Some(run) = rows::rows(&app.overview, snapshot).get(row) {
        if app.selected.as_ref() != Some(&run.id) {
            app.control_scroll = 0;
            app.curve.group = None;
            // What was looked at was a part of the other run.
            for plot in [PlotKind::Run, PlotKind::Schedule] {
                let lens = app.lens_mut(plot);
                lens.reset();
                lens.cursor = None;
            }
        }
        app.selected = Some(run.id.clone());
    }
}

/// Pins the selected run, or lets it go.
fn pin(app: &mut App, snapshot: &Snapshot) {
    let Some(run) = rows::selected(app, snapshot) else { return };
    let pinned = &mut app.overview.pinned;
    match pinned.iter().position(|id| *id == run.id) {
        Some(at) => drop(pinned.remove(at)),
        None => pinned.push(run.id.clone()),
    }
}

fn next_sort(key: SortKey) -> SortKey {
    let at = SortKey::ALL.iter().position(|k| *k == key).unwrap_or(0);
    SortKey::ALL[(at + 1) % SortKey::ALL.len()]
}

fn sort_by(app: &mut App, key: SortKey) {
    app.overview.sort = key;
    // Largest first where that is what one looks for.
    app.overview.reversed = matches!(key, SortKey::Tokens | SortKey::Lost | SortKey::LastWrite);
    app.said = Some(format!("sorted by {}", key.words()));
}

fn step_level(app: &mut App, snapshot: &Snapshot, by: i64) {
    let Some(group) = rows::group(app, snapshot) else { return };
    let Some(at) = rows::level(app, group) else { return };
    let to = (at as i64 + by).clamp(0, group.levels.len() as i64 - 1) as usize;
    app.curve.level = group.levels.get(to).map(|l| l.loss);
}

fn step_group(app: &mut App, snapshot: &Snapshot, forward: bool) {
    let groups = &snapshot.fit.report.groups;
    let Some(group) = rows::group(app, snapshot) else { return };
    let at = groups.iter().position(|g| g.id == group.id).unwrap_or(0);
    let by = if forward { 1 } else { groups.len().saturating_sub(1) };
    app.curve.group = groups.get((at + by) % groups.len()).map(|g| g.id.clone());
    app.curve.level = None;
}

/// The text that keys go to.
fn typed(app: &mut App) -> &mut String {
    match &mut app.seek {
        Some(place) if !app.overview.typing => place,
        _ => &mut app.overview.filter,
    }
}

/// To the place that was typed.
fn seek(app: &mut App, snapshot: &Snapshot) -> Option<Command> {
    let text = app.seek.take()?;
    let command = place(text.trim());
    let seconds = matches!(command, Some(ReplayCommand::SeekSeconds(_)));
    if command.is_none() {
        let words = "expected a place such as 16M (tokens), 40% (of the record) or 90m (after its";
        app.said = Some(format!("{text}: {words} beginning; s, m, h, d)"));
    } else if seconds && snapshot.replay.as_ref().is_some_and(|r| r.by_tokens) {
        app.said = Some("this record has no times: give tokens, such as 16M, or 40%".into());
        return None;
    }
    command.map(Command::Replay)
}

fn place(text: &str) -> Option<ReplayCommand> {
    if let Some(share) = text.strip_suffix('%') {
        let share: f64 = share.trim().parse().ok()?;
        return (0.0..=100.0).contains(&share).then_some(ReplayCommand::Seek(share / 100.0));
    }
    // A small m is minutes: millions of tokens are written with a capital.
    let units = [('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86_400.0)];
    for (suffix, seconds) in units {
        if let Some(n) = text.strip_suffix(suffix) {
            let n: f64 = n.trim().parse().ok()?;
            return (n.is_finite() && n >= 0.0).then_some(ReplayCommand::SeekSeconds(n * seconds));
        }
    }
    crate::units::parse_count(text).map(ReplayCommand::SeekTokens)
}

fn replay(action: Action, snapshot: &Snapshot) -> Option<Command> {
    let replay = snapshot.replay.as_ref()?;
    let seek = |by: f64| ReplayCommand::Seek((replay.position + by).clamp(0.0, 1.0));
    // From "as fast as it goes" the next slower speed is a thousandfold.
    let speed = if replay.speed.is_finite() { replay.speed } else { 2048.0 };
    let command = match action {
        Action::Pause => ReplayCommand::TogglePause,
        Action::Step => ReplayCommand::Step,
        Action::Faster if speed >= 1e6 => ReplayCommand::Speed(f64::INFINITY),
        Action::Faster => ReplayCommand::Speed((speed * 2.0).max(0.125)),
        Action::Slower => ReplayCommand::Speed((speed / 2.0).max(0.125)),
        Action::SeekForward => seek(0.01),
        Action::SeekBack => seek(-0.01),
        Action::SeekForwardFar => seek(0.1),
        Action::SeekBackFar => seek(-0.1),
        Action::NextChange => ReplayCommand::NextChange,
        Action::PreviousChange => ReplayCommand::PreviousChange,
        Action::SeekTo(thousandths) => ReplayCommand::Seek(f64::from(thousandths) / 1000.0),
        _ => return None,
    };
    Some(Command::Replay(command))
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
