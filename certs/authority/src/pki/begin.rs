//! Creating a folder: moving an old authority out of the way, and generating the token-signing key.

use std::fs;
use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use souk_certs::pem;
use time::OffsetDateTime;
use time::macros::format_description;

use super::PkiError;
use super::folder;
use crate::authority::AuthorityError;

/// The file that is there while a folder is made.
pub(super) const BEGUN: &str = ".beginning";

/// Names of our files that are not recognized by their kind.
const OURS: [&str; 5] = [
    "index.json",
    super::setup::FILE,
    crate::invitation::book::FILE,
    crate::log::FILE,
    crate::trust::publish::FOLDER,
];

/// Ensures that the folder contains no files of an authority. With `force` they are moved to a subfolder
/// `replaced-TIME`, rather than deleted, since the old keys can't be recreated. Files of other kinds are left
/// alone, because the folder may be shared with other programs.
pub(super) fn make_room(dir: &Path, force: bool, now: OffsetDateTime) -> Result<(), PkiError> {
    let mut ours = Vec::new();
    for entry in fs::read_dir(dir).map_err(PkiError::io(dir))? {
        let path = entry.map_err(PkiError::io(dir))?.path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if matches!(kind, Some("pem" | "key" | "tar")) || OURS.contains(&name) {
            ours.push(path);
        }
    }
    if ours.is_empty() {
        return Ok(());
    }
    if !force {
        return Err(PkiError::Initialised { dir: dir.to_owned() });
    }
    let stamp = now
        .format(format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:6]Z"))
        .unwrap_or_else(|_| now.unix_timestamp_nanos().to_string());
    let replaced = dir.join(format!("replaced-{stamp}"));
    folder::create(&replaced)?;
    for path in ours {
        folder::keep_as(&path, &replaced.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Generates an Ed25519 key in PKCS#8 PEM, in version 1 of the format (RFC 5208). Some readers reject version
/// 2, which includes the public key.
pub(super) fn token_key() -> Result<String, PkiError> {
    let key =
        Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1()).map_err(|_| AuthorityError::Random)?;
    Ok(pem::encode("PRIVATE KEY", key.as_ref()))
}
