//! The control file: what a person approved, written so that it cannot be torn, overwritten or
//! mistaken for done. The only module that writes files that are not ours.

pub mod protocol;
