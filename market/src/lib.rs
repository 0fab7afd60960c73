//! The `market` program of Souk: a gRPC server on which sellers list items and buyers buy them.
//!
//! The server itself is `souk-server`. This crate is its command line and the demo.

pub mod authority;
pub mod command;
pub mod demo;
