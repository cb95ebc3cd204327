//! Colours, mouse and paste, as the built program speaks them to a terminal.

use super::pty::{self, Pty, boptop};
use super::{fixtures, sweep_copy};
use portable_pty::CommandBuilder;
use std::path::Path;

fn watching(flags: &[&str], env: &[(&str, &str)]) -> CommandBuilder {
    let mut command = boptop([Path::new("watch"), &fixtures().join("mlp2_sweep")]);
    command.args(flags);
    for (name, value) in env {
        command.env(name, value);
    }
    command
}

/// Every SGR parameter list that is sent until the first fit is drawn.
fn colours(flags: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let mut pty = Pty::start(watching(flags, env), 100, 30);
    pty.see("b0512");
    pty.press("?");
    pty.see("everywhere");
    pty.press("\x1b");
    pty.until("the help closes", |s| !s.contains("everywhere"));
    pty.quit();
    let raw = String::from_utf8_lossy(&pty.raw()).into_owned();
    let sequences = raw.split("\x1b[").skip(1);
    sequences
        .filter_map(|s| s.split_once('m').map(|(p, _)| p.to_string()))
        .filter(|p| p.chars().all(|c| c.is_ascii_digit() || c == ';'))
        .collect()
}

fn sets(list: &[String], part: &str) -> bool {
    list.iter().any(|p| p.starts_with(part))
}

/// 30-37, 90-97 and their backgrounds, 38 and 48.
fn any_colour(list: &[String]) -> bool {
    let coloured = |p: &str| {
        let n: u16 = p.parse().unwrap_or(0);
        matches!(n, 30..=38 | 40..=48 | 90..=97 | 100..=107)
    };
    list.iter().any(|l| coloured(l.split(';').next().unwrap_or_default()))
}

#[test]
fn the_terminal_gets_the_colours_that_it_has() {
    let of_256 = colours(&[], &[]);
    assert!(sets(&of_256, "38;5;") && !sets(&of_256, "38;2;"), "{of_256:?}");
    let rgb = colours(&[], &[("COLORTERM", "truecolor")]);
    assert!(sets(&rgb, "38;2;"), "{rgb:?}");
    for (flags, env) in [
        (vec![], vec![("NO_COLOR", "1")]),
        (vec!["--no-color"], vec![("COLORTERM", "truecolor")]),
        (vec!["--colors", "none"], vec![]),
        (vec![], vec![("TERM", "vt100")]),
    ] {
        let none = colours(&flags, &env);
        assert!(!none.is_empty() && !any_colour(&none), "{flags:?} {env:?}: {none:?}");
    }
    // A flag stands above NO_COLOR; the two themes differ.
    let dark = colours(&["--colors", "rgb"], &[("NO_COLOR", "1")]);
    let light = colours(&["--colors", "rgb", "--theme", "light"], &[]);
    assert!(sets(&dark, "38;2;") && sets(&light, "38;2;"));
    assert!(light.iter().all(|p| !p.starts_with("38;2;") || !dark.contains(p)), "{light:?}");
    // Of sixteen colours the terminal's own are used.
    let of_16 = colours(&[], &[("TERM", "xterm")]);
    assert!(any_colour(&of_16) && !sets(&of_16, "38;2;"), "{of_16:?}");
    assert!(of_16.iter().filter(|p| p.starts_with("38;5;")).all(|p| {
        p["38;5;".len()..].split(';').next().unwrap_or_default().parse::<u8>().is_ok_and(|n| n < 16)
    }));
}

#[test]
fn clicks_and_the_wheel_work_until_they_are_turned_off() {
    let mut pty = Pty::start(watching(&[], &[]), 100, 30);
    pty.see("b0512");
    assert!(String::from_utf8_lossy(&pty.raw()).contains("\x1b[?1000h"));
    let tab = pty.screen().contents().find("6 problems").unwrap() + 1;
    pty.press(&format!("\x1b[<0;{tab};1M\x1b[<0;{tab};1m"));
    pty.until("the problems", |s| s.contains("lines ·") && s.contains("files"));
    pty.press("1");
    pty.until("the first run", |s| s.lines().nth(2).is_some_and(|l| l.starts_with('▸')));
    // The wheel moves the selection.
    pty.press("\x1b[<65;10;10M");
    pty.until("the second run", |s| s.lines().nth(3).is_some_and(|l| l.starts_with('▸')));
    pty.quit();
    let mut pty = Pty::start(watching(&["--no-mouse"], &[]), 100, 30);
    pty.see_and_press("b0512", "q");
    assert_eq!(pty.end(), Ok(0));
    assert!(!String::from_utf8_lossy(&pty.raw()).contains("\x1b[?1000h"));
}

#[test]
fn a_paste_is_text_and_never_keys() {
    let dir = sweep_copy();
    let mut pty = Pty::start(boptop([Path::new("watch"), dir.path()]), 100, 30);
    pty.see("b0512");
    // As keys these would quit.
    pty.press("\x1b[200~q\x03Y\x1b[201~");
    pty.press("/\x1b[200~b0512\x1b[201~");
    pty.until("the filter", |s| s.contains("filter: b0512"));
    pty.press("\r");
    pty.until("one run", |s| s.contains("b0512") && !s.contains("b1024"));
    pty.quit();
    assert_eq!(pty::foreign(&pty.raw()), [""; 0]);
    pty.assert_restored();
}
