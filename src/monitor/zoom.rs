//! The part of a run that somebody looks at: what is in memory where lines are kept as they were
//! logged, else the lines of the files, read again.

use super::tracked::{Clock, Tracked};
use crate::metrics::{Input, Unreadable};
use crate::run::{self, Columns, Recorder};
use crate::snapshot::{Detail, PlotPoint};
use std::ops::Range;

/// Points of a part: what is asked for reaches beyond what is seen of it.
const POINTS: usize = 3200;

/// What is asked for, and what was read for it.
#[derive(Debug)]
pub(super) struct Zoom {
    pub tokens: [f64; 2],
    read: Option<Read>,
}

/// Lines that were read again.
#[derive(Debug)]
struct Read {
    tokens: [f64; 2],
    /// Their steps, tokens and losses.
    lines: Columns,
    /// Tokens of the run at that time.
    known: f64,
    /// Restarts and contents of the files at that time.
    standing: Standing,
}

type Standing = (usize, Vec<u64>);

impl Zoom {
    pub fn new(tokens: [f64; 2]) -> Zoom {
        Zoom { tokens, read: None }
    }

    /// What was read tells too much (a replay goes back).
    pub fn forget(&mut self) {
        self.read = None;
    }
}

/// The part that is asked for; `None` where nothing is, or the tokens are not known.
pub(super) fn detail(run: &mut Tracked, clock: Clock) -> Option<Detail> {
    let mut zoom = run.zoom.take()?;
    let (lines, means) = lines(run, &mut zoom, clock);
    let tokens = zoom.tokens;
    run.zoom = Some(zoom);
    let thinned = run::thin(&lines, 0..lines.len(), POINTS);
    let point =
        |b: &run::Bucket| PlotPoint { tokens: b.tokens, min: b.min, mean: b.mean, max: b.max };
    let detail = Detail {
        tokens,
        points: thinned.iter().map(point).collect(),
        steps: thinned.iter().map(|b| b.step).collect(),
        means,
    };
    (!detail.points.is_empty()).then_some(detail)
}

/// The lines of a part, or the rows that stand for them and why.
fn lines(run: &Tracked, zoom: &mut Zoom, clock: Clock) -> (Columns, Option<&'static str>) {
    let data = run.data();
    let [from, to] = zoom.tokens;
    let rows = between(&data.train, from, to);
    // What is looked at may lie within one block.
    let about = rows.start.saturating_sub(1)..(rows.end + 1).min(data.train.len());
    if !has_blocks(&data.train, about.clone()) {
        return (part(&data.train, rows), None);
    }
    let standing = standing(run);
    let fits = |r: &Read| {
        // What came since is still as it was logged.
        let newer = between(&data.train, r.known, to);
        let newer = newer.start.saturating_sub(1)..newer.end;
        r.tokens[0] <= from
            && (r.tokens[1] >= to || r.tokens[1] >= r.known)
            && r.known <= data.tokens()
            && r.standing == standing
            && !has_blocks(&data.train, newer)
    };
    if !zoom.read.as_ref().is_some_and(fits) {
        zoom.read = None;
        match read(run, zoom.tokens, clock) {
            Ok(lines) => {
                let known = data.tokens();
                zoom.read = Some(Read { tokens: zoom.tokens, lines, known, standing });
            }
            Err(why) => return (part(&data.train, about), Some(words(why))),
        }
    }
    let Some(read) = &zoom.read else { return (Columns::default(), None) };
    let mut out = part(&read.lines, between(&read.lines, from, to));
    let newer = data.train.tokens.partition_point(|t| *t <= read.known);
    let newer = part(&data.train, newer.max(rows.start)..rows.end);
    out.step.extend(newer.step);
    out.tokens.extend(newer.tokens);
    out.loss.extend(newer.loss);
    (out, None)
}

