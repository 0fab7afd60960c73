//! Invitations: who may get a certificate, for how long, and how often a wrong secret is tolerated.
//!
//! | module | contents |
//! |---|---|
//! | [`book`] | `invitations.json`: making, listing, cancelling and using invitations |
//! | [`redeem`] | the check of a secret, with its rates and locks |

pub mod book;
pub mod redeem;
