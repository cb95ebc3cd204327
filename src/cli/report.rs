//! `boptop report`: one self-contained page about a run.

use super::args::Report;
use super::{headless, output, settings};
use crate::clock;
use crate::error::{Error, ExitCode, Result};
use crate::report::html;
use crate::report::text::escaped;
use crate::tui;
use std::path::{Path, PathBuf};

/// Reads once, fits, writes the page and says where it lies.
pub fn report(args: &Report) -> Result<ExitCode> {
    let on = &args.on;
    let mut settings = settings::all(&on.runs, &on.control)?;
    // What was observed is for those who steer to record.
    settings.read_only = true;
    let mut monitor = headless::read(&on.runs.input, settings)?;
    let run = headless::choose(&mut monitor, on.run.as_deref())?;
    monitor.fit_now(clock::now());
    let snapshot = monitor.snapshot(clock::now());
    let shots = [
        ("Loss and batch size", tui::Shot::Run),
        ("Curve", tui::Shot::Curve),
        ("B_opt over the loss", tui::Shot::BOptOverLoss),
        ("Schedule", tui::Shot::Schedule),
    ];
    let drawn = |(title, shot)| Some((title, tui::picture(&snapshot, shot, &run, None)?));
    let pictures: Vec<_> = shots.into_iter().filter_map(drawn).collect();
    let page = html::report(&snapshot, &run, env!("CARGO_PKG_VERSION"), &pictures);
    let page = page.ok_or_else(|| Error::Usage(format!("nothing is known of run {run} yet")))?;
    match args.output.as_deref() {
        Some(path) if path == Path::new("-") => output::exact(page.as_bytes()),
        given => {
            let path = given.map_or_else(|| default_name(&run), Path::to_path_buf);
            output::file(&path, page.as_bytes())?;
            output::text(&escaped(&path.display().to_string()))
        }
    }
}

/// `boptop-ID.html` in the working directory, whatever the id is.
fn default_name(run: &str) -> PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    format!("boptop-{}.html", run.chars().map(safe).take(100).collect::<String>()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_out_of_no_directory() {
        assert_eq!(default_name("b128"), Path::new("boptop-b128.html"));
        assert_eq!(default_name("../a b/\u{1b}x"), Path::new("boptop-.._a_b__x.html"));
    }
}
