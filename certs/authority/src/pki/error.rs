//! What can go wrong with the folder.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use uuid::Uuid;

use super::PartyNameError;
use crate::authority::AuthorityError;

/// Why a change or a look-up of the folder failed. Nothing was overwritten.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PkiError {
    /// There is no authority in the folder.
    #[error("{} holds no authority; make one with gen-certs.sh init", dir.display())]
    NotInitialised {
        /// The folder.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("{} already holds an authority; --force starts anew, and makes every certificate that it signed worthless", dir.display())]
    Initialised {
        /// The folder.
        dir: PathBuf,
    },
    /// The name is taken.
    #[error(
        "there already is a certificate named '{name}'; renew it with gen-certs.sh renew {name}, choose another name, or replace it with --force"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A file that is not in the index would be overwritten.
    #[error("{} is in the way; move it or overwrite it with --force", path.display())]
    FileInTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The UUID is another party's.
    #[error("the UUID {uuid} belongs to '{name}'; leave --uuid out to get a new one")]
    UuidTaken {
        /// The UUID.
        uuid: Uuid,
        /// Whose it is.
        name: String,
    },
    /// No party has that name.
    #[error("there is no certificate named '{name}'; gen-certs.sh list shows all")]
    UnknownParty {
        /// The name.
        name: String,
    },
    /// Not a name.
    #[error(transparent)]
    Name(#[from] PartyNameError),
    /// The market's name for somebody else, or the other way round.
    #[error("the name 'market' is the market's, which gen-certs.sh init makes; choose another")]
    MarketName,
    /// A renewal would undo a revocation.
    #[error("'{name}' is revoked; gen-certs.sh renew {name} --reinstate gives the same identity a new key")]
    Revoked {
        /// The name.
        name: String,
    },
    /// The key is not here.
    #[error(
        "the key of '{name}' was made elsewhere; have a new request made there, and sign it with: gen-certs.sh sign FILE.csr --role {role} --name {name} --force"
    )]
    KeyElsewhere {
        /// The name.
        name: String,
        /// Its role.
        role: String,
    },
    /// A change of root is under way.
    #[error("a change of the authority is under way; end it with gen-certs.sh root retire")]
    RootRetiring,
    /// No change of root is under way.
    #[error("no change of the authority is under way; begin one with gen-certs.sh root new")]
    NoRootRetiring,
    /// Ending the change would shut parties out.
    #[error(
        "the former authority's certificates are still in use by: {names}; renew them first (gen-certs.sh renew --all), or shut them out with --force"
    )]
    SignedByRetiring {
        /// Who they are.
        names: String,
    },
    /// Another process is changing the folder.
    #[error("another gen-certs is changing {}; try again when it is done", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The index doesn't parse.
    #[error("index.json cannot be used: {reason}; restore it from a backup")]
    Index {
        /// What is wrong.
        reason: String,
    },
    /// The authority refused.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file can't be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl PkiError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| PkiError::Io { path, source }
    }
}
