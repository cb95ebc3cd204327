//! All that a person can ask of the monitor.

use crate::advice::GuardName;

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Draw up a proposal for a run; nothing is written.
    Propose {
        run: String,
        change: Change,
    },
    /// Write the proposal that was on the screen: its number, so that an approval can never meet
    /// another one.
    Approve {
        run: String,
        proposal: u64,
        overrides: Vec<GuardName>,
    },
    /// Let the proposal go.
    Withdraw {
        run: String,
    },
    /// Leave a run out of the fits, or take it in again.
    Exclude {
        run: String,
        excluded: bool,
    },
    /// Show the losses of a run between two counts of tokens as finely as they are known; `None`:
    /// no part of it any more.
    Look {
        run: String,
        tokens: Option<[f64; 2]>,
    },
    Replay(ReplayCommand),
}

/// What a proposal is to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The recommended schedule.
    Plan,
    /// One batch size from a token count on (`None`: the earliest that the lead time allows).
    BatchSize { batch_size_tokens: u64, at_tokens: Option<u64> },
    /// The proposal on the table: its first change so many tokens later (or earlier), and what follows
    /// with it.
    Move { by_tokens: i64 },
    /// Back to what was in force before the newest revision.
    Undo,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReplayCommand {
    /// Pause, or play on.
    TogglePause,
    /// One recorded line further.
    Step,
    /// Seconds of the record a second; infinite is as fast as it goes.
    Speed(f64),
    /// To a fraction of the whole record, 0 to 1.
    Seek(f64),
    /// To where the run that is told of first has consumed so many tokens.
    SeekTokens(f64),
    /// So many recorded seconds after the beginning.
    SeekSeconds(f64),
    /// On to the next change of a batch size or of a verdict, and a pause there.
    NextChange,
    /// Back to the last one.
    PreviousChange,
}
