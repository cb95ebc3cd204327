use super::super::fixture;
use super::super::keymap::Key;
use super::*;
use crate::command::Change;
use crate::snapshot::*;
use crate::tui::press;
use std::sync::Arc;

/// Presses keys and returns the commands.
fn keys(app: &mut App, s: &Snapshot, keys: &str) -> Vec<Command> {
    assert!(keys.split_whitespace().all(|k| Key::parse(k).is_some()), "{keys}");
    super::super::press(app, keys, s)
}

fn selected(app: &App) -> &str {
    app.selected.as_deref().unwrap_or_default()
}

#[test]
fn moving_stops_at_the_ends_and_follows_the_order() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Overview, None);
    assert!(keys(&mut app, &s, "k k").is_empty());
    assert_eq!(selected(&app), s.runs[0].id);
    keys(&mut app, &s, "G j");
    assert_eq!(selected(&app), s.runs.last().unwrap().id);
    keys(&mut app, &s, "g s S");
    assert_eq!(app.overview.sort, SortKey::Run);
    let first = rows::rows(&app.overview, &s)[0].id.clone();
    assert_eq!(first, s.runs.iter().map(|r| r.id.clone()).max().unwrap());
}

#[test]
fn the_selection_stays_on_its_run_when_the_order_changes() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Overview, None);
    keys(&mut app, &s, "j j");
    let before = selected(&app).to_string();
    keys(&mut app, &s, "s s s S s");
    assert_eq!(selected(&app), before);
}

#[test]
fn what_is_unknown_sorts_last_in_both_directions() {
    let mut s = fixture::sweep();
    Arc::make_mut(&mut s.runs[0]).loss = None;
    let unknown = s.runs[0].id.clone();
    let mut state = super::super::app::OverviewState { sort: SortKey::Loss, ..Default::default() };
    for reversed in [false, true] {
        state.reversed = reversed;
        assert_eq!(rows::rows(&state, &s).last().unwrap().id, unknown);
    }
}

#[test]
fn a_filter_narrows_and_escape_gives_all_back() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Overview, None);
    keys(&mut app, &s, "/ m a i n");
    assert_eq!(app.overview.filter, "main");
    assert!(app.overview.typing);
    assert!(selected(&app).contains("main"));
    // While typing, q is a letter.
    keys(&mut app, &s, "q");
    assert!(!app.quit);
    keys(&mut app, &s, "Backspace Enter");
    assert_eq!((app.overview.typing, app.overview.filter.as_str()), (false, "main"));
    keys(&mut app, &s, "Esc");
    assert_eq!(rows::rows(&app.overview, &s).len(), s.runs.len());
}

#[test]
fn views_are_reached_by_digit_tab_and_enter_and_left_by_escape() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Overview, None);
    for (k, v) in [("3", View::Curve), ("Tab", View::Schedule), ("Shift-Tab", View::Curve)] {
        keys(&mut app, &s, k);
        assert_eq!(app.view, v);
    }
    keys(&mut app, &s, "Esc Enter");
    assert_eq!(app.view, View::Run);
    keys(&mut app, &s, "? Esc");
    assert_eq!((app.view, app.popup.is_none()), (View::Run, true));
}

#[test]
fn a_run_that_vanished_is_no_longer_selected() {
    let mut s = fixture::sweep();
    let mut app = App::showing(View::Run, None);
    keys(&mut app, &s, "l");
    let gone = selected(&app).to_string();
    s.runs.retain(|r| r.id != gone);
    settle(&mut app, &s);
    assert_eq!(selected(&app), s.runs[0].id);
    s.runs.clear();
    settle(&mut app, &s);
    assert_eq!(app.selected, None);
}

#[test]
fn levels_step_and_stay_in_range() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Curve, None);
    let group = rows::group(&app, &s).unwrap();
    let n = group.levels.len();
    for _ in 0..n + 3 {
        keys(&mut app, &s, "]");
    }
    assert_eq!(rows::level(&app, group), Some(n - 1));
    for _ in 0..n + 3 {
        keys(&mut app, &s, "[");
    }
    assert_eq!(rows::level(&app, group), Some(0));
    keys(&mut app, &s, "}");
    assert_ne!(rows::group(&app, &s).unwrap().id, group.id);
}

