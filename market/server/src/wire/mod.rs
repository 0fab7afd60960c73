//! Between the contract's messages and the market's own types.
//!
//! [`parse`] takes requests apart: every value is checked once, and a request with several mistakes is
//! answered with all of them. [`show`] writes answers. [`status`] is the one table of errors.

pub mod command;
mod mutation;
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
