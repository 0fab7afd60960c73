//! The market of Souk: a gRPC server on which sellers list and buyers buy.
//!
//! The server itself is `souk-server`; this crate is the program around it.

pub mod command;
pub mod demo;
