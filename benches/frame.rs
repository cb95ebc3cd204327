//! Time of one frame, view by view, at 200x60.
//!
//! `cargo bench --bench frame`. The snapshot is what a monitor makes of `fixtures/mlp_sweep`, and the
//! same with the runs repeated to 200. A frame is the view drawn into an empty buffer and turned into
//! text, then compared cell by cell with the frame before, as the screen does before it writes.

use boptop::monitor::{Monitor, Settings};
use boptop::snapshot::Snapshot;
use boptop::tui::{App, View, draw_to_text, press};
use ratatui::buffer::Buffer;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const SIZE: (u16, u16) = (200, 60);
/// (view, keys that lead there and to what is worth drawing)
const VIEWS: [(&str, &str); 9] = [
    ("overview", "1"),
    ("run", "2"),
    ("curve", "3"),
    ("curve, all models", "3 m"),
    ("curve, B_opt over the loss", "3 p"),
    ("schedule", "4"),
    ("control", "5"),
    ("problems", "6"),
    ("help", "?"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let measuring = std::env::args().any(|a| a == "--bench");
    let frames = if measuring { 500 } else { 3 };
    let begin = Instant::now();
    let few = snapshot()?;
    println!("snapshot of mlp_sweep, read and fitted, in {:.0} ms\n", ms(begin));
    let many = repeated(&few, 200);
    println!("{:<28} {:>6} {:>9} {:>9} {:>9}", "200x60", "runs", "p50 ms", "p99 ms", "worst ms");
    for snapshot in [&few, &many] {
        for (view, keys) in VIEWS {
            frame(view, keys, snapshot, frames);
        }
    }
    Ok(())
}

fn snapshot() -> Result<Snapshot, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mlp_sweep");
    let mut monitor = Monitor::new(&[folder.display().to_string()], Settings::default())?;
    monitor.read_all();
    monitor.fit_now(1.8e9);
    Ok(monitor.snapshot(1.8e9))
}

/// The same runs under other names, until there are `count`.
fn repeated(snapshot: &Snapshot, count: usize) -> Snapshot {
    let mut runs = snapshot.runs.clone();
    for (i, run) in snapshot.runs.iter().cycle().take(count - runs.len()).enumerate() {
        let mut run = (**run).clone();
        run.id = format!("{}-{i}", run.id);
        runs.push(Arc::new(run));
    }
    Snapshot { runs, ..snapshot.clone() }
}

fn frame(view: &str, keys: &str, snapshot: &Snapshot, frames: usize) {
    let selected = snapshot.runs.first().map(|r| r.id.clone());
    let mut app = App::showing(View::Overview, selected.as_deref());
    press(&mut app, keys, snapshot);
    let mut before = Buffer::default();
    let mut times: Vec<f64> = (0..frames)
        .map(|_| {
            let begin = Instant::now();
            let text = draw_to_text(snapshot, &app, SIZE.0, SIZE.1);
            let now = Buffer::with_lines(text.lines());
            if now.area == before.area {
                black_box(before.diff(&now));
            }
            before = now;
            ms(begin)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize];
    println!(
        "{view:<28} {:>6} {:>9.3} {:>9.3} {:>9.3}",
        snapshot.runs.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}
