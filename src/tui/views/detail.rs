//! What there is to say of one run: the verdict with its reasons, the control state, and where the
//! numbers come from.

use super::{run_figure, split};
use crate::snapshot::*;
use crate::tui::plot::Lens;
use crate::tui::text::{self, Pen};
use crate::tui::theme::{Role, Scene};
use crate::tui::words;
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Detail<'a>(pub Scene<'a>, pub &'a RunView);

impl Widget for Detail<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Detail(scene, run) = self;
        text::rule(buf, scene.theme, Rect { height: 1, ..area }, &run.id);
        let inner = Rect {
            x: area.x + 2,
            y: area.y + 1,
            width: area.width.saturating_sub(4),
            height: area.height.saturating_sub(1),
        };
        let side = inner.width >= 110 && inner.height >= 8 && !run.plots.loss.is_empty();
        let (left, right) =
            if side { split(inner, inner.width / 2, 2) } else { (inner, Rect::ZERO) };
        let mut pen = Pen::new(buf, scene.theme, left);
        verdict(&mut pen, run);
        // Control and sources stand below the reasons where there is room.
        if pen.left() >= 1 {
            pen.wrapped("control  ", &control_line(run), Role::Dim);
        }
        if pen.left() >= 1 {
            pen.wrapped("ahead    ", &ahead(run), Role::Dim);
        }
        if pen.left() >= 2 {
            pen.wrapped("source   ", &source_line(run), Role::Dim);
        }
        for note in &run.notes {
            if pen.left() >= 1 {
                pen.wrapped("note     ", note, Role::Dim);
            }
        }
        if side {
            match run_figure::figure(run, &Lens::default(), 0) {
                Some(figure) => figure.draw(scene.theme, right, buf),
                None => run_figure::nothing(scene, right, buf),
            }
        }
    }
}

/// The verdict in words and what it rests on; at least a line is kept free for the control state.
pub(crate) fn verdict(pen: &mut Pen<'_>, run: &RunView) {
    let (glyph, role) = words::verdict(run.verdict.kind);
    pen.wrapped(&format!("{glyph} "), &run.verdict.text, role);
    for reason in &run.verdict.reasons {
        if pen.left() > 2 {
            pen.wrapped("  · ", reason, Role::Text);
        }
    }
}

/// `revision 7 applied · trainer ready, unit 65.5K`
pub(crate) fn control_line(run: &RunView) -> String {
    let c = &run.control;
    let mut parts = Vec::new();
    match (c.revision, c.state) {
        (Some(n), Some(s)) => parts.push(format!("revision {n} {}", words::control(s).0)),
        (_, Some(s)) => parts.push(words::control(s).0.into()),
        _ if c.path.is_empty() => parts.push("no control file".into()),
        _ => parts.push("nothing written".into()),
    }
    if let Some(p) = &c.proposal {
        parts.push(format!("proposed: {} (4 a)", words::schedule(&p.schedule)));
    }
    match &c.trainer {
        Some(t) => {
            let unit = t.unit_tokens.map_or("unit unknown".into(), |u| {
                format!("trainer ready, unit {}", units::count(u as f64))
            });
            parts.push(unit);
        }
        None => parts.push("no trainer has said ready".into()),
    }
    parts.join(" · ")
}

