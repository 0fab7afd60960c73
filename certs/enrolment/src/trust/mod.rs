//! Trust that proves itself: signed bundles of roots and revocation lists, and when to accept one.
//!
//! | module | contents |
//! |---|---|
//! | [`bundle`] | encoding, signing and verifying a bundle |
//! | [`accept`] | the rule by which a bundle replaces the one before |
//! | [`walk`] | the rule by which changes of roots are caught up with |
//! | [`fetch`] | asking the authority for the way to its present roots |
//! | [`keep`] | what a context trusts, and putting an accepted bundle into it |

pub mod accept;
pub mod bundle;
pub mod fetch;
pub mod keep;
#[cfg(test)]
pub(crate) mod tests;
pub mod walk;

pub use accept::{Accepted, Refused, Trusted, accept};
pub use bundle::{BundleError, SignedBundle, TrustBundle, TrustedRoot};
pub use fetch::{FetchError, catch_up};
pub use keep::{install, trusted_by};
pub use walk::{MAX_WALK, WalkRefused, walk};
