//! `market demo`: a market to watch on this machine.
//!
//! - [`show`]: trade to watch, and a market to join,
//! - [`tour`]: every call once, with its answer checked,
//! - [`replay`]: a real order log, replayed line by line.
//!
//! The market and the parties come from `souk-testkit`, which tests and benchmarks use too.

/// Prints a line like `println!`, unless nobody reads the output any more.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::demo::output::print(format_args!($($text)*))
    };
}

mod catalogue;
mod output;
pub mod replay;
pub mod show;
pub mod tour;
