//! The numbers beside the curve: the estimate with its open sides in words, every model with its
//! held-out error, who speaks and why, and what is refused.

use super::curve::refusal;
use crate::snapshot::*;
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::words;
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Panel<'a> {
    pub scene: Scene<'a>,
    pub group: &'a GroupFit,
    /// Place of the level.
    pub at: usize,
}

const LABEL: u16 = 7;

impl Widget for Panel<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Some(level) = self.group.levels.get(self.at) else { return };
        let mut pen =
            Pen::new(buf, self.scene.theme, Rect { width: area.width.saturating_sub(1), ..area });
        self.title(level, &mut pen);
        estimate(level, &mut pen);
        self.models(level, &mut pen);
        if !level.why.is_empty() && pen.left() > 1 {
            pen.wrapped("", &level.why, Role::Dim);
        }
        self.residuals(level, &mut pen);
        // The words of the other models' refusals, then the group's.
        for m in level.models.iter().filter(|m| Some(m.model) != level.model) {
            if let Some(why) = m.refused.as_ref().filter(|_| pen.left() > 1) {
                pen.wrapped("", &format!("{}: {why}", words::model(m.model)), Role::Dim);
            }
        }
        self.law(&mut pen);
        for r in &self.group.refused {
            if pen.left() > 1 {
                pen.wrapped("? ", &refusal(r), Role::Warn);
            }
        }
        self.left_out(&mut pen);
    }
}

impl Panel<'_> {
    fn title(&self, level: &LevelFit, pen: &mut Pen<'_>) {
        let place = format!("  {}/{}", self.at + 1, self.group.levels.len());
        let loss = format!("loss {}", units::loss(level.loss));
        pen.spans(&[(&loss, Role::Strong), (&place, Role::Dim), ("  [ ]", Role::Dim)]);
        let lr =
            self.group.lr.map_or(String::new(), |lr| format!(", lr {}", units::learning_rate(lr)));
        let groups = &self.scene.snapshot.fit.report.groups;
        let group = match groups.iter().position(|g| g.id == self.group.id) {
            Some(i) if groups.len() > 1 => format!(", group {}/{}", i + 1, groups.len()),
            _ => String::new(),
        };
        let on = words::loss_kind(level.on);
        pen.wrapped("", &format!("stable phase, {on}{lr}{group}"), Role::Dim);
        if pen.area.height > 24 {
            pen.blank();
        }
    }

    fn models(&self, level: &LevelFit, pen: &mut Pen<'_>) {
        if pen.area.height > 24 {
            pen.blank();
        }
        pen.text(&row("MODEL", "ERROR", "B_OPT"), Role::Heading);
        for (i, m) in level.models.iter().enumerate() {
            let speaks = level.model == Some(m.model);
            let shown = self.scene.app.curve.shown.get(i).copied().unwrap_or(false);
            let mark = match (speaks, shown) {
                (true, _) => "●",
                (_, true) => "○",
                _ => " ",
            };
            let cursor = if self.scene.app.curve.model == i { "▸" } else { " " };
            let score = words::percent(m.held_out_ln_e);
            let b_opt = if m.refused.is_some() { "refuses".into() } else { words::value(&m.b_opt) };
            let role = match (speaks, m.refused.is_some()) {
                (true, _) => Role::Curve,
                (_, true) => Role::Dim,
                _ if shown => Role::Other,
                _ => Role::Text,
            };
            let words = row(words::model(m.model), &score, &b_opt);
            pen.spans(&[
                (cursor, Role::Strong),
                (mark, role),
                (words.get(2..).unwrap_or(""), role),
            ]);
        }
    }

    /// How far each run that reached the level lies from the curve that speaks.
    fn residuals(&self, level: &LevelFit, pen: &mut Pen<'_>) {
        let of = |o: &Observed| {
            let run = self.scene.snapshot.runs.iter().find(|r| r.id == o.run)?;
            let miss = run.plots.residuals.iter().find(|r| r[0] == level.loss)?[1];
            Some(format!("{} {}", units::count(o.batch_size_tokens), words::change(miss)))
        };
        let all: Vec<String> = level.observed.iter().filter_map(of).collect();
        if !all.is_empty() && pen.left() > 1 {
            pen.wrapped("", &format!("runs off the curve: {}", all.join(", ")), Role::Text);
        }
    }

    fn law(&self, pen: &mut Pen<'_>) {
        let Some(law) = &self.group.law else { return };
        if pen.left() < 4 {
            return;
        }
        if pen.area.height > 24 {
            pen.blank();
        }
        let believed = if law.q_believed { " (believed)" } else { "" };
        let held = law.held_out_nats.map_or(String::new(), |h| format!(", held out {h:.3}"));
        pen.wrapped(
            "",
            &format!(
                "law: L_inf {:.3}, alpha {:.2}, gamma {:.2}, q {:.2}{believed}; rms {:.3} nats{held}",
                law.law.l_inf, law.law.alpha, law.law.gamma, law.law.q, law.rms_nats
            ),
            Role::Dim,
        );
        let memory = format!(
            "memory {}: tau {} steps, p {:.2}",
            words::memory(law.memory.source),
            units::count(law.memory.tau_steps),
            law.memory.p
        );
        pen.wrapped("", &memory, Role::Dim);
    }

    fn left_out(&self, pen: &mut Pen<'_>) {
        for r in self.group.runs.iter().filter(|r| !r.used) {
            if pen.left() > 0 {
                let why = r.why.as_deref().unwrap_or("left out");
                pen.wrapped("× ", &format!("{}: {why}", r.id), Role::Dim);
            }
        }
    }
}

/// Two blanks for the marks, then name, score and estimate in columns.
fn row(name: &str, score: &str, b_opt: &str) -> String {
    format!("  {name:<11}{score:>7}{b_opt:>8}")
}

fn estimate(level: &LevelFit, pen: &mut Pen<'_>) {
    pen.field("B_opt", LABEL, &words::interval(&level.b_opt), Role::BatchOpt);
    if let Some(side) = words::open_side(&level.b_opt) {
        pen.wrapped("       ", side, Role::Warn);
    }
    let range = level
        .within_2_percent
        .map_or("-".into(), |[l, h]| format!("{}–{}", units::count(l), units::count(h)));
    pen.field("2 %", LABEL, &range, Role::Text);
    pen.field("B_min", LABEL, &words::interval(&level.b_min), Role::Text);
    pen.field("E_min", LABEL, &words::interval(&level.e_min_tokens), Role::Text);
    pen.field("S_opt", LABEL, &words::interval(&level.s_opt_steps), Role::Text);
}
