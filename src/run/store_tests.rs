//! The bounded series against every line: what fits and screens take from either.

use super::store::{FULL, MOST, RECENT, WIDTH};
use super::{
    Assumptions, Recorder, RunData, Smoothed, TokensSource, WINDOW, loss_now, smooth, thin,
};
use crate::metrics::Record;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

/// A training run, as its trainer logs it.
#[derive(Debug, Clone)]
pub(crate) struct Training {
    lines: usize,
    every: f64,
    batch: f64,
    /// Sizes that the batch size is multiplied by at fractions of the lines.
    bumps: Vec<(f64, f64)>,
    noise: f64,
    /// Lag-1 autocorrelation of the noise.
    memory: f64,
    decay: bool,
    /// (place as a fraction, lines, height).
    spikes: Vec<(f64, usize, f64)>,
    /// (line of the restart, line that it goes back to), as fractions.
    restarts: Vec<(f64, f64)>,
    evaluate_every: usize,
    batch_logged: bool,
    seed: u64,
}

impl Training {
    fn records(&self) -> Vec<Record> {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(self.seed);
        let at = |fraction: f64| (fraction * self.lines as f64) as usize;
        let mut logged = Vec::new();
        let (mut correlated, mut tokens, mut history) = (0.0, 0.0, vec![(0.0, 0.0)]);
        let mut restarts = self.restarts.clone();
        let mut line = 1;
        let mut clock = 0.0;
        while line <= self.lines {
            let step = line as f64 * self.every;
            let bump = self.bumps.iter().filter(|b| line > at(b.0)).map(|b| b.1);
            let batch = self.batch * bump.product::<f64>();
            tokens += batch * self.every;
            clock += 1.0;
            let z = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            correlated = self.memory * correlated + z * (1.0 - self.memory.powi(2)).sqrt();
            let spike = self.spikes.iter().filter(|s| (at(s.0)..at(s.0) + s.1).contains(&line));
            let loss = 2.0 + 30.0 * (tokens + 1e3).powf(-0.3) + self.noise * correlated;
            let fraction = line as f64 / self.lines as f64;
            let fall = if self.decay { ((1.0 - fraction) / 0.2).clamp(0.001, 1.0) } else { 1.0 };
            logged.push(Record {
                step: Some(step),
                tokens: Some(tokens),
                batch_tokens: self.batch_logged.then_some(batch),
                loss: Some(loss + spike.map(|s| s.2).sum::<f64>()),
                val_loss: (line % self.evaluate_every == 0).then_some(loss + 0.05),
                lr: Some(1e-3 * (fraction / 0.01).min(1.0) * fall),
                time: Some(1e9 + clock),
                ..Record::default()
            });
            history.push((step, tokens));
            if restarts.first().is_some_and(|r| line >= at(r.0)) {
                let (_, back) = restarts.remove(0);
                line = at(back).max(1);
                history.truncate(line + 1);
                tokens = history[line].1;
            }
            line += 1;
        }
        logged
    }

    /// A calm one at one batch size.
    pub(crate) fn calm(lines: usize, noise: f64, seed: u64) -> Training {
        Training { lines, noise, seed, ..Training::default() }
    }

    /// What lines at the edge of being a spike, left out or not, move a mean by whose standard error
    /// is `se`. Such a line lies 6 to 10 standard deviations of a line away (windows of few lines
    /// know theirs badly); clear spikes move nothing.
    pub(crate) fn edge(&self, se: f64) -> f64 {
        let clear = |s: &&(f64, usize, f64)| s.2 > 12.0 * self.noise;
        let lines: usize = self.spikes.iter().filter(|s| !clear(s)).map(|s| s.1).sum();
        let inflation = (1.0 + self.memory) / (1.0 - self.memory);
        let mean_of = inflation * (self.noise / se).powi(2);
        10.0 * self.noise * lines as f64 / mean_of
    }

