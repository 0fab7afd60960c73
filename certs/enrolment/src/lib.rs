//! Joining a market with one code: what clients and markets share.
//!
//! A newcomer gets a code by any channel, such as a chat. The code says where the authority is, which root
//! certificate it must show, and contains a secret for one use. Nothing else is carried between machines.
//!
//! | module | what it holds |
//! |---|---|
//! | [`code`] | the invitation code: encoding, decoding, and what a typing error looks like |
//! | [`context`] | folders with everything that a party needs at one market, replaced in one step |
//! | [`party`], [`host`] | joining as a seller, buyer or operator, and as a market |
//! | [`admission`] | what a newcomer's context is made of |
//! | [`key`] | P-256 keys in files of mode 0600, and signing requests for them |
//! | [`verifier`] | the check, inside the TLS handshake, that the server is the code's authority |
//! | [`join`] | the calls that get a first certificate, and the next one |
//! | [`trust`] | signed bundles of roots and revocation lists, and when to accept one |
//!
//! The authority's side is in `souk-authority`.

pub mod admission;
pub mod code;
pub mod context;
pub mod host;
pub mod join;
pub mod key;
pub mod party;
pub mod renewal;
pub mod trust;
pub mod verifier;
