//! What each approved change was said to bring, and what came.

use super::page::Html;
use crate::report::text::{interval, maybe};
use crate::snapshot::{ControlView, Forecast, forecast_words};
use crate::units;

/// A row for each change that was forecast, and outcomes in words.
pub fn against_outcome(html: &mut Html, control: &ControlView) {
    html.section("Forecast against outcome");
    if control.forecasts.is_empty() {
        html.paragraph("No approved change carries a forecast.");
        return;
    }
    html.table(
        [
            "revision",
            "batch size at tokens",
            "loss forecast",
            "if left",
            "measured",
            "between tokens",
            "forecast",
        ],
        control.forecasts.iter().map(row).collect(),
    );
    html.list(forecast_words(&control.forecasts));
}

fn row(f: &Forecast) -> [String; 7] {
    let p = &f.promise;
    let [from, to] = p.judged_over_tokens.map(units::count);
    [
        f.revision.to_string(),
        format!("{} at {}", units::count(p.batch_size_tokens), units::count(p.from_tokens)),
        interval(&p.loss, units::loss),
        maybe(Some(p.loss_if_left), units::loss),
        f.outcome.as_ref().map_or_else(
            || "not yet".into(),
            |o| format!("{} +- {}", units::loss(o.loss), units::loss(o.loss_se)),
        ),
        format!("{from} to {to}"),
        match &f.outcome {
            None if f.spoiled_at.is_some() => "cannot be judged".into(),
            None => "open".into(),
            Some(o) if o.kept => "held".into(),
            Some(_) => "did not hold".into(),
        },
    ]
}
