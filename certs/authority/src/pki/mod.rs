//! The folder that `gen-certs` manages, by default `certs/pki/`: the authority, the certificates it has
//! signed, and an index of them.
//!
//! | file | contents |
//! |---|---|
//! | `ca.pem`, `ca.key` | the root; every party needs `ca.pem`, while `ca.key` must never leave this machine |
//! | `ca.old.pem`, `ca.old.key` | the retiring root during a change of root, when `ca.pem` contains both roots |
//! | `crl.pem` | the revocation list, which exists from the start; during a change of root, one per root |
//! | `market.pem`, `market.key` | the market's certificate and key |
//! | `token.key` | Ed25519 key (PKCS#8 PEM) with which the market signs tokens |
//! | `token.previous.key` | the previous token key, after a rotation |
//! | `NAME.pem`, `NAME.key` | a party's certificate and key |
//! | `NAME.old.pem`, `NAME.old.key` | the certificate and key that the last renewal replaced, as a fallback |
//! | `index.json` | the certificates that were signed, and which of them are revoked |
//!
//! Where an enrolment service is set up ([`Pki::set_up`]), also:
//!
//! | file | contents |
//! |---|---|
//! | `authority.toml` | where the service is reached, and the markets |
//! | `authority.pem`, `authority.key` | the service's certificate, followed by the root, and its key |
//! | `invitations.json` | the invitations, with the hash of each secret |
//! | `ca.retired.pem`, `crl.retired.pem` | roots that were retired, whose parties may still renew, and their last lists |
//! | `trust/` | signed bundles of roots and revocation lists |
//! | `audit.ndjson` | what happened |
//!
//! Key files are created with mode 0600 and the folder with 0700, so there is no moment at which others can
//! read them. Files are replaced atomically, and a lock admits one changing process at a time. A certificate
//! is recorded in the index before its file is written: if the process is killed in between, the index may
//! list a certificate that nobody has, but no certificate exists that can't be revoked.
//!
//! ```
//! use souk_certs::credentials::Credentials;
//! use souk_certs::identity::Role;
//! use souk_authority::pki::{InitOptions, IssueOptions, Pki};
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
mod enrol;
mod error;
mod folder;
mod index;
mod invite;
mod party;
mod roots;
mod setup;
mod trust;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use souk_certs::identity::TrustDomain;
use souk_certs::random::Random;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::authority::{Authority, LEAF_VALIDITY};
use folder::Secrecy;
use index::{Index, Record};

pub use enrol::{Enrolled, NotRenewed};
pub use error::PkiError;
pub use party::{Party, PartyName, PartyNameError, Status};
pub(crate) use roots::RETIRED_ROOTS;
pub use setup::{MAX_MARKETS, PORT, Setup};

/// The party name reserved for the market; its files are `market.pem` and `market.key`.
pub const MARKET: &str = "market";

/// The party name reserved for the enrolment service.
pub const AUTHORITY: &str = "authority";

/// Options of [`Pki::init`]. By default, the market has no additional names, and an existing authority
/// stays.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// The trust domain of all identities in the folder.
    pub trust_domain: TrustDomain,
    /// Additional DNS names of the market, for clients that verify it by host name.
    pub dns: Vec<String>,
    /// IP addresses of the market, for clients that verify it by address.
    pub ip: Vec<IpAddr>,
    /// Replace an existing authority. Its files are moved to a subfolder `replaced-TIME`.
    pub force: bool,
    /// Leave out the market's certificate and the token key, because markets join by invitation.
    pub without_market: bool,
    /// The source of serial numbers, UUIDs and names of temporary files, as of [`Pki::open_with`].
    pub random: Random,
}

/// Options of [`Pki::issue`] and [`Pki::sign_csr`].
#[derive(Clone, Debug)]
pub struct IssueOptions {
    /// The party's UUID. `None` means a random one or, with [`Pki::sign_csr`], that of the party with the
    /// same name and role.
    pub uuid: Option<Uuid>,
    /// Time from `now` to the end of the certificate's validity.
    pub validity: Duration,
    /// Replace a party of the same name. Its files are kept as `NAME.old.pem` and `NAME.old.key`. If its
    /// identity differs from the new one, its certificates are revoked.
    pub force: bool,
}

impl Default for IssueOptions {
    fn default() -> Self {
        IssueOptions { uuid: None, validity: LEAF_VALIDITY, force: false }
    }
}

/// An open folder. It keeps the authority's private key in memory.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    authority: Authority,
    /// The retiring root, during a change of root.
    retiring: Option<Authority>,
    index: Index,
    setup: Option<Setup>,
    random: Random,
}

