//! `market demo`: a market to look at on this machine.
//!
//! - [`show`]: a scene to watch, and a market to join,
//! - [`tour`]: every call once, each checked,
//! - [`replay`]: a real order log, traded line by line.
//!
//! The market itself and the parties are those of `souk-testkit`, which tests and measurements use too.

mod catalogue;
pub mod replay;
pub mod show;
pub mod tour;
