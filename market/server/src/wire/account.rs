//! Conversion of a caller's certificate and mailbox, and of the market's clocks, to messages.

use std::time::Duration;

use data_encoding::HEXLOWER;
use souk_certs::identity::PeerCertificate;
use souk_domain::{DeadLetter, Sequence};
use souk_proto::v1;
use souk_store::{ConsumerState, Delivery, MailboxRecord, MailboxState};

use super::show::{callback, event, role, timestamp};
use crate::clock::SteadyClock;

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
fn consumer(state: &ConsumerState, clock: &SteadyClock) -> v1::Consumer {
    let now = clock.now();
    v1::Consumer {
        name: state.name.to_string(),
        acknowledged_sequence: state.acknowledged,
        pending_count: state.pending,
        // The end of the lease while a stream is open.
        seen_time: Some(timestamp(clock.shown(state.seen_at.min(now)))),
        connected: state.lease_until > now,
    }
}

/// Converts the state of a mailbox and its named consumers to its message, as they are now. Its times are kept in steady
/// time, and shown as the wall times that people compare them with.
pub fn mailbox_status(
    state: MailboxState,
    consumers: &[ConsumerState],
    clock: &SteadyClock,
) -> v1::MailboxStatusResponse {
    let now = clock.now();
    // What is due already is shown as due now: the store may hold 0 for it.
    let next_attempt = state.next_attempt.map(|next| next.max(now));
    v1::MailboxStatusResponse {
        pending_count: state.pending,
        oldest_time: state.oldest.map(|oldest| timestamp(clock.shown(oldest))),
        acknowledged_sequence: state.acknowledged,
        last_sequence: state.last_sequence,
        callback: state.callback.as_ref().map(callback),
        failure_count: i32::try_from(state.failures).unwrap_or(i32::MAX),
        next_attempt_time: next_attempt.map(|next| timestamp(clock.shown(next))),
        last_failure: state.last_failure,
        dropped_order_count: state.dropped.orders,
        dropped_update_count: state.dropped.updates,
        last_drop_time: state.last_dropped.map(|dropped| timestamp(clock.shown(dropped))),
        dead_letter_count: state.dead_letters,
        consumers: consumers.iter().map(|state| consumer(state, clock)).collect(),
    }
}

/// Converts a mailbox to its message for operators.
pub fn mailbox_record(record: &MailboxRecord, clock: &SteadyClock) -> v1::MailboxRecord {
    v1::MailboxRecord {
        owner_id: record.owner.to_string(),
        role: role(record.role).into(),
        status: Some(mailbox_status(record.state.clone(), &[], clock)),
    }
}

/// Converts a dead letter to its message.
pub fn dead_letter(letter: &DeadLetter, clock: &SteadyClock) -> v1::DeadLetter {
    let delivery = Delivery { sequence: Sequence(0), event: letter.event.clone() };
    v1::DeadLetter {
        dead_letter_id: letter.id.0,
        recipient_id: letter.recipient.to_string(),
        event: Some(event(letter.recipient, &delivery)),
        reason: letter.reason.clone(),
        drop_time: Some(timestamp(clock.shown(letter.died_at))),
    }
}

/// Converts the state of the market's clocks to its message.
pub fn clock_state(clock: &SteadyClock) -> v1::ClockState {
    let mark = clock.mark();
    let is_paused = clock.is_paused();
    v1::ClockState {
        wall_time: Some(timestamp(clock.wall().now())),
        steady_time: Some(timestamp(clock.now())),
        paused: is_paused,
        pause_left: is_paused.then(|| duration(mark.pause_left())),
        jump_seconds: mark.jump_seconds,
    }
}

/// Converts a duration to its message.
pub(super) fn duration(time: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    // At most 999,999,999, which an `i32` holds.
    prost_types::Duration { seconds, nanos: time.subsec_nanos().cast_signed() }
}