#[test]
fn proposals_are_in_the_trainers_units() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    let run = s.runs.iter().find(|r| r.id == "main-7b").unwrap();
    assert!(run.control.proposal.is_none());
    let b = run.batch_size.unwrap() as u64;
    let unit = run.control.trainer.as_ref().unwrap().unit_tokens.unwrap();
    let propose = |app: &mut App, key: &str| match keys(app, &s, key).pop() {
        Some(Command::Propose { run, change: Change::BatchSize { batch_size_tokens, .. } }) => {
            assert_eq!(run, "main-7b");
            batch_size_tokens
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(propose(&mut app, "+"), 2 * b);
    assert_eq!(propose(&mut app, "-"), b / 2);
    assert_eq!(propose(&mut app, "]"), b + unit);
    let plan = keys(&mut app, &s, "p");
    assert_eq!(plan, [Command::Propose { run: "main-7b".into(), change: Change::Plan }]);
    assert!(keys(&mut app, &s, "a").is_empty());
    assert!(app.popup.is_none() && app.said.is_some());
}

#[test]
fn a_guard_that_blocks_is_overridden_by_its_number_before_anything_is_sent() {
    let s = fixture::proposed();
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    assert!(keys(&mut app, &s, "a").is_empty());
    assert!(keys(&mut app, &s, "Y").is_empty(), "blocked");
    let said = |app: &App| match &app.popup {
        Some(Popup::Approval(a)) => a.said.clone().unwrap_or_default(),
        _ => String::new(),
    };
    assert!(said(&app).contains("lead-time"), "{}", said(&app));
    // y and Enter are not Y.
    assert!(keys(&mut app, &s, "1 y Enter").is_empty());
    let sent = keys(&mut app, &s, "Y");
    let number = s.runs.iter().find_map(|r| r.control.proposal.as_ref()).unwrap().number;
    assert_eq!(
        sent,
        [Command::Approve {
            run: "main-7b".into(),
            proposal: number,
            overrides: vec![GuardName::LeadTime]
        }]
    );
    assert!(keys(&mut app, &s, "Y Y").is_empty(), "sent once");
}

#[test]
fn a_mark_is_taken_back_by_the_same_key() {
    let s = fixture::proposed();
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    assert!(keys(&mut app, &s, "a 1 1 Y").is_empty());
    assert!(keys(&mut app, &s, "7 Y").is_empty());
}

#[test]
fn an_approval_never_meets_another_proposal() {
    let s = fixture::proposed();
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    keys(&mut app, &s, "a 1");
    let mut other = s.clone();
    let run = other.runs.iter_mut().find(|r| r.control.proposal.is_some()).unwrap();
    Arc::make_mut(run).control.proposal.as_mut().unwrap().number += 1;
    assert!(keys(&mut app, &other, "Y").is_empty());
}

#[test]
fn the_dialog_closes_with_the_answer() {
    let s = fixture::proposed();
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    keys(&mut app, &s, "a 1 Y");
    settle(&mut app, &s);
    assert!(app.popup.is_some(), "no answer yet");
    let mut answered = s.clone();
    let run = answered.runs.iter_mut().find(|r| r.control.proposal.is_some()).unwrap();
    Arc::make_mut(run).control.proposal.as_mut().unwrap().answer = Some("written".into());
    settle(&mut app, &answered);
    assert_eq!((app.popup.is_none(), app.said.as_deref()), (true, Some("written")));
}

#[test]
fn read_only_proposes_and_writes_nothing() {
    let s = Snapshot { read_only: true, ..fixture::proposed() };
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    assert!(keys(&mut app, &s, "p + - u w a Y 1 Y").is_empty());
    assert!(app.popup.is_none());
}

#[test]
fn replay_keys_command_the_replay_and_nothing_outside_of_one() {
    let live = fixture::sweep();
    let mut app = App::showing(View::Run, None);
    let replay = fixture::replay();
    let at = replay.replay.as_ref().unwrap().position;
    let speed = replay.replay.as_ref().unwrap().speed;
    assert_eq!(
        keys(&mut app, &replay, ". > < Right Shift-Left"),
        [
            Command::Replay(ReplayCommand::Step),
            Command::Replay(ReplayCommand::Speed(speed * 2.0)),
            Command::Replay(ReplayCommand::Speed(speed / 2.0)),
            Command::Replay(ReplayCommand::Seek(at + 0.01)),
            Command::Replay(ReplayCommand::Seek(at - 0.1)),
        ]
    );
    assert!(keys(&mut app, &live, ". > < )").is_empty());
}

#[test]
fn leaving_a_run_out_and_taking_it_in_again() {
    let mut s = fixture::sweep();
    let mut app = App::showing(View::Overview, None);
    let id = s.runs[0].id.clone();
    assert_eq!(keys(&mut app, &s, "x"), [Command::Exclude { run: id.clone(), excluded: true }]);
    Arc::make_mut(&mut s.runs[0]).excluded = true;
    assert_eq!(keys(&mut app, &s, "x"), [Command::Exclude { run: id, excluded: false }]);
}

#[test]
fn a_proposal_moves_along_the_tokens_by_a_share_of_those_so_far() {
    let s = fixture::proposed();
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    let now = s.runs.iter().find(|r| r.id == "main-7b").unwrap().tokens.unwrap();
    let by_tokens = (0.05 * now).round() as i64;
    for (key, by_tokens) in [("}", by_tokens), ("{", -by_tokens)] {
        let change = Change::Move { by_tokens };
        assert_eq!(keys(&mut app, &s, key), [Command::Propose { run: "main-7b".into(), change }]);
    }
    let none = fixture::sweep();
    let mut app = App::showing(View::Schedule, None);
    assert!(keys(&mut app, &none, "}").is_empty() && app.said.is_some());
}

#[test]
fn what_is_copied_is_what_the_view_is_about() {
    let s = fixture::proposed();
    let mut app = App::showing(View::Overview, Some("main-7b"));
    keys(&mut app, &s, "y");
    assert!(app.copy.take().unwrap().starts_with("main-7b: "));
    keys(&mut app, &s, "4 y");
    let schedule = app.copy.take().unwrap();
    let proposed = &s.runs.iter().find(|r| r.id == "main-7b").unwrap().control.proposal;
    let last = proposed.as_ref().unwrap().schedule.last().unwrap();
    assert!(schedule.ends_with(&format!("{}:{}", last.from_tokens, last.batch_size_tokens)));
}

#[test]
fn a_replay_goes_where_it_is_told() {
    let s = fixture::replay();
    let told = |keys: &str| {
        let mut app = App::showing(View::Run, Some("main-7b"));
        let commands = press(&mut app, keys, &s);
        assert!(app.seek.is_none());
        (commands, app.said)
    };
    let one = |command| vec![Command::Replay(command)];
    assert_eq!(told(": 1 6 M Enter").0, one(ReplayCommand::SeekTokens(16e6)));
    assert_eq!(told(": 4 0 % Enter").0, one(ReplayCommand::Seek(0.4)));
    assert_eq!(told(": 9 0 m Enter").0, one(ReplayCommand::SeekSeconds(5400.0)));
    assert_eq!(told(": 9 Esc").0, []);
    let (none, said) = told(": n o Enter");
    assert!(none.is_empty() && said.unwrap().contains("expected a place"));
    assert_eq!(told("n").0, one(ReplayCommand::NextChange));
    assert_eq!(told("N").0, one(ReplayCommand::PreviousChange));
}

#[test]
fn a_plot_is_zoomed_read_and_pictured() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Run, Some("main-7b"));
    press(&mut app, "c z z h h", &s);
    let lens = app.lens(PlotKind::Run);
    let [low, high] = lens.x.unwrap();
    assert!((high - low - 0.25).abs() < 1e-9 && lens.cursor.unwrap() < 12.4e6);
    let text = crate::tui::draw_to_text(&s, &app, 120, 40);
    assert!(text.contains("single steps 2."), "{text}");
    // Esc takes the cursor away, and only then leaves the screen.
    press(&mut app, "Esc", &s);
    assert_eq!((app.lens(PlotKind::Run).cursor, app.view), (None, View::Run));
    press(&mut app, "x l h", &s);
    assert_eq!(app.lens(PlotKind::Run).x, None, "another run is seen whole");
    press(&mut app, "e", &s);
    let picture = app.picture.take().unwrap();
    assert!(picture.name.starts_with("boptop-run-") && picture.svg.starts_with("<svg"));
    press(&mut app, "5 e", &s);
    assert!(app.picture.is_none() && app.said.unwrap().contains("no plot"));
}

