use super::{escaped, maybe, name, wrap};
use crate::snapshot::{FieldValues, Inspection, SourceState};
use crate::units;

/// What was detected in each file, the mapping, and the first bad lines with the reason.
pub fn inspect(files: &[Inspection]) -> String {
    files.iter().map(file).collect::<Vec<_>>().join("\n")
}

fn file(file: &Inspection) -> String {
    let s = &file.status;
    let mut out = format!("{}\n", escaped(&s.path.display().to_string()));
    match &s.state {
        SourceState::Open => {}
        SourceState::Waiting => out += "  does not exist yet\n",
        SourceState::Failed(why) | SourceState::Unsupported(why) => out += &wrap(why, "  ", 98),
    }
    let packed =
        if s.compression == "none" { String::new() } else { format!(", {}", s.compression) };
    out += &format!(
        "  format {}{packed}; {} lines, {} records, {} bad lines, {} bytes\n",
        s.format,
        units::exact(s.lines),
        units::exact(s.records),
        units::exact(s.bad_count),
        units::exact(s.bytes),
    );
    out += &mapping(file);
    if s.records > 0 {
        out += &format!("  first    {}\n  last     {}\n", values(&file.first), values(&file.last));
    }
    out += &format!(
        "  units    batch size from {}, tokens {}; learning-rate schedule {}\n",
        name(&file.batch_source),
        name(&file.tokens_source),
        name(&file.schedule)
    );
    if !s.restarts.is_empty() {
        let steps: Vec<String> = s.restarts.iter().map(|x| units::count(*x)).collect();
        out += &wrap(&format!("restarts at step {}", steps.join(", ")), "  ", 98);
    }
    for note in &s.notes {
        out += &wrap(note, "  note     ", 98);
    }
    for bad in &s.bad_lines {
        out += &format!("  bad line {}:{}: {}: {}\n", bad.line, bad.column, bad.kind, bad.text);
    }
    out
}

fn mapping(file: &Inspection) -> String {
    let f = &file.status.fields;
    let mut named = Vec::new();
    let mut missing = Vec::new();
    for (role, key) in [
        ("step", &f.step),
        ("tokens", &f.tokens),
        ("loss", &f.loss),
        ("val_loss", &f.val_loss),
        ("batch_size", &f.batch_size),
        ("lr", &f.lr),
        ("time", &f.time),
    ] {
        match key {
            Some(key) => named.push(format!("{role} = {key}")),
            None => missing.push(role),
        }
    }
    let mut out = String::new();
    if !named.is_empty() {
        out += &wrap(&named.join(", "), "  fields   ", 98);
    }
    if !missing.is_empty() {
        out += &format!("  none     {}\n", missing.join(", "));
    }
    if f.loss.is_none() && f.val_loss.is_none() && !file.status.keys.is_empty() {
        let seen = file.status.keys.join(", ");
        out += &wrap(
            &format!("no loss was found; name it with --field loss=KEY. Keys seen: {seen}"),
            "  ",
            98,
        );
    }
    out
}

fn values(v: &FieldValues) -> String {
    format!(
        "step {}, tokens {}, loss {}, val_loss {}, lr {}, batch {}",
        maybe(v.step, |x| units::exact(x as u64)),
        maybe(v.tokens, units::count),
        maybe(v.loss, units::loss),
        maybe(v.val_loss, units::loss),
        maybe(v.lr, units::learning_rate),
        maybe(v.batch_size_tokens, units::count),
    )
}