    /// Whether a long one is a spike or belongs to the curve is decided at its edges.
    pub(crate) fn has_an_excursion(&self) -> bool {
        self.spikes.iter().any(|s| s.1 > 12)
    }

    fn told(&self, mut recorder: Recorder) -> RunData {
        self.records().iter().for_each(|r| recorder.push(0, r));
        recorder.data()
    }

    pub(crate) fn bounded(&self) -> RunData {
        self.told(Recorder::new("r", Assumptions::default()))
    }

    pub(crate) fn whole(&self) -> RunData {
        self.told(Recorder::whole("r", Assumptions::default()))
    }
}

impl Default for Training {
    fn default() -> Training {
        Training {
            lines: 60_000,
            every: 10.0,
            batch: 512.0,
            bumps: vec![],
            noise: 0.05,
            memory: 0.3,
            decay: false,
            spikes: vec![],
            restarts: vec![],
            evaluate_every: 100,
            batch_logged: true,
            seed: 1,
        }
    }
}

#[test]
fn a_long_run_is_few_rows_and_a_short_one_is_what_was_logged() {
    let long = Training { lines: 200_000, ..Training::default() };
    let (b, w) = (long.bounded(), long.whole());
    assert_eq!(w.train.len(), 200_000);
    let most = (1.0 + (200_000.0f64 * WIDTH).ln()) / WIDTH + (2 * RECENT) as f64;
    assert!((b.train.len() as f64) < 1.05 * most, "{} of {most}", b.train.len());
    let logged: f64 = b.train.count.iter().sum();
    assert!(logged > 199_900.0 && logged <= 200_000.0, "{logged}");
    assert_eq!((b.step(), b.tokens()), (w.step(), w.tokens()));
    // Evaluations are few: kept as they were.
    assert_eq!(b.validation.loss, w.validation.loss);
    assert_eq!(b.validation.tokens, w.validation.tokens);
    let short = Training { lines: FULL, ..Training::default() };
    assert_eq!(short.bounded(), short.whole());
}

#[test]
fn a_spike_of_one_step_stays_on_the_screen_and_out_of_the_mean() {
    let spikes = vec![(0.3, 1, 5.0), (0.7, 1, -1.5)];
    let t = Training { lines: 100_000, spikes, ..Training::default() };
    let (b, w) = (t.bounded(), t.whole());
    let seen = |r: &RunData| {
        let all = thin(&r.train, 0..r.train.len(), 400);
        let late = all.iter().filter(|p| p.tokens > 0.2 * r.tokens());
        late.fold((f64::INFINITY, 0.0f64), |s, p| (s.0.min(p.min), s.1.max(p.max)))
    };
    assert_eq!(seen(&b), seen(&w));
    let calm = Training { spikes: vec![], ..t };
    let i = b.train.tokens.partition_point(|x| *x < 0.3 * b.tokens());
    let means = |r: &RunData| r.train.loss[i - 3..i + 3].to_vec();
    for (with, without) in means(&b).iter().zip(means(&calm.bounded())) {
        assert!((with - without).abs() < 0.005, "{with} {without}");
    }
}

#[test]
fn a_restart_into_the_blocks_cuts_them_where_it_resumed() {
    let t = Training {
        restarts: vec![(0.6, 0.3137), (0.9, 0.89)],
        bumps: vec![(0.5, 2.0)],
        ..Training::default()
    };
    let (b, w) = (t.bounded(), t.whole());
    assert_eq!(b.restarts.len(), 2);
    for (b, w) in b.restarts.iter().zip(&w.restarts) {
        assert_eq!((b.resumed_at, b.discarded_to), (w.resumed_at, w.discarded_to));
        assert_eq!(b.discarded, w.discarded);
    }
    assert_eq!((b.step(), b.tokens()), (w.step(), w.tokens()));
    assert!(b.train.step.is_sorted() && b.train.tokens.is_sorted());
    assert_eq!(b.segments.len(), w.segments.len());
    for (b, w) in b.segments.iter().zip(&w.segments) {
        assert_eq!(
            (b.batch_size, b.from_step, b.from_tokens),
            (w.batch_size, w.from_step, w.from_tokens)
        );
    }
}

