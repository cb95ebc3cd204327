//! Random keys, clicks and sizes on random data: no panic, no NaN, nothing outside of its box.

use super::app::App;
use super::keymap::{self, Action, KEYS};
use super::plot::count_clear;
use super::theme::Theme;
use super::{View, draw_to_text, fixture, mouse, update, views};
use crate::snapshot::*;
use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};
use ratatui::layout::Rect;
use std::sync::Arc;

/// Snapshots, and random events on each: 100,200 in all.
const ROUNDS: usize = 334;
const EVENTS: usize = 300;

fn below(rng: &mut Pcg32, n: usize) -> usize {
    rng.next_u32() as usize % n.max(1)
}

fn odd(rng: &mut Pcg32) -> f64 {
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e-300, 1e300, 2.5, 768.0];
    values[below(rng, values.len())]
}

fn odd_interval(rng: &mut Pcg32) -> Interval {
    let sides = [Open::None, Open::Low, Open::High, Open::Both];
    let mut value = || (below(rng, 3) > 0).then(|| odd(rng));
    let (value, low, high) = (value(), value(), value());
    Interval { value, low, high, level: 0.9, open: sides[below(rng, 4)] }
}

/// Breaks some of the numbers of a snapshot.
fn spoil(s: &mut Snapshot, rng: &mut Pcg32) {
    for run in &mut s.runs {
        if below(rng, 3) > 0 {
            continue;
        }
        let run = Arc::make_mut(run);
        run.tokens = Some(odd(rng));
        run.loss = Some(odd(rng));
        run.batch_size = Some(odd(rng));
        run.tokens_per_second = Some(odd(rng));
        run.excess_tokens = Some(odd(rng));
        run.step = Some(odd(rng));
        run.last_write = Some(odd(rng));
        run.b_opt = Some(odd_interval(rng));
        run.id = format!("{}\u{1b}[2J\u{202e}{}", run.id, "x".repeat(below(rng, 60)));
        let plots = Arc::make_mut(&mut run.plots);
        for _ in 0..8 {
            let at = below(rng, plots.loss.len());
            plots.loss[at] =
                PlotPoint { tokens: odd(rng), min: odd(rng), mean: odd(rng), max: odd(rng) };
        }
        plots.batch_size.push([odd(rng), odd(rng)]);
        plots.b_opt.push([odd(rng), odd(rng), odd(rng), odd(rng)]);
        plots.restarts.push(odd(rng));
        plots.phases.push((Phase::Decay, odd(rng), odd(rng)));
        plots.recent.push(odd(rng));
        if let Some(plan) = &mut run.plan {
            let plan = Arc::make_mut(plan);
            for p in &mut plan.policies {
                p.tokens = odd_interval(rng);
                p.hours = Some(odd(rng));
                p.steps = Some(odd(rng));
            }
            plan.schedule.push(Entry {
                from_tokens: u64::MAX,
                batch_size_tokens: u64::MAX,
                lr_scale: Some(odd(rng)),
            });
        }
    }
    let fit = Arc::make_mut(&mut s.fit);
    fit.made_at = Some(odd(rng));
    fit.intervals_at = Some(odd(rng));
    for level in fit.report.groups.iter_mut().flat_map(|g| &mut g.levels) {
        if below(rng, 3) == 0 {
            level.loss = odd(rng);
            level.b_opt = odd_interval(rng);
            level.b_min = odd_interval(rng);
            level.e_min_tokens = odd_interval(rng);
            level.s_opt_steps = odd_interval(rng);
            level.within_2_percent = Some([odd(rng), odd(rng)]);
            level.observed[0].steps = odd(rng);
            level.observed[0].se_ln = odd(rng);
            level.models[0].held_out_ln_e = Some(odd(rng));
            level.models[0].curve.push(CurvePoint { steps: odd(rng), tokens: odd(rng) });
        }
    }
    if let Some(r) = &mut s.replay {
        r.position = odd(rng);
        r.speed = odd(rng);
        r.from = odd(rng);
    }
    s.messages.push("a message\nin two lines".into());
}

fn random_action(app: &App, s: &Snapshot, rng: &mut Pcg32) -> Option<Action> {
    match below(rng, 10) {
        0 => {
            let kinds = [
                MouseEventKind::Down(MouseButton::Left),
                MouseEventKind::ScrollDown,
                MouseEventKind::ScrollUp,
            ];
            let event = MouseEvent {
                kind: kinds[below(rng, 3)],
                column: below(rng, 220) as u16,
                row: below(rng, 70) as u16,
                modifiers: KeyModifiers::NONE,
            };
            mouse::action(&event, app, s)
        }
        1 => KEYS.get(below(rng, KEYS.len())).map(|b| b.action),
        _ => {
            let binding = &KEYS[below(rng, KEYS.len())];
            keymap::action(binding.keys[below(rng, binding.keys.len())], app, s)
        }
    }
}

#[test]
fn a_monkey_breaks_nothing() {
    let mut rng = Pcg32::seed_from_u64(7);
    for round in 0..ROUNDS {
        let mut s = match round % 4 {
            0 => fixture::sweep(),
            1 => fixture::proposed(),
            2 => fixture::replay(),
            _ => fixture::empty(),
        };
        if round >= 4 {
            spoil(&mut s, &mut rng);
        }
        let mut app = App::showing(View::ALL[below(&mut rng, 6)], None);
        for step in 0..EVENTS {
            if let Some(action) = random_action(&app, &s, &mut rng) {
                update::update(&mut app, action, &s);
            }
            update::settle(&mut app, &s);
            if step % 6 == 0 {
                let (w, h) = match below(&mut rng, 4) {
                    0 => (80, 24),
                    1 => (below(&mut rng, 60) as u16, below(&mut rng, 30) as u16),
                    _ => (below(&mut rng, 220) as u16, below(&mut rng, 70) as u16),
                };
                app.size = (w, h);
                let text = draw_to_text(&s, &app, w, h);
                if let Some(figure) = views::figure(&app, &s) {
                    count_clear(&figure, &Theme::plain(), Rect::new(0, 0, w, h));
                }
                assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
                assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
                let columns = |l: &str| unicode_width::UnicodeWidthStr::width(l);
                assert!(text.lines().all(|l| columns(l) <= usize::from(w)), "{w}: {text}");
            }
        }
    }
}
