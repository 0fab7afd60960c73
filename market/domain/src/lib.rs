//! The market's rules: what a command may do and what it changes.
//!
//! Everything here is pure. There is no I/O, no clock and no randomness: time and new ids are passed in,
//! and the caller loads the rows that a command touches into a [`WorkingSet`]. So the same rules run on
//! every back end, in simulation and under property tests.
//!
//! Input is parsed once, into types with private fields ([`ItemName`], [`Quantity`], …). A value of such a
//! type is within its bounds.

pub mod action;
mod audit;
mod category;
mod command;
mod consumer;
mod dead_letter;
mod decide;
mod event;
mod geo;
mod ids;
mod invalid;
mod item;
mod keys;
mod merge;
mod money;
mod name;
mod name_key;
mod order;
mod origin;
mod outcome;
mod party;
mod quantity;
mod rank;
mod rating;
mod refusal;
mod ride;
mod sales;
mod tally;
mod text;
mod till;
mod wishlist;
mod working_set;

pub use action::{Act, Action};
pub use audit::AuditEntry;
pub use category::Category;
pub use command::{Command, Fingerprint, RequestKey};
pub use consumer::ConsumerName;
pub use dead_letter::DeadLetter;
pub use decide::{Context, decide};
pub use event::{Audience, Event, EventKind, NewEvent, Topic};
pub use geo::Place;
pub use ids::{
    DeadLetterId, EventId, IdRange, ItemId, OrderId, PartyId, RequestId, RideId, Sequence, TillId, Timestamp,
};
pub use invalid::Invalid;
pub use item::{ImportRow, Imported, Item, ItemBefore, ItemListing, ItemPatch, StockChange};
pub use keys::Keys;
pub use money::{Money, MoneyError};
pub use name_key::NameKey;
pub use order::{Order, OrderLine, OrderStatus};
pub use origin::Origin;
pub use outcome::{Outcome, Ranked, Redelivered, Registered, TillRemoved, Unwished, Wished};
pub use party::{Callback, Party, Role, Suspension};
pub use quantity::{OrderQuantity, Quantity};
pub use rank::{RankClass, SalesLevel};
pub use rating::{RatingSummary, Stars};
pub use refusal::Refusal;
pub use ride::{Ride, RideKind, RidePlan, RideStop};
pub use sales::{DAY_MICROS, DayParts, DaySales, ItemSales, Sales, SalesSummary, TimeRange, Totals, day_of};
pub use tally::{SalesChange, SalesKey, Tally};
pub use text::{CancelReason, Description, DisplayName, ItemName, RideText, Sku, SuspensionReason, TestText};
use till::LineStanding;
pub use till::{
    ItemRef, LineAnswer, LineChange, LineOutcome, LinePrint, LineRecord, Till, TillLine, TillName,
};
pub use wishlist::Wish;
pub use working_set::{Recorded, Table, WorkingSet};

#[cfg(test)]
mod tests;
