//! Time of one frame, view by view, at 200x60.
//!
//! `cargo bench --bench frame`. The snapshot is what a monitor makes of `fixtures/mlp_sweep`, and the
//! same with the runs repeated to 200, and to 64 whose plots are those of a log of 1,000,000 lines. A frame is the view drawn into an empty buffer and turned into
//! text, then compared cell by cell with the frame before, as the screen does before it writes.

use boptop::monitor::{Monitor, Settings};
use boptop::snapshot::Snapshot;
use boptop::tui::{App, View, draw_to_text, press};
use ratatui::buffer::Buffer;
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const SIZE: (u16, u16) = (200, 60);
/// (view, keys that lead there and to what is worth drawing)
const VIEWS: [(&str, &str); 12] = [
    ("overview", "1"),
    ("run", "2"),
    ("run, zoomed, with a cursor", "2 z z c"),
    ("curve", "3"),
    ("curve, all models", "3 m"),
    ("curve, residuals", "3 p"),
    ("curve, B_opt over the loss", "3 p p"),
    ("curve, B_opt over tokens", "3 p p p"),
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
    let lines = if measuring { 1_000_000 } else { 10_000 };
    let begin = Instant::now();
    let long = long(&repeated(&few, 64), lines)?;
    println!("a log of {lines} lines, written and read, in {:.0} ms\n", ms(begin));
    println!("{:<28} {:>6} {:>9} {:>9} {:>9}", "200x60", "runs", "p50 ms", "p99 ms", "worst ms");
    for snapshot in [&few, &many, &long] {
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

/// The same runs with the plots of a log of so many lines.
fn long(snapshot: &Snapshot, lines: u64) -> Result<Snapshot, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = std::fs::File::create(folder.path().join("long.jsonl"))?;
    let mut out = std::io::BufWriter::new(file);
    for step in 1..=lines {
        // A decaying loss, its noise by a fixed sequence.
        let noise = ((step as f64 * 12.9898).sin() * 43_758.545).fract();
        let loss = 1.9 + 9.0 * (step as f64 + 10.0).powf(-0.3) + 0.1 * noise;
        let (tokens, time) = (step * 4096, 1.7e9 + step as f64);
        writeln!(
            out,
            "{{\"step\":{step},\"tokens\":{tokens},\"batch_size\":4096,\"loss\":{loss:.5},\
             \"lr\":2e-3,\"time\":{time}}}"
        )?;
    }
    out.flush()?;
    let mut monitor = Monitor::new(&[folder.path().display().to_string()], Settings::default())?;
    monitor.read_all();
    let read = monitor.snapshot(1.8e9);
    let plots = &read.runs.first().ok_or("no run was read")?.plots;
    let mut runs = snapshot.runs.clone();
    for run in &mut runs {
        let run = Arc::make_mut(run);
        let own = run.plots.clone();
        let mut plots = (**plots).clone();
        plots.b_opt.clone_from(&own.b_opt);
        plots.residuals.clone_from(&own.residuals);
        run.plots = Arc::new(plots);
        run.lines = lines;
    }
    Ok(Snapshot { runs, ..snapshot.clone() })
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
