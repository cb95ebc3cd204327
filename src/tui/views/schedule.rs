//! What could be done: the policies side by side, the staircase of one of them, the guards, and
//! the proposal on its way to an approval.

use super::{above, instead, schedule_figure, split};
use crate::snapshot::*;
use crate::tui::app::PlotKind;
use crate::tui::text::{self, Pen};
use crate::tui::theme::{Role, Scene};
use crate::tui::widgets::table::{self, Column};
use crate::tui::{rows, words};
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Schedule<'a>(pub Scene<'a>);

const fn column(title: &'static str, width: u16, most: u16, right: bool, rank: u8) -> Column {
    Column { title, width, most, right, rank }
}

#[rustfmt::skip]
const COLUMNS: [Column; 11] = [
    column("POLICY", 12, 14, false, 0),
    column("TOKENS", 6, 6, true, 0),
    column("90 %", 11, 13, false, 3),
    column("VS LEAVE", 8, 8, true, 0),
    column("RISK", 5, 5, true, 2),
    column("STEPS", 6, 6, true, 2),
    column("90 %", 11, 13, false, 4),
    column("TIME", 7, 7, true, 1),
    column("90 %", 13, 17, false, 5),
    column("AT BUDGET", 9, 9, true, 1),
    column("MEMORY", 8, 8, false, 2),
];

impl Widget for Schedule<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let scene = self.0;
        let Some(run) = rows::selected(scene.app, scene.snapshot) else { return };
        let (head, body) = above(area, 2);
        let head = Rect { x: head.x + 2, width: head.width.saturating_sub(4), ..head };
        self.headline(run, &mut Pen::new(buf, scene.theme, head));
        let bottom = match (&run.control.proposal, &run.control.said) {
            (Some(_), _) => 3,
            (None, Some(_)) => 2,
            (None, None) => 1 + u16::from(!run.control.offers.is_empty()),
        };
        let (body, strip) = above(body, body.height.saturating_sub(bottom));
        self.proposal(run, strip, buf);
        let Some(plan) = &run.plan else {
            let why: Vec<String> = std::iter::once(run.verdict.text.clone())
                .chain(run.verdict.reasons.clone())
                .collect();
            return instead(scene, body, "No plan for this run yet.", &why, buf);
        };
        let policies = rows::policies(run);
        if policies.is_empty() {
            let why: Vec<String> = plan.verdict.reasons.clone();
            return instead(scene, body, &plan.verdict.text, &why, buf);
        }
        let (list, rest) = above(body, policies.len() as u16 + 2);
        let whole = self.policies(policies, list, buf);
        let (left, right) = split(rest, rest.width * 11 / 20, 2);
        let chosen = rows::policy(scene.app, policies);
        let lens = scene.app.lens(PlotKind::Schedule);
        if let Some(figure) = schedule_figure::figure(run, scene.app, lens) {
            figure.draw(scene.theme, left, buf);
        }
        let right = Rect { width: right.width.saturating_sub(1), ..right };
        let mut pen = Pen::new(buf, scene.theme, right);
        if let Some(p) = chosen {
            facts(p, whole, &mut pen);
        }
        guards(run, chosen, plan, &mut pen);
    }
}

impl Schedule<'_> {
    fn headline(&self, run: &RunView, pen: &mut Pen<'_>) {
        let now = format!(
            "  {} · {} tokens · loss {} · B {}",
            words::phase(run.phase),
            words::count(run.tokens),
            words::loss(run.loss),
            words::count(run.batch_size)
        );
        pen.spans(&[(&run.id, Role::Strong), (&now, Role::Text)]);
        let Some(plan) = &run.plan else { return };
        let target = match (plan.goal, plan.policies.first()) {
            (Goal::Decayed, Some(leave)) => {
                leave.loss_after_decay.value.map(|l| format!(": {} if it is left", units::loss(l)))
            }
            (_, leave) => {
                leave.and_then(|p| p.target_loss).map(|l| format!(": {}", units::loss(l)))
            }
        };
        let target = target.unwrap_or_default();
        pen.text(&format!("goal: {}{target}", words::goal(plan.goal)), Role::Dim);
    }

    /// Whether every column had room.
    fn policies(&self, policies: &[PolicyOutcome], area: Rect, buf: &mut Buffer) -> bool {
        let theme = self.0.theme;
        let leave = policies.iter().find(|p| p.policy == Policy::Leave);
        // Where the goal is the loss after a decay, that is what is told and compared.
        let decays = leave.is_some_and(|l| l.loss_after_decay.value.is_some());
        let mut columns = COLUMNS;
        if decays {
            columns[9] = column("AFTER DECAY", 11, 11, true, 0);
        }
        let columns = &columns;
        let places = table::layout(columns, area.x + 2, area.width.saturating_sub(3));
        table::header(buf, theme, columns, &places, area.y, None);
        let chosen = rows::policy_row(self.0.app, policies);
        for (i, p) in policies.iter().enumerate() {
            let y = area.y + 1 + i as u16;
            if y >= area.bottom() {
                break;
            }
            if i == chosen {
                table::select(buf, theme, Rect { y, height: 1, ..area });
                text::put(buf, theme, (area.x, y), 1, "▸", theme.style(Role::Strong));
            }
            let (saves, role) = saves(leave, p);
            let plain = theme.style(Role::Text);
            let dim = theme.style(Role::Dim);
            let cells: [(String, Style); 11] = [
                (words::policy(p.policy).into(), plain),
                (reached(&p.tokens), plain),
                (words::spread(&p.tokens, units::count), dim),
                (saves, theme.style(role)),
                (risk(p), plain),
                (words::count(p.steps), plain),
                (words::spread(&p.steps_interval, units::count), dim),
                (p.hours.map_or("-".into(), hours), plain),
                (words::spread(&p.hours_interval, hours), dim),
                (
                    words::loss(if decays { &p.loss_after_decay } else { &p.loss_at_budget }.value),
                    plain,
                ),
                (words::memory(p.memory).into(), dim),
            ];
            table::row(buf, theme, columns, &places, y, &cells);
        }
        places.len() == columns.len()
    }

    /// The proposal, and what to press.
    fn proposal(&self, run: &RunView, area: Rect, buf: &mut Buffer) {
        let Scene { snapshot, theme, .. } = self.0;
        let at = Rect { x: area.x + 2, width: area.width.saturating_sub(4), ..area };
        let Some(p) = &run.control.proposal else {
            let hint = if snapshot.read_only {
                "read only: nothing can be proposed or written"
            } else {
                "p proposes the plan, + or - a size; nothing is written before you approve"
            };
            let mut pen = Pen::new(buf, theme, at);
            if let Some(said) = &run.control.said {
                return pen.wrapped("", said, Role::Warn);
            }
            if let Some(offer) = run.control.offers.last() {
                pen.text(offer, Role::Warn);
            }
            return pen.text(hint, Role::Dim);
        };
        text::rule(buf, theme, Rect { height: 1, ..area }, &format!("proposal {}", p.number));
        let mut pen =
            Pen::new(buf, theme, Rect { y: at.y + 1, height: at.height.saturating_sub(1), ..at });
        let blocks = p.guards.iter().filter(|g| g.blocks).count();
        let state = match (blocks, snapshot.read_only) {
            (_, true) => "read only",
            (0, _) => "a looks at it and approves, w withdraws it",
            (1, _) => "1 guard blocks; a looks at it, w withdraws it",
            _ => "guards block; a looks at it, w withdraws it",
        };
        pen.spans(&[
            (&words::schedule(&p.from), Role::Dim),
            (" → ", Role::Dim),
            (&words::schedule(&p.schedule), Role::Planned),
        ]);
        match &p.answer {
            Some(answer) => pen.text(answer, Role::Warn),
            None => pen.text(state, if blocks > 0 { Role::Warn } else { Role::Text }),
        }
    }
}

