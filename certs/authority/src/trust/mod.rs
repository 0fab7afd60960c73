//! The trust bundles that the authority publishes.
//!
//! | module | contents |
//! |---|---|
//! | [`publish`] | signing a bundle for each change, and keeping those that lead from one root to the next |

pub mod publish;
