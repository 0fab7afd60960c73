//! Authentication in the TLS handshake. Each case except the first ends before the market has read a byte of
//! HTTP.

use std::io;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, client::Resumption};
use souk_certs::{clock, identity::Role};
use time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    fixture::{Fixture, PATIENCE, attacks},
    forge::{
        KeyAndChain, Root, client, foreign_root, from_files, honest_params, namesake_root, own_root, sign,
    },
};

attacks!(
    a_forged_certificate_that_is_right_in_everything_passes_or_the_cases_would_prove_nothing,
    no_certificate,
    certificate_of_a_foreign_authority,
    certificate_of_a_namesake_with_another_key,
    certificate_expired,
    certificate_not_yet_valid,
    certificate_revoked,
    certificate_revoked_with_an_old_session_ticket,
    certificate_for_servers_only,
    certificate_for_signing_code_only,
    certificate_of_the_authority_as_leaf,
    certificate_signed_by_a_leaf,
    no_uri_name,
    two_uri_names,
    uri_of_a_foreign_trust_domain,
    uri_with_a_bad_path,
    uri_with_a_uuid_that_is_not_canonical,
    tls_1_2_only,
    alpn_http_1_1_only,
    alpn_none,
    plaintext_http_2,
    garbage,
    silent_sockets_500,
    silent_sockets_that_come_again,
);

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ended with an alert from the market.
    Alert(AlertDescription),
    /// Closed without any bytes.
    Closed,
    /// The market started HTTP/2.
    Let,
}

async fn attempt(fixture: &Fixture, tls: ClientConfig) -> End {
    match fixture.greet(tls).await {
        Ok(first) if first.is_empty() => End::Closed,
        Ok(_) => End::Let,
        Err(error) => match alert(&error) {
            Some(alert) => End::Alert(alert),
            None => panic!("neither an alert nor a proper close: {error:?}"),
        },
    }
}

pub(crate) fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

pub(crate) async fn show(fixture: &Fixture, key_and_chain: KeyAndChain) -> End {
    attempt(fixture, client(fixture, Some(key_and_chain))).await
}

/// Attempts a connection with alice's certificate, signed by this root and with one change.
pub(crate) async fn show_changed(
    fixture: &Fixture,
    root: Root,
    change: impl FnOnce(&mut CertificateParams),
) -> End {
    let mut params = honest_params(&spiffe_id(fixture));
    change(&mut params);
    show(fixture, sign(&root, &params)).await
}

fn spiffe_id(fixture: &Fixture) -> String {
    format!("spiffe://souk.internal/seller/{}", fixture.alice.id())
}

async fn a_forged_certificate_that_is_right_in_everything_passes_or_the_cases_would_prove_nothing(
    fixture: &Fixture,
) {
    assert_eq!(show_changed(fixture, own_root(fixture), |_| ()).await, End::Let);
}

async fn no_certificate(fixture: &Fixture) {
    let end = attempt(fixture, client(fixture, None)).await;
    assert_eq!(end, End::Alert(AlertDescription::CertificateRequired));
}

async fn certificate_of_a_foreign_authority(fixture: &Fixture) {
    let end = show_changed(fixture, foreign_root(), |_| ()).await;
    assert_eq!(end, End::Alert(AlertDescription::UnknownCA));
}

async fn certificate_of_a_namesake_with_another_key(fixture: &Fixture) {
    let end = show_changed(fixture, namesake_root(fixture), |_| ()).await;
    assert_eq!(end, End::Alert(AlertDescription::DecryptError));
}

async fn certificate_expired(fixture: &Fixture) {
    let end = show_changed(fixture, own_root(fixture), |params| {
        params.not_before = clock::now() - Duration::days(90);
        params.not_after = clock::now() - Duration::seconds(2);
    });
    assert_eq!(end.await, End::Alert(AlertDescription::CertificateExpired));
}

async fn certificate_not_yet_valid(fixture: &Fixture) {
    let end = show_changed(fixture, own_root(fixture), |params| {
        params.not_before = clock::now() + Duration::hours(1);
    });
    assert_eq!(end.await, End::Alert(AlertDescription::CertificateExpired));
}

/// Returns mallory's credentials, and a client that can tell when the market has applied their revocation.
async fn mallory(fixture: &Fixture) -> (KeyAndChain, ClientConfig) {
    let config = fixture.market.identity(Role::Seller, "Mallory").await.unwrap();
    (from_files(&config.credentials), client(fixture, Some(from_files(&config.credentials))))
}

