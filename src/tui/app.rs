//! What is looked at: small structs, one per view. No run data.

use super::plot::Lens;
use super::settings::{Settings, ThemeName};
use crate::snapshot::GuardName;

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    #[default]
    Overview,
    Run,
    Curve,
    Schedule,
    Control,
    Problems,
}

impl View {
    pub(crate) const ALL: [View; 6] =
        [View::Overview, View::Run, View::Curve, View::Schedule, View::Control, View::Problems];

    pub(crate) fn title(self) -> &'static str {
        match self {
            View::Overview => "overview",
            View::Run => "run",
            View::Curve => "curve",
            View::Schedule => "schedule",
            View::Control => "control",
            View::Problems => "problems",
        }
    }

    pub(crate) fn next(self, by: usize) -> View {
        let at = View::ALL.iter().position(|v| *v == self).unwrap_or(0);
        View::ALL[(at + by) % View::ALL.len()]
    }
}

/// Order of the overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub(crate) enum SortKey {
    /// As the runs were found.
    #[default]
    Found,
    Run,
    Tokens,
    Loss,
    Batch,
    BOpt,
    Lost,
    Verdict,
    LastWrite,
}

impl SortKey {
    pub const ALL: [SortKey; 9] = [
        SortKey::Found,
        SortKey::Run,
        SortKey::Tokens,
        SortKey::Loss,
        SortKey::Batch,
        SortKey::BOpt,
        SortKey::Lost,
        SortKey::Verdict,
        SortKey::LastWrite,
    ];

    pub fn words(self) -> &'static str {
        match self {
            SortKey::Found => "as found",
            SortKey::Run => "run",
            SortKey::Tokens => "tokens",
            SortKey::Loss => "loss",
            SortKey::Batch => "B now",
            SortKey::BOpt => "B_opt",
            SortKey::Lost => "tokens lost",
            SortKey::Verdict => "verdict",
            SortKey::LastWrite => "last write",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OverviewState {
    pub sort: SortKey,
    pub reversed: bool,
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// Runs that stand on top, in whatever order.
    pub pinned: Vec<String>,
    /// Runs of one fit group stand together, under its name.
    pub grouped: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CurvePlot {
    /// E over S at one level.
    #[default]
    Curve,
    /// How far the runs lie from the curve, over the levels.
    Residuals,
    /// B_opt over the levels.
    OverLoss,
    /// B_opt over tokens.
    OverTokens,
}

impl CurvePlot {
    pub const ALL: [CurvePlot; 4] =
        [CurvePlot::Curve, CurvePlot::Residuals, CurvePlot::OverLoss, CurvePlot::OverTokens];

    pub fn next(self) -> CurvePlot {
        let at = CurvePlot::ALL.iter().position(|p| *p == self).unwrap_or(0);
        CurvePlot::ALL[(at + 1) % CurvePlot::ALL.len()]
    }
}

/// Plots that are zoomed each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlotKind {
    Run,
    Curve,
    Residuals,
    OverLoss,
    OverTokens,
    Schedule,
}

/// A picture to be written: the beginning of its file name, and its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub name: String,
    pub svg: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CurveState {
    /// `None`: the group of the selected run.
    pub group: Option<String>,
    /// Loss of the level looked at; `None`: the lowest at which a model speaks.
    pub level: Option<f64>,
    /// Row of the model list.
    pub model: usize,
    /// Models shown besides the one that speaks, by their place in the list.
    pub shown: [bool; 8],
    pub plot: CurvePlot,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Popup {
    Help { scroll: u16 },
    Approval(Approval),
}

/// The approval dialog: which proposal, and what the person has decided so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Approval {
    pub run: String,
    pub number: u64,
    pub overrides: Vec<GuardName>,
    /// Said to the person inside the dialog.
    pub said: Option<String>,
    /// `Some` once the approval was sent: the answer that stood there before, and when.
    pub sent: Option<(Option<String>, f64)>,
    pub scroll: u16,
}

/// Notices that the problems screen keeps.
const MOST_TROUBLES: usize = 8;

/// The state of the screen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct App {
    pub(crate) view: View,
    /// Id of the selected run; `None` is the first one.
    pub(crate) selected: Option<String>,
    pub(crate) overview: OverviewState,
    pub(crate) curve: CurveState,
    /// What is looked at of each plot, by [`PlotKind`].
    pub(crate) lenses: [Lens; 6],
    /// Steps from the usual smoothing of the loss.
    pub(crate) smoothing: i8,
    /// Row of the policy table, beyond its end the last one; `None`: the planned one.
    pub(crate) policy: Option<usize>,
    /// Lines scrolled back in the control log, and down in the list of problems.
    pub(crate) control_scroll: u16,
    pub(crate) problems_scroll: u16,
    pub(crate) popup: Option<Popup>,
    pub(crate) theme: ThemeName,
    /// What went wrong beside the monitor (a notification that failed), the newest last.
    pub(crate) troubles: Vec<String>,
    /// The last thing that was said to the person; gone at the next key.
    pub(crate) said: Option<String>,
    /// To be written to a file.
    pub(crate) picture: Option<Picture>,
    /// The place in a replay that is being typed.
    pub(crate) seek: Option<String>,
    /// The part of a run (id, tokens) that was asked for in detail.
    pub(crate) looked: Option<(String, [f64; 2])>,
    /// To be put into the clipboard of the terminal.
    pub(crate) copy: Option<String>,
    /// The person wants to leave, or to stop for a while.
    pub(crate) quit: bool,
    pub(crate) suspend: bool,
    pub(crate) redraw: bool,
    pub(crate) size: (u16, u16),
}

/// Columns and rows of the smallest screen on which anything is drawn.
pub(crate) const LEAST: (u16, u16) = (40, 12);

pub(crate) fn too_small(size: (u16, u16)) -> bool {
    size.0 < LEAST.0 || size.1 < LEAST.1
}

impl App {
    /// Nothing can be read on the screen, so nothing may be decided on it.
    pub(crate) fn is_blind(&self) -> bool {
        too_small(self.size)
    }

