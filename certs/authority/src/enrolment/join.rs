//! `Join`: exchanges an invitation for a certificate.
//!
//! **Guarantee.** Nothing is signed before the invitation was bound to the public key on the disk, under the folder's
//! lock. So of two callers with one code only one gets a certificate, also if the process is killed in between, and a
//! caller whose answer was lost gets it by repeating the call with the same key.

use souk_certs::identity::Role;
use souk_enrolment::code::{InvitationId, Secret};
use souk_proto::{Reason, v1};
use time::OffsetDateTime;
use tonic::Status;

use super::peer::Peer;
use super::state::{State, folder_error};
use super::status::{internal, other_role, try_again};
use crate::authority::ProvenKey;
use crate::invitation::book::{Book, Claim, Unusable, sha256_hex};
use crate::invitation::redeem::Verdict;
use crate::log::{Did, Entry};
use crate::pki::{Enrolled, Pki, PkiError};

/// The message for an unknown invitation and for a wrong secret.
const INVALID: &str = "no invitation has this id and secret";

/// Carries out a call. Blocks on files.
pub(super) fn join(
    state: &State,
    peer: &Peer,
    request: &v1::JoinRequest,
) -> Result<v1::JoinResponse, Status> {
    if peer.certificate.is_some() {
        let message = "you have a certificate; join on a connection that shows none";
        return Err(state.refuse(Did::Refuse, Reason::RoleDenied, message, peer));
    }
    let now = state.clock.now();
    let id = check_secret(state, peer, request, now)?;
    // Only now: verifying a signature costs more than comparing a hash.
    let key = ProvenKey::of(&request.csr);
    let mut pki = state.pki().map_err(|error| folder_error(&error))?;
    let role = role_of(request.role());
    let redeemed = pki.change(|pki| redeem(pki, id, role, key.as_ref().ok(), peer, now));
    match redeemed {
        Ok(answer) => Ok(answer),
        Err(Failed::Key) => {
            let cause = key.map_or_else(|error| error.to_string(), |_| String::new());
            Err(state.refuse(Did::Refuse, Reason::KeyRefused, &cause, peer))
        }
        Err(Failed::RevokedKey) => {
            let message = "a certificate for this key was revoked; join with a new key";
            Err(state.refuse(Did::Refuse, Reason::KeyRefused, message, peer))
        }
        Err(Failed::Unusable(Unusable::Role(role))) => {
            state.refusals.add(Did::Refuse, Reason::InvitationRole.as_str(), peer.address.ip());
            Err(other_role(role.as_str()))
        }
        Err(Failed::Unusable(unusable)) => {
            let (reason, message) = explained(unusable);
            Err(state.refuse(Did::Refuse, reason, message, peer))
        }
        Err(Failed::Folder(PkiError::NameTaken { .. } | PkiError::Revoked { .. })) => {
            let message = "the name of this invitation was given to another party, or revoked";
            Err(state.refuse(Did::Refuse, Reason::InvitationUsed, message, peer))
        }
        Err(Failed::Folder(error)) => Err(folder_error(&error)),
    }
}

/// Checks the secret, and returns the invitation's id if it is right.
fn check_secret(
    state: &State,
    peer: &Peer,
    request: &v1::JoinRequest,
    now: OffsetDateTime,
) -> Result<InvitationId, Status> {
    let address = peer.address.ip();
    let refuse = |reason, message| Err(state.refuse(Did::Refuse, reason, message, peer));
    let (Ok(id), Ok(secret)) =
        (request.invitation_id.as_slice().try_into(), request.secret.as_slice().try_into())
    else {
        let message = "invitation_id must have 8 bytes and secret 16; send them as they are in the code";
        return refuse(Reason::InvalidField, message);
    };
    let (id, secret) = (InvitationId(id), Secret::new(secret));
    let verdict = state.with_redeemer(|redeemer| redeemer.check(id, &secret, address, now));
    let verdict = verdict.map_err(|error| internal(&error))?;
    if let Verdict::Wrong { has_locked: true } | Verdict::TooMany { has_locked: true, .. } = verdict {
        // Written after the answer, so that its duration does not reveal whether the invitation exists.
        state.refusals.add_lock(id);
    }
    match verdict {
        Verdict::Right => Ok(id),
        Verdict::Locked => {
            let (reason, message) = explained(Unusable::Locked);
            refuse(reason, message)
        }
        Verdict::Wrong { .. } => refuse(Reason::InvitationInvalid, INVALID),
        Verdict::TooMany { wait, .. } => {
            state.refusals.add(Did::Refuse, Reason::RateLimited.as_str(), address);
            let wait = wait.try_into().unwrap_or_default();
            Err(try_again(Reason::RateLimited, "your address has sent too many wrong secrets; wait", wait))
        }
    }
}

/// Uses the invitation and signs the certificate. The folder is locked.
fn redeem(
    pki: &mut Pki,
    id: InvitationId,
    role: Option<Role>,
    key: Option<&ProvenKey>,
    peer: &Peer,
    now: OffsetDateTime,
) -> Result<v1::JoinResponse, Failed> {
    let root = sha256_hex(pki.root());
    let mut book = Book::read(pki.dir()).map_err(PkiError::from)?;
    // Without a key, the claim only says whether the invitation could be used: the book is not written.
    let key_sha256 = key.map_or("", ProvenKey::sha256);
    let (claim, invitation) = book.claim(id, role, key_sha256, &root, now).map_err(Failed::Unusable)?;
    let key = key.ok_or(Failed::Key)?;
    let (name, role, again) = (invitation.name.clone(), invitation.role, invitation.again);
    // Somebody else may have it, too: that may be why it was revoked. The invitation is not used up.
    if pki.is_key_revoked(key) {
        return Err(Failed::RevokedKey);
    }
    if claim == Claim::First {
        book.write(pki.dir(), &root, pki.random().uuid_v4(), now).map_err(PkiError::from)?;
    }
    let entry =
        Entry { invitation: Some(id.to_string()), from: Some(peer.address.ip()), ..Entry::new(Did::Join) };
    let Enrolled { certificate, .. } = pki.enrol((&name, role, again), key, entry, now)?;
    Ok(v1::JoinResponse {
        certificate: certificate.to_vec(),
        name,
        trust: pki.newest_bundle()?.map(Into::into),
        ephemeral: pki.setup().is_some_and(|setup| setup.ephemeral),
    })
}

/// Returns the reason for the holder of the right secret.
fn explained(unusable: Unusable) -> (Reason, &'static str) {
    match unusable {
        Unusable::Expired => (Reason::InvitationExpired, "this invitation has expired; ask for a new code"),
        Unusable::Locked => (
            Reason::InvitationLocked,
            "this invitation is locked after too many wrong secrets; ask for a new code",
        ),
        Unusable::Used | Unusable::Role(_) => (
            Reason::InvitationUsed,
            "this invitation was used with another key, too long ago, or cancelled; ask for a new code",
        ),
    }
}

/// Returns the role that a caller expects; `None` if it is not one that joins.
fn role_of(role: v1::Role) -> Option<Role> {
    match role {
        v1::Role::Seller => Some(Role::Seller),
        v1::Role::Buyer => Some(Role::Buyer),
        v1::Role::Operator => Some(Role::Operator),
        v1::Role::Market => Some(Role::Market),
        v1::Role::Unspecified => None,
    }
}

/// Why nothing was signed.
enum Failed {
    Unusable(Unusable),
    Key,
    RevokedKey,
    Folder(PkiError),
}

impl From<PkiError> for Failed {
    fn from(error: PkiError) -> Self {
        Failed::Folder(error)
    }
}
