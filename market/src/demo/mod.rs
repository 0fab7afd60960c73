//! `market demo`: a market to watch on this machine.
//!
//! - [`show`]: trade to watch, and a market to join,
//! - [`tour`]: every call once, with its answer checked,
//! - [`replay`]: a real order log, replayed line by line.
//!
//! The market and the parties come from `souk-testkit`, which tests and benchmarks use too.

mod catalogue;
pub mod replay;
pub mod show;
pub mod tour;
