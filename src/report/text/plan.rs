use super::{counts, escaped, interval, maybe, name, schedule, wrap};
use crate::report::table::Table;
use crate::snapshot::{Interval, Plan, Policy, PolicyOutcome};
use crate::units;

/// A loss that lies less above another one, nats, is shown as the same.
const LEAST_SHOWN: f64 = 5e-5;

/// The verdict, the policies side by side, the recommended schedule and what speaks against it.
pub fn plan(plan: &Plan) -> String {
    let now = &plan.now;
    let mut out = format!(
        "{}: {} tokens, step {}, loss {}, batch {}, phase {}\n\n",
        escaped(&plan.run),
        maybe(now.tokens, units::count),
        maybe(now.step, units::count),
        maybe(now.loss, units::loss),
        maybe(now.batch_size_tokens, units::count),
        now.phase.map_or_else(|| "?".into(), |p| name(&p)),
    );
    out += &wrap(&plan.verdict.text, "", 100);
    for reason in &plan.verdict.reasons {
        out += &wrap(reason, "  ", 98);
    }
    out += &format!(
        "\nB_opt (stable phase, 90 %)  {}\ntokens lost at this batch   {}\ngoal                        {}\n",
        counts(&plan.b_opt),
        lost(plan.excess_tokens_now, &plan.b_opt),
        name(&plan.goal),
    );
    if !plan.policies.is_empty() {
        out += &policies(&plan.policies);
    }
    if !plan.schedule.is_empty() {
        out += "\nRecommended schedule (batch size from a token count on)\n";
        out += &schedule(&plan.schedule);
    }
    if !plan.guards.is_empty() {
        out += "\nWhat speaks against writing it now\n";
        out += &guards(&plan.guards);
    }
    out
}

/// At least so many where they are counted against the best of the sizes that were tested, since the
/// optimum lies outside them.
pub(in crate::report) fn lost(excess: Option<f64>, b_opt: &Interval) -> String {
    let lost = maybe(excess, units::percent);
    if excess.is_some() && b_opt.value.is_none() { format!("at least {lost}") } else { lost }
}

pub(super) fn guards(answers: &[crate::snapshot::GuardAnswer]) -> String {
    let mut out = String::new();
    for g in answers {
        let mark = if g.blocks { "blocks" } else { "warns" };
        out += &wrap(&format!("{} {mark}: {}", name(&g.name), g.text), "  ", 98);
    }
    out
}

/// What stands above [`policy`].
pub(in crate::report) fn header(policies: &[PolicyOutcome]) -> [&'static str; 7] {
    let decays = policies.iter().any(|p| p.loss_after_decay.value.is_some());
    let loss = if decays { "loss after decay" } else { "loss at budget" };
    ["policy", "tokens", "risk", "steps", "time from now", loss, "memory"]
}

/// A policy in a table, without its schedule; numbers with their 90 % intervals.
pub(in crate::report) fn policy(p: &PolicyOutcome) -> [String; 7] {
    let reached = p.tokens.value.is_some();
    let or_never = |said: String| if reached { said } else { "never".into() };
    [
        name(&p.policy),
        or_never(counts(&p.tokens)),
        p.risk.map_or("-".into(), units::percent),
        or_never(counts(&p.steps_interval)),
        or_never(interval(&p.hours_interval, |h| units::duration(h * 3600.0))),
        match p.loss_after_decay.value {
            Some(_) => interval(&p.loss_after_decay, units::loss),
            None => interval(&p.loss_at_budget, units::loss),
        },
        name(&p.memory),
    ]
}

/// What every policy is for: `to loss 2.1200`; empty without a target.
pub(in crate::report) fn target(policies: &[PolicyOutcome]) -> String {
    let target = policies.iter().find_map(|p| p.target_loss).filter(|l| l.is_finite());
    target.map_or(String::new(), |l| format!("to loss {}", units::loss(l)))
}

/// What stands above [`on_the_way`]; `None` where no loss is told.
pub(in crate::report) fn way_header(policies: &[PolicyOutcome]) -> Option<Vec<String>> {
    let points = &policies.iter().find(|p| !p.on_the_way.is_empty())?.on_the_way;
    let at = points.iter().map(|[t, _]| format!("at {}", units::count(*t)));
    let last = "most above leaving it".to_string();
    Some(["policy".to_string()].into_iter().chain(at).chain([last]).collect())
}

/// A policy's losses on the way, and where they lie above those of leaving the run.
pub(in crate::report) fn on_the_way(p: &PolicyOutcome) -> Vec<String> {
    let above = match p.most_above_leave {
        _ if p.policy == Policy::Leave => String::new(),
        Some(a) if a.nats >= LEAST_SHOWN => {
            format!("{} at {}", units::loss(a.nats), units::count(a.tokens))
        }
        _ => "never".into(),
    };
    let losses = p.on_the_way.iter().map(|[_, l]| units::loss(*l));
    [name(&p.policy)].into_iter().chain(losses).chain([above]).collect()
}

/// The policies side by side in three tables: what each needs, where it ends, and the way there.
pub(super) fn policies(policies: &[PolicyOutcome]) -> String {
    let [what, tokens, risk, steps, time, loss, memory] = header(policies);
    let mut needs = Table::new([what, tokens, risk, steps, time]);
    let mut ends = Table::new([what, loss, memory, "batch sizes"]);
    for p in policies {
        let sizes: Vec<String> =
            p.schedule.iter().map(|e| units::count(e.batch_size_tokens as f64)).collect();
        let [what, tokens, risk, steps, time, loss, memory] = policy(p);
        needs.row(vec![what.clone(), tokens, risk, steps, time]);
        ends.row(vec![what, loss, memory, sizes.join(" ")]);
    }
    let what = ["Policies".to_string(), target(policies)].join(" ");
    let mut out = format!("\n{}, with 90 % intervals\n", what.trim_end());
    out += &needs.render(2);
    out.push('\n');
    out += &ends.render(2);
    if let Some(header) = way_header(policies) {
        out += "\nLoss on the way (stable phase)\n";
        let mut way = Table::default();
        way.row(header);
        policies.iter().for_each(|p| way.row(on_the_way(p)));
        out += &way.render(2);
    }
    for p in policies {
        for note in &p.notes {
            out += &wrap(&format!("{}: {note}", name(&p.policy)), "  ", 98);
        }
    }
    out
}
