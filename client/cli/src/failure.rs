//! The errors of commands, worded for the person at the terminal.

use std::io;

use souk_certs::credentials::CredentialError;
use souk_client::{
    Error, Refusal,
    config::{AddressesError, ConfigError},
};
use souk_enrolment::context::ContextError;
use souk_help::GuideError;
use souk_settings::SettingsError;

use crate::{
    Audience, exit,
    hints::{of_context, remedy},
    wording,
};

/// Why a command failed: an error of the client library, or something about the command itself.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client library returned an error.
    #[error("{}", wording::plainly(.0))]
    Client(#[from] Error),
    /// A context can't be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The settings file is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
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
    /// Another failure, with what helps in the context in use.
    #[error("{}", message.clone().unwrap_or_else(|| failure.to_string()))]
    Advised {
        /// The failure.
        failure: Box<Self>,
        /// Its message to this party, if that differs.
        message: Option<String>,
        /// What to do about it.
        hint: String,
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
            Self::Context(error) => exit::of_context(error),
            Self::Usage { .. } | Self::Settings(SettingsError::Wrong(_)) => exit::USAGE,
            Self::Undone { exit_code, .. } => *exit_code,
            Self::Advised { failure, .. } => failure.exit_code(),
            Self::Io { .. } | Self::Settings(SettingsError::Unreadable { .. }) => exit::ERROR,
        }
    }

    /// Returns what to do about it, without naming commands; `None` if the message says so itself.
    pub fn hint(&self) -> Option<String> {
        self.remedy(Audience::Anyone)
    }

    /// Returns what to do about it, with the commands that the audience has; `None` if the message says so itself.
    pub fn remedy(&self, audience: Audience) -> Option<String> {
        match self {
            Self::Client(error) => remedy(error, audience),
            Self::Context(error) => of_context(error, audience),
            Self::Usage { hint, .. } | Self::Undone { hint, .. } => hint.clone(),
            Self::Advised { hint, .. } => Some(hint.clone()),
            Self::Io { .. } | Self::Settings(_) => None,
        }
    }

    /// Returns the market's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Client(error) => error.refusal(),
            Self::Advised { failure, .. } => failure.refusal(),
            _ => None,
        }
    }
}

/// Returns what to do about an error of the client library, in terms of flags but not of commands.
pub fn hint(error: &Error) -> Option<String> {
    remedy(error, Audience::Anyone)
}

impl From<GuideError> for Failure {
    fn from(error: GuideError) -> Self {
        match error {
            GuideError::NoSuchCommand(_) => Self::Usage { message: error.to_string(), hint: None },
            GuideError::Io { what, source } => Self::io(format!("write {what}"), source),
        }
    }
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
