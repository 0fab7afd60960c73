//! The dialling end: a tonic channel to a party that is known by its identity, not by its address.
//!
//! Where to dial and whom to expect are separate: the host name and the IP address are never verified, the
//! server's certificate must carry the DNS name and the SPIFFE ID of the identity that is expected.

mod address;
mod dial;
mod once;

use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};

use crate::client::ClientTls;
use crate::identity::{Identity, TrustDomain};

pub use address::{Dial, DialAddressError};
pub use dial::{DialError, DialStep, Impostor, Secured, dial, dial_error, tls_error};
pub use once::{Closed, ConnectionEnded, connect_once};

/// The time that a dial may take, name resolution and TLS handshake included, unless set otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often an idle connection is checked, and how long the answer may take, unless set otherwise.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// See [`KEEP_ALIVE_INTERVAL`].
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// From the first look-up to the finished TLS handshake, over all addresses of the name.
    pub connect_timeout: Duration,
    /// The pause between HTTP/2 pings, also while no call is open: so that a silent death of the path is
    /// noticed.
    pub keep_alive_interval: Duration,
    /// How long a ping may go unanswered before the connection is given up.
    pub keep_alive_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive_interval: KEEP_ALIVE_INTERVAL,
            keep_alive_timeout: KEEP_ALIVE_TIMEOUT,
        }
    }
}

/// A channel to `server` at `target`. Must be called inside a tokio runtime. It dials at the first call and
/// again after a loss; a failed dial is answered to the call that caused it as UNAVAILABLE with a
/// [`DialError`] among its sources, which [`dial_error`] finds.
#[must_use]
pub fn channel(
    target: Dial,
    server: Identity,
    tls: ClientTls,
    domain: &TrustDomain,
    options: ConnectOptions,
) -> Channel {
    let name = server.dns_name(domain);
    let domain = domain.clone();
    let connect = tower::service_fn(move |_: Uri| {
        let (target, config, domain) = (target.clone(), tls.load(), domain.clone());
        async move {
            let secured = dial(&target, server, config, &domain, options.connect_timeout).await?;
            Ok::<_, DialError>(TokioIo::new(secured))
        }
    });
    endpoint(&name, options).connect_with_connector_lazy(connect)
}

fn endpoint(name: &str, options: ConnectOptions) -> Endpoint {
    let uri = |scheme: &str| Uri::builder().scheme(scheme).authority(name).path_and_query("/").build();
    // The connector's URI stays http: with its TLS features on, which another crate may cause, tonic would
    // wrap an https one into its own TLS or refuse it. Calls carry the origin, as gRPC over TLS should.
    #[expect(clippy::expect_used, reason = "a trust domain, a role and a UUID consist of DNS labels")]
    let (plain, origin) = (uri("http").expect("a valid URI"), uri("https").expect("a valid URI"));
    Endpoint::from(plain)
        .origin(origin)
        .keep_alive_while_idle(true)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
}
