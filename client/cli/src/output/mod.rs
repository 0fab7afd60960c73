//! Results on standard output, everything else on standard error.

mod ending;
mod listing;
mod look;
mod pen;
mod printer;
mod sheet;

pub use ending::ended;
pub(super) use ending::report_to;
pub use look::{Look, Output, Shown};
pub use printer::Printer;
