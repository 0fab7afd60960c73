//! The contexts in use: `current.toml`, with one entry for each role.

use std::path::Path;

use souk_certs::{file::Secrecy, identity::Role};
use toml::{Table, Value};
use uuid::Uuid;

use super::{ContextError, ContextName, files};

/// Reads the context that a role's program uses.
pub(super) fn read(path: &Path, role: Role) -> Result<Option<ContextName>, ContextError> {
    let named = table(path)?.get(role.as_str()).cloned();
    let Some(named) = named else { return Ok(None) };
    let name = named.as_str().ok_or_else(|| ContextError::malformed(path, "a name is a text in quotes"))?;
    name.parse().map(Some).map_err(|error| ContextError::malformed(path, error))
}

/// Sets or removes the context that a role's program uses. The entries of other roles stay. The caller holds the lock of
/// the folder. `unique` is a new id.
pub(super) fn write(
    path: &Path,
    role: Role,
    name: Option<&ContextName>,
    unique: Uuid,
) -> Result<(), ContextError> {
    let mut table = table(path)?;
    match name {
        Some(name) => table.insert(role.to_string(), Value::String(name.to_string())),
        None => table.remove(role.as_str()),
    };
    files::replace(path, table.to_string().as_bytes(), Secrecy::Public, unique)
}

fn table(path: &Path) -> Result<Table, ContextError> {
    let text = files::read_text(path)?.unwrap_or_default();
    text.parse().map_err(|error: toml::de::Error| ContextError::malformed(path, error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_an_entry_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("current.toml");
        let (alice, bob): (ContextName, ContextName) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        assert_eq!(read(&path, Role::Seller).unwrap(), None);
        write(&path, Role::Seller, Some(&alice), Uuid::nil()).unwrap();
        write(&path, Role::Buyer, Some(&bob), Uuid::nil()).unwrap();
        assert_eq!(read(&path, Role::Seller).unwrap(), Some(alice.clone()));
        write(&path, Role::Buyer, None, Uuid::nil()).unwrap();
        assert_eq!(
            (read(&path, Role::Seller).unwrap(), read(&path, Role::Buyer).unwrap()),
            (Some(alice), None)
        );
        for wrong in ["seller = 7", "seller = \"../x\"", "seller ="] {
            std::fs::write(&path, wrong).unwrap();
            let error = read(&path, Role::Seller).unwrap_err().to_string();
            assert!(error.contains("current.toml can't be used"), "{error}");
        }
    }
}
