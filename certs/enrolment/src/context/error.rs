//! The errors of contexts. Every message says what happened; what to do depends on the program that prints it.

use std::{
    io,
    path::{Path, PathBuf},
};

use souk_certs::identity::Role;
use thiserror::Error;

use super::ContextNameError;

/// Why a context can't be read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// Others could replace keys and certificates in the folder.
    #[error("others may write to {}; run: chmod go-w {}", path.display(), path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
    },
    /// Another user owns the folder, and could replace keys and certificates in it.
    #[error("{} belongs to another user (uid {owner}), who could replace the keys in it", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The user's id.
        owner: u32,
    },
    /// There is no context of this name, or it is another role's.
    #[error("there is no context {name}")]
    NoSuch {
        /// The name that was asked for.
        name: String,
    },
    /// The context has no certificate, because a join was not completed.
    #[error("the context in {} has no certificate: its join was not completed", path.display())]
    Incomplete {
        /// The context's folder.
        path: PathBuf,
    },
    /// A context of this name exists, and is another party's.
    #[error("a context {name} exists, of a {role}")]
    Exists {
        /// The name.
        name: String,
        /// The role of its party.
        role: Role,
    },
    /// Another process is changing the context.
    #[error("another program is changing {}", path.display())]
    Busy {
        /// The folder whose lock it holds.
        path: PathBuf,
    },
    /// The text is not a name.
    #[error(transparent)]
    Name(#[from] ContextNameError),
    /// A file is not what a context has there.
    #[error("{} can't be used: {problem}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file or folder can't be read or written.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was to be done, such as "read".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
}

impl ContextError {
    /// Returns a function that adds the action and the path to an error of the file system.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Describes what is wrong with a file's contents.
    pub(super) fn malformed(path: &Path, problem: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), problem: problem.to_string() }
    }
}
