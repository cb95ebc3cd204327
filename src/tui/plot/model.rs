//! What is plotted, in the units of its axes: charts above each other over one x. It knows no
//! terminal; [`super::cells`] and [`super::svg`] draw it.

use super::axes::Axis;
use crate::tui::theme::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dash {
    Solid,
    Dotted,
    Sparse,
}

/// Something drawn, in the units of the axes.
#[derive(Debug, Clone)]
pub(crate) enum Mark {
    Line {
        points: Vec<[f64; 2]>,
        role: Role,
        dash: Dash,
        layer: u8,
    },
    /// Constant from each point to the next.
    Stairs {
        points: Vec<[f64; 2]>,
        until: f64,
        role: Role,
        dash: Dash,
        layer: u8,
    },
    /// (x, low, high): upright lines from the lowest to the highest of each column, so that a spike
    /// of one step is seen.
    Range {
        points: Vec<[f64; 3]>,
        role: Role,
    },
    /// (x, low, high): filled lightly between.
    Band {
        points: Vec<[f64; 3]>,
        role: Role,
    },
    /// Ground of another shade over a range of x.
    Shade {
        from: f64,
        to: f64,
    },
    Vertical {
        x: f64,
        role: Role,
        dash: Dash,
    },
    Horizontal {
        y: f64,
        role: Role,
        dash: Dash,
    },
    /// One character on a place.
    Symbol {
        at: [f64; 2],
        symbol: char,
        role: Role,
    },
    /// Words near the first of some places where there is room for them: on nothing that is drawn,
    /// helping lines included. Left out where there is none.
    Label {
        at: Vec<[f64; 2]>,
        text: String,
        role: Role,
    },
    /// Words in the strip above the plot, over a range of x; left out where there is no room.
    Top {
        from: f64,
        to: f64,
        text: String,
        role: Role,
    },
    /// Words in the strip above the plot, at one x; they go before [`Mark::Top`].
    Flag {
        x: f64,
        text: String,
        role: Role,
    },
}

/// Places along a line for its name, from part `from` of its points backwards.
pub(crate) fn along(points: &[[f64; 2]], from: f64) -> Vec<[f64; 2]> {
    let parts = (0..12).map(|i| from * (1.0 - f64::from(i) / 12.0));
    parts.filter_map(|part| points.get((points.len() as f64 * part) as usize).copied()).collect()
}

/// Two axes and what stands between them.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub x: Axis,
    pub y: Axis,
    pub marks: Vec<Mark>,
}

impl Chart {
    /// A place on the chart, 0 to 1 inside of it, y upwards.
    pub fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.x.place(x), self.y.place(y)]
    }

    /// A row above the plot is kept for words, so that they cover no data.
    pub fn has_strip(&self) -> bool {
        self.marks.iter().any(|m| matches!(m, Mark::Top { .. } | Mark::Flag { .. }))
    }
}

/// A chart and the words above it.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// What is drawn, each in its own role: the legend.
    pub title: Vec<(String, Role)>,
    pub chart: Chart,
    /// Part of the height, in relation to the others.
    pub share: u16,
    /// Panels of a higher rank are left out first where there is no room.
    pub rank: u8,
}

/// Panels above each other over one x axis.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What it is of, for a picture that leaves the screen.
    pub title: String,
    /// Name and unit of x.
    pub x_name: &'static str,
    pub panels: Vec<Panel>,
    /// The place that matters most, where a zoom without a cursor goes.
    pub focus: [f64; 2],
    /// The axes before anyone zoomed: those of the first panel.
    pub whole: [Axis; 2],
}