async fn certificate_revoked(fixture: &Fixture) {
    let (key_and_chain, _) = mallory(fixture).await;
    let again = client(fixture, Some(key_and_chain));
    assert_eq!(attempt(fixture, again.clone()).await, End::Let);
    fixture.market.change_pki(|pki| pki.revoke("mallory", clock::now())).unwrap();
    assert_eq!(refused_at_last(fixture, &again).await, AlertDescription::CertificateRevoked);
}

/// Retries until the market has noticed the new revocation list.
async fn refused_at_last(fixture: &Fixture, tls: &ClientConfig) -> AlertDescription {
    let tries = async {
        loop {
            // A connection that began just before may be cut at any moment, and then ends in any way.
            if let Err(error) = fixture.greet(tls.clone()).await
                && let Some(alert) = alert(&error)
            {
                return alert;
            }
        }
    };
    timeout(PATIENCE, tries).await.expect("the new list is noticed")
}

async fn certificate_revoked_with_an_old_session_ticket(fixture: &Fixture) {
    let (_, mut tls) = mallory(fixture).await;
    tls.resumption = Resumption::in_memory_sessions(16);
    let tls_again = tls.clone();
    for _ in 0..2 {
        let mut stream = fixture.shake_hands(tls.clone()).await.unwrap();
        // Session tickets would arrive with the market's first data.
        let read = timeout(PATIENCE, stream.read(&mut [0; 1_024])).await.unwrap().unwrap();
        assert!(read > 0);
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full), "nothing is resumed");
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0, "there is no ticket to come back with");
    }
    fixture.market.change_pki(|pki| pki.revoke("mallory", clock::now())).unwrap();
    assert_eq!(refused_at_last(fixture, &tls_again).await, AlertDescription::CertificateRevoked);
}

async fn certificate_for_servers_only(fixture: &Fixture) {
    let end = show_changed(fixture, own_root(fixture), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(end.await, End::Alert(AlertDescription::UnsupportedCertificate));
}

async fn certificate_for_signing_code_only(fixture: &Fixture) {
    let end = show_changed(fixture, own_root(fixture), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    });
    assert_eq!(end.await, End::Alert(AlertDescription::UnsupportedCertificate));
}

async fn certificate_of_the_authority_as_leaf(fixture: &Fixture) {
    let pki = fixture.market.path().join("pki");
    let files = souk_certs::credentials::CredentialFiles {
        key: Some(pki.join("ca.key")),
        ..souk_certs::credentials::CredentialFiles::beside(pki.join("ca.pem"))
    };
    let end = show(fixture, from_files(&files)).await;
    assert!(matches!(end, End::Alert(_)), "{end:?}");
}

async fn certificate_signed_by_a_leaf(fixture: &Fixture) {
    let config = fixture.market.identity(Role::Seller, "Mallory").await.unwrap();
    let own = from_files(&config.credentials);
    let key = rcgen::KeyPair::try_from(own.key.secret_der()).unwrap();
    let below = rcgen::Issuer::from_ca_cert_der(&own.chain[0], key).unwrap();
    let mut forged = sign(&below, &honest_params(&spiffe_id(fixture)));
    forged.chain.extend(own.chain);
    let end = show(fixture, forged).await;
    assert!(matches!(end, End::Alert(_)), "{end:?}");
}

async fn with_uris(fixture: &Fixture, uris: &[&str]) -> End {
    show_changed(fixture, own_root(fixture), |params| {
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.subject_alt_names.push(SanType::DnsName("somebody.souk.internal".try_into().unwrap()));
    })
    .await
}

async fn no_uri_name(fixture: &Fixture) {
    assert_eq!(with_uris(fixture, &[]).await, End::Closed);
}

async fn two_uri_names(fixture: &Fixture) {
    let (own, other) = (spiffe_id(fixture), format!("spiffe://souk.internal/buyer/{}", fixture.bob.id()));
    assert_eq!(with_uris(fixture, &[&own, &other]).await, End::Closed);
    assert_eq!(with_uris(fixture, &[&own, &own]).await, End::Closed);
    assert_eq!(with_uris(fixture, &[&own, "https://example.com"]).await, End::Closed);
}

async fn uri_of_a_foreign_trust_domain(fixture: &Fixture) {
    for domain in ["souk.external", "souk.internal.evil.example", "SOUK.INTERNAL"] {
        let uri = format!("spiffe://{domain}/seller/{}", fixture.alice.id());
        assert_eq!(with_uris(fixture, &[&uri]).await, End::Closed, "{uri}");
    }
}

