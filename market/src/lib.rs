//! The market of Souk: a gRPC server on which sellers list and buyers buy.
//!
//! The modules stand in the order in which a request meets them; ARCHITECTURE.md has the map.

pub mod clock;
pub mod domain;
pub mod ledger;
pub mod search;
pub mod store;
pub mod wire;
