//! Strangers, and what happens before the first byte of HTTP.

use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

use super::silent;
use crate::hostile::{
    attacker::{Attacker, Who},
    case::cases,
};

cases!(
    Market 60 forged_chains "a leaf and ten self-made authorities that share subject and issuer",
    Market 16 without_eku "a certificate of the market's authority without extended key usage",
    Market 16 for_key_encipherment "a certificate of the market's authority that may not sign",
    Market 128 no_certificate "handshakes without a certificate",
    Market 128 foreign_certificate "handshakes with a certificate of another authority",
    Market 32 half_handshakes "the first half of a handshake",
    Market 500 silent_sockets "connections that send nothing",
    Market 300 slow_client_hello "a byte of the handshake every 100 ms",
    Market 32 garbage "random bytes instead of TLS",
    Market 32 endless_client_hello "a handshake message of 16 MiB",
    Market 32 party_connections "one connection after another of a party",
    Market 200 held_connections "more connections than a party may have, which stay open",
    Market 64 silent_parties "connections of a party that never begin HTTP/2",
);

/// How long a slow sender waits between two bytes.
const SLOW: Duration = Duration::from_millis(100);
/// The number of authorities in a forged chain.
const AUTHORITIES: usize = 10;
/// A TLS record (RFC 8446 §5.1) with 16 KiB of a handshake message.
const RECORD: usize = 16 * 1024;

