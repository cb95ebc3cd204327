use super::{counts, escaped, interval, maybe, name, wrap};
use crate::report::table::Table;
use crate::snapshot::{
    FitReport, GroupFit, LawFit, LevelFit, ModelFit, Observed, Variation, WindowScore,
};
use crate::units;

/// The fit of every group: its runs, the law, a table per loss level, what was refused and why.
pub fn fit(report: &FitReport) -> String {
    if report.groups.is_empty() {
        return "No runs that could be fitted: see `boptop inspect` for what was read.\n".into();
    }
    report.groups.iter().map(group).collect::<Vec<_>>().join("\n")
}

/// The law and B_opt by level of every group, without the tables of each level.
pub fn fit_summary(report: &FitReport) -> String {
    report.groups.iter().map(head).collect::<Vec<_>>().join("\n")
}

fn group(group: &GroupFit) -> String {
    let mut out = head(group);
    for level in &group.levels {
        out += "\n";
        out += &level_text(level);
    }
    if !group.refused.is_empty() {
        out += "\nNot known, and what would tell\n";
        for r in &group.refused {
            out += &wrap(&format!("{}: {}. Needs {}.", r.what, r.why, r.needs), "  ", 98);
        }
    }
    out
}

fn head(group: &GroupFit) -> String {
    let lr = maybe(group.lr, units::learning_rate);
    let mut out = format!("Group {} (learning rate {lr}), stable phase\n\n", escaped(&group.id));
    out += &runs(group);
    if let Some(law) = &group.law {
        out += "\n";
        out += &law_text(law);
    }
    if !group.scores.is_empty() {
        out += "\nRms error of ln E, the lowest losses counting most\n";
        out += &scores(group);
    }
    if !group.levels.is_empty() {
        out += "\nB_opt by loss level (tokens per step; 90 % intervals)\n";
        out += &summary(&group.levels);
    }
    for note in &group.notes {
        out += &wrap(note, "  ", 98);
    }
    out
}

fn scores(group: &GroupFit) -> String {
    let mut table =
        Table::new(["model", "down to loss", "a batch size left out", "second half of the tokens"]);
    for s in &group.scores {
        let error = |x: Option<f64>| maybe(x, |x| format!("{x:.3}"));
        table.row(vec![
            name(&s.model),
            units::loss(s.lowest_loss),
            error(s.held_out_ln_e),
            error(s.future_ln_e),
        ]);
    }
    table.render(2)
}

fn runs(group: &GroupFit) -> String {
    let mut table =
        Table::new(["run", "batch", "steps", "tokens", "last loss", "phase", "in the fit"]);
    for run in &group.runs {
        table.row(vec![
            escaped(&run.id),
            maybe(run.batch_size_tokens, units::count),
            maybe(run.steps, units::count),
            maybe(run.tokens, units::count),
            maybe(run.loss_last, units::loss),
            run.phase.map_or_else(|| "?".into(), |p| name(&p)),
            if run.used { "yes".into() } else { "no".into() },
        ]);
    }
    let mut out = table.render(2);
    for run in group.runs.iter() {
        if let Some(why) = &run.why {
            out += &wrap(&format!("{}: {why}", escaped(&run.id)), "  ", 98);
        }
    }
    out
}

/// What the law might as well have been fitted with.
fn alike(fit: &LawFit) -> String {
    let burn_in = |w: &&WindowScore| w.comparable && w.burn_in_steps != fit.burn_in_steps;
    let windows = fit
        .windows
        .iter()
        .filter(burn_in)
        .map(|w| (format!("after step {}", units::count(w.burn_in_steps)), w.held_out_nats));
    let variants = fit.variants.iter().filter(|v| v.comparable).map(|v| {
        let what = match v.variation {
            Variation::Form if fit.law.q > 0.0 => "without q",
            Variation::Form => "with q",
            Variation::Weights => "every bin weighing the same",
        };
        (what.to_string(), v.held_out_nats)
    });
    let words: Vec<String> = windows
        .chain(variants)
        .map(|(what, error)| match error {
            Some(error) => format!("{what} ({error:.4})"),
            None => what,
        })
        .collect();
    words.join(", ")
}

fn law_text(fit: &LawFit) -> String {
    let l = &fit.law;
    let mut out = format!(
        "Law  L(S, B) = L_inf + a (S B^q)^-alpha + c B^-gamma, on the {} loss\n  \
         L_inf {:.4}, a {:.4}, alpha {:.4}, c {:.4}, gamma {:.4}, q {:.4}\n",
        name(&fit.on),
        l.l_inf,
        l.a,
        l.alpha,
        l.c,
        l.gamma,
        l.q
    );
    out += &fit.q_text().map_or(String::new(), |text| wrap(&text, "  ", 98));
    out += &format!(
        "  rms {:.4} nats; held-out batch size {} nats; second half of the tokens from the first {} \
         nats\n  fitted after step {}, batch sizes {} to {}, losses {} to {}\n",
        fit.rms_nats,
        maybe(fit.held_out_nats, |x| format!("{x:.4}")),
        maybe(fit.future_nats, |x| format!("{x:.4}")),
        units::count(fit.burn_in_steps),
        units::count(fit.batch_sizes[0]),
        units::count(fit.batch_sizes[1]),
        units::loss(fit.losses[0]),
        units::loss(fit.losses[1]),
    );
    if fit.along_changes {
        let words = "fitted along the batch changes of the runs, its memory with it: too few sizes, or \
                     too little, were trained at one batch size from the start";
        out += &wrap(words, "  ", 98);
    }
    let alike = alike(fit);
    if !alike.is_empty() {
        let words = format!("no worse at left-out sizes, so it widens the intervals: {alike}");
        out += &wrap(&words, "  ", 98);
    }
    out += &format!(
        "  memory of former batch sizes: tau {} steps, p {:.2}, {}\n",
        units::count(fit.memory.tau_steps),
        fit.memory.p,
        name(&fit.memory.source)
    );
    for check in &fit.memory_checks {
        let predicted = check
            .predicted_nats
            .map_or_else(String::new, |x| format!("; predicted by other switches {x:.4}"));
        out += &format!(
            "    {}: loss after its switches within {:.4} nats rms (instant forgetting: {:.4}\
             {predicted})\n",
            escaped(&check.run),
            check.rms_nats,
            check.rms_instant_nats
        );
    }
    if let Some(decay) = &fit.decay {
        out += &format!(
            "  decay, in intrinsic time: noise weighs (lr/lr_plateau)^{:.2}; {:.4} nats rms, one decay \
             from the others {}\n",
            decay.delta,
            decay.rms_nats,
            maybe(decay.predicted_nats, |x| format!("{x:.4}"))
        );
    }
    out
}

