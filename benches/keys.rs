//! From a key to the screen that it asks for, in the built program in a pseudo-terminal of 200x60,
//! while it reads `BOPTOP_BENCH_MB` of logs (default 256), and while fits run.
//!
//! `BOPTOP_BENCH_MB=10000 cargo bench --bench keys`. The logs are a sweep of eight sizes, written to
//! the temporary directory. First they are there from the start; then as much again is appended in
//! pieces, between which boptop catches up and fits anew. A time begins before the key is written
//! and ends when the bytes were read that made the very change which this key causes (the selected
//! row, the help, another view, another run); other bytes do not count. That a fit ran is seen from
//! the processor time of its thread. `BOPTOP_BENCH_VERBOSE=1` prints every time on stderr.

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SIZE: (u16, u16) = (200, 60);
const RUNS: u64 = 8;
/// Bytes of the log that a fit and its screens need, whatever is asked for.
const PIECE: u64 = 96 << 20;
/// Between the answer to a key and the next key, as a person's.
const PAUSES: [u64; 5] = [20, 45, 70, 110, 160];
const PATIENCE: Duration = Duration::from_secs(30);

/// A key, and what on the screen it changes.
type Ask = (&'static str, fn(&str) -> String);

const ASKS: [Ask; 12] = [
    ("j", selected),
    ("k", selected),
    ("?", help),
    ("\x1b", help),
    ("2", view),
    ("l", named),
    ("h", named),
    ("3", view),
    ("4", view),
    ("5", view),
    ("6", view),
    ("1", view),
];

/// The row that is selected on the overview.
fn selected(screen: &str) -> String {
    screen.lines().position(|l| l.starts_with('▸')).map_or_else(String::new, |y| y.to_string())
}

fn help(screen: &str) -> String {
    screen.contains("everywhere").to_string()
}

/// Which view it is, from what only that view shows, with a fit and without.
fn view(screen: &str) -> String {
    let all: [&[&str]; 6] = [
        &["VERDICT"],
        &["single steps"],
        &["MODEL", "No fit yet", "No loss level"],
        &["POLICY", "No plan for this run"],
        &[" in force ", "trainer "],
        &["files"],
    ];
    let shows = |words: &&[&str]| words.iter().any(|w| screen.contains(w));
    all.iter().position(shows).map_or_else(String::new, |i| i.to_string())
}

/// The run that is looked at.
fn named(screen: &str) -> String {
    let line = screen.lines().nth(1).unwrap_or_default();
    line.split_whitespace().next().unwrap_or_default().to_string()
}

fn main() -> Result<(), Box<dyn Error>> {
    let measuring = std::env::args().any(|a| a == "--bench");
    let asked = std::env::var("BOPTOP_BENCH_MB").ok().and_then(|v| v.parse::<u64>().ok());
    let bytes = if measuring { asked.unwrap_or(256) } else { 2 } * 1_000_000;
    let dir = tempfile::tempdir()?;
    let mut sweep = Sweep::begin(dir.path())?;
    let written = Instant::now();
    sweep.write(bytes)?;
    println!("{} MB written in {:.0} s", bytes / 1_000_000, written.elapsed().as_secs_f64());

    let mut screen = Screen::start(dir.path())?;
    screen.until("the first run", |s| s.contains("b00256"))?;
    println!(
        "\n{:<32} {:>6} {:>8} {:>8} {:>9} {:>8} {:>8}",
        "", "keys", "p50 ms", "p99 ms", "worst ms", "read MB", "fit s"
    );
    screen.row("read from the start", |s| s.read() < bytes)?;
    screen.until("the first fit", |s| {
        s.lines().next().is_some_and(|l| l.contains("fit ") && !l.contains("no fit"))
    })?;
    screen.row("nothing to do", |s| s.keys < if measuring { 240 } else { 12 })?;
    let more = std::thread::spawn(move || sweep.append(bytes));
    let all = screen.read() + bytes;
    screen.row("appended and fitted meanwhile", |s| s.read() < all)?;
    more.join().map_err(|_| "the writer fell")??;
    screen.end()
}

// ---------------------------------------------------------------- the logs

/// Runs of eight batch sizes that follow a law, each in a file.
struct Sweep {
    files: Vec<(PathBuf, BufWriter<File>)>,
    step: u64,
}

impl Sweep {
    fn begin(dir: &Path) -> std::io::Result<Sweep> {
        let open = |i: u64| {
            let path = dir.join(format!("b{:05}.jsonl", 256u64 << i));
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            Ok((path, BufWriter::with_capacity(1 << 20, file)))
        };
        Ok(Sweep { files: (0..RUNS).map(open).collect::<std::io::Result<_>>()?, step: 0 })
    }

    /// So many bytes more, evenly over the runs.
    fn write(&mut self, bytes: u64) -> std::io::Result<()> {
        let mut left = bytes as i64;
        while left > 0 {
            self.step += 1;
            for (i, (_, out)) in self.files.iter_mut().enumerate() {
                let (s, b) = (self.step as f64, f64::from(256u32 << i));
                let noise = ((s * 12.9898 + b).sin() * 43_758.545).fract() * 0.02;
                let loss = 1.9 + 60.0 * s.powf(-0.6) + 2.0 * b.powf(-0.4) + noise;
                let line = format!(
                    "{{\"step\":{},\"tokens\":{},\"batch_size\":{b},\"loss\":{loss:.5},\"lr\":2e-3,\
                     \"time\":{:.2}}}\n",
                    self.step,
                    self.step * (256 << i),
                    1.79e9 + s * 0.1
                );
                left -= line.len() as i64;
                out.write_all(line.as_bytes())?;
            }
        }
        self.files.iter_mut().try_for_each(|(_, out)| out.flush())
    }

    /// The same in pieces, with time between to catch up and to begin a fit.
    fn append(&mut self, bytes: u64) -> std::io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(PIECE);
            self.write(piece)?;
            left -= piece;
            std::thread::sleep(Duration::from_millis(250));
        }
        Ok(())
    }
}

