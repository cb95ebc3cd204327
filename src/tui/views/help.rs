//! The keys, made from the key map, and what the numbers mean.

use crate::tui::keymap::{self, Context, KEYS};
use crate::tui::text::Pen;
use crate::tui::theme::{Role, Scene};
use crate::tui::widgets::popup;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

#[derive(Debug)]
pub(crate) struct Help<'a>(pub Scene<'a>, pub u16);

const MEANING: [(&str, &str); 8] = [
    ("B", "tokens per optimizer step, now"),
    (
        "B_opt",
        "batch size that reaches the present loss with the fewest tokens, with its 90 % \
      interval; all of this is about the stable phase: a decay anneals much of the noise away",
    ),
    ("2 %", "batch sizes that need at most 2 % more tokens than the optimum: E(B) is flat there"),
    ("LOST", "tokens lost at the batch size now: E(B)/E_min - 1; decide on this one"),
    ("B_min", "below it the loss is never reached"),
    ("held out", "error of ln E on a batch size that the model has not seen; the best one speaks"),
    ("≤ ≥ ?", "the optimum is at or beyond the sizes tested, or cannot be told yet, and why"),
    ("▲ on the curve", "a run that has not reached the level: it needs more tokens than that"),
];

impl Widget for Help<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Help(scene, scroll) = self;
        let theme = scene.theme;
        let size = (if area.width < 100 { area.width } else { 84 }, area.height);
        let inner = popup::open(buf, theme, area, size, "keys (j k scroll, Esc closes)");
        let here = Context::of(scene.app.view);
        let mut order = vec![here, Context::Everywhere];
        if scene.snapshot.replay.is_some() {
            order.insert(0, Context::Replay);
        }
        for b in KEYS {
            if !order.contains(&b.context) {
                order.push(b.context);
            }
        }
        let mut pen = Pen::new(buf, theme, inner);
        pen.skip = scroll;
        for context in order {
            pen.text(context.title(), Role::Heading);
            for b in KEYS.iter().filter(|b| b.context == context && !b.words.is_empty()) {
                pen.field(&keymap::names(b), 18, b.words, Role::Text);
            }
            pen.blank();
        }
        pen.text("what the numbers mean", Role::Heading);
        for (name, words) in MEANING {
            pen.wrapped(&format!("{name:<16}"), words, Role::Text);
        }
    }
}
