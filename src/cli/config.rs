//! The configuration file: what is the same at every call. Flags come before the environment, that
//! before the file, the file before the defaults.

use super::flags::{ControlArgs, Fitting, Input, OneRun, Planning, Runs, Screen};
use super::values::{self, ColorsArg, GoalArg, LossArg, LrRuleArg, MemoryArg, ThemeArg};
use crate::error::{Error, Result};
use crate::metrics::ROLES;
use crate::tui::SyncOutput;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Every key with its default and what it does; a test reads it back.
pub const DEFAULT: &str = include_str!("config.toml");

/// The whole file. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Role to key of the log: `tokens = "train/tokens"`.
    pub fields: BTreeMap<FieldName, String>,
    pub input: InputSection,
    pub fit: FitSection,
    pub plan: PlanSection,
    pub control: ControlSection,
    pub screen: ScreenSection,
    pub notify: NotifySection,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputSection {
    pub seq_len: Option<Count>,
    pub assume_batch: Option<Count>,
    pub loss_in_bits: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitSection {
    pub loss: Option<LossArg>,
    /// Pattern to group.
    pub groups: BTreeMap<String, String>,
    pub exclude: Vec<String>,
    pub seed: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSection {
    pub goal: Option<GoalArg>,
    pub target_loss: Option<Above0>,
    pub budget_tokens: Option<Count>,
    pub decay_tokens: Option<Count>,
    pub lr_rule: Option<LrRuleArg>,
    pub unit: Option<Whole>,
    pub max_batch: Option<Whole>,
    pub memory: Option<MemoryArg>,
    pub law: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlSection {
    pub path: Option<String>,
    pub lead_seconds: Option<Seconds>,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScreenSection {
    pub theme: Option<ThemeArg>,
    pub colors: Option<ColorsArg>,
    pub ascii: bool,
    pub half_blocks: bool,
    pub mouse: bool,
    pub sync_output: Sync,
    pub pinned: Vec<String>,
}

impl Default for ScreenSection {
    fn default() -> Self {
        ScreenSection {
            theme: None,
            colors: None,
            ascii: false,
            half_blocks: false,
            mouse: true,
            sync_output: Sync::default(),
            pinned: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    Never,
    #[default]
    FullRedraws,
    Always,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySection {
    pub bell: bool,
    /// The program and its first arguments; empty: none.
    pub command: Vec<String>,
}

/// A name that `--field` takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FieldName(pub String);

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if ROLES.iter().any(|(_, known)| *known == name) {
            return Ok(FieldName(name));
        }
        let known: Vec<String> = ROLES.iter().map(|(_, n)| format!("`{n}`")).collect();
        Err(de::Error::custom(format!(
            "unknown field `{name}`, expected one of {}",
            known.join(", ")
        )))
    }
}

/// A value as the flag of the same meaning takes it: a number, or text such as `"4M"`.
macro_rules! like_the_flag {
    ($name:ident, $of:ty, $read:path) => {
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name(pub $of);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                let text = from.deserialize_any(NumberOrText)?;
                let wrong = |why| de::Error::custom(format!("`{text}`, {why}"));
                $read(&text).map($name).map_err(wrong)
            }
        }
    };
}

like_the_flag!(Count, f64, values::count);
like_the_flag!(Whole, u64, values::whole);
like_the_flag!(Above0, f64, values::positive);
like_the_flag!(Seconds, f64, values::seconds);

struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number, or text such as \"4M\"")
    }

    fn visit_i64<E>(self, x: i64) -> std::result::Result<String, E> {
        Ok(x.to_string())
    }

    fn visit_u64<E>(self, x: u64) -> std::result::Result<String, E> {
        Ok(x.to_string())
    }

    fn visit_f64<E>(self, x: f64) -> std::result::Result<String, E> {
        Ok(x.to_string())
    }

    fn visit_str<E>(self, x: &str) -> std::result::Result<String, E> {
        Ok(x.to_string())
    }
}

/// Where the configuration is looked for: `$XDG_CONFIG_HOME/boptop/config.toml`, else below
/// `~/.config`.
pub fn place(get: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| get(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("boptop/config.toml"))
}

/// The file that was named, else the one in its place if it is there. One that nobody named and that
/// cannot be opened is no reason to answer nothing: the defaults are taken, and the words say so.
pub fn load(named: Option<&Path>) -> Result<(Config, Option<String>)> {
    let usual = || place(|name| std::env::var_os(name));
    let Some(path) = named.map(Path::to_path_buf).or_else(usual) else {
        return Ok((Config::default(), None));
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((parse(&text, &path)?, None)),
        Err(e) if named.is_none() && e.kind() == ErrorKind::NotFound => {
            Ok((Config::default(), None))
        }
        // What is there and is no text is a fault of the file, as a wrong key is.
        Err(e) if named.is_none() && e.kind() != ErrorKind::InvalidData => {
            let words = format!("{}: {e}; the defaults are taken", path.display());
            Ok((Config::default(), Some(words)))
        }
        Err(e) => Err(Error::io(path, e)),
    }
}

