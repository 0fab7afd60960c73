//! souk-certs on real sockets and real files. Everything is minted per run, in a temporary folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod echo;
mod handshake;
mod world;