/// What is to come, and when: `next 4.19M at 250B, in 1d 02h · target 2.13 at 400B, in 3d 01h ·
/// decay from 480B, in 4d 03h`. Empty where nothing is, as of a run that has ended.
pub(crate) fn ahead(run: &RunView) -> String {
    if run.state == RunState::Ended {
        return String::new();
    }
    let now = run.tokens.unwrap_or(f64::NAN);
    let size = |e: &Entry| units::count(e.batch_size_tokens as f64);
    let at = |tokens: f64| format!("{}{}", units::count(tokens), away(run, tokens));
    let mut parts = Vec::new();
    let planned = run.plan.iter().flat_map(|p| &p.schedule);
    let planned = planned.filter(|e| e.from_tokens as f64 > now).min_by_key(|e| e.from_tokens);
    let due = run.plan.as_ref().filter(|p| p.first_change_due).and_then(|p| due(p));
    match (&run.control.next, planned) {
        (Some(e), _) => parts.push(format!("next {} at {}", size(e), at(e.from_tokens as f64))),
        (None, _) if due.is_some() => parts.extend(due.map(|e| format!("planned {} now", size(e)))),
        (None, Some(e)) => {
            parts.push(format!("planned {} at {}", size(e), at(e.from_tokens as f64)));
        }
        (None, None) => {}
    }
    let way = run.plan.iter().flat_map(|p| &p.policies);
    let planned = way.min_by_key(|p| p.policy != Policy::Planned);
    let after = planned.and_then(|p| Some((p, p.loss_after_decay.value?)));
    if let Some((p, after)) = after {
        let policy = words::policy(p.policy);
        parts.push(format!("{} after the decay ({policy})", units::loss(after)));
    } else if let Some(p) = planned
        && let Some(target) = p.target_loss
    {
        let when = p.tokens.value.map_or("never".into(), |t| format!("at {}", at(t)));
        parts.push(format!("target {} {when} ({})", units::loss(target), words::policy(p.policy)));
    }
    let decay = run.plots.phases.iter().rfind(|p| p.0 == Phase::Decay);
    let taken = run.plan.as_ref().and_then(|p| p.decay_taken);
    match (decay, run.plan.as_ref().and_then(|p| p.decay_from)) {
        (Some((_, from, _)), _) => parts.push(format!("decays since {}", units::count(*from))),
        (None, Some(from)) if from > now => parts.push(format!("decay from {}", at(from))),
        (None, Some(from)) => parts.push(format!("decay due since {}", units::count(from))),
        // It moves on with the run as long as nobody says where it ends.
        (None, None) => parts.extend(taken.map(|from| {
            format!(
                "a decay from {} is taken (--budget-tokens, --decay-tokens)",
                units::count(from)
            )
        })),
    }
    parts.join(" · ")
}

/// The change that is due, which the run may have passed since it was planned.
fn due(plan: &Plan) -> Option<&Entry> {
    let made = plan.now.tokens?;
    plan.schedule.iter().find(|e| e.from_tokens as f64 > made)
}

/// `, in 1d 02h`: until a token count, at the present speed.
fn away(run: &RunView, at: f64) -> String {
    match (run.tokens, run.tokens_per_second) {
        (Some(t), Some(rate)) if rate > 0.0 && at > t => {
            format!(", in {}", units::duration((at - t) / rate))
        }
        _ => String::new(),
    }
}

fn source_line(run: &RunView) -> String {
    let bad = match run.bad_lines {
        0 => String::new(),
        n => format!(", {} bad (6)", units::exact(n)),
    };
    format!(
        "{} · {} lines{bad} · B {} · tokens {}",
        run.format,
        units::exact(run.lines),
        words::batch_source(run.batch_source),
        words::tokens_source(run.tokens_source)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;
    use std::sync::Arc;

    /// While nobody approves it the run passes the token count at which a change was due.
    #[test]
    fn a_change_that_is_due_is_one_for_now() {
        let mut run = (*fixture::sweep().runs[0]).clone();
        let mut plan = (**run.plan.as_ref().unwrap()).clone();
        assert!(ahead(&run).starts_with("planned 768 at 16M, in "), "{}", ahead(&run));
        plan.first_change_due = true;
        for passed in [12.4e6, 16.1e6, 17e6] {
            run.tokens = Some(passed);
            run.plan = Some(Arc::new(plan.clone()));
            assert!(ahead(&run).starts_with("planned 768 now · "), "{}", ahead(&run));
        }
    }

    #[test]
    fn a_decay_that_nobody_gave_is_named_and_not_counted_down_to() {
        let mut run = (*fixture::sweep().runs[0]).clone();
        let mut plan = (**run.plan.as_ref().unwrap()).clone();
        assert!(ahead(&run).contains("decay from 80M, in "));
        (plan.decay_from, plan.decay_taken) = (None, Some(64e6));
        run.plan = Some(Arc::new(plan));
        let words = ahead(&run);
        let ended = RunView { state: RunState::Ended, ..run.clone() };
        assert_eq!(ahead(&ended), "");
        assert!(
            words.ends_with("a decay from 64M is taken (--budget-tokens, --decay-tokens)"),
            "{words}"
        );
    }
}
