//! The security suite: attacks over real sockets, and how the market responds.
//!
//! One test for each attack. After each, nothing may have been sold, changed or disclosed, and the market
//! must still serve others (`Fixture::hold`). SECURITY.md names the control that stops it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed")]

mod arrivals;
mod audit;
mod bytes;
mod callbacks;
mod chains;
mod compression;
mod fairness;
mod fixture;
mod forge;
mod frames;
mod handshake;
mod limits;
mod metadata;
mod names;
mod ownership;
mod raw;
mod reasons;
mod reflection;
mod reports;
mod rogue;
mod rotation;
mod streams;
mod suspension;
mod token_keys;
mod tokens;
mod top_talkers;
mod trust;
mod unread;
mod wire;
