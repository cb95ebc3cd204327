//! One run in words, and its plot.

use super::{above, detail, run_figure};
use crate::snapshot::*;
use crate::tui::app::PlotKind;
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::{rows, words};
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Run<'a>(pub Scene<'a>);

impl Widget for Run<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let scene = self.0;
        let Some(run) = rows::selected(scene.app, scene.snapshot) else { return };
        let facts = if area.height >= 18 { 5 } else { 3 };
        let (head, body) = above(area, facts);
        let head = Rect { x: head.x + 2, width: head.width.saturating_sub(4), ..head };
        let mut pen = Pen::new(buf, scene.theme, head);
        headline(&mut pen, run);
        numbers(&mut pen, run);
        let (glyph, role) = words::verdict(run.verdict.kind);
        pen.text(&format!("{glyph} {}", run.verdict.text), role);
        for line in [detail::ahead(run), detail::control_line(run)] {
            if pen.left() > 0 && !line.is_empty() {
                pen.text(&line, Role::Dim);
            }
        }
        let lens = scene.app.lens(PlotKind::Run);
        match run_figure::figure(run, lens, scene.app.smoothing) {
            Some(figure) => figure.draw(scene.theme, body, buf),
            None => run_figure::nothing(scene, body, buf),
        }
    }
}

fn headline(pen: &mut Pen<'_>, run: &RunView) {
    let (mark, state, role) = words::state(run.state);
    let schedule = match run.schedule {
        Schedule::Wsd => "",
        Schedule::Declining => " · learning rate without a plateau",
        Schedule::Unknown => " · schedule not recognised",
        Schedule::Absent => " · no learning rate logged",
    };
    let lr = run.lr.filter(|_| pen.area.width >= 90);
    let lr = lr.map_or(String::new(), |lr| format!(" · lr {}", units::learning_rate(lr)));
    let rest = format!(
        "  {} · step {} · {} tokens · loss {}{lr}{schedule}",
        words::phase(run.phase),
        if pen.area.width < 100 {
            words::count(run.step)
        } else {
            run.step.map_or("-".into(), |s| units::exact(s.max(0.0) as u64))
        },
        words::count(run.tokens),
        words::loss(run.loss),
    );
    pen.spans(&[
        (&run.id, Role::Strong),
        ("  ", Role::Text),
        (mark, role),
        (" ", Role::Text),
        (state, role),
        (&rest, Role::Text),
    ]);
}

fn numbers(pen: &mut Pen<'_>, run: &RunView) {
    let speed = run.tokens_per_second.map_or("-".into(), units::count);
    let iv = run.b_opt.as_ref().map_or("-".into(), words::interval);
    pen.spans(&[
        ("B ", Role::Dim),
        (&words::count(run.batch_size), Role::BatchNow),
        ("  B_opt ", Role::Dim),
        (&iv, Role::BatchOpt),
        ("  tokens lost at B ", Role::Dim),
        (&words::lost(run), Role::Text),
        ("  ", Role::Dim),
        (&speed, Role::Text),
        (" tokens/s", Role::Dim),
    ]);
}