/// Of a long run the last lines are a row each, those before them a row for 14.
#[test]
fn an_excursion_amid_the_recent_lines_is_left_out_as_one_in_a_log_of_as_many_lines() {
    for lines in [60, 120, 185] {
        let t = Training { lines: 16_077, noise: 0.005, memory: 0.0, ..Training::default() };
        let (bumps, restarts) =
            (vec![(0.1331, 0.5)], vec![(0.5096410627526112, 0.23413024181245964)]);
        let spikes = vec![(0.9340549806457893, lines, 1.05)];
        let t = Training { bumps, spikes, restarts, evaluate_every: 7, ..t };
        let end = 2.0 + 30.0 * (t.whole().tokens() + 1e3).powf(-0.3);
        for r in [t.bounded(), t.whole()] {
            let now = loss_now(&r).unwrap();
            assert!((now - end).abs() < 0.002, "{lines}: {now} {end}");
        }
    }
}

/// Rows of a log that no two neighbours of agree in something.
#[test]
fn whatever_wanders_from_line_to_line_the_rows_are_few() {
    let wander: [fn(f64, &mut Record); 7] = [
        |s, r| r.lr = Some(if s % 2.0 == 0.0 { 3e-4 } else { 2.99e-4 }),
        |s, r| r.lr = Some(1e-3 * (s * 0.1).sin().abs()),
        |s, r| r.batch_tokens = Some(1e6 * (1.0 + 0.05 * (s * 12.9898).sin())),
        |s, r| r.tokens = Some((s / 500.0).floor() * 500.0 * 1e6),
        |s, r| r.tokens = (s % 7.0 == 0.0).then_some(s * 1e6),
        |s, r| {
            if s % 2.0 == 0.0 {
                r.tokens = None;
                r.samples = Some(s)
            }
        },
        |s, r| r.step = Some(s - 1e6),
    ];
    for (k, change) in wander.iter().enumerate() {
        let mut recorder = Recorder::new("r", Assumptions::default());
        for i in 1..=60_000 {
            let s = f64::from(i);
            let mut r = Record {
                step: Some(s),
                tokens: Some(s * 1e6),
                loss: Some(2.0 + s.powf(-0.3)),
                lr: Some(1e-3),
                ..Record::default()
            };
            change(s, &mut r);
            recorder.push(0, &r);
        }
        let n = recorder.data().train.len();
        assert!(n <= MOST + 2 * RECENT, "{k}: {n}");
        assert_eq!(recorder.len(), 60_000, "{k}");
    }
}

/// After a small change late in a long run tokens / steps hardly bends from line to line.
#[test]
fn a_counter_that_hardly_bends_is_a_count() {
    let bumps = vec![(0.7609129044927536, 0.5), (0.8254000850206539, 1.5)];
    let (lines, evaluate_every, batch_logged) = (21_735, 500, false);
    let t = Training { lines, bumps, evaluate_every, batch_logged, ..Training::default() };
    let counted = t.records().last().unwrap().tokens.unwrap();
    for r in [t.bounded(), t.whole()] {
        assert_eq!(r.tokens_source, TokensSource::Logged, "{:?}", r.notes);
        assert_eq!(r.tokens(), counted);
        assert_eq!(r.segments.len(), 3, "{:?}", r.segments);
    }
}

