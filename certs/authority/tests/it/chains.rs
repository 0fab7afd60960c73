//! What a peer may present besides its leaf, and what the leaf must be for: the same rules in every verifier.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use souk_authority::pki::Party;
use souk_certs::ForeignChain;
use souk_certs::acceptor::{Acceptor, AcceptorLimits};
use souk_certs::clock;
use souk_certs::connector::{dial, tls_error};
use souk_certs::credentials::{CredentialError, Credentials};
use souk_certs::identity::{Identity, Role, TrustDomain};
use souk_certs::server::{ClientPolicy, server_config};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::world::{DEADLINE, World, within};

type KeyAndChain = (PrivateKeyDer<'static>, Vec<CertificateDer<'static>>);

/// Returns ten CA certificates that share their subject and issuer.
fn namesakes() -> Vec<CertificateDer<'static>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Anybody");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let one = || params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    (0..10).map(|_| one()).collect()
}

fn root(world: &World) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(world.path("ca.pem")).unwrap()
}

/// Signs a leaf of the market with the authority's key, without its checks and with one change.
fn forge(world: &World, change: impl FnOnce(&mut CertificateParams)) -> KeyAndChain {
    let read = |file| std::fs::read_to_string(world.path(file)).unwrap();
    let authority =
        Issuer::from_ca_cert_pem(&read("ca.pem"), KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.not_before = clock::now() - time::Duration::minutes(5);
    params.not_after = clock::now() + time::Duration::days(1);
    params.subject_alt_names = vec![
        SanType::URI("spiffe://souk.internal/market".try_into().unwrap()),
        SanType::DnsName("market.souk.internal".try_into().unwrap()),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap();
    (PrivateKeyDer::try_from(key.serialize_der()).unwrap(), vec![leaf.der().clone()])
}

fn with(world: &World, beside: &[CertificateDer<'static>]) -> KeyAndChain {
    let (key, mut chain) = forge(world, |_| ());
    chain.extend_from_slice(beside);
    (key, chain)
}

/// Presents a certificate to an acceptor, and returns why it was refused.
async fn refused_by_acceptor(
    world: &World,
    policy: ClientPolicy,
    (key, chain): KeyAndChain,
) -> Option<&'static str> {
    let config = server_config(&world.market(), policy).unwrap();
    let acceptor = Acceptor::new(config, TrustDomain::default(), policy, AcceptorLimits::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root(world)).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = "market.souk.internal".try_into().unwrap();
        let mut tls = TlsConnector::from(Arc::new(client)).connect(name, tcp).await.ok()?;
        tls.read_to_end(&mut Vec::new()).await.ok()
    });
    let (tcp, from) = listener.accept().await.unwrap();
    let met = within(acceptor.accept(tcp, from)).await.unwrap();
    client.abort();
    met.err().map(|error| error.about_identity().unwrap_or_else(|| panic!("{error:?}")))
}

/// Presents a certificate to a client, and returns why it was refused.
async fn refused_by_client(
    world: &World,
    bob: &Party,
    (key, chain): KeyAndChain,
) -> Option<CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(root(world)).unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().into();
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = TlsAcceptor::from(Arc::new(server)).accept(tcp).await.ok()?;
        tls.read_to_end(&mut Vec::new()).await.ok()
    });
    let (config, domain) = (world.client(bob), TrustDomain::default());
    let dialled = dial(&target, Identity::Market, config, &domain, DEADLINE).await;
    server.abort();
    match tls_error(&dialled.err()?) {
        Some(TlsError::InvalidCertificate(refusal)) => Some(refusal.clone()),
        other => panic!("{other:?}"),
    }
}

const BESIDE: Option<&str> = Some("it came with certificates besides the leaf");
const PURPOSE: Option<&str> = Some("the certificate is for another purpose");

#[tokio::test]
async fn acceptors_refuse_certificates_besides_the_leaf() {
    let world = World::new();
    let (foreign, root) = (namesakes(), root(&world));
    for policy in [ClientPolicy::AnyParty, ClientPolicy::MarketOnly] {
        assert_eq!(refused_by_acceptor(&world, policy, with(&world, &[])).await, None);
        let trusted = with(&world, std::slice::from_ref(&root));
        assert_eq!(refused_by_acceptor(&world, policy, trusted).await, None);
        for beside in [&foreign[..], &foreign[..1], &[root.clone(), foreign[0].clone()]] {
            assert_eq!(refused_by_acceptor(&world, policy, with(&world, beside)).await, BESIDE);
        }
    }
}

#[tokio::test]
async fn clients_refuse_certificates_besides_the_leaf() {
    let mut world = World::new();
    let bob = world.party("bob", Role::Buyer);
    let trusted = with(&world, &[root(&world)]);
    assert_eq!(refused_by_client(&world, &bob, trusted).await, None);
    let foreign = with(&world, &namesakes());
    let refusal = refused_by_client(&world, &bob, foreign).await.unwrap();
    assert!(ForeignChain::is_cause(&refusal), "{refusal:?}");
}

#[tokio::test]
async fn leaves_that_do_not_say_what_they_are_for_are_refused() {
    type Change = fn(&mut CertificateParams);
    let changes: [Change; 3] = [
        |params| params.extended_key_usages = Vec::new(),
        |params| params.key_usages = Vec::new(),
        |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
    ];
    for change in changes {
        let mut world = World::new();
        let bob = world.party("bob", Role::Buyer);
        for policy in [ClientPolicy::AnyParty, ClientPolicy::MarketOnly] {
            assert_eq!(refused_by_acceptor(&world, policy, forge(&world, change)).await, PURPOSE);
        }
        let forged = forge(&world, change);
        assert_eq!(refused_by_client(&world, &bob, forged).await, Some(CertificateError::InvalidPurpose));
    }
}

#[test]
fn a_file_with_other_certificates_is_refused_when_it_is_loaded() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let own = std::fs::read_to_string(&alice.cert).unwrap();
    let append = |pem: &str| {
        std::fs::write(&alice.cert, format!("{own}{pem}")).unwrap();
        Credentials::load(&alice.files(), &TrustDomain::default(), clock::now())
    };
    append(&std::fs::read_to_string(world.path("ca.pem")).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    assert!(matches!(append(&foreign), Err(CredentialError::ForeignChain { .. })));
}
