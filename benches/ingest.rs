//! Reading a large JSONL: MB/s and peak memory, beside what else reads it in the same run.
//!
//! `cargo bench --bench ingest`, with `BOPTOP_BENCH_MB` (default 256) megabytes in each file and,
//! where `BOPTOP_BENCH_PYTHON` names an interpreter that has them, duckdb and polars. Each case is
//! a process of its own, so that its peak memory is its own. Then a directory of runs
//! (`BOPTOP_BENCH_RUNS`, default 20, of `BOPTOP_BENCH_LINES`, default 100,000 lines each) is read
//! whole by a monitor, which fits it, and one of its runs grows by a line at a time. Under
//! `cargo test` the files are small and other programs are left out.

use boptop::metrics::{Input, Options, Source};
use boptop::monitor::{Monitor, Settings};
use boptop::run::{Assumptions, Recorder};
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes asked of a source at once, as the monitor does.
const BUDGET: usize = 8 << 20;
const PYTHON: &str = include_str!("ingest.py");

/// One line of the table.
struct Row {
    what: String,
    seconds: f64,
    rows: Option<u64>,
    peak_mb: Option<f64>,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, case, path] = &arguments[..]
        && flag == "--case"
    {
        return match case.as_str() {
            "directory" => directory(Path::new(path)),
            "grow" => grow(Path::new(path)),
            _ => child(case, Path::new(path)),
        };
    }
    let measuring = arguments.iter().any(|a| a == "--bench");
    let megabytes = match std::env::var("BOPTOP_BENCH_MB") {
        Ok(text) if measuring => text.parse()?,
        _ if measuring => 256,
        _ => 1,
    };
    let dir = tempfile::tempdir()?;
    let plain = dir.path().join("plain.jsonl");
    let nan = dir.path().join("nan.jsonl");
    let lines = write(&plain, megabytes << 20, false)?;
    write(&nan, megabytes << 20, true)?;
    let size = std::fs::metadata(&plain)?.len() as f64 / 1e6;
    println!("{size:.0} MB, {lines} lines of 20 keys, 6 wanted; one thread each\n");

    let mut rows = Vec::new();
    if measuring {
        // The first reader pays for the page cache; nobody is measured on it.
        shell("cat > /dev/null (warms the cache)", "cat", &plain)?;
        rows.push(shell("cat > /dev/null", "cat", &plain)?);
        rows.push(shell("wc -l", "wc -l", &plain)?);
    }
    for (what, case, path) in [
        ("boptop, records dropped", "records", &plain),
        ("boptop, every line has a NaN", "records", &nan),
        ("boptop, into a run, resolved", "run", &plain),
    ] {
        rows.push(own(what, case, path)?);
    }
    if measuring {
        if let Ok(python) = std::env::var("BOPTOP_BENCH_PYTHON") {
            for case in ["duckdb", "polars"] {
                rows.extend(python_case(&python, case, &plain));
            }
        }
        let jq = "jq -c '[.step,.loss,.lr,.tokens,.batch_size,.time]'";
        rows.extend(shell("jq, six keys", jq, &plain).ok());
    }
    table(&rows, size);
    let expected = Some(lines);
    if rows.iter().any(|r| r.rows.is_some() && r.rows != expected && !r.what.contains("NaN")) {
        return Err("somebody lost lines: the times above say nothing".into());
    }
    drop((plain, nan));
    runs_case(dir.path(), measuring)
}

/// Distinct runs of the directory; the others are copies of these.
const DISTINCT: usize = 10;

fn setting(name: &str, measuring: bool, usual: usize, least: usize) -> Outcome<usize> {
    Ok(match std::env::var(name) {
        Ok(text) if measuring => text.parse()?,
        _ if measuring => usual,
        _ => least,
    })
}

