//! The approval dialog: what is in force now and what would be then, what it rests on, what it is
//! worth, and which guards speak against it.

use super::schedule::{reached, relative};
use crate::snapshot::*;
use crate::tui::app::Approval;
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::widgets::popup;
use crate::tui::{approve, text, words};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Dialog<'a>(pub Scene<'a>, pub &'a Approval);

impl Widget for Dialog<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Dialog(scene, state) = self;
        let theme = scene.theme;
        let proposal = approve::proposal(state, scene.snapshot);
        // On a narrow screen nothing of the view is left beside it.
        let width = if area.width < 100 { area.width } else { 96 };
        let height = proposal.map_or(8, |p| lines(scene, state, p, width)).min(area.height);
        let title = format!("approve for {}: proposal {}", state.run, state.number);
        let inner = popup::open(buf, theme, area, (width, height), &title);
        // The last two rows stay: what is said, and what to press.
        let body = Rect { height: inner.height.saturating_sub(2), ..inner };
        let mut pen = Pen::new(buf, theme, body);
        pen.skip = state.scroll;
        match proposal {
            Some(p) => content(state, p, &mut pen),
            None => pen.wrapped(
                "",
                "This proposal is no longer on the table. Esc, and look at the new one.",
                Role::Warn,
            ),
        }
        let below = pen.line > body.height + state.scroll;
        let foot = Rect { y: body.bottom(), height: inner.height.min(2), ..inner };
        self.foot(proposal, below, foot, buf);
    }
}

/// Rows that the dialog wants.
fn lines(scene: Scene<'_>, state: &Approval, p: &Proposal, width: u16) -> u16 {
    let area = Rect::new(0, 0, width.saturating_sub(4), 1);
    let mut scratch = Buffer::empty(area);
    let mut pen = Pen::new(&mut scratch, scene.theme, area);
    content(state, p, &mut pen);
    pen.line + 4
}

fn content(state: &Approval, p: &Proposal, pen: &mut Pen<'_>) {
    difference(p, pen);
    pen.blank();
    guards(state, p, pen);
    pen.blank();
    pen.text("rests on", Role::Heading);
    if p.evidence.is_empty() {
        pen.text("  nothing that was stated", Role::Warn);
    }
    for e in &p.evidence {
        pen.wrapped("  ", e, Role::Text);
    }
    if !p.policies.is_empty() {
        pen.blank();
        worth(p, pen);
    }
}

/// Now and then, entry by entry.
fn difference(p: &Proposal, pen: &mut Pen<'_>) {
    pen.text("tokens per step, from token count on", Role::Heading);
    let gone = |e: &Entry| !p.schedule.contains(e);
    let new = |e: &Entry| !p.from.contains(e);
    if p.from.is_empty() {
        pen.text("  now   the trainer's own batch size", Role::Dim);
    }
    for e in p.from.iter().filter(|e| !gone(e)) {
        pen.spans(&[("  stays ", Role::Dim), (&words::entry(e), Role::Dim)]);
    }
    for e in p.from.iter().filter(|e| gone(e)) {
        pen.spans(&[("- now   ", Role::Bad), (&words::entry(e), Role::Bad)]);
    }
    if p.schedule.is_empty() {
        pen.text("+ then  the trainer's own batch size", Role::Good);
    }
    for e in p.schedule.iter().filter(|e| new(e)) {
        pen.spans(&[("+ then  ", Role::Good), (&words::entry(e), Role::Good)]);
    }
}

fn worth(p: &Proposal, pen: &mut Pen<'_>) {
    let target = p.policies.iter().find_map(|o| o.target_loss);
    let to = target.map_or(String::new(), |l| format!(" to loss {}", crate::units::loss(l)));
    pen.text(&format!("tokens{to}, by the law"), Role::Heading);
    let leave = p.policies.iter().find(|o| o.policy == Policy::Leave);
    for o in &p.policies {
        let saves = leave
            .filter(|_| o.policy != Policy::Leave)
            .and_then(|l| relative(l.tokens.value, o.tokens.value))
            .map_or(String::new(), words::change);
        let line = format!(
            "  {:<13} {:>7} {:>14} {:>8}  memory {}",
            words::policy(o.policy),
            reached(&o.tokens),
            words::bounds(&o.tokens),
            saves,
            words::memory(o.memory)
        );
        pen.text(&line, Role::Text);
    }
}

fn guards(state: &Approval, p: &Proposal, pen: &mut Pen<'_>) {
    pen.text("guards", Role::Heading);
    if p.guards.is_empty() {
        pen.text("  ✓ none speaks against it", Role::Good);
    }
    for (i, g) in approve::blocking(p).enumerate() {
        let marked = state.overrides.contains(&g.name);
        let lead = format!("  {} {} ", i + 1, if marked { "✓" } else { "✗" });
        let (word, role) = if marked { ("overridden", Role::Warn) } else { ("blocks", Role::Bad) };
        pen.wrapped(&lead, &format!("{} {word}: {}", g.name.as_str(), g.text), role);
    }
    for g in p.guards.iter().filter(|g| !g.blocks) {
        pen.wrapped("  · ", &format!("{}: {}", g.name.as_str(), g.text), Role::Text);
    }
}

impl Dialog<'_> {
    fn foot(&self, proposal: Option<&Proposal>, below: bool, area: Rect, buf: &mut Buffer) {
        let Dialog(scene, state) = self;
        let theme = scene.theme;
        let said = match (&state.said, &state.sent) {
            (Some(said), _) => said.clone(),
            (None, Some(_)) => "sent; waiting for the answer".into(),
            (None, None) if below => "j scrolls down".into(),
            (None, None) => String::new(),
        };
        let at = (area.x, area.y);
        text::put(buf, theme, at, area.width, &said, theme.style(Role::Warn));
        if area.height < 2 {
            return;
        }
        let open = proposal
            .map(|p| approve::blocking(p).filter(|g| !state.overrides.contains(&g.name)).count());
        let mut pen = Pen::new(buf, theme, Rect { y: area.y + 1, height: 1, ..area });
        let writes = !scene.snapshot.read_only && state.sent.is_none();
        match open {
            Some(0) if writes => pen.spans(&[
                ("Y", Role::Key),
                (" writes it    ", Role::Good),
                ("Esc", Role::Key),
                (" cancels", Role::Dim),
            ]),
            Some(n) if writes => {
                let keys = if n == 1 { "its number".into() } else { format!("their {n} numbers") };
                let words = format!(" a guard blocks; {keys} overrides    ");
                pen.spans(&[
                    ("✗", Role::Bad),
                    (&words, Role::Warn),
                    ("Esc", Role::Key),
                    (" cancels", Role::Dim),
                ]);
            }
            _ => pen.spans(&[("Esc", Role::Key), (" closes", Role::Dim)]),
        }
    }
}
