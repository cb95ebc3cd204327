//! Records as they come, and the run that they make.

use super::merge;
use super::row::Row;
use super::stream::Stream;
use super::timeline::{Timeline, staircase, steps};
use super::{Assumptions, RunData, phase, segments, tokens};
use crate::metrics::Record;
use crate::units;

/// Collects the records of one run, which may come from several files (streams).
///
/// Streams are numbered by the caller; where an attempt went on in a new file without times, the
/// earlier file should have the lower number.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    id: String,
    assumptions: Assumptions,
    paths: Vec<String>,
    streams: Vec<Stream>,
    /// Nothing is put together.
    whole: bool,
}

impl Recorder {
    pub fn new(id: &str, assumptions: Assumptions) -> Recorder {
        Recorder { id: id.to_string(), assumptions, ..Recorder::default() }
    }

    /// One that keeps every row as it was logged, however many come.
    pub fn whole(id: &str, assumptions: Assumptions) -> Recorder {
        Recorder { whole: true, ..Recorder::new(id, assumptions) }
    }

    pub fn assumptions(&self) -> &Assumptions {
        &self.assumptions
    }

    /// Paths that the resolved run names as its sources.
    pub fn set_paths(&mut self, paths: Vec<String>) {
        self.paths = paths;
    }

    /// Takes one record; O(1) amortised.
    pub fn push(&mut self, stream: usize, record: &Record) {
        self.stream(stream).push(record);
    }

    /// The file was cut or exchanged. What was read stays until a record repeats its steps, and
    /// that is noticed by the steps themselves.
    pub fn restarted(&mut self, stream: usize) {
        self.stream(stream);
    }

    /// The whole file was written again: the past of that stream is gone.
    pub fn replaced(&mut self, stream: usize) {
        *self.stream(stream) = Stream::new(self.whole);
    }

    /// Steps that are known of, over all streams.
    pub fn len(&self) -> usize {
        self.streams.iter().map(Stream::steps).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.streams.iter().all(Stream::is_empty)
    }

    fn stream(&mut self, stream: usize) -> &mut Stream {
        if self.streams.len() <= stream {
            let whole = self.whole;
            self.streams.resize_with(stream + 1, || Stream::new(whole));
        }
        &mut self.streams[stream]
    }

    /// Resolves everything: the cost goes with the rows that are kept, about ln(n) of n lines.
    pub fn data(&self) -> RunData {
        let merged = merge::merge(&self.streams);
        let rows = &merged.rows;
        let resolved = tokens::resolve(rows, merged.by_tokens, &self.assumptions);
        let steps = steps(rows, &resolved.tokens, &resolved.cuts, merged.by_tokens);
        let batch = staircase(rows.len(), &resolved.cuts);
        let timeline = Timeline { rows, steps, tokens: resolved.tokens, batch };
        // Without a train loss the whole timeline stands in, so that phases and segments exist.
        let has_loss = rows.iter().any(|r| r.has_loss);
        let (of_row, train) = timeline.train(|r| r.has_loss || !has_loss);
        let validation = timeline.validation(&merged.validation);
        let segments = segments::segments(&train, &of_row, &resolved.cuts, |s| {
            timeline.tokens_at(s, &resolved.cuts)
        });
        let starts = segments.iter().skip(1).map(|s| s.range.start);
        let starts: Vec<usize> = starts.filter(|row| *row > 0).collect();
        let phases = phase::phases(&train.step, &train.lr, &starts);
        let mut notes = merged.notes;
        notes.extend(resolved.notes);
        notes.extend(non_finite(rows));
        RunData {
            id: self.id.clone(),
            paths: self.paths.clone(),
            train,
            validation,
            segments,
            phases,
            restarts: merged.restarts,
            first: timeline.known(|i| i),
            last: timeline.known(|i| timeline.rows.len() - 1 - i),
            batch_source: resolved.batch_source,
            tokens_source: resolved.tokens_source,
            notes,
        }
    }
}

