use super::{counts, interval, maybe, name, schedule, wrap};
use crate::report::table::Table;
use crate::snapshot::{Plan, PolicyOutcome};
use crate::units;

/// The verdict, the policies side by side, the recommended schedule and what speaks against it.
pub fn plan(plan: &Plan) -> String {
    let now = &plan.now;
    let mut out = format!(
        "{}: {} tokens, step {}, loss {}, batch {}, phase {}\n\n",
        plan.run,
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
        maybe(plan.excess_tokens_now, units::percent),
        name(&plan.goal),
    );
    if !plan.policies.is_empty() {
        out += "\nPolicies\n";
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

pub(super) fn guards(answers: &[crate::snapshot::GuardAnswer]) -> String {
    let mut out = String::new();
    for g in answers {
        let mark = if g.blocks { "blocks" } else { "warns" };
        out += &wrap(&format!("{} {mark}: {}", name(&g.name), g.text), "  ", 98);
    }
    out
}

/// What stands above [`policy`].
pub(in crate::report) const POLICY: [&str; 8] =
    ["policy", "to loss", "tokens", "risk", "steps", "time", "loss at budget", "memory"];

/// A policy in a table, without its schedule.
pub(in crate::report) fn policy(p: &PolicyOutcome) -> [String; 8] {
    [
        name(&p.policy),
        maybe(p.target_loss, units::loss),
        match p.tokens.value {
            Some(_) => counts(&p.tokens),
            None => "never".into(),
        },
        p.risk.map_or("-".into(), units::percent),
        maybe(p.steps, units::count),
        maybe(p.hours, |h| units::duration(h * 3600.0)),
        interval(&p.loss_at_budget, units::loss),
        name(&p.memory),
    ]
}

pub(super) fn policies(policies: &[PolicyOutcome]) -> String {
    let [a, b, c, d, e, f, g, h] = POLICY;
    let mut table = Table::new([a, b, c, d, e, f, g, h, "batch sizes"]);
    for p in policies {
        let sizes: Vec<String> =
            p.schedule.iter().map(|e| units::count(e.batch_size_tokens as f64)).collect();
        let mut row = policy(p).to_vec();
        row.push(sizes.join(" "));
        table.row(row);
    }
    let mut out = table.render(2);
    for p in policies {
        for note in &p.notes {
            out += &wrap(&format!("{}: {note}", name(&p.policy)), "  ", 98);
        }
    }
    out
}