/// # Errors
/// [`Error::Input`] with file, line, what was found and what to do.
pub fn parse(text: &str, path: &Path) -> Result<Config> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map(|s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        let words = e.message().to_string();
        let (found, expected) = match words.split_once(", expected ") {
            Some((found, expected)) => (found.to_string(), in_words(expected)),
            None => (words, "a key that `boptop config --print-default` lists".into()),
        };
        Error::Input {
            path: path.into(),
            line: line.map(|l| l as u64),
            found,
            expected,
            remedy: "correct or remove the line; `boptop config --print-default` shows every key"
                .into(),
        }
    })
}

/// What a value should be, as people say it who do not read the source.
fn in_words(expected: &str) -> String {
    match expected {
        "a sequence" => "a list such as [\"a\", \"b\"]".into(),
        "a boolean" => "true or false".into(),
        "a map" => "keys with values below a [section]".into(),
        other => other.into(),
    }
}

// ---------------------------------------------------------------- under the flags

/// What flags leave open is taken from the file.
pub trait Under {
    fn under(&mut self, file: &Config);
}

impl Under for Input {
    fn under(&mut self, file: &Config) {
        let stated = |name: &str| self.fields.iter().any(|(n, _)| n == name);
        let usual = file.fields.iter().filter(|(name, _)| !stated(&name.0));
        self.usual_fields = usual.map(|(name, key)| (name.0.clone(), key.clone())).collect();
        self.seq_len = self.seq_len.or(file.input.seq_len.map(|x| x.0));
        self.assume_batch = self.assume_batch.or(file.input.assume_batch.map(|x| x.0));
        self.loss_in_bits |= file.input.loss_in_bits;
    }
}

impl Under for Fitting {
    fn under(&mut self, file: &Config) {
        self.loss = self.loss.or(file.fit.loss);
        if self.groups.is_empty() {
            self.groups = file.fit.groups.clone().into_iter().collect();
        }
        if self.exclude.is_empty() {
            self.exclude.clone_from(&file.fit.exclude);
        }
        self.seed = self.seed.or(file.fit.seed);
    }
}

impl Under for Planning {
    fn under(&mut self, file: &Config) {
        let plan = &file.plan;
        self.goal = self.goal.or(plan.goal);
        self.target_loss = self.target_loss.or(plan.target_loss.map(|x| x.0));
        self.budget_tokens = self.budget_tokens.or(plan.budget_tokens.map(|x| x.0));
        self.decay_tokens = self.decay_tokens.or(plan.decay_tokens.map(|x| x.0));
        self.lr_rule = self.lr_rule.or(plan.lr_rule);
        self.unit = self.unit.or(plan.unit.map(|x| x.0));
        self.max_batch = self.max_batch.or(plan.max_batch.map(|x| x.0));
        self.memory = self.memory.or(plan.memory);
        self.law = self.law.take().or_else(|| plan.law.clone());
    }
}

impl Under for ControlArgs {
    fn under(&mut self, file: &Config) {
        self.control = self.control.take().or_else(|| file.control.path.clone());
        self.lead = self.lead.or(file.control.lead_seconds.map(|x| x.0));
        self.read_only |= file.control.read_only;
    }
}

impl Under for Screen {
    fn under(&mut self, file: &Config) {
        let screen = &file.screen;
        // NO_COLOR stands above the file; a flag stands above both.
        let unasked = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        if !self.no_color && unasked {
            self.colors = self.colors.or(screen.colors);
        }
        self.theme = self.theme.or(screen.theme);
        self.ascii |= screen.ascii;
        self.half_blocks |= screen.half_blocks;
        self.no_mouse |= !screen.mouse;
        self.sync_output = match screen.sync_output {
            Sync::Never => SyncOutput::Never,
            Sync::FullRedraws => SyncOutput::FullRedraws,
            Sync::Always => SyncOutput::Always,
        };
        self.pinned.clone_from(&screen.pinned);
        self.bell |= file.notify.bell;
        self.usual_notify.clone_from(&file.notify.command);
    }
}

impl Under for Runs {
    fn under(&mut self, file: &Config) {
        self.input.under(file);
        self.fitting.under(file);
        self.planning.under(file);
    }
}

impl Under for OneRun {
    fn under(&mut self, file: &Config) {
        self.runs.under(file);
        self.control.under(file);
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
