//! What can go wrong for a client, in words for the person at the terminal.
//!
//! `Display` says what was wrong, [`Failure::hint`] what to do about it, [`Failure::exit_code`] how the
//! process ends. A TLS 1.3 server judges the client's certificate only after the client believes the
//! handshake done, so its verdict arrives as a broken first call: this module and
//! [`connection`](crate::connection) tell such a verdict from a broken network.

mod distrust;
mod refusal;

use std::{error::Error, fmt, io, time::Duration};

use souk_certs::{
    TlsError,
    connector::{Dial, DialError, DialStep},
    credentials::CredentialError,
};
use souk_proto::{Reason, reason::exit};
use tonic::{Code, Status, TimeoutExpired};

pub use distrust::{Distrust, Objection};
pub use refusal::{Refusal, Violation};

use crate::{
    balance::{AtAddress, NoneReached},
    config::{ConfigError, MarketAddresses},
};

/// An error of any kind, as a source.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a client could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The certificate, key, authority or revocation list on this machine can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The files are fine, but TLS can't be set up with them.
    #[error("can't set up TLS with these certificates: {0}")]
    Tls(#[source] TlsError),
    /// The certificate is the market's own, or of a role that does not call the market.
    #[error("the certificate names {0}, which is no party of the market")]
    NotAParty(String),
    /// No connection, or it broke.
    #[error("{step} {market} failed: {}", innermost(source.as_ref()))]
    Unreachable {
        /// What was being done.
        step: Step,
        /// The market.
        market: Dial,
        /// Why it failed.
        source: BoxError,
    },
    /// One side turned the other's certificate down.
    #[error("{distrust} (connecting to {market})")]
    Untrusted {
        /// Whose certificate, and why.
        distrust: Distrust,
        /// The market.
        market: Dial,
    },
    /// Every address of the market was dialled in vain.
    #[error("no address of the market can be used: {}", joined(.0))]
    NoneReached(Vec<Failure>),
    /// The time for the call was over.
    #[error("no answer from the market at {market} within {after:?}")]
    TimedOut {
        /// The market.
        market: MarketAddresses,
        /// The time that the call had.
        after: Duration,
    },
    /// The market answered with an error.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// Something on this machine failed.
    #[error("can't {action}: {source}")]
    Io {
        /// What was to be done, such as "listen on 127.0.0.1:7443".
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// The command or a setting is wrong.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// What a client was doing when the market turned out to be out of reach.
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

impl Failure {
    /// Reads the status with which a call ended. `after` is the time that the call had.
    pub fn from_status(status: Status, market: &MarketAddresses, after: Duration) -> Self {
        if refusal::comes_from_souk(&status) {
            return Self::Refused(Box::new(Refusal::new(&status)));
        }
        if is_timeout(&status) {
            return Self::TimedOut { market: market.clone(), after };
        }
        match Error::source(&status) {
            // tonic keeps a source for what happened on this side; what the server sent has none.
            Some(source) => match causes(source).find_map(|cause| cause.downcast_ref::<NoneReached>()) {
                Some(NoneReached(errors)) => Self::NoneReached(
                    errors.iter().map(|error| Self::from_transport(error.as_ref(), &error.target)).collect(),
                ),
                None => Self::from_transport(source, AtAddress::of(source).unwrap_or(market.first())),
            },
            None => Self::Refused(Box::new(Refusal::new(&status))),
        }
    }

    /// Reads an error of the network or of TLS.
    pub(crate) fn from_transport(error: &(dyn Error + 'static), market: &Dial) -> Self {
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
        // A balancer in front of a market that is down accepts, and hangs up in the middle of the handshake.
        if step == Step::Tls && was_cut_off {
            step = Step::Call;
        }
        Self::Unreachable { step, market: market.clone(), source: innermost(error).to_string().into() }
    }

    /// A usage error with a hint.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// An I/O error on this machine while doing `action`, such as "read `ca.pem`".
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// The exit code of a command line that ends with it (see [`exit`]).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Credentials(_) | Self::Tls(_) | Self::NotAParty(_) | Self::Untrusted { .. } => {
                exit::IDENTITY
            }
            Self::Unreachable { .. } | Self::TimedOut { .. } => exit::UNAVAILABLE,
            Self::NoneReached(_) => self.telling().map_or(exit::UNAVAILABLE, Self::exit_code),
            Self::Refused(refusal) => refusal.exit_code(),
            Self::Io { .. } => exit::ERROR,
            Self::Usage { .. } => exit::USAGE,
        }
    }

    /// What to do about it; `None` when the message says so itself.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Io { .. } => None,
            Self::Credentials(_) => Some(
                "a certificate, its key, ca.pem and crl.pem belong together in one folder; `gen-certs.sh bundle NAME` packs them",
            ),
            Self::Tls(_) => Some("make the certificates anew with gen-certs.sh"),
            Self::NotAParty(_) => Some("use a seller's, buyer's or operator's certificate"),
            Self::Unreachable { step, .. } => Some(step.hint()),
            Self::NoneReached(_) => self.telling().and_then(Self::hint),
            Self::Untrusted { distrust, .. } => Some(distrust.hint()),
            Self::TimedOut { .. } => Some(
                "try again or raise --timeout; a change may have taken place all the same, so look before repeating it",
            ),
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::Usage { hint, .. } => hint.as_deref(),
        }
    }

    /// Whether it may be gone in a moment, without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::NoneReached(failures) => failures.iter().any(Self::is_passing),
            Self::Refused(refusal) => {
                matches!(refusal.code(), Code::Unavailable | Code::ResourceExhausted)
                    || refusal.is_about_the_token()
            }
            _ => false,
        }
    }

    /// Whether one side turned a certificate down, so that another one may help.
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

    /// Whether it is of the one address at which the call was made, so that another may do better.
    pub(crate) fn is_of_one_address(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.code() == Code::Unavailable,
            _ => false,
        }
    }

    /// Of the failures at several addresses the one that somebody has to do something about: a certificate
    /// that was turned down, before anything that may pass.
    fn telling(&self) -> Option<&Self> {
        let Self::NoneReached(failures) = self else { return None };
        failures.iter().find(|failure| failure.is_about_the_certificate()).or(failures.first())
    }

    /// The market's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage { message: error.to_string(), hint: None }
    }
}

impl Step {
    fn hint(self) -> &'static str {
        match self {
            Self::Resolve => "check the host name in --market",
            Self::Tcp => {
                "check --market HOST:PORT, that `market serve` runs there, and that no firewall is in between"
            }
            Self::Tls => {
                "check that the port in --market is a Souk market's: it does not speak TLS 1.3 as one does"
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

/// Whether a connection was broken off without a word of why.
fn is_cut_off(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

fn joined(failures: &[Failure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The error and all that it was caused by. An `io::Error` hides the error that it wraps from `source`.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| cause(error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

/// The cause that says most: the last of the chain.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

/// tonic's own time-out is CANCELLED here and on the server; a proxy's is DEADLINE_EXCEEDED.
fn is_timeout(status: &Status) -> bool {
    let ours =
        Error::source(status).is_some_and(|source| causes(source).any(|cause| cause.is::<TimeoutExpired>()));
    let theirs = status.code() == Code::Cancelled && status.message() == TimeoutExpired(()).to_string();
    ours || theirs || status.code() == Code::DeadlineExceeded
}
