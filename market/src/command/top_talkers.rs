//! `market admin top-talkers`: who uses the market most.

use std::time::Duration;

use clap::Args;
use souk_cli::{Cell, CliSession, Column, DataField, Failure, Shown, Tone, plain};
use souk_proto::v1;

/// List the parties that used the market most in the last minute: calls, CPU time, bytes, refusals
///
/// Those whose calls kept the market's threads busy for longest come first. The figures are those of the market that
/// answers: of several markets on one database, ask each.
#[derive(Args)]
#[command(
    after_help = "Example:\n  market admin top-talkers --limit 5\n  market admin suspend UUID --reason \"floods the market\""
)]
pub(super) struct TopTalkers {
    /// How many parties or addresses to show at most, 1 to 200.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=200))]
    limit: i32,
    /// List the addresses with the most failed handshakes instead: hosts without a valid certificate.
    #[arg(long)]
    strangers: bool,
}

impl TopTalkers {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let top = session.call(v1::ListTopTalkersRequest { limit: self.limit }).await?;
        if self.strangers {
            session.printer().list(&top.strangers.into_iter().map(StrangerRow::of).collect::<Vec<_>>())
        } else {
            session.printer().list(&top.parties.iter().map(PartyRow::of).collect::<Vec<_>>())
        }
    }
}

/// A party as shown to operators.
#[derive(serde::Serialize)]
struct PartyRow {
    party_id: String,
    role: &'static str,
    display_name: String,
    calls: i64,
    cpu_ms: u64,
    refused: i64,
    received_bytes: i64,
    sent_bytes: i64,
    connections: i32,
    suspended: bool,
}

impl PartyRow {
    fn of(usage: &v1::PartyUsage) -> Self {
        let cpu_time = usage.cpu_time.and_then(|time| Duration::try_from(time).ok()).unwrap_or_default();
        Self {
            party_id: usage.party_id.clone(),
            role: match usage.role() {
                v1::Role::Seller => "seller",
                v1::Role::Buyer => "buyer",
                v1::Role::Operator => "operator",
                v1::Role::Market | v1::Role::Unspecified => "market",
            },
            display_name: plain(&usage.display_name),
            calls: usage.call_count,
            cpu_ms: u64::try_from(cpu_time.as_millis()).unwrap_or(u64::MAX),
            refused: usage.refused_count,
            received_bytes: usage.received_bytes,
            sent_bytes: usage.sent_bytes,
            connections: usage.connection_count,
            suspended: usage.suspended,
        }
    }
}

impl Shown for PartyRow {
    const LIST: &'static str = "parties";
    const COLUMNS: &'static [Column] = &[
        Column::word("PARTY"),
        Column::word("ROLE").rank(3),
        Column::text("NAME").rank(1),
        Column::number("CALLS").rank(2),
        Column::number("CPU MS"),
        Column::number("REFUSED").rank(4),
        Column::number("BYTES IN").rank(6),
        Column::number("BYTES OUT").rank(7),
        Column::number("CONNECTIONS").rank(8),
        Column::word("SUSPENDED").rank(5),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("party_id"),
        DataField::value("role"),
        DataField::value("display_name"),
        DataField::value("calls"),
        DataField::value("cpu_ms"),
        DataField::value("refused"),
        DataField::value("received_bytes"),
        DataField::value("sent_bytes"),
        DataField::value("connections"),
        DataField::value("suspended"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::from(&self.party_id),
            self.role.into(),
            Cell::from(&self.display_name),
            self.calls.into(),
            self.cpu_ms.to_string().into(),
            self.refused.into(),
            self.received_bytes.into(),
            self.sent_bytes.into(),
            i64::from(self.connections).into(),
            if self.suspended { Cell::from("yes").tone(Tone::Bad) } else { "".into() },
        ]
    }
}

/// An address as shown to operators.
#[derive(serde::Serialize)]
struct StrangerRow {
    address: String,
    failed_handshakes: i64,
}

impl StrangerRow {
    fn of(failed: v1::FailedHandshakes) -> Self {
        Self { address: failed.address, failed_handshakes: failed.failed_handshake_count }
    }
}

impl Shown for StrangerRow {
    const LIST: &'static str = "strangers";
    const COLUMNS: &'static [Column] = &[Column::word("ADDRESS"), Column::number("FAILED HANDSHAKES")];
    const FIELDS: &'static [DataField] =
        &[DataField::value("address"), DataField::value("failed_handshakes")];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::from(&self.address), self.failed_handshakes.into()]
    }
}
