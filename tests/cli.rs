//! The headless commands of the built binary: answers, refusals, errors, exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use support::{Said, boptop, command, fixtures, line, numbers};

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

/// File names are bytes.
#[cfg(target_os = "linux")]
#[test]
fn a_file_name_that_is_no_text_is_an_argument() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let dir = tempfile::tempdir().unwrap();
    let mut name = dir.path().join("caf").into_os_string().into_vec();
    name.extend(b"\xe9.jsonl");
    let path = OsString::from_vec(name);
    fs::write(&path, "{\"step\":1,\"loss\":2.5,\"tokens\":100}\n".repeat(3)).unwrap();
    let said = boptop([OsString::from("inspect"), path.clone(), "--json".into()]).json(0);
    assert_eq!(said["files"][0]["records"], 3, "{said}");
    let fit = boptop([OsString::from("fit"), path, "--json".into()]);
    assert_eq!(fit.code, Some(0), "{fit:?}");
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

fn piped(args: &[&str], text: &str) -> support::Said {
    use std::io::Write;
    let mut child = command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let (head, tail) = text.split_at(text.len() / 2);
    pipe.write_all(head.as_bytes()).unwrap();
    pipe.flush().unwrap();
    pipe.write_all(tail.as_bytes()).unwrap();
    drop(pipe);
    child.wait_with_output().unwrap().into()
}

fn run_text(batch: u64) -> String {
    (1..=200).map(|i| line(i, batch, 4.0 - 5e-3 * i as f64, 1e-3, 1e9 + i as f64)).collect()
}

#[test]
fn standard_input_is_read_to_its_end_beside_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.jsonl");
    fs::write(&path, run_text(64)).unwrap();
    let text = run_text(128);
    let fit = piped(&["fit", "-", path.to_str().unwrap(), "--json"], &text).json(0);
    let runs = fit["groups"][0]["runs"].as_array().unwrap();
    let tokens = |id: &str| runs.iter().find(|r| r["id"] == id).unwrap()["tokens"].as_f64();
    assert_eq!((tokens("stdin"), tokens("file")), (Some(25_600.0), Some(12_800.0)));
    let replay = piped(&["replay", "-", "--json", "--speed", "max"], &text);
    assert!(replay.code == Some(0) && replay.out.contains("\"step\":200.0"), "{replay:?}");
}

#[test]
fn a_pipe_in_a_directory_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("run.jsonl"), run_text(64)).unwrap();
    let pipe = dir.path().join("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let said = boptop(["inspect".as_ref(), dir.path().as_os_str()]);
    assert!(said.code == Some(0) && said.out.contains("run.jsonl"), "{said:?}");
    let said = boptop(["fit".as_ref(), pipe.as_os_str()]);
    assert!(said.code == Some(2) && said.err.contains("standard input"), "{said:?}");
}

#[test]
fn a_stated_key_that_no_file_has_is_an_error_that_names_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    fs::write(&path, run_text(64)).unwrap();
    let said = boptop(["fit".as_ref(), path.as_os_str(), "--field=loss=lm_los".as_ref()]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("lm_los") && said.err.contains("batch_size"), "{said:?}");
}

#[test]
fn a_run_that_has_only_begun_keeps_no_sweep_from_its_fit() {
    let dir = tempfile::tempdir().unwrap();
    for batch in [64, 128] {
        fs::write(dir.path().join(format!("b{batch}.jsonl")), run_text(batch)).unwrap();
    }
    fs::write(dir.path().join("new.jsonl"), "").unwrap();
    let fit = boptop(["fit".as_ref(), dir.path().as_os_str(), "--json".as_ref()]).json(0);
    let runs = fit["groups"].as_array().unwrap().iter().flat_map(|g| g["runs"].as_array().unwrap());
    assert!(runs.clone().any(|r| r["id"] == "b128"), "{fit}");
    let new = runs.clone().find(|r| r["id"] == "new").expect("explained, not dropped");
    assert!(new["used"] == false && new["why"].is_string(), "{new}");
    let bad = dir.path().join("bad.jsonl");
    fs::write(&bad, "{\"step\":1,\"badness\":3}\n").unwrap();
    let said = boptop(["plan".as_ref(), bad.as_os_str()]);
    assert!(said.code == Some(2) && said.err.contains("badness"), "{said:?}");
}

