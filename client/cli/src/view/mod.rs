//! Views: the contract's messages as people (a row) and programs (JSON) see them.
//!
//! JSON: fields in snake_case as in the contract, ids as numbers (people type them, and they stay far below
//! 2⁵³), times in RFC 3339 (UTC), money as `{"amount_minor", "currency_code"}`, nothing as `null`.

mod account;
mod event;
mod item;
mod order;
mod ride;
mod sales;
mod till;

pub use account::{AccountView, MailboxView, WhoView};
pub use event::{EventView, sentence};
pub use item::{CategoryView, ItemView, RatingView, SoldItemView, WishView};
pub use order::{OrderView, status as order_status};
pub use ride::{LocationView, RidePositionView, RideRow, RideView, TrackingView, parse_location};
pub use sales::{DaySalesView, ItemSalesView};
use serde::Serialize;
use souk_proto::v1;
pub use till::{LineView, ResumeView, TillEventView, TillView};

use crate::when::When;

/// An amount in minor units, such as pence, with the three-letter code of its currency.
#[derive(Clone, Debug, Serialize)]
pub struct MoneyView {
    amount_minor: i64,
    currency_code: String,
}

impl MoneyView {
    /// Returns the amount; `None` if there is none.
    pub fn new(money: Option<&v1::Money>) -> Option<Self> {
        money.map(|money| Self {
            amount_minor: money.amount_minor,
            currency_code: super::plain(&money.currency_code),
        })
    }
}

/// Formats a time in RFC 3339, to the second.
pub fn time(time: Option<&souk_proto::Timestamp>) -> Option<String> {
    When::of(time).map(When::rfc3339)
}
