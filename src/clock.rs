//! The wall clock; named by the drivers alone. Numerics and views get their time from outside.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
