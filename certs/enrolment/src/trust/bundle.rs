//! Trust bundles: the roots of an authority, a revocation list of each, and where its markets and authorities are, signed
//! with the key of each root.
//!
//! The signature covers [`PREFIX`] and the encoded bundle, so a bundle proves itself: it does not matter who hands it
//! over, nor on which connection. A prefix that is no DER keeps the signature from being taken for one of a certificate or
//! a revocation list, which begin with 0x30.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use prost::Message as _;
use rcgen::SigningKey;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use souk_certs::connector::Dial;
use souk_certs::credentials::{MAX_DER_BYTES, MAX_FILE_BYTES};
use souk_certs::identity::TrustDomain;
use souk_certs::pem;
use souk_proto::v1;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// What precedes the encoded bundle in the text that is signed.
pub const PREFIX: &[u8] = b"souk trust bundle v1\n";

/// Maximum size of an encoded bundle: the lists of all roots with about 100,000 entries together. What is accepted is
/// written to files, which must be readable again.
pub const MAX_BUNDLE_BYTES: usize = MAX_DER_BYTES;

/// Maximum number of roots in a bundle. During a change of root there are two.
pub const MAX_ROOTS: usize = 4;

/// Maximum number of markets in a bundle.
pub const MAX_MARKETS: usize = 64;

/// Maximum number of addresses of an authority in a bundle.
pub const MAX_AUTHORITIES: usize = 8;

/// Maximum number of signatures that are looked at: one for each root, and one for each root before a change.
const MAX_SIGNATURES: usize = 2 * MAX_ROOTS;

/// Maximum size of a signature. In DER, one with a P-256 key has at most 72 bytes.
const MAX_SIGNATURE_BYTES: usize = 80;

/// Size of a SHA-256, by which a signature names its root.
const PRINT_BYTES: usize = 32;

/// Maximum size of what surrounds a bundle or a signature in the encoded message.
const FRAME_BYTES: usize = 16;

/// Maximum size of an encoded bundle with its signatures.
pub const MAX_SIGNED_BYTES: usize =
    MAX_BUNDLE_BYTES + FRAME_BYTES + MAX_SIGNATURES * (PRINT_BYTES + MAX_SIGNATURE_BYTES + FRAME_BYTES);

const _: () = assert!(MAX_SIGNED_BYTES as u64 <= MAX_FILE_BYTES, "an accepted bundle must be readable");

/// The contents of a bundle, checked for their form: 1 to [`MAX_ROOTS`] CA certificates with different names, and exactly
/// one revocation list of each that the root has signed and numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    /// The number of the change that it describes. Each bundle of an authority has a higher one than the bundle before.
    pub sequence: i64,
    /// The trust domain of the authority.
    pub trust_domain: TrustDomain,
    /// When the authority made it, in whole microseconds.
    pub created_at: OffsetDateTime,
    /// The roots and their lists; the root that signs new certificates is the first.
    pub roots: Vec<TrustedRoot>,
    /// The addresses of the markets, as `HOST:PORT`.
    pub markets: Vec<String>,
    /// The addresses of the authority's enrolment services, as `HOST:PORT`.
    pub authorities: Vec<String>,
}

/// A root and its revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRoot {
    /// The root certificate.
    pub certificate: CertificateDer<'static>,
    /// The newest revocation list that the root has signed.
    pub list: CertificateRevocationListDer<'static>,
}

/// An encoded bundle with its signatures, which have not been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBundle {
    bytes: Vec<u8>,
    signatures: Vec<RootSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RootSignature {
    root_sha256: [u8; PRINT_BYTES],
    ecdsa_p256_sha256: Vec<u8>,
}

/// Why bytes are not a trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It exceeds [`MAX_BUNDLE_BYTES`].
    #[error("the trust bundle has {bytes} bytes, more than {MAX_BUNDLE_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The message doesn't parse, or a field is missing or malformed.
    #[error("the trust bundle is malformed: {0}")]
    Malformed(&'static str),
    /// There is no root, or there are more than [`MAX_ROOTS`].
    #[error("the trust bundle has {roots} roots instead of 1 to {MAX_ROOTS}")]
    Roots {
        /// Their number.
        roots: usize,
    },
    /// A root has no revocation list, or the root has not signed the list of its name. Everybody with a certificate of
    /// that root would be refused, or nobody whose certificate was revoked.
    #[error("the trust bundle has no revocation list of the CA {root}")]
    NoList {
        /// The root's subject.
        root: String,
    },
    /// A root's key could not sign.
    #[error("the key of a root could not sign the trust bundle")]
    Sign,
}

