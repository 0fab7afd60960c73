//! Paths of the market's certificates and keys: those of a context, or single files.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use souk_certs::{
    credentials::{CredentialFiles, StaleLists},
    identity::{Role, TrustDomain},
};
use souk_enrolment::context::Context;
use souk_settings::expanded;

use super::ConfigError;

/// The file name of the key that signs tokens.
const TOKEN_KEY: &str = "token.key";

/// Paths of the market's certificates and keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Folder that `market join` has written. With it, the files in `cert`, `key`, `ca` and `crl` are not used.
    pub context: Option<PathBuf>,
    /// Path of the market's certificate.
    pub cert: PathBuf,
    /// Path of its private key. `None` means the certificate's path with the extension `key`.
    pub key: Option<PathBuf>,
    /// Path of the authority's certificate. `None` means `ca.pem` in the certificate's folder.
    pub ca: Option<PathBuf>,
    /// Path of the revocation list. `None` means `crl.pem` in the certificate's folder.
    pub crl: Option<PathBuf>,
    /// Path of the token-signing key. `None` means `token.key` in the certificate's folder.
    pub token_key: Option<PathBuf>,
    /// Whether a revocation list past its `nextUpdate` is rejected, and with it all connections.
    pub strict_crl: bool,
    /// The part of every SPIFFE ID between `spiffe://` and the role.
    pub trust_domain: TrustDomain,
}

impl TlsConfig {
    /// Returns the paths of the market's certificate, key, authority and revocation list.
    pub fn files(&self) -> CredentialFiles {
        if let Some(context) = &self.context {
            return Context::at(context).credential_files();
        }
        let crl = self.crl.clone().unwrap_or_else(|| self.cert.with_file_name("crl.pem"));
        CredentialFiles {
            cert: self.cert.clone(),
            key: self.key.clone(),
            ca: self.ca.clone(),
            // Always named explicitly, which makes it mandatory: a market without a CRL must not start.
            crl: Some(crl),
        }
    }

    /// Uses the certificate that `market join` has put into a folder, in place of the files in `cert` and the settings after
    /// it, and the trust domain of that certificate. Reads the folder's description.
    ///
    /// # Errors
    /// There is no context in the folder, it is incomplete, it is not a market's, or it can't be read.
    pub fn use_context(&mut self, folder: &Path) -> Result<(), ConfigError> {
        let unusable = |problem: String| ConfigError::Context { folder: folder.to_owned(), problem };
        let folder = &expanded(folder);
        let context = Context::at(folder);
        let description = context.description().map_err(|error| unusable(error.to_string()))?;
        let description = description.filter(|_| context.is_complete());
        let description =
            description.ok_or_else(|| unusable("run: market join CODE --dir here".to_owned()))?;
        if description.role() != Role::Market {
            return Err(unusable(format!("it is the context of a {}", description.role())));
        }
        self.trust_domain = description.trust_domain;
        self.context = Some(folder.to_owned());
        Ok(())
    }

    /// Returns the paths of the token keys.
    pub fn token_key_files(&self) -> TokenKeyFiles {
        let beside = match &self.context {
            // Not beside the certificate, whose folder is replaced with each renewal.
            Some(context) => context.join(TOKEN_KEY),
            None => self.cert.with_file_name(TOKEN_KEY),
        };
        let is_own = self.context.is_some() && self.token_key.is_none();
        let current = self.token_key.clone().unwrap_or(beside);
        TokenKeyFiles { is_own, previous: current.with_extension("previous.key"), current }
    }

    /// Returns what to do with a revocation list past its `nextUpdate`.
    pub fn stale_lists(&self) -> StaleLists {
        if self.strict_crl { StaleLists::Refuse } else { StaleLists::Warn }
    }
}

/// The paths of the token keys.
#[derive(Clone, Debug)]
pub struct TokenKeyFiles {
    /// Whether the market makes and replaces the key itself, because it is in the folder that `market join` made. Otherwise
    /// it is `gen-certs` that does.
    pub is_own: bool,
    /// The key that signs new tokens.
    pub current: PathBuf,
    /// The previous key, whose tokens are accepted until they expire. The file is optional.
    pub previous: PathBuf,
}

impl TokenKeyFiles {
    /// Returns the path of the key that is to follow, while its market publishes it.
    pub fn next(&self) -> PathBuf {
        self.current.with_extension("next.key")
    }

    /// Returns the paths of the keys in use, to be watched for changes.
    pub fn paths(&self) -> [PathBuf; 2] {
        [self.current.clone(), self.previous.clone()]
    }
}
