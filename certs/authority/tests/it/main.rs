//! souk-certs and souk-authority on real sockets and real files. Everything is minted per run, in a temporary folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod acceptor;
mod credentials;
mod dialling;
mod echo;
mod folder;
mod gen_certs;
mod handshake;
mod openssl;
mod roots;
mod rotation;
mod world;
