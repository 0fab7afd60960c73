//! The folder that `gen-certs` keeps, by default `certs/pki/`: the authority, everything that it signed, and
//! an index of it.
//!
//! | file | what |
//! |---|---|
//! | `ca.pem`, `ca.key` | the root; every party needs `ca.pem`, nobody else may have `ca.key` |
//! | `ca.old.pem`, `ca.old.key` | the former root, while a change of root is under way; then `ca.pem` holds both |
//! | `crl.pem` | the revocation list, there from the start; one of each root during a change |
//! | `market.pem`, `market.key` | the market |
//! | `token.key` | Ed25519 key (PKCS#8 PEM) with which the market signs tokens |
//! | `token.previous.key` | the one before it, after a rotation |
//! | `NAME.pem`, `NAME.key` | one party each |
//! | `NAME.old.pem`, `NAME.old.key` | what the last renewal replaced, for going back |
//! | `index.json` | which certificates were signed, and which are revoked |
//!
//! Keys have mode 0600 from their first byte, the folder 0700. Files are replaced whole. One process at a
//! time changes the folder. A certificate is in the index before it is in a file, so that none escapes
//! revocation.
//!
//! ```
//! use souk_certs::credentials::Credentials;
//! use souk_certs::identity::Role;
//! use crate::pki::{InitOptions, IssueOptions, Pki};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let now = souk_certs::clock::now();
//! let mut pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), now)?;
//! let alice = pki.issue("alice", Role::Seller, &IssueOptions::default(), now)?;
//! let credentials = Credentials::load(&alice.files(), pki.trust_domain(), now)?;
//! assert_eq!(credentials.identity().identity(), alice.identity);
//! # Ok(())
//! # }
//! ```

mod begin;
mod bundle;
mod change;
mod error;
mod folder;
mod index;
mod party;
mod roots;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use souk_certs::identity::TrustDomain;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::authority::{Authority, LEAF_VALIDITY};
use folder::Secrecy;
use index::{Index, Record};

pub use error::PkiError;
pub use party::{Party, PartyName, PartyNameError, Status};

/// The name of the market's files.
pub const MARKET: &str = "market";

/// What `init` may be told.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// DNS names of the market besides its own, for foreign clients.
    pub dns: Vec<String>,
    /// IP addresses of the market, likewise.
    pub ip: Vec<IpAddr>,
    /// Start anew although there is an authority already. What was there is moved to a subfolder
    /// `replaced-TIME`.
    pub force: bool,
}

/// What issuing a certificate may be told.
#[derive(Clone, Debug)]
pub struct IssueOptions {
    /// The party's UUID; a random one when absent.
    pub uuid: Option<Uuid>,
    /// From now to the certificate's end.
    pub validity: Duration,
    /// Replace a party of the same name. Its files are kept as `NAME.old.pem` and `NAME.old.key`; if it was
    /// another identity, its certificates are revoked.
    pub force: bool,
}

impl Default for IssueOptions {
    fn default() -> Self {
        IssueOptions { uuid: None, validity: LEAF_VALIDITY, force: false }
    }
}

/// An open folder. It holds the authority's key in memory.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    authority: Authority,
    /// The former root, during a change.
    retiring: Option<Authority>,
    index: Index,
}

impl Pki {
    /// Makes the folder: the authority, an empty revocation list, the market's certificate and its
    /// token-signing key.
    ///
    /// # Errors
    /// [`PkiError::Initialised`] when there is an authority already and `force` is not set; otherwise when a
    /// file can't be written or a name is bad.
    pub fn init(dir: &Path, options: &InitOptions, now: OffsetDateTime) -> Result<Self, PkiError> {
        folder::create(dir)?;
        let lock = folder::lock(dir)?;
        begin::make_room(dir, options.force, now)?;
        let authority = Authority::create(&options.trust_domain, now)?;
        let index = Index::new(options.trust_domain.clone());
        let mut pki = Pki { dir: dir.to_owned(), authority, retiring: None, index };
        folder::write(&pki.path("token.key"), begin::token_key()?.as_bytes(), Secrecy::Secret)?;
        folder::write(&pki.path("ca.key"), pki.authority.key_pem().as_bytes(), Secrecy::Secret)?;
        folder::write(&pki.path("ca.pem"), pki.authority.certificate_pem().as_bytes(), Secrecy::Public)?;
        pki.write_crl(now)?;
        pki.issue_market(options, now)?;
        drop(lock);
        Ok(pki)
    }

    /// Opens a folder that [`Pki::init`] made.
    ///
    /// # Errors
    /// [`PkiError::NotInitialised`] when there is none, otherwise when a file can't be read or is damaged.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        if !dir.join("ca.pem").exists() {
            return Err(PkiError::NotInitialised { dir: dir.to_owned() });
        }
        let index = Index::parse(&folder::read(&dir.join("index.json"))?)?;
        let load = |certificate: &str, key: &str| {
            let (certificate, key) = (folder::read(&dir.join(certificate))?, folder::read(&dir.join(key))?);
            Ok::<_, PkiError>(Authority::load(&index.trust_domain, &certificate, &key)?)
        };
        let authority = load("ca.pem", "ca.key")?;
        let (cert, key) = roots::RETIRING;
        let retiring = if dir.join(cert).exists() { Some(load(cert, key)?) } else { None };
        Ok(Pki { dir: dir.to_owned(), authority, retiring, index })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The trust domain of all identities.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        self.authority.trust_domain()
    }

    /// The number of the newest revocation list.
    #[must_use]
    pub fn crl_number(&self) -> u64 {
        self.index.crl_number
    }

    /// The market's key for signing tokens.
    #[must_use]
    pub fn token_key_path(&self) -> PathBuf {
        self.path("token.key")
    }

    /// The key that signed tokens before the present one; there is one after
    /// [`Pki::rotate_token_key`].
    #[must_use]
    pub fn previous_token_key_path(&self) -> PathBuf {
        self.path("token.previous.key")
    }

    /// Every party, by its newest certificate, in the order in which they came.
    #[must_use]
    pub fn parties(&self) -> Vec<Party> {
        self.index.parties().into_iter().map(|record| self.party(record)).collect()
    }

    /// The party of that name.
    ///
    /// # Errors
    /// [`PkiError::UnknownParty`] when there is none.
    pub fn find(&self, name: &str) -> Result<Party, PkiError> {
        self.record(name).map(|record| self.party(record))
    }

    /// The market.
    ///
    /// # Errors
    /// [`PkiError::UnknownParty`] when the index doesn't name it.
    pub fn market(&self) -> Result<Party, PkiError> {
        self.find(MARKET)
    }

    fn record(&self, name: &str) -> Result<&Record, PkiError> {
        let unknown = || PkiError::UnknownParty { name: name.escape_default().to_string() };
        let name: PartyName = name.parse().map_err(|_| unknown())?;
        self.index.current(&name).ok_or_else(unknown)
    }

    fn party(&self, record: &Record) -> Party {
        Party {
            name: record.name.clone(),
            identity: record.identity(),
            serial: record.serial.clone(),
            not_before: record.not_before,
            not_after: record.not_after,
            revoked: record.revoked,
            cert: self.path(&format!("{}.pem", record.name)),
            key: (!record.key_elsewhere).then(|| self.path(&format!("{}.key", record.name))),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }
}