impl TrustBundle {
    /// Encodes and signs the bundle with the keys of `signers`: its roots, and those that it no longer lists, so that
    /// everybody who still trusts one of them can take it.
    ///
    /// # Errors
    /// Returns the errors of [`SignedBundle::open`], and [`BundleError::Sign`] if a key fails.
    pub fn sign<K: SigningKey>(
        &self,
        signers: &[(&CertificateDer<'_>, &K)],
    ) -> Result<SignedBundle, BundleError> {
        let bytes = self.encode();
        let text = signed_text(&bytes);
        let mut signatures = Vec::with_capacity(signers.len());
        for (root, key) in signers {
            let signature = key.sign(&text).map_err(|_| BundleError::Sign)?;
            signatures.push(RootSignature { root_sha256: sha256(root), ecdsa_p256_sha256: signature });
        }
        let signed = SignedBundle { bytes, signatures };
        // What nobody would take must not be published.
        signed.open()?;
        Ok(signed)
    }

    fn encode(&self) -> Vec<u8> {
        let (seconds, nanos) = (self.created_at.unix_timestamp(), self.created_at.nanosecond());
        v1::TrustBundle {
            sequence: self.sequence,
            trust_domain: self.trust_domain.to_string(),
            // Below 10⁹ in any case.
            create_time: Some(souk_proto::Timestamp { seconds, nanos: nanos.cast_signed() }),
            roots: self.roots.iter().map(|root| root.certificate.to_vec()).collect(),
            crls: self.roots.iter().map(|root| root.list.to_vec()).collect(),
            markets: self.markets.clone(),
            authorities: self.authorities.clone(),
        }
        .encode_to_vec()
    }

    /// Returns the addresses of the markets that this version can read.
    #[must_use]
    pub fn market_addresses(&self) -> Vec<Dial> {
        self.markets.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Returns the addresses of the authority's enrolment services that this version can read.
    #[must_use]
    pub fn authority_addresses(&self) -> Vec<Dial> {
        self.authorities.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Returns the root certificates in PEM, as in `ca.pem`.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.roots.iter().map(|root| pem::encode("CERTIFICATE", &root.certificate)).collect()
    }

    /// Returns the revocation lists in PEM, as in `crl.pem`.
    #[must_use]
    pub fn crl_pem(&self) -> String {
        self.roots.iter().map(|root| pem::encode("X509 CRL", &root.list)).collect()
    }

    /// Returns whether both trust the same roots.
    #[must_use]
    pub fn has_same_roots(&self, other: &Self) -> bool {
        let has = |root: &TrustedRoot, bundle: &Self| {
            bundle.roots.iter().any(|other| other.certificate == root.certificate)
        };
        self.roots.len() == other.roots.len() && self.roots.iter().all(|root| has(root, other))
    }
}

/// Returns the issuer's name and the number of a list, big-endian without leading zeros. `None` if it has no number.
pub(super) fn issuer_and_number(list: &CertificateRevocationListDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    let number = list.crl_number().map(BigUint::to_bytes_be)?;
    Some((list.issuer().as_raw().to_vec(), number))
}

impl SignedBundle {
    /// Parses the contents, without verifying a signature: they mean nothing before [`accept`](super::accept::accept) has
    /// accepted them.
    ///
    /// # Errors
    /// Returns what is wrong with their form.
    pub fn open(&self) -> Result<TrustBundle, BundleError> {
        if self.bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { bytes: self.bytes.len() });
        }
        let wire = v1::TrustBundle::decode(self.bytes.as_slice())
            .map_err(|_| BundleError::Malformed("it does not parse"))?;
        if wire.markets.len() > MAX_MARKETS || wire.authorities.len() > MAX_AUTHORITIES {
            return Err(BundleError::Malformed("it has too many addresses"));
        }
        let created_at = wire.create_time.as_ref().and_then(time_of);
        Ok(TrustBundle {
            sequence: wire.sequence,
            trust_domain: wire.trust_domain.parse().map_err(|_| BundleError::Malformed("trust_domain"))?,
            created_at: created_at.ok_or(BundleError::Malformed("create_time"))?,
            roots: roots(wire.roots, wire.crls)?,
            markets: wire.markets,
            authorities: wire.authorities,
        })
    }

    /// Returns whether the holder of this root's key has signed the bundle.
    #[must_use]
    pub fn is_signed_by(&self, root: &CertificateDer<'_>) -> bool {
        self.signature_of(root).is_some()
    }

    /// Returns the bundle with the signatures of these roots alone. Others prove nothing here, and anybody who passes a bundle on
    /// can add any.
    pub(super) fn with_signatures_of<'a>(
        &self,
        roots: impl Iterator<Item = &'a CertificateDer<'static>>,
    ) -> Self {
        let mut signatures: Vec<RootSignature> = Vec::new();
        for signature in roots.filter_map(|root| self.signature_of(root)) {
            if !signatures.contains(signature) {
                signatures.push(signature.clone());
            }
        }
        Self { bytes: self.bytes.clone(), signatures }
    }

    fn signature_of(&self, root: &CertificateDer<'_>) -> Option<&RootSignature> {
        let (_, certificate) = X509Certificate::from_der(root).ok()?;
        let key = certificate.public_key().subject_public_key.data.as_ref();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
        let (print, text) = (sha256(root), signed_text(&self.bytes));
        self.signatures
            .iter()
            .filter(|signature| signature.root_sha256 == print)
            .find(|signature| key.verify(&text, &signature.ecdsa_p256_sha256).is_ok())
    }

