//! Filters for lists of orders.

use clap::{Args, ValueEnum};
use souk_proto::{Timestamp, v1};
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// Flags of every list of orders.
#[derive(Args, Clone, Debug)]
pub struct OrderFilter {
    /// Only orders of this item.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    pub item: i64,
    /// Only orders with this status.
    #[arg(long)]
    status: Option<StatusFilter>,
    /// Only orders of this time.
    #[command(flatten)]
    pub time: TimeFilter,
}

/// Flags for a span of time.
#[derive(Args, Clone, Debug)]
pub struct TimeFilter {
    /// Only from this day on: 2026-11-25 (in UTC), or a time like 2026-11-25T08:00:00Z.
    #[arg(long, value_name = "DAY", value_parser = parse_time)]
    from: Option<OffsetDateTime>,
    /// Only before this day.
    #[arg(long, value_name = "DAY", value_parser = parse_time)]
    until: Option<OffsetDateTime>,
}

/// Only orders with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusFilter {
    /// Bought, and still with the seller.
    Placed,
    /// Sent by the seller, and not delivered yet.
    Shipped,
    /// Handed over to the buyer.
    Delivered,
    /// Cancelled before it was shipped.
    Cancelled,
}

impl OrderFilter {
    /// Returns the status as its number in the contract.
    pub fn status(&self) -> i32 {
        let status = match self.status {
            None => v1::OrderStatus::Unspecified,
            Some(StatusFilter::Placed) => v1::OrderStatus::Placed,
            Some(StatusFilter::Shipped) => v1::OrderStatus::Shipped,
            Some(StatusFilter::Delivered) => v1::OrderStatus::Delivered,
            Some(StatusFilter::Cancelled) => v1::OrderStatus::Cancelled,
        };
        status.into()
    }
}

impl TimeFilter {
    /// Returns the beginning, if it is bounded.
    pub fn from(&self) -> Option<Timestamp> {
        self.from.map(wire)
    }

    /// Returns the end, if it is bounded.
    pub fn until(&self) -> Option<Timestamp> {
        self.until.map(wire)
    }
}

/// Converts a time to its message.
pub fn wire(time: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: time.unix_timestamp(), nanos: i32::try_from(time.nanosecond()).unwrap_or(0) }
}

/// Parses a day, which stands for its midnight in UTC, or a time in the format of RFC 3339.
///
/// # Errors
/// Returns how to write one.
pub fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    let day = format_description!("[year]-[month]-[day]");
    if let Ok(day) = Date::parse(text, &day) {
        return Ok(day.midnight().assume_utc());
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "write a day like 2026-11-25, or a time like 2026-11-25T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::parse_time;

    #[test]
    fn days_begin_at_midnight_utc() {
        assert_eq!(parse_time("2026-11-25"), Ok(datetime!(2026-11-25 0:00 UTC)));
        assert_eq!(parse_time("2026-11-25T09:30:00+01:00"), Ok(datetime!(2026-11-25 8:30 UTC)));
        for wrong in ["yesterday", "25.11.2026", "2026-13-01", "2026-11-25T08:00"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
