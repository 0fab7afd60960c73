//! Views of accounts, and of how the market identifies its caller.

use serde::Serialize;
use souk_certs::connector::Dial;
use souk_client::{Error, error::required};
use souk_proto::v1;

use super::{or_dash, time};
use crate::{output::Shown, plain};

fn role(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "unknown",
        v1::Role::Seller => "seller",
        v1::Role::Buyer => "buyer",
        v1::Role::Operator => "operator",
    }
}

fn address(address: Option<&v1::CallbackAddress>) -> Option<String> {
    address.map(|address| match address.host.contains(':') {
        true => format!("[{}]:{}", plain(&address.host), address.port),
        false => format!("{}:{}", plain(&address.host), address.port),
    })
}

/// A registered party. `callback` is `None` if its events come by a stream.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView {
    party_id: String,
    role: &'static str,
    display_name: String,
    register_time: Option<String>,
    callback: Option<String>,
}

impl From<&v1::Account> for AccountView {
    fn from(account: &v1::Account) -> Self {
        Self {
            party_id: plain(&account.party_id),
            role: role(account.role()),
            display_name: plain(&account.display_name),
            register_time: time(account.register_time.as_ref()),
            callback: address(account.callback.as_ref()),
        }
    }
}

impl Shown for AccountView {
    const HEADINGS: &'static [&'static str] = &["party", "role", "name", "registered", "callback"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.party_id.clone(),
            self.role.to_owned(),
            self.display_name.clone(),
            or_dash(self.register_time.clone()),
            self.callback.clone().unwrap_or_else(|| "none: events come by a stream".to_owned()),
        ]
    }
}

/// How the market identifies the caller. `account` is `None` before registration.
#[derive(Clone, Debug, Serialize)]
pub struct WhoView {
    account: Option<AccountView>,
    spiffe_id: String,
    serial_number: String,
    sha256_thumbprint: String,
    not_before: Option<String>,
    not_after: Option<String>,
    token_expire_time: Option<String>,
    peer_address: String,
    market: String,
}

impl WhoView {
    /// Creates the view of an answer from the market at this address.
    ///
    /// # Errors
    /// The answer lacks the certificate.
    pub fn new(who: &v1::WhoAmIResponse, market: &Dial) -> Result<Self, Error> {
        let certificate = required(who.certificate.as_ref(), "certificate")?;
        Ok(Self {
            account: who.account.as_ref().map(AccountView::from),
            spiffe_id: plain(&certificate.spiffe_id),
            serial_number: plain(&certificate.serial_number),
            sha256_thumbprint: plain(&certificate.sha256_thumbprint),
            not_before: time(certificate.not_before.as_ref()),
            not_after: time(certificate.not_after.as_ref()),
            token_expire_time: who.token.as_ref().and_then(|token| time(token.expire_time.as_ref())),
            peer_address: plain(&who.peer_address),
            market: market.to_string(),
        })
    }
}

impl Shown for WhoView {
    const HEADINGS: &'static [&'static str] = &[
        "party",
        "role",
        "name",
        "registered",
        "callback",
        "certificate",
        "serial",
        "sha-256",
        "valid from",
        "valid until",
        "token until",
        "you come from",
        "market",
    ];

    fn cells(&self) -> Vec<String> {
        let unknown = || vec!["-".to_owned(); AccountView::HEADINGS.len()];
        let mut cells = self.account.as_ref().map_or_else(unknown, Shown::cells);
        cells.extend([
            self.spiffe_id.clone(),
            self.serial_number.clone(),
            self.sha256_thumbprint.clone(),
            or_dash(self.not_before.clone()),
            or_dash(self.not_after.clone()),
            or_dash(self.token_expire_time.clone()),
            self.peer_address.clone(),
            self.market.clone(),
        ]);
        cells
    }
}

/// The number of events that wait in a mailbox, and how their delivery goes.
#[derive(Clone, Debug, Serialize)]
pub struct MailboxView {
    pending_count: i64,
    oldest_time: Option<String>,
    acknowledged_sequence: i64,
    callback: Option<String>,
    failure_count: i32,
    next_attempt_time: Option<String>,
    last_failure: String,
    consumers: Vec<ConsumerView>,
}

/// A consumer of the mailbox that has a name.
#[derive(Clone, Debug, Serialize)]
struct ConsumerView {
    name: String,
    acknowledged_sequence: i64,
    pending_count: i64,
    seen_time: Option<String>,
    connected: bool,
}

impl From<&v1::Consumer> for ConsumerView {
    fn from(consumer: &v1::Consumer) -> Self {
        Self {
            name: plain(&consumer.name),
            acknowledged_sequence: consumer.acknowledged_sequence,
            pending_count: consumer.pending_count,
            seen_time: time(consumer.seen_time.as_ref()),
            connected: consumer.connected,
        }
    }
}

impl ConsumerView {
    fn sentence(&self) -> String {
        let state = match &self.seen_time {
            _ if self.connected => "connected".to_owned(),
            Some(time) => format!("last seen {time}"),
            None => "not connected".to_owned(),
        };
        format!("{}: {} waiting, {state}", self.name, self.pending_count)
    }
}

impl From<&v1::MailboxStatusResponse> for MailboxView {
    fn from(status: &v1::MailboxStatusResponse) -> Self {
        Self {
            pending_count: status.pending_count,
            oldest_time: time(status.oldest_time.as_ref()),
            acknowledged_sequence: status.acknowledged_sequence,
            callback: address(status.callback.as_ref()),
            failure_count: status.failure_count,
            next_attempt_time: time(status.next_attempt_time.as_ref()),
            last_failure: plain(&status.last_failure),
            consumers: status.consumers.iter().map(ConsumerView::from).collect(),
        }
    }
}

impl Shown for MailboxView {
    const HEADINGS: &'static [&'static str] = &[
        "waiting",
        "oldest",
        "delivered up to",
        "callback",
        "failures",
        "next attempt",
        "last failure",
        "consumers",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.pending_count.to_string(),
            or_dash(self.oldest_time.clone()),
            self.acknowledged_sequence.to_string(),
            or_dash(self.callback.clone()),
            self.failure_count.to_string(),
            or_dash(self.next_attempt_time.clone()),
            self.last_failure.clone(),
            self.consumers.iter().map(ConsumerView::sentence).collect::<Vec<_>>().join("; "),
        ]
    }
}