    /// A screen that shows `view`, with `run` selected.
    pub fn showing(view: View, run: Option<&str>) -> Self {
        App { view, selected: run.map(str::to_string), size: (80, 24), ..App::default() }
    }

    pub(crate) fn lens(&self, plot: PlotKind) -> &Lens {
        &self.lenses[plot as usize]
    }

    pub(crate) fn lens_mut(&mut self, plot: PlotKind) -> &mut Lens {
        &mut self.lenses[plot as usize]
    }

    /// The plot of the present view that can be zoomed.
    pub(crate) fn plot(&self) -> Option<PlotKind> {
        match self.view {
            View::Run => Some(PlotKind::Run),
            View::Schedule => Some(PlotKind::Schedule),
            View::Curve => Some(match self.curve.plot {
                CurvePlot::Curve => PlotKind::Curve,
                CurvePlot::Residuals => PlotKind::Residuals,
                CurvePlot::OverLoss => PlotKind::OverLoss,
                CurvePlot::OverTokens => PlotKind::OverTokens,
            }),
            View::Overview | View::Control | View::Problems => None,
        }
    }

    /// A screen as the settings want it to begin.
    pub(crate) fn starting(settings: &Settings) -> Self {
        let pinned = settings.pinned.clone();
        let overview = OverviewState { pinned, ..OverviewState::default() };
        App { overview, theme: settings.theme, size: (80, 24), ..App::default() }
    }

    /// Says what went wrong beside the monitor; the problems screen keeps the last few.
    pub(crate) fn trouble(&mut self, words: String) {
        self.said = Some(words.clone());
        self.troubles.retain(|t| *t != words);
        self.troubles.push(words);
        let over = self.troubles.len().saturating_sub(MOST_TROUBLES);
        self.troubles.drain(..over);
    }

    pub fn view(&self) -> View {
        self.view
    }

    /// Whether the person asked to leave.
    pub fn wants_to_quit(&self) -> bool {
        self.quit
    }
}
