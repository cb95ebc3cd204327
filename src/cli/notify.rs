//! A program of the user's, called when the verdict on a run changes: no shell between, one call at
//! a time, beside the loop of the screen.

use super::output::fit_for_terminal;
use crate::snapshot::Snapshot;
use crate::tui::{VerdictChange, Verdicts, verdict_word};
use rustix::process::{Pid, Signal, kill_process_group};
use std::convert::Infallible;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::{mpsc::UnboundedSender, watch};
use tokio::time::timeout;

/// A call that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls `program` (itself and its first arguments; nothing where it is empty) for every change of
/// a verdict, and says what failed. Verdicts that change while a call runs are told after it, each
/// run once. Ends when dropped.
pub async fn notify(
    program: Vec<String>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    say: UnboundedSender<String>,
) -> Infallible {
    let mut verdicts = Verdicts::default();
    loop {
        if let Some((name, arguments)) = program.split_first() {
            let now = snapshots.borrow_and_update().clone();
            for change in verdicts.changes(&now) {
                if let Err(why) = call(name, arguments, &change, PATIENCE).await {
                    let _ = say.send(format!("notify {name}: {why}"));
                }
            }
        }
        if program.is_empty() || snapshots.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn call(
    name: &str,
    arguments: &[String],
    change: &VerdictChange,
    patience: Duration,
) -> Result<(), String> {
    let mut child = Command::new(name)
        .args(arguments)
        // Neither begins with a dash, whatever a run is called.
        .args([fit_for_terminal(&change.title()), fit_for_terminal(&change.text)])
        .env("BOPTOP_RUN", &change.run)
        .env("BOPTOP_VERDICT", verdict_word(change.now))
        .env("BOPTOP_VERDICT_BEFORE", verdict_word(change.before))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Of its own, so that Ctrl-Z does not stop it and its children end with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("{e}; is the program there, and may it be run?"))?;
    let pid = child.id();
    match timeout(patience, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it ended with {status}")),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => {
            let group = pid.and_then(|p| i32::try_from(p).ok()).and_then(Pid::from_raw);
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            Err(format!("it ran for more than {} s and was ended", patience.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::VerdictKind;
    use std::path::Path;

    fn change(run: &str) -> VerdictChange {
        VerdictChange {
            run: run.into(),
            before: VerdictKind::Hold,
            now: VerdictKind::Raise,
            text: "raise to 4M; $(touch owned) `touch owned`".into(),
        }
    }

    /// Called by its interpreter: a file that was just written cannot always be executed, where
    /// another thread forks meanwhile.
    async fn called(dir: &Path, body: &str, run: &str, patience: Duration) -> Result<(), String> {
        let path = dir.join("notify.sh");
        std::fs::write(&path, body).unwrap();
        call("/bin/sh", &[path.display().to_string()], &change(run), patience).await
    }

    #[tokio::test]
    async fn the_program_gets_its_words_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let body = format!(
            "printf '%s|' \"$#\" \"$@\" \"$BOPTOP_RUN\" \"$BOPTOP_VERDICT\" \
             \"$BOPTOP_VERDICT_BEFORE\" > {}",
            out.display()
        );
        called(dir.path(), &body, "-rf $HOME", PATIENCE).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(out).unwrap(),
            "2|boptop: -rf $HOME raise|raise to 4M; $(touch owned) `touch owned`|-rf $HOME|\
             raise|hold|"
        );
    }

    #[tokio::test]
    async fn failures_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let why = call("/no/such/program", &[], &change("a"), PATIENCE).await.unwrap_err();
        assert!(why.contains("No such file"), "{why}");
        let why = called(dir.path(), "exit 3", "a", PATIENCE).await.unwrap_err();
        assert!(why.contains("exit status: 3"), "{why}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_its_children_and_reaped() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let body = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
        // Not before it has started its child.
        let begun = async {
            while std::fs::read_to_string(&pids).unwrap_or_default().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let (call, ()) =
            tokio::join!(called(dir.path(), &body, "a", Duration::from_secs(2)), begun);
        assert!(call.unwrap_err().contains("was ended"));
        for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
            // Gone, or a zombie that only its new parent can reap; the kill takes a moment.
            let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            while !(stat().is_empty() || stat().contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        }
    }
}
