//! The headless commands of the built binary: answers, refusals, errors, exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use support::{boptop, command, fixtures, line, numbers};

#[test]
fn fit_uses_or_explains_every_run_of_the_sweep() {
    let sweep = fixtures().join("mlp_sweep");
    let fit = boptop(["fit".into(), sweep, "--json".into()]).json(0);
    assert_eq!(fit["schema"], "boptop.fit/1");
    let group = &fit["groups"][0];
    let runs = group["runs"].as_array().unwrap();
    assert!(runs.len() >= 13, "{} runs", runs.len());
    for run in runs {
        assert!(run["used"] == true || run["why"].is_string(), "{run}");
    }
    let levels = &group["levels"];
    let b_opt = numbers(levels, "/b_opt/value");
    let b_min = numbers(levels, "/b_min/value");
    assert!(b_opt.len() >= 6, "{b_opt:?}");
    assert!(b_opt.windows(2).all(|w| w[1] > w[0]), "B_opt rises as the loss falls: {b_opt:?}");
    assert!(b_min.windows(2).all(|w| w[1] > w[0]), "B_min rises as the loss falls: {b_min:?}");
    for level in levels.as_array().unwrap() {
        assert!(level["models"].as_array().unwrap().len() >= 4);
        let iv = &level["b_opt"];
        if let (Some(lo), Some(v), Some(hi)) =
            (iv["low"].as_f64(), iv["value"].as_f64(), iv["high"].as_f64())
        {
            assert!(lo <= v && v <= hi, "{iv}");
        }
    }
}

