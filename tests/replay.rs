//! `boptop replay --json`: what is told when, and that it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::{Said, boptop, fixtures, line};

const START: f64 = 1.7e9;

fn replay(path: &Path, more: &[&str]) -> Said {
    let mut args = vec!["replay", path.to_str().unwrap(), "--json"];
    args.extend(more);
    boptop(args)
}

#[track_caller]
fn lines(said: &Said) -> Vec<Value> {
    assert_eq!(said.code, Some(0), "{said:#?}");
    said.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The runs as they stand after each line of the stream, with the time of the line.
fn moments(said: &Said) -> Vec<(f64, BTreeMap<String, Value>)> {
    let mut runs = BTreeMap::new();
    let mut out = Vec::new();
    for line in lines(said) {
        for run in line["runs"].as_array().unwrap() {
            runs.insert(run["id"].as_str().unwrap().to_string(), run.clone());
        }
        out.push((line["at"].as_f64().unwrap(), runs.clone()));
    }
    out
}

fn run(steps: std::ops::RangeInclusive<u64>, batch: u64, start: f64) -> String {
    steps.map(|i| line(i, batch, 3.0 - 1e-3 * i as f64, 1e-3, start + i as f64)).collect()
}

#[test]
fn nothing_is_known_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("first.jsonl"), run(1..=200, 64, START)).unwrap();
    let damaged = run(1..=100, 128, START + 100.0) + "{\"step\": oops}\n";
    fs::write(dir.path().join("second.jsonl"), damaged + &run(101..=200, 128, START + 100.0))
        .unwrap();
    let moments = moments(&replay(dir.path(), &["--speed", "max"]));
    assert!(moments.len() > 50);
    for (at, runs) in &moments {
        for (id, began) in [("first", START), ("second", START + 100.0)] {
            let told = (at - began).floor().min(200.0);
            let Some(run) = runs.get(id) else {
                assert!(told < 1.0, "{id} is not there at {at}");
                continue;
            };
            assert!(told >= 1.0, "{id} is known at {at}");
            assert_eq!(run["step"], told, "{at}");
            let bad = run["bad_lines"].as_f64().unwrap();
            assert!(bad <= f64::from(id == "second" && told > 100.0), "{at} {run}");
            assert_eq!(run["lines"].as_f64().unwrap(), told + bad, "{at} {run}");
        }
    }
    let (_, end) = moments.last().unwrap();
    assert_eq!((&end["second"]["lines"], &end["second"]["bad_lines"]), (&201.into(), &1.into()));
}

#[test]
fn twice_at_full_speed_is_the_same_to_the_byte() {
    let sweep = fixtures().join("mlp2_sweep");
    let (once, again) = (replay(&sweep, &["--speed", "max"]), replay(&sweep, &["--speed", "max"]));
    assert_eq!(once.code, Some(0));
    assert!(once.out == again.out);
}

#[test]
fn between_two_runs_may_lie_years() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("old.jsonl"), run(1..=200, 64, START - 1e8)).unwrap();
    fs::write(dir.path().join("new.jsonl"), run(1..=200, 128, START)).unwrap();
    let moments = moments(&replay(dir.path(), &["--speed", "max"]));
    let mut steps: Vec<f64> =
        moments.iter().filter_map(|(_, runs)| runs.get("old")?["step"].as_f64()).collect();
    steps.dedup();
    assert!(steps.len() > 30, "{steps:?}");
    assert_eq!(moments.last().unwrap().1["old"]["state"], "quiet");
}

#[test]
fn a_wild_time_and_a_clock_set_back_hold_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = run(1..=50, 64, START);
    text += &line(51, 64, 2.9, 1e-3, 9e9);
    text += &run(52..=150, 64, START);
    text += &run(151..=200, 64, START - 20.0);
    let path = dir.path().join("clock.jsonl");
    fs::write(&path, text).unwrap();
    let moments = moments(&replay(&path, &["--speed", "max"]));
    let at_100 = moments.iter().find(|(_, runs)| runs["clock"]["step"].as_f64() >= Some(100.0));
    assert!(at_100.unwrap().0 <= START + 102.0, "{at_100:?}");
    assert!(moments.last().unwrap().0 < START + 300.0);
}

#[test]
fn validation_without_times_comes_with_its_steps() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("r.jsonl"), run(1..=200, 64, START)).unwrap();
    let val: String =
        (1..=20).map(|i| format!("{{\"step\":{},\"val_loss\":2.5}}\n", i * 10)).collect();
    fs::write(dir.path().join("r.val.jsonl"), val).unwrap();
    let moments = moments(&replay(dir.path(), &["--speed", "max"]));
    assert_eq!(moments[0].0, START + 1.0);
    for (at, runs) in &moments[..moments.len() - 1] {
        let told = (at - START).floor();
        assert_eq!(runs["r"]["lines"], told + (told / 10.0).floor(), "{at}");
    }
}

#[test]
fn without_times_and_without_tokens_the_resolved_tokens_are_the_axis() {
    let dir = tempfile::tempdir().unwrap();
    for (name, batch) in [("a", 64), ("b", 256)] {
        let text: String = (1..=100)
            .map(|i| {
                format!(
                    "{{\"step\":{i},\"batch_size_tokens\":{batch},\"loss\":{}}}\n",
                    3.0 - 0.01 * i as f64
                )
            })
            .collect();
        fs::write(dir.path().join(format!("{name}.jsonl")), text).unwrap();
    }
    let told = moments(&replay(dir.path(), &["--speed", "max"]));
    for (at, runs) in &told {
        for run in runs.values() {
            assert!(run["tokens"].as_f64().unwrap() <= *at, "{at} {run}");
        }
    }
    assert_eq!(told.last().unwrap().0, 25_600.0);
    assert_eq!(told[told.len() / 4].1["b"]["state"], "live");
    assert_eq!(told.last().unwrap().1["a"]["state"], "quiet");
    let from = moments(&replay(dir.path(), &["--speed", "max", "--from", "3200"]));
    assert_eq!(from[0].0, 3200.0);
    assert_eq!(from[0].1["a"]["step"], 50.0);
}

#[test]
fn from_finds_tokens_that_are_not_logged_and_speed_ends_with_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    let text: String = (1..=100)
        .map(|i| {
            format!(
                "{{\"step\":{i},\"batch_size_tokens\":64,\"loss\":2.5,\"time\":{}}}\n",
                START + f64::from(i)
            )
        })
        .collect();
    fs::write(&path, text).unwrap();
    let told = moments(&replay(&path, &["--speed", "max", "--from", "3200"]));
    assert_eq!(told[0].1["r"]["step"], 50.0);
    // Paced, it ends by itself too.
    let paced = moments(&replay(&path, &["--speed", "200x", "--from", "3200"]));
    assert_eq!(paced.last().unwrap().1["r"]["step"], 100.0);
}
