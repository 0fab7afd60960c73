//! The market of Souk: a gRPC server on which sellers list and buyers buy.
//!
//! The modules stand in the order in which a request meets them; ARCHITECTURE.md has the map.

pub mod access;
pub mod api;
pub mod app;
pub mod audit;
pub mod clock;
pub mod command;
pub mod config;
pub mod demo;
pub mod ledger;
pub mod observe;
pub mod relay;
pub mod rides;
pub mod server;
pub mod wire;