#[test]
fn the_part_that_is_looked_at_is_asked_for_and_read_line_by_line() {
    let mut s = fixture::sweep();
    let mut app = App::showing(View::Run, Some("main-7b"));
    press(&mut app, "c", &s);
    assert_eq!(plots::look(&mut app, &s), None, "all of it is there");
    press(&mut app, "z z z z", &s);
    let Some(Command::Look { run, tokens: Some([from, to]) }) = plots::look(&mut app, &s) else {
        panic!("nothing was asked for");
    };
    assert_eq!((run.as_str(), plots::look(&mut app, &s)), ("main-7b", None));
    press(&mut app, "H", &s);
    assert_eq!(plots::look(&mut app, &s), None, "what is beside it was asked for, too");
    press(&mut app, "L", &s);
    let at = app.lens(PlotKind::Run).cursor.unwrap();
    let point = |tokens: f64, loss: f64| PlotPoint { tokens, min: loss, mean: loss, max: loss };
    let detail = |tokens, means| Detail {
        tokens,
        points: vec![point(at - 10.0, 2.5), point(at + 1.0, 9.125), point(at + 10.0, 2.5)],
        steps: vec![6143.0, 6144.0, 6145.0],
        means,
    };
    let mut shown = |detail| {
        let run = s.runs.iter_mut().find(|r| r.id == "main-7b").unwrap();
        Arc::make_mut(&mut Arc::make_mut(run).plots).detail = Some(Arc::new(detail));
        crate::tui::draw_to_text(&s, &app, 120, 40)
    };
    let text = shown(detail([from, to], None));
    assert!(text.contains("step 6,144: 9.1250"), "{text}");
    let text = shown(detail([from, to], Some("means of 0.1 %: a pipe")));
    assert!(text.contains("a pipe"), "{text}");
    let text = shown(detail([from, from + 1.0], None));
    assert!(!text.contains("step 6,144:"), "of another part: {text}");
    press(&mut app, "1", &s);
    let over = Some(Command::Look { run: "main-7b".into(), tokens: None });
    assert_eq!((plots::look(&mut app, &s), plots::look(&mut app, &s)), (over, None));
}

