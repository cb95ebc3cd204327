//! Pieces that several views are made of.

pub(crate) mod popup;
pub(crate) mod sparkline;
pub(crate) mod status;
pub(crate) mod table;
