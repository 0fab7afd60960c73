//! The error type of the client: one enum, with everything a program needs to decide what to do next.
//!
//! `Display` says what went wrong and [`Error::hint`] what to do about it. A TLS 1.3 server judges the
//! client's certificate only after the client considers the handshake complete, so its verdict arrives as a
//! broken first call: this module and [`connection`](crate::connection) distinguish such a verdict from a
//! broken network.

mod causes;
mod distrust;
mod joining;
mod reach;
mod refusal;

use std::{convert::Infallible, error::Error as StdError, fmt, io, time::Duration};

use souk_certs::{
    TlsError,
    connector::{Dial, DialError, DialStep},
    credentials::CredentialError,
};
use souk_enrolment::{code::CodeError, context::ContextError, join::JoinError, party::PartyJoinError};
use souk_proto::Reason;
use tonic::{Code, Status, TimeoutExpired};

pub(crate) use causes::causes;
use causes::innermost;
pub(crate) use causes::is_timeout;
pub use causes::{BoxError, without_links};
pub use distrust::{Distrust, Objection};
pub(crate) use reach::{AtAddress, NoneReached};
pub use refusal::{Refusal, Violation};

use crate::config::{AddressesError, ConfigError, MarketAddresses};

/// Why an operation of the client failed.
///
/// # Examples
/// ```no_run
/// use souk_client::{Reason, Souk};
///
/// # async fn buy(souk: Souk) -> Result<(), souk_client::Error> {
/// match souk.buyer().buy(7, 2).await {
///     Ok(order) => println!("order {}", order.order_id),
///     Err(error) if error.reason() == Some(Reason::OutOfStock) => println!("sold out"),
///     Err(error) if error.is_transient() => println!("try again later: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The certificate, key, authority or revocation list on this machine can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The files are fine, but TLS can't be set up with them.
    #[error("can't set up TLS with these certificates: {0}")]
    Tls(#[source] TlsError),
    /// The certificate names the market itself, or a role that does not call the market.
    #[error("the certificate names {0}, which is no party of the market")]
    NotAParty(String),
    /// The text is not an invitation code.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The party has not joined. The same call continues where this one stopped. What the authority has refused is
    /// [`Refused`](Self::Refused) instead.
    #[error(transparent)]
    Join(Box<PartyJoinError>),
    /// A context can't be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A setting is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The market's addresses are malformed, missing or too many.
    #[error(transparent)]
    Addresses(#[from] AddressesError),
    /// There is no connection, or it broke.
    #[error("{step} {market} failed: {}", innermost(source.as_ref()))]
    Unreachable {
        /// The step that failed.
        step: Step,
        /// The address of the market.
        market: Dial,
        /// The error of the transport; `Display` shows only its innermost cause.
        source: BoxError,
    },
    /// One side rejected the other's certificate.
    #[error("{distrust} (connecting to {market})")]
    Untrusted {
        /// Whose certificate, and why.
        distrust: Distrust,
        /// The address of the market.
        market: Dial,
    },
    /// None of the market's addresses could be reached.
    #[error("no address of the market can be used: {}", joined(.0))]
    NoneReached(Vec<Error>),
    /// The call's deadline passed. A change may have taken effect all the same.
    #[error("no answer from the market at {market} within {after:?}")]
    TimedOut {
        /// The addresses of the market.
        market: MarketAddresses,
        /// The time that the call had.
        after: Duration,
    },
    /// The market answered with an error.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The market's answer breaks the contract: it lacks a field that every such answer has.
    #[error("the market's answer lacks `{field}`, which the contract requires")]
    MissingField {
        /// The field, as in the contract.
        field: &'static str,
    },
    /// An operation on a file or a socket of this machine failed.
    #[error("can't {action}: {source}")]
    Io {
        /// What was to be done, such as "listen on 127.0.0.1:7443".
        action: String,
        /// The cause, from the operating system.
        source: io::Error,
    },
}

/// What a client was doing when it found the market unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking up the market's name.
    Resolve,
    /// Opening the TCP connection.
    Tcp,
    /// The TLS handshake, for a reason other than a certificate.
    Tls,
    /// A call on an open connection.
    Call,
}

