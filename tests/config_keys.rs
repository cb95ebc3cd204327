//! Every key of the configuration file does something that can be seen from outside, in the built
//! binary; what it does not know or cannot use it refuses with file and line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

#[path = "support/pty.rs"]
#[allow(dead_code, reason = "shared with the tests of the screen")]
mod pty;
#[path = "config_keys/screen.rs"]
mod screen;
mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::{Said, boptop, fixtures};

/// A key with its section, and what shows that it takes effect.
type Case = (&'static str, fn(&Path));

const CASES: &[Case] = &[
    ("fields.loss", fields),
    ("fields.tokens", fields),
    ("input.seq_len", seq_len),
    ("input.assume_batch", assume_batch),
    ("input.loss_in_bits", loss_in_bits),
    ("fit.loss", fit_loss),
    ("fit.exclude", exclude),
    ("fit.seed", seed),
    ("fit.groups.7b-*", groups),
    ("plan.goal", goal),
    ("plan.target_loss", target_loss),
    ("plan.budget_tokens", budget_tokens),
    ("plan.decay_tokens", decay_tokens),
    ("plan.lr_rule", lr_rule),
    ("plan.unit", unit),
    ("plan.max_batch", max_batch),
    ("plan.memory", memory),
    ("plan.law", law),
    ("control.path", control_path),
    ("control.lead_seconds", lead_seconds),
    ("control.read_only", read_only),
    ("screen.theme", screen::theme),
    ("screen.colors", screen::colors),
    ("screen.ascii", screen::ascii),
    ("screen.half_blocks", screen::half_blocks),
    ("screen.mouse", screen::mouse),
    ("screen.sync_output", screen::sync_output),
    ("screen.pinned", screen::pinned),
    ("notify.bell", screen::bell),
    ("notify.command", screen::command),
];

/// The keys that `config --print-default` lists, those that are commented out included.
fn printed() -> Vec<String> {
    let text = boptop(["config", "--print-default"]).out;
    let line = |l: &str| match l.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') && key.contains(" = ") => key.to_string(),
        _ => l.to_string(),
    };
    let all: String = text.lines().map(|l| line(l) + "\n").collect();
    let mut keys = Vec::new();
    names("", &all.parse::<toml::Table>().unwrap(), &mut keys);
    keys
}

fn names(above: &str, table: &toml::Table, out: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(t) => names(&format!("{above}{key}."), t, out),
            _ => out.push(format!("{above}{key}")),
        }
    }
}

#[test]
fn each_key_takes_effect() {
    for key in printed() {
        let case = CASES.iter().find(|c| c.0 == key);
        let (_, shows) = case.unwrap_or_else(|| panic!("nothing shows that {key} takes effect"));
        let dir = tempfile::tempdir().unwrap();
        eprintln!("{key}");
        shows(dir.path());
    }
}

#[test]
fn what_it_does_not_know_or_cannot_use_is_refused_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), "{\"step\":1,\"loss\":2.0}\n");
    for (text, line, words) in [
        ("[plan]\nunits = 3\n", 2, "units"),
        ("[fit]\nseed = 1\n\n[planning]\nunit = 3\n", 4, "planning"),
        ("[plan]\nunit = [1]\n", 2, "a number"),
        ("[screen]\nmouse = \"no\"\n", 2, "true or false"),
        ("[screen]\npinned = \"a\"\n", 2, "a list"),
        ("[fit]\nloss = \"test\"\n", 2, "test"),
        ("[plan]\ntarget_loss = -2\n", 2, "-2"),
        ("[fields]\nlos = \"a\"\n", 2, "los"),
        ("[notify]\ncommand = true\n", 2, "a list"),
        ("[screen\n", 1, ""),
    ] {
        let config = config(dir.path(), text);
        let said =
            boptop(["inspect".as_ref(), log.as_os_str(), "--config".as_ref(), config.as_os_str()]);
        assert_eq!(said.code, Some(2), "{text}: {said:?}");
        let place = format!("{}:{line}: ", config.display());
        assert!(said.err.contains(&place) && said.err.contains(words), "{text}: {said:?}");
        assert!(said.out.is_empty(), "{said:?}");
    }
}

fn config(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("config.toml");
    fs::write(&path, text).unwrap();
    path
}

fn log(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("log.jsonl");
    fs::write(&path, text).unwrap();
    path
}

/// What a command says under a configuration.
fn under(dir: &Path, text: &str, args: &[&str]) -> Said {
    let config = config(dir, text);
    boptop(args.iter().copied().chain(["--config", config.to_str().unwrap()]))
}

fn inspected(dir: &Path, lines: &str, text: &str) -> Value {
    let log = log(dir, lines);
    under(dir, text, &["inspect", log.to_str().unwrap(), "--json"]).json(0)["files"][0].clone()
}

fn fields(dir: &Path) {
    let lines = "{\"step\":1,\"loss\":2.0,\"lm\":3.0,\"num_tokens\":10,\"consumed\":40}\n";
    let fields = |text: &str| inspected(dir, lines, text)["fields"].clone();
    let usual = fields("");
    assert_eq!((&usual["loss"], &usual["tokens"]), (&"loss".into(), &"num_tokens".into()));
    let told = fields("[fields]\nloss = \"lm\"\ntokens = \"consumed\"");
    assert_eq!((&told["loss"], &told["tokens"]), (&"lm".into(), &"consumed".into()));
}

