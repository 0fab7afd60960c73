//! The market's server: everything between the socket and the store.
//!
//! The modules in the order in which a request meets them; ARCHITECTURE.md has the map.
//!
//! | module | purpose |
//! |---|---|
//! | [`transport`] | server threads, HTTP/2 settings, admission, deadlines |
//! | [`observe`] | one log line per call, metrics, traces |
//! | [`access`] | who is calling: certificate, party id, token, role |
//! | [`accounts`] | the accounts of parties, in memory |
//! | [`api`] | the gRPC services |
//! | [`wire`] | contract messages to domain values and back; statuses |
//! | [`ledger`] | the write path: lanes that execute commands in batches |
//! | `ranking` | the daily update of rank classes from recent sales |
//! | [`relay`] | deliveries to callback servers and event streams |
//! | [`rides`] | notifies the watchers of a ride |
//! | [`trust`] | the authority's newest trust bundle, for clients |
//! | [`audit`] | collects rejected identities for the audit log |
//! | [`clock`], [`random`] | the time, randomness and new ids, handed down |
//! | [`descriptors`] | the budget of open files |
//! | [`config`], [`app`] | settings; building all components, serving, certificate rotation |

pub mod access;
pub mod accounts;
pub mod api;
pub mod app;
pub mod audit;
mod by_party;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod ledger;
pub mod observe;
pub mod random;
mod ranking;
pub mod relay;
pub mod rides;
pub mod transport;
pub mod trust;
mod upkeep;
pub mod watches;
pub mod wire;