impl Error {
    /// Converts the status with which a call ended. `after` is the deadline that the call had.
    pub fn from_status(status: Status, market: &MarketAddresses, after: Duration) -> Self {
        // First: the market gives this status a reason as well, and a proxy in between does not.
        if is_status_of_timeout(&status) {
            return Self::TimedOut { market: market.clone(), after };
        }
        if refusal::comes_from_souk(&status) {
            return Self::Refused(Box::new(Refusal::new(&status)));
        }
        match StdError::source(&status) {
            // tonic attaches a source to statuses that it creates on this side; those from the server have
            // none.
            Some(source) => match causes(source).find_map(|cause| cause.downcast_ref::<NoneReached>()) {
                Some(NoneReached(errors)) => Self::NoneReached(
                    errors.iter().map(|error| Self::from_transport(error.as_ref(), &error.target)).collect(),
                ),
                None => Self::from_transport(source, AtAddress::of(source).unwrap_or(market.first())),
            },
            None => Self::Refused(Box::new(Refusal::new(&status))),
        }
    }

    /// Converts an error of the network or of TLS.
    pub(crate) fn from_transport(error: &(dyn StdError + 'static), market: &Dial) -> Self {
        let mut step = Step::Call;
        let mut was_cut_off = false;
        for cause in causes(error) {
            was_cut_off |= cause.downcast_ref::<io::Error>().is_some_and(is_cut_off);
            if let Some(dial) = cause.downcast_ref::<DialError>() {
                step = Step::from(dial.step);
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                step = Step::Tls;
                was_cut_off = false;
                if let Some(distrust) = Distrust::from_tls(tls) {
                    return Self::Untrusted { distrust, market: market.clone() };
                }
            }
        }
        // A load balancer in front of a market that is down accepts connections and closes them during the
        // handshake.
        if step == Step::Tls && was_cut_off {
            step = Step::Call;
        }
        Self::Unreachable { step, market: market.clone(), source: causes::summary(error) }
    }

    /// Creates an I/O error on this machine while doing `action`, such as "read `ca.pem`".
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// Returns the market's reason for its refusal; `None` if the error is not the market's, or of a later
    /// version of it.
    pub fn reason(&self) -> Option<Reason> {
        self.refusal().and_then(Refusal::reason)
    }

    /// Returns the gRPC status code of the market's answer; `None` if there was no answer.
    pub fn code(&self) -> Option<Code> {
        self.refusal().map(Refusal::code)
    }

    /// Returns what is wrong with individual fields of the request.
    pub fn violations(&self) -> &[Violation] {
        self.refusal().map_or(&[], Refusal::violations)
    }

    /// Returns how long the market asks the caller to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(Refusal::retry_after)
    }

