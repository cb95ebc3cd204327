//! What the values of flags may be, and how they are written.

use crate::advice::GuardName;
use crate::units;
use clap::ValueEnum;
use serde::Deserialize;

/// The loss that is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LossArg {
    Train,
    Val,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum GoalArg {
    Stable,
    Decayed,
    Interim,
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LrRuleArg {
    Unchanged,
    /// Times the square root of the batch ratio, where the trainer can scale it.
    Sqrt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryArg {
    Measured,
    Slow,
    Fast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ThemeArg {
    Dark,
    Light,
    HighContrast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ColorsArg {
    /// Bold, dim and reverse only.
    None,
    #[value(name = "16")]
    #[serde(rename = "16")]
    Ansi16,
    #[value(name = "256")]
    #[serde(rename = "256")]
    Ansi256,
    /// 24 bits.
    Rgb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    Text,
    Json,
    /// The argument of Megatron-LM's --step-batch-size-schedule.
    Megatron,
    /// tokens,batch_size_tokens
    Csv,
}

/// What `export` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Plot {
    /// Loss and batch size of a run over tokens.
    Run,
    /// E(S) at one loss level.
    Curve,
    /// How far the runs lie from the curve.
    Residuals,
    /// B_opt over the loss.
    BOptLoss,
    /// B_opt over tokens.
    BOptTokens,
    /// The policies of a run: the loss on the way, and the staircase.
    Schedule,
}

pub fn count(text: &str) -> Result<f64, String> {
    units::parse_count(text)
        .filter(|x| *x > 0.0)
        .ok_or_else(|| "expected a number above 0 such as 4194304, 4.19M or 250B".into())
}

pub fn whole(text: &str) -> Result<u64, String> {
    let x = count(text)?;
    // Below 2^53 a whole number is itself.
    match x.fract() == 0.0 && x < 9e15 {
        true => Ok(x as u64),
        false => Err("expected a whole number of tokens such as 65536 or 4.19M".into()),
    }
}

pub fn positive(text: &str) -> Result<f64, String> {
    let x = text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
    x.ok_or_else(|| "expected a number above 0".into())
}

/// 0 is a trainer that looks before every step.
pub fn seconds(text: &str) -> Result<f64, String> {
    let x = text.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0);
    x.ok_or_else(|| "expected a number of seconds, 0 or more".into())
}

pub fn field(text: &str) -> Result<(String, String), String> {
    pair(text, "NAME=KEY")
}

pub fn group(text: &str) -> Result<(String, String), String> {
    pair(text, "PATTERN=NAME")
}

fn pair(text: &str, form: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.into(), b.into())),
        _ => Err(format!("expected {form}")),
    }
}

pub fn speed(text: &str) -> Result<f64, String> {
    if text == "max" {
        return Ok(f64::INFINITY);
    }
    text.trim_end_matches('x')
        .parse()
        .ok()
        .filter(|x: &f64| *x > 0.0)
        .ok_or_else(|| "expected a factor such as 60x, or max".into())
}

pub fn guard(text: &str) -> Result<GuardName, String> {
    use serde::de::{IntoDeserializer, value::StrDeserializer};
    let name: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    serde::Deserialize::deserialize(name)
        .map_err(|e| e.to_string().replace("unknown variant", "no guard is called"))
}
