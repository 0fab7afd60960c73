//! Parsing of request fields, which collects all mistakes.

use aws_lc_rs::digest;
use prost::Message;
use prost_types::Timestamp as WireTime;
use souk_domain::{
    Category, Fingerprint, Money, OrderStatus, PartyId, Place, RequestId, RequestKey, RideId, Sequence,
    TimeRange, Timestamp,
};
use souk_proto::v1;

use tonic::Status;
use tonic_types::FieldViolation;
use uuid::Uuid;

use super::status::{invalid_fields, problems};

/// Parses the fields of one request and collects the mistakes, which [`Fields::finish`] reports together.
#[derive(Default)]
pub struct Fields {
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// Creates a parser without mistakes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the parsed value of a field, or records the error and returns `None`.
    pub fn take<T, E: ToString>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|problem| self.wrong(field, problem.to_string())).ok()
    }

    /// Records a mistake in a field. `problem` continues a sentence that starts with the field's name.
    pub fn wrong(&mut self, field: &str, problem: impl Into<String>) {
        self.violations.push(FieldViolation::new(field, problem));
    }

    /// Parses a required price.
    pub fn price(&mut self, field: &str, money: Option<&v1::Money>) -> Option<Money> {
        let Some(money) = money else {
            self.wrong(field, "is missing; give an amount and a currency");
            return None;
        };
        self.take(field, Money::price(money.amount_minor, &money.currency_code))
    }

    /// Parses an optional price. `None` if it is missing or invalid.
    pub fn optional_price(&mut self, field: &str, money: Option<&v1::Money>) -> Option<Money> {
        money.and_then(|money| self.price(field, Some(money)))
    }

    /// Parses an optional party UUID. `None` if it is empty or invalid.
    pub fn optional_party(&mut self, field: &str, text: &str) -> Option<PartyId> {
        if text.is_empty() { None } else { self.party(field, text) }
    }

    /// Parses a required party UUID.
    pub fn party(&mut self, field: &str, text: &str) -> Option<PartyId> {
        let parsed =
            Uuid::try_parse(text).map_err(|_| "is not a UUID; write it as 8-4-4-4-12 hexadecimal digits");
        self.take(field, parsed).map(PartyId)
    }

    /// Parses a required ride UUID.
    pub fn ride(&mut self, field: &str, text: &str) -> Option<RideId> {
        let parsed =
            Uuid::try_parse(text).map_err(|_| "is not a UUID; give the ride_id that StartRide answered");
        self.take(field, parsed).map(RideId)
    }

    /// Parses a required geographic position.
    pub fn place(&mut self, field: &str, location: Option<&v1::Location>) -> Option<Place> {
        match location {
            Some(location) => self.take(field, Place::parse(location.latitude, location.longitude)),
            None => {
                self.wrong(field, "is missing; give latitude and longitude");
                None
            }
        }
    }

    /// Parses an optional category. `None` if it is empty or invalid.
    pub fn optional_category(&mut self, field: &str, text: &str) -> Option<Category> {
        if text.is_empty() { None } else { self.take(field, Category::parse(text)) }
    }

    /// Parses an optional order status. `None` if it is unspecified or invalid.
    pub fn order_status(&mut self, field: &str, status: i32) -> Option<OrderStatus> {
        match v1::OrderStatus::try_from(status) {
            Ok(v1::OrderStatus::Unspecified) => None,
            Ok(v1::OrderStatus::Placed) => Some(OrderStatus::Placed),
            Ok(v1::OrderStatus::Shipped) => Some(OrderStatus::Shipped),
            Ok(v1::OrderStatus::Delivered) => Some(OrderStatus::Delivered),
            Ok(v1::OrderStatus::Cancelled) => Some(OrderStatus::Cancelled),
            Err(_) => {
                self.wrong(field, "is none of the statuses; use one of OrderStatus");
                None
            }
        }
    }

    /// Parses an optional time. `None` if it is missing or invalid.
    pub fn optional_time(&mut self, field: &str, time: Option<&WireTime>) -> Option<Timestamp> {
        let time = time?;
        let micros = (|| {
            let nanos = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
            time.seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
        })();
        self.take(
            field,
            micros.map(Timestamp).ok_or("is no time; give seconds since 1970 and 0 to 999999999 nanos"),
        )
    }

    /// Parses a time range, either end of which may be open.
    pub fn time_range(&mut self, from: Option<&WireTime>, until: Option<&WireTime>) -> TimeRange {
        let from = self.optional_time("from_time", from).unwrap_or(TimeRange::ALL.from);
        let until = self.optional_time("until_time", until).unwrap_or(TimeRange::ALL.until);
        if from > until {
            self.wrong("until_time", "is before from_time; give the later one here");
        }
        TimeRange { from, until }
    }

    /// Parses an optional numeric id. `None` if it is 0 or invalid.
    pub fn optional_id(&mut self, field: &str, id: i64) -> Option<i64> {
        if id == 0 { None } else { self.id(field, id) }
    }

    /// Parses a required numeric id, at least 1.
    pub fn id(&mut self, field: &str, id: i64) -> Option<i64> {
        if id < 1 {
            self.wrong(field, format!("is {id}; give a number from 1 up"));
            return None;
        }
        Some(id)
    }

    /// Parses a maximum number of rows: 0 means the default, and a number above `most` is reduced to it.
    pub fn limit(&mut self, field: &str, limit: i32, (default, most): (usize, usize)) -> Option<usize> {
        match usize::try_from(limit) {
            Ok(0) => Some(default),
            Ok(limit) => Some(limit.min(most)),
            Err(_) => {
                self.wrong(field, format!("is {limit}; leave it out or give 1 to {most}"));
                None
            }
        }
    }

    /// Returns the parsed value, or all mistakes as one sentence.
    pub fn finish_as_text<T>(self, parsed: Option<T>) -> Result<T, String> {
        match parsed {
            Some(parsed) if self.violations.is_empty() => Ok(parsed),
            _ => Err(problems(&self.violations)),
        }
    }

    /// Parses a mailbox sequence, at least 0.
    pub fn sequence(&mut self, field: &str, sequence: i64) -> Option<Sequence> {
        if sequence < 0 {
            self.wrong(field, format!("is {sequence}; give the sequence of an event, or 0"));
        }
        (sequence >= 0).then_some(Sequence(sequence))
    }

    /// Returns the parsed value, or a status with all mistakes. `parsed` may be `None` only if a mistake was
    /// recorded.
    pub fn finish<T>(self, parsed: Option<T>) -> Result<T, Status> {
        match parsed {
            Some(parsed) if self.violations.is_empty() => Ok(parsed),
            _ => Err(invalid_fields(self.violations)),
        }
    }
}

/// Returns the idempotency key of a mutating call: its `request_id` and the fingerprint of its parameters. The
/// fingerprint detects a request id that is reused with other parameters.
pub(super) fn request_key(
    fields: &mut Fields,
    request_id: &str,
    fingerprint: Fingerprint,
) -> Option<RequestKey> {
    let parsed = Uuid::try_parse(request_id)
        .ok()
        .filter(|id| !id.is_nil())
        .ok_or("is not a UUID; make a new one for each call and keep it for the call's retries");
    fields.take("request_id", parsed).map(|id| RequestKey { id: RequestId(id), fingerprint })
}

/// Returns the fingerprint of a call: a hash of its method and its request without `request_id`.
pub(super) fn fingerprint(method: &str, request: &impl Message) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(method.as_bytes());
    context.update(&[0]);
    context.update(&request.encode_to_vec());
    shortened(context)
}

/// Returns the fingerprint of what was added to a SHA-256.
pub(super) fn shortened(context: digest::Context) -> Fingerprint {
    let mut short = [0; 16];
    short.copy_from_slice(&context.finish().as_ref()[..16]);
    Fingerprint(short)
}