    /// Returns what to do about it; `None` if the message says so itself.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Credentials(_) => Some(
                "a certificate, its key, ca.pem and crl.pem belong together in one folder; `gen-certs.sh bundle NAME` packs them",
            ),
            Self::Tls(_) => Some("make the certificates again with gen-certs.sh"),
            Self::NotAParty(_) => Some("use a seller's, buyer's or operator's certificate"),
            // These messages say what to do themselves.
            Self::Code(_) | Self::Config(_) | Self::Addresses(_) | Self::Io { .. } => None,
            Self::Join(error) => joining::hint_of_join(error),
            Self::Context(error) => joining::hint_of_context(error),
            Self::Unreachable { step, .. } => Some(step.hint()),
            Self::NoneReached(_) => self.decisive().and_then(Self::hint),
            Self::Untrusted { distrust, .. } => Some(distrust.hint()),
            Self::TimedOut { .. } => Some(
                "try again or allow more time; a change may have taken effect all the same, so look before repeating it",
            ),
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::MissingField { .. } => Some(
                "this is a defect in the market, or in a proxy before it: report it with the time of the call",
            ),
        }
    }

    /// Returns whether the failure may be temporary, so that the same call may succeed in a moment.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Join(error) => matches!(**error, PartyJoinError::Join(JoinError::Unreached(_))),
            Self::NoneReached(failures) => failures.iter().any(Self::is_transient),
            Self::Refused(refusal) => {
                let is_busy = matches!(refusal.code(), Code::Unavailable | Code::ResourceExhausted);
                is_busy && !refusal.is_about_the_size() || refusal.is_about_the_token()
            }
            _ => false,
        }
    }

    /// Returns whether one side rejected a certificate, so that another certificate may help.
    pub fn is_about_the_certificate(&self) -> bool {
        match self {
            Self::Untrusted { .. } => true,
            Self::NoneReached(failures) => failures.iter().all(Self::is_about_the_certificate),
            Self::Refused(refusal) => matches!(
                refusal.reason(),
                Some(Reason::CertificateRequired | Reason::CertificateExpired | Reason::CertificateRevoked)
            ),
            _ => false,
        }
    }

    /// Returns whether there is no connection, or it broke.
    pub(crate) fn is_about_the_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Untrusted { .. } | Self::NoneReached(_))
    }

    /// Converts a dial that failed, such as one to the authority.
    #[must_use]
    pub fn from_dial(error: &DialError) -> Self {
        Self::from_transport(error, &error.target)
    }

    /// Returns whether the failure concerns only the address at which the call was made, so that another may
    /// succeed.
    pub(crate) fn is_of_one_address(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.code() == Code::Unavailable,
            _ => false,
        }
    }

    /// Returns, of the errors at several addresses ([`NoneReached`](Self::NoneReached)), the one that someone
    /// has to act on: a rejected certificate before anything that may be temporary.
    pub fn decisive(&self) -> Option<&Self> {
        let Self::NoneReached(failures) = self else { return None };
        failures.iter().find(|failure| failure.is_about_the_certificate()).or(failures.first())
    }

    /// Returns the market's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Takes a field that the contract requires an answer to have.
///
/// # Examples
/// ```
/// use souk_client::{error::required, v1::BuyItemResponse};
///
/// let error = required(BuyItemResponse { order: None }.order, "order").unwrap_err();
/// assert_eq!(error.to_string(), "the market's answer lacks `order`, which the contract requires");
/// ```
///
/// # Errors
/// [`Error::MissingField`] if it is missing.
pub fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Error> {
    value.ok_or(Error::MissingField { field })
}

impl Step {
    fn hint(self) -> &'static str {
        match self {
            Self::Resolve => "check the host name of the market's address",
            Self::Tcp => {
                "check the market's address, that `market serve` runs there, and that no firewall is in between"
            }
            Self::Tls => {
                "check the port of the market's address: what listens there does not speak TLS 1.3 as a market does"
            }
            Self::Call => "try again in a moment: the market may be restarting",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the market",
            Self::Tcp => "connecting to the market at",
            Self::Tls => "the TLS handshake with the market at",
            Self::Call => "the call to the market at",
        })
    }
}

impl From<DialStep> for Step {
    fn from(step: DialStep) -> Self {
        match step {
            DialStep::Resolve => Self::Resolve,
            DialStep::Tcp => Self::Tcp,
            DialStep::Tls => Self::Tls,
        }
    }
}

/// Returns whether a connection was closed without any reason given.
fn is_cut_off(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

fn joined(failures: &[Error]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// tonic's own time-out is CANCELLED here and on the server; a proxy's is DEADLINE_EXCEEDED.
fn is_status_of_timeout(status: &Status) -> bool {
    let ours = StdError::source(status)
        .is_some_and(|source| causes(source).any(|cause| cause.is::<TimeoutExpired>()));
    let theirs = status.code() == Code::Cancelled && status.message() == TimeoutExpired(()).to_string();
    ours || theirs || status.code() == Code::DeadlineExceeded
}
