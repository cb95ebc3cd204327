//! The real sweeps of `fixtures/` against the figures measured on them by hand.

use super::*;
use crate::run::fixture;

fn sweep(name: &str, at_loss: &[f64]) -> GroupFit {
    sweep_without(name, "", at_loss)
}

/// Without the runs of a glob.
fn sweep_without(name: &str, excluded: &str, at_loss: &[f64]) -> GroupFit {
    let group = GroupOptions { excluded: vec![excluded.into()], ..GroupOptions::default() };
    let options = FitOptions { at_loss: at_loss.to_vec(), group, ..FitOptions::default() };
    let mut report = fit(&fixture::sweep(name), &options);
    assert_eq!(report.groups.len(), 1);
    report.groups.remove(0)
}

/// The two ramps of the second sweep before they came to 4096, and its constant runs.
fn before_4096() -> GroupFit {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mlp2_sweep");
    let runs: Vec<_> = fixture::sweep("mlp2_sweep")
        .into_iter()
        .map(|run| match run.id.contains("ramp") {
            true => fixture::run_until(&folder.join(format!("{}.jsonl", run.id)), 0.55),
            false => run,
        })
        .collect();
    fit(&runs, &FitOptions { at_loss: vec![2.0, 1.9], ..FitOptions::default() }).groups.remove(0)
}

#[test]
fn the_law_of_the_first_sweep() {
    let g = sweep("mlp_sweep", &[2.7, 2.6, 2.5, 2.4, 2.3, 2.2, 2.1]);
    let fit = g.law.as_ref().unwrap();
    assert!((1.90..2.0).contains(&fit.law.l_inf), "{:?}", fit.law);
    assert!((0.36..0.47).contains(&fit.law.gamma) && (0.05..0.2).contains(&fit.law.q));
    assert!(fit.rms_nats < 0.016 && fit.held_out_nats.unwrap() < 0.02, "{fit:?}");
    assert!(fit.rival_held_out_nats.unwrap() > 2.0 * fit.held_out_nats.unwrap());
    // B_opt by the law of the data's README at each level; each lies in its interval.
    let by_hand = [38.0, 53.0, 78.0, 125.0, 226.0, 495.0, 1250.0];
    let (mut b_opt, mut b_min) = (0.0, 0.0);
    for (level, want) in g.levels.iter().zip(by_hand) {
        let (b, m) = (level.b_opt.value.unwrap(), level.b_min.value.unwrap());
        assert!(b > b_opt && m > b_min, "both rise as the loss falls: {level:?}");
        (b_opt, b_min) = (b, m);
        assert!((b / want).ln().abs() < 0.25, "{} {b} {want}", level.loss);
        let waste = level.curve.unwrap().excess(want).unwrap();
        assert!(waste < 0.03, "{} {waste}", level.loss);
        assert_eq!(level.b_opt.open, Open::None, "{level:?}");
    }
    let edge = g.levels.last().unwrap().b_opt;
    assert!(edge.high.unwrap() / edge.low.unwrap() > 1.5, "the edge is not well known: {edge:?}");
}

/// The bars of the issue: both switches within 0.004 nats in the fit, the second predicted from the
/// first within 0.008, and forgetting at once, which misses by 0.03, rejected.
#[test]
fn the_memory_of_the_first_sweep_is_slow() {
    let g = sweep("mlp_sweep", &[2.2]);
    let fit = g.law.unwrap();
    assert_eq!(fit.memory.source, MemorySource::Measured);
    let left = |age| fit.memory.remembered(age);
    assert!((0.6..0.9).contains(&left(1500.0)) && left(40_000.0) > 0.15, "{:?}", fit.memory);
    let check = &fit.memory_checks[0];
    assert!(check.rms_nats <= 0.004 && check.rms_instant_nats > 0.03, "{check:?}");
    assert!(check.predicted_nats.unwrap() <= 0.008, "{check:?}");
}