fn seq_len(dir: &Path) {
    let size = |text: &str| {
        inspected(dir, "{\"step\":1,\"loss\":2.0,\"global_batch_size\":64}\n", text)["last"]
            ["batch_size_tokens"]
            .clone()
    };
    assert_eq!(size(""), Value::Null);
    assert_eq!(size("[input]\nseq_len = 100"), 6400.0);
}

fn assume_batch(dir: &Path) {
    let size = |text: &str| {
        inspected(dir, "{\"step\":1,\"loss\":2.0}\n", text)["last"]["batch_size_tokens"].clone()
    };
    assert_eq!(size(""), Value::Null);
    assert_eq!(size("[input]\nassume_batch = \"4K\""), 4000.0);
}

fn loss_in_bits(dir: &Path) {
    let loss = |text: &str| {
        inspected(dir, "{\"step\":1,\"loss\":2.0}\n", text)["last"]["loss"].as_f64().unwrap()
    };
    assert_eq!(loss(""), 2.0);
    assert!((loss("[input]\nloss_in_bits = true") - 2.0 * std::f64::consts::LN_2).abs() < 1e-12);
}

fn sweep() -> String {
    fixtures().join("mlp_sweep").display().to_string()
}

fn fitted(dir: &Path, text: &str) -> Value {
    under(dir, text, &["fit", &sweep(), "--json"]).json(0)["groups"].clone()
}

fn fit_loss(dir: &Path) {
    let on = |text: &str| fitted(dir, text)[0]["levels"][0]["on"].clone();
    assert_eq!(on(""), "train");
    assert_eq!(on("[fit]\nloss = \"val\""), "val");
}

fn exclude(dir: &Path) {
    let used = |text: &str| {
        let groups = fitted(dir, text);
        let runs = groups[0]["runs"].as_array().unwrap();
        runs.iter().any(|r| r["id"] == "b0512_lr2e-3_s1" && r["used"] == true)
    };
    assert!(used("") && !used("[fit]\nexclude = [\"b0512_*\"]"));
}

fn seed(dir: &Path) {
    let intervals = |text: &str| {
        let groups = fitted(dir, text);
        let levels = groups[0]["levels"].as_array().unwrap();
        levels.iter().map(|l| l["b_opt"]["low"].as_f64()).collect::<Vec<_>>()
    };
    assert_eq!(intervals(""), intervals("[fit]\nseed = 1"));
    assert_ne!(intervals(""), intervals("[fit]\nseed = 2"));
}

fn groups(dir: &Path) {
    let count = |text: &str| fitted(dir, text).as_array().unwrap().len();
    assert_eq!(count(""), 1);
    assert_eq!(count("[fit.groups]\n\"b00*\" = \"small\""), 2);
}

fn planned(dir: &Path, text: &str) -> Value {
    under(dir, text, &["plan", &sweep(), "--run", "b0128_lr2e-3_s1", "--json"]).json(0)
}

/// Of the policy of that name: what it has at a key.
fn policy(plan: &Value, name: &str, key: &str) -> Value {
    let policies = plan["policies"].as_array().unwrap();
    policies.iter().find(|p| p["policy"] == name).unwrap()[key].clone()
}

fn sizes(plan: &Value) -> Vec<u64> {
    let schedule = policy(plan, "planned", "schedule");
    let entries = schedule.as_array().unwrap();
    entries.iter().map(|e| e["batch_size_tokens"].as_u64().unwrap()).collect()
}

fn goal(dir: &Path) {
    let words = |text: &str| planned(dir, text)["verdict"]["reasons"][0].to_string();
    assert!(words("").starts_with("\"fewest tokens to loss"));
    assert!(words("[plan]\ngoal = \"time\"").starts_with("\"fewest hours to loss"));
    assert_eq!(planned(dir, "[plan]\ngoal = \"time\"")["goal"], "time");
}

fn target_loss(dir: &Path) {
    let target = |text: &str| policy(&planned(dir, text), "planned", "target_loss");
    assert_ne!(target(""), 2.2);
    assert_eq!(target("[plan]\ntarget_loss = 2.2"), 2.2);
}

fn budget_tokens(dir: &Path) {
    let at_budget = |text: &str| {
        policy(&planned(dir, text), "leave", "loss_at_budget")["value"].as_f64().unwrap()
    };
    // A budget farther off is a lower loss.
    assert!(at_budget("[plan]\nbudget_tokens = \"400M\"") < at_budget(""));
}

fn decay_tokens(dir: &Path) {
    let budget = "[plan]\nbudget_tokens = \"70M\"\n";
    assert_eq!(planned(dir, budget)["goal"], "stable");
    assert_eq!(planned(dir, &format!("{budget}decay_tokens = \"20M\""))["goal"], "decayed");
}