/// What lines that were read belong to.
fn standing(run: &Tracked) -> Standing {
    let contents = run.sources.iter().map(|s| s.content()).collect();
    (run.data().restarts.len(), contents)
}

fn read(run: &Tracked, tokens: [f64; 2], clock: Clock) -> Result<Columns, Unreadable> {
    let data = run.data();
    let around = around(&data.train, between(&data.train, tokens[0], tokens[1]));
    let mut whole = Recorder::whole(&run.id, run.assumptions().clone());
    let mut by_tokens = false;
    for (stream, source) in run.sources.iter().enumerate() {
        // What a later attempt replaced is not found again.
        if clock != Clock::Live && !source.status().restarts.is_empty() {
            return Err(Unreadable::Gone);
        }
        by_tokens |= source.is_by_tokens();
        for input in source.again(around.0, around.1)? {
            if let Input::Record(r) = input
                && run.is_told(stream, r.line)
            {
                whole.push(stream, &r);
            }
        }
    }
    let mut lines = whole.data().train;
    if by_tokens {
        lines.step =
            lines.tokens.iter().map(|t| along(&data.train.tokens, &data.train.step, *t)).collect();
    } else {
        // Counters that began anew, and counts that are summed, are those of the run.
        lines.tokens =
            lines.step.iter().map(|s| along(&data.train.step, &data.train.tokens, *s)).collect();
    }
    match are_all(&lines, &data.train, tokens) {
        true => Ok(lines),
        false => Err(Unreadable::Gone),
    }
}

/// Whether as many lines were found as the rows are made of; those at the edges may lie beyond, and
/// rows that a restart cut know their number about.
fn are_all(lines: &Columns, rows: &Columns, [from, to]: [f64; 2]) -> bool {
    let inner = between(rows, from, to);
    let inner = inner.start + 1..inner.end.saturating_sub(1);
    let known: f64 = inner.map(|i| rows.weight(i)).sum();
    between(lines, from, to).len() as f64 >= 0.99 * known - 1.0
}

/// Steps and tokens of the rows about these.
fn around(columns: &Columns, rows: Range<usize>) -> ([f64; 2], [f64; 2]) {
    let first = rows.start.checked_sub(1);
    let of = |c: &[f64]| {
        let from = first.and_then(|i| c.get(i)).copied().unwrap_or(f64::NEG_INFINITY);
        [from, c.get(rows.end).copied().unwrap_or(f64::INFINITY)]
    };
    (of(&columns.step), of(&columns.tokens))
}

/// The rows between two counts of tokens.
fn between(columns: &Columns, from: f64, to: f64) -> Range<usize> {
    let start = columns.tokens.partition_point(|t| t.is_nan() || *t < from);
    start..columns.tokens.partition_point(|t| t.is_nan() || *t <= to).max(start)
}

fn has_blocks(columns: &Columns, mut rows: Range<usize>) -> bool {
    rows.any(|i| {
        let (low, high) = columns.extremes(i);
        columns.weight(i) > 1.0 || high > low
    })
}

/// Steps, tokens and losses of rows, with what their means are made of.
fn part(columns: &Columns, rows: Range<usize>) -> Columns {
    let of = |c: &[f64]| c.get(rows.clone()).unwrap_or_default().to_vec();
    Columns {
        step: of(&columns.step),
        tokens: of(&columns.tokens),
        loss: of(&columns.loss),
        count: of(&columns.count),
        low: of(&columns.low),
        high: of(&columns.high),
        ..Columns::default()
    }
}

/// `y` at a place between those of `x`, which ascend, or on the straight line beyond them.
fn along(x: &[f64], y: &[f64], at: f64) -> f64 {
    let i = x.partition_point(|v| *v < at).clamp(1, x.len().saturating_sub(1).max(1));
    let (Some(a), Some(b)) = (x.get(i - 1).zip(y.get(i - 1)), x.get(i).zip(y.get(i))) else {
        return y.first().copied().unwrap_or(f64::NAN);
    };
    if b.0 > a.0 { a.1 + (at - a.0) / (b.0 - a.0) * (b.1 - a.1) } else { *a.1 }
}