fn summary(levels: &[LevelFit]) -> String {
    let mut table = Table::new([
        "loss",
        "B_min",
        "B_opt",
        "E_min",
        "S_opt",
        "within 2 %",
        "best tested",
        "model",
        "held-out ln E",
    ]);
    for level in levels {
        let spoken = level.models.iter().find(|m| Some(m.model) == level.model);
        table.row(vec![
            units::loss(level.loss),
            counts(&level.b_min),
            counts(&level.b_opt),
            counts(&level.e_min_tokens),
            counts(&level.s_opt_steps),
            range(level.within_2_percent),
            best_tested(&level.observed),
            level.model.map_or_else(|| "none".into(), |m| name(&m)),
            maybe(spoken.and_then(|m| m.held_out_ln_e), |x| format!("{x:.3}")),
        ]);
    }
    table.render(2)
}

/// The batch size that needed the fewest tokens of those that got there: one alone is not the best of
/// any, and `so far` where another one has not yet trained as long without getting there.
fn best_tested(observed: &[Observed]) -> String {
    let reached = observed.iter().filter(|o| !o.censored);
    let Some(best) = reached.min_by(|a, b| a.tokens.total_cmp(&b.tokens)) else {
        return "?".into();
    };
    let other = |o: &Observed| (o.batch_size_tokens / best.batch_size_tokens).ln().abs() > 1e-3;
    let on_the_way = observed.iter().any(|o| o.censored && other(o) && o.tokens < best.tokens);
    match (observed.iter().any(other), on_the_way) {
        (_, true) => format!("{} so far", units::count(best.batch_size_tokens)),
        (true, false) => units::count(best.batch_size_tokens),
        (false, false) => "?".into(),
    }
}

fn range(r: Option<[f64; 2]>) -> String {
    r.map_or_else(|| "?".into(), |[lo, hi]| format!("{} to {}", units::count(lo), units::count(hi)))
}

fn level_text(level: &LevelFit) -> String {
    let mut out = format!("Loss {} ({})\n", units::loss(level.loss), name(&level.on));
    let mut seen = Table::new(["run", "batch", "steps", "tokens", "se of ln E"]);
    for o in &level.observed {
        let mark = if o.censored { "> " } else { "" };
        seen.row(vec![
            escaped(&o.run),
            units::count(o.batch_size_tokens),
            format!("{mark}{}", units::count(o.steps)),
            format!("{mark}{}", units::count(o.tokens)),
            if o.censored { "not reached".into() } else { format!("{:.3}", o.se_ln) },
        ]);
    }
    out += &seen.render(2);
    let mut models = Table::new(["model", "B_min", "B_opt", "E_min", "held-out ln E"]);
    for m in level.models.iter().filter(|m| m.refused.is_none()) {
        models.row(model_row(m, level));
    }
    out += &models.render(2);
    for m in &level.models {
        if let Some(why) = &m.refused {
            out += &wrap(&format!("{} refused: {why}", name(&m.model)), "  ", 98);
        }
    }
    out + &wrap(&level.why, "  ", 98)
}

fn model_row(m: &ModelFit, level: &LevelFit) -> Vec<String> {
    let speaks = if Some(m.model) == level.model { " *" } else { "" };
    vec![
        format!("{}{speaks}", name(&m.model)),
        interval(&m.b_min, units::count),
        interval(&m.b_opt, units::count),
        interval(&m.e_min_tokens, units::count),
        maybe(m.held_out_ln_e, |x| format!("{x:.3}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_of_the_tested_sizes_is_said_as_far_as_it_is_known() {
        let seen = |size: f64, tokens: f64, censored: bool| Observed {
            run: String::new(),
            batch_size_tokens: size,
            steps: tokens / size,
            tokens,
            se_ln: 0.01,
            censored,
        };
        let best = |seen: &[Observed]| best_tested(seen);
        assert_eq!(best(&[]), "?");
        assert_eq!(best(&[seen(64.0, 1e6, true)]), "?", "none got there");
        assert_eq!(best(&[seen(64.0, 1e6, false)]), "?", "one alone is not the best of any");
        assert_eq!(best(&[seen(64.0, 2e6, false), seen(128.0, 1e6, false)]), "128");
        // Trained longer and never got there.
        assert_eq!(best(&[seen(64.0, 3e6, true), seen(128.0, 1e6, false)]), "128");
        // On the way: it may still need fewer.
        assert_eq!(best(&[seen(64.0, 8e5, true), seen(128.0, 1e6, false)]), "128 so far");
    }
}
