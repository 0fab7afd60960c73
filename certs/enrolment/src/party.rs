//! Joining as a seller, buyer or operator: a context in the folder of a user's contexts.

use souk_certs::clock::Clock;
use souk_certs::connector::Dial;
use souk_certs::identity::Role;
use souk_certs::random::Random;
use thiserror::Error;

use crate::admission::{Admission, AnswerError};
use crate::code::InvitationCode;
use crate::context::{Context, ContextError, ContextFolder, ContextName, Description};
use crate::join::{JoinError, join};
use crate::key::{KeyError, PartyKey};
use crate::renewal::Record;

/// A party that wants to join.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Its role, which must be that of the invitation.
    pub role: Role,
    /// The name of its context. `None` means the name in the invitation.
    pub name: Option<ContextName>,
    /// The market's addresses, for an authority that knows none.
    pub market: Vec<Dial>,
}

/// The context of a party that has joined.
#[derive(Clone, Debug)]
pub struct PartyContext {
    /// Its name.
    pub name: ContextName,
    /// Its folder.
    pub context: Context,
    /// What it is for.
    pub description: Description,
}

/// Why a party has not joined. The same call continues where this one stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PartyJoinError {
    /// The code was used here before, by a party of another role.
    #[error("the code was used by a {role}, whose context is {name}")]
    OtherRole {
        /// The role of that party.
        role: Role,
        /// The name of its context.
        name: ContextName,
    },
    /// The code was used here before, for a context with another name.
    #[error("the code has made the context {found} already, and not {wanted}")]
    OtherName {
        /// The name of that context.
        found: ContextName,
        /// The name that was asked for.
        wanted: ContextName,
    },
    /// The authority was not reached, is another one, or refused.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The authority's answer can't be used.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The key can't be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The context can't be read or written, or another one has its name.
    #[error(transparent)]
    Context(#[from] ContextError),
}

/// Gets a party's certificate for an invitation, and makes a context of it. If an earlier call has made the context with the
/// same code, nothing is asked. A party that joins again keeps its context, which gets the new certificate.
///
/// The key is kept in `joining/ID` until the context has it, so that the same call continues after an interruption.
///
/// # Errors
/// Returns the reason as a variant of [`PartyJoinError`].
pub async fn join_party(
    folder: &ContextFolder,
    newcomer: Newcomer,
    code: &InvitationCode,
    (clock, random): (Clock, Random),
) -> Result<PartyContext, PartyJoinError> {
    if let Some(joined) = joined_before(folder, &newcomer, code)? {
        return Ok(joined);
    }
    if let Some(name) = &newcomer.name {
        // Before the code is used up.
        folder.check_free(name, newcomer.role, code.trust_domain(), code.id())?;
    }
    let now = clock.now();
    let joining = folder.joining(code.id())?;
    // By another process, for which this one has waited.
    if let Some(joined) = made_with(folder, &newcomer, code)? {
        joining.complete()?;
        return Ok(joined);
    }
    let key = PartyKey::open_or_create(&joining.key_path(), random.uuid_v4())?;
    let joined = join(code, newcomer.role, &key, now).await?;
    let Admission { mut description, generation } = Admission::of(&joined, &key, code, now)?;
    if description.market.is_empty() {
        description.market = newcomer.market;
    }
    let name = match (newcomer.name, folder.of_party(&description)?) {
        (Some(name), _) => name,
        (None, Some(of_party)) => of_party.name,
        (None, None) => joined.name.parse().map_err(ContextError::Name)?,
    };
    let locked = folder.begin(&name, &description, random.uuid_v4())?;
    locked.install(&generation)?;
    let context = locked.context().clone();
    locked.describe(&description, random.uuid_v4())?;
    // Of the certificate before, if there was one.
    locked.forget_pending()?;
    if Record::read(&context) != Record::default() {
        Record::default().write(&context, random.uuid_v4())?;
    }
    drop(locked);
    joining.complete()?;
    Ok(PartyContext { name, context, description })
}

/// Returns the context that an earlier call has made with the same code, and removes what that has left behind.
fn joined_before(
    folder: &ContextFolder,
    newcomer: &Newcomer,
    code: &InvitationCode,
) -> Result<Option<PartyContext>, PartyJoinError> {
    let made = made_with(folder, newcomer, code)?;
    if made.is_some() {
        folder.joining(code.id())?.complete()?;
    }
    Ok(made)
}

/// Returns the context that was made with this code, if it is complete.
fn made_with(
    folder: &ContextFolder,
    newcomer: &Newcomer,
    code: &InvitationCode,
) -> Result<Option<PartyContext>, PartyJoinError> {
    let Some(listed) = folder.of_invitation(code.id())? else { return Ok(None) };
    let description = listed.description?;
    if description.role() != newcomer.role {
        return Err(PartyJoinError::OtherRole { role: description.role(), name: listed.name });
    }
    if let Some(wanted) = newcomer.name.clone().filter(|wanted| *wanted != listed.name) {
        return Err(PartyJoinError::OtherName { found: listed.name, wanted });
    }
    let is_complete = listed.context.is_complete();
    let joined = PartyContext { name: listed.name, context: listed.context, description };
    Ok(is_complete.then_some(joined))
}
