//! The key of a join that is not complete. The certificate will be bound to it: after a lost answer, a crash or an
//! unreachable market, the same command has to present the same key again.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{ContextError, files};
use crate::code::InvitationId;

/// The folder `joining/ID` of an invitation, locked while this value lives.
#[derive(Debug)]
pub struct Joining {
    folder: PathBuf,
    _lock: File,
}

impl Joining {
    /// Begins or continues the join of an invitation. The folder is below `parent`: the folder of a user's contexts, or a
    /// market's context. Blocks for at most ten seconds while another process joins with the same code.
    ///
    /// # Errors
    /// Others may write to `parent`, the folder can't be created, or another process holds it ([`ContextError::Busy`]).
    pub fn begin(parent: &Path, invitation: InvitationId) -> Result<Self, ContextError> {
        let folder = parent.join("joining").join(invitation.to_string());
        files::create_folder(&folder)?;
        files::check_folder(parent)?;
        files::check_folder(&folder)?;
        let lock = files::lock(&folder)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Returns the path of the key. One that is there is to be used again.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.folder.join("party.key")
    }

    /// Removes the key, once a context has it.
    ///
    /// # Errors
    /// The folder can't be removed.
    pub fn complete(self) -> Result<(), ContextError> {
        files::remove_folder_if_there(&self.folder).map_err(ContextError::io("remove", &self.folder))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::key::PartyKey;

    #[test]
    fn the_key_stays_until_the_join_is_complete() {
        let parent = tempfile::tempdir().unwrap();
        let (one, other) = (InvitationId([7; 8]), InvitationId([8; 8]));
        let key = |invitation| {
            let joining = Joining::begin(parent.path(), invitation).unwrap();
            PartyKey::open_or_create(&joining.key_path(), Uuid::nil()).unwrap().public_key()
        };
        let first = key(one);
        assert_eq!(key(one), first);
        assert_ne!(key(other), first);
        Joining::begin(parent.path(), one).unwrap().complete().unwrap();
        assert_ne!(key(one), first);
    }
}
