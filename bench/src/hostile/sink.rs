//! `bench sink`: accepts, reads and discards. What an attacker costs a machine whose server does nothing at all.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const READ_BYTES: usize = 16 * 1024;

/// Accept connections, read and discard everything, and answer nothing
#[derive(Args)]
pub(crate) struct SinkArgs {
    /// Folder with the market's certificate and key, with which the sink terminates TLS; none for plain TCP.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

pub(crate) async fn run(args: SinkArgs) -> anyhow::Result<()> {
    let tls = args.dir.map(|dir| tls(&dir.join("pki"))).transpose()?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("{}", listener.local_addr()?);
    loop {
        // An error concerns one connection only, or passes when others close.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => discard(stream).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        discard(stream).await;
                    }
                }
            }
        });
    }
}

async fn discard(mut stream: impl AsyncRead + Unpin) {
    let mut chunk = vec![0; READ_BYTES];
    while let Ok(1..) = stream.read(&mut chunk).await {}
}

/// Builds the market's configuration of TLS, except that every certificate is accepted.
fn tls(pki: &std::path::Path) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(default_provider());
    let chain = CertificateDer::pem_file_iter(pki.join("market.pem"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(pki.join("market.key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Anybody(provider)))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Asks for a certificate and accepts any, so that the attacker sends the same bytes as to the market.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
