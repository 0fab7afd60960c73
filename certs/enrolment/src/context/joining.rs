//! The key of a join that is not complete. The certificate will be bound to it: after a lost answer, a crash or an
//! unreachable market, the same command has to present the same key again.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{ContextError, files};
use crate::code::InvitationId;

/// How long a join waits for another one with the same code: longer than its calls take.
const JOIN_WAIT: Duration = Duration::from_secs(30);

/// How many processes that complete the join one after the other are waited for.
const MAX_WAITS: usize = 8;

/// The folder `joining/ID` of an invitation, locked while this value lives.
#[derive(Debug)]
pub struct Joining {
    folder: PathBuf,
    _lock: File,
}

impl Joining {
    /// Begins or continues the join of an invitation. The folder is below `parent`: the folder of a user's contexts, or a
    /// market's context. Blocks for at most 30 seconds while another process joins with the same code; if that one has
    /// completed the join, there is a context now.
    ///
    /// # Errors
    /// Others may write to `parent`, the folder can't be created, or another process holds it ([`ContextError::Busy`]).
    pub fn begin(parent: &Path, invitation: InvitationId) -> Result<Self, ContextError> {
        let folder = parent.join("joining").join(invitation.to_string());
        for _ in 0..MAX_WAITS {
            files::create_folder(&folder)?;
            files::check_folder(parent)?;
            files::check_folder(&folder)?;
            match files::try_lock(&folder, JOIN_WAIT) {
                Ok(Some(lock)) if files::is_at(&lock, &folder.join(files::LOCK)) => {
                    return Ok(Self { folder, _lock: lock });
                }
                Ok(None) => break,
                // The process that held the lock has removed the folder.
                Ok(Some(_)) => {}
                Err(ContextError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(ContextError::Busy { path: folder })
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
        let aside = self.folder.with_extension("removed");
        files::remove_folder_at_once(&self.folder, &aside).map_err(ContextError::io("remove", &self.folder))
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

    #[test]
    fn a_join_that_waited_for_another_has_a_folder_of_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let one = InvitationId([7; 8]);
        let first = Joining::begin(parent.path(), one).unwrap();
        let (folder, (begun, waits)) = (parent.path().to_owned(), std::sync::mpsc::channel());
        let second = std::thread::spawn(move || {
            begun.send(()).unwrap();
            Joining::begin(&folder, one).unwrap()
        });
        waits.recv().unwrap();
        first.complete().unwrap();
        let second = second.join().unwrap();
        assert!(!second.key_path().exists() && second.folder.join(files::LOCK).exists());
        PartyKey::open_or_create(&second.key_path(), Uuid::nil()).unwrap();
        second.complete().unwrap();
        assert_eq!(std::fs::read_dir(parent.path().join("joining")).unwrap().count(), 0);
    }
}
