//! Keeps the certificate of a context usable: renews it in programs that run, after commands, and before a command whose
//! certificate has ended.

use std::sync::atomic::Ordering;

use souk_certs::credentials::{CredentialError, Credentials};
use souk_client::{ClientConfig, Renewal, Upkeep, inbox::InboxHandle, renewal::CredentialUsers, upkeep};
use souk_enrolment::{
    context::ContextError,
    renewal::{self, Outcome},
};

use crate::{CliSession, Failure, advice::unrenewed};

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

    /// Loads the credentials. A certificate of a context that has ended, or whose root was retired, is renewed first.
    pub(crate) async fn load(&self, config: &ClientConfig) -> Result<Credentials, Failure> {
        let load = || Credentials::load(&config.credentials, &config.trust_domain, config.clock.now());
        let (problem, selected) = match (load(), self.resolved().selection.in_use()) {
            (Err(problem), Some(selected)) => (problem, selected),
            (loaded, _) => return Ok(loaded?),
        };
        let restored = renewal::restore(&selected.context, &problem, config.clock, config.random).await;
        match restored {
            None => Err(self.advised(problem.into())),
            Some(Err(cause)) => Err(unrenewed(problem, &cause, selected, self.audience())),
            Some(Ok(Outcome::Renewed(certificate))) => {
                let until = certificate.not_after().date();
                let state = if is_ended(&problem) { "had ended" } else { "was of a retired root" };
                self.printer().say(&format!("your certificate {state} and was renewed, valid until {until}"));
                Ok(load()?)
            }
            // Another process was at it.
            Some(Ok(Outcome::NotDue)) => load().map_err(|problem| self.advised(problem.into())),
            Some(Ok(Outcome::Busy)) => load().map_err(|problem| {
                let busy = ContextError::Busy { path: selected.context.folder().to_owned() };
                unrenewed(problem, &busy.into(), selected, self.audience())
            }),
        }
    }
}

fn is_ended(problem: &CredentialError) -> bool {
    matches!(problem, CredentialError::Expired { .. })
}
