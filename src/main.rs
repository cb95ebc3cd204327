//! Parse, dispatch, print the error chain once, leave with the documented code.

use boptop::cli;
use boptop::error::{Error, ExitCode};
use boptop::report::text::escaped;
use std::error::Error as _;

fn main() -> std::process::ExitCode {
    let code = match cli::run(std::env::args_os()) {
        Ok(code) => code,
        Err(error) => {
            say(&error);
            error.exit_code()
        }
    };
    std::process::ExitCode::from(code as u8)
}

fn say(error: &Error) {
    let mut text = format!("boptop: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        // Io already carries the words of its source.
        if !text.contains(&words) {
            text += &format!(": {words}");
        }
        cause = inner.source();
    }
    // File names and log lines are other people's words.
    cli::talk(&format!("{}\n", escaped(&text)));
}

const _: () = assert!(ExitCode::Interrupted as i32 == 130);
