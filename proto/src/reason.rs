//! The one table of error reasons (AIP-193).
//!
//! Every error of the market carries a `google.rpc.ErrorInfo` with domain [`DOMAIN`] and one of these
//! reasons. The gRPC status and the hint follow from the reason; so does the exit code of the command lines, which they have a
//! table for.

use std::{fmt, str::FromStr};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The domain of every `ErrorInfo` that Souk sends.
pub const DOMAIN: &str = "shopping.v1";

/// Returns a status code as gRPC writes it, such as `NOT_FOUND`.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $code:ident, $hint:literal;)+) => {
        /// Why the market refused a call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the reason as it stands in `ErrorInfo.reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns what the reason means: one or more clauses, without a full stop.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim().trim_end_matches('.'),)+ }
            }

            /// Returns the gRPC status code that goes with it.
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)+ }
            }

            /// Returns what the user can do about it.
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)+ }
            }
        }
    };
}

reasons! {
    /// A field of the request is missing or out of bounds; `BadRequest` names it.
    InvalidField = "INVALID_FIELD", InvalidArgument, "correct the named field and try again";
    /// The `request_id` was used before with other parameters.
    RequestIdReused = "REQUEST_ID_REUSED", InvalidArgument, "use a new request_id for a new request";
    /// The page token is not one of this query's.
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, "start again from the first page, without a page token";
    /// The callback address is one that the market does not call.
    CallbackRefused = "CALLBACK_REFUSED", InvalidArgument, "listen on the address that you connect from, or ask the operator to allow the other host";
    /// There is no such item for sale, or it is another seller's.
    ItemNotFound = "ITEM_NOT_FOUND", NotFound, "check the item id: `buyer search` and `seller items` list them";
    /// There is no such party; for operators.
    PartyNotFound = "PARTY_NOT_FOUND", NotFound, "check the UUID: `market admin parties` lists them";
    /// There is no such order of the caller's.
    OrderNotFound = "ORDER_NOT_FOUND", NotFound, "check the order id: `buyer orders` lists yours";
    /// The item is not on the caller's wishlist.
    WishNotFound = "WISH_NOT_FOUND", NotFound, "check the item id: `buyer wish list` shows your wishlist";
    /// Fewer units are left than were asked for; metadata `available` tells how many.
    OutOfStock = "OUT_OF_STOCK", FailedPrecondition, "buy fewer units, or put the item on your wishlist to be told when it changes";
    /// The price is another than the buyer expected; metadata tells both.
    PriceChanged = "PRICE_CHANGED", FailedPrecondition, "look at the new price and buy again if it suits you";
    /// Only a buyer of the item whose order stands may rate it.
    NotPurchased = "NOT_PURCHASED", FailedPrecondition, "buy the item before rating it";
    /// The buyer has rated this item before.
    AlreadyRated = "ALREADY_RATED", AlreadyExists, "pass --update to replace your earlier rating";
    /// The order is cancelled already, or too far on to be.
    NotCancellable = "NOT_CANCELLABLE", FailedPrecondition, "look at the order's status: only a placed order can be cancelled";
    /// There is no such ride of the caller's.
    RideNotFound = "RIDE_NOT_FOUND", NotFound, "check the ride's id: `seller ride start` printed it";
    /// The ride is over.
    RideEnded = "RIDE_ENDED", FailedPrecondition, "start another ride";
    /// Another of the seller's items on the market has this sku; metadata `item_id` tells which.
    SkuTaken = "SKU_TAKEN", AlreadyExists, "update the item that has the sku, or choose another one";
    /// An import did not come to its end; metadata `line` tells the last line that is in.
    ImportInterrupted = "IMPORT_INTERRUPTED", Unavailable, "send the rows after that line again, or all of them: those that are in change nothing";
    /// The seller has no till of this name.
    TillNotFound = "TILL_NOT_FOUND", NotFound, "check the name: `seller till list` lists yours";
    /// The seller has as many tills as it may have.
    TooManyTills = "TOO_MANY_TILLS", FailedPrecondition, "remove one that is no longer used: `seller till rm NAME`";
    /// A line of a till is not the one after the last; its acknowledgement tells which is expected.
    LineOutOfOrder = "LINE_OUT_OF_ORDER", FailedPrecondition, "send the line that is expected, then go on from there";
    /// A till's line came again with another content.
    LineReused = "LINE_REUSED", InvalidArgument, "give each line a number of its own: the one after the last";
    /// The order is not in the state that this needs; metadata tells both.
    OrderStatusConflict = "ORDER_STATUS_CONFLICT", FailedPrecondition, "look at the order's status: a placed order can be shipped, a shipped one delivered";
    /// The item has another version than the caller expected.
    VersionMismatch = "VERSION_MISMATCH", Aborted, "look at the item as it is now and repeat your change on it";
    /// The change would take the stock below zero or above its limit.
    StockOutOfRange = "STOCK_OUT_OF_RANGE", FailedPrecondition, "look at the stock as it is now: it must stay between 0 and 1,000,000,000";
    /// The market could not reach the callback address that was to be registered.
    CallbackUnreachable = "CALLBACK_UNREACHABLE", FailedPrecondition, "check that your callback server listens and no firewall is in between, or register without a callback and use Subscribe";
    /// The party has not registered yet.
    NotRegistered = "NOT_REGISTERED", FailedPrecondition, "register first: `seller register NAME` or `buyer register NAME`";
    /// The connection carries no certificate that names a party.
    CertificateRequired = "CERTIFICATE_REQUIRED", Unauthenticated, "connect with a certificate that the market's authority signed (gen-certs.sh)";
    /// The certificate has ended.
    CertificateExpired = "CERTIFICATE_EXPIRED", Unauthenticated, "renew the certificate: `gen-certs.sh renew`";
    /// The certificate was revoked.
    CertificateRevoked = "CERTIFICATE_REVOKED", Unauthenticated, "ask the operator for a new certificate";
    /// The metadata `x-party-id` is missing, repeated, malformed or another party's.
    PartyIdInvalid = "PARTY_ID_INVALID", Unauthenticated, "send x-party-id once, with the UUID of your certificate in lower case";
    /// The call carries no token, more than one, or one that is too long.
    TokenRequired = "TOKEN_REQUIRED", Unauthenticated, "call IssueToken and send the token as `authorization: Bearer …`";
    /// The token is not one that the market accepts from this caller.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated, "call IssueToken over this very connection's certificate for a new token";
    /// The token's time is over.
    TokenExpired = "TOKEN_EXPIRED", Unauthenticated, "call IssueToken for a new token; check the clock if this happens often";
    /// The role in the certificate may not call this service.
    RoleDenied = "ROLE_DENIED", PermissionDenied, "use a certificate of the right role: a seller's to sell, a buyer's to buy";
    /// The operator has suspended the party.
    AccountSuspended = "ACCOUNT_SUSPENDED", PermissionDenied, "ask the market's operator why, and to be reinstated";
    /// The caller sends more calls than its share.
    RateLimited = "RATE_LIMITED", ResourceExhausted, "slow down, and try again after the time given";
    /// A queue of the market is full.
    Overloaded = "OVERLOADED", ResourceExhausted, "try again after the time given";
    /// Whether the change took place is not known.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable, "repeat the call with the same request_id: it takes effect once";
    /// The market is shutting down or its storage does not answer.
    Unavailable = "UNAVAILABLE", Unavailable, "try again in a moment";
    /// Another stream of the same party took over.
    StreamReplaced = "STREAM_REPLACED", Aborted, "one stream for each mailbox: close the other one, or use it";
    /// The client reads its stream more slowly than events come.
    StreamTooSlow = "STREAM_TOO_SLOW", ResourceExhausted, "begin again with the last cursor";
    /// The callback was called by someone who is not the market.
    NotTheMarket = "NOT_THE_MARKET", PermissionDenied, "only the market may call a callback";
    /// The callback was called for another party.
    WrongRecipient = "WRONG_RECIPIENT", InvalidArgument, "the callback address belongs to another party; register again";
    /// A defect in the market; its log has the details.
    Internal = "INTERNAL", Internal, "this is a defect in the market: report it with the time of the call";
}

impl Reason {
    /// Returns the reason that a status carries, if it comes from Souk.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        info.reason.parse().ok()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the reasons in the table.
#[derive(Debug, thiserror::Error)]
#[error("unknown reason")]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_from_its_own_text() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().ok(), Some(*reason));
            assert!(!reason.hint().is_empty());
        }
    }
}