/// Against leaving the run: tokens, or nats where the goal is the loss after a decay.
fn saves(leave: Option<&PolicyOutcome>, p: &PolicyOutcome) -> (String, Role) {
    let good = |yes: bool| if yes { Role::Good } else { Role::Warn };
    let Some(leave) = leave.filter(|_| p.policy != Policy::Leave) else {
        return (String::new(), Role::Dim);
    };
    if let (Some(a), Some(b)) = (leave.loss_after_decay.value, p.loss_after_decay.value) {
        return (format!("{:+.4}", b - a), good(b - a < -5e-5));
    }
    match relative(leave.tokens.value, p.tokens.value) {
        Some(x) => (words::change(x), good(x < -0.005)),
        None => ("-".into(), Role::Dim),
    }
}

/// E/E_leave - 1.
pub(crate) fn relative(leave: Option<f64>, tokens: Option<f64>) -> Option<f64> {
    Some(tokens? / leave.filter(|l| *l > 0.0)? - 1.0)
}

/// `-` until the memory is measured.
fn risk(p: &PolicyOutcome) -> String {
    let unknown = if p.policy == Policy::Leave { "" } else { "-" };
    p.risk.map_or(unknown.into(), units::percent)
}

pub(crate) fn reached(tokens: &Interval) -> String {
    tokens.value.map_or("never".into(), units::count)
}

fn hours(h: f64) -> String {
    units::duration(h * 3600.0)
}

/// Of the chosen policy, what the table may have no room for and what no column tells.
fn facts(p: &PolicyOutcome, told: bool, pen: &mut Pen<'_>) {
    pen.text(words::policy(p.policy), Role::Heading);
    if let (Some(steps), false) = (p.steps, told) {
        let within = |b: String| if b.is_empty() { b } else { format!(" ({b})") };
        let mut text = format!(
            "{} steps{}",
            units::count(steps),
            within(words::spread(&p.steps_interval, units::count))
        );
        if let Some(h) = p.hours {
            let bounds = within(words::spread(&p.hours_interval, hours));
            text.push_str(&format!(", {}{bounds} from now", hours(h)));
        }
        pen.wrapped("· ", &text, Role::Text);
    }
    if let Some(a) = &p.most_above_leave {
        let text = format!(
            "on the way up to {} above leaving it, at {} tokens",
            units::loss(a.nats),
            units::count(a.tokens)
        );
        pen.wrapped("· ", &text, Role::Text);
    } else if p.policy != Policy::Leave {
        pen.wrapped("· ", "on the way never above leaving it", Role::Text);
    }
    pen.blank();
}

fn guards(run: &RunView, chosen: Option<&PolicyOutcome>, plan: &Plan, pen: &mut Pen<'_>) {
    pen.text("guards of the planned schedule", Role::Heading);
    if run.state == RunState::Ended {
        pen.text("✗ the run has ended", Role::Bad);
    } else if plan.guards.is_empty() {
        pen.text("✓ none speaks against it", Role::Good);
    }
    for g in &plan.guards {
        let (mark, role) = if g.blocks { ("✗ ", Role::Bad) } else { ("· ", Role::Text) };
        pen.wrapped(mark, &format!("{}: {}", g.name.as_str(), g.text), role);
    }
    if let Some(p) = chosen.filter(|p| !p.notes.is_empty()) {
        pen.blank();
        pen.text(&format!("{} assumes", words::policy(p.policy)), Role::Heading);
        for note in &p.notes {
            pen.wrapped("· ", note, Role::Dim);
        }
    }
}