/// Two decays, linear and 1 - sqrt, at two batch sizes: one delta describes both; from one to the
/// other it halves the error and no more.
#[test]
fn the_decays_of_the_first_sweep_are_described_in_intrinsic_time() {
    let g = sweep("mlp_sweep", &[2.2]);
    let decay = g.law.as_ref().unwrap().decay.clone().unwrap();
    assert_eq!(decay.checks.len(), 2);
    assert!((0.5..2.0).contains(&decay.delta) && decay.rms_nats < 0.010, "{decay:?}");
    let predicted = decay.predicted_nats.unwrap();
    assert!(predicted > 2.0 * decay.rms_nats, "no forecast, and it says so: {decay:?}");
    assert!(decay.checks.iter().all(|c| c.rms_nats < 0.4 * c.rms_unannealed_nats), "{decay:?}");
    // The second sweep has no decay: nothing is said.
    assert!(sweep("mlp2_sweep", &[2.0]).law.unwrap().decay.is_none());
}

/// tau and p do not hang on the burn-in of the law that they are measured under.
#[test]
fn the_memory_does_not_move_with_the_window_of_the_law() {
    let group = group_runs(&fixture::sweep("mlp_sweep"), &GroupOptions::default()).remove(0);
    let series = super::data::usable(&group);
    let windows = super::window::Windows::fit(&series);
    let left: Vec<f64> = windows
        .all
        .iter()
        .filter_map(|w| match w.joint()?.law {
            AnyLaw::Floor(law) => super::memory::measure(&law, &series, &group.switched).ok(),
            AnyLaw::NoFloor(_) => None,
        })
        .map(|m| m.memory.remembered(1500.0))
        .collect();
    let (low, high) = left.iter().fold((1.0f64, 0.0f64), |(l, h), x| (l.min(*x), h.max(*x)));
    assert!(left.len() >= 3 && high - low < 0.05, "{left:?}");
}

/// Three sound sizes hold no law that could be scored, but two ramps tell the memory, and each the
/// other: it is fast here, where a first sweep's was slow.
#[test]
fn the_memory_of_the_second_sweep_is_fast_and_provisional() {
    let g = before_4096();
    assert!(g.law.is_none() && g.levels.iter().all(|l| l.model != Some(ModelKind::Joint)));
    let p = g.provisional.unwrap();
    assert_eq!(p.batch_sizes, [512.0, 1024.0, 2048.0]);
    assert_eq!(p.memory_checks.len(), 2);
    for check in &p.memory_checks {
        assert!(check.predicted_nats.unwrap() <= 0.010, "{check:?}");
        assert!(check.predicted_nats.unwrap() < check.rms_instant_nats, "{check:?}");
    }
    assert!(p.memory.remembered(1500.0) < 0.5, "{:?}", p.memory);
    assert!(g.notes.iter().any(|n| n.contains("provisional")), "{:?}", g.notes);
    for small in ["b0064", "b0128", "b0256"] {
        let run = g.runs.iter().find(|r| r.id.starts_with(small)).unwrap();
        assert!(!run.used && run.why.as_deref().unwrap().contains("rises"), "{run:?}");
    }
}

/// What would have been said at the lowest loss that four sizes reached in the first quarter of the
/// tokens, and what is said of it in the end: (loss, then, now).
fn early(folder: &std::path::Path) -> Option<(f64, Interval, Interval)> {
    let groups = |part| group_runs(&fixture::folder_until(folder, part), &GroupOptions::default());
    let size = |g: &Group| g.constant.len();
    let then = groups(0.25).into_iter().max_by_key(size)?;
    let reached = |loss: f64| Points::pool(&observe(&then, loss)).reached().count();
    let loss = (0..600).map(|i| f64::from(i) / 50.0).find(|l| reached(*l) >= 4)?;
    let options =
        FitOptions { at_loss: vec![loss + 0.1, loss + 0.05, loss], ..FitOptions::default() };
    let said = |g: &Group| fit_group(g, &options).levels.last().map(|l| l.b_opt);
    let now = groups(1.0).into_iter().find(|g| g.id == then.id)?;
    Some((loss, said(&then)?, said(&now)?))
}

