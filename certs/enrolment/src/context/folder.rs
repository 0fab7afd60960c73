//! The folder of a user's contexts.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use souk_certs::identity::Role;
use uuid::Uuid;

use super::{Context, ContextError, ContextName, Description, Joining, current, files};
use crate::code::InvitationId;

/// The folder of a user's contexts, `~/.config/souk`. Creating the value reads nothing.
#[derive(Clone, Debug)]
pub struct ContextFolder {
    root: PathBuf,
}

/// A context in a list.
#[derive(Debug)]
pub struct Listed {
    /// The context's name.
    pub name: ContextName,
    /// Its folder.
    pub context: Context,
    /// What it is for, or why that can't be read.
    pub description: Result<Description, ContextError>,
}

impl ContextFolder {
    /// Returns the folder at a path.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the folder of the user who runs this program: `$XDG_CONFIG_HOME/souk`, or `~/.config/souk` (XDG Base Directory
    /// Specification). `None` without a home directory.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        // The specification requires relative paths to be ignored; an empty variable counts as unset.
        let set = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        // Without HOME, as under some service managers, the one of the user database.
        let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".config"));
        set.or_else(home).map(|folder| Self::at(folder.join("souk")))
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Lists the contexts of all roles by name, also those that can't be read.
    ///
    /// # Errors
    /// Others may write to the folder, or it can't be read.
    pub fn list(&self) -> Result<Vec<Listed>, ContextError> {
        self.check()?;
        let folder = self.contexts();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ContextError::io("read", &folder)(error)),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ContextError::io("read", &folder))?;
            // Folders that are being removed have a name with a dot.
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let context = Context::at(entry.path());
            match context.description() {
                // A join was interrupted before it wrote anything.
                Ok(None) => {}
                Ok(Some(description)) => listed.push(Listed { name, context, description: Ok(description) }),
                Err(error) => listed.push(Listed { name, context, description: Err(error) }),
            }
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// Returns a context of a role, by its name.
    ///
    /// # Errors
    /// There is no such context of this role ([`ContextError::NoSuch`]), others may write to the folder, or the
    /// description can't be read.
    pub fn find(&self, role: Role, name: &ContextName) -> Result<(Context, Description), ContextError> {
        self.check()?;
        let context = self.context(name);
        match context.description()? {
            Some(description) if description.role() == role => Ok((context, description)),
            _ => Err(ContextError::NoSuch { name: name.to_string() }),
        }
    }

    /// Returns the context of an invitation, if one was begun; its name first.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn of_invitation(&self, invitation: InvitationId) -> Result<Option<Listed>, ContextError> {
        let is_of =
            |listed: &Listed| listed.description.as_ref().is_ok_and(|found| found.invitation == invitation);
        Ok(self.list()?.into_iter().find(is_of))
    }

    /// Returns the name of the context that a role's program uses; `None` if none was chosen.
    ///
    /// # Errors
    /// Others may write to the folder, or `current.toml` can't be read.
    pub fn current(&self, role: Role) -> Result<Option<ContextName>, ContextError> {
        let path = self.current_path();
        if !path.exists() {
            // The folder may be older than contexts, with a settings file only.
            return Ok(None);
        }
        self.check()?;
        current::read(&path, role)
    }

    /// Chooses the context that a role's program uses, or none. `unique` is a new id, for the name of a temporary file.
    ///
    /// # Errors
    /// Others may write to the folder, or `current.toml` can't be written.
    pub fn make_current(
        &self,
        role: Role,
        name: Option<&ContextName>,
        unique: Uuid,
    ) -> Result<(), ContextError> {
        self.prepare()?;
        let _lock = files::lock(&self.root)?;
        current::write(&self.current_path(), role, name, unique)
    }

    /// Returns where the key of a join is kept until it is complete.
    ///
    /// # Errors
    /// As [`Joining::begin`].
    pub fn joining(&self, invitation: InvitationId) -> Result<Joining, ContextError> {
        self.prepare()?;
        Joining::begin(&self.root, invitation)
    }

    /// Removes a context with its key and certificate. A program that uses it at the moment goes on with what it has
    /// read. If it was the current one, its role has none then. `unique` is a new id.
    ///
    /// # Errors
    /// There is no such context of this role ([`ContextError::NoSuch`]), another process is changing it, or it can't be
    /// removed.
    pub fn remove(&self, role: Role, name: &ContextName, unique: Uuid) -> Result<(), ContextError> {
        let listed = self.list()?.into_iter().find(|listed| listed.name == *name);
        // One that can't be read is of no role, and must be removable.
        let is_of_another =
            |listed: &Listed| listed.description.as_ref().is_ok_and(|found| found.role() != role);
        let context = match listed {
            Some(listed) if !is_of_another(&listed) => listed.context,
            _ => return Err(ContextError::NoSuch { name: name.to_string() }),
        };
        let locked = context.lock()?;
        if self.current(role)?.as_ref() == Some(name) {
            self.make_current(role, None, unique)?;
        }
        let aside = self.contexts().join(format!(".{name}.removed"));
        files::remove_folder_at_once(context.folder(), &aside)
            .map_err(ContextError::io("remove", context.folder()))?;
        drop(locked);
        Ok(())
    }

    /// Returns the folder of a context, which may not exist.
    pub(super) fn context(&self, name: &ContextName) -> Context {
        Context::at(self.contexts().join(name.as_str()))
    }

    pub(super) fn contexts(&self) -> PathBuf {
        self.root.join("contexts")
    }

    fn current_path(&self) -> PathBuf {
        self.root.join("current.toml")
    }

    pub(super) fn check(&self) -> Result<(), ContextError> {
        files::check_folder(&self.root)?;
        files::check_folder(&self.contexts())
    }

    pub(super) fn prepare(&self) -> Result<(), ContextError> {
        files::create_folder(&self.root)?;
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use uuid::Uuid;

    use super::*;
    use crate::context::fixture::{complete, described, folder, name};

    #[test]
    fn contexts_are_found_by_role_name_and_invitation() {
        let (_home, folder) = folder();
        assert!(folder.list().unwrap().is_empty());
        folder.begin(&name("bob"), &described(Role::Buyer, 2, 2), Uuid::nil()).unwrap();
        folder.begin(&name("alice"), &described(Role::Seller, 1, 1), Uuid::nil()).unwrap();
        let names: Vec<_> =
            folder.list().unwrap().into_iter().map(|listed| listed.name.to_string()).collect();
        assert_eq!(names, ["alice", "bob"]);
        assert!(folder.find(Role::Seller, &name("alice")).is_ok());
        for (role, other) in [(Role::Seller, "bob"), (Role::Buyer, "alice"), (Role::Seller, "carol")] {
            let error = folder.find(role, &name(other)).unwrap_err();
            assert!(matches!(error, ContextError::NoSuch { .. }), "{error}");
        }
        assert_eq!(folder.of_invitation(InvitationId([2; 8])).unwrap().unwrap().name, name("bob"));
        assert!(folder.of_invitation(InvitationId([3; 8])).unwrap().is_none());
    }

    #[test]
    fn a_removed_context_is_gone_and_no_longer_current() {
        let (_home, folder) = folder();
        let (alice, bob) = (name("alice"), name("bob"));
        complete(&folder.begin(&alice, &described(Role::Seller, 1, 1), Uuid::nil()).unwrap(), "alice");
        complete(&folder.begin(&bob, &described(Role::Buyer, 2, 2), Uuid::nil()).unwrap(), "bob");
        folder.make_current(Role::Seller, Some(&alice), Uuid::nil()).unwrap();
        folder.make_current(Role::Buyer, Some(&bob), Uuid::nil()).unwrap();
        assert!(matches!(folder.remove(Role::Seller, &bob, Uuid::nil()), Err(ContextError::NoSuch { .. })));
        folder.remove(Role::Seller, &alice, Uuid::nil()).unwrap();
        assert_eq!(
            (folder.current(Role::Seller).unwrap(), folder.current(Role::Buyer).unwrap()),
            (None, Some(bob))
        );
        assert_eq!(folder.list().unwrap().len(), 1);
        assert_eq!(fs::read_dir(folder.path().join("contexts")).unwrap().count(), 1);
    }

    #[test]
    fn a_context_that_can_not_be_read_is_listed_and_removable() {
        let (_home, folder) = folder();
        let broken = name("broken");
        let locked = folder.begin(&broken, &described(Role::Seller, 1, 1), Uuid::nil()).unwrap();
        fs::write(locked.context().folder().join("context.toml"), "role = ").unwrap();
        drop(locked);
        assert!(folder.list().unwrap()[0].description.is_err());
        folder.remove(Role::Buyer, &broken, Uuid::nil()).unwrap();
        assert!(folder.list().unwrap().is_empty());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let (_home, folder) = folder();
        folder.begin(&name("alice"), &described(Role::Seller, 1, 1), Uuid::nil()).unwrap();
        folder.make_current(Role::Seller, Some(&name("alice")), Uuid::nil()).unwrap();
        for exposed in [folder.path().to_owned(), folder.contexts()] {
            let private = fs::metadata(&exposed).unwrap().permissions();
            fs::set_permissions(&exposed, fs::Permissions::from_mode(0o722)).unwrap();
            assert!(matches!(folder.list(), Err(ContextError::Exposed { .. })));
            assert!(folder.current(Role::Seller).is_err());
            assert!(matches!(folder.joining(InvitationId([1; 8])), Err(ContextError::Exposed { .. })));
            fs::set_permissions(&exposed, private).unwrap();
        }
    }
}
