use super::plan::{guards, policies};
use super::{escaped, name, wrap};
use crate::snapshot::{ControlView, Entry, Proposal};
use crate::units;

/// What the control file, the trainer and the metrics say of one run.
pub fn control(run: &str, control: &ControlView) -> String {
    let mut out = format!("{}\n  control file {}\n", escaped(run), escaped(&control.path));
    match (control.revision, &control.state) {
        (Some(revision), Some(state)) => {
            out += &format!("  revision {revision} {}\n", name(state));
        }
        _ => out += "  no revision was written\n",
    }
    out += &schedule(&control.schedule);
    if let Some(next) = &control.next {
        out += &format!("  next: {}\n", entry(next));
    }
    match &control.trainer {
        Some(t) => {
            let limit = |x: Option<u64>| x.map_or_else(|| "none".into(), units::exact);
            out += &format!(
                "  trainer: unit {}, smallest {}, largest {}, {}, learning rate {}\n",
                limit(t.unit_tokens),
                limit(t.min_batch_tokens),
                limit(t.max_batch_tokens),
                if t.up_only { "up only" } else { "up and down" },
                if t.can_scale_lr { "can be scaled" } else { "cannot be scaled" },
            );
        }
        None => out += "  no trainer has said `ready`: nothing is known of its limits\n",
    }
    for note in &control.notes {
        out += &wrap(note, "  ", 98);
    }
    for line in &control.log {
        let revision = line.revision.map_or_else(|| "-".into(), |r| r.to_string());
        out += &format!(
            "  {}  {:<9} {revision:>4}  {}  {}\n",
            line.at, line.event, line.by, line.text
        );
    }
    out
}

/// A proposal: the difference, what it rests on, what it is worth, what speaks against it.
pub fn proposal(run: &str, p: &Proposal) -> String {
    let mut out = format!("{}: proposed change\n\nnow\n", escaped(run));
    out += &schedule(&p.from);
    out += "then\n";
    out += &schedule(&p.schedule);
    if !p.evidence.is_empty() {
        out += "\nIt rests on\n";
        for line in &p.evidence {
            out += &wrap(line, "  ", 98);
        }
    }
    if !p.policies.is_empty() {
        out += &policies(&p.policies);
    }
    if p.guards.is_empty() {
        out += "\nNo guard speaks against it.\n";
    } else {
        out += "\nGuards\n";
        out += &guards(&p.guards);
    }
    out
}

/// One line for each entry.
pub fn schedule(entries: &[Entry]) -> String {
    entries.iter().map(|e| format!("  {}\n", entry(e))).collect()
}

pub fn entry(e: &Entry) -> String {
    let scale = e.lr_scale.map(|x| format!(", learning rate x {}", (x * 1e4).round() / 1e4));
    let scale = scale.unwrap_or_default();
    format!(
        "from {} tokens: {} tokens a step{scale}",
        units::exact(e.from_tokens),
        units::exact(e.batch_size_tokens)
    )
}
