//! What the built binary advises, to people and to machines: a plan's numbers and words, its exports
//! read back, a run that has ended, branches that report, and forecasts held against what came.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use support::{boptop, fixtures};

const RUN: &str = "b0128_lr2e-3_s1";

fn sweep() -> String {
    fixtures().join("mlp_sweep").display().to_string()
}

fn plan(args: &[&str]) -> Value {
    boptop([&["plan"], args, &["--json"]].concat()).json(0)
}

fn verdict(plan: &Value) -> &str {
    plan["verdict"]["text"].as_str().unwrap()
}

/// The sweep's runs at these batch sizes, in a directory of their own.
fn siblings(dir: &Path, sizes: &[&str]) {
    for size in sizes {
        let name = format!("b{size}_lr2e-3_s1.jsonl");
        fs::copy(fixtures().join("mlp_sweep").join(&name), dir.join(&name)).unwrap();
    }
}

/// Appends what a trainer says.
fn say(acks: &Path, run: &str, status: &str, more: Value) {
    let mut line = json!({"version": 1, "status": status, "run": run, "attempt": "job.0",
        "revision": null, "step": 0, "tokens": 0, "batch_size_tokens": 128, "unit_tokens": 16,
        "min_batch_tokens": null, "max_batch_tokens": null, "direction": "both",
        "can_scale_lr": false});
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut file = fs::File::options().create(true).append(true).open(acks).unwrap();
    writeln!(file, "{line}").unwrap();
}

#[test]
fn steps_and_hours_have_intervals_and_the_loss_on_the_way_is_told() {
    let (sweep, page) = (sweep(), tempfile::tempdir().unwrap());
    let answer = plan(&[&sweep, "--run", RUN]);
    let policies = answer["policies"].as_array().unwrap();
    let mut told = 0;
    for p in policies {
        let of = |key: &str, end: &str| p[key][end].as_f64();
        for (interval, number) in [("steps_interval", "steps"), ("hours_interval", "hours")] {
            assert_eq!(of(interval, "value"), p[number].as_f64(), "{p}");
            assert_eq!(p[interval]["open"], p["tokens"]["open"], "{p}");
            for end in ["low", "value", "high"] {
                assert_eq!(of(interval, end).is_some(), of("tokens", end).is_some(), "{p}");
            }
            told += usize::from(of(interval, "low") < of(interval, "value"));
        }
        if let Some(steps) = p["steps"].as_f64() {
            assert_eq!(steps.fract(), 0.0, "a step is whole: {p}");
        }
        let way = p["on_the_way"].as_array().unwrap();
        assert_eq!(way.len(), 4, "{p}");
    }
    assert!(told >= 2, "{policies:?}");
    assert_eq!(policies[0]["most_above_leave"], Value::Null);
    // The plan's last quarter ends at its target.
    let planned = policies.iter().find(|p| p["policy"] == "planned").unwrap();
    let end = planned["on_the_way"][3][1].as_f64().unwrap();
    assert!((end - planned["target_loss"].as_f64().unwrap()).abs() < 1e-4, "{planned}");
    let text = boptop(["plan", &sweep, "--run", RUN]).out;
    for words in ["with 90 % intervals", "Loss on the way (stable phase)", "most above leaving it"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let steps = planned["steps"].as_f64().unwrap();
    assert!(text.contains(&format!("{:.0}K (>= ", steps / 1e3)), "{text}");
    let file = page.path().join("page.html").display().to_string();
    assert_eq!(boptop(["report", &sweep, "--run", RUN, "-o", &file]).code, Some(0));
    assert!(fs::read_to_string(&file).unwrap().contains("<th>most above leaving it</th>"));
}

#[test]
fn a_raise_that_is_due_is_for_now_and_names_no_count_that_recedes() {
    let answer = plan(&[&sweep(), "--run", RUN]);
    assert!(verdict(&answer).starts_with("raise to 256 now"), "{answer}");
    let planned = answer["verdict"]["reasons"].to_string();
    assert!(planned.contains("planned: 256 now, 512 "), "{planned}");
    // What follows is counted from it on.
    let (_, after) = planned.split_once("planned: 256 now, 512 ").unwrap();
    assert!(after.split(',').next().unwrap().ends_with(" tokens later"), "{planned}");
}

#[test]
fn a_run_that_has_ended_is_told_so_and_takes_no_proposal_until_it_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    siblings(dir.path(), &["0032", "0064", "0128", "0256", "0512", "1024"]);
    let acks = dir.path().join(format!("{RUN}.control.ack.jsonl"));
    let folder = dir.path().display().to_string();
    let kind = || plan(&[&folder, "--run", RUN])["verdict"]["kind"].clone();
    say(&acks, RUN, "ready", json!({}));
    assert_eq!(kind(), "raise");
    say(&acks, RUN, "ended", json!({"step": 312_500, "tokens": 40_000_000}));
    let answer = plan(&[&folder, "--run", RUN]);
    assert!(verdict(&answer).starts_with("hold: the run has ended"), "{answer}");
    let reasons = answer["verdict"]["reasons"][0].as_str().unwrap();
    assert!(reasons.starts_with("if it were started again: raise to"), "{reasons}");
    assert_eq!(answer["schedule"].as_array().unwrap().len(), 1, "nothing is recommended");
    for more in [&["--batch-size", "256"][..], &[]] {
        let args = [&["control", "propose", &folder, "--run", RUN], more].concat();
        let said = boptop(args);
        assert!(said.code == Some(0) && said.out.contains("has ended"), "{said:?}");
        let args = [&["control", "approve", &folder, "--run", RUN, "--yes"], more].concat();
        let said = boptop(args);
        assert!(said.code == Some(3) && said.err.contains("has ended"), "{said:?}");
    }
    assert!(!dir.path().join(format!("{RUN}.control.json")).exists());
    // Started again by somebody who left the adapter out: it trains, whatever was said before.
    let metrics = dir.path().join(format!("{RUN}.jsonl"));
    let ended = fs::read_to_string(&metrics).unwrap();
    let mut more = ended.clone();
    for i in 1..=20u64 {
        more += &support::line(312_500 + 81 * i, 128, 2.24, 2e-3, 1_795_600_000.0 + i as f64);
    }
    fs::write(&metrics, more).unwrap();
    assert_eq!(kind(), "raise");
    fs::write(&metrics, &ended).unwrap();
    assert_eq!(kind(), "hold");
    say(&acks, RUN, "ready", json!({"attempt": "job.1"}));
    assert_eq!(kind(), "raise");
    // The log says it itself, until a loss comes after it.
    let over = ended + "{\"step\": 312500, \"train_loss\": 2.4, \"train_runtime\": 99.5}\n";
    fs::write(&metrics, &over).unwrap();
    assert!(verdict(&plan(&[&folder, "--run", RUN])).starts_with("hold: the run has ended"));
    let again = support::line(312_581, 128, 2.24, 2e-3, 1_795_600_000.0);
    fs::write(&metrics, over + &again).unwrap();
    assert_eq!(kind(), "raise");
}

