//! Servers that are not the authority of a code: none of them ever sees a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use souk_authority::{Authority, LeafOptions};
use souk_certs::clock;
use souk_certs::connector::{Dial, tls_error};
use souk_certs::identity::{Identity, Role, TrustDomain};
use souk_certs::random::{self, Random};
use souk_enrolment::code::{InvitationCode, RootPin};
use souk_enrolment::join::JoinError;
use souk_enrolment::verifier::NotTheAuthority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;

use super::world::{DEADLINE, Member, World};

/// A server with a certificate of the attacker's choice. It counts the bytes that clients send after the handshake.
struct Impostor {
    address: Dial,
    seen: Arc<AtomicUsize>,
    tried: Arc<AtomicUsize>,
}

impl Impostor {
    async fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        let (seen, tried) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (bytes, count) = (Arc::clone(&seen), Arc::clone(&tried));
        tokio::spawn(async move {
            let mut connections = TcpListenerStream::new(listener);
            while let Some(Ok(tcp)) = connections.next().await {
                let handshake = TlsAcceptor::from(Arc::new(config.clone())).accept(tcp).await;
                count.fetch_add(1, Ordering::SeqCst);
                let Ok(mut tls) = handshake else { continue };
                // SETTINGS, as a server of HTTP/2 sends them.
                let _ = tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = tls.read(&mut buffer).await {
                    bytes.fetch_add(read, Ordering::SeqCst);
                }
            }
        });
        Impostor { address, seen, tried }
    }

    /// Lets somebody join here with a code whose address leads here, and returns why nothing was sent.
    async fn lures(&self, code: &InvitationCode) -> Option<NotTheAuthority> {
        let code = InvitationCode::new(
            code.id(),
            code.secret().clone(),
            code.root(),
            self.address.clone(),
            code.trust_domain().clone(),
        );
        let error = Member::join(&code.unwrap(), Role::Seller).await.map(drop).unwrap_err();
        let JoinError::NotTheAuthority(error) = error else { panic!("{error:?}") };
        let wait = async {
            while self.tried.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap();
        assert_eq!(self.seen.load(Ordering::SeqCst), 0, "the server saw something of a request");
        match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(refusal)) => NotTheAuthority::cause(refusal),
            _ => None,
        }
    }
}

fn key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Issues a certificate for an identity, with DNS names beside its own.
fn issue(
    authority: &Authority,
    identity: Identity,
    dns: &[&str],
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let options =
        LeafOptions { dns: dns.iter().map(|name| (*name).to_owned()).collect(), ..LeafOptions::default() };
    let (issued, pem) = authority.issue(&identity, &options, clock::now()).unwrap();
    (issued.certificate, key(&pem))
}

fn other_authority() -> Authority {
    Authority::create(&TrustDomain::default(), clock::now(), Random::SYSTEM).unwrap()
}

#[tokio::test]
async fn mitm_sees_no_secret() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let thief = other_authority();
    let real = world.pki().root().clone();
    let (leaf, leaf_key) = issue(&thief, Identity::Authority, &[]);
    let root = thief.certificate().clone();
    for (chain, expected) in [
        // An authority of the attacker's own, with its root.
        (vec![leaf.clone(), root.clone()], Some(NotTheAuthority::Root)),
        // With the real root, which has not signed the leaf: webpki refuses that.
        (vec![leaf.clone(), real.clone()], None),
        (vec![leaf.clone()], Some(NotTheAuthority::Chain)),
        (vec![leaf.clone(), root.clone(), real.clone()], Some(NotTheAuthority::Chain)),
        (vec![leaf.clone(), real.clone(), root.clone()], Some(NotTheAuthority::Chain)),
    ] {
        let impostor = Impostor::new(chain, leaf_key.clone_key()).await;
        assert_eq!(impostor.lures(&code).await, expected);
    }
    assert_eq!(world.signed(), 0);
    // The code is still good for its owner.
    Member::join(&code, Role::Seller).await.unwrap();
    world.serves_others().await;
}

#[tokio::test]
async fn party_is_no_authority() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let pki = world.pki();
    let (cert, key_pem) =
        ["ca.pem", "ca.key"].map(|file| std::fs::read_to_string(world.dir().join(file)).unwrap()).into();
    let authority = Authority::load(&TrustDomain::default(), &cert, &key_pem, Random::SYSTEM).unwrap();
    let root = pki.root().clone();
    assert_eq!(RootPin::of(&root), code.root());
    let uuid = random::uuid_v4();
    for (identity, dns, expected) in [
        // The DNS name is not the authority's: webpki refuses that.
        (Identity::Seller(uuid), &[][..], None),
        (Identity::Market, &[][..], None),
        // A name beside the identity's own does not make it the authority.
        (Identity::Seller(uuid), &["authority.souk.internal"][..], Some(NotTheAuthority::Identity)),
        (Identity::Market, &["authority.souk.internal"][..], Some(NotTheAuthority::Identity)),
    ] {
        let (leaf, key) = issue(&authority, identity, dns);
        let impostor = Impostor::new(vec![leaf, root.clone()], key).await;
        assert_eq!(impostor.lures(&code).await, expected, "{identity:?} {dns:?}");
    }
    assert_eq!(world.signed(), 0);
    Member::join(&code, Role::Seller).await.unwrap();
    world.serves_others().await;
}

#[tokio::test]
async fn nobody_answers() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let code = InvitationCode::new(
        code.id(),
        code.secret().clone(),
        code.root(),
        gone.into(),
        TrustDomain::default(),
    );
    let error = Member::join(&code.unwrap(), Role::Seller).await.map(drop).unwrap_err();
    assert!(matches!(error, JoinError::Unreached(_)), "{error:?}");
}
