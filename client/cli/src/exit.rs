//! Process exit codes of the command lines.

use souk_client::{Error, error::Refusal};
use souk_enrolment::context::ContextError;
use souk_proto::Reason;
use tonic::Code;

/// The command succeeded, even if a list was empty.
pub const OK: u8 = 0;
/// A failure without an exit code of its own.
pub const ERROR: u8 = 1;
/// An invalid command or value.
pub const USAGE: u8 = 2;
/// No such item, order or party.
pub const NOT_FOUND: u8 = 3;
/// A problem with the certificate, token, role or registration.
pub const IDENTITY: u8 = 4;
/// Out of stock, or in conflict with the current state.
pub const CONFLICT: u8 = 5;
/// The market can't be reached or is overloaded; try again.
pub const UNAVAILABLE: u8 = 6;
/// Ended by Ctrl-C: what a shell reports for it, 128 + SIGINT. `market serve` returns it after a second signal;
/// other commands leave it to the shell.
pub const INTERRUPTED: u8 = 130;

/// Returns what an exit code means, as a clause.
pub fn meaning(code: u8) -> &'static str {
    match code {
        OK => "success",
        USAGE => "wrong usage: the command or one of its values",
        NOT_FOUND => "no such item, order or party",
        IDENTITY => "identity: certificate, token, role or registration",
        CONFLICT => "out of stock, or in conflict with the current state",
        UNAVAILABLE => "the market can't be reached or is overloaded; try again",
        INTERRUPTED => "interrupted by Ctrl-C",
        _ => "an error that no other code describes",
    }
}

/// Returns the exit code of a command that the market refused for this reason.
///
/// A reason from a later version of the contract has the exit code of its gRPC status.
///
/// # Examples
/// ```
/// use souk_cli::exit;
///
/// assert_eq!(exit::of_reason(souk_proto::Reason::OutOfStock), exit::CONFLICT);
/// ```
pub fn of_reason(reason: Reason) -> u8 {
    known(reason).unwrap_or_else(|| of_code(reason.code()))
}

/// Returns `None` for a reason that is missing from this table. A test checks that it is complete.
fn known(reason: Reason) -> Option<u8> {
    use Reason::*;
    Some(match reason {
        InvalidField | RequestIdReused | PageTokenInvalid | CallbackRefused | LineReused
        | MessageTooLarge | MetadataTooLarge | RequestMalformed | InvitationRole | KeyRefused => USAGE,
        ItemNotFound | PartyNotFound | OrderNotFound | WishNotFound | RideNotFound | TillNotFound
        | ConsumerNotFound | DeadLetterNotFound | ServiceUnknown => NOT_FOUND,
        OutOfStock | PriceChanged | NotPurchased | AlreadyRated | NotCancellable | RideEnded | SkuTaken
        | DisplayNameTaken | TooManyTills | TooManyConsumers | LineOutOfOrder | OrderStatusConflict
        | VersionMismatch | StockOutOfRange | CallbackUnreachable | ConsumerConnected | StreamReplaced => {
            CONFLICT
        }
        NotRegistered | CertificateRequired | CertificateExpired | CertificateRevoked | PartyIdInvalid
        | TokenRequired | TokenInvalid | TokenExpired | RoleDenied | AccountSuspended | NotTheMarket
        | WrongRecipient | InvitationInvalid | InvitationExpired | InvitationUsed | InvitationLocked
        | RenewalSuperseded | TrustNotChained => IDENTITY,
        ImportInterrupted | RateLimited | Overloaded | OutcomeUnknown | Unavailable | StorageFull
        | StreamTooSlow | ConsumerFree | DeadlineExceeded | Cancelled => UNAVAILABLE,
        CompressionUnnamed | CompressionUnsupported | MethodUnknown | Internal => ERROR,
        _ => return None,
    })
}

/// Returns the exit code of a command that fails with this error.
pub fn of_error(error: &Error) -> u8 {
    match error {
        Error::Credentials(_) | Error::Tls(_) | Error::NotAParty(_) | Error::Untrusted { .. } => IDENTITY,
        Error::Code(_) | Error::Config(_) | Error::Addresses(_) => USAGE,
        Error::Context(error) => of_context(error),
        Error::Unreachable { .. } | Error::TimedOut { .. } => UNAVAILABLE,
        Error::NoneReached(_) => error.decisive().map_or(UNAVAILABLE, of_error),
        Error::Refused(refusal) => of_refusal(refusal),
        _ => ERROR,
    }
}

/// Returns the exit code of a command that fails with this error.
pub(crate) fn of_context(error: &ContextError) -> u8 {
    match error {
        ContextError::Name(_) => USAGE,
        ContextError::NoSuch { .. } => NOT_FOUND,
        ContextError::Exposed { .. }
        | ContextError::Foreign { .. }
        | ContextError::Incomplete { .. }
        | ContextError::Malformed { .. } => IDENTITY,
        ContextError::Exists { .. } => CONFLICT,
        ContextError::Busy { .. } => UNAVAILABLE,
        _ => ERROR,
    }
}

fn of_refusal(refusal: &Refusal) -> u8 {
    match refusal.reason() {
        Some(reason) => of_reason(reason),
        None => of_code(refusal.code()),
    }
}

fn of_code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument | Code::OutOfRange => USAGE,
        Code::NotFound => NOT_FOUND,
        Code::Unauthenticated | Code::PermissionDenied => IDENTITY,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => CONFLICT,
        Code::Unavailable | Code::ResourceExhausted => UNAVAILABLE,
        _ => ERROR,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn every_reason_has_an_exit_code_of_its_own() {
        for reason in Reason::ALL {
            assert!(known(*reason).is_some_and(|code| code != OK), "{reason}");
        }
    }

    #[test]
    fn a_bare_status_has_an_exit_code_whatever_its_code() {
        for code in (0..=16).map(Code::from_i32) {
            assert_ne!(of_refusal(&Refusal::new(&Status::new(code, ""))), OK);
        }
    }
}
