//! Forged certificates, and clients that present them.

use std::{fs, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::TLS13,
};
use souk_certs::credentials::CredentialFiles;
use time::Duration;

use crate::fixture::Fixture;

/// A certificate chain and its private key.
pub(crate) struct KeyAndChain {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// An authority that signs certificates.
pub(crate) type Root = Issuer<'static, KeyPair>;

/// Returns the market's own root, with the checks of the real authority left out.
pub(crate) fn own_root(fixture: &Fixture) -> Root {
    let pem = |file| fs::read_to_string(fixture.market.path().join("pki").join(file)).unwrap();
    Issuer::from_ca_cert_pem(&pem("ca.pem"), KeyPair::from_pem(&pem("ca.key")).unwrap()).unwrap()
}

/// Returns a root with the name and key identifier of the market's, but another key.
pub(crate) fn namesake_root(fixture: &Fixture) -> Root {
    let pem = fs::read_to_string(fixture.market.path().join("pki/ca.pem")).unwrap();
    Issuer::from_ca_cert_pem(&pem, KeyPair::generate().unwrap()).unwrap()
}

/// Returns the root of another market.
pub(crate) fn foreign_root() -> Root {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Another market");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Issuer::new(params, KeyPair::generate().unwrap())
}

/// Returns what the real authority would sign for a party with this SPIFFE ID.
pub(crate) fn honest_params(uri: &str) -> CertificateParams {
    let now = souk_certs::clock::now();
    let mut params = CertificateParams::default();
    params.not_before = now - Duration::minutes(5);
    params.not_after = now + Duration::days(1);
    params.serial_number = Some(SerialNumber::from_slice(souk_certs::random::uuid_v4().as_bytes()));
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Signs a certificate without any check.
pub(crate) fn sign(root: &Root, params: &CertificateParams) -> KeyAndChain {
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, root).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    KeyAndChain { chain: vec![leaf.der().clone()], key }
}

/// Reads the certificate and key from a party's files.
pub(crate) fn from_files(files: &CredentialFiles) -> KeyAndChain {
    let chain = CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
    KeyAndChain { chain, key: PrivateKeyDer::from_pem_file(files.key_path()).unwrap() }
}

/// Configures a client that trusts the market and presents a certificate, or none.
pub(crate) fn client(fixture: &Fixture, key_and_chain: Option<KeyAndChain>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = fixture.market.path().join("pki/ca.pem");
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match key_and_chain {
        None => builder.with_no_client_auth(),
        Some(KeyAndChain { chain, key }) => builder.with_client_auth_cert(chain, key).unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
