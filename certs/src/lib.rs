//! Identities and mutual TLS for Souk: *the certificate is the account*.
//!
//! | module | what it holds |
//! |---|---|
//! | [`identity`] | trust domain, roles, SPIFFE IDs, and what a peer's leaf says |
//! | [`credentials`] | one party's certificate, key, roots and CRL, loaded and validated from files |
//! | [`server`], [`client`] | rustls configurations: TLS 1.3, ALPN `h2`, certificates on both sides, no resumption |
//! | [`listener`] | binding a socket, on machines with and without IPv6 |
//! | [`acceptor`], [`connector`] | the two ends of a connection, for tonic |
//! | [`file`] | files that are replaced as a whole, and locks |
//! | [`check_issued`] | the check of a certificate that was just received |
//! | [`ServerRule`] | rules of one's own about a server's certificates |
//! | [`ForeignChain`] | the refusal of certificates besides a leaf |
//! | [`rotation`] | reloading credentials when their files change |
//! | [`statement`] | texts that are signed with the key of a certificate |
//! | [`pem`] | encoding, and a check that no block of a PEM file is skipped |
//! | [`clock`], [`random`] | the only places that read the system clock, and that generate random bytes and
//! ids |
//!
//! The authority that issues these certificates is a separate crate, `souk-authority`.
//!
//! Everything runs on aws-lc-rs, passed explicitly, so no process-wide rustls provider has to be installed.

pub mod acceptor;
pub mod client;
pub mod clock;
pub mod connector;
pub mod credentials;
pub mod file;
pub mod identity;
mod issued;
mod lenient;
pub mod listener;
pub mod pem;
pub mod random;
pub mod rotation;
pub mod server;
mod server_rule;
pub mod statement;
mod tls;
mod verifier;
mod write_buffer;

pub use issued::{IssuedError, check_issued};
pub use server_rule::ServerRule;
pub use tls::TlsError;
pub use verifier::ForeignChain;
pub use write_buffer::{WRITE_BUFFER_BYTES, WriteBuffer};
