//! Joining a market with an invitation code.

use std::{io, path::PathBuf};

use souk_certs::identity::Role;
use souk_enrolment::{
    code::InvitationCode,
    context::{ContextError, ContextFolder},
    join::{CALL_TIMEOUT, JoinError},
    party::{Newcomer, PartyContext, PartyJoinError, join_party},
};
use souk_proto::Reason;

use super::{Options, Souk};
use crate::{Error, MarketAddresses};

/// Options of [`Souk::join_with`](crate::Souk::join_with).
///
/// # Examples
/// ```
/// use souk_client::JoinOptions;
///
/// let options = JoinOptions::default().display_name("Bob's lamps").contexts_in("/var/lib/shop");
/// ```
#[derive(Clone, Debug, Default)]
pub struct JoinOptions {
    role: Option<Role>,
    name: Option<String>,
    contexts: Option<PathBuf>,
    display_name: Option<String>,
    market: Option<MarketAddresses>,
    is_unregistered: bool,
    options: Options,
}

impl JoinOptions {
    /// Joins as this role, and in no other: a code for another one is refused, and not used up. By default, the role is that
    /// of the invitation.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// Chooses the name of the context: up to 63 lower-case letters, digits and inner hyphens. By default, it is the name in the
    /// invitation.
    #[must_use]
    pub fn context_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Keeps the context in another folder than `~/.config/souk`, where the command lines look. The folder is created if it is
    /// missing, and refused if others may write to it.
    #[must_use]
    pub fn contexts_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.contexts = Some(folder.into());
        self
    }

    /// Chooses the name that others see at the market. By default, it is the name in the invitation.
    #[must_use]
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = Some(name.into());
        self
    }

    /// Uses these addresses of the market instead of those that the authority names.
    #[must_use]
    pub fn market(mut self, market: MarketAddresses) -> Self {
        self.market = Some(market);
        self
    }

    /// Doesn't register at the market. The party can do so later ([`Souk::account`](crate::Souk::account)).
    #[must_use]
    pub fn without_registration(mut self) -> Self {
        self.is_unregistered = true;
        self
    }

    /// Sets the options of the connection.
    #[must_use]
    pub fn connection(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    pub(super) async fn join(self, code: &str) -> Result<Souk, Error> {
        let code: InvitationCode = code.parse()?;
        let folder = match &self.contexts {
            Some(folder) => ContextFolder::at(folder),
            None => ContextFolder::of_user().ok_or_else(no_home)?,
        };
        let joined = self.redeem(&folder, &code).await.map_err(|error| failed(error, &code))?;
        let (role, name) = (joined.description.role(), joined.description.name.clone());
        let souk = Souk::of_context(joined.context, self.market, self.options).await?;
        if !self.is_unregistered && role != Role::Operator {
            register(&souk, role, name, self.display_name).await?;
        }
        Ok(souk)
    }

    /// Gets the certificate. Without a role, the refusal of a first attempt names it; that does not use the code up.
    async fn redeem(
        &self,
        folder: &ContextFolder,
        code: &InvitationCode,
    ) -> Result<PartyContext, PartyJoinError> {
        let name = self.name.as_deref().map(str::parse).transpose().map_err(ContextError::Name)?;
        let market: Vec<_> = self.market.iter().flat_map(|market| market.iter().cloned()).collect();
        let by = (self.options.clock, self.options.random);
        let newcomer = Newcomer { role: self.role.unwrap_or(Role::Buyer), name, market };
        let first = join_party(folder, newcomer.clone(), code, by).await;
        match first.as_ref().err().and_then(|error| role_in(error, code)).filter(|_| self.role.is_none()) {
            Some(role) => join_party(folder, Newcomer { role, ..newcomer }, code, by).await,
            None => first,
        }
    }
}

/// Returns the role that a refused code is for, if it is a party's.
fn role_in(error: &PartyJoinError, code: &InvitationCode) -> Option<Role> {
    match error {
        PartyJoinError::OtherRole { role, .. } => Some(*role),
        PartyJoinError::Join(JoinError::Refused(status)) => {
            let error = Error::from_status(status.clone(), &code.authority().clone().into(), CALL_TIMEOUT);
            let refusal =
                error.refusal().filter(|refusal| refusal.reason() == Some(Reason::InvitationRole))?;
            let role: Role = refusal.metadata().get("role")?.parse().ok()?;
            matches!(role, Role::Seller | Role::Buyer | Role::Operator).then_some(role)
        }
        _ => None,
    }
}

/// Registers the party, unless it is registered already. A name that was chosen since then stays, unless another one is given
/// now.
async fn register(souk: &Souk, role: Role, name: String, chosen: Option<String>) -> Result<(), Error> {
    match souk.who_am_i().await {
        Ok(who) if who.account.is_some() && chosen.is_none() => return Ok(()),
        Ok(_) => {}
        Err(error) if error.reason() == Some(Reason::NotRegistered) => {}
        Err(error) => return Err(error),
    }
    let (account, name) = (souk.account(), chosen.unwrap_or(name));
    match role {
        Role::Seller => account.register_seller(name, None).await,
        _ => account.register_buyer(name, None).await,
    }
    .map(drop)
}

fn failed(error: PartyJoinError, code: &InvitationCode) -> Error {
    match error {
        PartyJoinError::Join(JoinError::Refused(status)) => {
            Error::from_status(status, &code.authority().clone().into(), CALL_TIMEOUT)
        }
        PartyJoinError::Context(error) => error.into(),
        other => Error::Join(Box::new(other)),
    }
}

fn no_home() -> Error {
    let missing = io::Error::new(io::ErrorKind::NotFound, "this user has no home directory");
    Error::io("find the folder of contexts; name one with JoinOptions::contexts_in", missing)
}
