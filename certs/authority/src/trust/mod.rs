//! What the authority tells everybody to trust.
//!
//! | module | contents |
//! |---|---|
//! | [`publish`] | signing a bundle for each change, and keeping those that lead from one root to the next |

pub mod publish;
