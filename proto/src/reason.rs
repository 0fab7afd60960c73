//! The one table of error reasons (AIP-193).
//!
//! Every error of the market carries a `google.rpc.ErrorInfo` with domain [`DOMAIN`] and one of these
//! reasons. The gRPC status and the hint follow from the reason; so does the exit code of the command lines, which they
//! have a table for.

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

            /// Returns the reason in the form used in `ErrorInfo.reason`.
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
    /// The page token does not belong to this query.
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, "start again from the first page, without a page token";
    /// The market is not allowed to call the callback address.
    CallbackRefused = "CALLBACK_REFUSED", InvalidArgument, "listen on the address that you connect from, or ask the operator to allow the other host";
    /// No such item is for sale, or it belongs to another seller.
    ItemNotFound = "ITEM_NOT_FOUND", NotFound, "check the item id: SearchItem and DisplaySellerItems list the items";
    /// No such party exists; only operators receive this.
    PartyNotFound = "PARTY_NOT_FOUND", NotFound, "check the UUID: ListParties lists the parties";
    /// No such dead letter is kept; only operators receive this.
    DeadLetterNotFound = "DEAD_LETTER_NOT_FOUND", NotFound, "check the number: ListDeadLetters lists those that are kept";
    /// The caller has no such order.
    OrderNotFound = "ORDER_NOT_FOUND", NotFound, "check the order id: ListOrders lists your orders";
    /// The item is not on the caller's wishlist.
    WishNotFound = "WISH_NOT_FOUND", NotFound, "check the item id: ListWishlist shows your wishlist";
    /// Fewer units are in stock than requested; metadata `available` contains the number.
    OutOfStock = "OUT_OF_STOCK", FailedPrecondition, "buy fewer units, or put the item on your wishlist to be notified when it changes";
    /// The price differs from the expected price; metadata contains both.
    PriceChanged = "PRICE_CHANGED", FailedPrecondition, "look at the new price and buy again if it suits you";
    /// The caller has no order of the item that was not cancelled, so it can't rate the item.
    NotPurchased = "NOT_PURCHASED", FailedPrecondition, "buy the item before rating it";
    /// The buyer has rated this item before.
    AlreadyRated = "ALREADY_RATED", AlreadyExists, "set update_existing to replace your earlier rating";
    /// The order was already cancelled or shipped.
    NotCancellable = "NOT_CANCELLABLE", FailedPrecondition, "look at the order's status: only a placed order can be cancelled";
    /// The caller has no such ride.
    RideNotFound = "RIDE_NOT_FOUND", NotFound, "check the ride's id: ListRides lists your rides";
    /// The ride has already ended.
    RideEnded = "RIDE_ENDED", FailedPrecondition, "start another ride";
    /// Another listed item of the seller has this SKU; metadata `item_id` names it.
    SkuTaken = "SKU_TAKEN", AlreadyExists, "update the item that has the sku, or choose another one";
    /// Another party has the display name, or one that looks like it.
    DisplayNameTaken = "DISPLAY_NAME_TAKEN", AlreadyExists, "choose another display name, for example with your town";
    /// An import was interrupted; metadata `rows` counts the rows that are in or rejected, `line` is the last one's line,
    /// and `created_count`, `updated_count`, `unchanged_count` and `failed_count` are what they did.
    ImportInterrupted = "IMPORT_INTERRUPTED", Unavailable, "send the rows after these again, or all of them: those that are in change nothing";
    /// The seller has no till with this name.
    TillNotFound = "TILL_NOT_FOUND", NotFound, "check the name: ListTills lists your tills";
    /// The seller has the maximum number of tills.
    TooManyTills = "TOO_MANY_TILLS", FailedPrecondition, "remove a till that is no longer used with RemoveTill";
    /// A till's line does not follow the last one; its acknowledgement contains the expected number.
    LineOutOfOrder = "LINE_OUT_OF_ORDER", FailedPrecondition, "send the line that is expected, then go on from there";
    /// A till's line was repeated with different content.
    LineReused = "LINE_REUSED", InvalidArgument, "give each line a number of its own: the one after the last";
    /// The order's status does not allow this step; metadata contains the current and the required status.
    OrderStatusConflict = "ORDER_STATUS_CONFLICT", FailedPrecondition, "look at the order's status: a placed order can be shipped, a shipped one delivered";
    /// The item's version differs from the expected version.
    VersionMismatch = "VERSION_MISMATCH", Aborted, "look at the item as it is now and repeat your change on it";
    /// The change would make the stock negative or exceed its limit.
    StockOutOfRange = "STOCK_OUT_OF_RANGE", FailedPrecondition, "look at the stock as it is now: it must stay between 0 and 1,000,000,000";
    /// The market could not reach the callback address to be registered.
    CallbackUnreachable = "CALLBACK_UNREACHABLE", FailedPrecondition, "check that your callback server listens and no firewall is in between, or register without a callback and use Subscribe";
    /// The party has not registered yet.
    NotRegistered = "NOT_REGISTERED", FailedPrecondition, "register first, with RegisterSeller or RegisterBuyer";
    /// The client has not presented a certificate that names a party.
    CertificateRequired = "CERTIFICATE_REQUIRED", Unauthenticated, "connect with a certificate that the market's authority signed";
    /// The certificate has expired.
    CertificateExpired = "CERTIFICATE_EXPIRED", Unauthenticated, "renew the certificate";
    /// The certificate was revoked.
    CertificateRevoked = "CERTIFICATE_REVOKED", Unauthenticated, "ask the operator for a new certificate";
    /// The metadata `x-party-id` is missing, repeated or malformed, or names another party.
    PartyIdInvalid = "PARTY_ID_INVALID", Unauthenticated, "send x-party-id once, with the UUID of your certificate in lower case";
    /// The call carries no token, more than one, or one that is too long.
    TokenRequired = "TOKEN_REQUIRED", Unauthenticated, "call IssueToken and send the token as `authorization: Bearer …`";
    /// The market does not accept the token from this caller.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated, "call IssueToken over this very connection's certificate for a new token";
    /// The token has expired.
    TokenExpired = "TOKEN_EXPIRED", Unauthenticated, "call IssueToken for a new token; check the clock if this happens often";
    /// The role in the certificate may not call this service.
    RoleDenied = "ROLE_DENIED", PermissionDenied, "use a certificate of the right role: a seller's to sell, a buyer's to buy";
    /// The operator has suspended the party.
    AccountSuspended = "ACCOUNT_SUSPENDED", PermissionDenied, "ask the market's operator why, and to be reinstated";
    /// The caller exceeds its rate limit.
    RateLimited = "RATE_LIMITED", ResourceExhausted, "slow down, and try again after the time given";
    /// A queue of the market is full.
    Overloaded = "OVERLOADED", ResourceExhausted, "try again after the time given";
    /// It is unknown whether the change took effect.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable, "repeat the call with the same request_id: it takes effect once";
    /// The market is shutting down, or its store does not respond.
    Unavailable = "UNAVAILABLE", Unavailable, "try again in a moment";
    /// The market's disk is full; nothing was changed, and reading still works.
    StorageFull = "STORAGE_FULL", Unavailable, "tell the market's operator that its disk is full, and try again later";
    /// The mailbox has the maximum number of consumers; the message lists their names.
    TooManyConsumers = "TOO_MANY_CONSUMERS", FailedPrecondition, "subscribe with one of the names in use, or remove one that is not used any more with RemoveConsumer";
    /// The mailbox has no consumer with this name.
    ConsumerNotFound = "CONSUMER_NOT_FOUND", NotFound, "check the name: MailboxStatus lists the consumers, and subscribing with a name creates one";
    /// The consumer to be removed has an open stream.
    ConsumerConnected = "CONSUMER_CONNECTED", FailedPrecondition, "end the program that follows under the name first; if its machine is lost, try again in a minute";
    /// The stream was not kept because another client had the name, which is free now.
    ConsumerFree = "CONSUMER_FREE", Unavailable, "subscribe again with the same name and stream_id";
    /// Another stream of the same party took over.
    StreamReplaced = "STREAM_REPLACED", Aborted, "one stream for each mailbox: close the other one, or use it";
    /// The client reads its stream more slowly than events arrive.
    StreamTooSlow = "STREAM_TOO_SLOW", ResourceExhausted, "begin again with the last cursor";
    /// The callback was called by a client other than the market.
    NotTheMarket = "NOT_THE_MARKET", PermissionDenied, "only the market may call a callback";
    /// The callback was called for another party.
    WrongRecipient = "WRONG_RECIPIENT", InvalidArgument, "the callback address belongs to another party; register again";
    /// No invitation has this id and secret.
    InvitationInvalid = "INVITATION_INVALID", Unauthenticated, "ask for a new code: `gen-certs invite ROLE NAME`";
    /// The invitation has expired; only the holder of its secret receives this.
    InvitationExpired = "INVITATION_EXPIRED", FailedPrecondition, "ask for a new code: `gen-certs invite ROLE NAME`";
    /// The invitation was used with another key, longer than 15 minutes ago, or cancelled; only the holder of its secret
    /// receives this.
    InvitationUsed = "INVITATION_USED", FailedPrecondition, "ask for a new code: `gen-certs invite ROLE NAME`; if nobody of yours has used it, have the operator revoke the name";
    /// The invitation is locked after 5 wrong secrets; only the holder of its secret receives this.
    InvitationLocked = "INVITATION_LOCKED", FailedPrecondition, "ask for a new code: `gen-certs invite ROLE NAME`";
    /// The invitation is for another role; metadata `role` names it. The invitation is not used up.
    InvitationRole = "INVITATION_ROLE", InvalidArgument, "join with the program of the invitation's role, such as `buyer join`";
    /// The key of a signing request is not of the kind P-256, or did not sign the request.
    KeyRefused = "KEY_REFUSED", InvalidArgument, "send a PKCS#10 request for a P-256 key, signed by its own key";
    /// A later certificate of the identity exists, so another copy of this one was renewed.
    RenewalSuperseded = "RENEWAL_SUPERSEDED", Aborted, "another copy of this certificate was renewed: tell the market's operator";
    /// The roots changed too often, or were replaced because of a theft, since the caller's trust bundle.
    TrustNotChained = "TRUST_NOT_CHAINED", FailedPrecondition, "join again with a new code: `gen-certs invite ROLE NAME --again`";
    /// The request message is larger than the server takes.
    MessageTooLarge = "MESSAGE_TOO_LARGE", ResourceExhausted, "send less at once";
    /// The metadata of the request is larger than 16 KiB.
    MetadataTooLarge = "METADATA_TOO_LARGE", ResourceExhausted, "send less metadata, and check what a proxy in between adds";
    /// The request can't be decoded as the message that the method takes.
    RequestMalformed = "REQUEST_MALFORMED", InvalidArgument, "send one message as the contract defines it, with text in UTF-8";
    /// A message has the compressed flag, but the call names no compression.
    CompressionUnnamed = "COMPRESSION_UNNAMED", Internal, "name the compression in `grpc-encoding`, or send the message uncompressed";
    /// The server does not know the compression of the request; `grpc-accept-encoding` names those that it knows.
    CompressionUnsupported = "COMPRESSION_UNSUPPORTED", Unimplemented, "send the request uncompressed";
    /// The server does not know this service or method.
    MethodUnknown = "METHOD_UNKNOWN", Unimplemented, "check that the address is a Souk market's, and of a version that knows this call";
    /// The health service knows no service of this name.
    ServiceUnknown = "SERVICE_UNKNOWN", NotFound, "check the name: reflection lists the services";
    /// The call took longer than its deadline; a change may have taken effect.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, "allow more time, and repeat a change with the same request_id: it takes effect once";
    /// The call was cancelled.
    Cancelled = "CANCELLED", Cancelled, "repeat a change with the same request_id: it takes effect once";
    /// A bug in the market; its log contains the details.
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