#[test]
fn inspect_tells_the_last_known_value_of_each_field() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ended.jsonl");
    let rows = [
        r#"{"step":0,"lr":0.0}"#,
        r#"{"step":10,"loss":2.5,"lr":0.001}"#,
        r#"{"step":20,"loss":2.25,"lr":0.0005}"#,
        r#"{"step":22,"train_runtime":31.5,"lr":0.0004}"#,
        "",
    ];
    fs::write(&path, rows.join("\n")).unwrap();
    let file =
        &boptop(["inspect".as_ref(), path.as_os_str(), "--json".as_ref()]).json(0)["files"][0];
    let of = |end: &str, field: &str| file[end][field].as_f64().unwrap();
    assert_eq!((of("first", "step"), of("first", "loss"), of("first", "lr")), (0.0, 2.5, 0.0));
    assert_eq!((of("last", "step"), of("last", "loss"), of("last", "lr")), (22.0, 2.25, 0.0004));
}

#[test]
fn every_file_of_a_run_is_inspected_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("r.jsonl"), run_text(64)).unwrap();
    fs::write(dir.path().join("r.val.jsonl"), "{\"step\":50,\"val_loss\":3.5}\n").unwrap();
    let inspect = boptop(["inspect".as_ref(), dir.path().as_os_str(), "--json".as_ref()]).json(0);
    let files = inspect["files"].as_array().unwrap();
    let of = |end: &str| files.iter().find(|f| f["path"].as_str().unwrap().ends_with(end)).unwrap();
    assert_eq!(of("r.jsonl")["last"]["step"], 200.0);
    assert_eq!(of("r.jsonl")["last"]["val_loss"], Value::Null);
    assert_eq!(
        (&of("val.jsonl")["last"]["step"], &of("val.jsonl")["last"]["val_loss"]),
        (&50.0.into(), &3.5.into())
    );
    assert_eq!(of("val.jsonl")["first"]["loss"], Value::Null);
}

#[test]
fn no_law_to_save_still_gives_the_answer_and_says_so_by_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    fs::write(&path, run_text(64)).unwrap();
    let law = dir.path().join("law.json");
    let args = ["fit".as_ref(), path.as_os_str(), "--json".as_ref(), "--save-law".as_ref()];
    let said = boptop(args.into_iter().chain([law.as_os_str()]));
    assert_eq!(said.json(1)["groups"][0]["law"], Value::Null);
    assert!(said.err.contains("no law to save") && !law.exists(), "{said:?}");
}

#[test]
fn a_plot_becomes_a_picture() {
    let sweep = fixtures().join("mlp_sweep");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("picture.svg");
    let (sweep, file_name) = (sweep.to_str().unwrap(), file.to_str().unwrap());
    let run = "b0128_lr2e-3_s1";
    for (view, words) in [("b-opt-tokens", "doubling"), ("run", "loss, smoothed")] {
        let said = boptop(["export", sweep, "--svg", file_name, "--view", view, "--run", run]);
        assert_eq!(said.code, Some(0), "{said:#?}");
        assert_eq!(said.out, format!("wrote {file_name}\n"));
        let svg = fs::read_to_string(&file).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains(words));
        assert!(!svg.contains("NaN"));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    let gone = boptop(["export", sweep, "--svg", "no/such/directory/x.svg"]);
    assert_eq!(gone.code, Some(2), "{gone:#?}");
    assert!(gone.err.contains("no/such/directory"), "{gone:#?}");
}