fn within(value: Option<f64>, of: &Interval) -> bool {
    value.is_none_or(|v| of.low.is_none_or(|l| l <= v) && of.high.is_none_or(|h| v <= h))
}

#[test]
fn the_estimate_of_the_first_quarter_and_the_final_one_lie_in_each_other_s_interval() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mlp_sweep");
    let (loss, then, now) = early(&home).unwrap();
    assert!(then.value.is_some() && now.value.is_some(), "{loss} {then:?} {now:?}");
    assert!(within(now.value, &then) && within(then.value, &now), "{loss} {then:?} {now:?}");
}

#[test]
fn every_run_is_used_or_its_exclusion_explained() {
    for name in ["mlp_sweep", "mlp2_sweep"] {
        let g = sweep(name, &[2.2]);
        assert!(g.runs.iter().all(|r| r.used || r.why.is_some()), "{:?}", g.runs);
        assert!(g.runs.iter().all(|r| !r.paths.is_empty() || r.tokens.is_some()));
    }
}

/// Three sizes from the start and two ramps to a fourth: the law along the changes. By hand 512, 1024
/// and 2048 needed 12.3M, 9.83M and 12.9M tokens to 1.95 (by their parabola the optimum is 990),
/// 1024 and 2048 29.8M each to 1.88, and 49.7M and 41.5M to 1.86.
#[test]
fn ramps_bring_the_second_sweep_its_law() {
    let g = sweep("mlp2_sweep", &[1.95, 1.88, 1.86]);
    let fit = g.law.as_ref().unwrap();
    assert!(fit.along_changes && fit.batch_sizes == [512.0, 4096.0], "{fit:?}");
    assert!(fit.held_out_nats.unwrap() < 0.01, "{fit:?}");
    assert!(fit.memory.remembered(1500.0) < 0.5, "{:?}", fit.memory);
    assert_eq!(fit.memory_checks.len(), 2);
    for check in &fit.memory_checks {
        assert!(check.predicted_nats.unwrap() <= 0.010, "{check:?}");
    }
    for (level, [low, high]) in
        g.levels.iter().zip([[800.0, 1150.0], [1200.0, 1800.0], [1500.0, 2500.0]])
    {
        assert_eq!(level.model, Some(ModelKind::Joint));
        assert!((low..high).contains(&level.b_opt.value.unwrap()), "{:?}", level.b_opt);
    }
    let used = |id: &str| g.runs.iter().find(|r| r.id.contains(id)).unwrap();
    assert!(used("ramp1024").used && used("ramp1024").why.as_ref().unwrap().contains("along"));
    assert!(!used("b0064").used);
}

/// One run that went from 128 to 256 to 512, and one at 2048, beside what all thirteen say.
#[test]
fn a_run_that_changed_and_one_sibling_agree_with_the_whole_sweep() {
    let whole = sweep("mlp_sweep", &[2.3, 2.2, 2.15]);
    let runs: Vec<_> = fixture::sweep("mlp_sweep")
        .into_iter()
        .filter(|r| r.id.contains("sched") || r.id.starts_with("b2048"))
        .collect();
    let options = FitOptions { at_loss: vec![2.3, 2.2, 2.15], ..FitOptions::default() };
    let few = fit(&runs, &options).groups.remove(0);
    for (few, whole) in few.levels.iter().zip(&whole.levels) {
        let b = whole.b_opt.value.unwrap();
        let (low, high) = (few.b_opt.low.unwrap(), few.b_opt.high.unwrap());
        assert!((low..high).contains(&b), "{b} {:?}", few.b_opt);
        assert!(high / low < 3.0, "{:?}", few.b_opt);
    }
}