// ---------------------------------------------------------------- the screen

struct Screen {
    pid: u32,
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    bytes: Receiver<(Instant, Vec<u8>)>,
    parser: vt100::Parser,
    /// When the bytes came that were drawn last.
    at: Instant,
    next: usize,
    keys: usize,
}

impl Screen {
    fn start(dir: &Path) -> Result<Screen, Box<dyn Error>> {
        let size = PtySize { rows: SIZE.1, cols: SIZE.0, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size)?;
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_boptop"));
        command.args(["watch".as_ref(), dir.as_os_str(), "--no-config".as_ref()]);
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        let child = pair.slave.spawn_command(command)?;
        let mut from = pair.master.try_clone_reader()?;
        let (send, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 1 << 16];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                if send.send((Instant::now(), buffer[..n].to_vec())).is_err() {
                    return;
                }
            }
        });
        Ok(Screen {
            pid: child.process_id().ok_or("no process")?,
            writer: pair.master.take_writer()?,
            master: pair.master,
            child,
            bytes,
            parser: vt100::Parser::new(SIZE.1, SIZE.0, 0),
            at: Instant::now(),
            next: 0,
            keys: 0,
        })
    }

    /// Draws what has come, waiting for it no longer than until `late`; whether anything came.
    fn draw(&mut self, late: Instant) -> bool {
        let left = late.saturating_duration_since(Instant::now());
        let Ok((at, bytes)) = self.bytes.recv_timeout(left) else { return false };
        self.parser.process(&bytes);
        self.at = at;
        true
    }

    fn until(&mut self, what: &str, seen: impl Fn(&str) -> bool) -> Result<Instant, String> {
        let late = Instant::now() + PATIENCE;
        while !seen(&self.parser.screen().contents()) {
            if !self.draw(late) {
                return Err(format!("waited for {what}:\n{}", self.parser.screen().contents()));
            }
        }
        Ok(self.at)
    }

    /// Presses keys while `on` holds; prints their times, and what was read and fitted meanwhile.
    fn row(&mut self, name: &str, on: impl Fn(&Screen) -> bool) -> Result<(), Box<dyn Error>> {
        self.keys = 0;
        let (read, fitted) = (self.read(), self.fitted());
        let mut times = Vec::new();
        while on(self) {
            let (key, probe) = ASKS[self.next];
            let before = probe(&self.parser.screen().contents());
            let begin = Instant::now();
            self.writer.write_all(key.as_bytes())?;
            self.writer.flush()?;
            let seen = self.until(key, |s| probe(s) != before)?;
            let took = seen.saturating_duration_since(begin).as_secs_f64() * 1e3;
            if std::env::var_os("BOPTOP_BENCH_VERBOSE").is_some() {
                eprintln!("{name}: {key:?} {took:.1} ms");
            }
            times.push(took);
            self.next = (self.next + 1) % ASKS.len();
            self.keys += 1;
            let pause = Instant::now() + Duration::from_millis(PAUSES[self.keys % PAUSES.len()]);
            while self.draw(pause) {}
        }
        times.sort_by(f64::total_cmp);
        let at = |q: f64| times.get(((times.len() as f64 - 1.0) * q).round() as usize);
        let cell = |q: f64| at(q).map_or("-".into(), |ms| format!("{ms:.1}"));
        println!(
            "{name:<32} {:>6} {:>8} {:>8} {:>9} {:>8} {:>8.1}",
            times.len(),
            cell(0.5),
            cell(0.99),
            cell(1.0),
            (self.read() - read) / 1_000_000,
            self.fitted() - fitted
        );
        Ok(())
    }

    /// Bytes that the program has read since it began.
    fn read(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid)).unwrap_or_default();
        let line = io.lines().find_map(|l| l.strip_prefix("rchar: "));
        line.and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
    }

    /// Seconds of processor time of the thread that fits.
    fn fitted(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        let stats =
            tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("stat")).ok());
        let ticks = stats.filter(|s| s.contains("(refit)")).map(|s| {
            let after = s.rsplit(')').next().unwrap_or_default();
            let numbers = after.split_whitespace().skip(11).take(2);
            numbers.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>()
        });
        ticks.sum::<f64>() / 100.0
    }

    fn end(mut self) -> Result<(), Box<dyn Error>> {
        self.writer.write_all(b"q")?;
        self.writer.flush()?;
        while self.draw(Instant::now() + PATIENCE) {}
        let status = self.child.wait()?;
        drop(self.master);
        if status.success() { Ok(()) } else { Err(format!("it ended with {status:?}").into()) }
    }
}
