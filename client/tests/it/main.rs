//! Tests of the client library against a scripted market, over real mutual TLS connections.

#![expect(clippy::expect_used, reason = "a test that panics has failed")]

mod doctor;
mod follow;
mod identity;
mod inbox;
mod joining;
mod market;
mod retry;
mod session;
mod several;
mod timing;
mod world;
