//! The whole loop with the printed Python adapter: three bumps and an undo, while boptop is killed
//! and started again between them and the trainer is killed and goes on from an older checkpoint.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test falls where it is wrong")]

#[path = "support/live.rs"]
mod live;
mod support;
#[path = "support/trainer.rs"]
#[allow(dead_code, reason = "this binary uses its own part")]
mod trainer;

use live::{Job, OWN, Running, UNIT};
use serde_json::Value;
use std::process::{Command, Stdio};

/// Steps until it is killed; a checkpoint (step, tokens) is whatever the test hands in.
const TRAINER: &str = r#"
import sys, time
from boptop_control import Control
metrics, unit, own, step, tokens = sys.argv[1], *map(int, sys.argv[2:6])
c = Control(metrics, unit_tokens=unit, own=own, poll_seconds=0.05)
c.start(step, tokens)
while True:
    batch, lr_scale = c.batch(step, tokens)
    time.sleep(0.01)
    step, tokens = step + 1, tokens + batch
    c.log(step, tokens, batch, 2.0 + 50.0 / (step + 20.0) ** 0.5, 2e-3 * lr_scale)
"#;

fn start(job: &Job, step: u64, tokens: u64) -> Running {
    let mut command = Command::new("python3");
    command.args(["-c", TRAINER]).arg(job.file("jsonl"));
    command.args([UNIT, OWN, step, tokens].map(|n| n.to_string()));
    command
        .env("PYTHONPATH", job.dir())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("BOPTOP_CONTROL")
        .env_remove("SLURM_JOB_ID");
    Running(command.stdout(Stdio::null()).spawn().unwrap())
}

/// A boptop that looks on, and records what it sees, until it is killed.
fn watch(job: &Job) -> Running {
    let mut command = support::command();
    command.args(["watch", "--json", "--lead", "0.2"]).arg(job.file("jsonl"));
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn count(job: &Job, event: &str, revision: u64) -> usize {
    job.audit().iter().filter(|l| l["event"] == event && l["revision"] == revision).count()
}

/// Approved by hand, written, accepted, applied: in the trainer's words, in the metrics and in the
/// audit, whichever boptop saw it.
fn bump(job: &Job, size: u64, revision: u64) {
    let said = job.approve_all(size, &["--json"]).json(0);
    assert_eq!((&said["wrote"], &said["revision"]), (&true.into(), &revision.into()), "{said}");
    job.until_state("applied", revision);
    job.until("audit", |j| count(j, "applied", revision) == 1);
    assert_eq!(job.metrics().last().unwrap()["batch_size_tokens"], size);
}

#[test]
fn three_bumps_an_undo_and_everybody_killed_once() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success()) {
        println!("skipped: there is no python3 here");
        return;
    }
    let job = Job::new("live");
    let adapter = support::boptop(["adapter", "python"]);
    std::fs::write(job.dir().join("boptop_control.py"), adapter.out).unwrap();
    let mut training = start(&job, 5000, 5000 * OWN);
    job.until("metrics", |j| j.metrics().len() > 30);

    let mut watching = watch(&job);
    bump(&job, 256, 1);
    watching.kill();
    // Nobody looks on: the shell alone.
    bump(&job, 512, 2);
    // Written, and killed before anybody saw it accepted.
    let mut watching = watch(&job);
    let said = job.approve_all(1024, &["--json"]).json(0);
    watching.kill();
    assert_eq!(said["revision"], 3);
    job.until_state("applied", 3);

    // The trainer dies and goes on from a checkpoint of the first bump's time.
    training.kill();
    let metrics = job.metrics();
    let reached = metrics.last().unwrap()["tokens"].as_u64().unwrap();
    // Of two lines with one size the first: the second change may begin right after the last.
    let size = |l: &Value| (l["control_revision"].clone(), l["batch_size_tokens"].clone());
    let of_first = |w: &&[Value]| w[0]["control_revision"] == 1 && size(&w[0]) == size(&w[1]);
    let older = &metrics.windows(2).rfind(of_first).unwrap()[0];
    let (step, tokens) = (older["step"].as_u64().unwrap(), older["tokens"].as_u64().unwrap());
    assert!(tokens < reached);
    let mut training = start(&job, step, tokens);
    let before = metrics.len();
    job.until("resumed", |j| {
        let lines = j.metrics();
        lines.len() > before && lines.last().unwrap()["tokens"].as_u64().unwrap() > reached
    });
    // Under the last revision from its first step on, with the sizes that its schedule has there.
    let resumed = &job.metrics()[before..];
    assert!(resumed.iter().all(|l| l["control_revision"] == 3));
    assert_eq!(resumed[0]["batch_size_tokens"], older["batch_size_tokens"]);
    assert_eq!(resumed.last().unwrap()["batch_size_tokens"], 1024);
    job.until_state("applied", 3);

    let mut watching = watch(&job);
    let undone = job.undo().json(0);
    assert_eq!((&undone["wrote"], &undone["revision"]), (&true.into(), &4.into()), "{undone}");
    watching.kill();
    let last = job.until_state("applied", 4);
    assert_eq!(last["schedule"].as_array().unwrap().last().unwrap()["batch_size_tokens"], 512);
    training.kill();

    job.obeyed();
    let steps: Vec<&str> = vec!["approved", "written", "accepted", "applied"];
    for revision in 1..=4 {
        for step in &steps {
            // Once each, whoever saw it, however often it was killed; but an approval and a write
            // are one person's.
            assert_eq!(count(&job, step, revision), 1, "{step} of {revision}: {:?}", job.audit());
        }
    }
    assert_eq!(count(&job, "undone", 3), 1);
    let wrong = ["overdue", "reverted", "burned", "rejected"];
    for line in job.audit() {
        assert!(wrong.iter().all(|w| line["event"] != *w), "{line} {:?}", job.acks());
    }
    let ready: Vec<Value> = job.acks().into_iter().filter(|a| a["status"] == "ready").collect();
    assert_eq!((&ready[0]["revision"], &ready[1]["revision"]), (&Value::Null, &3.into()));
    assert_eq!(ready[1]["max_batch_tokens"], Value::Null);
    // What ran, bump by bump.
    let mut sizes: Vec<u64> =
        job.metrics().iter().filter_map(|l| l["batch_size_tokens"].as_u64()).collect();
    sizes.dedup();
    assert_eq!(sizes[..4], [128, 256, 512, 1024], "{sizes:?}");
    assert_eq!(sizes.last(), Some(&512));
}
