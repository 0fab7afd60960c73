//! The dialling side: a tonic channel to a party that is verified by its identity, not by its address.
//!
//! The address to dial and the identity to expect are independent. The host name and IP address are never
//! verified; the server's certificate must carry the DNS name and the SPIFFE ID of the expected identity.

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

/// Default for [`ConnectOptions::connect_timeout`], for all addresses of a name together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Default for [`ConnectOptions::keep_alive_interval`]. With [`KEEP_ALIVE_TIMEOUT`], it bounds how long a
/// dead connection stays open.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Default for [`ConnectOptions::keep_alive_timeout`], counted from the unanswered ping.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Maximum duration of a dial, from name resolution to the end of the TLS handshake, over all addresses
    /// of the name.
    pub connect_timeout: Duration,
    /// Interval between HTTP/2 pings, or `None` to send none. They are sent while no call is open too, so that a path that
    /// silently drops packets is detected. Only for servers that are known to permit it: by default, those of C-core,
    /// grpc-go and grpc-java close a connection that is pinged more than once in five minutes.
    pub keep_alive_interval: Option<Duration>,
    /// How long a ping may remain unanswered before the connection is closed.
    pub keep_alive_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive_interval: Some(KEEP_ALIVE_INTERVAL),
            keep_alive_timeout: KEEP_ALIVE_TIMEOUT,
        }
    }
}

/// Returns a channel to `server` at `target`.
///
/// The channel dials on the first call and again after it has lost the connection. A failed dial fails the
/// call that caused it with UNAVAILABLE and a [`DialError`] among its sources, which [`dial_error`] finds.
/// Must be called inside a tokio runtime.
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
        // Loaded for each dial, so that renewed credentials apply to the next connection.
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
    // The connector's URI must be http. If another crate in the build enables tonic's TLS features, tonic
    // would wrap an https connection in its own TLS or reject it. The requests themselves carry the https
    // origin, as gRPC over TLS requires.
    #[expect(clippy::expect_used, reason = "a trust domain, a role and a UUID consist of DNS labels")]
    let (plain, origin) = (uri("http").expect("a valid URI"), uri("https").expect("a valid URI"));
    let endpoint = Endpoint::from(plain).origin(origin);
    let Some(interval) = options.keep_alive_interval else { return endpoint };
    endpoint
        // Otherwise a dead path is noticed only by the next call, which then waits for its deadline.
        .keep_alive_while_idle(true)
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(options.keep_alive_timeout)
}
