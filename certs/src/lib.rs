//! Identities and TLS.

pub mod clock;
