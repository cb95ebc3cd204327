//! What the metrics say of a run's batch size, as far as control needs it.

/// What the metrics show of the run, all counts in tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub tokens: Option<f64>,
    pub batch_size: Option<f64>,
    /// Tokens between two lines of the metrics.
    pub log_interval_tokens: Option<f64>,
    pub seconds_since_write: Option<f64>,
    /// Seconds between two lines of the metrics.
    pub interval_seconds: Option<f64>,
    /// (tokens, batch size) from each change of the batch size on, ascending.
    pub segments: Vec<[f64; 2]>,
    /// Tokens that the run makes in the lead time of a command; an undo starts no earlier.
    pub lead_tokens: Option<f64>,
    /// Two attempts write the metrics by turns.
    pub interleaved: bool,
}

/// Tokens that a change may take to show: three log lines.
pub(super) fn slack(facts: &Facts) -> f64 {
    facts.log_interval_tokens.or(facts.batch_size.map(|b| 10.0 * b)).unwrap_or(0.0) * 3.0
}

/// Two batch sizes that metrics can tell apart are not `same`: within 2 %.
pub(super) fn same(measured: f64, ordered: u64) -> bool {
    (measured / ordered as f64 - 1.0).abs() <= 0.02
}