fn words(why: Unreadable) -> &'static str {
    match why {
        Unreadable::Pipe => "means of 0.1 %: a pipe is read once",
        Unreadable::NoPlainLines => "means of 0.1 %: not a file of plain lines",
        Unreadable::TooMany => "means of 0.1 %: zoom in for single lines",
        Unreadable::Gone => "means of 0.1 %: the lines are gone",
    }
}

#[cfg(test)]
mod tests {
    use crate::command::Command;
    use crate::monitor::{Monitor, Settings};
    use crate::snapshot::{Detail, Snapshot};
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;

    const SPIKE: u32 = 61_234;

    /// A line of a run whose loss wanders so that a step is told by its loss.
    fn line(step: u32) -> String {
        format!(
            "{{\"step\":{step},\"loss\":{},\"tokens\":{}}}\n",
            loss(step),
            u64::from(step) * 512
        )
    }

    fn loss(step: u32) -> f64 {
        if step == SPIKE { 9.5 } else { 2.0 + f64::from(step % 1000) * 1e-4 }
    }

    fn lines(steps: impl Iterator<Item = u32>) -> String {
        steps.map(line).collect()
    }

    fn monitor(path: &Path) -> Monitor {
        let mut monitor = Monitor::new(&[path.display().to_string()], Settings::default()).unwrap();
        monitor.read_all();
        monitor
    }

    /// What is known of a window of steps.
    fn look(monitor: &mut Monitor, from: u32, to: u32) -> Option<Arc<Detail>> {
        let run = monitor.snapshot(0.0).runs[0].id.clone();
        let tokens = Some([f64::from(from) * 512.0, f64::from(to) * 512.0]);
        monitor.command(Command::Look { run, tokens }, 0.0);
        shown(&monitor.snapshot(0.0))
    }

    fn shown(snapshot: &Snapshot) -> Option<Arc<Detail>> {
        snapshot.runs[0].plots.detail.clone()
    }

    fn are_the_lines(detail: &Detail, steps: impl Iterator<Item = u32>) {
        let want: Vec<(f64, f64, f64)> =
            steps.map(|s| (f64::from(s), f64::from(s) * 512.0, loss(s))).collect();
        let points = detail.points.iter().zip(&detail.steps);
        let got: Vec<(f64, f64, f64)> =
            points.map(|(p, s)| (*s, p.tokens.round(), p.mean)).collect();
        assert_eq!((got.len(), got.first()), (want.len(), want.first()));
        assert_eq!(got.iter().zip(&want).find(|(a, b)| a != b), None);
        assert_eq!(detail.means, None);
    }