#[test]
fn what_is_exported_is_read_back() {
    let sweep = sweep();
    let export = |format: &str| {
        let said = boptop(["plan", &sweep, "--run", RUN, "--format", format, "--seq-len", "16"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    let answer: Value = serde_json::from_str(&export("json")).unwrap();
    let schedule: Vec<(u64, u64)> = answer["schedule"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["from_tokens"].as_u64().unwrap(), e["batch_size_tokens"].as_u64().unwrap()))
        .collect();
    assert!(schedule.len() >= 3, "{schedule:?}");
    // The text: `from 40,010,368 tokens: 256 tokens a step`.
    let text = export("text");
    let number = |s: &str| s.replace(',', "").parse::<u64>().ok();
    let entry = |l: &str| {
        let (from, size) = l.trim().strip_prefix("from ")?.split_once(" tokens: ")?;
        Some((number(from)?, number(size.strip_suffix(" tokens a step")?)?))
    };
    assert_eq!(text.lines().filter_map(entry).collect::<Vec<_>>(), schedule);
    // Both forms that a trainer runs: taken for what it runs, the plan is to go on with it.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("schedule").display().to_string();
    for form in ["csv", "megatron"] {
        fs::write(&file, export(form)).unwrap();
        let args = [&sweep, "--run", RUN, "--seq-len", "16", "--schedule", &file];
        let again = plan(&args);
        let leave = again["policies"].as_array().unwrap().iter().find(|p| p["policy"] == "leave");
        let of = |e: &Value| (e["from_tokens"].as_u64(), e["batch_size_tokens"].as_u64());
        let kept: Vec<_> = leave.unwrap()["schedule"].as_array().unwrap().iter().map(of).collect();
        let want: Vec<_> = schedule.iter().map(|(t, b)| (Some(*t), Some(*b))).collect();
        assert_eq!(kept, want, "{form}");
        assert!(!again["verdict"]["reasons"].to_string().contains("deviates"), "{again}");
    }
}

#[test]
fn a_run_that_left_the_schedule_it_was_given_is_told_where() {
    let run = fixtures().join("mlp_sweep/b0128_lr2e-3_s1_sched128-256-512.jsonl");
    let run = run.display().to_string();
    let deviations = |schedule: &str, more: &[&str]| -> Vec<String> {
        let answer = plan(&[&[run.as_str(), "--schedule", schedule], more].concat());
        let reasons = answer["verdict"]["reasons"].as_array().unwrap();
        let all = reasons.iter().map(|r| r.as_str().unwrap().to_string());
        all.filter(|r| r.starts_with("deviates")).collect()
    };
    assert_eq!(deviations("0:8 10000000:16 20000000:32", &["--seq-len", "16"]), [""; 0]);
    let [one] = deviations("0:8 10000000:32", &["--seq-len", "16"]).try_into().unwrap();
    assert!(one.contains("256 tokens a step from 10M to 20M, where it says 512"), "{one}");
    let [first, second] = deviations("0,128\n", &[]).try_into().unwrap();
    assert!(first.contains("256 tokens a step from 10M to 20M, where it says 128"), "{first}");
    assert!(second.contains("512 tokens a step from 20M to now, where it says 128"), "{second}");
}

#[test]
fn a_wrong_sequence_length_is_wrong_use() {
    let sweep = sweep();
    for more in [&["--seq-len", "100"][..], &["--seq-len", "0"], &[]] {
        let args = ["plan", sweep.as_str(), "--run", RUN, "--format", "megatron"];
        let said = boptop([&args, more].concat());
        assert!(said.code == Some(2) && said.err.contains("--seq-len"), "{said:?}");
        assert!(said.out.is_empty(), "{said:?}");
    }
}

/// Branches that are no more asked for are those that reported; the last one makes a plan.
#[test]
fn what_to_branch_shrinks_as_siblings_report() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    siblings(dir.path(), &["0128"]);
    let asked = || {
        let answer = plan(&[&folder, "--run", RUN]);
        let reasons = answer["verdict"]["reasons"].as_array().unwrap().clone();
        let branch = reasons.iter().filter_map(Value::as_str).find(|r| r.starts_with("branch "));
        branch.map(|b| {
            let of = b.split("at batch size").nth(1).unwrap().trim_start_matches('s');
            let sizes = of.split(" for ").next().unwrap().split(',');
            sizes.map(|s| s.trim().parse::<u64>().unwrap()).collect::<Vec<_>>()
        })
    };
    let first = asked().unwrap();
    assert!(first.len() >= 2, "{first:?}");
    siblings(dir.path(), &["0064"]);
    let second = asked().unwrap();
    assert!(second.len() < first.len() && !second.contains(&64), "{first:?} {second:?}");
    siblings(dir.path(), &["0256", "0512"]);
    assert_eq!(asked(), None, "the law speaks");
}

/// A run that was really trained 128, 256 @10M, 512 @20M: the change is approved on what was known
/// before it, and judged on what then came.
#[test]
fn a_forecast_is_held_against_what_then_happened() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    siblings(dir.path(), &["0032", "0064", "0256", "0512", "1024", "2048"]);
    let name = "mlp_sweep/b0128_lr2e-3_s1_sched128-256-512.jsonl";
    let text = fs::read_to_string(fixtures().join(name)).unwrap();
    let tokens = |l: &str| serde_json::from_str::<Value>(l).unwrap()["tokens"].as_f64().unwrap();
    let metrics = dir.path().join("steer.jsonl");
    let add = |from: f64, to: f64| {
        let mut file = fs::File::options().create(true).append(true).open(&metrics).unwrap();
        for l in text.lines().filter(|l| tokens(l) > from && tokens(l) <= to) {
            writeln!(file, "{l}").unwrap();
        }
    };
    let acks = dir.path().join("steer.control.ack.jsonl");
    add(0.0, 9.6e6);
    say(&acks, "steer", "ready", json!({}));
    let args = "--run steer --lead 0 --batch-size 256 --at-tokens 10000000 --target-loss 2.2 --yes \
         --override not-live";
    let said = boptop(["control", "approve", &folder].into_iter().chain(args.split(' ')));
    assert_eq!(said.code, Some(0), "{said:?}");
    let control = fs::read_to_string(dir.path().join("steer.control.json")).unwrap();
    let control: Value = serde_json::from_str(&control).unwrap();
    say(&acks, "steer", "accepted", json!({"revision": 1, "schedule": control["schedule"]}));
    let applied = json!({"revision": 1, "tokens": 10_000_000, "from_tokens": 10_000_000,
        "batch_size_tokens": 256});
    say(&acks, "steer", "applied", applied);
    let forecast = || {
        let shown = boptop(["control", "show", &folder, "--run", "steer", "--json"]).json(0);
        shown["forecasts"][0].clone()
    };
    add(9.6e6, 11e6);
    let before = forecast();
    assert!(before["promise"].is_object() && before["outcome"].is_null(), "{before}");
    // What it was approved for stays: the loss that it aims at, and the tokens to it.
    let aim = before["promise"]["target_loss"].as_f64().unwrap();
    let due = before["promise"]["tokens"]["value"].as_f64().unwrap();
    assert!(due > 10e6 && before["arrival"].is_null(), "{before}");
    assert_eq!(control["evidence"]["forecast"]["target_loss"], aim);
    assert_eq!(control["evidence"]["forecasts"].as_array().unwrap().len(), 1);
    let shown = boptop(["control", "show", &folder, "--run", "steer"]).out;
    assert!(aim == 2.2 && shown.contains("forecast of all of it: loss 2.2000 after "), "{shown}");
    add(11e6, 19e6);
    let outcome = forecast()["outcome"].clone();
    let of = |key: &str| outcome[key].as_f64().unwrap();
    // What came by the log itself.
    let [from, to] = [0, 1].map(|i| before["promise"]["judged_over_tokens"][i].as_f64().unwrap());
    assert!(from > 10e6 && to < 19e6, "{before}");
    let seen: Vec<f64> = text
        .lines()
        .filter(|l| tokens(l) > from && tokens(l) <= to)
        .map(|l| serde_json::from_str::<Value>(l).unwrap()["loss"].as_f64().unwrap())
        .collect();
    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
    assert!((of("loss") - mean).abs() < 1e-9, "{outcome} {mean}");
    assert_eq!(outcome["kept"], true, "{outcome}");
    assert!((0.5..2.0).contains(&of("share")), "{outcome}");
    // At 20M it went on to 512 by itself: no restart did that.
    add(19e6, 24e6);
    let notes = boptop(["control", "show", &folder, "--run", "steer"]).out;
    assert!(notes.contains("no restart was told") && !notes.contains("lost it"), "{notes}");
    let audit = fs::read_to_string(dir.path().join("steer.control.log.jsonl")).unwrap();
    let judged: Vec<&str> = audit.lines().filter(|l| l.contains("\"judged\"")).collect();
    let of = |key: &str| judged.iter().filter(|l| l.contains(key)).count();
    assert_eq!((of("outcome"), of("arrival")), (1, 1), "{audit}");
    assert!(judged.iter().all(|l| l.contains("the forecast held")), "{audit}");
    let came = forecast()["arrival"]["tokens"].as_f64().unwrap();
    assert!((0.7..1.4).contains(&(came / due)), "{came} {due}");
}

