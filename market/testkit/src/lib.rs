//! A Souk market in a temporary folder, for tests, measurements and demos.
//!
//! For the tests of a program that uses a market, one line is enough:
//!
//! ```no_run
//! # async fn test() -> Result<(), souk_testkit::MarketError> {
//! let market = souk_testkit::Market::start().await?;
//! let bob = market.buyer("bob").await?;
//! # Ok(()) }
//! ```
//!
//! The modules below are its building blocks, which the project's own tests use.
//!
//! | module | purpose |
//! |---|---|
//! | [`Market`] | a market in memory with registered parties |
//! | [`local`] | a complete market: authority, certificates, store, server on a loopback port |
//! | [`actor`] | a seller or buyer that trades there over real mutual TLS |
//! | [`authority`] | the enrolment service of its authority: invitations, renewals |
//! | [`database`] | a private PostgreSQL server |
//! | [`postgres`] | one empty database per test on a server that the tests of a process share |
//! | [`frames`] | HTTP/2 frame by frame, for attacks |
//! | [`gate`] | a TCP proxy in front of a market that can be closed or frozen |
//! | [`terminal`] | the command-line programs as child processes, on pipes |
//! | `screen` | the same on a pseudo-terminal; feature `screen` |

pub mod actor;
pub mod authority;
pub mod database;
pub mod frames;
pub mod gate;
pub mod local;
mod market;
mod port;
pub mod postgres;
#[cfg(feature = "screen")]
pub mod screen;
pub mod terminal;

pub use market::{Market, MarketError};

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How long [`eventually`] waits: long enough for a slow machine under load.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often [`eventually`] checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until a condition holds.
///
/// # Panics
/// Panics if it does not hold within [`PATIENCE`].
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "did not happen in time: {what}");
        sleep(CHECK_INTERVAL).await;
    }
}