#[test]
fn a_loss_that_is_asked_for_is_the_one_that_is_answered() {
    let sweep = fixtures().join("mlp_sweep");
    let args = ["fit".into(), sweep, "--at-loss".into(), "2.3".into(), "--json".into()];
    let fit = boptop(args).json(0);
    let levels = fit["groups"][0]["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 1);
    assert_eq!(levels[0]["loss"], 2.3);
    let b_opt = levels[0]["b_opt"]["value"].as_f64().unwrap();
    assert!((120.0..=400.0).contains(&b_opt), "the best measured batch at 2.3 is 256: {b_opt}");
}

#[test]
fn a_path_that_does_not_exist_is_named() {
    for sub in ["fit", "inspect", "plan"] {
        let said = boptop([sub, "no/such/run.jsonl"]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("no/such/run.jsonl"), "{said:?}");
        assert!(said.out.is_empty(), "{said:?}");
    }
}

#[test]
fn a_file_without_a_loss_names_its_keys_and_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    fs::write(&path, "{\"step\":1,\"badness\":3.5}\n{\"step\":2,\"badness\":3.4}\n").unwrap();
    let said = boptop(["fit".as_ref(), path.as_os_str()]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("badness") && said.err.contains("--field loss="), "{said:?}");
    let said = boptop(["fit".as_ref(), path.as_os_str(), "--field=loss=badness".as_ref()]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn too_few_batch_sizes_are_an_answer_that_says_what_is_missing() {
    let sweep = fixtures().join("mlp_sweep");
    let fit = boptop(["fit".into(), sweep.join("b0256_lr2e-3_s1.jsonl"), "--json".into()]).json(0);
    let group = &fit["groups"][0];
    assert_eq!(group["law"], Value::Null);
    let refused = group["refused"].to_string();
    assert!(refused.contains("batch size"), "{refused}");
}

#[test]
fn a_cosine_run_is_refused_for_that_reason() {
    let dir = tempfile::tempdir().unwrap();
    for batch in [256u64, 512, 1024, 2048] {
        let mut text = String::new();
        for i in 1..=400u64 {
            let share = i as f64 / 400.0;
            let lr = 1e-3 * 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
            let loss = 2.0 + 3.0 * (i as f64).powf(-0.3);
            text += &line(i * 10, batch, loss, lr, 1e9 + i as f64);
        }
        fs::write(dir.path().join(format!("b{batch}.jsonl")), text).unwrap();
    }
    let said = boptop(["fit".as_ref(), dir.path().as_os_str()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("cosine"), "{said:?}");
}

#[test]
fn a_screen_without_a_terminal_names_the_commands_that_need_none() {
    let sweep = fixtures().join("mlp_sweep");
    for sub in ["watch", "replay"] {
        let said = boptop([sub.as_ref(), sweep.as_os_str()]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("--json"), "{said:?}");
    }
}

#[test]
fn wrong_use_and_help_have_their_codes() {
    assert_eq!(boptop(["--version"]).code, Some(0));
    assert_eq!(boptop(["--help"]).code, Some(0));
    assert_eq!(boptop(["fit"]).code, Some(2));
    assert_eq!(boptop(["plan", "x", "--goal", "riches"]).code, Some(2));
    assert_eq!(boptop(["adapter", "no-such-trainer"]).code, Some(2));
}

#[test]
fn a_reader_that_goes_away_ends_the_answer_quietly() {
    let sweep = fixtures().join("mlp_sweep");
    let mut child = command()
        .args(["replay".as_ref(), sweep.as_os_str(), "--json".as_ref(), "--speed".as_ref()])
        .arg("max")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("boptop.watch/1"), "{first}");
    let rest = child.wait_with_output().unwrap();
    assert_eq!(rest.status.code(), Some(0));
    assert!(rest.stderr.is_empty(), "{}", String::from_utf8_lossy(&rest.stderr));
}

#[test]
fn plan_puts_the_policies_side_by_side() {
    let sweep = fixtures().join("mlp_sweep");
    let run = "b0128_lr2e-3_s1";
    let args = ["plan".into(), sweep.clone(), "--run".into(), run.into(), "--json".into()];
    let plan = boptop(args).json(0);
    assert_eq!(plan["schema"], "boptop.plan/1");
    assert_eq!(plan["run"], run);
    let policies = plan["policies"].as_array().unwrap();
    let tokens = |name: &str| {
        let p = policies.iter().find(|p| p["policy"] == name);
        p.unwrap_or_else(|| panic!("no {name} in {plan}"))["tokens"]["value"].as_f64()
    };
    for name in ["leave", "planned", "tracking", "single"] {
        tokens(name);
    }
    let (planned, single) = (tokens("planned"), tokens("single"));
    if let (Some(planned), Some(single)) = (planned, single) {
        assert!(planned <= single * 1.0001, "planned {planned}, single {single}");
    }
    let text = plan["verdict"]["text"].as_str().unwrap();
    assert!(
        ["hold", "raise", "lower", "cannot tell"].iter().any(|w| text.starts_with(w)),
        "{text}"
    );
}

#[test]
fn a_saved_law_comes_back_with_its_provenance() {
    let sweep = fixtures().join("mlp_sweep");
    let dir = tempfile::tempdir().unwrap();
    let law = dir.path().join("law.json");
    let said = boptop(["fit".as_ref(), sweep.as_os_str(), "--save-law".as_ref(), law.as_os_str()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let saved: Value = serde_json::from_str(&fs::read_to_string(&law).unwrap()).unwrap();
    assert_eq!(saved["schema"], "boptop.law/1");
    let alone = sweep.join("b0128_lr2e-3_s1.jsonl");
    let with = boptop(["plan".as_ref(), alone.as_os_str(), "--law".as_ref(), law.as_os_str()]);
    assert_eq!(with.code, Some(0), "{with:?}");
    let without = boptop(["plan".as_ref(), alone.as_os_str()]);
    assert!(without.out.contains("cannot tell"), "{without:?}");
    fs::write(&law, "{}").unwrap();
    let broken = boptop(["plan".as_ref(), alone.as_os_str(), "--law".as_ref(), law.as_os_str()]);
    assert_eq!(broken.code, Some(2), "{broken:?}");
    assert!(broken.err.contains("law.json"), "{broken:?}");
}