    #[test]
    fn every_line_of_a_window_is_shown_though_its_mean_alone_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, lines(1..=100_000)).unwrap();
        let mut m = Monitor::new(&[path.display().to_string()], Settings::default()).unwrap();
        while m.read(1 << 20) {}
        are_the_lines(&look(&mut m, SPIKE - 100, SPIKE + 100).unwrap(), SPIKE - 100..=SPIKE + 100);
        // A part of what was read, and its surroundings.
        are_the_lines(&look(&mut m, SPIKE - 5, SPIKE + 5).unwrap(), SPIKE - 5..=SPIKE + 5);
        are_the_lines(&look(&mut m, 1, 900).unwrap(), 1..=900);
        // The newest lines, and those that come.
        are_the_lines(&look(&mut m, 98_000, 100_010).unwrap(), 98_000..=100_000);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        for more in [100_001..=100_004, 100_005..=103_000] {
            file.write_all(lines(more.clone()).as_bytes()).unwrap();
            m.look_at_all();
            while m.read(1 << 20) {}
            let detail = shown(&m.snapshot(0.0)).unwrap();
            are_the_lines(&detail, 98_000..=100_010.min(*more.end()));
        }
        m.command(Command::Look { run: "a".into(), tokens: None }, 0.0);
        assert_eq!(shown(&m.snapshot(0.0)), None);
    }

    #[test]
    fn every_window_of_more_than_a_million_lines_is_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, lines(1..=1_200_000)).unwrap();
        let mut m = monitor(&path);
        for from in [1, 61_000, 599_900, 1_100_000, 1_199_700] {
            let to = from + 300;
            are_the_lines(&look(&mut m, from, to).unwrap(), from..=to);
        }
    }

    #[test]
    fn a_row_of_a_table_is_read_again_under_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let row = |s: u32| format!("{s},{},{}\n", loss(s), u64::from(s) * 512);
        let rows: String = (1..=50_000).map(row).collect();
        fs::write(&path, format!("step,loss,tokens\n{rows}")).unwrap();
        let mut m = monitor(&path);
        are_the_lines(&look(&mut m, 20_000, 20_300).unwrap(), 20_000..=20_300);
    }

    #[test]
    fn what_a_restart_repeated_is_shown_as_it_was_the_second_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let first = lines(1..=60_000).replace("\"loss\":2", "\"loss\":4");
        fs::write(&path, first + &lines(30_001..=100_000)).unwrap();
        let mut m = monitor(&path);
        are_the_lines(&look(&mut m, 40_000, 40_300).unwrap(), 40_000..=40_300);
        let detail = look(&mut m, 29_900, 30_100).unwrap();
        let first: Vec<f64> = detail
            .steps
            .iter()
            .zip(&detail.points)
            .filter(|(_, p)| p.mean >= 4.0)
            .map(|(s, _)| *s)
            .collect();
        assert_eq!((first[0], first[100], first.len()), (29_900.0, 30_000.0, 101));
        assert_eq!(detail.points.len(), 201);
    }

    #[test]
    fn of_a_file_that_was_cut_nothing_stale_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, lines(1..=50_000)).unwrap();
        let mut m = monitor(&path);
        are_the_lines(&look(&mut m, 20_000, 20_100).unwrap(), 20_000..=20_100);
        // Cut, and not noticed yet: what is read again is compared with what was read.
        fs::write(&path, lines(40_001..=42_000)).unwrap();
        let gone = |detail: Option<Arc<Detail>>| {
            let detail = detail.unwrap();
            assert!(detail.means.unwrap().contains("gone") && detail.points.len() < 60);
        };
        gone(look(&mut m, 30_000, 30_100));
        while m.read(1 << 20) {}
        m.look_at_all();
        m.read_all();
        gone(look(&mut m, 20_000, 20_100));
        are_the_lines(&look(&mut m, 40_100, 40_200).unwrap(), 40_100..=40_200);
    }

    #[test]
    fn what_cannot_be_read_again_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl.zst");
        fs::write(&path, zstd::encode_all(lines(1..=20_000).as_bytes(), 1).unwrap()).unwrap();
        let mut m = monitor(&path);
        let detail = look(&mut m, 10_000, 10_100).unwrap();
        assert!(detail.means.unwrap().contains("plain lines"));
        assert!(detail.points.iter().any(|p| p.min < p.max));
        are_the_lines(&look(&mut m, 19_500, 19_600).unwrap(), 19_500..=19_600);
        let path = dir.path().join("long.jsonl");
        let pad = format!("{{\"pad\":\"{}\",\"step\"", "x".repeat(2000));
        fs::write(&path, lines(1..=30_000).replace("{\"step\"", &pad)).unwrap();
        let mut m = monitor(&path);
        assert!(look(&mut m, 1, 25_000).unwrap().means.unwrap().contains("zoom in"));
        are_the_lines(&look(&mut m, 12_000, 12_100).unwrap(), 12_000..=12_100);
    }
}
