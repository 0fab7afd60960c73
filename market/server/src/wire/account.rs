//! Conversion of a caller's certificate and mailbox to messages.

use data_encoding::HEXLOWER;
use souk_certs::identity::PeerCertificate;
use souk_domain::Timestamp;
use souk_proto::v1;
use souk_store::{ConsumerState, MailboxState};

use super::show::{callback, timestamp};

/// Converts a caller's certificate to its message.
pub fn certificate(certificate: &PeerCertificate) -> v1::CertificateInfo {
    v1::CertificateInfo {
        spiffe_id: certificate.spiffe_id().to_owned(),
        serial_number: HEXLOWER.encode(certificate.serial()),
        sha256_thumbprint: HEXLOWER.encode(certificate.thumbprint()),
        not_before: Some(timestamp(certificate.not_before().into())),
        not_after: Some(timestamp(certificate.not_after().into())),
    }
}

/// Converts a named consumer to its message, as it is now.
fn consumer(state: &ConsumerState, now: Timestamp) -> v1::Consumer {
    v1::Consumer {
        name: state.name.to_string(),
        acknowledged_sequence: state.acknowledged,
        pending_count: state.pending,
        // The end of the lease while a stream is open.
        seen_time: Some(timestamp(state.seen_at.min(now))),
        connected: state.lease_until > now,
    }
}

/// Converts the state of a mailbox and its named consumers to its message, as they are now.
pub fn mailbox_status(
    state: MailboxState,
    consumers: &[ConsumerState],
    now: Timestamp,
) -> v1::MailboxStatusResponse {
    v1::MailboxStatusResponse {
        pending_count: state.pending,
        oldest_time: state.oldest.map(timestamp),
        acknowledged_sequence: state.acknowledged,
        last_sequence: state.last_sequence,
        callback: state.callback.as_ref().map(callback),
        failure_count: i32::try_from(state.failures).unwrap_or(i32::MAX),
        next_attempt_time: state.next_attempt.map(timestamp),
        last_failure: state.last_failure,
        consumers: consumers.iter().map(|state| consumer(state, now)).collect(),
        ..Default::default()
    }
}