fn non_finite(rows: &[Row]) -> Option<String> {
    let bad: u64 = rows.iter().map(|r| u64::from(r.bad)).sum();
    if bad == 0 {
        return None;
    }
    Some(match rows.iter().any(|r| r.loss.is_finite()) {
        false => format!("every loss of {} is NaN or infinite", units::exact(bad)),
        true => format!("{} losses are NaN or infinite and left out", units::exact(bad)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Columns, Restart, fixture};
    use super::*;
    use proptest::prelude::*;

    fn train(step: f64, loss: f64) -> Record {
        Record {
            step: Some(step),
            loss: Some(loss),
            tokens: Some(step * 100.0),
            ..Record::default()
        }
    }

    fn val(step: f64, loss: f64) -> Record {
        Record { step: Some(step), val_loss: Some(loss), ..Record::default() }
    }

    fn run(records: &[Record]) -> RunData {
        fixture::made_of(records, Assumptions::default())
    }

    #[test]
    fn records_of_one_step_are_one_row_and_late_evaluations_find_theirs() {
        let lr = Record { step: Some(2.0), lr: Some(0.1), ..Record::default() };
        let r = run(&[train(1.0, 3.0), train(2.0, 2.9), lr, train(3.0, 2.8), val(2.0, 2.7)]);
        assert_eq!(r.train.loss, [3.0, 2.9, 2.8]);
        assert_eq!(r.train.lr[1], 0.1);
        assert_eq!(
            (r.validation.step.as_slice(), r.validation.loss.as_slice()),
            (&[2.0][..], &[2.7][..])
        );
        assert_eq!(r.validation.tokens, [200.0]);
        assert!(r.restarts.is_empty());
    }

    /// The shape of a real log: a step three times, then twice back over four records.
    #[test]
    fn duplicates_and_rollbacks() {
        let r = run(&[
            train(20.0, 8.560446),
            train(20.0, 8.560443),
            train(40.0, 7.94571),
            train(20.0, 8.5525),
            train(40.0, 7.9466),
            train(7520.0, 2.2500),
            train(7540.0, 2.0884),
            train(7580.0, 2.2087),
            train(7520.0, 2.2055),
            train(7540.0, 2.1813),
            train(7520.0, 2.2054),
            train(7540.0, 2.1812),
            train(7580.0, 2.2118),
        ]);
        assert_eq!(r.train.step, [20.0, 40.0, 7520.0, 7540.0, 7580.0]);
        assert_eq!(r.train.loss, [8.5525, 7.9466, 2.2054, 2.1812, 2.2118]);
        let back = |at, to, discarded| Restart { resumed_at: at, discarded_to: to, discarded };
        for want in [
            back(20.0, 40.0, 2),
            back(7520.0, 7580.0, 3),
            back(7520.0, 7540.0, 2),
            back(20.0, 20.0, 1),
        ] {
            assert!(r.restarts.contains(&want), "{want:?} in {:?}", r.restarts);
        }
    }

    #[test]
    fn a_line_twice_is_no_restart_and_several_ranks_are_said() {
        let r =
            run(&[train(1.0, 3.0), train(1.0, 3.0), train(2.0, f64::NAN), train(2.0, f64::NAN)]);
        assert!(r.restarts.is_empty());
        let ranks: Vec<Record> =
            (1..40).flat_map(|s| [train(f64::from(s), 3.0), train(f64::from(s), 3.1)]).collect();
        let r = run(&ranks);
        assert!(r.restarts.is_empty() && r.train.len() == 39);
        assert!(r.notes.iter().any(|n| n.contains("more than once")), "{:?}", r.notes);
    }

    #[test]
    fn an_evaluation_at_the_start_of_an_attempt_keeps_its_checkpoints_train_loss() {
        let mut records: Vec<Record> = (1..=9).map(|s| train(f64::from(s), 3.0)).collect();
        records.insert(5, val(5.0, 2.9));
        records.extend([val(5.0, 2.8), train(6.0, 2.7)]);
        let r = run(&records);
        assert_eq!(r.train.step, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((r.train.loss[4], r.train.loss[5]), (3.0, 2.7));
        assert_eq!(r.validation.loss, [2.8]);
        assert_eq!(r.restarts, [Restart { resumed_at: 5.0, discarded_to: 9.0, discarded: 4 }]);
    }

    #[test]
    fn a_new_file_goes_on_where_it_resumed_and_stale_evaluations_go() {
        let mut r = Recorder::new("r", Assumptions::default());
        let timed = |record: Record, time: f64| Record { time: Some(time), ..record };
        for s in 1..=9 {
            r.push(0, &timed(train(f64::from(s), 3.0), f64::from(s)));
        }
        for (s, t) in [(4.0, 4.0), (8.0, 8.0), (7.0, 23.0)] {
            r.push(2, &timed(val(s, t), t));
        }
        for s in 6..=8 {
            r.push(1, &timed(train(f64::from(s), 2.0), 15.0 + f64::from(s)));
        }
        let d = r.data();
        assert_eq!(d.train.loss, [3.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0]);
        assert_eq!(d.restarts, [Restart { resumed_at: 6.0, discarded_to: 9.0, discarded: 4 }]);
        // 8 was evaluated by the first attempt.
        assert_eq!(d.validation.step, [4.0, 7.0]);
        r.replaced(1);
        assert_eq!(r.data().train.len(), 9);
    }

    #[test]
    fn a_cut_file_keeps_its_past_until_steps_are_repeated() {
        let mut r = Recorder::new("r", Assumptions::default());
        (1..=6).for_each(|s| r.push(0, &train(f64::from(s), 3.0)));
        r.restarted(0);
        assert_eq!(r.data().train.len(), 6);
        r.push(0, &train(4.0, 2.5));
        assert_eq!(r.data().train.step, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((r.len(), r.is_empty()), (4, false));
    }

    #[test]
    fn a_lone_record_at_the_start_is_a_restart_once_another_follows() {
        let whole: Vec<Record> = (1..=20).map(|s| train(f64::from(s), 3.0)).collect();
        let with = |more: &[Record]| run(&[&whole[..], more].concat());
        let lone = with(&[train(0.0, 2.0)]);
        assert_eq!((lone.train.len(), lone.restarts.len()), (20, 0));
        assert!(lone.notes.iter().any(|n| n.contains("nothing followed")), "{:?}", lone.notes);
        let summary = with(&[train(1.0, 2.0), train(21.0, 2.9)]);
        assert_eq!((summary.train.len(), summary.restarts.len()), (21, 0));
        let anew = with(&[train(1.0, 2.0), train(2.0, 1.9)]);
        assert_eq!(anew.train.loss, [2.0, 1.9]);
        assert_eq!(anew.restarts, [Restart { resumed_at: 1.0, discarded_to: 20.0, discarded: 20 }]);
        // A step below zero is none, nor is one that no run has.
        let far = with(&[Record { tokens: None, ..train(1e300, 2.0) }, train(21.0, 2.9)]);
        assert_eq!((far.train.len(), far.restarts.len(), far.step()), (21, 0, 21.0));
        let below = with(&[Record { tokens: None, ..train(-1.0, 2.0) }, train(21.0, 2.9)]);
        assert_eq!((below.train.len(), below.restarts.len()), (21, 0));
    }

    #[test]
    fn without_steps_the_tokens_are_the_order() {
        let records: Vec<Record> = [100.0, 200.0, 300.0, 200.0]
            .iter()
            .map(|t| Record { step: None, batch_tokens: Some(50.0), ..train(t / 100.0, 3.0) })
            .collect();
        let r = run(&records);
        assert_eq!(
            (r.train.tokens.as_slice(), r.train.step.as_slice()),
            (&[100.0, 200.0][..], &[2.0, 4.0][..])
        );
        assert_eq!(r.restarts.len(), 1);
        assert_eq!(r.batch_size(), Some(50.0));
        let lost = run(&[Record { loss: Some(3.0), ..Record::default() }]);
        assert!(lost.train.is_empty() && lost.notes[0].contains("neither a step nor tokens"));
    }

    #[test]
    fn the_restarted_fixture_is_its_last_attempts() {
        let runs = fixture::sweep("mlp_sweep");
        let r = runs.iter().find(|r| r.id.ends_with("restart")).unwrap();
        let back: Vec<(f64, f64)> =
            r.restarts.iter().map(|x| (x.resumed_at, x.discarded_to)).collect();
        assert_eq!(back, [(6008.0, 7296.0), (18008.0, 19496.0)]);
        assert!(r.train.step.windows(2).all(|w| w[0] < w[1]));
        assert!(r.train.tokens.iter().zip(&r.train.step).all(|(t, s)| *t == s * 512.0));
        assert_eq!(r.train.len(), 4012 - r.restarts.iter().map(|x| x.discarded).sum::<usize>());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Attempts that each resume at or before the last step; every third step is evaluated in
        /// a file of its own, read afterwards, before or as it came.
        #[test]
        fn attempts_resolve_to_what_the_last_of_them_logged(
            attempts in prop::collection::vec((0.0f64..1.0, 1usize..30), 1..6),
            order in 0..3,
        ) {
            let mut truth: Vec<(f64, f64)> = Vec::new();
            let mut evaluated: Vec<(f64, f64)> = Vec::new();
            let (mut train_log, mut val_log, mut both) = (Vec::new(), Vec::new(), Vec::new());
            let mut time = 0.0;
            let n = attempts.len();
            for (i, (back, steps)) in attempts.into_iter().enumerate() {
                // Of the last one more is logged than a line that might be a stray one.
                let steps = if i + 1 == n { steps.max(2) } else { steps };
                let last = truth.last().map_or(0.0, |t| t.0);
                let from = (last * (1.0 - back)).floor();
                truth.retain(|t| t.0 <= from);
                evaluated.retain(|t| t.0 <= from);
                for s in 1..=steps {
                    let step = from + s as f64;
                    time += 1.0;
                    let t = Record { time: Some(time), ..train(step, 2.0 + time) };
                    truth.push((step, 2.0 + time));
                    train_log.push(t);
                    both.push((0, t));
                    if step % 3.0 == 0.0 {
                        let v = Record { time: Some(time), ..val(step, 1.0 + time) };
                        evaluated.push((step, 1.0 + time));
                        val_log.push(v);
                        both.push((1, v));
                    }
                }
            }
            let mut r = Recorder::new("r", Assumptions::default());
            let t = train_log.iter().map(|x| (0, *x));
            let v = val_log.iter().map(|x| (1, *x));
            let all: Vec<(usize, Record)> = match order {
                0 => t.chain(v).collect(),
                1 => v.chain(t).collect(),
                _ => both,
            };
            all.iter().for_each(|(stream, x)| r.push(*stream, x));
            let d = r.data();
            let pairs = |c: &Columns| -> Vec<(f64, f64)> {
                c.step.iter().copied().zip(c.loss.iter().copied()).collect()
            };
            prop_assert_eq!(pairs(&d.train), truth);
            prop_assert_eq!(pairs(&d.validation), evaluated);
        }

        #[test]
        fn whatever_a_log_says_a_run_comes_out(
            values in prop::collection::vec(prop::array::uniform8(prop_oneof![
                3 => Just(None),
                4 => (0.0f64..100.0).prop_map(|x| Some(x.round())),
                1 => Just(Some(f64::NAN)),
                1 => Just(Some(-1.0)),
                1 => Just(Some(f64::INFINITY)),
                1 => Just(Some(1e300)),
            ]), 0..60),
        ) {
            let mut r = Recorder::new("r", Assumptions { seq_len: Some(8.0), batch_size: None });
            for (i, v) in values.iter().enumerate() {
                let record = Record {
                    step: v[0], loss: v[1], val_loss: v[2], lr: v[3], tokens: v[4],
                    batch_sequences: v[5], samples: v[6], time: v[7], ..Record::default()
                };
                r.push(i % 2, &record);
            }
            let d = r.data();
            prop_assert!(d.train.step.windows(2).all(|w| w[0] < w[1] || w[0].is_nan() || w[1].is_nan()));
            let n = d.train.len();
            prop_assert!(d.segments.iter().all(|s| s.range.end <= n && s.batch_size > 0.0));
            let mut at = 0;
            for s in &d.phases.spans {
                prop_assert_eq!(s.range.start, at);
                at = s.range.end;
            }
            prop_assert!(d.phases.spans.is_empty() || at == n);
            let _ = (super::super::loss_now(&d), super::super::throughput(&d), super::super::log_interval(&d));
                    }
    }
}
