//! Settings of how long the market keeps what would otherwise grow without bound.

use std::{ops::RangeInclusive, time::Duration};

use serde::Deserialize;
use souk_store::Retention;

use super::ConfigError;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Days that a retention may have. Ten years; longer is "for good".
const DAYS: RangeInclusive<u32> = 1..=3_650;
/// Days that the contract promises for events of orders and for the outcomes of requests (docs/protocol.md).
const PROMISED_DAYS: u32 = 30;
/// Hours that the contract promises for updates of items.
const PROMISED_HOURS: u32 = 72;
/// The upper bound of `item_updates_hours`: a year.
const MAX_HOURS: u32 = 8_760;

/// Section `[retention]` as it is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionSettings {
    order_events_days: u32,
    item_updates_hours: u32,
    dead_letters_days: u32,
    requests_days: u32,
    tracks_days: u32,
    finished_orders_days: Option<u32>,
    audit_days: Option<u32>,
}

/// How long each kind of row is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RetentionSettings")]
pub struct RetentionConfig {
    /// Undelivered events.
    pub events: Retention,
    /// Events that their recipients have refused for good.
    pub dead_letters: Duration,
    /// The outcomes of requests, for replays.
    pub requests: Duration,
    /// The positions of rides.
    pub tracks: Duration,
    /// Delivered and cancelled orders; `None` keeps them for good. Only `market admin archive` removes older ones.
    pub finished_orders: Option<Duration>,
    /// Entries of the audit log; `None` keeps them for good. Only `market admin archive` removes older ones.
    pub audit: Option<Duration>,
}

impl From<RetentionSettings> for RetentionConfig {
    fn from(settings: RetentionSettings) -> Self {
        Self {
            events: Retention {
                updates: HOUR * settings.item_updates_hours,
                orders: DAY * settings.order_events_days,
            },
            dead_letters: DAY * settings.dead_letters_days,
            requests: DAY * settings.requests_days,
            tracks: DAY * settings.tracks_days,
            finished_orders: settings.finished_orders_days.map(|days| DAY * days),
            audit: settings.audit_days.map(|days| DAY * days),
        }
    }
}

impl RetentionConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let promised = PROMISED_DAYS..=*DAYS.end();
        let hours = PROMISED_HOURS..=MAX_HOURS;
        between("retention.order_events_days", self.events.orders, DAY, &promised, PROMISED)?;
        between("retention.item_updates_hours", self.events.updates, HOUR, &hours, PROMISED)?;
        between("retention.dead_letters_days", self.dead_letters, DAY, &DAYS, "")?;
        between("retention.requests_days", self.requests, DAY, &promised, PROMISED)?;
        between("retention.tracks_days", self.tracks, DAY, &DAYS, "")?;
        if let Some(kept) = self.audit {
            between("retention.audit_days", kept, DAY, &DAYS, FOR_GOOD)?;
        }
        if let Some(kept) = self.finished_orders {
            let key = "retention.finished_orders_days";
            between(key, kept, DAY, &DAYS, FOR_GOOD)?;
            // What still refers to an order must not outlive it: a buyer would be told of an order that is not found.
            if kept < self.requests || kept < self.events.orders {
                let problem = "give at least requests_days and order_events_days, which refer to orders";
                return Err(ConfigError::OutOfBounds { key, problem: problem.into() });
            }
        }
        Ok(())
    }
}

const PROMISED: &str = ", because the contract promises the lower bound to clients";
const FOR_GOOD: &str = ", or leave the setting out to keep them for good";

fn between(
    key: &'static str,
    value: Duration,
    unit: Duration,
    bounds: &RangeInclusive<u32>,
    reason: &str,
) -> Result<(), ConfigError> {
    if (unit * *bounds.start()..=unit * *bounds.end()).contains(&value) {
        return Ok(());
    }
    let problem = format!("give {} to {}{reason}", bounds.start(), bounds.end());
    Err(ConfigError::OutOfBounds { key, problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load as load_file;

    fn load(lines: &str) -> Result<RetentionConfig, ConfigError> {
        load_file(&format!("[retention]\n{lines}\n")).map(|config| config.retention)
    }

    #[test]
    fn defaults_keep_what_the_contract_promises() {
        let kept = load("").unwrap();
        assert_eq!(kept.events, Retention { updates: 72 * HOUR, orders: 30 * DAY });
        assert_eq!((kept.dead_letters, kept.requests, kept.tracks), (90 * DAY, 31 * DAY, 30 * DAY));
        assert_eq!((kept.finished_orders, kept.audit), (None, None));
    }

    #[test]
    fn retention_below_a_promise_is_refused_with_what_to_do() {
        for (line, told) in [
            ("order_events_days = 29", "retention.order_events_days is wrong: give 30 to 3650, because"),
            ("item_updates_hours = 71", "retention.item_updates_hours is wrong: give 72 to 8760, because"),
            ("requests_days = 29", "retention.requests_days is wrong: give 30 to 3650, because"),
            ("dead_letters_days = 0", "retention.dead_letters_days is wrong: give 1 to 3650"),
            ("tracks_days = 4000", "retention.tracks_days is wrong: give 1 to 3650"),
            ("audit_days = 0", "or leave the setting out to keep them for good"),
            ("finished_orders_days = 30", "give at least requests_days and order_events_days"),
            ("order_events_days = 60\nfinished_orders_days = 59", "give at least requests_days"),
            ("requests_day = 31", "did you mean `requests_days`?"),
        ] {
            let refused = load(line).unwrap_err().to_string();
            assert!(refused.contains(told), "{line}: {refused}");
        }
    }

    #[test]
    fn longer_retention_is_accepted() {
        let kept = load("requests_days = 40\nfinished_orders_days = 40\naudit_days = 1").unwrap();
        assert_eq!(kept.requests, 40 * DAY);
        assert_eq!((kept.finished_orders, kept.audit), (Some(40 * DAY), Some(DAY)));
    }
}
