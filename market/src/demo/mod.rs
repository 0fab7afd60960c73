//! A market of one's own on this machine: what `market demo`, the tests and the measurements stand on.
//!
//! - [`ground`]: a complete market in a temporary folder,
//! - [`database`]: a private PostgreSQL server,
//! - [`actor`]: a seller or buyer that trades there, over real mutual TLS,
//! - [`show`]: a scene to watch, and a market to join,
//! - [`tour`]: every call once, each checked,
//! - [`replay`]: a real order log, traded line by line.

pub mod actor;
mod catalogue;
pub mod database;
pub mod ground;
pub mod replay;
pub mod show;
pub mod tour;
