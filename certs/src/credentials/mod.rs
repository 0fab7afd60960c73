//! One party's certificate, key, roots and revocation lists, read and validated together. A mistake is thus
//! reported with its file when a program starts, and not as a failed handshake later.

mod error;
mod files;
mod lists;
mod renewable;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use time::OffsetDateTime;

use crate::identity::{Identity, PeerCertificate, TrustDomain};
use crate::tls::provider;
use crate::verifier::LeafOnly;

pub use error::{CredentialError, FileRole};
use files::Roots;
pub use files::{CredentialFiles, MAX_DER_BYTES, MAX_FILE_BYTES};
pub use lists::ListInfo;
use lists::read_lists;
use renewable::Demand;
pub(crate) use renewable::within_grace;
pub use renewable::{RENEWAL_GRACE, RetiredRoot};

/// Validated credentials: when they were loaded, the key matched the certificate, which was signed by a root,
/// within its validity, not revoked, and named a party of the trust domain.
pub struct Credentials {
    domain: TrustDomain,
    leaf: PeerCertificate,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    root_certificates: Arc<[CertificateDer<'static>]>,
    roots_ends: Vec<OffsetDateTime>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    lists: Vec<ListInfo>,
    revoked: Arc<HashSet<Vec<u8>>>,
    stale_lists: StaleLists,
    warnings: Vec<String>,
}

/// What to do with a revocation list that is past its `nextUpdate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleLists {
    /// Log a warning and continue to use it. What it revokes stays revoked, and a market does not become
    /// unavailable to everyone because nobody ran `gen-certs.sh crl`.
    #[default]
    Warn,
    /// Reject it, and with it every certificate that no other list covers.
    Refuse,
}

/// When credentials expire. Of several roots or lists, the earliest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiries {
    /// `notAfter` of the party's own certificate.
    pub certificate: OffsetDateTime,
    /// The earliest `notAfter` among the root certificates.
    pub authority: OffsetDateTime,
    /// The earliest `nextUpdate` among the revocation lists. `None` without a list that has one.
    pub revocation_list: Option<OffsetDateTime>,
}

impl Expiries {
    /// Returns the earliest of the three times.
    #[must_use]
    pub fn soonest(&self) -> OffsetDateTime {
        let first = self.certificate.min(self.authority);
        self.revocation_list.map_or(first, |list| list.min(first))
    }
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It has to.
    Required,
    /// It may connect without one.
    Optional,
}

impl Credentials {
    /// Reads and validates the files. Blocks on file I/O; the files are small.
    ///
    /// A private key that other users can read, an expired root among others and a CRL past its `nextUpdate`
    /// are logged as warnings, and returned by [`Credentials::warnings`]. The CRL is optional except for the
    /// market, which must be able to reject revoked certificates.
    ///
    /// # Errors
    /// Returns the mistake as a variant of [`CredentialError`], with the path and what to do.
    pub fn load(
        files: &CredentialFiles,
        domain: &TrustDomain,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        Self::load_with(files, domain, StaleLists::default(), now)
    }

    /// Like [`Credentials::load`], with a choice of what to do with stale revocation lists.
    ///
    /// # Errors
    /// Returns the errors of [`Credentials::load`], and [`CredentialError::StaleCrl`] with
    /// [`StaleLists::Refuse`].
    pub fn load_with(
        files: &CredentialFiles,
        domain: &TrustDomain,
        stale_lists: StaleLists,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        Self::read(files, domain, stale_lists, Demand::Valid, now)
    }

    /// Like [`Credentials::load`], but a certificate that ended at most [`RENEWAL_GRACE`] ago is judged as of its last
    /// second, and its root may have been retired. Only the authority accepts it, and only to renew it.
    ///
    /// # Errors
    /// Returns the errors of [`Credentials::load`].
    pub fn load_for_renewal(
        files: &CredentialFiles,
        domain: &TrustDomain,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        Self::read(files, domain, StaleLists::default(), Demand::Renewable, now)
    }

    /// Like [`Credentials::load_with`], but the root of the certificate may have been retired. A peer that knows that refuses
    /// the certificate; what these credentials refuse does not depend on it.
    ///
    /// # Errors
    /// Returns the errors of [`Credentials::load_with`].
    pub fn load_past_root(
        files: &CredentialFiles,
        domain: &TrustDomain,
        stale_lists: StaleLists,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        Self::read(files, domain, stale_lists, Demand::Unexpired, now)
    }

