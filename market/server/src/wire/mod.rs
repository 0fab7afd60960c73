//! Conversions between the contract's messages and the domain types.
//!
//! [`command`] and [`query`] take requests apart: every value is checked once, and a request with several mistakes is
//! answered with all of them. `show` writes answers. [`status`](fn@status) is the one table of errors.

mod account;
pub mod command;
mod import;
mod mutation;
mod page;
mod parse;
pub mod query;
mod ride;
mod show;
mod stats;
mod status;
mod talkers;
mod till;

pub use account::{certificate, clock_state, dead_letter, mailbox_record, mailbox_status};
pub use import::{BatchKeys, ImportProgress, import_interrupted};
pub use page::{MAX_PAGE_BYTES, Page, PageError, PageToken, within};
pub use parse::Fields;
pub use show::{
    account, callback, category_count, event, item, money, order, order_status, party_record, rating, ride,
    ride_position, role, sales_summary, search_page, timestamp, wish,
};
pub use stats::stats;
pub use status::{
    internal, invalid_fields, ledger_error, not_on_a_ride, refusal, search_error, status, storage_full,
    store_error, suspended, try_again, with_message,
};
pub use talkers::{how_many_talkers, top_talkers};
pub use till::{sync_acknowledgement, till};
