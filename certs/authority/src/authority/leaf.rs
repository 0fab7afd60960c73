//! Leaves: the certificate of one party.

use std::net::IpAddr;

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateDer;
use souk_certs::identity::{Identity, PeerCertificate};
use time::{Duration, OffsetDateTime};

use super::{Authority, AuthorityError, BACKDATE, common_name, random_serial, whole_second};

/// How long a leaf is valid when nothing else is asked for: 90 days.
pub const LEAF_VALIDITY: Duration = Duration::days(90);

/// What may vary between leaves.
#[derive(Clone, Debug)]
pub struct LeafOptions {
    /// The subject's common name, for people; empty stands for the identity's DNS name. At most 64 characters
    /// are used (RFC 5280, `ub-common-name`).
    pub common_name: String,
    /// DNS names besides the identity's own, for foreign clients of the market.
    pub dns: Vec<String>,
    /// IP addresses, likewise.
    pub ip: Vec<IpAddr>,
    /// From `now` to the end; cut to the root's own end.
    pub validity: Duration,
}

impl Default for LeafOptions {
    fn default() -> Self {
        LeafOptions { common_name: String::new(), dns: Vec::new(), ip: Vec::new(), validity: LEAF_VALIDITY }
    }
}

/// A signed leaf.
#[derive(Clone)]
pub struct Issued {
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificate in DER.
    pub certificate: CertificateDer<'static>,
    /// What the certificate says, read back from it.
    pub peer: PeerCertificate,
}

impl Authority {
    /// Makes a P-256 key and signs a leaf for it. Answers the leaf and the key in PKCS#8 PEM.
    ///
    /// The leaf: valid from five minutes before `now`, random serial, key usage digitalSignature, extended
    /// key usage serverAuth and clientAuth, one URI SAN (the SPIFFE ID), the identity's DNS name and what
    /// `options` adds, key identifiers of both sides, critical `CA:FALSE`.
    ///
    /// # Errors
    /// [`AuthorityError::Expired`] when the root is, [`AuthorityError::DnsName`] for a bad name in `options`,
    /// [`AuthorityError::Sign`] or [`AuthorityError::Random`] when the system fails.
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

    /// Signs a leaf for a public key that is already known to be its holder's.
    pub(super) fn sign(
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
        params.serial_number = Some(random_serial());
        params.distinguished_name = common_name(&self.subject(identity, options));
        params.subject_alt_names = self.names(identity, options)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).map_err(AuthorityError::Sign)?;
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

/// A DNS name as TLS clients compare it: they refuse to look at a certificate that has a malformed one.
fn dns_name(name: &str) -> Result<SanType, AuthorityError> {
    let refused = || AuthorityError::DnsName { name: name.escape_default().to_string() };
    rustls_pki_types::DnsName::try_from(name).map_err(|_| refused())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| refused())?))
}