    fn read(
        files: &CredentialFiles,
        domain: &TrustDomain,
        stale_lists: StaleLists,
        demand: Demand,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        let files = &files.behind_link();
        let chain = files.read_chain()?;
        let leaf = PeerCertificate::from_der(&chain[0], domain)
            .map_err(|source| CredentialError::WrongIdentity { path: files.cert.clone(), source })?;
        let mut warnings = Vec::new();
        let key = files.read_key(&mut warnings)?;
        let Roots { store, certificates, ends, subjects } = files.read_roots(now, &mut warnings)?;
        let crls = files.read_crls()?;
        // Without any list rustls skips revocation altogether, so a lost file would silently readmit
        // everybody.
        if crls.is_empty() && leaf.identity() == Identity::Market {
            return Err(CredentialError::Missing { file: FileRole::Crl, path: files.crl_path() });
        }
        let (lists, revoked) = read_lists(files, &crls)?;
        // From the specific to the general: the verifier in `check_signature` would report a stale list, an
        // expired certificate or a wrong key as well, but only as one rustls error without a path.
        let mut credentials = Credentials {
            domain: domain.clone(),
            leaf,
            chain,
            key,
            roots: Arc::new(store),
            root_certificates: certificates.into(),
            roots_ends: ends,
            crls,
            lists,
            revoked: Arc::new(revoked),
            stale_lists,
            warnings,
        };
        credentials.check_lists(files, now)?;
        let at = within_grace(now, credentials.leaf.not_after(), demand.grace());
        credentials.check_validity(files, at)?;
        credentials.check_key(files)?;
        match credentials.check_signature(files, at) {
            // The authority still knows the roots that it has retired.
            Err(CredentialError::NotSignedByCa { .. }) if demand != Demand::Valid => {}
            checked => checked?,
        }
        // After the signature: of a list that is another authority's, that check says so.
        credentials.check_roots_have_lists(files, &subjects)?;
        for warning in &credentials.warnings {
            tracing::warn!("{warning}");
        }
        Ok(credentials)
    }

    /// Returns what is not right with the files although they can be used, each with what to do.
    ///
    /// They have been logged. A program that shows no log must print them.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the party's own certificate, parsed.
    #[must_use]
    pub fn identity(&self) -> &PeerCertificate {
        &self.leaf
    }

    /// Returns the trust domain against which the certificate was validated.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Returns the serial numbers on the CRLs, in the form of [`PeerCertificate::serial`]. With them, calls
    /// can be rejected on a connection that was opened before its certificate was revoked. Empty without a
    /// CRL.
    #[must_use]
    pub fn revoked_serials(&self) -> Arc<HashSet<Vec<u8>>> {
        Arc::clone(&self.revoked)
    }

    /// Returns when the certificate, the roots and the revocation lists expire.
    #[must_use]
    pub fn expiries(&self) -> Expiries {
        Expiries {
            certificate: self.leaf.not_after(),
            authority: self.roots_ends.iter().copied().min().unwrap_or(self.leaf.not_after()),
            revocation_list: self.lists.iter().filter_map(|list| list.next_update).min(),
        }
    }

    /// Returns the metadata of the revocation lists. Empty without a CRL.
    #[must_use]
    pub fn lists(&self) -> &[ListInfo] {
        &self.lists
    }

    /// Returns whether these credentials would trust a client with this leaf at `now`: signed by one of the
    /// roots, within its validity, not revoked. Builds a verifier each time, so it is not for hot paths.
    #[must_use]
    pub fn accept(&self, leaf: &CertificateDer<'_>, now: OffsetDateTime) -> bool {
        let at = unix_time(now);
        self.verifier(Presence::Required, &[])
            .is_ok_and(|verifier| verifier.verify_client_cert(leaf, &[], at).is_ok())
    }

