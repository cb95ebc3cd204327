//! The sections of the page, each from the part of the snapshot that it is about.

use super::page::Html;
use crate::report::text::plan::{header, lost, on_the_way, policy, target, way_header};
use crate::report::text::{counts, entry, maybe, name};
use crate::snapshot::{
    ControlView, Entry, GroupFit, LevelFit, Plan, RunView, Snapshot, SourceState,
};
use crate::units;

/// The verdict, and where the run stands.
pub fn summary(html: &mut Html, view: &RunView) {
    html.section("Verdict");
    html.said("verdict", &view.verdict.text);
    html.list(&view.verdict.reasons);
    html.table(
        ["state", "phase", "step", "tokens", "loss", "batch size", "learning rate", "tokens/s"],
        vec![[
            name(&view.state),
            view.phase.map_or_else(|| "?".into(), |p| name(&p)),
            maybe(view.step, units::count),
            maybe(view.tokens, units::count),
            maybe(view.loss, units::loss),
            maybe(view.batch_size, units::count),
            maybe(view.lr, units::learning_rate),
            maybe(view.tokens_per_second, units::count),
        ]],
    );
    html.list(&view.notes);
}

/// B_opt with its interval, and what it is worth.
pub fn estimate(html: &mut Html, view: &RunView, group: Option<&GroupFit>) {
    html.section("Estimate");
    let b_opt = view.b_opt.as_ref().map_or_else(|| "?".into(), counts);
    html.table(
        ["B_opt (stable phase, 90 %)", "batch size now", "tokens lost at it", "group"],
        vec![[
            b_opt,
            maybe(view.batch_size, units::count),
            match &view.b_opt {
                Some(b_opt) => lost(view.excess_tokens, b_opt),
                None => maybe(view.excess_tokens, units::percent),
            },
            view.group.clone().unwrap_or_else(|| "none".into()),
        ]],
    );
    let Some(law) = group.and_then(|g| g.law.as_ref()) else {
        html.paragraph("No joint law: what is missing stands under \"Not known\".");
        return;
    };
    let l = &law.law;
    html.paragraph("Law: L(S, B) = L_inf + a (S B^q)^-alpha + c B^-gamma");
    html.table(
        ["L_inf", "a", "alpha", "c", "gamma", "q", "rms, nats", "held out, nats", "tau", "p"],
        vec![[
            format!("{:.4}", l.l_inf),
            format!("{:.4}", l.a),
            format!("{:.4}", l.alpha),
            format!("{:.4}", l.c),
            format!("{:.4}", l.gamma),
            format!("{:.4}", l.q),
            format!("{:.4}", law.rms_nats),
            maybe(law.held_out_nats, |x| format!("{x:.4}")),
            format!("{} steps, {}", units::count(law.memory.tau_steps), name(&law.memory.source)),
            format!("{:.2}", law.memory.p),
        ]],
    );
}

/// E(S) at one level: who reached it, with how much.
pub fn curve(html: &mut Html, level: &LevelFit) {
    html.section(&format!("Curve at loss {} ({})", units::loss(level.loss), name(&level.on)));
    html.paragraph(&level.why);
    let rows = level.observed.iter().map(|o| {
        let mark = if o.censored { "> " } else { "" };
        [
            o.run.clone(),
            units::count(o.batch_size_tokens),
            format!("{mark}{}", units::count(o.steps)),
            format!("{mark}{}", units::count(o.tokens)),
            if o.censored { "not reached".into() } else { format!("{:.3}", o.se_ln) },
        ]
    });
    html.table(["run", "B", "S, steps", "E, tokens", "se of ln E"], rows.collect());
    let rows = level.models.iter().map(|m| {
        let speaks = if Some(m.model) == level.model { " (speaks)" } else { "" };
        let refused = m.refused.clone().unwrap_or_default();
        [
            format!("{}{speaks}", name(&m.model)),
            counts(&m.b_min),
            counts(&m.b_opt),
            counts(&m.e_min_tokens),
            maybe(m.held_out_ln_e, |x| format!("{x:.3}")),
            refused,
        ]
    });
    html.table(["model", "B_min", "B_opt", "E_min", "held-out ln E", "refused"], rows.collect());
}

/// B_opt at every level of the group.
pub fn levels(html: &mut Html, group: &GroupFit) {
    html.section("B_opt by loss level");
    let range = |r: Option<[f64; 2]>| match r {
        Some([lo, hi]) => format!("{} to {}", units::count(lo), units::count(hi)),
        None => "?".into(),
    };
    let rows = group.levels.iter().map(|l| {
        [
            units::loss(l.loss),
            counts(&l.b_min),
            counts(&l.b_opt),
            counts(&l.e_min_tokens),
            counts(&l.s_opt_steps),
            range(l.within_2_percent),
            l.model.map_or_else(|| "none".into(), |m| name(&m)),
        ]
    });
    html.table(["loss", "B_min", "B_opt", "E_min", "S_opt", "within 2 %", "model"], rows.collect());
    html.list(&group.notes);
}

