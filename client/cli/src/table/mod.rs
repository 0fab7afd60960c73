//! The layout of tables: every row fits the width of the terminal.
//!
//! Words, such as names, are wrapped between words first. If that is not enough, the columns with the highest rank are
//! left out. Numbers, times and identifiers are never cut.

mod cell;
mod column;
mod layout;
mod wrap;

pub(super) use cell::paint;
pub use cell::{Cell, Tone};
pub use column::Column;
pub(super) use column::Place;
pub(super) use layout::Layout;
pub(super) use wrap::wrapped;