fn runs_case(dir: &Path, measuring: bool) -> Outcome<()> {
    let runs = setting("BOPTOP_BENCH_RUNS", measuring, 20, 3)?;
    let lines = setting("BOPTOP_BENCH_LINES", measuring, 100_000, 1000)?;
    let folder = dir.join("runs");
    std::fs::create_dir(&folder)?;
    let path = |i: usize| folder.join(format!("run{i:03}.jsonl"));
    let mut bytes = 0;
    for i in 0..runs {
        if i < DISTINCT {
            bytes = write_run(&path(i), lines, i)?;
        } else {
            std::fs::copy(path(i % DISTINCT), path(i))?;
        }
    }
    let size = bytes as f64 * runs as f64 / 1e6;
    println!("\n{runs} runs of {lines} lines of 6 keys, {size:.0} MB; one monitor");
    let [seconds, _, peak] = numbers("directory", &folder)?;
    println!(
        "read, resolved and fitted in {seconds:.2} s, {:.0} MB/s, peak {peak:.0} MB",
        size / seconds
    );
    let [seconds, appended, _] = numbers("grow", &path(0))?;
    println!("a line more of one of them, to the new state: {:.2} ms", seconds * 1e3 / appended);
    Ok(())
}

fn numbers(case: &str, path: &Path) -> Outcome<[f64; 3]> {
    let mut command = Command::new(std::env::current_exe()?);
    let row = measured(case, {
        command.arg("--case").arg(case).arg(path);
        command
    })?;
    Ok([row.seconds, row.rows.unwrap_or(0) as f64, row.peak_mb.unwrap_or(f64::NAN)])
}

/// One run of a sweep over batch sizes. Returns its bytes.
fn write_run(path: &Path, lines: usize, run: usize) -> Outcome<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    (1..=lines).try_for_each(|line| file.write_all(run_line(line, run).as_bytes()))?;
    file.flush()?;
    Ok(std::fs::metadata(path)?.len())
}

fn run_line(line: usize, run: usize) -> String {
    let batch = 65_536.0 * 1.4f64.powi(run as i32).round();
    let (step, noise) =
        (line as f64 * 10.0, ((line * 7919 + run * 131) % 1009) as f64 / 1009.0 - 0.5);
    let loss = 1.7 + 30.0 * step.powf(-0.5) + 40.0 * batch.powf(-0.4) + 0.1 * noise;
    let tokens = step * batch;
    let time = 1.76e9 + 2.5 * line as f64;
    format!(
        "{{\"step\":{step},\"loss\":{loss:.6},\"lr\":0.0003,\"tokens\":{tokens},\"batch_size\":{batch},\"time\":{time:.3}}}\n"
    )
}

/// A monitor on a directory: prints seconds, lines and the peak of resident memory in MB.
fn directory(folder: &Path) -> Outcome<()> {
    let begin = Instant::now();
    let mut monitor = Monitor::new(&[folder.display().to_string()], Settings::default())?;
    monitor.read_all();
    monitor.fit_now(0.0);
    let snapshot = monitor.snapshot(0.0);
    let seconds = begin.elapsed().as_secs_f64();
    let lines: u64 = snapshot.runs.iter().map(|r| r.lines).sum();
    println!("{seconds} {lines} {}", peak_mb().unwrap_or(f64::NAN));
    Ok(())
}

/// A monitor on a run that grows: prints the seconds from the lines to their snapshots, the lines
/// and the peak.
fn grow(path: &Path) -> Outcome<()> {
    const APPENDED: usize = 50;
    let mut monitor = Monitor::new(&[path.display().to_string()], Settings::default())?;
    monitor.read_all();
    let had = monitor.snapshot(0.0).runs.first().map_or(0, |r| r.lines) as usize;
    let mut file = std::fs::OpenOptions::new().append(true).open(path)?;
    let mut spent = 0.0;
    for line in had + 1..=had + APPENDED {
        file.write_all(run_line(line, 0).as_bytes())?;
        let begin = Instant::now();
        monitor.look_at_all();
        while monitor.read(BUDGET) {}
        let seen = monitor.snapshot(0.0).runs.first().map_or(0, |r| r.lines) as usize;
        spent += begin.elapsed().as_secs_f64();
        if seen != line {
            return Err(format!("{seen} lines seen of {line}").into());
        }
    }
    println!("{spent} {APPENDED} {}", peak_mb().unwrap_or(f64::NAN));
    Ok(())
}

