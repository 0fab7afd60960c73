//! Keeps the certificate of a context usable: renews it in programs that run, after commands, and before a command whose
//! certificate has ended.

use std::sync::atomic::Ordering;

use souk_certs::credentials::{CredentialError, Credentials};
use souk_client::{
    ClientConfig, Error, Renewal, Upkeep, inbox::InboxHandle, renewal::CredentialUsers, upkeep,
};
use souk_enrolment::renewal::{self, Outcome};

use crate::{CliSession, Failure, exit, selection::Selected};

/// Takes up renewed certificates while it lives and, if the certificate is of a context, renews it and follows what the
/// authority says about roots and revocations.
#[derive(Debug)]
pub struct Renewing {
    _files: Renewal,
    _upkeep: Option<Upkeep>,
}

impl CliSession {
    /// Takes up renewed certificates while the result lives: for commands that may outlive a certificate. `None` if
    /// another part of the program does already.
    ///
    /// # Errors
    /// The certificate can't be used.
    pub async fn take_up_renewals(&self, inbox: Option<InboxHandle>) -> Result<Option<Renewing>, Failure> {
        let connection = self.connection().await?.clone();
        if self.is_renewing().swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        let config = self.config()?;
        let printer = self.printer().clone();
        let users = CredentialUsers { connection: Some(connection.clone()), inbox };
        let files = Renewal::start(config, users, move |text| printer.say(&text))?;
        let upkeep = self.resolved().selection.in_use().map(|selected| {
            let printer = self.printer().clone();
            let report = move |text: String| printer.say(&text);
            Upkeep::start(selected.context.clone(), &connection, config.clock, config.random, report)
        });
        Ok(Some(Renewing { _files: files, _upkeep: upkeep }))
    }

    /// Ends a command: adds to a failure what helps in the context in use, and looks after the context, unless the command
    /// did while it ran.
    ///
    /// # Errors
    /// Returns the failure of the command.
    pub async fn conclude<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let (Some(selected), Ok(config), Some(connection)) =
            (self.resolved().selection.in_use(), self.config(), self.opened())
            && !self.is_renewing().load(Ordering::SeqCst)
        {
            let (clock, random) = (config.clock, config.random);
            let problem = upkeep::after_work(&selected.context, Some(connection), clock, random).await;
            if let Some(problem) = problem {
                self.printer().say(&format!("warning: {problem}"));
            }
        }
        outcome.map_err(|failure| self.advised(failure))
    }

    /// Loads the credentials. A certificate of a context that has ended is renewed first.
    pub(crate) async fn load(&self, config: &ClientConfig) -> Result<Credentials, Failure> {
        let load = || Credentials::load(&config.credentials, &config.trust_domain, config.clock.now());
        let selected = self.resolved().selection.in_use();
        match (load(), selected) {
            (Err(error @ CredentialError::Expired { .. }), Some(selected)) => {
                self.renew_ended(config, selected, error).await?;
                Ok(load()?)
            }
            (Err(error @ CredentialError::ExpiredCa { .. }), Some(selected)) => {
                let caught_up = renewal::catch_up(&selected.context, config.clock, config.random).await;
                match caught_up {
                    Ok(_) => Ok(load()?),
                    Err(cause) => Err(unrenewed(error, &cause)),
                }
            }
            (loaded, _) => Ok(loaded?),
        }
    }

    async fn renew_ended(
        &self,
        config: &ClientConfig,
        selected: &Selected,
        ended: CredentialError,
    ) -> Result<(), Failure> {
        match renewal::renew(&selected.context, config.clock, config.random).await {
            Ok(Outcome::Renewed(certificate)) => {
                let until = certificate.not_after().date();
                self.printer()
                    .say(&format!("your certificate had ended and was renewed, valid until {until}"));
                Ok(())
            }
            // Another process is at it, or was.
            Ok(Outcome::Busy | Outcome::NotDue) => Ok(()),
            Err(cause) => Err(self.advised(unrenewed(ended, &cause))),
        }
    }
}

/// Words a certificate that can't be used, and was not renewed either.
fn unrenewed(error: CredentialError, cause: &dyn std::error::Error) -> Failure {
    let hint = Failure::from(Error::Credentials(error));
    Failure::undone(
        format!("the certificate has ended, and was not renewed: {cause}"),
        hint.hint().as_deref(),
        exit::IDENTITY,
    )
}
