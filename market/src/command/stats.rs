//! `market stats`: figures of the whole market, for operators.

use std::process::ExitCode;

use clap::Args;
use souk_cli::{Cell, CliSession, Column, CommonFlags, DataField, Failure, Shown, When, ended, format_money};
use souk_client::{Error, error::required};
use souk_proto::v1;

/// Show figures of a market: parties, items, orders, revenue, backlog (with an operator's certificate)
#[derive(Args)]
#[command(after_help = "Example:\n  market stats --market 127.0.0.1:7443 --cert certs/pki/olga.pem")]
pub(super) struct StatsArgs {
    #[command(flatten)]
    flags: CommonFlags,
}

pub(super) async fn run(args: StatsArgs) -> ExitCode {
    let output = args.flags.output.unwrap_or_default();
    ended(show(args).await, output)
}

async fn show(args: StatsArgs) -> Result<(), Failure> {
    let session = CliSession::new("admin", args.flags.resolve("admin")?);
    let stats = session.call(v1::StatsRequest {}).await?;
    session.printer().card(&Stats::of(&stats)?)
}

/// The figures as shown.
#[derive(serde::Serialize)]
struct Stats {
    started: When,
    parties: i64,
    items: i64,
    orders: i64,
    units_sold: i64,
    units_in_stock: i64,
    revenue: Vec<Revenue>,
    orders_last_minute: i64,
    orders_last_hour: i64,
    pending_events: i64,
    queued_commands: i64,
    subscribers: i32,
    write_ahead_log_bytes: i64,
}

/// The sales in one currency.
#[derive(serde::Serialize)]
struct Revenue {
    orders: i64,
    units: i64,
    amount_minor: i64,
    currency_code: String,
    #[serde(skip)]
    text: String,
}

impl Revenue {
    fn of(sales: &v1::CurrencySales) -> Result<Self, Error> {
        let revenue = required(sales.revenue.clone(), "revenue")?;
        Ok(Self {
            orders: sales.order_count,
            units: sales.quantity,
            amount_minor: revenue.amount_minor,
            text: format_money(Some(&revenue)),
            currency_code: revenue.currency_code,
        })
    }
}

impl Stats {
    fn of(stats: &v1::StatsResponse) -> Result<Self, Error> {
        Ok(Self {
            started: required(When::of(stats.start_time.as_ref()), "start_time")?,
            parties: stats.party_count,
            items: stats.item_count,
            orders: stats.order_count,
            units_sold: stats.sold_quantity,
            units_in_stock: stats.remaining_quantity,
            revenue: stats.sales.iter().map(Revenue::of).collect::<Result<_, _>>()?,
            orders_last_minute: stats.orders_last_minute,
            orders_last_hour: stats.orders_last_hour,
            pending_events: stats.pending_event_count,
            queued_commands: stats.queued_command_count,
            subscribers: stats.subscriber_count,
            write_ahead_log_bytes: stats.write_ahead_log_bytes,
        })
    }
}

impl Shown for Stats {
    const LIST: &'static str = "stats";
    const COLUMNS: &'static [Column] = &[
        Column::word("STARTED"),
        Column::number("PARTIES"),
        Column::number("ITEMS"),
        Column::number("ORDERS"),
        Column::number("UNITS SOLD"),
        Column::number("UNITS IN STOCK"),
        Column::prose("REVENUE"),
        Column::number("ORDERS LAST MINUTE"),
        Column::number("ORDERS LAST HOUR"),
        Column::number("PENDING EVENTS"),
        Column::number("QUEUED COMMANDS"),
        Column::number("SUBSCRIBERS"),
        Column::number("WRITE-AHEAD LOG BYTES"),
    ];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("started"),
        DataField::value("parties"),
        DataField::value("items"),
        DataField::value("orders"),
        DataField::value("units_sold"),
        DataField::value("units_in_stock"),
        DataField::value("revenue"),
        DataField::value("orders_last_minute"),
        DataField::value("orders_last_hour"),
        DataField::value("pending_events"),
        DataField::value("queued_commands"),
        DataField::value("subscribers"),
        DataField::value("write_ahead_log_bytes"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let numbers = [self.parties, self.items, self.orders, self.units_sold, self.units_in_stock];
        let mut cells = vec![Cell::time(Some(self.started))];
        cells.extend(numbers.map(Cell::from));
        let revenue: Vec<_> = self.revenue.iter().map(|revenue| revenue.text.as_str()).collect();
        cells.push(revenue.join(", ").into());
        let numbers = [
            self.orders_last_minute,
            self.orders_last_hour,
            self.pending_events,
            self.queued_commands,
            i64::from(self.subscribers),
            self.write_ahead_log_bytes,
        ];
        cells.extend(numbers.map(Cell::from));
        cells
    }
}
