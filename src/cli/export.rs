//! `boptop export`: a plot as a picture.

use super::args::Export;
use super::flags::ControlArgs;
use super::values::Plot;
use super::{headless, output, settings};
use crate::error::{Error, ExitCode, Result};
use crate::monitor::Settings;
use crate::report::text::escaped;
use crate::{clock, tui};
use std::path::Path;

/// Reads once, fits once, and writes the picture; its path is the answer.
///
/// # Errors
/// A run that is not there, a file that cannot be written.
pub fn export(args: &Export) -> Result<ExitCode> {
    let control = ControlArgs::default();
    let settings = settings::all(&args.runs, &control)?;
    let settings = Settings { read_only: true, ..settings };
    let mut monitor = headless::read(&args.runs.input, settings)?;
    let run = match &args.run {
        Some(id) => headless::choose(&mut monitor, Some(id))?,
        None => monitor.data().next().map(|(run, _)| run.id.clone()).unwrap_or_default(),
    };
    monitor.fit_now(clock::now());
    let snapshot = monitor.snapshot(clock::now());
    let shot = match args.view {
        Plot::Run => tui::Shot::Run,
        Plot::Curve => tui::Shot::Curve,
        Plot::Residuals => tui::Shot::Residuals,
        Plot::BOptLoss => tui::Shot::BOptOverLoss,
        Plot::BOptTokens => tui::Shot::BOptOverTokens,
        Plot::Schedule => tui::Shot::Schedule,
    };
    let Some(svg) = tui::picture(&snapshot, shot, &run, args.at_loss) else {
        output::talk(&format!(
            "boptop: there is nothing to plot of {run} in this view yet: `boptop fit` and `boptop \
             plan` say what is missing\n"
        ));
        return Ok(ExitCode::Detected);
    };
    if args.svg == Path::new("-") {
        return output::text(&svg);
    }
    tui::write_picture(&args.svg, &svg).map_err(|e| Error::io(&args.svg, e))?;
    output::text(&escaped(&format!("wrote {}", args.svg.display())))
}
