//! Views of accounts, and of how the market identifies its caller.

use serde::Serialize;
use souk_certs::connector::Dial;
use souk_client::{Error, error::required};
use souk_proto::v1;

use crate::{
    fields::DataField,
    output::Shown,
    plain,
    table::{Cell, Column, Tone},
    when::When,
};

fn role(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "unknown",
        v1::Role::Seller => "seller",
        v1::Role::Buyer => "buyer",
        v1::Role::Operator => "operator",
        v1::Role::Market => "market",
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
    register_time: Option<When>,
    callback: Option<String>,
}

impl From<&v1::Account> for AccountView {
    fn from(account: &v1::Account) -> Self {
        Self {
            party_id: plain(&account.party_id),
            role: role(account.role()),
            display_name: plain(&account.display_name),
            register_time: When::of(account.register_time.as_ref()),
            callback: address(account.callback.as_ref()),
        }
    }
}

const ACCOUNT_FIELDS: &[DataField] = &[
    DataField::value("party_id"),
    DataField::value("role"),
    DataField::value("display_name"),
    DataField::value("register_time"),
    DataField::value("callback"),
];

impl Shown for AccountView {
    const LIST: &'static str = "accounts";
    const COLUMNS: &'static [Column] = &[
        Column::word("party"),
        Column::word("role"),
        Column::prose("name"),
        Column::word("registered"),
        Column::prose("callback"),
    ];
    const SELECTABLE: &'static [DataField] = ACCOUNT_FIELDS;

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::from(&self.party_id),
            self.role.into(),
            Cell::from(&self.display_name),
            Cell::time(self.register_time),
            self.callback.clone().unwrap_or_else(|| "none: events come by a stream".to_owned()).into(),
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
    not_before: Option<When>,
    not_after: Option<When>,
    token_expire_time: Option<When>,
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
            not_before: When::of(certificate.not_before.as_ref()),
            not_after: When::of(certificate.not_after.as_ref()),
            token_expire_time: who.token.as_ref().and_then(|token| When::of(token.expire_time.as_ref())),
            peer_address: plain(&who.peer_address),
            market: market.to_string(),
        })
    }
}

impl Shown for WhoView {
    const LIST: &'static str = "callers";
    const COLUMNS: &'static [Column] = &[
        AccountView::COLUMNS[0],
        AccountView::COLUMNS[1],
        AccountView::COLUMNS[2],
        AccountView::COLUMNS[3],
        AccountView::COLUMNS[4],
        Column::word("certificate"),
        Column::word("serial"),
        Column::word("sha-256"),
        Column::word("valid from"),
        Column::word("valid until"),
        Column::word("token until"),
        Column::word("you come from"),
        Column::word("market"),
    ];
    const SELECTABLE: &'static [DataField] = &[
        DataField::object("account", ACCOUNT_FIELDS),
        DataField::value("spiffe_id"),
        DataField::value("serial_number"),
        DataField::value("sha256_thumbprint"),
        DataField::value("not_before"),
        DataField::value("not_after"),
        DataField::value("token_expire_time"),
        DataField::value("peer_address"),
        DataField::value("market"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let unknown = || vec![Cell::time(None); AccountView::COLUMNS.len()];
        let mut cells = self.account.as_ref().map_or_else(unknown, Shown::cells);
        cells.extend([
            Cell::from(&self.spiffe_id),
            Cell::from(&self.serial_number),
            Cell::from(&self.sha256_thumbprint),
            Cell::time(self.not_before),
            Cell::time(self.not_after),
            Cell::time(self.token_expire_time),
            Cell::from(&self.peer_address),
            Cell::from(&self.market),
        ]);
        cells
    }
}

/// The number of events that wait in a mailbox, and how their delivery goes.
#[derive(Clone, Debug, Serialize)]
pub struct MailboxView {
    pending_count: i64,
    oldest_time: Option<When>,
    acknowledged_sequence: i64,
    callback: Option<String>,
    failure_count: i32,
    next_attempt_time: Option<When>,
    last_failure: String,
    consumers: Vec<ConsumerView>,
}

/// A consumer of the mailbox that has a name.
#[derive(Clone, Debug, Serialize)]
struct ConsumerView {
    name: String,
    acknowledged_sequence: i64,
    pending_count: i64,
    seen_time: Option<When>,
    connected: bool,
}

impl From<&v1::Consumer> for ConsumerView {
    fn from(consumer: &v1::Consumer) -> Self {
        Self {
            name: plain(&consumer.name),
            acknowledged_sequence: consumer.acknowledged_sequence,
            pending_count: consumer.pending_count,
            seen_time: When::of(consumer.seen_time.as_ref()),
            connected: consumer.connected,
        }
    }
}

impl ConsumerView {
    fn sentence(&self) -> String {
        let state = match &self.seen_time {
            _ if self.connected => "connected".to_owned(),
            Some(time) => format!("last seen {}", time.rfc3339()),
            None => "not connected".to_owned(),
        };
        format!("{}: {} waiting, {state}", self.name, self.pending_count)
    }
}

impl From<&v1::MailboxStatusResponse> for MailboxView {
    fn from(status: &v1::MailboxStatusResponse) -> Self {
        Self {
            pending_count: status.pending_count,
            oldest_time: When::of(status.oldest_time.as_ref()),
            acknowledged_sequence: status.acknowledged_sequence,
            callback: address(status.callback.as_ref()),
            failure_count: status.failure_count,
            next_attempt_time: When::of(status.next_attempt_time.as_ref()),
            last_failure: plain(&status.last_failure),
            consumers: status.consumers.iter().map(ConsumerView::from).collect(),
        }
    }
}

impl Shown for MailboxView {
    const LIST: &'static str = "mailboxes";
    const PASSING: &'static [&'static str] = &["next_attempt_time", "seen_time"];
    const COLUMNS: &'static [Column] = &[
        Column::number("waiting"),
        Column::word("oldest"),
        Column::number("delivered up to"),
        Column::word("callback"),
        Column::number("failures"),
        Column::word("next attempt"),
        Column::prose("last failure"),
        Column::prose("consumers"),
    ];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("pending_count"),
        DataField::value("oldest_time"),
        DataField::value("acknowledged_sequence"),
        DataField::value("callback"),
        DataField::value("failure_count"),
        DataField::value("next_attempt_time"),
        DataField::value("last_failure"),
        DataField::value("consumers"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let consumers: Vec<_> = self.consumers.iter().map(ConsumerView::sentence).collect();
        let failures = Cell::from(i64::from(self.failure_count));
        vec![
            self.pending_count.into(),
            Cell::time(self.oldest_time),
            self.acknowledged_sequence.into(),
            Cell::or_dash(self.callback.as_deref()),
            if self.failure_count > 0 { failures.tone(Tone::Bad) } else { failures },
            Cell::time(self.next_attempt_time),
            Cell::or_dash(Some(self.last_failure.as_str())),
            Cell::or_dash(Some(consumers.join("\n"))),
        ]
    }
}