#[test]
fn pinned_runs_stand_on_top_in_every_order_and_groups_stand_together() {
    let mut s = fixture::sweep();
    let some = s.fit.report.groups[0].id.clone();
    // Every other run in another group than the fixture says.
    for (i, run) in s.runs.iter_mut().enumerate() {
        Arc::make_mut(run).group = (i % 2 == 0).then(|| some.clone());
    }
    let mut app = App::showing(View::Overview, None);
    keys(&mut app, &s, "G p g t");
    let last = s.runs.last().unwrap().id.clone();
    assert_eq!(app.overview.pinned, [last.as_str()]);
    for order in ["", "s", "s S", "s s S"] {
        keys(&mut app, &s, order);
        let shown = rows::rows(&app.overview, &s);
        assert_eq!(shown[0].id, last);
        let groups: Vec<_> = shown[1..].iter().map(|r| r.group.is_none()).collect();
        assert!(groups.is_sorted(), "{groups:?}");
    }
    let text = super::super::draw_to_text(&s, &app, 100, 40);
    for heading in ["pinned", "in no group", &format!("group {some}")] {
        assert!(text.contains(&format!("─ {heading} ─")), "{heading}: {text}");
    }
    assert!(text.contains('◆'), "{text}");
    // A heading is no run: a click on it selects nothing, the line below it the run that is there.
    app.size = (100, 40);
    let line = |words: &str| text.lines().position(|l| l.contains(words)).unwrap() as u16;
    let click = |row| crossterm::event::MouseEvent {
        kind: crossterm::event::MouseEventKind::Down(crossterm::event::MouseButton::Left),
        column: 10,
        row,
        modifiers: crossterm::event::KeyModifiers::NONE,
    };
    let heading = line("in no group");
    assert_eq!(super::super::mouse::action(&click(heading), &app, &s), None);
    let action = super::super::mouse::action(&click(heading + 1), &app, &s).unwrap();
    update(&mut app, action, &s);
    let first = rows::rows(&app.overview, &s).into_iter().skip(1).find(|r| r.group.is_none());
    assert_eq!(selected(&app), first.unwrap().id);
    keys(&mut app, &s, "g p t");
    assert!(app.overview.pinned.is_empty() && !app.overview.grouped);
}

