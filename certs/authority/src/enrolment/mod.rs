//! The enrolment service: issues the first certificate for an invitation, and the next ones to its holder.
//!
//! | module | contents |
//! |---|---|
//! | [`limits`] | how much of everything it accepts |
//! | `gate` | accepting connections, with a certificate or without |
//! | `peer` | who is at the other end of a connection |
//! | `state` | what the calls share: the folder, the secrets' counts, the newest trust bundle |
//! | `join` | redeeming an invitation |
//! | `published` | the trust bundles, in memory |
//! | `renew` | renewing a certificate |
//! | `list` | listing certificates for operators |
//! | `trust` | handing out trust bundles |
//! | `watch` | following the folder, which other processes change, and keeping it current |
//! | [`serve`] | the server |
//!
//! A call that changes the folder does so under its lock, like the commands of `gen-certs`: they run beside the service.

mod error;
mod gate;
mod join;
pub mod limits;
mod list;
mod peer;
mod published;
mod refusals;
mod renew;
pub mod serve;
mod state;
mod status;
mod trust;
mod watch;

pub use error::ServeError;
pub use serve::Enrolment;
