//! A snapshot, or one answer, written out as text or JSON. Sees `snapshot` and `units` alone;
//! everything a screen says is to be had here too.

pub mod html;
pub mod json;
mod table;
pub mod text;
