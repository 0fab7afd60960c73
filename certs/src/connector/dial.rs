//! A single dial attempt: resolve, connect, TLS handshake, and verify the server's identity.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Dial;
use crate::identity::{CertificateError, Identity, PeerCertificate, TrustDomain};
use crate::tls::ALPN_H2;
use crate::write_buffer::WriteBuffer;

/// How long a dial waits after the handshake for the server's first bytes.
const ADMISSION_WAIT: Duration = Duration::from_millis(500);

/// A TLS connection to a server whose identity has been verified.
pub type Secured = WriteBuffer<TlsStream<TcpStream>>;

/// Dials `target` and verifies that the peer is `server`.
///
/// The addresses that the name resolves to are tried in turn, each with an equal share of the time that is
/// left of `limit`.
///
/// # Errors
/// Returns a [`DialError`] with the step that failed and the cause.
pub async fn dial(
    target: &Dial,
    server: Identity,
    config: Arc<ClientConfig>,
    domain: &TrustDomain,
    limit: Duration,
) -> Result<Secured, DialError> {
    let deadline = Instant::now() + limit;
    let failed =
        |step| move |source: io::Error| DialError { step, target: target.clone(), source: Box::new(source) };
    let addresses = within(deadline, resolve(target)).await.map_err(failed(DialStep::Resolve))?;
    let tcp = connect(&addresses, deadline).await.map_err(failed(DialStep::Tcp))?;
    // Nagle's algorithm would hold back a small call until the previous one is acknowledged.
    tcp.set_nodelay(true).map_err(failed(DialStep::Tcp))?;
    let name = ServerName::try_from(server.dns_name(domain))
        .map_err(|error| failed(DialStep::Tls)(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let mut tls = within(deadline, TlsConnector::from(config).connect(name, tcp))
        .await
        .map_err(failed(DialStep::Tls))?;
    // Before any call is sent: rustls has verified the chain and the DNS name, but not the role and the SPIFFE
    // ID.
    if let Err(impostor) = check(&tls, server, domain) {
        return Err(DialError { step: DialStep::Tls, target: target.clone(), source: Box::new(impostor) });
    }
    admission(&mut tls, deadline).await.map_err(failed(DialStep::Tls))?;
    Ok(WriteBuffer::new(tls))
}

/// A step of a dial, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialStep {
    /// Resolving the host name to addresses.
    Resolve,
    /// Connecting to one of the addresses.
    Tcp,
    /// The TLS handshake, the identity check, and the wait for the server to accept our certificate.
    Tls,
}

impl fmt::Display for DialStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialStep::Resolve => "resolve",
            DialStep::Tcp => "connect to",
            DialStep::Tls => "agree on TLS with",
        })
    }
}

/// A failed dial: the step, the address and the cause.
#[derive(Debug, Error)]
#[error("cannot {step} {target}")]
pub struct DialError {
    /// The step that failed.
    pub step: DialStep,
    /// The address that was dialled.
    pub target: Dial,
    /// The cause: an [`Impostor`], or an [`io::Error`] that wraps a [`rustls::Error`] if either side rejected
    /// the handshake.
    pub source: Box<dyn Error + Send + Sync>,
}

/// TLS trusts the server, but it is not the expected party or does not speak HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Impostor {
    /// ALPN did not select HTTP/2.
    #[error("the server did not negotiate h2")]
    NotH2,
    /// The certificate does not name exactly one party of the trust domain.
    #[error("the server's certificate was rejected")]
    Certificate(#[from] CertificateError),
    /// The certificate names a party other than the expected one.
    #[error("the server is not the expected {}, but another party", expected.role())]
    OtherParty {
        /// The identity that the caller asked for.
        expected: Identity,
        /// The identity in the server's certificate.
        found: Identity,
    },
}

/// Returns the [`DialError`] among the sources of an error such as a `tonic::Status`, if there is one.
#[must_use]
pub fn dial_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a DialError> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Returns the [`rustls::Error`] among the sources of an error, if there is one.
///
/// [`rustls::Error::AlertReceived`] means that the other side rejected us (e.g. with `CertificateRevoked`);
/// any other variant means that we rejected it.
#[must_use]
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Iterates over an error and its causes.
///
/// `source()` of an [`io::Error`] skips the error that it wraps and returns that error's source. rustls
/// errors arrive wrapped this way, so a plain walk along `source()` would miss them.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

async fn resolve(target: &Dial) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = tokio::net::lookup_host((target.host.as_str(), target.port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Connects to the first address that answers. Each address gets a share of the remaining time, so that one
/// that drops packets cannot use up the time of those after it.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for (tried, address) in addresses.iter().enumerate() {
        // Shares are computed again for each address, so that time which one did not use goes to the others.
        let left = deadline.saturating_duration_since(Instant::now());
        let addresses_left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match within(Instant::now() + left / addresses_left, TcpStream::connect(address)).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Waits until the server sends its first bytes, which means that it has accepted our certificate.
///
/// In TLS 1.3 the client completes the handshake before the server has verified the client's certificate, so
/// a rejection arrives as an alert on the first read. If that read were left to HTTP/2, the reason would be
/// lost: h2 keeps only the text of an error. An HTTP/2 server sends SETTINGS without being asked (RFC 9113
/// §3.4). A server that waits for the client's preface first is allowed too, at the cost of
/// [`ADMISSION_WAIT`].
async fn admission(tls: &mut TlsStream<TcpStream>, deadline: Instant) -> io::Result<()> {
    let deadline = deadline.min(Instant::now() + ADMISSION_WAIT);
    // `fill_buf` consumes nothing: HTTP/2 has to see these bytes again.
    match timeout_at(deadline, tls.fill_buf()).await {
        Ok(Ok([])) => Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the server closed the connection after the handshake; it may not admit this party",
        )),
        Ok(Err(refusal)) => Err(refusal),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "timed out");
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late()))
}

fn check(tls: &TlsStream<TcpStream>, expected: Identity, domain: &TrustDomain) -> Result<(), Impostor> {
    let (_, session) = tls.get_ref();
    // A server without ALPN is no gRPC server. HTTP/2 would fail on it with a protocol error that explains
    // nothing.
    if session.alpn_protocol() != Some(ALPN_H2) {
        return Err(Impostor::NotH2);
    }
    let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or(CertificateError::NotX509)?;
    match PeerCertificate::from_der(leaf, domain)?.identity() {
        found if found == expected => Ok(()),
        found => Err(Impostor::OtherParty { expected, found }),
    }
}
