//! The errors of commands, worded for the person at the terminal.

use std::io;

use souk_certs::credentials::CredentialError;
use souk_client::{
    Error, Refusal,
    config::{AddressesError, ConfigError},
    error::{Distrust, Objection, Step},
};
use souk_proto::Reason;
use tonic::Code;

use crate::exit;

/// Why a command failed: an error of the client library, or something about the command itself.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client library returned an error.
    #[error(transparent)]
    Client(#[from] Error),
    /// The command or a setting is wrong.
    #[error("{message}")]
    Usage {
        /// What is wrong with the command or setting, in one line.
        message: String,
        /// What to do about it; `None` if the message says so itself.
        hint: Option<String>,
    },
    /// The command could not do what it was asked to, or only a part of it.
    #[error("{message}")]
    Undone {
        /// What was not done, in one line.
        message: String,
        /// What to do about it; `None` if the message says so itself.
        hint: Option<String>,
        /// The exit code, of [`exit`].
        exit_code: u8,
    },
    /// Reading the input or writing the result failed.
    #[error("can't {action}: {source}")]
    Io {
        /// What was to be done, such as "read `ca.pem`".
        action: String,
        /// The cause, from the operating system.
        source: io::Error,
    },
}

impl Failure {
    /// Creates a usage error with a hint.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// Creates the error of a command that could not do what was asked, with its exit code (see [`exit`]).
    pub fn undone(message: impl Into<String>, hint: Option<&str>, exit_code: u8) -> Self {
        Self::Undone { message: message.into(), hint: hint.map(str::to_owned), exit_code }
    }

    /// Creates an error for a command that the present state does not allow, with a hint.
    pub fn conflict(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Undone { message: message.into(), hint: Some(hint.into()), exit_code: exit::CONFLICT }
    }

    /// Creates an I/O error while doing `action`, such as "read `ca.pem`".
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// Returns the exit code of a command that fails with this error (see [`exit`]).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => exit::of_error(error),
            Self::Usage { .. } => exit::USAGE,
            Self::Undone { exit_code, .. } => *exit_code,
            Self::Io { .. } => exit::ERROR,
        }
    }

    /// Returns what to do about it; `None` if the message says so itself.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Client(error) => hint(error),
            Self::Usage { hint, .. } | Self::Undone { hint, .. } => hint.as_deref(),
            Self::Io { .. } => None,
        }
    }

    /// Returns the market's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Client(error) => error.refusal(),
            _ => None,
        }
    }
}

/// Returns what to do about an error of the client library: [`Error::hint`], with the names of the flags.
pub fn hint(error: &Error) -> Option<&str> {
    match error {
        Error::Unreachable { step: Step::Resolve, .. } => Some("check the host name in --market"),
        Error::Unreachable { step: Step::Tcp, .. } => Some(
            "check --market HOST:PORT, that `market serve` runs there, and that no firewall is in between",
        ),
        Error::Unreachable { step: Step::Tls, .. } => {
            Some("check that the port in --market is a Souk market's: it does not speak TLS 1.3 as one does")
        }
        Error::NoneReached(_) => error.decisive().and_then(hint),
        Error::TimedOut { .. } => Some(
            "try again or raise --timeout; a change may have taken place all the same, so look before repeating it",
        ),
        Error::Untrusted { distrust: Distrust::Theirs(objection), .. } => match objection {
            Objection::UnknownAuthority => Some(
                "check --market, and that --ca is the ca.pem of that market: connect only if you trust who gave it to you",
            ),
            Objection::OutOfDate | Objection::StaleRevocationList | Objection::Revoked => error.hint(),
            _ => Some("check that --market HOST:PORT is the market and not another server"),
        },
        // Another server, or an older market, answers without a reason.
        Error::Refused(refusal) if refusal.reason().is_none() && refusal.code() == Code::Unimplemented => {
            command_hint(Reason::MethodUnknown)
        }
        Error::Refused(refusal) => refusal.reason().and_then(command_hint).or_else(|| error.hint()),
        _ => error.hint(),
    }
}

/// Returns the hints that name a command or flag, in place of the RPC that [`Reason::hint`] names.
fn command_hint(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::ItemNotFound => "check the item id: `buyer search` and `seller items` list them",
        Reason::PartyNotFound => "check the UUID: `market admin parties` lists them",
        Reason::OrderNotFound => "check the order id: `buyer orders` lists yours",
        Reason::WishNotFound => "check the item id: `buyer wish list` shows your wishlist",
        Reason::AlreadyRated => "pass --update to replace your earlier rating",
        Reason::RideNotFound => "check the ride's id: `seller ride list` shows yours",
        Reason::TillNotFound => "check the name: `seller till list` lists yours",
        Reason::TooManyTills => "remove one that is no longer used: `seller till rm NAME`",
        Reason::DeadLetterNotFound => "check the number: `market admin dead-letters` lists them",
        Reason::TooManyConsumers => {
            "pass --consumer NAME with one of the names in use, or remove one with `mailbox rm NAME`; `mailbox` lists them"
        }
        Reason::ConsumerNotFound => {
            "check the name: `seller mailbox` or `buyer mailbox` lists your consumers"
        }
        Reason::ConsumerConnected => {
            "end the program that follows under the name first; if its machine is lost, try again in a minute"
        }
        Reason::NotRegistered => "register first: `seller register NAME` or `buyer register NAME`",
        Reason::CertificateRequired => {
            "connect with a certificate that the market's authority signed (gen-certs.sh)"
        }
        Reason::MethodUnknown => {
            "check that --market is a Souk market, and of a version that knows this command"
        }
        Reason::CertificateExpired => "renew the certificate: `gen-certs.sh renew`",
        _ => return None,
    })
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self::Client(error.into())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Client(error.into())
    }
}

impl From<AddressesError> for Failure {
    fn from(error: AddressesError) -> Self {
        Self::Client(error.into())
    }
}