#[test]
fn a_plot_that_cannot_be_made_is_a_failure_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("alone.jsonl");
    fs::write(&log, run_text(64)).unwrap();
    let said = boptop(["export", log.to_str().unwrap(), "--svg", "-", "--view", "b-opt-loss"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:#?}");
    assert!(said.err.contains("nothing to plot"), "{said:#?}");
    let said = boptop(["export", log.to_str().unwrap(), "--svg", "-", "--view", "run"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.out.starts_with("<svg"), "{said:#?}");
}

#[test]
fn the_configuration_is_read_checked_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("boptop");
    fs::create_dir(&place).unwrap();
    let file = place.join("config.toml");
    let run = dir.path().join("a.jsonl");
    fs::write(&run, "{\"n\":1,\"cost\":2.5,\"loss\":9.0}\n{\"n\":2,\"cost\":2.4,\"loss\":9.0}\n")
        .unwrap();
    let inspect = |flags: &[&str]| {
        let mut call = command();
        call.env("XDG_CONFIG_HOME", dir.path()).arg("inspect").arg(&run).arg("--json").args(flags);
        Said::from(call.output().unwrap())
    };
    let loss = |said: &Said| said.json(0)["files"][0]["fields"]["loss"].clone();
    assert_eq!(loss(&inspect(&[])), "loss");
    fs::write(&file, "[fields]\nloss = \"cost\"\nlr = \"no_such_key\"\n").unwrap();
    assert_eq!(loss(&inspect(&[])), "cost");
    assert_eq!(loss(&inspect(&["--field", "loss=loss"])), "loss");
    assert_eq!(loss(&inspect(&["--no-config"])), "loss");
    fs::write(&file, "[fit]\n\nsede = 3\n").unwrap();
    let said = inspect(&[]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("config.toml:3") && said.err.contains("`seed`"), "{said:?}");
    assert_eq!(inspect(&["--no-config"]).code, Some(0));
    // What is there to mend it works all the same.
    let mut call = command();
    call.env("XDG_CONFIG_HOME", dir.path()).args(["config", "--print-default"]);
    let said = Said::from(call.output().unwrap());
    assert_eq!(said.code, Some(0), "{said:?}");
    fs::write(&file, said.out).unwrap();
    assert_eq!(inspect(&[]).code, Some(0));
    let said = boptop(["--config", "no/such/file.toml", "fit", "x"]);
    assert!(said.code == Some(2) && said.err.contains("no/such/file.toml"), "{said:?}");
}

#[test]
fn completions_and_man_pages_name_every_command() {
    let commands = ["watch", "inspect", "fit", "plan", "control", "replay", "demo", "config"];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = boptop(["completions", shell]);
        assert_eq!(said.code, Some(0), "{said:?}");
        for name in commands {
            assert!(said.out.contains(name), "{shell}: {name}");
        }
        assert!(said.out.contains("assume-batch"), "{shell}");
    }
    let said = boptop(["man"]);
    assert!(said.out.starts_with(".ie") && said.out.contains("Exit codes"), "{}", said.out);
    for name in commands {
        assert!(said.out.contains(&format!("boptop\\-{name}")), "{name}");
    }
    let said = boptop(["man", "plan"]);
    assert!(
        said.out.contains("boptop\\-plan") && said.out.contains("budget\\-tokens"),
        "{}",
        said.out
    );
    assert_eq!(boptop(["man", "brew"]).code, Some(2));
}

/// A command must end as it says, also where nobody takes its words.
#[test]
fn a_standard_error_that_is_gone_does_not_change_the_exit_code() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for args in [vec!["inspect", "no/such/file"], vec!["fit"], vec!["fit", "x", "--at-loss", "-"]] {
        let status = command().args(args).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(2));
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command().args(["inspect", "no/such/file"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_report_is_one_page_and_leaves_nothing_else_behind() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = fixtures().join("mlp2_sweep");
    let mut call = command();
    call.current_dir(dir.path()).args(["report", "--run", "b0512_lr2e-3_s21"]).arg(&sweep);
    let said = Said::from(call.output().unwrap());
    assert_eq!((said.code, said.out.trim()), (Some(0), "boptop-b0512_lr2e-3_s21.html"), "{said:?}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["boptop-b0512_lr2e-3_s21.html"]);
    let page = fs::read_to_string(dir.path().join("boptop-b0512_lr2e-3_s21.html")).unwrap();
    for part in [
        "Verdict",
        "Estimate",
        "Curve at loss",
        "B_opt by loss level",
        "Schedule (goal",
        "Forecast against outcome",
        "Decisions",
        "Files",
    ] {
        assert!(page.contains(&format!("<h2>{part}")), "{part}");
    }
    assert!(page.matches("<svg").count() >= 2, "the plots are part of the page");
    let place = page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "");
    assert!(!place.contains("<script") && !place.contains("http") && !place.contains("NaN"));
    // An old page stands until the new one is whole; where none can be written nothing is left.
    let taken = dir.path().join("taken");
    fs::create_dir_all(taken.join("inside")).unwrap();
    let mut call = command();
    call.args(["report", "--run", "b0512_lr2e-3_s21", "-o"]).arg(&taken).arg(&sweep);
    let said = Said::from(call.output().unwrap());
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    let said = boptop(["report".into(), sweep, "--run".into(), "nobody".into()]);
    assert_eq!(said.code, Some(2), "{said:?}");
}