/// The runs that the estimate rests on.
pub fn runs(html: &mut Html, group: &GroupFit) {
    let lr = maybe(group.lr, units::learning_rate);
    html.section(&format!("Runs of group {} (learning rate {lr})", group.id));
    let rows = group.runs.iter().map(|r| {
        [
            r.id.clone(),
            maybe(r.batch_size_tokens, units::count),
            maybe(r.steps, units::count),
            maybe(r.tokens, units::count),
            maybe(r.loss_last, units::loss),
            if r.used { "yes".into() } else { "no".into() },
            r.why.clone().unwrap_or_default(),
        ]
    });
    html.table(["run", "B", "steps", "tokens", "last loss", "in the fit", "why"], rows.collect());
}

fn sizes(schedule: &[Entry]) -> String {
    let one = |e: &Entry| {
        let at = units::count(e.from_tokens as f64);
        format!("{} at {at}", units::count(e.batch_size_tokens as f64))
    };
    schedule.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The policies side by side, the recommended schedule, what speaks against it.
pub fn schedule(html: &mut Html, plan: &Plan) {
    html.section(&format!("Schedule (goal: {})", name(&plan.goal)));
    let target = target(&plan.policies);
    if !target.is_empty() {
        html.paragraph(&format!("What each policy needs {target}, with 90 % intervals:"));
    }
    let rows = plan.policies.iter().map(|p| {
        let [a, b, c, d, e, f, g] = policy(p);
        [a, b, c, d, e, f, g, sizes(&p.schedule)]
    });
    let [a, b, c, d, e, f, g] = header(&plan.policies);
    html.table([a, b, c, d, e, f, g, "B at tokens"], rows.collect());
    if let Some(header) = way_header(&plan.policies) {
        html.paragraph("Loss on the way (stable phase):");
        html.columns(&header, plan.policies.iter().map(on_the_way));
    }
    for p in &plan.policies {
        html.list(p.notes.iter().map(|n| format!("{}: {n}", name(&p.policy))));
    }
    if !plan.schedule.is_empty() {
        html.paragraph("Recommended:");
        html.list(plan.schedule.iter().map(entry));
    }
    for g in &plan.guards {
        let (class, verb) = if g.blocks { ("bad", "blocks") } else { ("warn", "warns") };
        html.said(class, &format!("{} {verb}: {}", g.name.as_str(), g.text));
    }
}

/// What was ordered, and what the trainer said to it.
pub fn control(html: &mut Html, control: &ControlView) {
    html.section("Control");
    match (control.revision, control.state) {
        (Some(revision), Some(state)) => {
            html.paragraph(&format!("Revision {revision}: {}", name(&state)));
            html.list(control.schedule.iter().map(entry));
        }
        _ => html.paragraph("No revision was written."),
    }
    if control.trainer.is_none() {
        html.said("dim", "No trainer has said `ready`: nothing is known of its limits.");
    }
    html.list(&control.notes);
}

/// The audit and the trainer's lines, newest last.
pub fn decisions(html: &mut Html, control: &ControlView) {
    html.section("Decisions");
    if control.log.is_empty() {
        html.paragraph("Nothing was proposed, approved or acknowledged.");
        return;
    }
    let rows = control.log.iter().map(|l| {
        [
            l.at.clone(),
            l.event.clone(),
            l.revision.map_or_else(String::new, |r| r.to_string()),
            l.by.clone(),
            l.text.clone(),
        ]
    });
    html.table(["time", "event", "revision", "by", "what"], rows.collect());
}

/// What the data cannot tell, and what would tell it.
pub fn refused(html: &mut Html, group: Option<&GroupFit>) {
    let Some(group) = group.filter(|g| !g.refused.is_empty()) else { return };
    html.section("Not known, and what would tell");
    let rows = group.refused.iter().map(|r| [r.what.clone(), r.why.clone(), r.needs.clone()]);
    html.table(["what", "why", "needs"], rows.collect());
}

/// What was read.
pub fn files(html: &mut Html, snapshot: &Snapshot, view: &RunView) {
    html.section("Files");
    let own = |path: &str| view.paths.iter().any(|p| p == path);
    let sources = snapshot.sources.iter().filter(|s| own(&s.path.display().to_string()));
    let rows = sources.map(|s| {
        let state = match &s.state {
            SourceState::Open => String::new(),
            SourceState::Waiting => "does not exist yet".into(),
            SourceState::Failed(why) | SourceState::Unsupported(why) => why.clone(),
        };
        [
            s.path.display().to_string(),
            s.format.clone(),
            units::exact(s.lines),
            units::exact(s.bad_count),
            state,
        ]
    });
    html.table(["path", "format", "lines", "bad lines", "state"], rows.collect());
}
