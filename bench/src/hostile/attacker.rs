//! The attacker, a process of its own: a stranger on another address who also holds the certificates of one seller
//! and one buyer.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use futures::future::LocalBoxFuture;
use rustls::{ClientConfig, pki_types::ServerName};
use souk_certs::{
    client::client_config,
    clock,
    credentials::{CredentialFiles, Credentials},
    identity::{Identity, TrustDomain},
};
use souk_testkit::frames::{Repeated, call_headers};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    link::{Link, Reading},
    pace::Pace,
    passes::{Pass, Passes},
};

/// The attacker's address. The honest client's is 127.0.0.1; all of 127.0.0.0/8 are addresses of this machine.
pub(super) const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 66, 0, 1));
/// How often the number of hits is printed.
const REPORT_EVERY: Duration = Duration::from_millis(50);
/// How long a session that failed at once waits before the next, so that a closed port costs nothing.
const AFTER_FAILURE: Duration = Duration::from_millis(1);
/// How long a connection is used at a sink, for attacks that would be hung up on.
const AT_SINK: Duration = Duration::from_millis(5);

/// Attack a market. Started by `hostile`.
#[derive(Args)]
pub(crate) struct AttackArgs {
    /// Name of the case.
    #[arg(long)]
    pub(super) case: String,
    /// Folder with the certificates and passes.
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// The address to attack.
    #[arg(long)]
    pub(super) target: SocketAddr,
    /// The target is a sink, which answers nothing, and this is the share of a core that the attacker may use.
    #[arg(long)]
    pub(super) share: Option<f64>,
}

/// The attacker. Clones share everything.
#[derive(Clone)]
pub(super) struct Attacker {
    target: SocketAddr,
    name: String,
    pub(super) dir: Arc<Path>,
    pub(super) passes: Arc<Passes>,
    seller: Arc<ClientConfig>,
    buyer: Arc<ClientConfig>,
    pace: Pace,
    is_blind: bool,
}

/// As whom the attacker connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Seller,
    Buyer,
}

/// What an attacker does on one connection. It is repeated until the process is killed.
pub(super) type Session = fn(Attacker) -> LocalBoxFuture<'static, anyhow::Result<()>>;

impl Attacker {
    fn new(args: &AttackArgs) -> anyhow::Result<Self> {
        let passes = Passes::read(&args.dir)?;
        let load = |pass: &Pass| {
            let files = CredentialFiles::beside(&pass.certificate);
            anyhow::Ok(client_config(&Credentials::load(&files, &TrustDomain::default(), clock::now())?)?)
        };
        Ok(Self {
            target: args.target,
            name: Identity::Market.dns_name(&TrustDomain::default()),
            dir: args.dir.as_path().into(),
            seller: load(&passes.seller)?,
            buyer: load(&passes.buyer)?,
            passes: Arc::new(passes),
            pace: Pace::new(args.share),
            is_blind: args.share.is_some(),
        })
    }

    /// Counts something that the attacker has done.
    pub(super) async fn hit(&self) {
        self.pace.hit(1).await;
    }

    /// Returns the certificate of a party for TLS.
    pub(super) fn tls_of(&self, who: Who) -> Arc<ClientConfig> {
        Arc::clone(if who == Who::Seller { &self.seller } else { &self.buyer })
    }

    fn pass_of(&self, who: Who) -> &Pass {
        if who == Who::Seller { &self.passes.seller } else { &self.passes.buyer }
    }

    /// Opens a TCP connection.
    pub(super) async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((SOURCE, 0).into())?;
        let stream = socket.connect(self.target).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Opens a TLS connection. Its peer may not have verified the certificate yet.
    pub(super) async fn tls(&self, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.name.clone()).map_err(io::Error::other)?;
        TlsConnector::from(config).connect(name, self.tcp().await?).await
    }

    /// Opens an HTTP/2 connection as a party.
    pub(super) async fn link(&self, who: Who) -> io::Result<Link> {
        self.link_that(Reading::Everything, who).await
    }

    /// Opens an HTTP/2 connection as a party, on which answers are read or not.
    pub(super) async fn link_that(&self, reading: Reading, who: Who) -> io::Result<Link> {
        let stream = self.tls(self.tls_of(who)).await?;
        Link::open(stream, reading, self.pace.clone(), self.is_blind).await
    }

    /// Returns the headers of a party's calls to a method, such as `CatalogService/SearchItem`.
    pub(super) fn headers(&self, who: Who, method: &str) -> Repeated {
        self.headers_of_path(who, &format!("/shopping.v1.{method}"))
    }

    /// Returns the headers of a party's calls to a path.
    pub(super) fn headers_of_path(&self, who: Who, path: &str) -> Repeated {
        let Pass { id, token, .. } = self.pass_of(who);
        let bearer = format!("Bearer {token}");
        self.headers_with(path, &[("x-party-id", id.as_str()), ("authorization", bearer.as_str())])
    }

    /// Returns the headers of calls with this metadata.
    pub(super) fn headers_with(&self, path: &str, metadata: &[(&str, &str)]) -> Repeated {
        Repeated::new(&call_headers(&self.name, path, metadata))
    }

    /// Reads until the peer hangs up. A sink does not; there it takes as long as a refusal would.
    pub(super) async fn hung_up(&self, mut stream: impl AsyncRead + Unpin) {
        let reading = async { while let Ok(1..) = stream.read(&mut [0; 1_024]).await {} };
        if self.is_blind {
            let _ = timeout(AT_SINK, reading).await;
        } else {
            reading.await;
        }
    }

    /// Reads the first bytes of the peer, or that it hangs up, and returns whether it has let the attacker in.
    pub(super) async fn is_let_in(&self, mut stream: impl AsyncRead + Unpin) -> bool {
        !self.is_blind && matches!(stream.read(&mut [0; 64]).await, Ok(1..))
    }

    /// Returns the address that is attacked.
    pub(super) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Returns whether the target answers; a sink does not.
    pub(super) fn answers(&self) -> bool {
        !self.is_blind
    }

    /// Reports that the market has let something through that it must refuse.
    pub(super) fn breach(&self, what: &str) {
        report(&format!("breach {what}"));
    }
}

/// Repeats a session, so many times at once, until the process is killed.
pub(super) async fn attack(args: &AttackArgs, at_once: usize, session: Session) -> anyhow::Result<()> {
    let attacker = Attacker::new(args).context("the attacker's passes")?;
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            let mut sessions = JoinSet::new();
            for _ in 0..at_once {
                let attacker = attacker.clone();
                sessions.spawn_local(async move {
                    loop {
                        let before = attacker.pace.hits();
                        let ended = session(attacker.clone()).await;
                        if attacker.pace.hits() == before {
                            // Printed by `hostile` if the attack never begins.
                            if let Err(error) = ended {
                                report(&format!("failed {error:#}"));
                            }
                            sleep(AFTER_FAILURE).await;
                        }
                    }
                });
            }
            loop {
                report(&format!("hits {}", attacker.pace.hits()));
                sleep(REPORT_EVERY).await;
            }
        })
        .await
}

/// Prints a line for `hostile`. If it has gone, the attack ends with it.
fn report(line: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