pub(crate) fn training() -> impl Strategy<Value = Training> {
    let shape = (12_000usize..40_000, 0.005f64..0.08, 0.0f64..0.8, any::<u64>());
    let events = (
        prop::collection::vec((0.1f64..0.9, prop_oneof![Just(2.0), Just(1.5), Just(0.5)]), 0..3),
        prop::collection::vec(
            (0.05f64..0.95, prop_oneof![3 => 1usize..12, 1 => 12usize..200], 0.5f64..5.0),
            0..4,
        ),
        prop::collection::vec((0.3f64..0.95, 0.05f64..1.0), 0..3),
    );
    let log = (any::<bool>(), any::<bool>(), prop_oneof![Just(7usize), Just(500)]);
    (shape, events, log).prop_map(|((lines, noise, memory, seed), (bumps, spikes, back), log)| {
        let mut bumps = bumps;
        bumps.sort_by(|a, b| a.0.total_cmp(&b.0));
        bumps.dedup_by(|a, b| a.0 - b.0 < 0.05);
        let mut restarts: Vec<(f64, f64)> = back.iter().map(|(at, to)| (*at, at * to)).collect();
        restarts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (decay, batch_logged, evaluate_every) = log;
        Training {
            lines,
            noise,
            memory,
            seed,
            bumps,
            spikes,
            restarts,
            decay,
            batch_logged,
            evaluate_every,
            ..Training::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// What the fits take from the bounded series is what they would take from every line: the loss
    /// within a third of its standard error, and that error within a factor of two.
    #[test]
    fn nothing_that_a_fit_needs_is_lost(t in training()) {
        let (b, w) = (t.bounded(), t.whole());
        prop_assert_eq!((b.step(), b.tokens()), (w.step(), w.tokens()));
        prop_assert_eq!(&b.restarts, &w.restarts);
        prop_assert_eq!((b.batch_source, b.tokens_source), (w.batch_source, w.tokens_source));
        prop_assert_eq!(b.segments.len(), w.segments.len(), "{:?} {:?}", b.segments, w.segments);
        for (b, w) in b.segments.iter().zip(&w.segments) {
            prop_assert!((b.batch_size / w.batch_size - 1.0).abs() < 1e-6, "{:?} {:?}", b, w);
            prop_assert!((b.from_step - w.from_step).abs() <= 2.0 * t.every, "{:?} {:?}", b, w);
        }
        let shape = |r: &RunData| -> Vec<_> { r.phases.spans.iter().map(|s| s.phase).collect() };
        prop_assert_eq!(shape(&b), shape(&w), "{} / {}", b.phases.why, w.phases.why);
        for (p, q) in b.phases.spans.iter().zip(&w.phases.spans) {
            let (p, q) = (b.train.step[p.range.start], w.train.step[q.range.start]);
            prop_assert!((p - q).abs() <= 2e-3 * q.max(1e3), "phase from {} {}", p, q);
        }
        let (x, y) = (loss_now(&b).unwrap(), loss_now(&w).unwrap());
        prop_assert!((x - y).abs() < 0.1 * t.noise.max(0.002), "{} {}", x, y);
        let high = w.train.loss.iter().copied().fold(0.0, f64::max);
        let highest = b.train.high.iter().copied().fold(0.0, f64::max);
        prop_assert_eq!(high, highest);
        if t.has_an_excursion() {
            return Ok(());
        }
        let (sb, sw) = (smoothed(&b), smoothed(&w));
        for (tokens, (loss, se)) in sb.tokens.iter().zip(sb.loss.iter().zip(&sb.se)) {
            let i = sw.tokens.partition_point(|x| x < tokens).min(sw.loss.len() - 1);
            let near = 0.3 * se + 1e-3 + t.edge(*se);
            prop_assert!((loss - sw.loss[i]).abs() < near, "{} {} {}", tokens, loss, sw.loss[i]);
            let alike = (0.5..2.0).contains(&(se / sw.se[i]));
            prop_assert!(alike, "{} {} {}", tokens, se, sw.se[i]);
        }
    }
}

fn smoothed(run: &RunData) -> Smoothed {
    smooth(&run.train, 0..run.train.len(), WINDOW)
}
