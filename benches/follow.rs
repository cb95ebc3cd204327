//! Following: from an append to the state that shows it, with and without the announcements of the
//! file system; and what 200 files cost while nothing happens to them.
//!
//! `cargo bench --bench follow`, on Linux. Real files, and the loop that a screen runs on. Under
//! `cargo test` the same on little.

use boptop::monitor::{self, Handle, Settings};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const RUNS: usize = 16;
const IDLE_RUNS: usize = 200;
const POLL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

struct Sizes {
    hinted: usize,
    polled: usize,
    settle: Duration,
    idle: Duration,
}

fn main() -> Outcome<()> {
    let measuring = std::env::args().any(|a| a == "--bench");
    let sizes = if measuring {
        Sizes {
            hinted: 1000,
            polled: 100,
            settle: Duration::from_secs(20),
            idle: Duration::from_secs(60),
        }
    } else {
        Sizes {
            hinted: 5,
            polled: 1,
            settle: Duration::from_millis(200),
            idle: Duration::from_millis(200),
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    println!("append to visible state, {RUNS} runs    samples      p50      p99    worst");
    let interval = |s: f64| format!("{:.1} ms", s * 1e3);
    for (what, poll, n) in [
        ("announced (inotify)", None, sizes.hinted),
        ("polled every second", Some(POLL), sizes.polled),
    ] {
        let mut waits = runtime.block_on(visible(poll, n))?;
        waits.sort_unstable_by(f64::total_cmp);
        let at = |q: f64| waits[((waits.len() - 1) as f64 * q).round() as usize];
        println!(
            "{what:<33} {:>9} {:>8} {:>8} {:>8}",
            waits.len(),
            interval(at(0.5)),
            interval(at(0.99)),
            interval(at(1.0))
        );
    }
    println!("\nidle, {IDLE_RUNS} files");
    for (what, poll) in [("announced (inotify)", None), ("polled every second", Some(POLL))] {
        let share = runtime.block_on(idle(poll, &sizes))?;
        println!("{what:<33} {:>8.3} % of a core", share * 100.0);
    }
    Ok(())
}

fn line(step: u64) -> String {
    let loss = 2.0 + 3.0 / (step as f64).sqrt();
    let tokens = step * 4096;
    format!(
        "{{\"step\":{step},\"tokens\":{tokens},\"batch_size\":4096,\"loss\":{loss:.4},\"lr\":0.001}}\n"
    )
}

fn runs(dir: &Path, n: usize, lines: u64) -> Outcome<Vec<PathBuf>> {
    let text: String = (1..=lines).map(line).collect();
    let paths: Vec<PathBuf> = (0..n).map(|i| dir.join(format!("r{i:03}.jsonl"))).collect();
    for path in &paths {
        std::fs::write(path, &text)?;
    }
    Ok(paths)
}

fn watch(dir: &Path, poll: Option<Duration>) -> Outcome<Handle> {
    Ok(monitor::spawn(&[dir.display().to_string()], Settings { poll, ..Settings::default() })?)
}

/// Waits until run `id` has come to `step` on a snapshot.
async fn until(handle: &mut Handle, id: &str, step: f64) -> Outcome<()> {
    let there = |s: &std::sync::Arc<boptop::snapshot::Snapshot>| {
        s.runs.iter().any(|r| r.id == id && r.step == Some(step))
    };
    tokio::time::timeout(PATIENCE, handle.snapshots.wait_for(there)).await??;
    Ok(())
}

/// Seconds from a write to a snapshot that has it; the runs by turns, at moments that keep no time
/// with any timer.
async fn visible(poll: Option<Duration>, n: usize) -> Outcome<Vec<f64>> {
    let dir = tempfile::tempdir()?;
    let mut step = 200;
    let paths = runs(dir.path(), RUNS, step)?;
    let mut handle = watch(dir.path(), poll)?;
    for i in 0..RUNS {
        until(&mut handle, &format!("r{i:03}"), step as f64).await?;
    }
    let mut waits = Vec::new();
    let mut seed = 1u64;
    for i in 0..n {
        let run = i % RUNS;
        step += u64::from(run == 0);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pause = 20 + (seed >> 33) % 100;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let mut file = OpenOptions::new().append(true).open(&paths[run])?;
        let text = line(step);
        let begin = Instant::now();
        file.write_all(text.as_bytes())?;
        until(&mut handle, &format!("r{run:03}"), step as f64).await?;
        waits.push(begin.elapsed().as_secs_f64());
    }
    Ok(waits)
}

/// Share of a core that this process takes while nothing happens to the files.
async fn idle(poll: Option<Duration>, sizes: &Sizes) -> Outcome<f64> {
    let dir = tempfile::tempdir()?;
    runs(dir.path(), IDLE_RUNS, 300)?;
    let mut handle = watch(dir.path(), poll)?;
    for i in 0..IDLE_RUNS {
        until(&mut handle, &format!("r{i:03}"), 300.0).await?;
    }
    // The first fits are no idling.
    tokio::time::sleep(sizes.settle).await;
    let (before, begin) = (cpu_seconds()?, Instant::now());
    tokio::time::sleep(sizes.idle).await;
    Ok((cpu_seconds()? - before) / begin.elapsed().as_secs_f64())
}

/// Of all threads that live, from the scheduler's own count in nanoseconds.
fn cpu_seconds() -> Outcome<f64> {
    let mut sum = 0.0;
    for task in std::fs::read_dir("/proc/self/task")?.flatten() {
        let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
        sum += text.split_whitespace().next().and_then(|t| t.parse().ok()).unwrap_or(0.0) / 1e9;
    }
    Ok(sum)
}
