//! `boptop export`: a plot as a picture.

use super::flags::{ControlArgs, Runs};
use super::values::positive;
use super::{headless, output, settings};
use crate::error::{Error, ExitCode, Result};
use crate::monitor::Settings;
use crate::{clock, tui};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    pub runs: Runs,
    /// The file; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub svg: PathBuf,
    /// Which plot.
    #[arg(long, value_enum, default_value_t = Plot::Curve)]
    pub view: Plot,
    /// Run to plot, or whose group; the first one where left out.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Loss level of the curve; default: the lowest at which a model speaks.
    #[arg(long, value_name = "L", value_parser = positive, allow_negative_numbers = true)]
    pub at_loss: Option<f64>,
}

/// What `export` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Plot {
    /// Loss and batch size of a run over tokens.
    Run,
    /// E(S) at one loss level.
    Curve,
    /// How far the runs lie from the curve.
    Residuals,
    /// B_opt over the loss.
    BOptLoss,
    /// B_opt over tokens.
    BOptTokens,
    /// The policies of a run: the loss on the way, and the staircase.
    Schedule,
}

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
    output::text(&format!("wrote {}", args.svg.display()))
}
