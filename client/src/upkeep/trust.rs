//! Asking the market for a newer trust bundle.

use souk_certs::{clock::Clock, random::Random};
use souk_enrolment::{
    context::Context,
    renewal::{self, RenewalError},
    trust::{BundleError, SignedBundle},
};
use souk_proto::{Reason, v1::GetTrustRequest};
use tonic::Code;

use crate::{Connection, Error};

/// Why no newer trust bundle was taken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The market was not reached, or did not answer.
    #[error(transparent)]
    Call(#[from] Error),
    /// The bundle was refused, or the context can't be changed.
    #[error(transparent)]
    Renewal(#[from] RenewalError),
    /// The answer is not a bundle.
    #[error(transparent)]
    Malformed(#[from] BundleError),
}

impl TrustError {
    /// Returns whether somebody should look at it: the market passes on what the authority has not signed, or something
    /// older than before.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Renewal(RenewalError::Trust(_) | RenewalError::Bundle(_)))
    }
}

/// Asks the market once, and takes what it sends.
pub(super) async fn ask(
    connection: &Connection,
    context: &Context,
    clock: Clock,
    random: Random,
) -> Result<(), TrustError> {
    let known_sequence = renewal::known_sequence(context)?;
    let request = GetTrustRequest { known_sequence };
    let answer = match connection.call(request).await {
        Ok(answer) => answer,
        // A market of an earlier version, or one without news of its own.
        Err(error)
            if error.code() == Some(Code::Unimplemented) || error.reason() == Some(Reason::Unavailable) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let chain = answer.bundles.into_iter().map(SignedBundle::try_from).collect::<Result<Vec<_>, _>>()?;
    renewal::take_answer(context, known_sequence, &chain, clock, random).await?;
    Ok(())
}
