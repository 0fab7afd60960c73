//! One dial: resolve, connect, handshake, and look whom we got.

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

/// How long a dial waits for the server's first word after the handshake.
const ADMISSION_WAIT: Duration = Duration::from_millis(500);

/// A connection to a server whose identity was checked.
pub type Secured = WriteBuffer<TlsStream<TcpStream>>;

/// Dials `target` and expects `server` there: each address that the name resolves to is tried in turn, each
/// with its share of what is left of `limit`.
///
/// # Errors
/// A [`DialError`] that says which step failed, and why.
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
    tcp.set_nodelay(true).map_err(failed(DialStep::Tcp))?;
    let name = ServerName::try_from(server.dns_name(domain))
        .map_err(|error| failed(DialStep::Tls)(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let mut tls = within(deadline, TlsConnector::from(config).connect(name, tcp))
        .await
        .map_err(failed(DialStep::Tls))?;
    if let Err(impostor) = check(&tls, server, domain) {
        return Err(DialError { step: DialStep::Tls, target: target.clone(), source: Box::new(impostor) });
    }
    admission(&mut tls, deadline).await.map_err(failed(DialStep::Tls))?;
    Ok(WriteBuffer::new(tls))
}

/// The steps of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialStep {
    /// Finding the addresses of the host name.
    Resolve,
    /// Connecting to one of them.
    Tcp,
    /// The handshake, and finding the expected identity.
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

/// A failed dial.
#[derive(Debug, Error)]
#[error("cannot {step} {target}")]
pub struct DialError {
    /// Where it failed.
    pub step: DialStep,
    /// What was dialled.
    pub target: Dial,
    /// Why: an [`io::Error`], with a [`rustls::Error`] inside when TLS refused the server, or an
    /// [`Impostor`].
    pub source: Box<dyn Error + Send + Sync>,
}

/// The server has a good certificate, but is not the one that was expected, or doesn't speak the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Impostor {
    /// It did not negotiate HTTP/2.
    #[error("the server did not negotiate h2")]
    NotH2,
    /// Its certificate names no party of the trust domain.
    #[error("the server's certificate was refused")]
    Certificate(#[from] CertificateError),
    /// It is another party.
    #[error("the server is not the expected {}, but another party", expected.role())]
    OtherParty {
        /// Whom we wanted.
        expected: Identity,
        /// Who it is.
        found: Identity,
    },
}

/// The failed dial among the sources of an error, such as a `tonic::Status`.
#[must_use]
pub fn dial_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a DialError> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// What TLS said, from among the sources of an error: [`rustls::Error::AlertReceived`] when the other side
/// refused us (e.g. `CertificateRevoked`), anything else when we refused it.
#[must_use]
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its causes. An [`io::Error`] doesn't count what it wraps among its sources, only the sources
/// of that.
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

/// The first address that answers; an address that swallows packets can't use up the time of those behind it.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let addresses_left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match within(Instant::now() + left / addresses_left, TcpStream::connect(address)).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Waits until the server speaks, which it does once it has accepted our certificate.
///
/// In TLS 1.3 the client's handshake is over before the server has looked at the client's certificate, so a
/// refusal comes as an alert in the first read. Left to HTTP/2, its reason would be lost: h2 keeps only the
/// text of an error. An HTTP/2 server sends its SETTINGS unasked (RFC 9113 §3.4); one that waits for the
/// client's first is not waited for long.
async fn admission(tls: &mut TlsStream<TcpStream>, deadline: Instant) -> io::Result<()> {
    let deadline = deadline.min(Instant::now() + ADMISSION_WAIT);
    match timeout_at(deadline, tls.fill_buf()).await {
        Ok(Ok([])) => Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the server closed the connection after the handshake; it may not let this party in",
        )),
        Ok(Err(refusal)) => Err(refusal),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it took too long");
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late()))
}

fn check(tls: &TlsStream<TcpStream>, expected: Identity, domain: &TrustDomain) -> Result<(), Impostor> {
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(ALPN_H2) {
        return Err(Impostor::NotH2);
    }
    let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or(CertificateError::NotX509)?;
    match PeerCertificate::from_der(leaf, domain)?.identity() {
        found if found == expected => Ok(()),
        found => Err(Impostor::OtherParty { expected, found }),
    }
}
