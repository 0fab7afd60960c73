//! Calls the callback servers of recipients.
//!
//! The address is an IP address that was checked at registration. The server's certificate must be the recipient's
//! own: its DNS name is verified like a host name. Hence a party can neither have its events sent to another party's
//! server nor make the market talk to an arbitrary service.

use std::{error::Error as _, time::Duration};

use quick_cache::sync::Cache;
use souk_certs::{
    client::ClientTls,
    connector::{self, ConnectOptions, Dial},
    identity::{Identity, TrustDomain},
};
use souk_domain::{Callback, PartyId, Role, Sequence};
use souk_proto::{
    Reason,
    reason::code_name,
    v1::{self, notification_service_client::NotificationServiceClient},
};
use tonic::{Code, Status, transport::Channel};

use crate::access::CallbackPolicy;

/// Maximum number of connections kept open for further batches.
pub const CALLBACK_CONNECTIONS: usize = 1_024;
/// Timeout for connecting to a recipient, including the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for delivering a batch, including connecting.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a probe, including connecting.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum size of a response in bytes. A valid one has about a dozen.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// The reason of a failure, if the recipient was too slow.
pub(super) const NO_ANSWER: &str = "no answer in time";

/// Connects to callback servers.
pub struct Dialer {
    tls: ClientTls,
    domain: TrustDomain,
    policy: CallbackPolicy,
    channels: Cache<Route, Channel>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Route {
    party: PartyId,
    role: Role,
    host: String,
    port: u16,
}

/// A callback server did not prove that it belongs to the party. The text does not reveal what listens there instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody answered there with your certificate in time")]
pub struct ProbeFailure;

/// Why a batch was not delivered.
pub(super) struct SendFailure {
    pub(super) reason: String,
    /// Whether the recipient's program answered with an error.
    pub(super) is_refusal: bool,
}

impl SendFailure {
    /// A failure that says nothing about the events themselves.
    pub(super) fn without_refusal(reason: &str) -> Self {
        Self { reason: reason.to_owned(), is_refusal: false }
    }
}

impl Dialer {
    /// Creates a dialer that presents the market's certificate from `tls`.
    pub fn new(tls: ClientTls, domain: TrustDomain, policy: CallbackPolicy) -> Self {
        Self { tls, domain, policy, channels: Cache::new(CALLBACK_CONNECTIONS) }
    }

    /// Returns the number of connections that are kept.
    pub(super) fn connections(&self) -> usize {
        self.channels.len()
    }

    /// Drops all connections. The next batches use new ones, opened with the market's current certificate and
    /// verified against the current revocation lists.
    pub(super) fn hang_up(&self) {
        self.channels.clear();
    }

    /// Delivers a batch. Returns the last sequence that the recipient has processed.
    ///
    /// # Errors
    /// Returns the reason as a text for `MailboxStatus`, and whether the recipient's program gave it.
    pub(super) async fn send(
        &self,
        callback: &Callback,
        role: Role,
        recipient: PartyId,
        events: Vec<v1::Event>,
    ) -> Result<Sequence, SendFailure> {
        // The operator's policy may have changed since the party registered.
        if !self.policy.permits(callback) {
            let reason = "the market calls this address no more; register another one";
            return Err(SendFailure::without_refusal(reason));
        }
        let route = Route { party: recipient, role, host: callback.host.clone(), port: callback.port };
        let sent = self.notify(&route, events, SEND_TIMEOUT).await;
        if sent.is_err() {
            // The connection may be the problem, so the next attempt opens a new one.
            self.channels.remove(&route);
        }
        sent.map_err(|status| SendFailure { reason: in_words(&status), is_refusal: is_refusal(&status) })
    }

    pub(super) async fn probe(
        &self,
        callback: &Callback,
        role: Role,
        party: PartyId,
    ) -> Result<(), ProbeFailure> {
        let route = Route { party, role, host: callback.host.clone(), port: callback.port };
        self.channels.remove(&route);
        // Without the cached channel, because the probe has to prove that the address answers now. An empty
        // batch changes nothing at the recipient.
        self.notify(&route, Vec::new(), PROBE_TIMEOUT).await.map(|_| ()).map_err(|status| {
            tracing::debug!(%party, %status, "callback probe failed");
            ProbeFailure
        })
    }

    async fn notify(
        &self,
        route: &Route,
        events: Vec<v1::Event>,
        timeout: Duration,
    ) -> Result<Sequence, Status> {
        // A limit on the response, because the recipient is not trusted: it could answer with megabytes.
        let mut client =
            NotificationServiceClient::new(self.channel(route)).max_decoding_message_size(MAX_ANSWER_BYTES);
        let request = v1::NotifyClientRequest { recipient_id: route.party.to_string(), events };
        let answer = tokio::time::timeout(timeout, client.notify_client(request)).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded(NO_ANSWER))??;
        Ok(Sequence(answer.into_inner().acknowledged_sequence))
    }

    fn channel(&self, route: &Route) -> Channel {
        if let Some(channel) = self.channels.get(route) {
            return channel;
        }
        let identity = match route.role {
            Role::Seller => Identity::Seller(route.party.0),
            Role::Buyer => Identity::Buyer(route.party.0),
        };
        let target = Dial { host: route.host.clone(), port: route.port };
        let options = ConnectOptions {
            connect_timeout: CONNECT_TIMEOUT,
            // Servers of other stacks close a connection that is pinged while idle. A dead path costs the next batch its
            // timeout, and the attempt after it dials again.
            keep_alive_interval: None,
            ..ConnectOptions::default()
        };
        // Lazy: nothing is dialled before the first call, so a channel that loses a race for the cache costs
        // nothing.
        let channel = connector::channel(target, identity, self.tls.clone(), &self.domain, options);
        self.channels.insert(route.clone(), channel.clone());
        channel
    }
}

/// Returns whether a recipient's program has refused the events, rather than been unreachable, busy, or unwilling to
/// talk to the market. Only such an answer may concern the events themselves.
fn is_refusal(status: &Status) -> bool {
    // Sent again, the same events are as large as before.
    let is_too_large = Reason::of(status) == Some(Reason::MessageTooLarge);
    let is_about_events = matches!(
        status.code(),
        Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
    );
    is_about_events || is_too_large
}

/// Describes a failure without revealing more than the recipient knows itself: whether it was reached, and its status
/// code.
fn in_words(status: &Status) -> String {
    // tonic attaches a source to statuses that it creates on this side; those from the callback have none.
    let is_own = status.source().is_some();
    match status.code() {
        Code::DeadlineExceeded => NO_ANSWER.to_owned(),
        Code::Unavailable if is_own => {
            "could not connect to the callback with the party's certificate".to_owned()
        }
        code => format!("the callback answered with an error: {}", code_name(code)),
    }
}

#[cfg(test)]
mod tests;
