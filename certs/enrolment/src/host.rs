//! Joining as a market: the host's folder becomes a context.

use souk_certs::clock::Clock;
use souk_certs::connector::Dial;
use souk_certs::identity::{Role, TrustDomain};
use souk_certs::random::Random;
use std::path::PathBuf;
use thiserror::Error;

use crate::admission::{Admission, AnswerError};
use crate::code::InvitationCode;
use crate::context::{Context, ContextError, Description, Joining};
use crate::join::{JoinError, join};
use crate::key::{KeyError, PartyKey};

/// Why a host did not join. The same call continues where this one stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostJoinError {
    /// The folder has the certificate of another party, or of a market of another trust domain. Nothing was sent.
    #[error("{} has the certificate of the {role} {name} of the trust domain {domain} already", folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The role of the party whose certificate it is.
        role: Role,
        /// Its name.
        name: String,
        /// Its trust domain.
        domain: TrustDomain,
    },
    /// The folder has the certificate of a market with another name than the one that the code was for. The code is used up,
    /// because only the authority knows the name.
    #[error("{} has the certificate of the market {name} already, and the code was for {found}", folder.display())]
    OtherName {
        /// The folder.
        folder: PathBuf,
        /// The name of the market whose certificate it is.
        name: String,
        /// The name in the invitation.
        found: String,
    },
    /// The authority was not reached, is another one, or refused.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The key can't be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The folder can't be read or written.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The authority's answer can't be used.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// Gets a market's certificate for an invitation, and puts it into a folder with everything that belongs to it. `nearby` are
/// addresses at which the authority is reached from this host alone ([`Description::nearby`]).
///
/// If the folder has been completed with the same code, nothing is asked. A market that has to join again, because its
/// certificate was revoked or the authority has started afresh, gets another certificate in the same folder; the one before
/// stays in use until then.
///
/// Each code has a key of its own, which is kept until the folder is complete, so that the same call continues after an
/// interruption. The key of a code that was signed, and revoked since, must not use up the next code.
///
/// # Errors
/// Returns the reason as a variant of [`HostJoinError`].
pub async fn join_host(
    context: &Context,
    code: &InvitationCode,
    nearby: Vec<Dial>,
    (clock, random): (Clock, Random),
) -> Result<Description, HostJoinError> {
    let locked = context.lock()?;
    let before = context.description()?;
    let joining = Joining::begin(context.folder(), code.id())?;
    let before = before.filter(|_| context.is_complete());
    if let Some(found) = &before {
        let is_done = found.invitation == code.id();
        let is_of_market = found.role() == Role::Market && found.trust_domain == *code.trust_domain();
        if is_done || !is_of_market {
            joining.complete()?;
            return if is_done { Ok(found.clone()) } else { Err(taken(context, found)) };
        }
    }
    let key = PartyKey::open_or_create(&joining.key_path(), random.uuid_v4())?;
    let now = clock.now();
    let joined = join(code, Role::Market, &key, now).await?;
    if let Some(found) = before.filter(|found| found.name != joined.name) {
        joining.complete()?;
        let (folder, name) = (context.folder().to_owned(), found.name);
        return Err(HostJoinError::OtherName { folder, name, found: joined.name });
    }
    let Admission { description, generation } = Admission::of(&joined, &key, code, now)?;
    let description = Description { nearby, ..description };
    locked.install(&generation)?;
    // Last, because it says that the code has been redeemed.
    locked.describe(&description, random.uuid_v4())?;
    // A renewal of the certificate before is over.
    locked.forget_pending()?;
    joining.complete()?;
    Ok(description)
}

fn taken(context: &Context, found: &Description) -> HostJoinError {
    let (folder, role) = (context.folder().to_owned(), found.role());
    HostJoinError::Taken { folder, role, name: found.name.clone(), domain: found.trust_domain.clone() }
}
