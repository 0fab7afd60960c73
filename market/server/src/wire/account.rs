//! Conversion of a caller's certificate and mailbox, and of the market's clocks, to messages.

use std::time::Duration;

use data_encoding::HEXLOWER;
use souk_certs::identity::PeerCertificate;
use souk_proto::v1;
use souk_store::MailboxState;

use super::show::{callback, timestamp};
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

/// Converts the state of a mailbox to its message.
/// Its times are kept in steady time, and shown as the wall times that people compare them with.
pub fn mailbox_status(state: MailboxState, clock: &SteadyClock) -> v1::MailboxStatusResponse {
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

fn duration(time: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    // At most 999,999,999, which an `i32` holds.
    prost_types::Duration { seconds, nanos: time.subsec_nanos().cast_signed() }
}
