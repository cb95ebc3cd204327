//! What the shell is given: the configuration, completions, the man page.

use super::{args, config, output};
use crate::error::{Error, ExitCode, Result};
use crate::report::text::escaped;
use std::path::Path;

/// Prints the defaults; or says which file is read, having read it.
pub fn config(print_default: bool, named: Option<&Path>, none: bool) -> Result<ExitCode> {
    if print_default {
        return output::exact(config::DEFAULT.as_bytes());
    }
    if none {
        return output::text("No configuration is read: --no-config.");
    }
    let (_, trouble) = config::load(named)?;
    if let Some(words) = trouble {
        return output::text(&escaped(&words));
    }
    let place = config::place(|name| std::env::var_os(name));
    let Some(path) = named.map(Path::to_path_buf).or(place) else {
        return output::text("No configuration: neither XDG_CONFIG_HOME nor HOME says where.");
    };
    let shown = escaped(&path.display().to_string());
    output::text(&if path.exists() {
        format!("{shown}: read, no fault found.")
    } else {
        format!("{shown}: not there. `boptop config --print-default > {shown}` begins one.")
    })
}

/// The completions of a shell, from the same declaration as the help.
pub fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut args::declared(), "boptop", &mut out);
    output::exact(&out)
}

/// The man page of boptop, or of one of its commands.
pub fn man(command: Option<&str>) -> Result<ExitCode> {
    let mut declared = args::declared();
    declared.build();
    let page = match command {
        None => declared.clone(),
        Some(name) => {
            let found = declared.get_subcommands().find(|c| c.get_name() == name).cloned();
            let names = || declared.get_subcommands().map(|c| c.get_name()).collect::<Vec<_>>();
            let none =
                || Error::Usage(format!("no command {name}; there are: {}", names().join(", ")));
            found.ok_or_else(none)?
        }
    };
    let mut out = Vec::new();
    clap_mangen::Man::new(page).render(&mut out).map_err(|e| Error::io("man page", e))?;
    output::exact(&out)
}
