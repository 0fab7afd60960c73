//! Conversions between the contract's messages and the domain types.
//!
//! `parse` parses requests: every value is validated once, and all mistakes in a request are reported together.
//! `show` builds responses. `status` is the single table of errors.

pub mod command;
mod page;
mod parse;
mod ride;
mod show;
mod status;
mod till;

pub use page::{PageError, PageToken, page_size};
pub use parse::Fields;
pub use show::{
    account, callback, event, item, money, order, order_status, party_record, rating, ride, ride_position,
    role, sales_summary, timestamp, timestamp_of, wish,
};
pub use status::{internal, invalid_fields, refusal, retold, status, store_error, suspended, try_again};
pub use till::{sync_acknowledgement, till};
