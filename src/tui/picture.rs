//! A plot as a file: the same model as on the screen, written whole or not at all.

use super::app::{App, CurvePlot, Picture, View};
use super::{plot, rows, update, views};
use crate::snapshot::Snapshot;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::UnboundedSender;

/// So many pictures of one name are kept beside each other.
const MOST: usize = 1000;
/// Characters of a name that come from a log.
const LONGEST: usize = 80;

/// Which plot a picture is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shot {
    /// Loss and batch size of a run over tokens.
    Run,
    /// E(S) at one loss level.
    Curve,
    Residuals,
    BOptOverLoss,
    BOptOverTokens,
    /// The policies of a run.
    Schedule,
}

/// The picture of a run, or of the group that it belongs to, at the loss level nearest to `level`
/// (default: the lowest at which a model speaks). `None` where there is nothing to plot yet.
pub fn picture(snapshot: &Snapshot, shot: Shot, run: &str, level: Option<f64>) -> Option<String> {
    let view = match shot {
        Shot::Run => View::Run,
        Shot::Schedule => View::Schedule,
        _ => View::Curve,
    };
    let mut app = App::showing(view, Some(run));
    update::settle(&mut app, snapshot);
    app.curve.level = level;
    app.curve.plot = match shot {
        Shot::Residuals => CurvePlot::Residuals,
        Shot::BOptOverLoss => CurvePlot::OverLoss,
        Shot::BOptOverTokens => CurvePlot::OverTokens,
        _ => CurvePlot::Curve,
    };
    shoot(&app, snapshot).map(|(_, svg)| svg)
}

/// The plot on the screen: the beginning of a file name, and the picture.
pub(super) fn shoot(app: &App, snapshot: &Snapshot) -> Option<(String, String)> {
    let figure = views::figure(app, snapshot)?;
    let run = || rows::selected(app, snapshot).map_or("", |r| r.id.as_str());
    let group = || rows::group(app, snapshot);
    let level = || {
        let loss = group().and_then(|g| Some(g.levels.get(rows::level(app, g)?)?.loss));
        loss.map_or(String::new(), crate::units::loss)
    };
    let name = match (app.view, app.curve.plot) {
        (View::Schedule, _) => format!("schedule-{}", run()),
        (View::Curve, CurvePlot::Curve) => format!("curve-{}", level()),
        (View::Curve, CurvePlot::Residuals) => "residuals".into(),
        (View::Curve, CurvePlot::OverLoss) => "b_opt-over-loss".into(),
        (View::Curve, CurvePlot::OverTokens) => format!("b_opt-over-tokens-{}", run()),
        _ => format!("run-{}", run()),
    };
    Some((file_name(&name), plot::svg(&figure)))
}

/// Letters, digits, dots and dashes: a name from a log is no path.
fn file_name(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    format!("boptop-{}", name.chars().map(fit).take(LONGEST).collect::<String>())
}

impl Picture {
    /// Writes it into the working directory, in a thread of its own: a file system that hangs does
    /// not hold the screen. What came of it is sent as words.
    pub(super) fn write_in_background(self, said: UnboundedSender<String>) {
        std::thread::spawn(move || {
            let words = match std::env::current_dir().and_then(|dir| self.write_new(&dir)) {
                Ok(path) => format!("wrote {}", path.display()),
                Err(e) => format!("the picture was not written: {e}"),
            };
            // A screen that is gone needs no answer.
            let _ = said.send(words);
        });
    }

    /// Writes it under a name that no file has.
    fn write_new(&self, dir: &Path) -> io::Result<PathBuf> {
        let temporary = temporary(&dir.join(&self.name), &self.svg)?;
        let named = (1..MOST).find_map(|n| {
            let number = if n > 1 { format!("-{n}") } else { String::new() };
            let path = dir.join(format!("{}{number}.svg", self.name));
            match std::fs::hard_link(&temporary, &path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => None,
                // Not every file system has links; there the last look decides.
                Err(_) if path.exists() => None,
                Err(_) => Some(std::fs::rename(&temporary, &path).map(|()| path)),
                Ok(()) => Some(Ok(path)),
            }
        });
        let _ = std::fs::remove_file(&temporary);
        named.unwrap_or_else(|| Err(io::Error::other("a thousand of that name are there already")))
    }
}

/// Writes a picture to a path, whole or not at all; what was there is replaced.
///
/// # Errors
/// A directory that cannot be written.
pub fn write_picture(path: &Path, svg: &str) -> io::Result<()> {
    let temporary = temporary(path, svg)?;
    std::fs::rename(&temporary, path).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// The whole text in a new file beside `path`.
fn temporary(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // A file of that name is a leftover of a process that is gone.
    let _ = std::fs::remove_file(&temporary);
    let write = |mut file: File| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    let opened = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    write(opened).inspect_err(|_| drop(std::fs::remove_file(&temporary)))?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    #[test]
    fn a_name_from_a_log_is_no_path() {
        assert_eq!(file_name("run-../../etc/pass wd\u{1b}"), "boptop-run-.._.._etc_pass_wd_");
    }

    #[test]
    fn a_picture_takes_a_new_name_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let picture = Picture { name: "boptop-run-a".into(), svg: "<svg/>".into() };
        let first = picture.write_new(dir.path()).unwrap();
        let second = picture.write_new(dir.path()).unwrap();
        assert!(first.ends_with("boptop-run-a.svg") && second.ends_with("boptop-run-a-2.svg"));
        write_picture(&first, "<svg></svg>").unwrap();
        assert_eq!(std::fs::read_to_string(&first).unwrap(), "<svg></svg>");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(picture.write_new(&dir.path().join("gone")).is_err());
    }

    #[test]
    fn every_plot_has_its_picture() {
        let s = fixture::proposed();
        let shots = [
            (Shot::Run, "loss, smoothed"),
            (Shot::Curve, "B_min"),
            (Shot::Residuals, "less 1"),
            (Shot::BOptOverLoss, "tokens, over the loss"),
            (Shot::BOptOverTokens, "doubling"),
            (Shot::Schedule, "planned ramp"),
        ];
        for (shot, words) in shots {
            let svg = picture(&s, shot, "main-7b", None).unwrap();
            assert!(svg.starts_with("<svg") && svg.contains(words), "{shot:?}: {svg}");
        }
        assert!(picture(&fixture::empty(), Shot::Curve, "main-7b", None).is_none());
    }
}
