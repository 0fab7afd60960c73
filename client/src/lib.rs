//! The client library of Souk: whatever talks to a market uses it, the command lines as well as the demo,
//! the tests and the load generator.
//!
//! The way of a call:
//! 1. [`config`] says which market and whose certificate;
//! 2. [`connection`] opens the channel over mutual TLS, lazily, and gives out the generated clients;
//! 3. [`session`] adds the party's id and its access token to every call, fetching and renewing it;
//! 4. [`balance`] chooses among the market's addresses when there are several, and leaves out those that fail;
//! 5. [`timing`] times each attempt, if somebody asks for it;
//! 6. [`retry`] repeats what failed for a moment, with the same request and so the same `request_id`;
//! 7. [`failure`] tells what went wrong, what to do about it and with which exit code to end.
//!
//! Events come either to the callback server of [`inbox`] or through the stream of [`follow`]. Both
//! hand out [`delivery::Delivery`] values and share one [`seen::Seen`], so that an event reaches its
//! user once, whichever way it came and however often it was sent. [`till`] keeps stock the same on both
//! sides by one stream in both directions.

mod backoff;
pub mod balance;
pub mod config;
pub mod connection;
pub mod delivery;
pub mod failure;
pub mod follow;
pub mod inbox;
mod probe;
mod reconnect;
pub mod renewal;
pub mod retry;
pub mod seen;
pub mod session;
pub mod till;
pub mod timing;

pub use config::{CallbackAddress, ClientConfig, MarketAddresses};
pub use connection::Connection;
pub use delivery::{Delivery, Notice};
pub use failure::Failure;
pub use follow::Follower;
pub use inbox::Inbox;
pub use reconnect::{FIRST_RECONNECT, MAX_RECONNECT};
pub use renewal::Renewal;
pub use seen::Seen;
pub use till::{Till, TillNotice};
pub use timing::Timings;