#[test]
fn three_sound_sizes_are_refused_a_law_and_bound_the_optimum_by_themselves() {
    let g = sweep_without("mlp2_sweep", "*ramp*", &[2.0, 1.95, 1.9]);
    assert!(g.law.is_none());
    let refused = g.refused.iter().find(|r| r.what == "joint law").unwrap();
    assert!(refused.why.contains("3 of 4") && refused.needs.contains("1 more"), "{refused:?}");
    // 512 needed 12.3M tokens to 1.95, 1024 9.83M, 2048 12.9M.
    let b = g.levels[1].b_opt;
    assert!(b.low.unwrap() >= 512.0 && b.high.unwrap() <= 2048.0, "{b:?}");
    // 5.70M, 5.97M, 8.35M to 2.0: by its shape the optimum lies between the first two, and the
    // classical curve, which knows none and cannot be scored on three sizes, may not say otherwise.
    let b = g.levels[0].b_opt;
    assert!((560.0..1024.0).contains(&b.high.unwrap()), "{b:?}");
    // Its limit of ever smaller sizes is no number of tokens that anybody needed: 512 took 5.7M.
    let e_min = g.levels[0].e_min_tokens;
    assert_eq!((e_min.value, e_min.low, e_min.open), (None, None, Open::Low));
    assert!((5.0e6..8.0e6).contains(&e_min.high.unwrap()), "{e_min:?}");
    // 512 ends at 1.9138, where 1024 needed a third of its tokens.
    let end = g.estimate_at(1.9138).unwrap();
    assert_eq!(end.clearly_worse[0], Some(512.0));
}

#[test]
fn answers_between_and_beyond_the_levels() {
    let g = sweep("mlp_sweep", &[2.5, 2.3, 2.2]);
    let between = g.b_opt_at(2.25).unwrap();
    let (b, low, high) = (between.value.unwrap(), between.low.unwrap(), between.high.unwrap());
    assert!((250.0..450.0).contains(&b) && low <= b && b <= high, "{between:?}");
    let beyond = g.b_opt_at(2.12).unwrap();
    assert!(beyond.value.unwrap() > g.levels[2].b_opt.value.unwrap());
    // 128 at 2.25: far more tokens than the best; 256: a few per cent.
    assert!(g.excess_at(2.25, 128.0).unwrap().value.unwrap() > 0.5);
    let near = g.excess_at(2.25, 256.0).unwrap();
    assert!(near.value.unwrap() < 0.15 && near.low.unwrap() <= near.value.unwrap(), "{near:?}");
    assert_eq!(g.excess_at(2.25, 16.0).unwrap().value, None);
    // The classical limit of ever smaller sizes was tested by nobody: 1024 needed 1.5 times the tokens
    // of 512, the smallest that got there.
    let edge = sweep("mlp2_sweep", &[2.2]).excess_at(2.2, 1024.0).unwrap();
    assert!((0.4..0.6).contains(&edge.value.unwrap()), "{edge:?}");
    assert!(g.b_opt_at(f64::NAN).is_none());
}

#[test]
fn beyond_the_last_level_one_law_says_the_optimum_and_what_the_others_lose() {
    let g = sweep("mlp_sweep", &[2.5, 2.3, 2.2, 2.09]);
    let last = g.levels.last().unwrap();
    let on = g.estimate_at(last.loss - 1e-6).unwrap().b_opt;
    let jump = (on.value.unwrap() / last.b_opt.value.unwrap()).ln();
    assert!(jump.abs() < 0.01, "{on:?} {:?}", last.b_opt);
    assert!(on.low.unwrap() <= last.b_opt.low.unwrap() * 1.001);
    for loss in [2.08, 2.075] {
        let e = g.estimate_at(loss).unwrap();
        let (b, [low, high]) = (e.b_opt.value.unwrap(), e.within_2_percent.unwrap());
        assert!(low < b && b < high, "{loss}: {b} {low} {high}");
        assert!(e.excess(b).unwrap() < 1e-9, "{loss}: {:?}", e.excess(b));
        let law = g.law.as_ref().unwrap().law.b_opt(loss).unwrap();
        assert!(e.b_opt.high.is_none_or(|h| law <= h), "{law} {:?}", e.b_opt);
    }
}