#[test]
fn the_megatron_flag_is_copied_in_sequences() {
    let mut s = fixture::proposed();
    let mut app = App::showing(View::Schedule, Some("main-7b"));
    let run = s.runs.iter().find(|r| r.id == "main-7b").unwrap();
    let seq_len = run.control.proposal.as_ref().unwrap().schedule[0].batch_size_tokens / 4;
    s.seq_len = Some(seq_len);
    keys(&mut app, &s, "M");
    let copied = app.copy.take().unwrap();
    assert!(copied.starts_with("--step-batch-size-schedule \"0:4"), "{copied}");
    s.seq_len = Some(7);
    keys(&mut app, &s, "M");
    assert!(app.copy.is_none() && app.said.as_ref().unwrap().contains("whole number of sequences"));
    s.seq_len = None;
    keys(&mut app, &s, "M");
    assert!(app.copy.is_none() && app.said.as_ref().unwrap().contains("--seq-len"));
}

#[test]
fn colours_change_by_a_key_and_troubles_are_kept_on_the_problems_screen() {
    let s = fixture::sweep();
    let mut app = App::showing(View::Overview, None);
    keys(&mut app, &s, "T");
    assert_eq!(app.theme, super::super::ThemeName::Light);
    keys(&mut app, &s, "T T");
    assert_eq!(app.theme, super::super::ThemeName::Dark);
    for i in 0..20 {
        app.trouble(format!("notify x: failed {i}"));
    }
    app.trouble("notify x: failed 19".into());
    assert_eq!(app.troubles.len(), 8);
    keys(&mut app, &s, "6");
    let text = super::super::draw_to_text(&s, &app, 80, 24);
    assert!(text.contains("notify x: failed 19") && !text.contains("failed 3"), "{text}");
}

#[test]
fn on_a_screen_that_is_too_small_only_quit_and_suspend_act() {
    let s = fixture::proposed();
    for size in [(39, 24), (80, 11)] {
        let mut app = App::showing(View::Schedule, Some("main-7b"));
        keys(&mut app, &s, "a");
        assert!(matches!(app.popup, Some(Popup::Approval(_))));
        app.size = size;
        let before = app.clone();
        let clicks = [Action::Write, Action::Review, Action::ProposePlan, Action::Back];
        for action in clicks {
            assert_eq!(update(&mut app, action, &s), None);
        }
        assert!(keys(&mut app, &s, "1 Y Esc n p + } u a x 2").is_empty());
        assert_eq!(app, before);
        keys(&mut app, &s, "q");
        assert!(app.quit);
    }
}
