//! The certificate authority of a Souk market, and the folder of files that `gen-certs` maintains.
//!
//! | module | contents |
//! |---|---|
//! | [`Authority`] | the root key that signs leaf certificates and revocation lists; touches no files |
//! | [`pki`] | the folder that stores its files; also used to issue identities for demos and tests |
//! | [`invitation`] | who may get a certificate over the network |
//! | [`trust`] | signed bundles of roots and revocation lists |
//! | [`log`] | the authority's audit log |
//! | [`enrolment`] | the service that issues and renews certificates over the network |
//! | [`command`] | the `gen-certs` command line |
//!
//! Only the operator's machine needs this crate. Programs that connect or listen need `souk-certs` alone.

mod authority;
pub mod command;
pub mod enrolment;
pub mod invitation;
pub mod log;
pub mod pki;
pub mod trust;

pub use authority::{
    Authority, AuthorityError, CRL_VALIDITY, Issued, LEAF_VALIDITY, LeafOptions, ROOT_VALIDITY, Revocation,
};
