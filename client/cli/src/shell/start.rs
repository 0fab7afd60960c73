//! The beginning of the interactive shell: it needs a certificate and a market, and explains what is missing.

use std::{pin::pin, time::Duration};

use souk_proto::{Reason, v1::WhoAmIRequest};
use tokio::time::sleep;

use crate::{CliSession, Failure, files};

/// How long the market may take before the shell says what it waits for.
const SILENCE: Duration = Duration::from_secs(1);

/// Waits until the market answers. Returns whether the party is registered.
///
/// # Errors
/// There is no certificate or it can't be used, or the market can't be reached or refuses it.
pub(super) async fn reach(session: &CliSession) -> Result<bool, Failure> {
    if session.config().is_err() {
        session.printer().say(&steps(session.program()));
    }
    let connection = session.connection().await?;
    let mut asked = pin!(connection.call(WhoAmIRequest {}));
    let answer = tokio::select! {
        answer = &mut asked => answer,
        () = sleep(SILENCE) => {
            session.printer().say(&format!("waiting for the market at {}; Ctrl-C cancels", connection.market()));
            asked.await
        }
    };
    match answer {
        Ok(who) => Ok(who.account.is_some()),
        Err(error) if error.reason() == Some(Reason::NotRegistered) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns how to get what the shell needs.
fn steps(program: &str) -> String {
    let settings = files::config_folder().map(|folder| folder.join(format!("{program}.toml")));
    let kept = settings.map(|file| format!("; both can be kept in {}", file.display()));
    format!(
        "the shell needs your certificate and the address of a market. An invitation code brings both:\n\
         1. the market's operator makes it: ./gen-certs.sh invite {program} NAME\n\
         2. {program} join CODE\n\
         With files that the operator gave you: {program} --cert NAME.pem --market HOST:PORT{}\n",
        kept.unwrap_or_default()
    )
    .trim_end()
    .to_owned()
}
