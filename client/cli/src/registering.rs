//! Registration with a callback server. The server must be running, because the market probes it at once.

use souk_client::{Error, Inbox, Seen};
use souk_proto::v1;

use super::CliSession;
use crate::Failure;

/// A callback server that is open while the market probes it.
pub struct Probed(Option<Inbox>);

impl Probed {
    /// Closes the server, once the market has answered the registration. Does nothing if none was opened.
    pub async fn close(self) {
        if let Some(inbox) = self.0 {
            inbox.close().await;
        }
    }
}

/// Returns the callback address to register, from the settings, and a temporary server that listens there.
/// Events that the market delivers meanwhile are not taken, so they are delivered again.
///
/// # Errors
/// The certificate can't be used, or the address of --listen can't be bound.
pub async fn callback(session: &CliSession) -> Result<(Option<v1::CallbackAddress>, Probed), Failure> {
    let config = session.config()?;
    let Some(address) = config.listen else { return Ok((None, Probed(None))) };
    let listener = match Inbox::bind(address).await {
        Ok(listener) => listener,
        // The shell, or `listen` in another terminal, already listens there.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AddrInUse => {
            return Ok((Some(config.callback(address)), Probed(None)));
        }
        Err(failure) => return Err(failure.into()),
    };
    let (inbox, _not_taken) = Inbox::open(listener, &session.credentials()?, Seen::in_memory())?;
    Ok((Some(config.callback(inbox.address())), Probed(Some(inbox))))
}
