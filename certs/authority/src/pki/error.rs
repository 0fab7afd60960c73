//! The errors of [`Pki`](super::Pki). Every message says what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use souk_certs::identity::Role;
use souk_enrolment::code::CodeError;
use thiserror::Error;
use uuid::Uuid;

use super::PartyNameError;
use crate::authority::AuthorityError;
use crate::invitation::book::BookError;
use crate::log::LogError;
use crate::trust::publish::PublishError;

/// Why reading or changing the folder failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The folder contains no authority.
    #[error("{} holds no authority; create one with gen-certs.sh init", dir.display())]
    NotInitialised {
        /// Path of the folder.
        dir: PathBuf,
    },
    /// The folder already contains an authority.
    #[error("{} already holds an authority; --force replaces it, which invalidates every certificate it has signed", dir.display())]
    Initialised {
        /// Path of the folder.
        dir: PathBuf,
    },
    /// Another party already has the name.
    #[error(
        "there is already a certificate named '{name}'; renew it with gen-certs.sh renew {name}, choose another name, or replace it with --force"
    )]
    NameTaken {
        /// The requested party name.
        name: String,
    },
    /// The operation would overwrite a file that is not in the index.
    #[error("{} already exists; move it or overwrite it with --force", path.display())]
    FileInTheWay {
        /// Path of the existing file.
        path: PathBuf,
    },
    /// Another party already has the UUID.
    #[error("the UUID {uuid} belongs to '{name}'; omit --uuid to get a new one")]
    UuidTaken {
        /// The UUID that was requested.
        uuid: Uuid,
        /// Name of the party that has it.
        name: String,
    },
    /// No party has that name.
    #[error("there is no certificate named '{name}'; gen-certs.sh list shows all")]
    UnknownParty {
        /// The requested name, escaped.
        name: String,
    },
    /// The name is not a valid [`PartyName`](super::PartyName).
    #[error(transparent)]
    Name(#[from] PartyNameError),
    /// The name `market` was requested for another role, or another name for the market.
    #[error("the name 'market' is reserved for the market, which gen-certs.sh init creates; choose another")]
    MarketName,
    /// The name is the enrolment service's, or the role is.
    #[error("'{name}' is reserved for the enrolment service; choose another")]
    Reserved {
        /// The requested name.
        name: String,
    },
    /// An invitation is for a name that a party has.
    #[error(
        "there is already a party named '{name}'; choose another name, or invite it to get another certificate for the same identity with --again"
    )]
    Known {
        /// The requested name.
        name: String,
    },
    /// An invitation to join again is for another role than the party's.
    #[error("'{name}' is a {role}; its role can't change")]
    OtherRole {
        /// The requested name.
        name: String,
        /// The role of that party.
        role: Role,
    },
    /// `authority.toml` can't be used.
    #[error("{} cannot be used: {reason}; correct it, or have it written by gen-certs serve --public", path.display())]
    Setup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as part of a sentence.
        reason: String,
    },
    /// No enrolment service is set up.
    #[error("no enrolment service is set up in {}; set one up with gen-certs serve --public HOST --market HOST:PORT", dir.display())]
    NotSetUp {
        /// Path of the folder.
        dir: PathBuf,
    },
    /// `crl.pem` contains something else than revocation lists.
    #[error("crl.pem cannot be used; sign it again with gen-certs crl")]
    Lists,
    /// A trust bundle can't be published or read.
    #[error(transparent)]
    Trust(#[from] PublishError),
    /// The invitations can't be used, or don't take a change.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The authority's address is too long for an invitation code.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The party is revoked, and a renewal or a bundle would undo that.
    #[error("'{name}' is revoked; gen-certs.sh renew {name} --reinstate gives the same identity a new key")]
    Revoked {
        /// Name of the revoked party.
        name: String,
    },
    /// The party's private key was generated on another machine, so it can't be renewed here.
    #[error(
        "the key of '{name}' was made elsewhere; have a new request created there, and sign it with: gen-certs.sh sign FILE.csr --role {role} --name {name} --force"
    )]
    KeyElsewhere {
        /// Name of the party.
        name: String,
        /// Role of the party, for the command to run.
        role: String,
    },
    /// A change of root is already in progress.
    #[error("a change of the authority is in progress; finish it with gen-certs.sh root retire")]
    RootRetiring,
    /// No change of root is in progress.
    #[error("no change of the authority is in progress; start one with gen-certs.sh root new")]
    NoRootRetiring,
    /// Retiring the root would invalidate certificates that are in use.
    #[error("certificates of the retiring authority are still in use by: {names}; {remedy}")]
    SignedByRetiring {
        /// Names of the affected parties, separated by commas.
        names: String,
        /// What to do, which depends on whether they renew by themselves.
        remedy: &'static str,
    },
    /// Another process has held the lock for 10 s.
    #[error("another gen-certs is changing {}; try again when it is done", dir.display())]
    Locked {
        /// Path of the folder.
        dir: PathBuf,
    },
    /// `index.json` doesn't parse, or has another version.
    #[error("index.json cannot be used: {reason}; restore it from a backup")]
    Index {
        /// What is wrong with it, as part of a sentence.
        reason: String,
    },
    /// The authority could not be loaded, or rejected the request.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file operation failed.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
}

impl PkiError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| PkiError::Io { path, source }
    }
}
