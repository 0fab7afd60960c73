//! Leaf certificates: the certificates of parties.

use std::net::IpAddr;

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateDer;
use souk_certs::identity::{Identity, PeerCertificate};
use time::{Duration, OffsetDateTime};

use super::{Authority, AuthorityError, BACKDATE, common_name, random_serial, whole_second};

/// Default validity of a leaf: 90 days.
pub const LEAF_VALIDITY: Duration = Duration::days(90);

/// The variable parts of a leaf certificate.
#[derive(Clone, Debug)]
pub struct LeafOptions {
    /// The subject's common name, for people. Empty means the identity's DNS name. Truncated to 64 characters
    /// (RFC 5280, `ub-common-name`).
    pub common_name: String,
    /// Additional DNS names, for clients that verify the market by host name.
    pub dns: Vec<String>,
    /// IP addresses, for clients that verify the market by address.
    pub ip: Vec<IpAddr>,
    /// Time from `now` to the end of validity, limited to the end of the root's.
    pub validity: Duration,
}

impl Default for LeafOptions {
    fn default() -> Self {
        LeafOptions { common_name: String::new(), dns: Vec::new(), ip: Vec::new(), validity: LEAF_VALIDITY }
    }
}

/// A leaf certificate that was just signed.
#[derive(Clone)]
pub struct Issued {
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificate in DER.
    pub certificate: CertificateDer<'static>,
    /// The identity and validity, parsed from the signed certificate.
    pub peer: PeerCertificate,
}

impl Authority {
    /// Generates a P-256 key and signs a leaf for it. Returns the leaf and the private key in PKCS#8 PEM.
    ///
    /// Profile of the leaf:
    /// - valid from five minutes before `now`, random serial number, critical `CA:FALSE`;
    /// - key usage digitalSignature, extended key usage serverAuth and clientAuth, because every party both
    ///   dials and accepts connections;
    /// - exactly one URI SAN (the SPIFFE ID), the identity's DNS name, and the names in `options`;
    /// - subject and authority key identifiers (RFC 5280 §4.2.1.1 and 4.2.1.2).
    ///
    /// # Errors
    /// Returns [`AuthorityError::Expired`] if the root has expired, [`AuthorityError::DnsName`] for a
    /// malformed name in `options`, and [`AuthorityError::Sign`] or [`AuthorityError::Random`] if signing or
    /// random number generation fails.
    pub fn issue(
        &self,
        identity: &Identity,
        options: &LeafOptions,
        now: OffsetDateTime,
    ) -> Result<(Issued, String), AuthorityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Sign)?;
        let issued = self.sign(identity, &key, options, now)?;
        Ok((issued, key.serialize_pem()))
    }

    /// Signs a leaf for a public key. The caller must have verified that the party holds the private key.
    pub(crate) fn sign(
        &self,
        identity: &Identity,
        key: &impl PublicKeyData,
        options: &LeafOptions,
        now: OffsetDateTime,
    ) -> Result<Issued, AuthorityError> {
        if now > self.not_after {
            return Err(AuthorityError::Expired { not_after: self.not_after });
        }
        let mut params = CertificateParams::default();
        params.not_before = whole_second(now - BACKDATE);
        params.not_after = whole_second(now + options.validity).min(self.not_after);
        params.serial_number = Some(random_serial(self.random));
        params.distinguished_name = common_name(&self.subject(identity, options));
        params.subject_alt_names = self.names(identity, options)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).map_err(AuthorityError::Sign)?;
        // Parsing with the code that peers use proves that they will read the identity that was asked for.
        let peer = PeerCertificate::from_der(certificate.der(), &self.domain)?;
        Ok(Issued { certificate_pem: certificate.pem(), certificate: certificate.der().clone(), peer })
    }

    fn subject(&self, identity: &Identity, options: &LeafOptions) -> String {
        match options.common_name.as_str() {
            "" => identity.dns_name(&self.domain),
            name => name.to_owned(),
        }
    }

    fn names(&self, identity: &Identity, options: &LeafOptions) -> Result<Vec<SanType>, AuthorityError> {
        let own = identity.dns_name(&self.domain);
        let uri = identity.spiffe_id(&self.domain);
        let uri = uri.as_str().try_into().map_err(AuthorityError::Sign)?;
        let mut names = vec![SanType::URI(uri), dns_name(&own)?];
        for name in options.dns.iter().filter(|name| **name != own) {
            names.push(dns_name(name)?);
        }
        names.extend(options.ip.iter().copied().map(SanType::IpAddress));
        Ok(names)
    }
}

/// Returns a DNS SAN. The name is checked as TLS clients parse it: they reject a certificate with a malformed
/// name as a whole.
fn dns_name(name: &str) -> Result<SanType, AuthorityError> {
    let refused = || AuthorityError::DnsName { name: name.escape_default().to_string() };
    rustls_pki_types::DnsName::try_from(name).map_err(|_| refused())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| refused())?))
}
