//! Tests of souk-certs and souk-authority with real sockets and files. All certificates are issued per run, in a
//! temporary folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod acceptor;
mod chains;
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
