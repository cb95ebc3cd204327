//! Paths, directories and globs to runs, on real directories.

use super::*;

const LINE: &str = "{\"step\":1,\"loss\":2.5,\"tokens\":64}\n";

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn scan(dir: &Path, d: &mut Discovery) -> Vec<(String, Vec<String>)> {
    let short = |p: &PathBuf| p.strip_prefix(dir).unwrap_or(p).display().to_string();
    d.scan().into_iter().map(|r| (r.name, r.parts.iter().map(short).collect())).collect()
}

fn at(dir: &Path, path: &str) -> String {
    dir.join(path).display().to_string()
}

#[test]
fn a_directory_gives_its_runs_and_nothing_else() {
    let text = "some text\n".repeat(50);
    let foreign = "{\"text\":\"a sentence\"}\n".repeat(50);
    let t = tree(&[
        ("a/metrics.jsonl", LINE),
        ("b/metrics.jsonl", LINE),
        ("b/train.log", "completed step: 1, loss: 2.5\n"),
        ("c/sweep1.jsonl", LINE),
        ("c/sweep1.val.jsonl", "{\"step\":1,\"val_loss\":2.5}\n"),
        ("c/sweep1.jsonl.1", LINE),
        ("c/sweep1.jsonl.2", LINE),
        ("c/sweep1.control.json", "{}"),
        ("c/sweep1.control.ack.jsonl", LINE),
        ("c/sweep1.control.log.jsonl", LINE),
        ("c/.hidden.jsonl", LINE),
        ("c/notes.txt", &text),
        ("c/corpus.jsonl", &foreign),
        ("d/console.log", "completed step: 1, loss: 2.5\n"),
        ("e/checkpoint-5/trainer_state.json", "{\"log_history\":[]}"),
        ("e/checkpoint-10/trainer_state.json", "{\"log_history\":[]}"),
        ("f/run.wandb", "?"),
        ("g/table.csv", "step,tokens,loss\n1,64,2.5\n"),
        ("g/prices.csv", "apples,pears\n1,2\n"),
    ]);
    let mut d = Discovery::new(&[t.path().display().to_string()]).unwrap();
    let mut runs = scan(t.path(), &mut d);
    runs.sort();
    let want = [
        ("a", vec!["a/metrics.jsonl"]),
        ("b", vec!["b/metrics.jsonl"]),
        ("console", vec!["d/console.log"]),
        ("e", vec!["e/checkpoint-10/trainer_state.json"]),
        (
            "sweep1",
            vec!["c/sweep1.jsonl.2", "c/sweep1.jsonl.1", "c/sweep1.jsonl", "c/sweep1.val.jsonl"],
        ),
        ("table", vec!["g/table.csv"]),
    ];
    let want: Vec<_> = want
        .iter()
        .map(|(n, p)| (n.to_string(), p.iter().map(|s| s.to_string()).collect::<Vec<_>>()))
        .collect();
    assert_eq!(runs, want);
    assert_eq!(d.unsupported().len(), 1);
}

#[test]
fn what_a_shell_makes_of_a_glob_gives_no_runs_of_the_control_files() {
    let names = ["x.control.ack.jsonl", "x.control.log.jsonl", "x.jsonl", "y.jsonl"];
    let t = tree(&names.map(|n| (n, LINE)));
    let found = |paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(|p| at(t.path(), p)).collect();
        let mut d = Discovery::new(&paths).unwrap();
        scan(t.path(), &mut d).into_iter().map(|r| r.0).collect::<Vec<_>>()
    };
    assert_eq!(found(&names), ["x", "y"]);
    // Asked for by itself it is looked at.
    assert_eq!(found(&names[..1]).len(), 1);
}

#[test]
fn names_are_unique_and_stay() {
    let t = tree(&[("x/a/metrics.jsonl", LINE)]);
    let mut d = Discovery::new(&[t.path().display().to_string()]).unwrap();
    assert_eq!(scan(t.path(), &mut d)[0].0, "a");
    fs::create_dir_all(t.path().join("b/a")).unwrap();
    fs::write(t.path().join("b/a/metrics.jsonl"), LINE).unwrap();
    let names: Vec<String> = scan(t.path(), &mut d).into_iter().map(|r| r.0).collect();
    assert_eq!(names, ["a", "b/a"]);
    let mut new = Discovery::new(&[t.path().display().to_string()]).unwrap();
    let names: Vec<String> = scan(t.path(), &mut new).into_iter().map(|r| r.0).collect();
    assert_eq!(names, ["x/a", "b/a"].into_iter().collect::<Vec<_>>());
}

#[test]
fn globs_files_and_their_companions() {
    let t = tree(&[
        ("a/x.jsonl", LINE),
        ("a/x.val.jsonl", LINE),
        ("b/y.jsonl", LINE),
        ("b/z.csv", "1"),
    ]);
    let mut d = Discovery::new(&[at(t.path(), "*/*.jsonl")]).unwrap();
    let names: Vec<String> = scan(t.path(), &mut d).into_iter().map(|r| r.0).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let mut d = Discovery::new(&[
        at(t.path(), "a/x.jsonl"),
        at(t.path(), "a/x.val.jsonl"),
        at(t.path(), "no/w.jsonl"),
    ])
    .unwrap();
    assert_eq!(
        scan(t.path(), &mut d),
        [
            ("x".to_string(), vec!["a/x.jsonl".to_string(), "a/x.val.jsonl".into()]),
            ("w".to_string(), vec!["no/w.jsonl".to_string()])
        ],
        "what is named and not there yet is waited for"
    );
    assert_eq!(d.missing(), [at(t.path(), "no/w.jsonl")]);
    assert!(d.directories().contains(&t.path().to_path_buf()));
    assert!(matches!(Discovery::new(&["a["]), Err(Error::Usage(_))));
}

#[test]
fn files_joined_by_a_person_are_one_run() {
    let t = tree(&[("a/job1.jsonl", LINE), ("a/job2.jsonl", LINE), ("b/x+y.jsonl", LINE)]);
    let both = format!("{}+{}", at(t.path(), "a/job1.jsonl"), at(t.path(), "a/job2.jsonl"));
    let mut d = Discovery::new(&[both, at(t.path(), "b/x+y.jsonl")]).unwrap();
    let runs = scan(t.path(), &mut d);
    assert!(runs.contains(&("job1".into(), vec!["a/job1.jsonl".into(), "a/job2.jsonl".into()])));
    assert!(runs.contains(&("x+y".into(), vec!["b/x+y.jsonl".into()])));
    assert_eq!(runs.len(), 2);
}

#[test]
fn symlinks_lead_to_no_second_run_and_to_no_loop() {
    let t = tree(&[("runs/r1/m.jsonl", LINE)]);
    std::os::unix::fs::symlink(t.path().join("runs/r1"), t.path().join("runs/latest")).unwrap();
    std::os::unix::fs::symlink(t.path(), t.path().join("runs/r1/up")).unwrap();
    let mut d = Discovery::new(&[t.path().display().to_string()]).unwrap();
    assert_eq!(scan(t.path(), &mut d), [("m".to_string(), vec!["runs/r1/m.jsonl".to_string()])]);
}

#[test]
fn a_log_that_grows_metrics_is_found_later() {
    let t = tree(&[("j.log", "starting\n")]);
    let mut d = Discovery::new(&[t.path().display().to_string()]).unwrap();
    assert!(d.scan().is_empty());
    fs::write(t.path().join("j.log"), "starting\ncompleted step: 1, loss: 2.5\n").unwrap();
    assert_eq!(d.scan().len(), 1);
}
