//! The errors of the book. Every message says what to do about it.

use std::path::PathBuf;

use souk_enrolment::code::InvitationId;
use thiserror::Error;

use super::MAX_OPEN;

/// Why the book can't be used or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BookError {
    /// The file can't be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file doesn't parse, or has another version.
    #[error("{} cannot be used: {reason}; move it away to begin without invitations", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as part of a sentence.
        reason: String,
    },
    /// The requested validity is out of bounds.
    #[error("an invitation is valid from 5 minutes to 7 days")]
    Validity,
    /// There is an open invitation for the name.
    #[error(
        "'{name}' has an open invitation, {id}; cancel it with gen-certs invitations cancel {id}, or replace it with --again"
    )]
    Invited {
        /// The name.
        name: String,
        /// The open invitation.
        id: InvitationId,
    },
    /// There are [`MAX_OPEN`] open invitations.
    #[error("there are {MAX_OPEN} open invitations; cancel some with gen-certs invitations cancel")]
    Full,
    /// No invitation has this id.
    #[error("there is no invitation {id}; gen-certs invitations lists all")]
    Unknown {
        /// The requested id.
        id: InvitationId,
    },
    /// The invitation is not open any more.
    #[error(
        "the invitation {id} is {state} and can't be cancelled; gen-certs revoke NAME shuts out who used it"
    )]
    NotOpen {
        /// The requested id.
        id: InvitationId,
        /// Its state.
        state: &'static str,
    },
}
