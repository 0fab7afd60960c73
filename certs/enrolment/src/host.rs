//! Joining as a market: the host's folder becomes a context.

use rustls_pki_types::CertificateDer;
use souk_certs::clock::Clock;
use souk_certs::connector::Dial;
use souk_certs::identity::Role;
use souk_certs::random::Random;
use std::path::PathBuf;
use thiserror::Error;

use crate::code::InvitationCode;
use crate::context::{Context, ContextError, Description, Generation};
use crate::join::{JoinError, Joined, join};
use crate::key::{KeyError, PartyKey};
use crate::pem;
use crate::trust::{Accepted, BundleError, Refused, SignedBundle, Trusted, accept};

/// Why a host did not join. The same call continues where this one stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostJoinError {
    /// The folder has the certificate of another invitation.
    #[error("{} has the certificate of the market {name} already", folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The name of the market whose certificate it is.
        name: String,
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
    /// The trust bundle of the authority's answer is malformed.
    #[error("the authority's answer can't be used: {0}")]
    Bundle(#[from] BundleError),
    /// The root of the code has not signed the trust bundle of the answer, or something else is wrong with it.
    #[error("the authority's answer can't be used: {0}")]
    Trust(#[from] Refused),
}

/// Gets a market's certificate for an invitation, and puts it into a folder with everything that belongs to it. `nearby` are
/// addresses at which the authority is reached from this host alone ([`Description::nearby`]).
///
/// Everything is recorded before the next step, so that the same call continues after an interruption. If the folder has been
/// completed with the same code, nothing is asked.
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
    if let Some(found) = context.description()? {
        let is_same = found.invitation == code.id();
        if context.is_complete() && !is_same {
            return Err(HostJoinError::Taken { folder: context.folder().to_owned(), name: found.name });
        }
        if context.is_complete() {
            locked.forget_pending()?;
            return Ok(found);
        }
    }
    let key = PartyKey::open_or_create(&locked.pending_key()?, random.uuid_v4())?;
    let joined = join(code, Role::Market, &key, clock.now()).await?;
    let accepted = accepted(&joined, code, clock)?;
    let description = described(&joined, &accepted, code, nearby);
    locked.describe(&description, random.uuid_v4())?;
    let bundle = accepted.bundle();
    locked.install(&Generation {
        certificate: pem::certificate(&joined.certificate),
        key: key.to_pem(),
        roots: bundle.ca_pem(),
        lists: bundle.crl_pem(),
        trust: accepted.signed().to_bytes(),
    })?;
    locked.forget_pending()?;
    Ok(description)
}

/// Takes the trust bundle of the answer, which the root of the code must have signed.
fn accepted(joined: &Joined, code: &InvitationCode, clock: Clock) -> Result<Accepted, HostJoinError> {
    let signed = SignedBundle::try_from(joined.trust.clone())?;
    let roots: [CertificateDer<'static>; 1] = [joined.root.clone()];
    let trusted = Trusted::in_use(code.trust_domain().clone(), &roots, &[], None);
    Ok(accept(&trusted, &signed, clock.now())?)
}

fn described(joined: &Joined, accepted: &Accepted, code: &InvitationCode, nearby: Vec<Dial>) -> Description {
    let parsed = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<Dial>>();
    let mut authority = parsed(&accepted.bundle().authorities);
    if authority.is_empty() {
        authority.push(code.authority().clone());
    }
    Description {
        identity: joined.peer.identity(),
        name: joined.name.clone(),
        market: parsed(&accepted.bundle().markets),
        authority,
        nearby,
        trust_domain: code.trust_domain().clone(),
        invitation: code.id(),
        ephemeral: joined.ephemeral,
    }
}
