//! The E(S) curve at one loss level, its residuals, or B_opt over all levels; the numbers stand
//! beside it.

use super::{b_opt_figure, curve_figure, curve_panel, instead, split};
use crate::snapshot::*;
use crate::tui::app::{App, CurvePlot, PlotKind};
use crate::tui::plot::Figure;
use crate::tui::rows;
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Curve<'a>(pub Scene<'a>);

impl Widget for Curve<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let scene = self.0;
        let Some(group) = rows::group(scene.app, scene.snapshot) else {
            let words = if scene.snapshot.fit.running {
                "the first fit is being computed"
            } else {
                "a fit needs runs at several batch sizes and one learning rate, in their stable phase"
            };
            return instead(scene, area, "No fit yet.", &[words.into()], buf);
        };
        let Some(at) = rows::level(scene.app, group) else {
            let mut why: Vec<String> = group.refused.iter().map(refusal).collect();
            why.extend(
                group.runs.iter().filter_map(|r| r.why.as_ref().map(|w| format!("{}: {w}", r.id))),
            );
            return instead(scene, area, "No loss level can be compared yet.", &why, buf);
        };
        let panel = (area.width / 3).clamp(30, 56);
        let (left, right) = split(area, area.width - panel - 1, 1);
        match figure(scene.app, scene.snapshot) {
            Some(figure) => figure.draw(scene.theme, left, buf),
            None => {
                let words = match scene.app.curve.plot {
                    CurvePlot::Curve => "  no run has reached this level",
                    CurvePlot::Residuals => "  no model speaks at a level yet",
                    CurvePlot::OverLoss | CurvePlot::OverTokens => "  no level has a B_opt yet",
                };
                Pen::new(buf, scene.theme, left).text(words, Role::Text);
            }
        }
        curve_panel::Panel { scene, group, at }.render(right, buf);
    }
}

/// What is plotted; `None` where there is nothing to plot.
pub(crate) fn figure(app: &App, snapshot: &Snapshot) -> Option<Figure> {
    let group = rows::group(app, snapshot)?;
    let level = group.levels.get(rows::level(app, group)?)?;
    match app.curve.plot {
        CurvePlot::Curve => curve_figure::curve(level, &app.curve.shown, app.lens(PlotKind::Curve)),
        CurvePlot::Residuals => {
            curve_figure::residuals(snapshot, group, level, app.lens(PlotKind::Residuals))
        }
        CurvePlot::OverLoss => {
            b_opt_figure::over_loss(snapshot, group, level, app.lens(PlotKind::OverLoss))
        }
        CurvePlot::OverTokens => {
            let run = rows::selected(app, snapshot);
            b_opt_figure::over_tokens(snapshot, group, run, app.lens(PlotKind::OverTokens))
        }
    }
}

/// `what: why; needs`
pub(crate) fn refusal(r: &Refused) -> String {
    if r.needs.is_empty() {
        format!("{}: {}", r.what, r.why)
    } else {
        format!("{}: {}; needs {}", r.what, r.why, r.needs)
    }
}