fn lr_rule(dir: &Path) {
    let scale = |text: &str| planned(dir, text)["schedule"][1]["lr_scale"].clone();
    assert_eq!(scale(""), Value::Null);
    assert_eq!(scale("[plan]\nlr_rule = \"sqrt\""), std::f64::consts::SQRT_2);
}

fn unit(dir: &Path) {
    let odd = |plan: &Value| sizes(plan)[1..].iter().any(|b| b % 100 != 0);
    assert!(odd(&planned(dir, "")));
    let told = planned(dir, "[plan]\nunit = 100");
    assert!(sizes(&told).len() > 1 && !odd(&told), "{told}");
}

fn max_batch(dir: &Path) {
    let largest = |text: &str| sizes(&planned(dir, text)).into_iter().max();
    assert!(largest("") > Some(512));
    assert_eq!(largest("[plan]\nmax_batch = 512"), Some(512));
}

fn memory(dir: &Path) {
    let source = |text: &str| policy(&planned(dir, text), "planned", "memory");
    assert_eq!(source(""), "measured");
    assert_eq!(source("[plan]\nmemory = \"slow\""), "assumed");
}

fn law(dir: &Path) {
    let saved = dir.join("law.json");
    let said = boptop(["fit", &sweep(), "--save-law", saved.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let alone = fixtures().join("mlp_sweep/b0128_lr2e-3_s1.jsonl");
    let b_opt = |text: &str| {
        let args = ["plan", alone.to_str().unwrap(), "--run", "b0128_lr2e-3_s1", "--json"];
        under(dir, text, &args).json(0)["b_opt"]["value"].as_f64()
    };
    assert_eq!(b_opt(""), None, "one run cannot tell");
    assert!(b_opt(&format!("[plan]\nlaw = {saved:?}")).is_some());
}

fn controlled(dir: &Path, text: &str, args: &[&str]) -> Said {
    let mut all = vec!["control", args[0]];
    let (sweep, run) = (sweep(), ["--run", "b0128_lr2e-3_s1"]);
    all.push(&sweep);
    all.extend(run);
    all.extend(&args[1..]);
    under(dir, text, &all)
}

fn control_path(dir: &Path) {
    let file = dir.join("b0128_lr2e-3_s1.control.json");
    let text = "{\"version\":1,\"run\":\"b0128_lr2e-3_s1\",\"revision\":5,\
                \"schedule\":[{\"from_tokens\":0,\"batch_size_tokens\":128}]}";
    fs::write(file, text).unwrap();
    let revision =
        |text: &str| controlled(dir, text, &["show", "--json"]).json(0)["revision"].clone();
    assert_eq!(revision(""), Value::Null);
    let place = dir.join("{run}.control.json");
    assert_eq!(revision(&format!("[control]\npath = {place:?}")), 5);
}

/// Of a copy that counts as live: what has ended is proposed at once.
fn lead_seconds(dir: &Path) {
    let run = "b0128_lr2e-3_s1";
    let log = dir.join(format!("{run}.jsonl"));
    fs::copy(fixtures().join(format!("mlp_sweep/{run}.jsonl")), &log).unwrap();
    let earliest = |text: &str| {
        let args = ["control", "propose", log.to_str().unwrap(), "--batch-size", "256", "--json"];
        let said = under(dir, text, &args);
        let schedule = said.json(0)["proposal"]["schedule"].clone();
        schedule.as_array().unwrap().last().unwrap()["from_tokens"].as_u64().unwrap()
    };
    assert!(earliest("[control]\nlead_seconds = 1000") > earliest(""));
}

fn read_only(dir: &Path) {
    let place = dir.join("{run}.control.json");
    let approve = |more: &str| {
        let text = format!("[control]\npath = {place:?}\n{more}");
        let said = controlled(dir, &text, &["approve", "--batch-size", "256", "--yes"]);
        assert_eq!(said.code, Some(3), "{}", said.err);
        said.err
    };
    assert!(approve("").contains("not-live") && !approve("").contains("read-only"));
    assert!(approve("read_only = true").contains("read-only: nothing is written"));
}

/// Somebody else's directory, or a file where a directory should be: nobody named it.
#[test]
fn a_usual_place_that_cannot_be_opened_is_told_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let sweep = fixtures().join("mlp_sweep/b0128_lr2e-3_s1.jsonl");
    let call = |words: &[&std::ffi::OsStr]| {
        let mut command = support::command();
        command.env("XDG_CONFIG_HOME", &file).args(words);
        Said::from(command.output().unwrap())
    };
    let said = call(&["inspect".as_ref(), sweep.as_ref()]);
    assert!(said.code == Some(0) && said.out.contains("format boptop"), "{said:?}");
    assert!(said.err.contains("config.toml: Not a directory"), "{said:?}");
    assert!(said.err.contains("the defaults are taken"), "{said:?}");
    let said = call(&["config".as_ref()]);
    assert!(said.code == Some(0) && said.out.contains("Not a directory"), "{said:?}");
    // One that was named is wanted.
    let named = file.join("mine.toml");
    let said = call(&["inspect".as_ref(), sweep.as_ref(), "--config".as_ref(), named.as_ref()]);
    assert!(said.code == Some(2) && said.err.contains("mine.toml"), "{said:?}");
}
