//! A market of one's own on this machine: what `market demo`, the tests and the measurements stand on.
//!
//! - [`ground`]: a complete market in a temporary folder,
//! - [`actor`]: a seller or buyer that trades there, over real mutual TLS,
//! - [`tour`]: every call once, each checked,

pub mod actor;
pub mod ground;
pub mod tour;