    /// Builds the verifier for client certificates, which also accepts those of `retired` roots. The verifier for server
    /// certificates is configured alike, in [`client_config`](crate::client::client_config).
    pub(crate) fn verifier(
        &self,
        presence: Presence,
        retired: &[RetiredRoot],
    ) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
        let of_retired = || retired.iter().map(|root| root.certificate.clone());
        let (mut roots, mut certificates) = (self.roots(), self.root_certificates());
        if !retired.is_empty() {
            Arc::make_mut(&mut roots).add_parsable_certificates(of_retired());
            certificates = certificates.iter().cloned().chain(of_retired()).collect();
        }
        let lists = self.crls.iter().chain(retired.iter().map(|root| &root.list));
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(roots, provider()).with_crls(lists.cloned());
        if presence == Presence::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = match self.stale_lists {
            // The default of rustls ignores `nextUpdate`.
            StaleLists::Warn => builder.build()?,
            StaleLists::Refuse => builder.enforce_revocation_expiration().build()?,
        };
        Ok(Arc::new(LeafOnly::new(verifier, certificates)))
    }

    pub(crate) fn stale_lists(&self) -> StaleLists {
        self.stale_lists
    }

    fn check_lists(&mut self, files: &CredentialFiles, now: OffsetDateTime) -> Result<(), CredentialError> {
        let is_stale = |list: &ListInfo| list.next_update.is_some_and(|next| next < now);
        if !self.lists.iter().any(is_stale) {
            return Ok(());
        }
        let path = files.crl_path();
        match self.stale_lists {
            StaleLists::Refuse => Err(CredentialError::StaleCrl { path }),
            StaleLists::Warn => {
                self.warnings.push(format!(
                    "the revocation list {} is out of date; refresh it with gen-certs.sh crl and copy it here",
                    path.display()
                ));
                Ok(())
            }
        }
    }

    /// Checks that there is a list of each root, if there is any. rustls rejects certificates that no list covers, so
    /// that every party of that root would be turned away later.
    fn check_roots_have_lists(
        &self,
        files: &CredentialFiles,
        roots: &[(Vec<u8>, String)],
    ) -> Result<(), CredentialError> {
        let has_list = |subject: &[u8]| self.lists.iter().any(|list| list.issuer == subject);
        match roots.iter().find(|(subject, _)| !self.lists.is_empty() && !has_list(subject)) {
            Some((_, root)) => {
                Err(CredentialError::NoCrlOfRoot { path: files.crl_path(), root: root.clone() })
            }
            None => Ok(()),
        }
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    pub(crate) fn root_certificates(&self) -> Arc<[CertificateDer<'static>]> {
        Arc::clone(&self.root_certificates)
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    pub(crate) fn crls(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.crls
    }

    fn check_validity(&self, files: &CredentialFiles, now: OffsetDateTime) -> Result<(), CredentialError> {
        let path = files.cert.clone();
        if now > self.leaf.not_after() {
            let name = files.party_name();
            return Err(CredentialError::Expired { path, not_after: self.leaf.not_after(), name });
        }
        if now < self.leaf.not_before() {
            return Err(CredentialError::NotYetValid { path, not_before: self.leaf.not_before() });
        }
        Ok(())
    }

    fn check_key(&self, files: &CredentialFiles) -> Result<(), CredentialError> {
        // Compares the public keys, so a key of another certificate is found here and not by a peer.
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider())
            .map(drop)
            .map_err(|_| CredentialError::KeyMismatch { cert: files.cert.clone(), key: files.key_path() })
    }

    /// Verifies the party's own certificate with the verifier that a peer will use, so that the results
    /// agree.
    fn check_signature(&self, files: &CredentialFiles, now: OffsetDateTime) -> Result<(), CredentialError> {
        let verifier = self.verifier(Presence::Required, &[]).map_err(|source| CredentialError::BadCrl {
            path: files.crl_path(),
            reason: source.to_string(),
        })?;
        let at = unix_time(now);
        // Parties are clients of the market, and the market is one of callback servers, so every leaf must
        // pass as a client.
        let Err(error) = verifier.verify_client_cert(&self.chain[0], &self.chain[1..], at) else {
            return Ok(());
        };
        Err(CredentialError::from_verifier(files.cert.clone(), (files.ca_path(), files.crl_path()), &error))
    }
}

/// Omits the private key.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("leaf", &self.leaf)
            .field("roots", &self.roots.len())
            .field("crls", &self.crls.len())
            .field("revoked", &self.revoked.len())
            .finish_non_exhaustive()
    }
}

pub(crate) fn unix_time(time: OffsetDateTime) -> UnixTime {
    let seconds = u64::try_from(time.unix_timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}
