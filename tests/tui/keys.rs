//! Every key of the key map, pressed on every screen of the built program.

use super::pty::{Pty, boptop};
use super::{fixtures, sweep_copy};
use std::path::Path;

/// What a terminal sends for the name of a key.
fn bytes(name: &str) -> String {
    let named = match name {
        "Esc" => "\x1b",
        "Tab" => "\t",
        "Shift-Tab" => "\x1b[Z",
        "Enter" => "\r",
        "Space" => " ",
        "Backspace" => "\x7f",
        "Up" => "\x1b[A",
        "Down" => "\x1b[B",
        "Right" => "\x1b[C",
        "Left" => "\x1b[D",
        "Shift-Right" => "\x1b[1;2C",
        "Shift-Left" => "\x1b[1;2D",
        "Home" => "\x1b[H",
        "End" => "\x1b[F",
        "PgUp" => "\x1b[5~",
        "PgDn" => "\x1b[6~",
        _ => "",
    };
    if !named.is_empty() {
        return named.into();
    }
    match name.strip_prefix("Ctrl-").and_then(|c| c.chars().next()) {
        Some(c) => char::from(c as u8 & 0x1f).to_string(),
        None => {
            assert_eq!(name.chars().count(), 1, "what does a terminal send for {name}?");
            name.into()
        }
    }
}

/// (where, key) of the whole key map, as the README prints it.
fn map() -> Vec<(String, String)> {
    let table = boptop::tui::keys_markdown();
    let mut out = Vec::new();
    for line in table.lines().skip(2) {
        // A key may be a bar itself: the keys stand between back quotes.
        let context = line.trim_start_matches("| ").split(" | ").next().unwrap();
        let keys = line.split(" | ").nth(1).unwrap();
        for key in keys.split('`').skip(1).step_by(2) {
            out.push((context.to_string(), key.to_string()));
        }
    }
    out
}

/// Each key once, without those that end the program.
fn all_keys() -> Vec<String> {
    let mut keys: Vec<String> = map().into_iter().map(|(_, k)| k).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|k| k != "q" && k != "Ctrl-c");
    assert!(keys.len() > 40, "{keys:?}");
    keys
}

/// Redraws the whole screen, in whatever state the program is, and waits for it.
fn redrawn(pty: &mut Pty) {
    let clears = |raw: &[u8]| raw.windows(4).filter(|w| w == b"\x1b[2J").count();
    let before = clears(&pty.raw());
    let (rows, columns) = pty.screen().size();
    pty.resize(if columns == 100 { 101 } else { 100 }, rows);
    pty.until_nudged("a whole frame", |_, raw| clears(raw) > before);
}

/// Out of every popup and of the filter: their footers do not offer to quit.
fn escaped(pty: &mut Pty) {
    redrawn(pty);
    pty.press("\x1b");
    pty.until_nudged("no popup", |screen, _| {
        screen.contents().lines().last().is_some_and(|l| l.contains("q quit"))
    });
}

/// The tab of a view is marked.
fn show(pty: &mut Pty, view: &str) {
    let number = view.chars().next().unwrap().to_string();
    pty.press(&number);
    pty.until_nudged(view, |screen, _| {
        let header = screen.rows(0, 101).next().unwrap_or_default();
        let at = header.find(view).and_then(|at| u16::try_from(at).ok());
        at.is_some_and(|at| screen.cell(0, at).is_some_and(|c| c.inverse()))
    });
}

const VIEWS: [&str; 6] =
    ["1 overview", "2 run", "3 curve", "4 schedule", "5 control", "6 problems"];

fn press_everything(pty: &mut Pty, keys: &[String]) {
    for view in VIEWS {
        for key in keys {
            show(pty, view);
            pty.press(&bytes(key));
            escaped(pty);
        }
    }
}

/// Pictures are written into the working directory.
fn watching(dir: &Path) -> Pty {
    let mut command = boptop([Path::new("watch"), dir]);
    command.cwd(dir);
    let pty = Pty::start(command, 100, 30);
    pty.until("a fit", |s| s.contains("b0512") && s.contains("fit ") && s.contains("q quit"));
    pty
}

fn end(mut pty: Pty) {
    show(&mut pty, "1 overview");
    pty.quit();
    assert_eq!(super::pty::foreign_but_copies(&pty.raw()), [""; 0]);
    pty.assert_restored();
}

#[test]
fn every_key_is_survived_on_every_screen() {
    let dir = sweep_copy();
    let mut pty = watching(dir.path());
    press_everything(&mut pty, &all_keys());
    end(pty);
}

#[test]
fn every_key_is_survived_in_the_popups_and_in_the_filter() {
    let dir = sweep_copy();
    let mut pty = watching(dir.path());
    for open in ["?", "/"] {
        for key in all_keys() {
            show(&mut pty, "1 overview");
            pty.press(open);
            pty.until("it opens", |s| s.lines().last().is_some_and(|l| !l.contains("q quit")));
            pty.press(&bytes(&key));
            escaped(&mut pty);
        }
    }
    let approval: Vec<_> = map().into_iter().filter(|(c, _)| c == "approval").collect();
    assert!(approval.len() > 6, "{approval:?}");
    for (_, key) in approval.into_iter().filter(|(_, k)| k != "q" && k != "Ctrl-c") {
        show(&mut pty, "4 schedule");
        pty.press("+");
        pty.see_and_press("a looks at it", "a");
        pty.see("approve for");
        pty.press(&bytes(&key));
        escaped(&mut pty);
    }
    end(pty);
}

#[test]
fn every_key_is_survived_in_a_replay() {
    let run = fixtures().join("mlp2_sweep/b0512_lr2e-3_s21.jsonl");
    let dir = tempfile::tempdir().unwrap();
    let mut command = boptop([Path::new("replay"), &run]);
    command.cwd(dir.path());
    let mut pty = Pty::start(command, 100, 30);
    pty.see("replay");
    let keys = map().into_iter().filter(|(c, _)| c == "replay").map(|(_, k)| k);
    press_everything(&mut pty, &keys.collect::<Vec<_>>());
    end(pty);
}