    /// Returns the length of the encoded bundle in bytes, without its signatures.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the SHA-256 of the bytes that are signed, by which two bundles of the same sequence are compared.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.bytes)
    }

    /// Encodes it for a file, `trust.bin`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        v1::SignedTrustBundle::from(self.clone()).encode_to_vec()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written.
    ///
    /// # Errors
    /// Returns what is wrong with the form of the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        v1::SignedTrustBundle::decode(bytes)
            .map_err(|_| BundleError::Malformed("it does not parse"))?
            .try_into()
    }
}

impl From<SignedBundle> for v1::SignedTrustBundle {
    fn from(signed: SignedBundle) -> Self {
        let signatures = signed.signatures.into_iter();
        let signatures = signatures.map(|RootSignature { root_sha256, ecdsa_p256_sha256 }| {
            v1::TrustSignature { root_sha256: root_sha256.to_vec(), ecdsa_p256_sha256 }
        });
        Self { bundle: signed.bytes, signatures: signatures.collect() }
    }
}

impl TryFrom<v1::SignedTrustBundle> for SignedBundle {
    type Error = BundleError;

    fn try_from(wire: v1::SignedTrustBundle) -> Result<Self, BundleError> {
        if wire.bundle.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { bytes: wire.bundle.len() });
        }
        if wire.signatures.len() > MAX_SIGNATURES {
            return Err(BundleError::Malformed("it has too many signatures"));
        }
        let signatures = wire.signatures.into_iter().map(RootSignature::try_from);
        Ok(Self { bytes: wire.bundle, signatures: signatures.collect::<Result<_, _>>()? })
    }
}

impl TryFrom<v1::TrustSignature> for RootSignature {
    type Error = BundleError;

    fn try_from(wire: v1::TrustSignature) -> Result<Self, BundleError> {
        let v1::TrustSignature { root_sha256, ecdsa_p256_sha256 } = wire;
        if ecdsa_p256_sha256.len() > MAX_SIGNATURE_BYTES {
            return Err(BundleError::Malformed("one of its signatures is too long"));
        }
        let root_sha256 = root_sha256
            .try_into()
            .map_err(|_| BundleError::Malformed("one of its signatures does not name a root"))?;
        Ok(Self { root_sha256, ecdsa_p256_sha256 })
    }
}

/// Pairs each root with the list that it has signed.
fn roots(roots: Vec<Vec<u8>>, lists: Vec<Vec<u8>>) -> Result<Vec<TrustedRoot>, BundleError> {
    if !(1..=MAX_ROOTS).contains(&roots.len()) {
        return Err(BundleError::Roots { roots: roots.len() });
    }
    if lists.len() > roots.len() {
        return Err(BundleError::Malformed("it has lists of unknown CAs"));
    }
    let mut subjects: Vec<Vec<u8>> = Vec::with_capacity(roots.len());
    let mut paired = Vec::with_capacity(roots.len());
    for root in roots {
        let not_a_root = || BundleError::Malformed("one of its roots is no CA certificate");
        let (rest, parsed) = X509Certificate::from_der(&root).map_err(|_| not_a_root())?;
        if !rest.is_empty() || !parsed.is_ca() {
            return Err(not_a_root());
        }
        let subject = parsed.subject().as_raw().to_vec();
        // Verifiers match lists to roots by that name.
        if subjects.contains(&subject) {
            return Err(BundleError::Malformed("two of its roots have the same name"));
        }
        let list = lists.iter().find(|list| is_list_of(list, &parsed));
        let no_list = || BundleError::NoList { root: parsed.subject().to_string() };
        let list = list.ok_or_else(no_list)?.clone();
        subjects.push(subject);
        paired.push(TrustedRoot { certificate: root.into(), list: list.into() });
    }
    Ok(paired)
}

/// Returns whether the root has signed the list, and numbered it.
fn is_list_of(list: &[u8], root: &X509Certificate<'_>) -> bool {
    CertificateRevocationList::from_der(list).is_ok_and(|(rest, list)| {
        rest.is_empty()
            && list.issuer().as_raw() == root.subject().as_raw()
            && list.crl_number().is_some()
            && list.verify_signature(root.public_key()).is_ok()
    })
}

fn time_of(wire: &souk_proto::Timestamp) -> Option<OffsetDateTime> {
    let seconds = OffsetDateTime::from_unix_timestamp(wire.seconds).ok()?;
    seconds.replace_nanosecond(u32::try_from(wire.nanos).ok()?).ok()
}

fn signed_text(bytes: &[u8]) -> Vec<u8> {
    [PREFIX, bytes].concat()
}

fn sha256(bytes: &[u8]) -> [u8; PRINT_BYTES] {
    let mut print = [0; PRINT_BYTES];
    print.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    print
}