/// Numbers that look like a training run's: six keys that boptop wants, fourteen that it does not.
/// Returns the number of lines.
fn write(path: &Path, bytes: usize, nan: bool) -> Outcome<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut line = String::new();
    let (mut written, mut step, mut seed) = (0, 0u64, 1u64);
    while written < bytes {
        step += 1;
        // Knuth's MMIX generator, upper bits.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let u = (seed >> 11) as f64 / (1u64 << 53) as f64;
        let t = step as f64;
        line.clear();
        write!(
            line,
            "{{\"step\":{step},\"epoch\":{:.6},\"loss\":{:.6},\"grad_norm\":",
            t / 1e6,
            1.7 + 6.0 * t.powf(-0.3) + 0.02 * u
        )?;
        if nan {
            line.push_str("NaN")
        } else {
            write!(line, "{:.6}", 0.4 + u)?
        }
        write!(
            line,
            ",\"lr\":0.0003,\"tokens\":{},\"batch_size\":1048576,\"time\":{:.3},\
             \"tokens_per_gpu\":{:.3},\"mfu\":{:.4},\"step_time\":{:.4},\"data_time\":{:.5},\
             \"memory_gb\":{:.2},\"loss_scale\":65536,\"param_norm\":{:.4},\"skipped\":false,\
             \"rank\":0,\"phase\":\"train\",\"host\":\"node-0017\",\"temperature\":{:.1}}}",
            step * 1_048_576,
            1.76e9 + 2.5 * t,
            4100.0 + 100.0 * u,
            0.41 + 0.01 * u,
            2.5 + 0.1 * u,
            0.01 * u,
            61.0 + u,
            210.0 + 0.001 * t,
            60.0 + 10.0 * u,
        )?;
        line.push('\n');
        file.write_all(line.as_bytes())?;
        written += line.len();
    }
    file.flush()?;
    Ok(step)
}

/// A case within its own process: prints seconds, records and the peak of resident memory in MB.
fn child(case: &str, path: &Path) -> Outcome<()> {
    let mut source = Source::file(path, &Options::default());
    let mut recorder = Recorder::new("bench", Assumptions::default());
    let (mut inputs, mut count) = (Vec::new(), 0u64);
    let begin = Instant::now();
    loop {
        let more = source.poll(BUDGET, &mut inputs);
        if !more {
            source.finish(&mut inputs);
        }
        for input in inputs.drain(..) {
            if let Input::Record(record) = input {
                count += 1;
                if case == "run" {
                    recorder.push(0, &record);
                }
            }
        }
        if !more {
            break;
        }
    }
    let run = recorder.data();
    let seconds = begin.elapsed().as_secs_f64();
    if case == "run" && run.step() != count as f64 {
        return Err("the run does not end at its last step".into());
    }
    println!("{seconds} {count} {}", peak_mb().unwrap_or(f64::NAN));
    Ok(())
}

/// VmHWM of this process.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

fn own(what: &str, case: &str, path: &Path) -> Outcome<Row> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--case").arg(case).arg(path);
    measured(what, command)
}

fn python_case(python: &str, case: &str, path: &Path) -> Option<Row> {
    let mut command = Command::new(python);
    command.args(["-c", PYTHON, case]).arg(path).env("POLARS_MAX_THREADS", "1");
    measured(case, command).map_err(|e| eprintln!("{case}: left out: {e}")).ok()
}

/// Runs what prints `seconds rows peak_mb`.
fn measured(what: &str, mut command: Command) -> Outcome<Row> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|t| t.parse().ok()).collect();
    let [seconds, rows, peak] = numbers[..] else {
        return Err(format!("{what} ended with {} and printed {text:?}", output.status).into());
    };
    Ok(Row { what: what.into(), seconds, rows: Some(rows as u64), peak_mb: Some(peak) })
}

fn shell(what: &str, program: &str, path: &Path) -> Outcome<Row> {
    let begin = Instant::now();
    let status = Command::new("sh")
        .args(["-c", &format!("{program} \"$1\" > /dev/null"), "sh"])
        .arg(path)
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("{program}: {status}").into());
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Row { what: what.into(), seconds, rows: None, peak_mb: None })
}

fn table(rows: &[Row], size: f64) {
    let own = rows.iter().find(|r| r.what.starts_with("boptop")).map_or(f64::NAN, |r| r.seconds);
    println!("{:<36} {:>8} {:>8} {:>14} {:>10}", "", "seconds", "MB/s", "boptop is", "peak MB");
    for r in rows {
        let peak = r.peak_mb.map_or_else(String::new, |p| format!("{p:.0}"));
        println!(
            "{:<36} {:>8.2} {:>8.0} {:>12.2} x {:>10}",
            r.what,
            r.seconds,
            size / r.seconds,
            r.seconds / own,
            peak
        );
    }
}
