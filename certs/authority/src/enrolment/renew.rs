//! `Renew`: issues the next certificate of the identity that the connection shows.
//!
//! Only the newest certificate of an identity renews. If two machines have a copy, the second one to renew is refused, and
//! the log says so: one of the two is a thief's. The certificate before the newest renews only for the key of the newest,
//! which is a repetition after a lost answer.

use souk_certs::credentials::RENEWAL_GRACE;
use souk_proto::{Reason, v1};
use tonic::Status;

use super::peer::Peer;
use super::state::{State, folder_error};
use crate::authority::ProvenKey;
use crate::log::{Did, Entry};
use crate::pki::{Enrolled, NotRenewed, PkiError};

/// Carries out a call. Blocks on files.
pub(super) fn renew(
    state: &State,
    peer: &Peer,
    request: &v1::RenewRequest,
) -> Result<v1::RenewResponse, Status> {
    let certificate = state.certified(peer, true)?;
    let now = state.clock.now();
    let key = ProvenKey::of(&request.csr)
        .map_err(|error| state.refuse(Did::Refuse, Reason::KeyRefused, &error.to_string(), peer))?;
    let serial = data_encoding::HEXLOWER.encode(certificate.facts.serial());
    let shown = (serial.as_str(), certificate.key_sha256.as_str());
    let mut is_logged = false;
    let mut pki = state.pki().map_err(|error| folder_error(&error))?;
    let renewed = pki.change(|pki| {
        let from = Some(peer.address.ip());
        let renewed = pki.renew_for(shown, &key, Entry { from, ..Entry::new(Did::Renew) }, now)?;
        if let Err(NotRenewed::Superseded) = renewed
            && state.is_first_conflict(&serial)
        {
            is_logged = true;
            let (serial, why) = (Some(serial.clone()), Some(Reason::RenewalSuperseded.as_str()));
            // On the disk before the answer, unlike other refusals: the operator has to act on it.
            pki.record(&[Entry { serial, from, why, ..Entry::new(Did::Conflict) }], now)?;
        }
        Ok::<_, PkiError>((renewed, pki.newest_bundle()?))
    });
    let (renewed, trust) = renewed.map_err(|error| folder_error(&error))?;
    match renewed {
        Ok(Enrolled { certificate, .. }) => {
            Ok(v1::RenewResponse { certificate: certificate.to_vec(), trust: trust.map(Into::into) })
        }
        Err(refusal) => {
            let (reason, message) = explained(refusal);
            let did = if refusal == NotRenewed::Superseded { Did::Conflict } else { Did::Refuse };
            if is_logged {
                tracing::warn!(serial, address = %peer.address, "a superseded certificate was to be renewed: two machines have a copy");
                return Err(super::status::refused(reason, message));
            }
            Err(state.refuse(did, reason, &message, peer))
        }
    }
}

fn explained(refusal: NotRenewed) -> (Reason, String) {
    match refusal {
        NotRenewed::Unknown => (
            Reason::CertificateRequired,
            "the authority does not know this certificate; it may have been restored from a backup: ask the operator for an invitation"
                .to_owned(),
        ),
        NotRenewed::Revoked => {
            (Reason::CertificateRevoked, "your certificate was revoked; ask the operator for an invitation".to_owned())
        }
        NotRenewed::Ended => (
            Reason::CertificateExpired,
            format!(
                "your certificate ended more than {} days ago; ask the operator for an invitation to join again",
                RENEWAL_GRACE.as_secs() / (24 * 60 * 60)
            ),
        ),
        NotRenewed::TooOften => {
            (Reason::RateLimited, "this identity was renewed too often in the last day; wait".to_owned())
        }
        NotRenewed::Superseded => (
            Reason::RenewalSuperseded,
            "another copy of this certificate was renewed; tell the operator, because somebody may have stolen it".to_owned(),
        ),
    }
}