impl Pki {
    /// Creates the folder with an authority and an empty revocation list, and unless `options` says otherwise the market's
    /// certificate and its token-signing key.
    ///
    /// # Errors
    /// Returns [`PkiError::Initialised`] if the folder already contains an authority and `force` is not set,
    /// and other variants if a file can't be written or a name is malformed.
    pub fn init(dir: &Path, options: &InitOptions, now: OffsetDateTime) -> Result<Self, PkiError> {
        folder::create(dir)?;
        let lock = folder::lock(dir)?;
        // An interrupted beginning is moved out of the way like a whole authority: nothing was signed with its key.
        let begun = dir.join(begin::BEGUN);
        begin::make_room(dir, options.force || begun.exists(), now)?;
        folder::write(&begun, b"", Secrecy::Public, options.random.uuid_v4())?;
        let random = options.random;
        let authority = Authority::create(&options.trust_domain, now, random)?;
        let index = Index::new(options.trust_domain.clone());
        let mut pki = Pki { dir: dir.to_owned(), authority, retiring: None, index, setup: None, random };
        if !options.without_market {
            pki.write(&pki.path("token.key"), begin::token_key()?.as_bytes(), Secrecy::Secret)?;
        }
        pki.write(&pki.path("ca.key"), pki.authority.key_pem().as_bytes(), Secrecy::Secret)?;
        pki.write(&pki.path("ca.pem"), pki.authority.certificate_pem().as_bytes(), Secrecy::Public)?;
        pki.write_crl(now)?;
        if !options.without_market {
            pki.issue_market(options, now)?;
        }
        folder::remove(&begun)?;
        drop(lock);
        Ok(pki)
    }

    /// Opens a folder created by [`Pki::init`].
    ///
    /// # Errors
    /// Returns [`PkiError::NotInitialised`] if the folder contains no authority, and other variants if a file
    /// can't be read or is damaged.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        Self::open_with(dir, Random::SYSTEM)
    }

    /// Like [`open`](Self::open), with another source of serial numbers, UUIDs and names of temporary files.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(dir: &Path, random: Random) -> Result<Self, PkiError> {
        if !dir.join("ca.pem").exists() || dir.join(begin::BEGUN).exists() {
            return Err(PkiError::NotInitialised { dir: dir.to_owned() });
        }
        let index = Index::parse(&folder::read(&dir.join("index.json"))?)?;
        let load = |certificate: &str, key: &str| {
            let (certificate, key) = (folder::read(&dir.join(certificate))?, folder::read(&dir.join(key))?);
            Ok::<_, PkiError>(Authority::load(&index.trust_domain, &certificate, &key, random)?)
        };
        let (cert, key) = roots::RETIRING;
        let retiring = if dir.join(cert).exists() { Some(load(cert, key)?) } else { None };
        let signing = CertificateDer::from_pem_slice(folder::read(&dir.join("ca.pem"))?.as_bytes());
        let (authority, retiring) = match retiring {
            // A change of root that was interrupted before the new root was in place. It begins again.
            Some(root) if signing.is_ok_and(|signing| signing == *root.certificate()) => (root, None),
            retiring => (load("ca.pem", "ca.key")?, retiring),
        };
        let setup = Setup::read(dir)?;
        Ok(Pki { dir: dir.to_owned(), authority, retiring, index, setup, random })
    }

    /// Sets up the enrolment service, or changes where it and the markets are: issues the service's certificate unless there
    /// is one, and publishes a trust bundle.
    ///
    /// # Errors
    /// Returns [`PkiError::NameTaken`] if a party is called `authority`, [`PkiError::Setup`] if `setup` exceeds its bounds,
    /// and other variants if signing or writing a file fails.
    pub fn set_up(&mut self, setup: &Setup, now: OffsetDateTime) -> Result<(), PkiError> {
        self.change(|pki| {
            if pki.find(AUTHORITY).is_err() {
                pki.issue_authority(now)?;
            }
            setup.write(pki)?;
            pki.setup = Some(setup.clone());
            pki.publish_changes(now)
        })
    }

    /// Returns how the enrolment service is set up; `None` if there is none.
    #[must_use]
    pub fn setup(&self) -> Option<&Setup> {
        self.setup.as_ref()
    }

    /// Returns the certificate of the root that signs.
    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        self.authority.certificate()
    }

    /// Returns the source of random values of this folder.
    pub(crate) fn random(&self) -> Random {
        self.random
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the trust domain of all identities in the folder.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        self.authority.trust_domain()
    }

    /// Returns the number of the newest revocation list.
    #[must_use]
    pub fn crl_number(&self) -> u64 {
        self.index.crl_number
    }

    /// Returns the path of the key with which the market signs tokens.
    #[must_use]
    pub fn token_key_path(&self) -> PathBuf {
        self.path("token.key")
    }

    /// Returns the path of the previous token-signing key. The file exists after [`Pki::rotate_token_key`].
    #[must_use]
    pub fn previous_token_key_path(&self) -> PathBuf {
        self.path("token.previous.key")
    }

    /// Returns every party with its newest certificate, in the order in which the parties were added.
    #[must_use]
    pub fn parties(&self) -> Vec<Party> {
        self.index.parties().into_iter().map(|record| self.party(record)).collect()
    }

    /// Returns every certificate, the oldest first.
    #[must_use]
    pub fn certificates(&self) -> Vec<Party> {
        self.index.certificates.iter().map(|record| self.party(record)).collect()
    }

    /// Returns the party with that name.
    ///
    /// # Errors
    /// Returns [`PkiError::UnknownParty`] if there is none.
    pub fn find(&self, name: &str) -> Result<Party, PkiError> {
        self.named(name).map(|record| self.party(record))
    }

    /// Returns the market as a party.
    ///
    /// # Errors
    /// Returns [`PkiError::UnknownParty`] if the index doesn't contain it.
    pub fn market(&self) -> Result<Party, PkiError> {
        self.find(MARKET)
    }

    fn named(&self, name: &str) -> Result<&Record, PkiError> {
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
