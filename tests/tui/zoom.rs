//! A long log at a terminal: zoomed in, the cursor reads its single lines.

use super::pty::{Pty, boptop};
use std::fs;

/// Of every seventh step alone.
const SPIKE: &str = "9.5000";

#[test]
fn a_spike_of_one_line_in_a_long_log_is_read_at_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.jsonl");
    let line = |s: u32| {
        let loss = if s.is_multiple_of(7) { 9.5 } else { 2.0 + f64::from(s % 50) * 1e-3 };
        format!("{{\"step\":{s},\"loss\":{loss},\"tokens\":{}}}\n", u64::from(s) * 4096)
    };
    fs::write(&path, (1..=200_000).map(line).collect::<String>()).unwrap();
    let mut pty = Pty::start(boptop([path.to_str().unwrap()]), 160, 40);
    // All of it was read.
    pty.see("819M");
    pty.press("2c");
    pty.see("single steps 2.0000 to 9.5000");
    for _ in 0..16 {
        pty.press("z");
    }
    // Both the line that is a spike and its neighbour are a few cursor steps away.
    let step = |screen: &str| -> Option<(u32, String)> {
        let rest = screen.split(" tokens · step ").nth(1)?;
        let (step, loss) = rest.split_once(": ")?;
        Some((step.replace(',', "").parse().ok()?, loss.get(..6)?.to_string()))
    };
    pty.until("a single line at the cursor", |screen| step(screen).is_some());
    let mut seen = Vec::new();
    for _ in 0..14 {
        let before = pty.screen().contents();
        pty.press("w");
        let after =
            pty.until("the cursor moved", |screen| *screen != before && step(screen).is_some());
        let (at, loss) = step(&after).unwrap();
        assert!(at.is_multiple_of(7) == (loss == SPIKE), "step {at}: {loss}");
        seen.push(at.is_multiple_of(7));
    }
    assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
    pty.press("q");
}
