//! The single table that maps the market's errors to gRPC statuses.
//!
//! Every status carries `ErrorInfo` (AIP-193). Messages are for the caller; internal details go to the log and never
//! over the wire.

use std::{collections::HashMap, time::Duration};

use souk_domain::{ItemId, Money, Order, OrderId, OrderStatus, Refusal, Stars, Till};
use souk_proto::{Reason, metadata, reason::DOMAIN};
use souk_search::SearchError;
use souk_store::StoreError;
use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::ledger::{LedgerError, OVERLOAD_RETRY_DELAY};

/// Creates a status for a reason, with metadata for `ErrorInfo`.
pub fn status<const N: usize>(
    reason: Reason,
    message: impl Into<String>,
    metadata: [(&str, String); N],
) -> Status {
    Status::with_error_details(reason.code(), message, details(reason, metadata))
}

/// Creates a status for a temporary condition, with `RetryInfo` that suggests a retry after `after`, which gRPC libraries
/// that repeat calls by themselves read from the metadata.
pub fn try_again(reason: Reason, message: impl Into<String>, after: Duration) -> Status {
    let mut details = details(reason, []);
    details.set_retry_info(Some(after));
    let mut status = Status::with_error_details(reason.code(), message, details);
    metadata::push_back(&mut status, after);
    status
}

/// Creates a status with `BadRequest`, which lists every invalid field of a request.
pub fn invalid_fields(violations: Vec<FieldViolation>) -> Status {
    let problems = problems(&violations);
    let mut details = details(Reason::InvalidField, []);
    details.set_bad_request(violations);
    Status::with_error_details(Reason::InvalidField.code(), problems, details)
}

/// Joins all mistakes into one sentence.
pub(super) fn problems(violations: &[FieldViolation]) -> String {
    let problems: Vec<_> =
        violations.iter().map(|found| format!("{} {}", found.field, found.description)).collect();
    problems.join("; ")
}

/// Copies a status with its details, but with another message.
pub fn with_message(status: &Status, message: &str) -> Status {
    Status::with_details_and_metadata(
        status.code(),
        message,
        status.details().to_vec().into(),
        status.metadata().clone(),
    )
}

/// Creates a status for a bug, and logs `what`. The caller learns only that the call failed.
pub fn internal(what: &str) -> Status {
    tracing::error!(what, "internal error");
    status(Reason::Internal, "the market failed to carry out the call; its log has the details", [])
}

/// Creates a status for a failed read from the store.
pub fn store_error(error: &StoreError) -> Status {
    match error {
        StoreError::Unavailable(_) | StoreError::Held(_) | StoreError::Stopped(_) => {
            // The store has logged why it stopped, once.
            if !matches!(error, StoreError::Stopped(_)) {
                tracing::warn!(%error, "cannot read from the store");
            }
            try_again(
                Reason::Unavailable,
                "the market's storage does not answer; try again in a moment",
                STORE_RETRY_DELAY,
            )
        }
        StoreError::Overloaded => try_again(
            Reason::Overloaded,
            "the market has more waiting for its storage than it takes; try again in a moment",
            STORE_RETRY_DELAY,
        ),
        StoreError::Full(_) => storage_full(),
        StoreError::Corrupt(_) | StoreError::Unsuitable(_) | StoreError::Rejected(_) => {
            internal(&error.to_string())
        }
    }
}

/// Creates the status for a change that the full disk did not take.
pub fn storage_full() -> Status {
    try_again(
        Reason::StorageFull,
        "the market's disk is full; nothing was changed, and reading still works",
        FULL_RETRY_DELAY,
    )
}

const STORE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Suggested to callers while the disk is full, which passes only when an operator makes space.
const FULL_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Creates a status for a command that the ledger did not carry out.
pub fn ledger_error(error: &LedgerError) -> Status {
    match error {
        LedgerError::Refused(why) => refusal(why),
        LedgerError::Overloaded => try_again(
            Reason::Overloaded,
            "the market has more orders waiting than it takes; try again in a moment",
            OVERLOAD_RETRY_DELAY,
        ),
        LedgerError::Unavailable => try_again(
            Reason::Unavailable,
            "the market can't write at the moment; nothing was changed",
            OVERLOAD_RETRY_DELAY,
        ),
        LedgerError::Indefinite => status(
            Reason::OutcomeUnknown,
            "whether the change took effect is not known; repeat the call with the same request_id",
            [],
        ),
        LedgerError::StorageFull => storage_full(),
        LedgerError::Corrupt => internal("a batch met something unreadable"),
        LedgerError::Mismatched(_) => internal(&error.to_string()),
    }
}

/// Creates a status for a failed search.
pub fn search_error(error: &SearchError) -> Status {
    match error {
        SearchError::Overloaded => try_again(
            Reason::Overloaded,
            "more searches are waiting than the market takes; try again in a moment",
            OVERLOAD_RETRY_DELAY,
        ),
        SearchError::Behind => try_again(
            Reason::Unavailable,
            "the search index is still catching up; try again in a moment",
            OVERLOAD_RETRY_DELAY,
        ),
        SearchError::Store(error) => store_error(error),
        defect @ (SearchError::SetBack
        | SearchError::InUse(_)
        | SearchError::Home { .. }
        | SearchError::Index(_)
        | SearchError::Thread(_)) => internal(&defect.to_string()),
    }
}