/// Returns a client's configuration that presents this chain, or no certificate.
fn client(
    dir: &Path,
    chain: Option<(Vec<CertificateDer<'static>>, &KeyPair)>,
) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("pki/ca.pem"))?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots);
    let mut config = match chain {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Returns what an authority signs for a party.
fn leaf(uri: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Returns the parameters of a self-made authority, which are the same for all of them.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Anybody");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

const STRANGER: &str = "spiffe://souk.internal/seller/5f0e7b3a-6a0e-4d0e-9c0e-6f1f5a1f2b3c";

/// Makes a chain of this many authorities that did not sign each other.
fn forge(dir: &Path, authorities: usize) -> anyhow::Result<Arc<ClientConfig>> {
    let (key, issuer) = (KeyPair::generate()?, Issuer::new(authority(), KeyPair::generate()?));
    let mut chain = vec![leaf(STRANGER)?.signed_by(&key, &issuer)?.der().clone()];
    for _ in 0..authorities {
        chain.push(authority().self_signed(&KeyPair::generate()?)?.der().clone());
    }
    client(dir, Some((chain, &key)))
}

/// Has the market's own authority sign something that it should not.
fn sign_wrongly(dir: &Path, change: fn(&mut CertificateParams)) -> anyhow::Result<Arc<ClientConfig>> {
    let pem = |file| fs::read_to_string(dir.join("pki").join(file));
    let issuer = Issuer::from_ca_cert_pem(&pem("ca.pem")?, KeyPair::from_pem(&pem("ca.key")?)?)?;
    let mut params = leaf(STRANGER)?;
    let now = souk_certs::clock::now();
    (params.not_before, params.not_after) = (now - Duration::from_secs(60), now + Duration::from_secs(3_600));
    change(&mut params);
    let key = KeyPair::generate()?;
    client(dir, Some((vec![params.signed_by(&key, &issuer)?.der().clone()], &key)))
}

/// Makes a configuration once: keys cost more CPU time than handshakes.
fn once(
    made: &'static OnceLock<Arc<ClientConfig>>,
    make: impl FnOnce() -> anyhow::Result<Arc<ClientConfig>>,
) -> anyhow::Result<Arc<ClientConfig>> {
    if made.get().is_none() {
        // Nobody else sets it: all sessions run on one thread, and this does not wait.
        let _ = made.set(make()?);
    }
    made.get().cloned().context("it was just set")
}

/// Shakes hands, and waits for the refusal.
async fn shake_hands(attacker: &Attacker, config: Arc<ClientConfig>) -> anyhow::Result<()> {
    let stream = attacker.tls(config).await;
    attacker.hit().await;
    attacker.hung_up(stream?).await;
    Ok(())
}

async fn forged_chains(attacker: Attacker) -> anyhow::Result<()> {
    static MADE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    shake_hands(&attacker, once(&MADE, || forge(&attacker.dir, AUTHORITIES))?).await
}

async fn foreign_certificate(attacker: Attacker) -> anyhow::Result<()> {
    static MADE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    shake_hands(&attacker, once(&MADE, || forge(&attacker.dir, 0))?).await
}

async fn no_certificate(attacker: Attacker) -> anyhow::Result<()> {
    static MADE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    shake_hands(&attacker, once(&MADE, || client(&attacker.dir, None))?).await
}

async fn without_eku(attacker: Attacker) -> anyhow::Result<()> {
    static MADE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let change = |params: &mut CertificateParams| params.extended_key_usages.clear();
    let config = once(&MADE, || sign_wrongly(&attacker.dir, change))?;
    let_in(&attacker, config).await
}

async fn for_key_encipherment(attacker: Attacker) -> anyhow::Result<()> {
    static MADE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let change = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let config = once(&MADE, || sign_wrongly(&attacker.dir, change))?;
    let_in(&attacker, config).await
}

/// Shakes hands with a certificate that must be refused.
async fn let_in(attacker: &Attacker, config: Arc<ClientConfig>) -> anyhow::Result<()> {
    let stream = attacker.tls(config).await;
    attacker.hit().await;
    if attacker.is_let_in(stream?).await {
        attacker.breach("the certificate was accepted");
    }
    Ok(())
}

async fn half_handshakes(attacker: Attacker) -> anyhow::Result<()> {
    let name = ServerName::try_from("market.souk.internal")?;
    let mut hello = Vec::new();
    ClientConnection::new(attacker.tls_of(Who::Seller), name)?.write_tls(&mut hello)?;
    let mut stream = attacker.tcp().await?;
    stream.write_all(&hello).await?;
    attacker.hit().await;
    // Until the market has chosen a key and signed.
    let _ = stream.read(&mut [0; 1_024]).await?;
    Ok(())
}

async fn silent_sockets(attacker: Attacker) -> anyhow::Result<()> {
    silent(attacker).await
}

async fn slow_client_hello(attacker: Attacker) -> anyhow::Result<()> {
    let mut stream = attacker.tcp().await?;
    // A handshake record of 512 bytes, whose message is a ClientHello.
    for byte in [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(0)) {
        stream.write_all(&[byte]).await?;
        attacker.hit().await;
        sleep(SLOW).await;
    }
    Ok(())
}

async fn garbage(attacker: Attacker) -> anyhow::Result<()> {
    let mut stream = attacker.tcp().await?;
    let bytes: Vec<_> =
        (0..4_096_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    stream.write_all(&bytes).await?;
    attacker.hit().await;
    attacker.hung_up(stream).await;
    Ok(())
}

async fn endless_client_hello(attacker: Attacker) -> anyhow::Result<()> {
    let mut stream = attacker.tcp().await?;
    let mut record = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 3, 3];
    record.resize(5 + RECORD, 0);
    loop {
        stream.write_all(&record).await?;
        attacker.hit().await;
        record[5..].fill(0);
    }
}

async fn party_connections(attacker: Attacker) -> anyhow::Result<()> {
    let mut stream = attacker.tls(attacker.tls_of(Who::Buyer)).await?;
    attacker.hit().await;
    stream.shutdown().await?;
    Ok(())
}

async fn held_connections(attacker: Attacker) -> anyhow::Result<()> {
    let mut link = attacker.link(Who::Buyer).await?;
    attacker.hit().await;
    link.closed().await?;
    Ok(())
}

async fn silent_parties(attacker: Attacker) -> anyhow::Result<()> {
    let stream = attacker.tls(attacker.tls_of(Who::Buyer)).await?;
    attacker.hit().await;
    attacker.hung_up(stream).await;
    Ok(())
}
