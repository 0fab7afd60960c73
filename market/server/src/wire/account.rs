//! Conversion of a caller's certificate and mailbox to messages.

use data_encoding::HEXLOWER;
use souk_certs::identity::PeerCertificate;
use souk_domain::{DeadLetter, Sequence, Timestamp};
use souk_proto::v1;
use souk_store::{ConsumerState, Delivery, MailboxRecord, MailboxState};

use super::show::{callback, event, role, timestamp};

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
        dropped_order_count: state.dropped.orders,
        dropped_update_count: state.dropped.updates,
        last_drop_time: state.last_dropped.map(timestamp),
        dead_letter_count: state.dead_letters,
        consumers: consumers.iter().map(|state| consumer(state, now)).collect(),
    }
}

/// Converts a mailbox to its message for operators.
pub fn mailbox_record(record: MailboxRecord, now: Timestamp) -> v1::MailboxRecord {
    v1::MailboxRecord {
        owner_id: record.owner.to_string(),
        role: role(record.role).into(),
        status: Some(mailbox_status(record.state, &[], now)),
    }
}

/// Converts a dead letter to its message.
pub fn dead_letter(letter: &DeadLetter) -> v1::DeadLetter {
    let delivery = Delivery { sequence: Sequence(0), event: letter.event.clone() };
    v1::DeadLetter {
        dead_letter_id: letter.id.0,
        recipient_id: letter.recipient.to_string(),
        event: Some(event(letter.recipient, &delivery)),
        reason: letter.reason.clone(),
        drop_time: Some(timestamp(letter.died_at)),
    }
}
