//! The hostile cases: what attackers try, over real sockets, and what they get.
//!
//! One test for each case. After every attack the siege has to hold: nothing was sold, changed or told, and
//! the market still serves. SECURITY.md names the control behind each case.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_update,
    reason = "a test that panics has failed; requests are filled in whatever fields they have"
)]

mod audit;
mod bytes;
mod callbacks;
mod forge;
mod handshake;
mod limits;
mod metadata;
mod ownership;
mod raw;
mod rogue;
mod rotation;
mod siege;
mod suspension;
mod tokens;