async fn uri_with_a_bad_path(fixture: &Fixture) {
    let id = fixture.alice.id();
    for path in [
        String::new(),
        "/".into(),
        "/seller".into(),
        "/seller/".into(),
        format!("/Seller/{id}"),
        format!("/seller/{id}/"),
        format!("/seller//{id}"),
        format!("/seller/{id}/admin"),
        format!("/king/{id}"),
        format!("/seller/../operator/{id}"),
        format!("/seller/{id}?role=operator"),
        format!("/seller/{id}#operator"),
        format!("/market/{id}"),
        "/markets".into(),
    ] {
        let uri = format!("spiffe://souk.internal{path}");
        assert_eq!(with_uris(fixture, &[&uri]).await, End::Closed, "{uri}");
    }
}

async fn uri_with_a_uuid_that_is_not_canonical(fixture: &Fixture) {
    let id = fixture.alice.id();
    for id in [
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        Uuid::nil().to_string(),
        id[..35].to_owned(),
        "alice".to_owned(),
    ] {
        let uri = format!("spiffe://souk.internal/seller/{id}");
        assert_eq!(with_uris(fixture, &[&uri]).await, End::Closed, "{uri}");
    }
}

/// Builds a ClientHello that offers TLS 1.2 and nothing newer (RFC 5246 §7.4.1.2).
fn hello_of_tls_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM, for ECDSA and RSA
    hello.extend([1, 0]); // no compression
    let extensions = [
        [0x00, 0x0a, 0, 4, 0, 2, 0, 0x17], // groups: P-256
        [0x00, 0x0d, 0, 4, 0, 2, 4, 3],    // signatures: ECDSA with SHA-256
    ]
    .concat();
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let length = u16::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(hello);
    record
}

/// Returns the market's answer to bytes that are not TLS 1.3. It must close within its handshake timeout.
async fn answer_to(fixture: &Fixture, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(fixture.market.address()).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("the market closes");
    // A reset counts as a close: the market need not read what was sent.
    if let Err(error) = read {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    answer
}

/// Encodes an unencrypted fatal alert (RFC 8446 §6).
fn fatal(alert: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert.into()]
}

async fn tls_1_2_only(fixture: &Fixture) {
    let answer = answer_to(fixture, &hello_of_tls_1_2()).await;
    assert_eq!(answer, fatal(AlertDescription::ProtocolVersion));
}

async fn alpn_http_1_1_only(fixture: &Fixture) {
    let (_, mut tls) = mallory(fixture).await;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(attempt(fixture, tls).await, End::Alert(AlertDescription::NoApplicationProtocol));
}

async fn alpn_none(fixture: &Fixture) {
    let (_, mut tls) = mallory(fixture).await;
    tls.alpn_protocols = Vec::new();
    assert_eq!(attempt(fixture, tls).await, End::Closed);
}

async fn plaintext_http_2(fixture: &Fixture) {
    let answer = answer_to(fixture, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(answer.is_empty() || answer[0] == 21, "nothing but an alert: {answer:?}");
}

async fn garbage(fixture: &Fixture) {
    for bytes in [&[0; 5][..], &[0xff; 64], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[22, 3, 1, 0xff, 0xff, 0]]
    {
        let answer = answer_to(fixture, bytes).await;
        assert!(answer.is_empty() || answer[0] == 21, "nothing but an alert: {answer:?}");
    }
}

/// More sockets than the market handles handshakes. They come from one host, which gets no more than its
/// share.
async fn silent_sockets_500(fixture: &Fixture) {
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(another_host(fixture).await);
    }
    let (_, tls) = mallory(fixture).await;
    assert_eq!(attempt(fixture, tls).await, End::Let, "an honest client comes in while they are silent");
    // Read each one to its end: the market must close all of them.
    for mut tcp in silent {
        let read = timeout(PATIENCE, tcp.read(&mut [0; 16])).await.expect("it is closed");
        assert!(matches!(read, Ok(0)) || read.is_err());
    }
}

/// As above, but every dropped socket is replaced at once.
async fn silent_sockets_that_come_again(fixture: &Fixture) {
    let flood = async {
        let one = || async {
            loop {
                let _ = another_host(fixture).await.read(&mut [0; 16]).await;
            }
        };
        futures::future::join_all((0..600).map(|_| one())).await;
    };
    let honest = async {
        for _ in 0..20 {
            let (_, tls) = mallory(fixture).await;
            assert_eq!(
                attempt(fixture, tls).await,
                End::Let,
                "an honest client comes in while they are silent"
            );
        }
    };
    tokio::select! {
        _ = flood => unreachable!("it never ends"),
        () = honest => {}
    }
}

/// Connects from another address than the honest clients.
async fn another_host(fixture: &Fixture) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    socket.connect(fixture.market.address()).await.unwrap()
}
