//! Contexts: folders with everything that a program needs at one market. A seller's or buyer's contexts are in
//! `~/.config/souk`, and a market's own is `/etc/souk/market`.
//!
//! ```text
//! ~/.config/souk/                    0700; refused if others may write to it
//!   current.toml                     the context that each role's program uses
//!   contexts/alice/                  one Context
//!     context.toml                   its Description: role, party, market, authority, trust domain
//!     live -> gen/3                  the generation in use
//!     gen/2/, gen/3/                 Generations: party.pem, party.key, ca.pem, crl.pem, trust.bin
//!     gen/4.pending/party.key        the key of a renewal that is under way
//!     .lock                          held by the process that changes the context
//!   joining/ID/party.key             the key of a join that is not complete
//! ```
//!
//! **A reader sees all old files or all new ones.** A generation is written and flushed under another name, and
//! becomes visible by one `rename` of the link `live`. After a crash at any point, `live` leads to the generation
//! before or to the new one, both complete. The one before stays for readers that have followed the link already.

mod claim;
mod current;
mod description;
mod error;
mod files;
#[cfg(test)]
mod fixture;
mod folder;
mod generation;
mod joining;
mod locked;
mod name;

pub use description::Description;
pub use error::ContextError;
pub use folder::{ContextFolder, Listed};
pub use generation::{Context, Generation};
pub use joining::Joining;
pub use locked::Locked;
pub use name::{ContextName, ContextNameError};
