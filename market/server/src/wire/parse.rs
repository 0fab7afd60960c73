//! Takes requests apart, gathering every mistake.

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

/// Reads the fields of one request. Mistakes are gathered; [`Fields::finish`] answers with all of them.
#[derive(Default)]
pub struct Fields {
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// Starts on a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a field that was parsed, or `None` with the mistake noted.
    pub fn take<T, E: ToString>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|problem| self.wrong(field, problem.to_string())).ok()
    }

    /// Notes a mistake.
    pub fn wrong(&mut self, field: &str, problem: impl Into<String>) {
        self.violations.push(FieldViolation::new(field, problem));
    }

    /// A price that has to be there.
    pub fn price(&mut self, field: &str, money: Option<&v1::Money>) -> Option<Money> {
        let Some(money) = money else {
            self.wrong(field, "is missing; give an amount and a currency");
            return None;
        };
        self.take(field, Money::price(money.amount_minor, &money.currency_code))
    }

    /// A price that may be left out.
    pub fn optional_price(&mut self, field: &str, money: Option<&v1::Money>) -> Option<Money> {
        money.and_then(|money| self.price(field, Some(money)))
    }

    /// A party's UUID that may be left empty.
    pub fn optional_party(&mut self, field: &str, text: &str) -> Option<PartyId> {
        if text.is_empty() { None } else { self.party(field, text) }
    }

    /// A party's UUID.
    pub fn party(&mut self, field: &str, text: &str) -> Option<PartyId> {
        let parsed =
            Uuid::try_parse(text).map_err(|_| "is not a UUID; write it as 8-4-4-4-12 hexadecimal digits");
        self.take(field, parsed).map(PartyId)
    }

    /// A ride's UUID.
    pub fn ride(&mut self, field: &str, text: &str) -> Option<RideId> {
        let parsed =
            Uuid::try_parse(text).map_err(|_| "is not a UUID; give the ride_id that StartRide answered");
        self.take(field, parsed).map(RideId)
    }

    /// A place that must be there.
    pub fn place(&mut self, field: &str, location: Option<&v1::Location>) -> Option<Place> {
        match location {
            Some(location) => self.take(field, Place::parse(location.latitude, location.longitude)),
            None => {
                self.wrong(field, "is missing; give latitude and longitude");
                None
            }
        }
    }

    /// A category that may be left empty.
    pub fn optional_category(&mut self, field: &str, text: &str) -> Option<Category> {
        if text.is_empty() { None } else { self.take(field, Category::parse(text)) }
    }

    /// An order's status that may be left out.
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

    /// A time that may be left out.
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

    /// Two ends of a span of time that may be left open.
    pub fn time_range(&mut self, from: Option<&WireTime>, until: Option<&WireTime>) -> TimeRange {
        let from = self.optional_time("from_time", from).unwrap_or(TimeRange::ALL.from);
        let until = self.optional_time("until_time", until).unwrap_or(TimeRange::ALL.until);
        if from > until {
            self.wrong("until_time", "is before from_time; give the later one here");
        }
        TimeRange { from, until }
    }

    /// A row's number that may be left out (0).
    pub fn optional_id(&mut self, field: &str, id: i64) -> Option<i64> {
        if id == 0 { None } else { self.id(field, id) }
    }

    /// A row's number: 1 or more.
    pub fn id(&mut self, field: &str, id: i64) -> Option<i64> {
        if id < 1 {
            self.wrong(field, format!("is {id}; give a number from 1 up"));
            return None;
        }
        Some(id)
    }

    /// Ends with all mistakes in one sentence.
    pub fn finish_as_text<T>(self, parsed: Option<T>) -> Result<T, String> {
        match parsed {
            Some(parsed) if self.violations.is_empty() => Ok(parsed),
            _ => Err(problems(&self.violations)),
        }
    }

    /// A place in a mailbox: 0 or more.
    pub fn sequence(&mut self, field: &str, sequence: i64) -> Option<Sequence> {
        if sequence < 0 {
            self.wrong(field, format!("is {sequence}; give the sequence of an event, or 0"));
        }
        (sequence >= 0).then_some(Sequence(sequence))
    }

    /// Ends with the first `None` only if there was a mistake: answers all of them.
    pub fn finish<T>(self, parsed: Option<T>) -> Result<T, Status> {
        match parsed {
            Some(parsed) if self.violations.is_empty() => Ok(parsed),
            _ => Err(invalid_fields(self.violations)),
        }
    }
}

/// The idempotency key of a mutating call: its `request_id`, and the fingerprint of everything else.
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

/// The fingerprint of a call: its method and its request with the `request_id` left out.
pub(super) fn fingerprint(method: &str, request: &impl Message) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(method.as_bytes());
    context.update(&[0]);
    context.update(&request.encode_to_vec());
    let mut short = [0; 16];
    short.copy_from_slice(&context.finish().as_ref()[..16]);
    Fingerprint(short)
}
