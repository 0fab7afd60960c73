//! Says once that the connection of a long-lived command broke, and once that it is back.

use std::fmt::Display;

use souk_client::{Attempts, Error};
use souk_proto::v1::WhoAmIRequest;
use tokio::time::sleep;

use crate::{CliSession, Failure, plain};

/// The state of a connection, as far as the user has been told.
#[derive(Debug, Default)]
pub struct Outage {
    is_on: bool,
}

impl Outage {
    /// Returns what to say about a failed connection; `None` if the user knows already.
    pub fn begin(&mut self, failure: &impl Display) -> Option<String> {
        let is_news = !std::mem::replace(&mut self.is_on, true);
        is_news.then(|| format!("disconnected ({}); reconnecting", plain(&failure.to_string())))
    }

    /// Returns what to say when the connection works; `None` if it never broke.
    pub fn end(&mut self) -> Option<&'static str> {
        std::mem::take(&mut self.is_on).then_some("reconnected")
    }
}

/// Keeps a command going that runs over streams of its own.
#[derive(Debug, Default)]
pub struct Persistence {
    attempts: Attempts,
    outage: Outage,
}

impl Persistence {
    /// Waits until the market answers a call, and says that it is back. For streams whose first message comes only
    /// at their end.
    ///
    /// # Errors
    /// The market never answered, or refuses permanently.
    pub async fn reach(&mut self, session: &CliSession, say: impl Fn(&str)) -> Result<(), Failure> {
        loop {
            match session.connection().await?.call(WhoAmIRequest {}).await {
                Ok(_) => {
                    self.came(&say);
                    return Ok(());
                }
                Err(failure) => self.wait(session, failure, false, &say).await?,
            }
        }
    }

    /// Records that the market has answered, and says so after an outage.
    pub fn came(&mut self, say: impl Fn(&str)) {
        self.attempts.reached();
        if let Some(news) = self.outage.end() {
            say(news);
        }
    }

    /// Says that the connection broke, and waits before the next attempt. `came` is whether this attempt got any
    /// further than the one before.
    ///
    /// # Errors
    /// Returns the failure if it is time to give up.
    pub async fn wait(
        &mut self,
        session: &CliSession,
        failure: Error,
        came: bool,
        say: impl Fn(&str),
    ) -> Result<(), Failure> {
        let Some(wait) = self.attempts.after(&failure, came, session.connection().await?) else {
            return Err(failure.into());
        };
        if let Some(news) = self.outage.begin(&failure) {
            say(&news);
        }
        sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_is_said_once_at_both_ends() {
        let mut outage = Outage::default();
        assert_eq!(outage.end(), None);
        assert_eq!(outage.begin(&"refused").as_deref(), Some("disconnected (refused); reconnecting"));
        assert_eq!(outage.begin(&"refused"), None);
        assert_eq!(outage.end(), Some("reconnected"));
        assert_eq!(outage.end(), None);
        assert!(outage.begin(&"again").is_some());
    }
}
