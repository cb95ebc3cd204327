//! Real sweeps against the figures measured on them by hand.

use super::*;
use crate::run::fixture;

pub fn show(report: &FitReport) {
    let iv = |i: &Interval| {
        let n = |x: Option<f64>| x.map_or("-".into(), crate::units::count);
        format!("{} [{}, {}] {:?}", n(i.value), n(i.low), n(i.high), i.open)
    };
    for g in &report.groups {
        println!("== {} ", g.id);
        for r in &g.runs {
            println!("  {} {:?} used {} {:?}", r.id, r.batch_size_tokens, r.used, r.why);
        }
        if let Some(l) = &g.law {
            println!(
                "law {:?} {:?} rms {:.4} held {:?} burn {} draws {} rival {:?}",
                l.law,
                l.memory,
                l.rms_nats,
                l.held_out_nats,
                l.burn_in_steps,
                l.draws.len(),
                l.rival_held_out_nats
            );
            println!("  all {:?}", l.draws.first());
            for w in &l.windows {
                println!("  {w:?}");
            }
            println!(
                "  {:?}",
                l.left_out
                    .iter()
                    .map(|l| (l.batch_size_tokens, (l.rms_nats * 1e4).round() / 1e4))
                    .collect::<Vec<_>>()
            );
            println!("  {:?}", l.memory_checks);
            if std::env::var("MEM").is_ok() {
                for s in
                    &group_runs(&fixture::sweep("mlp_sweep"), &GroupOptions::default())[0].switched
                {
                    for b in &s.bins {
                        let mut left = b.steps;
                        let past: Vec<Stretch> = s
                            .stretches
                            .iter()
                            .map(|x| {
                                let t = x.steps.min(left);
                                left -= t;
                                Stretch { steps: t, ..*x }
                            })
                            .filter(|x| x.steps > 0.0)
                            .collect();
                        println!(
                            "{:.0} {} loss {:.4} se {:.4} miss {:.4} instant {:.4}",
                            b.steps,
                            past.last().unwrap().batch_size,
                            b.loss,
                            b.se,
                            l.law.loss_along(&past, &l.memory) - b.loss,
                            l.law.loss_along(&past, &Memory::INSTANT) - b.loss
                        );
                    }
                }
            }
        }
        for l in &g.levels {
            let o: Vec<String> = l
                .observed
                .iter()
                .map(|o| {
                    format!(
                        "{}{}:{:.2}M±{:.3}",
                        if o.censored { ">" } else { "" },
                        o.batch_size_tokens,
                        o.tokens / 1e6,
                        o.se_ln
                    )
                })
                .collect();
            println!(
                "{:.3} {:?} b_opt {} b_min {} E {} S {} 2% {:?}\n     {}\n     {}",
                l.loss,
                l.model,
                iv(&l.b_opt),
                iv(&l.b_min),
                iv(&l.e_min_tokens),
                iv(&l.s_opt_steps),
                l.within_2_percent,
                l.why,
                o.join(" ")
            );
            for m in &l.models {
                println!(
                    "       {:?} {} bmin {} held {:?} {:?}",
                    m.model,
                    iv(&m.b_opt),
                    iv(&m.b_min),
                    m.held_out_ln_e,
                    m.refused
                );
            }
        }
        for n in &g.notes {
            println!("NOTE {n}");
        }
        for r in &g.refused {
            println!("REFUSED {}: {} | needs {}", r.what, r.why, r.needs);
        }
    }
}

/// Runs whose validation losses lie in a file beside them.
fn with_validation(dir: &str) -> Vec<crate::run::RunData> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let is_val = |p: &std::path::PathBuf| p.to_str().unwrap().ends_with(".val.jsonl");
    let mut runs = Vec::new();
    for p in paths.iter().filter(|p| !is_val(p)) {
        let id = p.file_stem().unwrap().to_str().unwrap();
        let mut r = crate::run::Recorder::new(id, crate::run::Assumptions::default());
        for line in std::fs::read_to_string(p).unwrap().lines() {
            r.push(0, &fixture::record(line));
        }
        let val = p.to_str().unwrap().replace(".jsonl", ".val.jsonl");
        for line in std::fs::read_to_string(val).unwrap_or_default().lines() {
            r.push(0, &fixture::record(line));
        }
        runs.push(r.data());
    }
    runs
}

#[test]
#[ignore = "prints"]
fn explore() {
    let dir = std::env::var("SWEEP").unwrap_or("mlp_sweep".into());
    let runs = if dir.starts_with('/') { with_validation(&dir) } else { fixture::sweep(&dir) };
    let at_loss = std::env::var("AT")
        .map(|s| s.split(',').map(|x| x.parse().unwrap()).collect())
        .unwrap_or_default();
    let t = std::time::Instant::now();
    let options = FitOptions { at_loss, ..FitOptions::default() };
    let mut report = fit(&runs, &options);
    if let Ok(run) = std::env::var("UNDRIFT") {
        let groups: Vec<GroupFit> = group_runs(&runs, &options.group)
            .into_iter()
            .map(|mut g| {
                for m in &mut g.members {
                    if m.run.contains(&run) {
                        m.used = true;
                    }
                }
                for c in &mut g.constant {
                    if c.run.contains(&run) {
                        c.drifts_upward = false;
                    }
                }
                fit_group(&g, &options)
            })
            .collect();
        report.groups = groups;
    }
    println!("{:?}", t.elapsed());
    show(&report);
}
