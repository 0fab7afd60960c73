//! The client library against a small market of its own making, over real mutual TLS sockets.

#![expect(clippy::expect_used, reason = "a test that panics has failed")]

mod doctor;
mod follow;
mod identity;
mod inbox;
mod market;
mod retry;
mod session;
mod several;
mod timing;
mod world;
