//! Opens a connection to find out which step fails.
//!
//! With TLS 1.3 the client's side of the handshake is over before the server has judged the client's
//! certificate. An HTTP/2 client then writes at once, and how much it sees of the server's alert depends on
//! timing and on how its layers pass errors on. A probe writes nothing and waits for the server's first
//! bytes: either HTTP/2 settings, or the alert.

use std::{io, time::Duration};

use rustls::pki_types::ServerName;
use souk_certs::{
    client::ClientTls,
    connector::Dial,
    identity::{Identity, TrustDomain},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Error, error::Step};

/// The timeout of each step of a probe.
pub(crate) const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// Repeats the steps of a connection one by one, to find the one that fails.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    market: Dial,
    server: ServerName<'static>,
    tls: ClientTls,
}

impl Probe {
    /// Creates a probe of the market at this address. Nothing is sent before [`run`](Self::run).
    pub(crate) fn new(market: Dial, domain: &TrustDomain, tls: ClientTls) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "a trust domain consists of DNS labels, and its length is bounded"
        )]
        let server =
            ServerName::try_from(Identity::Market.dns_name(domain)).expect("the market has a DNS name");
        Self { market, server, tls }
    }

    /// Runs all steps in order.
    ///
    /// # Errors
    /// Returns the error of the first step that failed.
    pub(crate) async fn run(&self) -> Result<(), Error> {
        let tcp = self.connect().await?;
        let stream = self.handshake(tcp).await?;
        self.verdict(stream).await
    }

    /// Resolves the market's name and opens a TCP connection to the first address that answers.
    pub(crate) async fn connect(&self) -> Result<TcpStream, Error> {
        let name = (self.market.host.as_str(), self.market.port);
        let addresses = within(lookup_host(name)).await.map_err(|error| self.failed(Step::Resolve, error))?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match within(TcpStream::connect(address)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(self.failed(Step::Tcp, failure))
    }

    /// Performs the client's side of the handshake.
    pub(crate) async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        let connector = TlsConnector::from(self.tls.load());
        within(connector.connect(self.server.clone(), tcp))
            .await
            .map_err(|error| self.failed(Step::Tls, error))
    }

    /// Waits for the server's verdict on the client's certificate. A server that stays silent for a while has
    /// not rejected it.
    pub(crate) async fn verdict(&self, mut stream: TlsStream<TcpStream>) -> Result<(), Error> {
        let mut first = [0];
        match timeout(STEP_TIMEOUT, stream.read(&mut first)).await {
            Ok(Ok(0)) => {
                let error = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the market hung up right after the handshake",
                );
                Err(self.failed(Step::Call, error))
            }
            Ok(Err(error)) => Err(self.failed(Step::Call, error)),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    fn failed(&self, step: Step, error: io::Error) -> Error {
        match Error::from_transport(&error, &self.market) {
            Error::Unreachable { source, market, .. } => Error::Unreachable { step, market, source },
            failure => failure,
        }
    }
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {STEP_TIMEOUT:?}"));
    timeout(STEP_TIMEOUT, step).await.unwrap_or_else(|_| Err(late()))
}
