//! What revocation lists say.

use std::collections::HashSet;

use rustls_pki_types::CertificateRevocationListDer;
use time::OffsetDateTime;
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::{CredentialError, CredentialFiles};
use crate::identity::canonical_serial;

/// The metadata of a revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInfo {
    /// The issuer, as a DER-encoded name.
    pub issuer: Vec<u8>,
    /// The CRL number (RFC 5280 §5.2.3), big-endian without leading zeros. Empty if the list has none.
    pub number: Vec<u8>,
    /// The time by which the issuer promised a newer list. `None` if the list does not say.
    pub next_update: Option<OffsetDateTime>,
}

/// Parses the lists into their metadata and the set of revoked serials.
pub(super) fn read_lists(
    files: &CredentialFiles,
    crls: &[CertificateRevocationListDer<'static>],
) -> Result<(Vec<ListInfo>, HashSet<Vec<u8>>), CredentialError> {
    let (mut lists, mut revoked) = (Vec::with_capacity(crls.len()), HashSet::new());
    for der in crls {
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| CredentialError::BadCrl {
            path: files.crl_path(),
            reason: "it is not well-formed".to_owned(),
        })?;
        lists.push(ListInfo {
            issuer: list.issuer().as_raw().to_vec(),
            number: list.crl_number().map(BigUint::to_bytes_be).unwrap_or_default(),
            next_update: list.next_update().map(|next| next.to_datetime()),
        });
        // Canonical, because DER adds a zero byte to a serial whose highest bit is set.
        revoked.extend(list.iter_revoked_certificates().map(|entry| canonical_serial(entry.raw_serial())));
    }
    Ok((lists, revoked))
}
