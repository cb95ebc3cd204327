//! The cells of the table.

use super::sweep::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Joint,
    Rival,
    Means,
    Stages,
}

#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub kind: Kind,
    pub place: Place,
    pub sizes: usize,
    /// Nats.
    pub noise: f64,
}

impl Cell {
    pub fn name(&self) -> String {
        let kind = match (self.kind, self.place) {
            (Kind::Joint, Place::Inside) => "joint law",
            (Kind::Joint, Place::Below) => "joint, B_opt below",
            (Kind::Joint, Place::Above) => "joint, B_opt above",
            (Kind::Rival, _) => "no floor (rival)",
            (Kind::Means, _) => "demo's dynamics",
            (Kind::Stages, _) => "three stages",
        };
        format!("{kind}, {} sizes, {}", self.sizes, self.noise)
    }

    /// A model of ours has the form of this truth.
    pub fn own(&self) -> bool {
        matches!(self.kind, Kind::Joint | Kind::Stages)
    }

    pub fn seed(&self) -> u64 {
        let place = match self.place {
            Place::Inside => 0,
            Place::Below => 1,
            Place::Above => 2,
        };
        let kind = self.kind as u64;
        (((kind * 3 + place) * 16 + self.sizes as u64) * 100 + (self.noise * 1000.0) as u64) << 20
    }
}

pub fn all() -> Vec<Cell> {
    let kinds = [
        (Kind::Joint, Place::Inside),
        (Kind::Means, Place::Inside),
        (Kind::Rival, Place::Inside),
        (Kind::Joint, Place::Below),
        (Kind::Joint, Place::Above),
    ];
    let mut cells = Vec::new();
    for (kind, place) in kinds {
        for sizes in [5, 8, 12] {
            for noise in [0.005, 0.015] {
                cells.push(Cell { kind, place, sizes, noise });
            }
        }
    }
    // 1 % in S at one level, not noise in the loss.
    let stages = |sizes| Cell { kind: Kind::Stages, place: Place::Inside, sizes, noise: 0.01 };
    cells.extend([5, 8, 12].map(stages));
    cells
}
