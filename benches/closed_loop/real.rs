//! Forecasts of tokens-to-target scored on real runs: every run of a sweep is cut at a share of its
//! tokens, all of them are fitted, and each is asked when it will reach the loss that it had later.

use boptop::advice::{PlanOptions, Policy, Situation, plan};
use boptop::curve::{FitOptions, fit};
use boptop::metrics::Record;
use boptop::monitor::{Monitor, Settings};
use boptop::refit;
use boptop::run::{self, Assumptions, Recorder, RunData};
use std::path::{Path, PathBuf};

/// Where runs are cut, as shares of their tokens.
const CUTS: [f64; 3] = [0.25, 0.4, 0.6];
/// The loss asked for is that of this much further on.
const AHEAD: f64 = 1.5;

/// The sweeps of the repository, and a folder named by `BOPTOP_BENCH_FOLDER`.
pub fn score() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut folders: Vec<PathBuf> =
        ["mlp_sweep", "mlp2_sweep"].iter().map(|f| fixtures.join(f)).collect();
    folders.extend(std::env::var_os("BOPTOP_BENCH_FOLDER").map(PathBuf::from));
    println!("\nreal runs: when will it reach the loss that it had 1.5 times the tokens later?");
    for folder in folders {
        let path = folder.display().to_string();
        let monitor = Monitor::new(&[path], Settings::default());
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(mut monitor) = monitor else { continue };
        monitor.read_all();
        let runs: Vec<RunData> = monitor.data().map(|(r, _)| (**r).clone()).collect();
        if !runs.is_empty() {
            one(&name, &runs);
        }
    }
}

/// The run as it was at some tokens.
fn cut(run: &RunData, tokens: f64) -> RunData {
    let mut recorder = Recorder::new(&run.id, Assumptions::default());
    let c = &run.train;
    for i in (0..c.len()).take_while(|i| c.tokens[*i] <= tokens) {
        let known = |x: f64| Some(x).filter(|x| x.is_finite());
        let record = Record {
            step: known(c.step[i]),
            tokens: known(c.tokens[i]),
            batch_tokens: known(c.batch_size[i]),
            loss: known(c.loss[i]),
            lr: known(c.lr[i]),
            time: known(c.time[i]),
            ..Record::default()
        };
        recorder.push(0, &record);
    }
    recorder.data()
}

fn one(name: &str, runs: &[RunData]) {
    let (mut asked, mut held, mut refused) = (0, 0, 0);
    let mut errors = Vec::new();
    for share in CUTS {
        let then: Vec<RunData> = runs.iter().map(|r| cut(r, share * r.tokens())).collect();
        let report = fit(&then, &FitOptions::default());
        for (now, whole) in then.iter().zip(runs) {
            let later = cut(whole, AHEAD * now.tokens());
            // A run that changes or decays in between is no run that is left.
            let steady = later.segments.len() == now.segments.len() && now.phase() == later.phase();
            let (Some(target), true) = (run::loss_now(&later), steady) else { continue };
            let options = PlanOptions { target_loss: Some(target), ..PlanOptions::default() };
            let group = refit::group_of(&report, &now.id);
            let p = plan(now, run::loss_now(now), group, &Situation::default(), &options);
            let Some(leave) = p.policies.iter().find(|p| p.policy == Policy::Leave) else {
                refused += 1;
                continue;
            };
            asked += 1;
            let (i, truth) = (&leave.tokens, later.tokens());
            let inside = i.low.is_none_or(|l| truth >= l) && i.high.is_none_or(|h| truth <= h);
            held += usize::from(inside);
            errors.extend(i.value.map(|v| (v / truth).ln().abs()));
        }
    }
    errors.sort_by(f64::total_cmp);
    println!(
        "{name:<14} {held} of {asked} forecasts held (nominal 90 %), median error of ln tokens {:.3}, \
         {refused} times no advice",
        errors.get(errors.len() / 2).copied().unwrap_or(f64::NAN)
    );
}
