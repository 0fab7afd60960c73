//! Metrics of deliveries.

use souk_domain::Timestamp;
use souk_store::Backlogs;

use super::{count, seconds};
use crate::{observe::Metrics, relay::RelayHandle, upkeep::BacklogLook};

/// Adds metrics of deliveries, of what waits for them, and of the clean-up.
pub(super) fn add(relay: &RelayHandle, backlogs: &BacklogLook, metrics: &mut Metrics) {
    add_slots(relay, metrics);
    add_backlogs(backlogs, metrics);
    let of = relay.clone();
    metrics.counter(
        "souk_dropped_events",
        "Deliveries that were dropped: their retention ended, or the callback refused them repeatedly",
        move || of.dropped(),
    );
    let of = relay.clone();
    metrics.counter("souk_cleaned_rows", "Expired and acknowledged rows that were deleted", move || {
        of.cleaned_rows()
    });
    let of = relay.clone();
    metrics.gauge(
        "souk_cleaning_backlog_seconds",
        "For how long rows past their retention have been waiting to be deleted; 0: none is left",
        move || seconds(of.cleaning_backlog()),
    );
}

/// Adds the slots for callbacks and what waits for them.
fn add_slots(relay: &RelayHandle, metrics: &mut Metrics) {
    let read = |value: fn(&RelayHandle) -> usize| {
        let relay = relay.clone();
        move || count(value(&relay))
    };
    metrics.gauge(
        "souk_deliveries_proven",
        "Deliveries in progress to callbacks whose last attempt was received; at most 64",
        read(|relay| relay.in_progress().in_slots.proven),
    );
    metrics.gauge(
        "souk_deliveries_unproven",
        "Deliveries in progress to callbacks at which nothing was received yet; at most 32",
        read(|relay| relay.in_progress().in_slots.unproven),
    );
    metrics.gauge(
        "souk_deliveries_failing",
        "Deliveries in progress to callbacks whose last attempt failed; at most 16",
        read(|relay| relay.in_progress().in_slots.failing),
    );
    metrics.gauge(
        "souk_deliveries_slow",
        "Deliveries to proven callbacks that have taken longer than 250 ms; at most 256",
        read(|relay| relay.in_progress().slow),
    );
    metrics.gauge(
        "souk_deliveries_silent",
        "Deliveries to unproven callbacks that have taken longer than 250 ms; at most 256",
        read(|relay| relay.in_progress().silent),
    );
    metrics.gauge(
        "souk_due_mailboxes_proven",
        "Mailboxes that wait for a slot, with callbacks whose last attempt was received",
        read(|relay| relay.due().proven),
    );
    metrics.gauge(
        "souk_due_mailboxes_unproven",
        "Mailboxes that wait for a slot, with callbacks at which nothing was received yet",
        read(|relay| relay.due().unproven),
    );
    metrics.gauge(
        "souk_due_mailboxes_failing",
        "Mailboxes that wait for a slot, with callbacks whose last attempt failed",
        read(|relay| relay.due().failing),
    );
    metrics.gauge(
        "souk_callback_connections",
        "Connections to callback servers that are kept open; at most 1024",
        read(RelayHandle::callback_connections),
    );
    metrics.gauge(
        "souk_queued_probes",
        "Parties that were seen and wait to be called early; at most 1024",
        read(RelayHandle::queued_probes),
    );
    metrics.gauge(
        "souk_queued_settlements",
        "Finished deliveries that wait to be recorded; at most 624",
        read(RelayHandle::queued_settlements),
    );
}

/// Adds what waits in the store. The numbers end at 100,000.
fn add_backlogs(look: &BacklogLook, metrics: &mut Metrics) {
    let number = |read: fn(&Backlogs) -> i64| {
        let look = look.clone();
        move || look.number(read)
    };
    let age = |since: fn(&Backlogs) -> Option<Timestamp>| {
        let look = look.clone();
        move || look.age(since)
    };
    let help = "Events for wishers that are still to be expanded into deliveries";
    metrics.gauge("souk_fan_out_events", help, number(|found| found.fan_outs));
    let help = "Age of the oldest of them; 0: none is left";
    metrics.gauge("souk_fan_out_age_seconds", help, age(|found| found.oldest_fan_out));
    let help = "Deliveries of order events that are in mailboxes";
    metrics.gauge("souk_pending_order_events", help, number(|found| found.orders));
    let help = "Age of the oldest of them; 0: there is none";
    metrics.gauge("souk_pending_order_event_age_seconds", help, age(|found| found.oldest_order));
    let help = "Deliveries of item updates and other events that are in mailboxes";
    metrics.gauge("souk_pending_updates", help, number(|found| found.updates));
    let help = "Age of the oldest of them; 0: there is none";
    metrics.gauge("souk_pending_update_age_seconds", help, age(|found| found.oldest_update));
    let help = "For how long a mailbox whose callback answers has been due; 0: none is";
    metrics.gauge("souk_delivery_lag_seconds", help, age(|found| found.overdue_since));
    let help = "Dropped order events that are kept for redelivery";
    metrics.gauge("souk_dead_letters", help, number(|found| found.dead_letters));
    let help = "Named consumers of mailboxes";
    metrics.gauge("souk_consumers", help, number(|found| found.consumers));
}
