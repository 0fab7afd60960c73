//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use souk_certs::identity::{CertificateError, PeerCertificate, TrustDomain};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The client of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The source address.
    pub(super) address: SocketAddr,
    /// The certificate; `None` if the client showed none.
    pub(super) certificate: Option<Arc<Leaf>>,
}

/// A certificate that a client showed. It may have ended up to 30 days ago, and its root may have been retired.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) facts: PeerCertificate,
    /// The SHA-256 of its SubjectPublicKeyInfo, in lower-case hexadecimal.
    pub(super) key_sha256: String,
    /// Whether its root was retired. Nobody protects that root's key any more.
    pub(super) is_of_retired_root: bool,
}

/// What handshakes need, replaced together when the folder changes.
#[derive(Debug)]
pub(super) struct GateTls {
    pub(super) config: Arc<ServerConfig>,
    /// The subjects of the roots that were retired, DER-encoded. Each root has one of its own.
    pub(super) retired: Vec<Vec<u8>>,
}

impl Leaf {
    pub(super) fn parse(
        der: &CertificateDer<'_>,
        domain: &TrustDomain,
        retired: &[Vec<u8>],
    ) -> Result<Self, CertificateError> {
        let facts = PeerCertificate::from_der(der, domain)?;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::NotX509)?;
        let issuer = parsed.issuer().as_raw();
        Ok(Leaf {
            facts,
            key_sha256: HEXLOWER.encode(digest(&SHA256, parsed.public_key().raw).as_ref()),
            is_of_retired_root: retired.iter().any(|subject| subject == issuer),
        })
    }
}