/// Its log holds only what came after the checkpoint: no training from the start at its batch size.
#[test]
fn a_branch_that_reports_tells_the_memory_and_spoils_no_law() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    siblings(dir.path(), &["0064", "0128", "0256", "0512", "1024"]);
    let fit = || {
        let fit = boptop(["fit", &folder, "--json"]).json(0);
        fit["groups"][0].clone()
    };
    let before = fit();
    assert_eq!(before["law"]["source"], "assumed", "no run switched yet");
    let name = "mlp_sweep/b0128_lr2e-3_s1_sched128-256-512.jsonl";
    let text = fs::read_to_string(fixtures().join(name)).unwrap();
    let tokens = |l: &&str| serde_json::from_str::<Value>(l).unwrap()["tokens"].as_f64().unwrap();
    let branch: Vec<&str> =
        text.lines().filter(|l| (10.02e6..=20e6).contains(&tokens(l))).collect();
    fs::write(dir.path().join("branch.jsonl"), branch.join("\n") + "\n").unwrap();
    let after = fit();
    let runs = after["runs"].as_array().unwrap();
    let member = runs.iter().find(|r| r["id"] == "branch").unwrap();
    assert_eq!(member["used"], false, "{member}");
    assert!(member["why"].as_str().unwrap().contains("changes its batch size"), "{member}");
    assert_eq!(after["law"]["source"], "measured", "{}", after["law"]);
    for parameter in ["l_inf", "alpha", "gamma"] {
        let of = |fit: &Value| fit["law"][parameter].as_f64().unwrap();
        assert!((of(&after) / of(&before) - 1.0).abs() < 1e-3, "{parameter}: {}", after["law"]);
    }
    let answer = plan(&[&folder, "--run", "branch", "--schedule", "0,512\n10000000,256\n"]);
    assert!(!answer["verdict"]["reasons"].to_string().contains("deviates"), "{answer}");
    let page = boptop(["report", &folder, "--run", "branch", "-o", "-"]).out;
    assert!(page.contains("with a past of about 128 tokens a step and 256 since"), "{page}");
}