#[test]
fn a_saved_law_is_that_of_the_group() {
    let g = sweep("mlp_sweep", &[2.3]);
    let saved = SavedLaw::from_group(&g, "a character model").unwrap();
    let back = SavedLaw::from_json(&saved.to_json()).unwrap();
    let (a, b) = (back.law, g.law.as_ref().unwrap().law);
    for (a, b) in [(a.l_inf, b.l_inf), (a.a, b.a), (a.gamma, b.gamma), (a.q, b.q)] {
        assert!((a - b).abs() < 1e-12 * b.abs());
    }
    assert_eq!(back.runs.len(), g.runs.iter().filter(|r| r.used).count());
    assert!(back.draws().count() > 20);
}

/// The table of the README: `cargo test --lib curve::real::table -- --ignored --nocapture`, over
/// `fixtures/` and the folders that `BOPTOP_SWEEPS` names (separated by colons).
#[test]
#[ignore = "prints a table over the real sweeps"]
fn table() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let more = std::env::var("BOPTOP_SWEEPS").unwrap_or_default();
    let folders = ["mlp_sweep", "mlp2_sweep"].map(|s| home.join(s));
    let more = more.split(':').filter(|f| !f.is_empty()).map(std::path::PathBuf::from);
    for folder in folders.into_iter().chain(more) {
        let report = fit(&fixture::folder(&folder), &FitOptions::default());
        println!("\n{}", folder.file_name().unwrap().to_string_lossy());
        report.groups.iter().for_each(print_group);
        println!("    early warning (loss, then, now): {:?}", early(&folder));
    }
}

fn print_group(g: &GroupFit) {
    println!("  group {}: {} runs used", g.id, g.runs.iter().filter(|r| r.used).count());
    let nats = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.4}"));
    if let Some(l) = &g.law {
        println!("    {:?}\n    {:?}", l.law, l.memory);
        println!(
            "    loss on {:?}, after {:.0} steps: rms {:.4}; a size left out {}, rival {}; second \
             halves {}, rival {}",
            l.on,
            l.burn_in_steps,
            l.rms_nats,
            nats(l.held_out_nats),
            nats(l.rival_held_out_nats),
            nats(l.future_nats),
            nats(l.rival_future_nats)
        );
        let inner = l.left_out.len().saturating_sub(1);
        let (ends, inside): (Vec<_>, Vec<_>) =
            l.left_out.iter().enumerate().partition(|(i, _)| *i == 0 || *i == inner);
        let mean = |v: &[(usize, &LeftOutSize)]| {
            nats(
                (!v.is_empty())
                    .then(|| v.iter().map(|x| x.1.rms_nats).sum::<f64>() / v.len() as f64),
            )
        };
        println!("    left out: sizes inside {}, at the ends {}", mean(&inside), mean(&ends));
        println!("    {:?}\n    {:?}", l.memory_checks, l.decay);
    }
    if let Some(p) = &g.provisional {
        println!(
            "    provisional {:?} after {:.0} steps\n    {:?}",
            p.memory, p.burn_in_steps, p.memory_checks
        );
    }
    for s in &g.scores {
        println!(
            "    {:?}: left out {} future {}",
            s.model,
            nats(s.held_out_ln_e),
            nats(s.future_ln_e)
        );
    }
    println!("    rms error of ln E at a size left out; best tested; B_opt that speaks");
    for l in &g.levels {
        let of = |kind| {
            let m = l.models.iter().find(|m: &&ModelFit| m.model == kind);
            nats(m.and_then(|m| m.held_out_ln_e))
        };
        let reached = l.observed.iter().filter(|o| !o.censored);
        let best = reached.min_by(|a, b| a.tokens.total_cmp(&b.tokens));
        println!(
            "    {:<6} classical {} smooth {} three-stage {} joint {} rival {}; best {:?}; {:?} {:?} \
             [{:?}, {:?}]",
            l.loss,
            of(ModelKind::Classical),
            of(ModelKind::Smooth),
            of(ModelKind::ThreeStage),
            of(ModelKind::Joint),
            of(ModelKind::NoFloor),
            best.map(|o| o.batch_size_tokens),
            l.model,
            l.b_opt.value.map(f64::round),
            l.b_opt.low.map(f64::round),
            l.b_opt.high.map(f64::round)
        );
    }
}
