//! `ListCertificates`: what was issued, for operators.

use data_encoding::HEXLOWER;
use souk_certs::identity::Role;
use souk_enrolment::join::wire_role;
use souk_proto::{Reason, Timestamp, v1};
use time::OffsetDateTime;
use tonic::Status;

use super::peer::Peer;
use super::state::{State, folder_error};
use crate::log::Did;
use crate::pki::Party;

/// The page size if the request has none.
const PAGE: usize = 50;
/// The maximum page size.
const MAX_PAGE: usize = 200;

/// Carries out a call. Blocks on files.
pub(super) fn list(
    state: &State,
    peer: &Peer,
    request: &v1::ListCertificatesRequest,
) -> Result<v1::ListCertificatesResponse, Status> {
    let certificate = state.certified(peer, false)?;
    if certificate.facts.identity().role() != Role::Operator {
        let message = "only operators may list certificates; use an operator's certificate";
        return Err(state.refuse(Did::Refuse, Reason::RoleDenied, message, peer));
    }
    let size = match usize::try_from(request.page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(MAX_PAGE),
        Err(_) => {
            return Err(state.refuse(
                Did::Refuse,
                Reason::InvalidField,
                "page_size must not be negative",
                peer,
            ));
        }
    };
    let pki = state.pki().map_err(|error| folder_error(&error))?;
    // A revoked operator may have a connection that is older than the list.
    let serial = HEXLOWER.encode(certificate.facts.serial());
    let all = pki.certificates();
    if all.iter().any(|issued| issued.serial == serial && issued.revoked.is_some()) {
        let message = "your certificate was revoked";
        return Err(state.refuse(Did::Refuse, Reason::CertificateRevoked, message, peer));
    }
    let first = match request.page_token.as_str() {
        "" => 0,
        token => token.parse().ok().filter(|first| *first <= all.len()).ok_or_else(|| {
            state.refuse(Did::Refuse, Reason::PageTokenInvalid, "the page token is none of this list", peer)
        })?,
    };
    let page = &all[first..all.len().min(first + size)];
    let next = first + page.len();
    Ok(v1::ListCertificatesResponse {
        certificates: page.iter().map(issued).collect(),
        next_page_token: if next < all.len() { next.to_string() } else { String::new() },
    })
}

fn issued(party: &Party) -> v1::IssuedCertificate {
    v1::IssuedCertificate {
        name: party.name.to_string(),
        role: wire_role(party.identity.role()).into(),
        party_id: party.identity.uuid().map(|uuid| uuid.to_string()).unwrap_or_default(),
        serial_number: party.serial.clone(),
        not_before: Some(timestamp(party.not_before)),
        not_after: Some(timestamp(party.not_after)),
        revoke_time: party.revoked.map(timestamp),
    }
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    // Below 10⁹ in any case.
    Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond().cast_signed() }
}