/// Creates the status for a command that the rules refused. The match is exhaustive, so that a new refusal
/// does not compile without a reason and a text.
pub fn refusal(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::NotRegistered => {
            status(Reason::NotRegistered, "this certificate's party has not registered yet", [])
        }
        Refusal::Suspended => suspended(),
        Refusal::DisplayNameTaken => status(
            Reason::DisplayNameTaken,
            "another party has this display name, or one that looks like it; choose another",
            [],
        ),
        Refusal::RequestIdReused => status(
            Reason::RequestIdReused,
            "this request_id was used before for a call with other parameters",
            [],
        ),
        Refusal::InvalidField { field, problem } => {
            invalid_fields(vec![FieldViolation::new(*field, problem.to_string())])
        }
        Refusal::PartyNotFound(party) => not_found(Reason::PartyNotFound, "party", *party),
        Refusal::ItemNotFound(item) => not_found(Reason::ItemNotFound, "item", *item),
        Refusal::OrderNotFound(order) => not_found(Reason::OrderNotFound, "order", *order),
        Refusal::RideNotFound(ride) => not_found(Reason::RideNotFound, "ride", *ride),
        Refusal::TillNotFound(till) => not_found(Reason::TillNotFound, "till", till),
        Refusal::WishNotFound(item) => {
            on_item(Reason::WishNotFound, *item, format!("item {item} is not on your wishlist"))
        }
        Refusal::NotPurchased(item) => {
            on_item(Reason::NotPurchased, *item, format!("you have no standing order of item {item}"))
        }
        Refusal::SkuTaken(item) => on_item(Reason::SkuTaken, *item, format!("your item {item} has this sku")),
        Refusal::AlreadyRated { item, stars } => already_rated(*item, *stars),
        Refusal::RideEnded(ride) => {
            status(Reason::RideEnded, format!("ride {ride} is over"), [("ride_id", ride.to_string())])
        }
        Refusal::TooManyTills => status(
            Reason::TooManyTills,
            format!("you have {} tills, the most that a seller may have", Till::MAX_OF_SELLER),
            [],
        ),
        Refusal::NotCancellable { order, status } => not_cancellable(*order, *status),
        Refusal::WrongStatus { order, status, needed } => wrong_status(*order, *status, *needed),
        Refusal::OutOfStock { item, requested, available } => out_of_stock(*item, *requested, *available),
        Refusal::PriceChanged { expected, actual } => price_changed(*expected, *actual),
        Refusal::VersionMismatch { expected, actual } => version_mismatch(*expected, *actual),
        Refusal::StockOutOfRange { available, delta } => stock_out_of_range(*available, *delta),
    }
}

/// Creates the status for a suspended caller. It does not include the reason, which is for operators.
pub fn suspended() -> Status {
    status(Reason::AccountSuspended, "your account is suspended; ask the market's operator", [])
}

/// Creates the status for an order whose ride can't be watched because it is not on one.
pub fn not_on_a_ride(order: &Order) -> Status {
    let (id, now) = (order.id, order.status.as_str());
    status(
        Reason::OrderStatusConflict,
        format!("order {id} is {now} and on no ride; there is nothing to watch"),
        [("order_id", id.to_string()), ("status", now.to_owned())],
    )
}

fn on_item(reason: Reason, item: ItemId, message: String) -> Status {
    status(reason, message, [("item_id", item.to_string())])
}

fn already_rated(item: ItemId, stars: Stars) -> Status {
    status(
        Reason::AlreadyRated,
        format!("you gave item {item} {} stars before", stars.get()),
        [("item_id", item.to_string()), ("stars", stars.get().to_string())],
    )
}

fn not_cancellable(order: OrderId, now: OrderStatus) -> Status {
    status(
        Reason::NotCancellable,
        format!("order {order} is {} and can't be cancelled", now.as_str()),
        [("order_id", order.to_string()), ("status", now.as_str().to_owned())],
    )
}

fn wrong_status(order: OrderId, now: OrderStatus, needed: OrderStatus) -> Status {
    status(
        Reason::OrderStatusConflict,
        format!("order {order} is {}; it would have to be {}", now.as_str(), needed.as_str()),
        [
            ("order_id", order.to_string()),
            ("status", now.as_str().to_owned()),
            ("needed", needed.as_str().to_owned()),
        ],
    )
}

fn out_of_stock(item: ItemId, requested: i64, available: i64) -> Status {
    status(
        Reason::OutOfStock,
        format!("item {item}: {requested} asked for, {available} left"),
        [
            ("item_id", item.to_string()),
            ("requested", requested.to_string()),
            ("available", available.to_string()),
        ],
    )
}

fn price_changed(expected: Money, actual: Money) -> Status {
    status(
        Reason::PriceChanged,
        format!("the price is {actual}, not {expected}"),
        [
            ("expected_amount_minor", expected.amount_minor().to_string()),
            ("amount_minor", actual.amount_minor().to_string()),
            ("currency_code", actual.currency_code().to_owned()),
        ],
    )
}

fn version_mismatch(expected: i64, actual: i64) -> Status {
    status(
        Reason::VersionMismatch,
        format!("the item has version {actual}, not {expected}"),
        [("expected_version", expected.to_string()), ("version", actual.to_string())],
    )
}

fn stock_out_of_range(available: i64, delta: i64) -> Status {
    status(
        Reason::StockOutOfRange,
        format!("a stock of {available} can't be changed by {delta}"),
        [("available", available.to_string()), ("delta", delta.to_string())],
    )
}

fn not_found(reason: Reason, what: &str, id: impl std::fmt::Display) -> Status {
    status(
        reason,
        format!("there is no {what} {id} that you can use"),
        [(&*format!("{what}_id"), id.to_string())],
    )
}

fn details<const N: usize>(reason: Reason, metadata: [(&str, String); N]) -> ErrorDetails {
    let metadata: HashMap<_, _> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata)
}
