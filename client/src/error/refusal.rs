//! An error status from the market, or from something in front of it.

use std::{collections::BTreeMap, error::Error, fmt, time::Duration};

use souk_proto::{Reason, metadata::RETRY_PUSHBACK, reason::DOMAIN};
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::StatusExt as _;

/// A parsed gRPC status (AIP-193).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    reason: Option<Reason>,
    message: String,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    forbids_retry: bool,
    metadata: BTreeMap<String, String>,
}

/// What is wrong with one field of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path, such as `item.unit_price`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// Returns whether a status carries the market's own `ErrorInfo`.
pub(super) fn comes_from_souk(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == DOMAIN)
}

impl Refusal {
    /// Parses a status. Control characters are replaced, because the text may be printed on a terminal.
    pub fn new(status: &Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| {
            let violation = |v: &tonic_types::FieldViolation| Violation {
                field: printable(&v.field),
                description: printable(&v.description),
            };
            bad.field_violations.iter().map(violation).collect()
        });
        let metadata = details.error_info().map(|info| {
            info.metadata.iter().map(|(key, value)| (printable(key), printable(value))).collect()
        });
        let pushback = pushback(status.metadata());
        let requested = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            code: status.code(),
            reason: Reason::of(status),
            message: printable(status.message()),
            violations: violations.unwrap_or_default(),
            retry_after: pushback.flatten().or(requested),
            forbids_retry: pushback == Some(None),
            metadata: metadata.unwrap_or_default(),
        }
    }

    /// Returns the gRPC status code. It is set even if there is no [`reason`](Self::reason).
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the market's reason; `None` when the status is not the market's, or of a later version of it.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Returns the market's message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what is wrong with the single fields of the request.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns how long to wait before trying again: `grpc-retry-pushback-ms`, or else the `RetryInfo`.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the market asks not to retry the call, by a negative `grpc-retry-pushback-ms`.
    pub fn forbids_retry(&self) -> bool {
        self.forbids_retry
    }

    /// Returns the values that go with the reason, such as `available` with [`Reason::OutOfStock`].
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns whether a new token may help.
    pub fn is_about_the_token(&self) -> bool {
        matches!(self.reason, Some(Reason::TokenRequired | Reason::TokenInvalid | Reason::TokenExpired))
    }

    /// Returns whether the request is larger than the market accepts, so that a retry would fail as well.
    pub fn is_about_the_size(&self) -> bool {
        matches!(self.reason, Some(Reason::MessageTooLarge | Reason::MetadataTooLarge))
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match (self.reason, self.code) {
            (Some(reason), _) => reason.hint(),
            (None, Code::Unimplemented) => {
                "check that the address is a Souk market's, and of a version that knows this call"
            }
            (None, Code::OutOfRange) => "send less at once: the message is larger than the market takes",
            (None, Code::Unavailable | Code::ResourceExhausted) => "try again in a moment",
            (None, Code::Unauthenticated | Code::PermissionDenied) => {
                "check the certificate; if there is a proxy before the market, let it pass TLS through"
            }
            (None, Code::InvalidArgument) => "correct the request and try again",
            (None, _) => "look into the market's log, or into that of a proxy before it",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "the market answered {:?} without a word", self.code)?;
        } else {
            f.write_str(&self.message)?;
        }
        // The market's message includes them; another server's may not.
        for Violation { field, description } in &self.violations {
            if !self.message.contains(description.as_str()) {
                write!(f, "; {field}: {description}")?;
            }
        }
        Ok(())
    }
}

impl Error for Refusal {}

/// Returns the server's pushback: a wait, or `Some(None)` if the call must not be retried. A value that is not a
/// number of milliseconds also forbids the retry, as gRFC A6 requires.
fn pushback(metadata: &MetadataMap) -> Option<Option<Duration>> {
    let value = metadata.get(RETRY_PUSHBACK)?;
    let milliseconds = value.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    Some(milliseconds.map(|milliseconds| Duration::from_millis(milliseconds.into())))
}

/// Replaces control characters, so that the text can't move the cursor or ring the bell.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(reason: &str, domain: &str) -> Status {
        let mut details = ErrorDetails::with_error_info(reason, domain, [("available", "2")].map(owned));
        details.set_retry_info(Some(Duration::from_millis(40)));
        details.add_bad_request_violation("item.name", "must not be empty");
        Status::with_error_details(Code::FailedPrecondition, "only 2 are left\u{1b}[2J", details)
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn a_refusal_of_the_market_is_taken_apart() {
        let refusal = Refusal::new(&status("OUT_OF_STOCK", DOMAIN));
        assert_eq!(refusal.reason(), Some(Reason::OutOfStock));
        assert_eq!(refusal.hint(), Reason::OutOfStock.hint());
        assert_eq!(refusal.retry_after(), Some(Duration::from_millis(40)));
        assert_eq!(refusal.metadata()["available"], "2");
        assert_eq!(refusal.to_string(), "only 2 are left\u{fffd}[2J; item.name: must not be empty");
    }

    #[test]
    fn a_pushback_replaces_the_retry_info() {
        let refusal = |value: &str| {
            let mut status = status("OVERLOADED", DOMAIN);
            status.metadata_mut().insert(RETRY_PUSHBACK, value.parse().expect("a value"));
            Refusal::new(&status)
        };
        assert_eq!(refusal("700").retry_after(), Some(Duration::from_millis(700)));
        assert_eq!(refusal("0").retry_after(), Some(Duration::ZERO));
        assert!(!refusal("700").forbids_retry());
        for forbidding in ["-1", "soon", "", "1.5", "99999999999999"] {
            assert!(refusal(forbidding).forbids_retry(), "{forbidding}");
        }
        assert!(!Refusal::new(&status("OVERLOADED", DOMAIN)).forbids_retry());
    }

    #[test]
    fn a_foreign_reason_counts_for_nothing() {
        let foreign = status("OUT_OF_STOCK", "example.com");
        assert!(!comes_from_souk(&foreign));
        assert_eq!(Refusal::new(&foreign).reason(), None);
    }

    #[test]
    fn a_reason_of_a_later_version_falls_back_on_the_code() {
        let later = status("NOT_INVENTED_YET", DOMAIN);
        assert!(comes_from_souk(&later));
        let refusal = Refusal::new(&later);
        assert_eq!((refusal.reason(), refusal.code()), (None, Code::FailedPrecondition));
        assert!(!refusal.hint().is_empty());
    }

    #[test]
    fn a_bare_status_has_a_hint_whatever_its_code() {
        for code in (0..=16).map(Code::from_i32) {
            let refusal = Refusal::new(&Status::new(code, ""));
            assert!(!refusal.hint().is_empty());
            assert!(!refusal.to_string().is_empty());
        }
    }
}
