//! Reloads certificates, revocation lists and roots when their files change.

use std::sync::Arc;

use souk_certs::{
    credentials::{Credentials, StaleLists},
    rotation::{FileWatch, Rotation},
};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::{ClientConfig, Connection, Error, inbox::InboxHandle};

/// Follows a party's files until it is dropped.
///
/// # Examples
/// ```no_run
/// use souk_client::{Identity, Souk};
///
/// # async fn example() -> Result<(), souk_client::Error> {
/// let souk = Souk::connect("localhost:7443", Identity::from_file("bob.pem")?).await?;
/// // While this value lives, `gen-certs.sh renew bob` takes effect without a restart.
/// let _renewal = souk.follow_certificate_files()?;
/// souk.buyer().orders().all().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Renewal {
    task: JoinHandle<()>,
}

/// The components that use the credentials.
pub struct CredentialUsers {
    /// The connection to the market, if there is one. Its next connections use the new credentials.
    pub connection: Option<Connection>,
    /// The callback server; `None` if events come by a stream.
    pub inbox: Option<InboxHandle>,
}

impl Renewal {
    /// Watches the files of a party's settings and passes changed credentials to `users`. The result of each
    /// reload is reported as text. If the new files are not usable, the old credentials stay in use.
    ///
    /// # Errors
    /// The current files can't be used.
    pub fn start(
        config: &ClientConfig,
        users: CredentialUsers,
        report: impl Fn(String) + Send + 'static,
    ) -> Result<Self, Error> {
        let (files, domain, clock) = (config.credentials.clone(), config.trust_domain.clone(), config.clock);
        // Start watching before the first load, so that no change in between is missed.
        let watch = FileWatch::new(files.paths());
        let mut changed = watch.start().map_err(|error| Error::io("watch the certificate's files", error))?;
        let mut rotation = Rotation::begin(files, domain, StaleLists::Warn, clock.now())?;
        let task = tokio::spawn(async move {
            while changed.recv().await.is_some() {
                let now = clock.now();
                let before = *rotation.current().identity().thumbprint();
                let taken = rotation.reload(now).map_err(|error| error.to_string());
                let taken = taken.and_then(|credentials| {
                    credentials.warnings().iter().for_each(|warning| report(format!("warning: {warning}")));
                    let until = users.take_up(credentials, now).map_err(|failure| failure.to_string())?;
                    Ok((until, *credentials.identity().thumbprint() == before))
                });
                match taken {
                    // Roots and revocation lists change often, and the user need not act on it.
                    Ok((_, true)) => tracing::info!("new roots or revocation lists were taken up"),
                    Ok((until, false)) => {
                        report(format!("a new certificate was taken up, valid until {until}"))
                    }
                    Err(reason) => report(format!("changed certificates were not taken up: {reason}")),
                }
            }
        });
        Ok(Self { task })
    }
}

impl CredentialUsers {
    /// Replaces the credentials of all users. Returns until when the new ones are valid.
    fn take_up(&self, credentials: &Arc<Credentials>, now: OffsetDateTime) -> Result<time::Date, Error> {
        if let Some(connection) = &self.connection {
            connection.take_up(credentials)?;
        }
        if let Some(inbox) = &self.inbox {
            inbox.take_up(credentials, now)?;
        }
        Ok(credentials.identity().not_after().date())
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.task.abort();
    }
}
