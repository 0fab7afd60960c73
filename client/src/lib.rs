//! The Rust client of Souk, a market that speaks gRPC over mutual TLS.
//!
//! ```no_run
//! use souk_client::{Identity, Souk};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), souk_client::Error> {
//!     let souk = Souk::connect("market.example.org:7443", Identity::from_file("bob.pem")?).await?;
//!     let order = souk.buyer().buy(7, 2).await?;
//!     println!("order {}: {} × {}", order.order_id, order.quantity, order.item_name);
//!     Ok(())
//! }
//! ```
//!
//! A newcomer has no files yet, but an invitation code: [`Souk::join`] gets the certificate and keeps it up to date.
//!
//! There are three tiers, each built on the one below:
//!
//! | tier | for |
//! |---|---|
//! | [`Souk`]: [`buyer`](Souk::buyer), [`seller`](Souk::seller), [`catalog`](Souk::catalog), [`events`](Souk::events), … | programs that trade: one method for each RPC, with ids and quantities |
//! | [`Souk::call`] | any unary RPC with every field: the type of the request ([`v1`]) decides the RPC |
//! | [`Connection`] | the generated clients, for the streams of the contract and for single attempts |
//!
//! # Guarantees
//!
//! **A call is repeated only if that is safe.** Every mutating request carries a `request_id` ([AIP-155])
//! that is filled in once, before the first attempt; the market executes it once and answers retries with the
//! first outcome. So:
//!
//! - A call that [`Souk::call`] or a typed method makes takes effect **at most once**, and **exactly once** if it succeeds,
//!   however many attempts it took.
//! - After `UNAVAILABLE`, a refused or broken connection, or `RESOURCE_EXHAUSTED` with a retry time, the call is
//!   repeated after a back-off. The call fails when [`MAX_ATTEMPTS`](retry::MAX_ATTEMPTS) attempts have failed, or
//!   earlier if the next one would begin past the [timeout](Options::timeout), which also goes to the market as the
//!   call's deadline.
//! - With several addresses, a call that failed at one of them is first repeated at another without a wait, until as
//!   many attempts in a row have failed as there are addresses. Only the last of them counts towards the maximum.
//! - After a rejected token, such as an expired one, the call is repeated once, at once, with a new token.
//! - Every other refusal is final.
//! - After [`Error::TimedOut`] the outcome is unknown. To find out, repeat the call with the same `request_id`, by
//!   [`Souk::call`] with an id of your own.
//!
//! **Events come at least once, and reach you once each.** The market keeps an event until it is
//! acknowledged, and [`Events`] acknowledges it only after you [took](Delivery::take) it. Repeats are
//! recognized by their ids and dropped, across restarts too with [`Options::remember_events_in`]. One case
//! remains: a process that is killed after it acted on an event and before it took it sees the event again.
//! An event carries its sequence number; events of a mailbox are in order.
//!
//! **A line of a [till](Souk::till) takes effect exactly once**, known by its number, across broken streams and restarts.
//!
//! **The other side is the market.** TLS 1.3 with certificates on both sides; the market's certificate must be signed by
//! the authority of your [`Identity`], name the market and not be revoked.
//!
//! [AIP-155]: https://google.aip.dev/155
//!
//! # Errors
//!
//! Every operation fails with an [`Error`], which has the market's [`reason`](Error::reason), the gRPC status
//! [`code`](Error::code), the [`violations`](Error::violations) of single fields, the market's retry time
//! ([`retry_after`](Error::retry_after)) and a [`hint`](Error::hint) for people.
//!
//! # Feature flags
//!
//! There are none: everything above needs the same HTTP/2 and TLS stack, so a flag would not make a build
//! smaller. The optional parts are separate crates: `souk-cli` (flags, tables, the shell) and `souk-testkit`
//! (a market in memory for tests).
//!
//! # How a call travels
//!
//! [`connection`] sends it, with a token from [`session`], over one of the market's addresses ([`balance`]),
//! timed by [`timing`] and repeated by [`retry`]. [`Inbox`] and [`follow`] both hand out [`Delivery`] values
//! and share one [`Seen`], so that an event reaches its user once, whichever way it arrived.
#![warn(missing_docs)]

mod backoff;
pub mod balance;
pub mod budget;
pub mod config;
pub mod connection;
pub mod delivery;
pub mod error;
mod events;
pub mod follow;
mod identity;
pub mod inbox;
mod missed;
mod paging;
mod probe;
mod reconnect;
mod recovery;
pub mod renewal;
pub mod retry;
pub mod seen;
pub mod session;
mod souk;
pub mod till;
pub mod timing;
pub mod upkeep;

pub use config::{CallbackAddress, ClientConfig, MarketAddresses};
pub use connection::Connection;
pub use delivery::{Delivery, Missed, Notice};
pub use error::{Error, Refusal, Violation};
pub use events::Events;
pub use follow::Follower;
pub use identity::Identity;
pub use inbox::Inbox;
pub use paging::{Paged, Pages};
pub use reconnect::{Attempts, FIRST_RECONNECT, MAX_RECONNECT};
pub use renewal::Renewal;
pub use seen::Seen;
pub use souk::{Account, Admin, Buyer, Catalog, JoinOptions, Options, Seller, Souk};
pub use souk_certs::{
    clock::Clock,
    credentials::CredentialFiles,
    identity::{Role, TrustDomain},
    random::Random,
};
pub use souk_proto::{Reason, Timestamp, Unary, v1};
pub use till::{Till, TillNotice};
pub use timing::Timings;
pub use tonic::Code;
pub use upkeep::Upkeep;
pub use uuid::Uuid;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
