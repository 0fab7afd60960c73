//! Registering with a callback server: it has to be there, since the market tries it at once.

use souk_client::{Error, Inbox, Seen};
use souk_proto::v1;

use super::CliSession;
use crate::Failure;

/// A callback server that is open while the market tries it.
pub struct Probed(Option<Inbox>);

impl Probed {
    /// Closes it.
    pub async fn close(self) {
        if let Some(inbox) = self.0 {
            inbox.close().await;
        }
    }
}

/// Returns the callback address to register, by the settings, and a server that answers there for the moment.
/// What the market might deliver meanwhile is not taken, and so comes again.
///
/// # Errors
/// The certificate can't be used, or --listen not be listened on.
pub async fn callback(session: &CliSession) -> Result<(Option<v1::CallbackAddress>, Probed), Failure> {
    let config = session.config()?;
    let Some(address) = config.listen else { return Ok((None, Probed(None))) };
    let listener = match Inbox::bind(address).await {
        Ok(listener) => listener,
        // The shell, or `listen` in another terminal, answers there already.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AddrInUse => {
            return Ok((Some(config.callback(address)), Probed(None)));
        }
        Err(failure) => return Err(failure.into()),
    };
    let (inbox, _not_taken) = Inbox::open(listener, &session.credentials()?, Seen::in_memory())?;
    Ok((Some(config.callback(inbox.address())), Probed(Some(inbox))))
}
